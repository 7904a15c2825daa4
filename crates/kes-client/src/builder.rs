//! How a client is put together.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kes_identity::{ApiKey, Certificate, Identity};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::Client;
use crate::credentials::Credentials;
use crate::endpoint::{Endpoint, Endpoints};
use crate::error::Cause;
use crate::retry::Timing;
use crate::tls::Trust;
use crate::transport::{Settings, Transport};

/// Why a client could not be built, or its files not be read again. All of it is the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No endpoint was named.
    #[error("kes: no server endpoint")]
    NoEndpoint,
    /// An endpoint is not `https://host[:port][/path]`.
    #[error("invalid endpoint '{endpoint}': {why}")]
    Endpoint {
        /// As given, without blanks around it.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A certificate or key file cannot be read.
    #[error("reading {what} file")]
    Read {
        /// `certificate` or `private key`.
        what: &'static str,
        /// Which file, and why not.
        source: kes_identity::pem::Error,
    },
    /// A certificate or key file does not hold what it should, or its password is missing or wrong.
    #[error("failed to read TLS {what}")]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kes_identity::pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that TLS cannot use.
    #[error(transparent)]
    Certificate(kes_identity::pem::Error),
    /// No certificate could be made from the API key: no randomness, or a clock that is far off.
    #[error("making a certificate from the API key")]
    ApiKey(#[source] kes_identity::Error),
    /// The CA file or folder cannot be used.
    #[error("reading CA certificates from '{}'", path.display())]
    Trust {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: kes_identity::pem::Error,
    },
    /// There is no CA certificate at all, neither named nor on the system.
    #[error("no CA certificate is trusted: neither one was named nor does this system have any")]
    NoTrust,
    /// The HTTP client could not be made; most likely a wrong proxy in the environment.
    #[error("setting up the HTTP client")]
    Http(#[source] Cause),
}

/// Settings of a [`Client`].
#[must_use]
pub struct Builder {
    endpoints: Vec<String>,
    credentials: Credentials,
    trust: Trust,
    connect: Duration,
    timing: Timing,
    proxy: bool,
    repeat_writes: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            credentials: Credentials::None,
            trust: Trust::default(),
            connect: Duration::from_secs(10),
            timing: Timing {
                per_try: Duration::from_secs(15),
                overall: Some(Duration::from_secs(60)),
                pause: Duration::from_millis(200),
            },
            proxy: true,
            repeat_writes: false,
        }
    }

    /// Adds a server, as `https://host[:port][/path]`. With several, requests go round and leave out the ones that
    /// failed; one on this machine is asked first.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// Adds several servers.
    pub fn endpoints(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endpoints.extend(urls.into_iter().map(Into::into));
        self
    }

    /// Authenticates by an API key. The certificate made from it lives 90 days and is renewed after 60.
    pub fn api_key(mut self, key: ApiKey) -> Self {
        self.credentials = Credentials::ApiKey(Box::new(key));
        self
    }

    /// Authenticates by a certificate and its private key, kept in memory.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.credentials = Credentials::Certificate(Box::new(certificate));
        self
    }

    /// Authenticates by PEM files: the certificate, with its chain behind it, and the private key. They are read again
    /// within a minute of a change, and by [`Client::reload`].
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.credentials = Credentials::Files { certificate: certificate.into(), key: key.into(), password: None };
        self
    }

    /// As [`Builder::certificate_files`], for an encrypted private key (RFC 1423 or PKCS#8).
    pub fn encrypted_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        password: Zeroizing<String>,
    ) -> Self {
        let password = Some(password);
        self.credentials = Credentials::Files { certificate: certificate.into(), key: key.into(), password };
        self
    }

    /// Trusts the CAs of this PEM file, or of the files in this folder, **instead of** the system's. A self-signed
    /// server certificate may stand here itself. May be called several times.
    pub fn ca_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.paths.push(path.into());
        self
    }

    /// As [`Builder::ca_path`], for a certificate in memory.
    pub fn ca_certificate(mut self, certificate: CertificateDer<'static>) -> Self {
        self.trust.certificates.push(certificate);
        self
    }

    /// Trusts the system's CAs beside the named ones.
    pub fn system_roots(mut self, also: bool) -> Self {
        self.trust.system = also;
        self
    }

    /// Trusts a server by its key: its certificate must be of this identity (as `kes identity of server.crt` prints it),
    /// whoever signed it and whatever its names and dates are. Renewing the certificate keeps it. With CAs named as well,
    /// both must hold.
    pub fn server_fingerprint(mut self, key: Identity) -> Self {
        self.trust.pin = Some(key);
        self
    }

    /// Accepts any server certificate. Whoever sits on the network can then read every key: for tests only.
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.trust.insecure = insecure;
        self
    }

    /// Limit for connecting: name lookup, TCP and TLS. Default 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Limit for one try, from connecting to the last byte of the answer. Default 15 s, the server's own limit. Log
    /// streams have none.
    pub fn try_timeout(mut self, limit: Duration) -> Self {
        self.timing.per_try = limit;
        self
    }

    /// Limit for a whole call, with all its tries, pauses and endpoints; `None` for no limit. Default 60 s. Log streams
    /// have none.
    pub fn deadline(mut self, limit: Option<Duration>) -> Self {
        self.timing.overall = limit;
        self
    }

    /// The shortest pause before a retry at the same endpoint; each is drawn between this and its fivefold. Default
    /// 200 ms.
    pub fn retry_pause(mut self, shortest: Duration) -> Self {
        self.timing.pause = shortest;
        self
    }

    /// Uses the proxy of `HTTPS_PROXY`, except for what `NO_PROXY` names and for loopback. Default true.
    pub fn proxy_from_environment(mut self, proxy: bool) -> Self {
        self.proxy = proxy;
        self
    }

    /// Repeats create and delete like every other call when their outcome is unknown, and then counts `key already
    /// exists` (or `key does not exist`) as the success of the try before. Default false: they are repeated only if
    /// they certainly did not reach a server. Import is never repeated: another key may have taken the name.
    pub fn repeat_writes(mut self, repeat: bool) -> Self {
        self.repeat_writes = repeat;
        self
    }

    /// Builds the client. Reads the files; connects to nothing.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Client, BuildError> {
        if self.endpoints.is_empty() {
            return Err(BuildError::NoEndpoint);
        }
        let endpoints = self.endpoints.iter().map(|text| Endpoint::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let settings =
            Settings { credentials: self.credentials, trust: self.trust, connect: self.connect, proxy: self.proxy };
        Ok(Client {
            transport: Arc::new(Transport::new(settings)?),
            endpoints: Arc::new(Endpoints::new(endpoints)),
            timing: self.timing,
            repeat_writes: self.repeat_writes,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("endpoints", &self.endpoints)
            .field("credentials", &self.credentials)
            .field("trust", &self.trust)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}
