//! The TLS side: whom to trust, and what to say when one side refuses the other.
//!
//! The configuration is built on ring explicitly, so that an embedder need not install a default provider.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kes_identity::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};

use time::OffsetDateTime;

use crate::BuildError;
use crate::endpoint::Endpoint;
use crate::transport::causes;

/// Which server certificates are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Files and folders of CA certificates.
    pub(crate) paths: Vec<PathBuf>,
    /// CA certificates in memory.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The system's CAs as well; without paths and certificates they are the only ones.
    pub(crate) system: bool,
    /// The key that the server must have. Without named CAs this takes the place of all other checks.
    pub(crate) pin: Option<Identity>,
    /// Accept anything.
    pub(crate) insecure: bool,
}

/// Builds the configuration, and the place where refused server certificates are remembered for the error text.
pub(crate) fn client_config(
    trust: &Trust,
    client: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<(ClientConfig, Arc<Observed>), BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let observed = Arc::new(Observed::default());
    let mut verifier: Arc<dyn ServerCertVerifier> = if trust.insecure || trust.is_pin_alone() {
        Arc::new(Anyone(Arc::clone(&provider), Arc::clone(&observed)))
    } else {
        Arc::new(Watched::new(trust, &provider, Arc::clone(&observed))?)
    };
    if let Some(pin) = trust.pin.clone() {
        verifier = Arc::new(Pinned { pin, usual: verifier, observed: Arc::clone(&observed) });
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client {
        Some(resolver) => builder.with_client_cert_resolver(resolver),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, observed))
}

impl Trust {
    fn is_pin_alone(&self) -> bool {
        self.pin.is_some() && self.paths.is_empty() && self.certificates.is_empty() && !self.system
    }

    /// The trusted certificates and those among them that were named one by one.
    fn load(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), BuildError> {
        let mut named = self.certificates.clone();
        for path in &self.paths {
            let found = kes_identity::pem::ca_path(path)
                .map_err(|error| BuildError::Trust { path: path.clone(), source: error })?;
            named.extend(found);
        }
        let mut roots = RootCertStore::empty();
        if self.system || (self.paths.is_empty() && self.certificates.is_empty()) {
            roots = kes_identity::system_roots();
        }
        roots.add_parsable_certificates(named.iter().cloned());
        if roots.is_empty() {
            return Err(BuildError::NoTrust);
        }
        Ok((roots, named))
    }
}

/// The usual verification, which remembers what it refused.
#[derive(Debug)]
struct Watched {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    observed: Arc<Observed>,
}

impl Watched {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>, observed: Arc<Observed>) -> Result<Self, BuildError> {
        let (roots, named) = trust.load()?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|_| BuildError::NoTrust)?;
        Ok(Self { usual, named, observed })
    }

    /// A certificate that the user has named himself is trusted although it says CA:TRUE, as `openssl req -x509` makes
    /// them; Go clients accept that too. Its name and dates are still checked.
    fn is_named(&self, certificate: &CertificateDer<'_>, server: &ServerName<'_>, now: UnixTime) -> bool {
        let dates_fit = || {
            let facts = kes_identity::pem::facts(certificate).ok()?;
            let now = i64::try_from(now.as_secs()).ok()?;
            Some(facts.not_before.unix_timestamp() <= now && now <= facts.not_after.unix_timestamp())
        };
        self.named.contains(certificate)
            && dates_fit() == Some(true)
            && ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, server).is_ok())
    }
}

impl ServerCertVerifier for Watched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.observed.remember(server, end_entity, now);
        match self.usual.verify_server_cert(end_entity, intermediates, server, ocsp, now) {
            Err(_) if self.is_named(end_entity, server, now) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// A verification behind which the key must be the pinned one.
#[derive(Debug)]
struct Pinned {
    pin: Identity,
    usual: Arc<dyn ServerCertVerifier>,
    observed: Arc<Observed>,
}

/// The verdict of [`Pinned`], carried through rustls.
#[derive(Debug, thiserror::Error)]
#[error("the key is not the pinned one, {expected}")]
struct WrongKey {
    expected: Identity,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The handshake's signature proves that the server owns this key; the rest of the certificate is only paper.
        if Identity::of_certificate(end_entity).is_ok_and(|key| key == self.pin) {
            return self.usual.verify_server_cert(end_entity, intermediates, server, ocsp, now);
        }
        self.observed.remember(server, end_entity, now);
        let wrong = WrongKey { expected: self.pin.clone() };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// `insecure`: any certificate, but the server must own its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>, Arc<Observed>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.1.remember(server, end_entity, now);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The last certificate of each server name. rustls reports only why it refused one, not what it was.
#[derive(Debug, Default)]
pub(crate) struct Observed(Mutex<HashMap<String, Shown>>);

impl Observed {
    fn remember(&self, server: &ServerName<'_>, certificate: &CertificateDer<'_>, now: UnixTime) {
        let Ok(facts) = kes_identity::pem::facts(certificate) else { return };
        let Ok(key) = Identity::of_certificate(certificate) else { return };
        let now = i64::try_from(now.as_secs()).ok().and_then(|now| OffsetDateTime::from_unix_timestamp(now).ok());
        let shown = Shown {
            fingerprint: key.to_string(),
            seen_at: now.map(kes_api::wire::rfc3339::format).unwrap_or_default(),
            subject: facts.subject,
            issuer: facts.issuer,
            names: facts.names,
            not_before: kes_api::wire::rfc3339::format(facts.not_before),
            not_after: kes_api::wire::rfc3339::format(facts.not_after),
        };
        self.0.lock().expect("nothing panics while holding it").insert(server.to_str().into_owned(), shown);
    }

    pub(crate) fn recall(&self, host: &str) -> Option<Shown> {
        self.0.lock().expect("nothing panics while holding it").get(host).cloned()
    }
}

/// A certificate, as far as an error text needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// `CN=…`, comma separated.
    pub subject: String,
    /// The same of who signed it.
    pub issuer: String,
    /// DNS names and IP addresses that it is valid for.
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// The time by which it was judged, RFC 3339: this machine's clock.
    pub seen_at: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo) in hex, for [`Builder::server_fingerprint`](crate::Builder).
    pub fingerprint: String,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
        write!(
            f,
            "'{}', for {names}, valid from {} to {}, signed by '{}'",
            self.subject, self.not_before, self.not_after, self.issuer
        )
    }
}

/// One side refused the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    call: String,
    host: String,
    problem: TlsProblem,
    shown: Option<Shown>,
    ours: Option<Identity>,
}

/// Which side refused what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// We do not trust who signed the server's certificate.
    UnknownIssuer,
    /// The server's certificate is outside its dates: it has expired, or is not valid yet.
    Dates,
    /// The server's certificate is for other names.
    WrongName,
    /// The server has another key than the pinned one, which is this.
    WrongFingerprint(Identity),
    /// The server's certificate is unfit for another reason, in rustls's words.
    ServerCertificate(String),
    /// The server demands a client certificate and got none.
    CertificateRequired,
    /// The server refused our certificate; the alert in TLS's words, such as `unknown certificate authority`.
    CertificateRefused(String),
    /// The peer does not speak TLS.
    NotTls,
    /// The handshake failed otherwise, in rustls's words.
    Handshake(String),
}

impl TlsError {
    /// Which side refused what.
    #[must_use]
    pub fn problem(&self) -> &TlsProblem {
        &self.problem
    }

    /// The host that was asked, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server's certificate, if it is the one that was refused.
    #[must_use]
    pub fn server_certificate(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// What to do about it, in one or two sentences.
    #[must_use]
    pub fn hint(&self) -> String {
        let shown =
            self.shown.as_ref().map(|shown| format!("the server's certificate is {shown}; ")).unwrap_or_default();
        let ours = self.ours.as_ref().map(|id| format!(" (identity {id})")).unwrap_or_default();
        let advice = match &self.problem {
            TlsProblem::UnknownIssuer => {
                "trust the CA that signed it, or the certificate itself if it is self-signed".into()
            }
            TlsProblem::Dates => "renew it, or set the clock of this machine right".into(),
            TlsProblem::WrongName => format!("connect by one of its names, or make a certificate for '{}'", self.host),
            TlsProblem::WrongFingerprint(_) => {
                "either its key was changed, or somebody stands between; ask whoever runs the server".into()
            }
            TlsProblem::ServerCertificate(_) => "the server needs another certificate".into(),
            TlsProblem::CertificateRequired => {
                "the server demands a client certificate: use an API key, or a certificate with its key".into()
            }
            TlsProblem::CertificateRefused(_) => format!(
                "the server does not accept this client's certificate{ours}: it may have expired, or the server verifies clients \
                 (`tls.auth: on`) and does not trust its CA"
            ),
            TlsProblem::NotTls => "is this the port of a kes server? it speaks HTTPS only".into(),
            TlsProblem::Handshake(_) => "both sides need TLS 1.2 or 1.3 with a common cipher suite".into(),
        };
        shown + &advice
    }
}

impl fmt::Display for TlsError {
    /// The texts are those of Go's TLS library: scripts and people know them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        let names = || self.shown.as_ref().map(|shown| shown.names.join(", ")).unwrap_or_default();
        match &self.problem {
            TlsProblem::UnknownIssuer => {
                f.write_str("tls: failed to verify certificate: x509: certificate signed by unknown authority")
            }
            TlsProblem::Dates => {
                f.write_str("tls: failed to verify certificate: x509: certificate has expired or is not yet valid")?;
                match &self.shown {
                    // Times of one form, so they are in the order of their texts.
                    Some(Shown { seen_at, not_after, .. }) if seen_at > not_after => {
                        write!(f, ": current time {seen_at} is after {not_after}")
                    }
                    Some(Shown { seen_at, not_before, .. }) => {
                        write!(f, ": current time {seen_at} is before {not_before}")
                    }
                    None => Ok(()),
                }
            }
            TlsProblem::WrongName if names().is_empty() => write!(
                f,
                "tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match {}",
                self.host
            ),
            TlsProblem::WrongName => {
                write!(
                    f,
                    "tls: failed to verify certificate: x509: certificate is valid for {}, not {}",
                    names(),
                    self.host
                )
            }
            TlsProblem::WrongFingerprint(pin) => {
                let found = self.shown.as_ref().map_or("none", |shown| &shown.fingerprint);
                write!(f, "tls: failed to verify certificate: the server's key has the fingerprint {found}, not {pin}")
            }
            TlsProblem::ServerCertificate(text) => write!(f, "tls: failed to verify certificate: {text}"),
            TlsProblem::CertificateRequired => f.write_str("remote error: tls: certificate required"),
            TlsProblem::CertificateRefused(alert) => write!(f, "remote error: tls: {alert}"),
            TlsProblem::NotTls => f.write_str("tls: the server does not speak TLS"),
            TlsProblem::Handshake(text) => write!(f, "tls: {text}"),
        }
    }
}

impl StdError for TlsError {}

/// Finds rustls's verdict among the causes of an error.
pub(crate) fn diagnose(
    error: &(dyn StdError + 'static),
    call: &str,
    endpoint: &Endpoint,
    ours: Option<&Identity>,
    observed: &Observed,
) -> Option<TlsError> {
    let verdict = causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(verdict) => Some(rustls::Error::clone(verdict)),
        None => alert_in_text(&cause.to_string()).map(rustls::Error::AlertReceived),
    })?;
    let problem = problem(&verdict, ours.is_some())?;
    let host = endpoint.host().to_owned();
    let refused_by_us = matches!(
        problem,
        TlsProblem::UnknownIssuer
            | TlsProblem::Dates
            | TlsProblem::WrongName
            | TlsProblem::WrongFingerprint(_)
            | TlsProblem::ServerCertificate(_)
    );
    let shown = if refused_by_us { observed.recall(&host) } else { None };
    Some(TlsError { call: call.to_owned(), host, problem, shown, ours: ours.cloned() })
}

/// `None` where the connection merely broke or the other side had an internal error: those are worth another try.
fn problem(verdict: &rustls::Error, with_certificate: bool) -> Option<TlsProblem> {
    use rustls::Error as Tls;
    Some(match verdict {
        Tls::InvalidCertificate(error) => certificate_problem(error),
        Tls::AlertReceived(alert) => return alert_problem(*alert, with_certificate),
        Tls::InvalidMessage(_) => TlsProblem::NotTls,
        Tls::InappropriateMessage { .. } | Tls::InappropriateHandshakeMessage { .. } | Tls::General(_) => return None,
        other => TlsProblem::Handshake(other.to_string()),
    })
}

/// In TLS 1.3 a client hears of its refusal with the first answer. Inside HTTP/2 that error keeps only its text.
fn alert_in_text(text: &str) -> Option<AlertDescription> {
    let name = text.split_once("received fatal alert: ")?.1;
    ALERTS.iter().copied().find(|alert| format!("{alert:?}") == name)
}

/// The alerts by which a server refuses a client.
const ALERTS: &[AlertDescription] = &[
    AlertDescription::CertificateRequired,
    AlertDescription::HandshakeFailure,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

fn certificate_problem(error: &CertificateError) -> TlsProblem {
    match error {
        // A CA of the same name with another key: to the user, an unknown one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownIssuer,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsProblem::Dates,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsProblem::WrongName,
        CertificateError::Other(OtherError(other)) if let Some(wrong) = other.downcast_ref::<WrongKey>() => {
            TlsProblem::WrongFingerprint(wrong.expected.clone())
        }
        other => TlsProblem::ServerCertificate(other.to_string()),
    }
}

fn alert_problem(alert: AlertDescription, with_certificate: bool) -> Option<TlsProblem> {
    let refused = |text: &str| Some(TlsProblem::CertificateRefused(text.to_owned()));
    match alert {
        AlertDescription::CertificateRequired => Some(TlsProblem::CertificateRequired),
        // What a TLS 1.2 server says when no certificate came.
        AlertDescription::HandshakeFailure if !with_certificate => Some(TlsProblem::CertificateRequired),
        AlertDescription::BadCertificate => refused("bad certificate"),
        AlertDescription::UnsupportedCertificate => refused("unsupported certificate"),
        AlertDescription::CertificateRevoked => refused("revoked certificate"),
        AlertDescription::CertificateExpired => refused("expired certificate"),
        AlertDescription::CertificateUnknown => refused("unknown certificate"),
        AlertDescription::UnknownCA => refused("unknown certificate authority"),
        AlertDescription::AccessDenied => refused("access denied"),
        AlertDescription::InternalError | AlertDescription::UserCanceled | AlertDescription::CloseNotify => None,
        other => Some(TlsProblem::Handshake(format!("the server ended the handshake: {other:?}"))),
    }
}
