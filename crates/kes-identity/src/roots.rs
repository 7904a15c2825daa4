//! Trusted certificate authorities.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::Error;

/// The certificate authorities that the system trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if set.
///
/// Empty where the system has none (containers without `ca-certificates`); unreadable entries are left out.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Adds certificates that the operator named (`tls.ca`) to `roots`.
///
/// # Errors
/// [`Error::MalformedCertificate`]: one cannot serve as a trust anchor. Unlike the system's, these must all be good.
pub fn trust(roots: &mut RootCertStore, certificates: &[CertificateDer<'static>]) -> Result<(), Error> {
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|_| Error::MalformedCertificate)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Authority;
    use time::macros::datetime;

    #[test]
    fn named_authorities_must_be_good() {
        let start = datetime!(2030-01-01 0:00 UTC);
        let authority = Authority::generate("ca", start, start).unwrap();
        let mut roots = system_roots();
        let system = roots.len();
        trust(&mut roots, std::slice::from_ref(authority.certificate())).unwrap();
        assert_eq!(roots.len(), system + 1);
        let error = trust(&mut roots, &[CertificateDer::from(b"junk".to_vec())]).unwrap_err();
        assert_eq!(error, Error::MalformedCertificate);
    }
}
