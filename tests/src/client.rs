//! The TLS side of a client, with every fault told apart.

use crate::Credential;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::sync::Arc;

/// TLS versions that a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 only.
    Tls12,
}

/// Why no (complete) response came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server sent this TLS alert.
    Alert(u8),
    /// The server closed or reset the connection.
    Closed,
    /// Nothing came within ten seconds.
    Timeout,
    /// An HTTP/2 stream was reset or an answer was no HTTP.
    Protocol(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if let Some(rustls::Error::AlertReceived(alert)) =
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::Alert(u8::from(*alert));
        }
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Closed,
            _ => Self::Protocol(error.to_string()),
        }
    }
}

/// Settings of a client's TLS: what it presents and what it offers. Any server certificate is accepted.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// A client with a certificate that offers HTTP/1.1.
    pub fn new(credential: &Credential) -> Self {
        Self::with(Some(credential), &["http/1.1"], Versions::Both)
    }

    /// A client without certificate that offers HTTP/1.1.
    pub fn anonymous() -> Self {
        Self::with(None, &["http/1.1"], Versions::Both)
    }

    /// A client with everything chosen.
    pub fn with(credential: Option<&Credential>, protocols: &[&str], versions: Versions) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let resolver = credential.map(|credential| {
            let key = provider.key_provider.load_private_key(credential.key()).expect("a key made by this crate");
            // Not through `with_client_auth_cert`: that one refuses chains that this crate makes wrong on purpose.
            Arc::new(Always(Arc::new(CertifiedKey::new(credential.chain().to_vec(), key))))
                as Arc<dyn ResolvesClientCert>
        });
        Self::from_parts(resolver, protocols, versions)
    }

    /// A client with a hand-made key, for signatures that no honest key would make.
    pub fn with_key(key: CertifiedKey) -> Self {
        Self::from_parts(Some(Arc::new(Always(Arc::new(key)))), &["http/1.1"], Versions::Both)
    }

    fn from_parts(resolver: Option<Arc<dyn ResolvesClientCert>>, protocols: &[&str], versions: Versions) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = match versions {
            Versions::Both => rustls::ALL_VERSIONS,
            Versions::Tls12 => &[&rustls::version::TLS12],
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("ring has both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
        let mut config = match resolver {
            Some(resolver) => builder.with_client_cert_resolver(resolver),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();
        Self { config: Arc::new(config) }
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

/// Presents one certificate whatever the server asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
