//! Which client certificates get through the handshake.
//!
//! What is always checked is that the client has the key of its first certificate, against the raw public key: rustls's own
//! helpers refuse X.509 v1, which self-made certificates often are. Everything else hangs on [`Verification`].

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use time::OffsetDateTime;
use webpki::{EndEntityCert, RawPublicKeyEntity};
use x509_parser::certificate::X509Certificate;

use crate::refusal::instant;
use crate::{Refusal, x509};

mod chain;
mod key;

/// What a client certificate must be, besides its key being proved.
#[derive(Clone)]
pub enum Verification {
    /// Anything: self-signed, expired, for other usages. This is `tls.auth: off`.
    Any,
    /// Valid now, chained to one of these authorities (over at most six intermediates), and for clientAuth or for no usage in particular.
    /// Revocation is not checked. This is `tls.auth: on`.
    Roots(Arc<RootCertStore>),
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Roots(roots) => write!(f, "Roots({})", roots.len()),
        }
    }
}

/// The verifier for a rustls `ServerConfig`.
///
/// `required`: a handshake without a certificate fails (alert 116); else it succeeds and the peer has no identity. The names
/// of the trusted authorities are never sent, so that clients do not hold back self-signed certificates. Time comes from the
/// configuration's `time_provider`. [`Refusal::of`] explains the errors.
pub fn client_verifier(verification: Verification, required: bool) -> Arc<dyn ClientCertVerifier> {
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    Arc::new(Verifier { verification, required, algorithms })
}

/// Whether the certificate that a resumed connection was opened with is valid now.
///
/// TLS resumption does not verify certificates again; under [`Verification::Roots`] a ticket would otherwise outlive its
/// certificate.
///
/// # Errors
/// [`Refusal::Missing`], [`Refusal::Malformed`], [`Refusal::NotYetValid`], [`Refusal::Expired`].
pub fn still_valid(chain: &[CertificateDer<'_>], now: OffsetDateTime) -> Result<(), Refusal> {
    let first = chain.first().ok_or(Refusal::Missing)?;
    check_dates(&x509::parse(first).map_err(|_| Refusal::Malformed)?, now)
}

#[derive(Debug)]
struct Verifier {
    verification: Verification,
    required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn check(&self, first: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Refused> {
        let certificate = x509::parse(first).map_err(|_| Refusal::Malformed)?;
        for other in others {
            x509::parse(other).map_err(|_| Refusal::Malformed)?;
        }
        if let Verification::Roots(roots) = &self.verification {
            // Dates come first, so that an expired self-signed certificate is called expired, as the old server did.
            check_dates(&certificate, instant(now).ok_or(Refusal::Malformed)?)?;
            if x509::is_ca(&certificate).map_err(|_| Refusal::Malformed)? {
                return Err(Refusal::Authority.into());
            }
            chain::check(&certificate, first, others, roots, self.algorithms.all, now)?;
        }
        Ok(key::check(&certificate)?)
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(Refused::Ours(refusal)) => Err(refusal.into_rustls(now)),
            Err(Refused::Chain(error)) => Err(chain::into_rustls(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The scheme of TLS 1.2 names a hash and a kind of key, not its curve: whichever algorithm fits the key decides.
        let (_, candidates) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let spki = public_key(cert)?;
        let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
        let proved =
            candidates.iter().any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok());
        if proved { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature_with_raw_key(message, &public_key(cert)?, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Decided by us, or by webpki while building the chain.
enum Refused {
    Ours(Refusal),
    Chain(webpki::Error),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Ours(refusal)
    }
}

fn check_dates(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Result<(), Refusal> {
    let (not_before, not_after) = (certificate.validity().not_before, certificate.validity().not_after);
    if now.unix_timestamp() < not_before.timestamp() {
        Err(Refusal::NotYetValid(not_before.to_datetime()))
    } else if now.unix_timestamp() > not_after.timestamp() {
        Err(Refusal::Expired(not_after.to_datetime()))
    } else {
        Ok(())
    }
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let parsed = x509::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(parsed.tbs_certificate.subject_pki.raw.to_vec()))
}
