//! TLS handshakes in memory, with clients that show whatever they are told to.

use std::io;
use std::sync::Arc;

use kes_identity::{Certificate, Identity, PeerError, Refusal, Verification, client_verifier, peer_identity};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    ServerConnection, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
};
use time::OffsetDateTime;
use time::macros::datetime;

/// What the servers of these tests take for the present.
pub(crate) const NOW: OffsetDateTime = datetime!(2030-06-01 12:00 UTC);

pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// How a handshake ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The certificates the server holds for the peer.
    Accepted(Vec<CertificateDer<'static>>),
    /// Why the server refused, and what it told the client.
    Refused { error: Error, alert: Option<AlertDescription> },
}

impl Outcome {
    #[track_caller]
    pub(crate) fn identity(&self) -> Result<Identity, PeerError> {
        match self {
            Self::Accepted(chain) => peer_identity(chain),
            Self::Refused { error, .. } => panic!("refused: {error}"),
        }
    }

    /// The number of the alert; 0 for accepted.
    pub(crate) fn alert(&self) -> u8 {
        match self {
            Self::Accepted(_) => 0,
            Self::Refused { alert, .. } => alert.map_or(255, u8::from),
        }
    }

    #[track_caller]
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Accepted(_) => panic!("accepted"),
            Self::Refused { error, .. } => Refusal::of(error).unwrap_or_else(|| panic!("no refusal behind {error:?}")),
        }
    }
}

pub(crate) fn server(
    verification: Verification,
    required: bool,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let template = kes_identity::Template::new("server", NOW, NOW);
    let own = Certificate::self_signed(kes_identity::KeyKind::EcdsaP256, &template).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Clock))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(client_verifier(verification, required))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from((*own.certified_key()).clone())));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A client that shows these certificates, or none.
pub(crate) fn client(shown: Option<Arc<CertifiedKey>>, alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let mut config = match shown {
        Some(key) => builder.with_client_cert_resolver(Arc::new(Shows(key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// One handshake. The client reads the server's answer to its certificate too.
pub(crate) fn handshake(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> (Outcome, ClientConnection) {
    let mut server = ServerConnection::new(server).unwrap();
    let mut client = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut refused = None;
    let mut told = None;
    for _ in 0..8 {
        let bytes = sent(|out| client.write_tls(out));
        server.read_tls(&mut bytes.as_slice()).unwrap();
        if let Err(error) = server.process_new_packets() {
            refused.get_or_insert(error);
        }
        let bytes = sent(|out| server.write_tls(out));
        client.read_tls(&mut bytes.as_slice()).unwrap();
        if let Err(Error::AlertReceived(alert)) = client.process_new_packets() {
            told.get_or_insert(alert);
        }
    }
    let outcome = match refused {
        Some(error) => Outcome::Refused { error, alert: told },
        None => {
            assert!(!server.is_handshaking(), "handshake did not finish");
            let chain = server.peer_certificates().unwrap_or_default();
            Outcome::Accepted(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
        }
    };
    (outcome, client)
}

/// The handshake of a client that shows `shown` to a server.
pub(crate) fn connect(
    verification: &Verification,
    required: bool,
    version: &'static SupportedProtocolVersion,
    shown: Option<Arc<CertifiedKey>>,
) -> Outcome {
    handshake(server(verification.clone(), required, version), client(shown, &["h2"])).0
}

pub(crate) fn roots(authorities: &[&CertificateDer<'static>]) -> Verification {
    let mut store = RootCertStore::empty();
    let certificates: Vec<_> = authorities.iter().map(|authority| (*authority).clone()).collect();
    kes_identity::trust(&mut store, &certificates).unwrap();
    Verification::Roots(Arc::new(store))
}

/// A chain with a key that need not belong to its first certificate.
pub(crate) fn forged(chain: &[&CertificateDer<'static>], key: &Certificate) -> Arc<CertifiedKey> {
    let chain = chain.iter().map(|certificate| (*certificate).clone()).collect();
    Arc::new(CertifiedKey::new(chain, Arc::clone(&key.certified_key().key)))
}

/// A chain whose key cannot sign at all: ring refuses the client's side of P-521 and small RSA too.
pub(crate) fn unsigned(chain: &[CertificateDer<'static>], scheme: SignatureScheme) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::new(chain.to_vec(), Arc::new(Unable(scheme))))
}

/// All that one side has to say.
fn sent(mut write: impl FnMut(&mut dyn io::Write) -> io::Result<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while write(&mut bytes).unwrap() > 0 {}
    bytes
}

#[derive(Debug)]
struct Clock;

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unix_timestamp() as u64)))
    }
}

/// Shows its certificate whatever the server asks for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Unable(SignatureScheme);

impl SigningKey for Unable {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self(self.0)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Unable {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0; 128])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
