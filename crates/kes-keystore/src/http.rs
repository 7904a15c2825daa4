//! The HTTP client of stores that are reached over HTTP: one TLS set-up, one set of time-outs, one way to name what
//! went wrong.
//!
//! Trust: the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` count), or only those of a file or folder that the
//! operator names. Proxies: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`. Connections are pooled for a short time only, and kept
//! alive on the TCP level, so that one to a server that went away without a word is noticed.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// How long nothing may come while an answer is awaited. Below the least deadline of a caller.
const READ: Duration = Duration::from_secs(9);

/// How long an unused connection is kept: shorter than any load balancer's or server's patience.
const IDLE: Duration = Duration::from_secs(10);

/// Whom to trust and how to show ourselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file, or folder of such, with the only roots to trust. Default: the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with our certificate chain.
    pub cert: Option<PathBuf>,
    /// PEM file with our private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: Option<PathBuf>,
}

/// A TLS set-up that cannot work. Found when a store is opened, never later.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read. The operator's.
    #[error("cannot read '{}'", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should. The operator's.
    #[error("'{}' {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A certificate without its private key, or the other way round. The operator's.
    #[error("a client certificate needs both the certificate and the private key")]
    Pair,
    /// Certificate and private key do not belong together, or are of a kind that cannot be used. The operator's.
    #[error("the client certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    /// The client could not be made.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// A client for one store. Redirects are not followed: credentials go to who was named and to nobody else.
///
/// # Errors
/// Every [`SetupError`].
pub fn client(tls: &Tls) -> Result<reqwest::Client, SetupError> {
    builder(tls)?.build().map_err(SetupError::Client)
}

/// The same, to be changed further.
///
/// # Errors
/// Every [`SetupError`] but [`SetupError::Client`].
pub fn builder(tls: &Tls) -> Result<reqwest::ClientBuilder, SetupError> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config(tls)?)
        .dns_resolver(Arc::new(Resolver))
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .pool_idle_timeout(IDLE)
        .tcp_keepalive(Duration::from_secs(5))
        .user_agent(concat!("kes/", env!("CARGO_PKG_VERSION"))))
}

/// TLS 1.2 and 1.3 on ring, as everywhere in this project.
///
/// # Errors
/// Every [`SetupError`] but [`SetupError::Client`].
pub fn tls_config(tls: &Tls) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .with_root_certificates(roots(tls.ca.as_deref())?);
    match (&tls.cert, &tls.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let private_key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| SetupError::Content {
                path: key.clone(),
                problem: "holds no private key that can be read",
            })?;
            builder.with_client_auth_cert(chain, private_key).map_err(SetupError::Certificate)
        }
        _ => Err(SetupError::Pair),
    }
}

/// The roots to trust as PEM text, for an SDK that has a TLS set-up of its own: those of a file or folder, else the system's.
/// What cannot be a root is left out, as the bundles of systems hold some.
///
/// # Errors
/// [`SetupError::File`], [`SetupError::Content`].
pub fn root_certificates(ca: Option<&Path>) -> Result<String, SetupError> {
    let mut found = Vec::new();
    match ca {
        None => found.extend(rustls_native_certs::load_native_certs().certs),
        Some(ca) => {
            for file in files(ca)? {
                found.extend(certificates(&file)?);
            }
        }
    }
    found.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    if let (Some(ca), true) = (ca, found.is_empty()) {
        return Err(SetupError::Content { path: ca.to_owned(), problem: "holds no certificate that can be trusted" });
    }
    let mut text = String::new();
    for certificate in found {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = kes_crypto::base64::encode(&certificate);
        for start in (0..encoded.len()).step_by(64) {
            text.push_str(&encoded[start..encoded.len().min(start + 64)]);
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(text)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for file in files(ca)? {
        for certificate in certificates(&file)? {
            let bad =
                |_| SetupError::Content { path: file.clone(), problem: "holds a certificate that cannot be trusted" };
            roots.add(certificate).map_err(bad)?;
        }
    }
    match roots.is_empty() {
        true => Err(SetupError::Content { path: ca.to_owned(), problem: "holds no certificate" }),
        false => Ok(roots),
    }
}

/// The file itself, or the files of a folder. A Kubernetes volume has a link to a folder among them, `..data`.
fn files(path: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let failed = |source| SetupError::File { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).map_err(failed)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let bad = |problem| SetupError::Content { path: path.to_owned(), problem };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(bad("holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(bad("is no PEM file")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    fs::read(path).map_err(|source| SetupError::File { path: path.to_owned(), source })
}

/// The system's resolver, but names below `localhost` are this machine (RFC 6761, 6.3), which not every system knows.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            if name.as_str().ends_with(".localhost") {
                let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                return Ok(Box::new(std::iter::once(loopback)) as Addrs);
            }
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_up_that_cannot_work_is_refused_when_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("junk"), "junk").unwrap();
        fs::create_dir(path("empty")).unwrap();
        let ca = |name| Tls { ca: Some(path(name)), ..Tls::default() };
        let says = |tls: &Tls, text: &str| {
            let error = tls_config(tls).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(&ca("missing"), "cannot read");
        says(&ca("junk"), "holds no certificate");
        says(&ca("empty"), "holds no certificate");
        says(&Tls { cert: Some(path("junk")), ..Tls::default() }, "both");
        says(&Tls { cert: Some(path("junk")), key: Some(path("junk")), ca: None }, "holds no certificate");
    }
}
