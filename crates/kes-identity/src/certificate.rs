//! Certificates together with their private key.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use time::{OffsetDateTime, UtcOffset};
use zeroize::Zeroizing;

use crate::signer::{Signer, fill};
use crate::{Error, Identity, PrivateKey, SecretText, pem, x509};

/// A certificate chain, leaf first, and the private key of the leaf. The two are known to belong together.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    ready: Arc<CertifiedKey>,
}

/// What a certificate is to say. Start from [`Template::new`].
#[derive(Debug, Clone)]
pub struct Template {
    /// Common name of the subject.
    pub subject: String,
    /// DNS names it is valid for.
    pub dns: Vec<String>,
    /// IP addresses it is valid for.
    pub ips: Vec<IpAddr>,
    /// First second of its validity; fractions are cut off.
    pub not_before: OffsetDateTime,
    /// Last second of its validity. May lie before `not_before`, which makes a certificate that was never valid.
    pub not_after: OffsetDateTime,
    /// Its extended key usages; none = no such extension, which allows all uses.
    pub usages: Vec<Usage>,
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// By a TLS client.
    ClientAuth,
    /// By a TLS server.
    ServerAuth,
}

/// The kind of a new key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519, as API keys.
    Ed25519,
    /// ECDSA on P-256, which every TLS client understands.
    EcdsaP256,
}

impl Template {
    /// Without names, for both usages.
    pub fn new(subject: &str, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        Self {
            subject: subject.to_owned(),
            dns: Vec::new(),
            ips: Vec::new(),
            not_before,
            not_after,
            usages: vec![Usage::ClientAuth, Usage::ServerAuth],
        }
    }

    /// As rcgen wants it: v3, random 128-bit serial, digitalSignature, CA:FALSE.
    pub(crate) fn params(&self) -> Result<CertificateParams, Error> {
        let mut serial = [0; 16];
        fill(&mut serial)?;
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = date(self.not_before)?;
        params.not_after = date(self.not_after)?;
        params.distinguished_name = common_name(&self.subject)?;
        for name in &self.dns {
            let text = name.as_str().try_into().map_err(|_| Error::InvalidName(name.clone()))?;
            params.subject_alt_names.push(SanType::DnsName(text));
        }
        params.subject_alt_names.extend(self.ips.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usages.iter().map(|usage| usage.purpose()).collect();
        // rcgen's own CA:FALSE brings a key identifier along, which API-key certificates do not have.
        params.is_ca = IsCa::NoCa;
        let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
        constraints.set_criticality(true);
        params.custom_extensions.push(constraints);
        Ok(params)
    }
}

impl Usage {
    fn purpose(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
            Self::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
        }
    }
}

impl Certificate {
    /// Reads a certificate chain and its key from PEM files, in this order, and checks that they belong together.
    ///
    /// `password` opens an encrypted key (an empty one counts as none) and is ignored for a plain one. The key file may hold
    /// certificates too; its first key counts.
    ///
    /// # Errors
    /// Any [`pem::Error`], whose texts are those of the old server after `failed to read TLS certificate: `.
    pub fn from_files(certificate: &Path, key: &Path, password: Option<&str>) -> Result<Self, pem::Error> {
        let chain = pem::certificates(&pem::read(certificate)?)?;
        let key = pem::private_key(&Zeroizing::new(pem::read(key)?), password)?;
        Self::new(chain, key)
    }

    /// Joins a chain, leaf first, and the leaf's key.
    ///
    /// # Errors
    /// [`pem::Error::Empty`] for an empty chain, [`pem::Error::MalformedCertificate`], [`pem::Error::UnsupportedKey`] for
    /// keys that the TLS stack cannot use (P-521, RSA outside 2048–4096 bits), [`pem::Error::Mismatch`],
    /// [`pem::Error::KindMismatch`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, pem::Error> {
        let leaf = chain.first().ok_or(pem::Error::Empty)?;
        let leaf = x509::parse(leaf).map_err(|_| pem::Error::MalformedCertificate)?;
        let signing = any_supported_type(key.expose()).map_err(|_| pem::Error::UnsupportedKey)?;
        let public = signing.public_key().ok_or(pem::Error::UnsupportedKey)?;
        if public.as_ref() != leaf.tbs_certificate.subject_pki.raw {
            let of_kind = x509::is_of_kind(&leaf, &public);
            return Err(if of_kind { pem::Error::Mismatch } else { pem::Error::KindMismatch });
        }
        let ready = Arc::new(CertifiedKey::new(chain.clone(), signing));
        Ok(Self { chain, key, ready })
    }

    /// A new key pair with a self-signed certificate for it.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::InvalidName`], [`Error::InvalidDates`].
    pub fn self_signed(kind: KeyKind, template: &Template) -> Result<Self, Error> {
        Self::sign(&kind.generate()?, template)
    }

    pub(crate) fn sign(signer: &Signer, template: &Template) -> Result<Self, Error> {
        let signed = template.params()?.self_signed(signer).map_err(|_| Error::Signing)?;
        Self::of_signer(vec![signed.der().clone()], signer)
    }

    pub(crate) fn of_signer(chain: Vec<CertificateDer<'static>>, signer: &Signer) -> Result<Self, Error> {
        Self::new(chain, signer.private_key()).map_err(|_| Error::Signing)
    }

    /// The certificates, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificate of the key.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The private key of the leaf.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Chain and key as rustls's certificate resolvers answer them; made once, shared.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.ready)
    }

    /// Whom a server sees when this certificate is shown.
    pub fn identity(&self) -> Identity {
        Identity::of_certificate(self.leaf()).expect("parsed when this value was made")
    }

    /// Names, dates and the like of the leaf.
    pub fn facts(&self) -> pem::Facts {
        pem::facts(self.leaf()).expect("parsed when this value was made")
    }

    /// Asks what every TLS client asks of a server: at least one DNS name or IP address.
    ///
    /// # Errors
    /// [`pem::Error::NoNames`], the old server's text after `invalid TLS certificate: `.
    pub fn require_names(&self) -> Result<(), pem::Error> {
        if self.facts().names.is_empty() { Err(pem::Error::NoNames) } else { Ok(()) }
    }

    /// The chain as PEM, one `CERTIFICATE` block each.
    pub fn to_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem::encode("CERTIFICATE", certificate)).collect()
    }

    /// The private key as PEM, not encrypted.
    pub fn key_to_pem(&self) -> SecretText {
        pem::encode_private_key(&self.key)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.identity())
    }
}

impl KeyKind {
    pub(crate) fn generate(self) -> Result<Signer, Error> {
        match self {
            Self::Ed25519 => Signer::generate_ed25519(),
            Self::EcdsaP256 => Signer::generate_p256(),
        }
    }
}

/// `CN=<text>`: a PrintableString where its alphabet suffices, else UTF-8.
pub(crate) fn common_name(text: &str) -> Result<DistinguishedName, Error> {
    let value = match text.try_into() {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(text.to_owned()),
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, value);
    Ok(name)
}

/// In UTC, and within what a certificate can hold.
pub(crate) fn date(date: OffsetDateTime) -> Result<OffsetDateTime, Error> {
    date.checked_to_offset(UtcOffset::UTC).filter(|date| (1..=9999).contains(&date.year())).ok_or(Error::InvalidDates)
}

#[cfg(test)]
mod tests;
