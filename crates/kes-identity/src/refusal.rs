//! Why a client certificate is refused, as alert and as sentence.

use std::sync::Arc;

use rustls::pki_types::{DnsName, ServerName, UnixTime};
use rustls::{CertificateError, OtherError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What the presented names of a [`CertificateError::NotValidForNameContext`] say when the certificate is a CA's.
const AUTHORITY: &str = "signing certificates (CA:TRUE)";

/// Why a handshake was refused because of the client's certificate, for the server's log.
///
/// The client learns the TLS alert only, given with each variant; they are those of the old server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No certificate where one is required. Alert 116 `certificate_required`, also in TLS 1.2 (the old server sent 40 there).
    #[error("client showed no certificate, or has only one of a kind this server cannot check (such as ECDSA P-521)")]
    Missing,
    /// A certificate is not X.509. Alert 42 `bad_certificate`.
    #[error("client certificate is malformed")]
    Malformed,
    /// Not valid yet; it becomes so at this time. Alert 45 `certificate_expired`.
    #[error("client certificate is not valid before {}; check the clocks of both sides", rfc3339(.0))]
    NotYetValid(OffsetDateTime),
    /// No longer valid; it ended at this time. Alert 45 `certificate_expired`.
    #[error("client certificate, or one that it was signed with, expired at {}", rfc3339(.0))]
    Expired(OffsetDateTime),
    /// The first certificate says CA:TRUE. Alert 42 `bad_certificate`.
    #[error("client certificate is a CA certificate (CA:TRUE); issue one with CA:FALSE")]
    Authority,
    /// No trusted authority signed it. Alert 48 `unknown_ca`.
    #[error(
        "client certificate is signed by none of the trusted CAs; add its CA to tls.ca, or let the client send its intermediates"
    )]
    UnknownAuthority,
    /// It is signed well, but for other usages than clientAuth. Alert 42 `bad_certificate`.
    #[error("client certificate is not for use by clients (extendedKeyUsage clientAuth), only for {0}")]
    Usage(String),
    /// Its key is beyond this TLS stack. Alert 46 `certificate_unknown`.
    #[error(
        "client certificate has an unsupported key: {0}; use Ed25519, ECDSA P-256 or P-384, or RSA with 2048 to 8192 bits"
    )]
    UnsupportedKey(String),
    /// Signed by a trusted authority perhaps, but in an old form that chains cannot be checked for. Alert 46
    /// `certificate_unknown`.
    #[error(
        "client certificate is X.509 v1 or v2; with tls.auth on it must be v3 (sign it with an extension such as extendedKeyUsage=clientAuth)"
    )]
    Version,
    /// A certificate of the chain is signed with an algorithm beyond this TLS stack. Alert 46 `certificate_unknown`.
    #[error(
        "client certificate, or one that it was signed with, has a signature this server cannot check (such as ECDSA P-521, small RSA or SHA-1)"
    )]
    UnsupportedSignature,
    /// The client did not prove that it has the certificate's key. Alert 51 `decrypt_error`.
    #[error("client did not prove possession of its certificate's private key")]
    NotProved,
}

impl Refusal {
    /// The refusal behind a failed handshake, if a client's certificate was the cause.
    pub fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::NoCertificatesPresented => Some(Self::Missing),
            rustls::Error::InvalidCertificate(error) => Self::of_certificate_error(error),
            _ => None,
        }
    }

    fn of_certificate_error(error: &CertificateError) -> Option<Self> {
        Some(match error {
            CertificateError::BadEncoding => Self::Malformed,
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYetValid(instant(*not_before)?),
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(instant(*not_after)?),
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::NotProved,
            CertificateError::NotValidForNameContext { presented, .. } if presented.as_slice() == [AUTHORITY] => {
                Self::Authority
            }
            CertificateError::NotValidForNameContext { presented, .. } => Self::Usage(presented.join(", ")),
            CertificateError::Other(OtherError(error)) => error.downcast_ref::<Self>()?.clone(),
            _ => return None,
        })
    }

    /// The error that makes rustls send this refusal's alert. It has none with a free text for alert 42, so the reason
    /// stands where names would.
    pub(crate) fn into_rustls(self, now: UnixTime) -> rustls::Error {
        match self {
            Self::Missing => return rustls::Error::NoCertificatesPresented,
            Self::Malformed => CertificateError::BadEncoding,
            Self::NotYetValid(at) => CertificateError::NotValidYetContext { time: now, not_before: seconds(at) },
            Self::Expired(at) => CertificateError::ExpiredContext { time: now, not_after: seconds(at) },
            Self::Authority => unfit(AUTHORITY.to_owned()),
            Self::UnknownAuthority => CertificateError::UnknownIssuer,
            Self::Usage(usages) => unfit(usages),
            Self::NotProved => CertificateError::BadSignature,
            Self::UnsupportedKey(_) | Self::UnsupportedSignature | Self::Version => {
                CertificateError::Other(OtherError(Arc::new(self)))
            }
        }
        .into()
    }
}

fn unfit(purpose: String) -> CertificateError {
    let expected = DnsName::try_from_str("client-authentication").expect("a legal name");
    CertificateError::NotValidForNameContext {
        expected: ServerName::DnsName(expected).to_owned(),
        presented: vec![purpose],
    }
}

/// Dates before 1970 count as 1970, the earliest that rustls knows.
fn seconds(at: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(at.unix_timestamp()).unwrap_or(0)))
}

pub(crate) fn instant(at: UnixTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.as_secs()).ok()?).ok()
}

fn rfc3339(at: &OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}
