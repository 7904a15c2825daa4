//! From a client's certificate to a trusted authority.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CertificateError, OtherError, RootCertStore};
use webpki::{ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

use super::{EndEntityCert, Refused};
use crate::Refusal;
use crate::pem::usages;

const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
const ANY_USAGE: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

/// Builds a chain from `first`, whose dates were checked before, to one of `roots`.
pub(super) fn check(
    certificate: &X509Certificate<'_>,
    first: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    roots: &RootCertStore,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Result<(), Refused> {
    if certificate.version() != X509Version::V3 {
        // Departs from upstream: webpki builds chains from v3 certificates only. A self-issued one has no chain anyway.
        let self_issued = certificate.issuer().as_raw() == certificate.subject().as_raw();
        return Err(if self_issued { Refusal::UnknownAuthority } else { Refusal::Version }.into());
    }
    let entity = EndEntityCert::try_from(first).map_err(Refused::Chain)?;
    let build = |usage: ForClients| {
        entity
            .verify_for_usage(algorithms, &roots.roots, others, now, usage, None, None)
            .map(drop)
            .map_err(Refused::Chain)
    };
    match build(ForClients::Required) {
        // webpki looks at usages before it looks for the issuer. A certificate of nobody we know is that first of all.
        Err(Refused::Chain(webpki::Error::RequiredEkuNotFoundContext(_))) => {
            build(ForClients::Ignored)?;
            let usages = usages(certificate).map_err(|_| Refusal::Malformed)?;
            Err(Refusal::Usage(usages.join(", ")).into())
        }
        built => built,
    }
}

/// The usages of each certificate of the chain: clientAuth, any, or no statement at all.
#[derive(Clone, Copy, PartialEq)]
enum ForClients {
    Required,
    Ignored,
}

impl ExtendedKeyUsageValidator for ForClients {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == CLIENT_AUTH || purpose == ANY_USAGE {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() || *self == Self::Ignored {
            return Ok(());
        }
        let required = webpki::KeyUsage::client_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext { required, present }))
    }
}

/// The alerts of what webpki refuses: dates 45, no known issuer (or one that is none) 48, unreadable 42, the rest 46.
pub(super) fn into_rustls(error: webpki::Error) -> rustls::Error {
    use webpki::Error;
    match error {
        Error::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        Error::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        Error::InvalidCertValidity => CertificateError::Expired,
        // A chain that does not verify comes from nobody we know, whatever broke it.
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::EndEntityUsedAsCa
        | Error::PathLenConstraintViolated => CertificateError::UnknownIssuer,
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => {
            CertificateError::BadEncoding
        }
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            CertificateError::Other(OtherError(Arc::new(Refusal::UnsupportedSignature)))
        }
        error => CertificateError::Other(OtherError(Arc::new(error))),
    }
    .into()
}
