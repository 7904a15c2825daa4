//! Whom a finished handshake belongs to.

use rustls::pki_types::CertificateDer;

use crate::{Identity, x509};

/// Why a peer has no identity. The texts are causes for the log; what goes over the wire is in the documentation of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It showed no certificate. On the wire: `tls: client certificate is required`.
    #[error("client showed no certificate")]
    Missing,
    /// Its first certificate says CA:TRUE, as `openssl req -x509` makes them. On the wire as [`Missing`](Self::Missing).
    #[error("first client certificate is a CA certificate (CA:TRUE), which has no identity; issue one with CA:FALSE")]
    AuthorityFirst,
    /// A later certificate says CA:FALSE. On the wire: `tls: received more than one client certificate`.
    #[error("client showed more than one certificate with CA:FALSE")]
    MoreThanOne,
    /// A certificate is not X.509. A handshake with [`client_verifier`](crate::client_verifier) has refused it before.
    #[error("client certificate is malformed")]
    Malformed,
}

/// The identity of a peer that showed `chain`, in the order of the handshake.
///
/// Only the key of the **first** certificate was proved, so only it can be the identity; those after it may be CA
/// certificates and nothing else.
///
/// # Errors
/// [`PeerError`], in the order of its variants.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> Result<Identity, PeerError> {
    // Departs from upstream: the old server skipped CA certificates wherever they stood, and so took the identity of a
    // certificate whose key nobody had shown. One's own CA certificate in front of the admin's public one made an admin.
    let (first, others) = chain.split_first().ok_or(PeerError::Missing)?;
    let first = x509::parse(first).map_err(|_| PeerError::Malformed)?;
    if x509::is_ca(&first).map_err(|_| PeerError::Malformed)? {
        return Err(PeerError::AuthorityFirst);
    }
    for other in others {
        let other = x509::parse(other).map_err(|_| PeerError::Malformed)?;
        if !x509::is_ca(&other).map_err(|_| PeerError::Malformed)? {
            return Err(PeerError::MoreThanOne);
        }
    }
    Ok(Identity::of_spki(first.tbs_certificate.subject_pki.raw))
}
