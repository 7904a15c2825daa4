//! The TLS side of a state: certificate, verification of clients, session tickets.

use std::sync::Arc;

use kes_identity::pem::Facts;
use kes_identity::{Certificate, Verification, client_verifier};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;
use time::OffsetDateTime;

/// TLS as new connections get it.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) verification: Verification,
    pub(super) facts: Facts,
}

impl Tls {
    /// A client certificate is asked for, and demanded if `required`.
    pub(super) fn new(
        certificate: &Certificate,
        verification: Verification,
        required: bool,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(client_verifier(verification.clone(), required))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from((*certificate.certified_key()).clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Stateless tickets: no shared cache, no lock. A new configuration has new ticket keys, so that a session made
        // under the old one does not resume.
        config.ticketer = ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.ignore_client_order = true;
        Ok(Self { config: Arc::new(config), verification, facts: certificate.facts() })
    }

    /// What clients dislike about our certificate, for the log line of a handshake that they ended.
    pub(super) fn defect(&self) -> Option<&'static str> {
        if self.facts.names.is_empty() {
            Some("the server's certificate names neither a DNS name nor an IP address (no SAN)")
        } else if self.facts.not_after < OffsetDateTime::now_utc() {
            Some("the server's certificate has expired")
        } else {
            None
        }
    }
}
