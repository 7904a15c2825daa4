//! A small private certificate authority.

use std::fmt;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::certificate::{Certificate, KeyKind, Template};
use crate::signer::Signer;
use crate::{Error, PrivateKey, pem};

/// A certificate authority that signs certificates for one's own servers and clients.
///
/// It is apart from any leaf: a self-signed server certificate that must serve as its own CA is refused by many TLS clients.
/// Its key is ECDSA P-256. Certificates it makes carry key identifiers.
pub struct Authority {
    params: CertificateParams,
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
        Ok(Self { params, signer, chain: vec![signed.der().clone()], is_root: true })
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
        let signed = params.signed_by(&signer, &self.issuer()).map_err(|_| Error::Signing)?;
        Ok(Self { params, signer, chain: self.chain_below(signed.der().clone()), is_root: false })
    }

    /// A new key pair with a certificate signed by this authority; intermediates follow in its chain, the root does not.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::InvalidName`], [`Error::InvalidDates`].
    pub fn issue(&self, kind: KeyKind, template: &Template) -> Result<Certificate, Error> {
        let signer = kind.generate()?;
        let mut params = template.params()?;
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&signer, &self.issuer()).map_err(|_| Error::Signing)?;
        Certificate::of_signer(self.chain_below(signed.der().clone()), &signer)
    }

    /// Its certificate: what others put into their list of trusted authorities, if it is a root.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
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

    fn issuer(&self) -> Issuer<'_, &Signer> {
        Issuer::from_params(&self.params, &self.signer)
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
        let facts = pem::facts(self.certificate()).expect("made here");
        write!(f, "Authority({})", facts.subject)
    }
}

fn params(name: &str, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Result<CertificateParams, Error> {
    let mut params = Template { usages: Vec::new(), ..Template::new(name, not_before, not_after) }.params()?;
    params.custom_extensions.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
