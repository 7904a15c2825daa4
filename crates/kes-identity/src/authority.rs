//! A small private certificate authority.

use std::fmt;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;

use crate::certificate::{Certificate, KeyKind, Template};
use crate::signer::Signer;
use crate::{Error, PrivateKey, pem};

/// A certificate authority that signs certificates for one's own servers and clients.
///
/// It is apart from any leaf: a self-signed server certificate that must serve as its own CA is refused by many TLS clients.
/// Its key is ECDSA P-256. Certificates it makes carry key identifiers.
pub struct Authority {
    signer: Signer,
    /// Its own certificate, then those up to the root, the root left out.
    chain: Vec<CertificateDer<'static>>,
    is_root: bool,
}

impl Authority {
    /// A new root with the given common name and dates.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::InvalidDates`].
    pub fn generate(name: &str, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Result<Self, Error> {
        let signer = Signer::generate_p256()?;
        let params = params(name, not_before, not_after)?;
        let signed = params.self_signed(&signer).map_err(|_| Error::Signing)?;
        Ok(Self { signer, chain: vec![signed.der().clone()], is_root: true })
    }

    /// Takes an authority up again, from its certificate and key. One that signed itself is the root; of another the whole
    /// chain follows what it signs.
    ///
    /// # Errors
    /// [`Error::NotAnAuthority`], [`Error::UnsupportedKey`], [`Error::MalformedCertificate`].
    pub fn from_certificate(certificate: &Certificate) -> Result<Self, Error> {
        let facts = certificate.facts();
        if !facts.is_ca {
            return Err(Error::NotAnAuthority);
        }
        let signer = Signer::from_private_key(certificate.key())?;
        let authority = Self { signer, chain: certificate.chain().to_vec(), is_root: facts.self_issued };
        authority.issuer().map_err(|_| Error::MalformedCertificate)?;
        Ok(authority)
    }

    /// A new intermediate authority below this one. What it signs carries the chain.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::InvalidDates`].
    pub fn intermediate(
        &self,
        name: &str,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Self, Error> {
        let signer = Signer::generate_p256()?;
        let mut params = params(name, not_before, not_after)?;
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&signer, &self.issuer()?).map_err(|_| Error::Signing)?;
        Ok(Self { signer, chain: self.chain_below(signed.der().clone()), is_root: false })
    }

    /// A new key pair with a certificate signed by this authority; intermediates follow in its chain, the root does not.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::InvalidName`], [`Error::InvalidDates`].
    pub fn issue(&self, kind: KeyKind, template: &Template) -> Result<Certificate, Error> {
        self.sign(&kind.generate()?, template)
    }

    /// As [`issue`](Self::issue), for a key pair that exists: a renewal. Its file and its identity stay.
    ///
    /// # Errors
    /// [`Error::UnsupportedKey`], and as there.
    pub fn issue_for(&self, key: &PrivateKey, template: &Template) -> Result<Certificate, Error> {
        self.sign(&Signer::from_private_key(key)?, template)
    }

    fn sign(&self, signer: &Signer, template: &Template) -> Result<Certificate, Error> {
        let mut params = template.params()?;
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(signer, &self.issuer()?).map_err(|_| Error::Signing)?;
        Certificate::of_signer(self.chain_below(signed.der().clone()), signer)
    }

    /// Whether it signed this chain's leaf, whatever the dates say.
    pub fn has_signed(&self, certificate: &Certificate) -> bool {
        let check = || {
            let anchor = webpki::anchor_from_trusted_cert(self.certificate()).ok()?;
            let entity = webpki::EndEntityCert::try_from(certificate.leaf()).ok()?;
            let issued = certificate.facts().not_before.unix_timestamp();
            let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(issued).ok()?));
            let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
            let usage = webpki::KeyUsage::server_auth();
            entity.verify_for_usage(algorithms, &[anchor], &[], then, usage, None, None).ok().map(drop)
        };
        check().is_some()
    }

    /// Its certificate: what others put into their list of trusted authorities, if it is a root.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// Names, dates and the like of its certificate.
    pub fn facts(&self) -> pem::Facts {
        pem::facts(self.certificate()).expect("made or parsed here")
    }

    /// Its private key, to be kept apart from the servers.
    pub fn key(&self) -> PrivateKey {
        self.signer.private_key()
    }

    /// Its certificate and key as one value, to write them or to show it in a handshake.
    ///
    /// # Errors
    /// [`Error::Signing`] if the TLS stack refuses its own key.
    pub fn as_certificate(&self) -> Result<Certificate, Error> {
        Certificate::of_signer(self.chain.clone(), &self.signer)
    }

    /// Its certificate as PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", self.certificate())
    }

    fn issuer(&self) -> Result<Issuer<'_, &Signer>, Error> {
        Issuer::from_ca_cert_der(self.certificate(), &self.signer).map_err(|_| Error::Signing)
    }

    fn chain_below(&self, leaf: CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        let mut chain = vec![leaf];
        if !self.is_root {
            chain.extend_from_slice(&self.chain);
        }
        chain
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.facts().subject)
    }
}

fn params(name: &str, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Result<CertificateParams, Error> {
    let mut params = Template { usages: Vec::new(), ..Template::new(name, not_before, not_after) }.params()?;
    params.custom_extensions.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verification, client_verifier, trust};
    use std::sync::Arc;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);
    const END: OffsetDateTime = datetime!(2036-01-01 00:00:00 UTC);

    /// Whether the chain leads to this root.
    fn is_trusted(root: &Authority, certificate: &Certificate) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        trust(&mut roots, &[root.certificate().clone()]).unwrap();
        let verifier = client_verifier(Verification::Roots(Arc::new(roots)), true);
        let now = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_780_000_000));
        verifier.verify_client_cert(certificate.leaf(), &certificate.chain()[1..], now).is_ok()
    }

    #[test]
    fn an_authority_from_its_files_signs_as_before() {
        let made = Authority::generate("a small authority, ü", START, END).unwrap();
        let between = made.intermediate("between", START, END).unwrap();
        for authority in [&made, &between] {
            let again = Authority::from_certificate(&authority.as_certificate().unwrap()).unwrap();
            let old = authority.issue(KeyKind::EcdsaP256, &Template::new("leaf", START, END)).unwrap();
            let new = again.issue_for(old.key(), &Template::new("leaf", START, END)).unwrap();
            assert!(is_trusted(&made, &old) && is_trusted(&made, &new));
            assert!(authority.has_signed(&old) && again.has_signed(&new));
            assert_eq!(new.identity(), old.identity(), "the key stays");
            assert_ne!(new.leaf(), old.leaf());
            assert_eq!(new.facts().issuer, old.facts().issuer);
        }
        let other = Authority::generate("a small authority, ü", START, END).unwrap();
        let leaf = other.issue(KeyKind::Ed25519, &Template::new("leaf", START, END)).unwrap();
        assert!(!is_trusted(&made, &leaf) && !made.has_signed(&leaf), "the same name with another key");
        assert_eq!(Authority::from_certificate(&leaf).map(|_| ()), Err(Error::NotAnAuthority));
    }
}
