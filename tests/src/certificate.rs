//! Certificates of every kind, made here and not by the code under test.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// What a client presents: a chain whose first certificate belongs to the key.
#[derive(Debug)]
pub struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
    identity: String,
}

impl Clone for Credential {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), identity: self.identity.clone() }
    }
}

impl Credential {
    /// The credential of the API key whose Ed25519 seed is 32 times `byte`, as the vectors use them.
    pub fn from_seed(byte: u8) -> Self {
        Self::from_api_key(&Self::api_key(byte))
    }

    /// The API key of [`Credential::from_seed`]: `kes:v1:` and the base64 of a zero byte and the seed.
    pub fn api_key(byte: u8) -> String {
        let mut bytes = [byte; 33];
        bytes[0] = 0;
        format!("kes:v1:{}", STANDARD.encode(bytes))
    }

    /// The certificate that the official client makes from an API key.
    pub fn from_api_key(text: &str) -> Self {
        let bytes = STANDARD
            .decode(text.strip_prefix("kes:v1:").expect("an API key begins with kes:v1:"))
            .expect("an API key is base64");
        assert_eq!((bytes.len(), bytes[0]), (33, 0), "an API key is a zero byte and a seed of 32 bytes");
        Recipe::new("api-key").key(ed25519(&bytes[1..])).self_signed()
    }

    /// The identity that the server must see: lower-case hex of SHA-256 over the first certificate's SubjectPublicKeyInfo.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The same credential with further certificates behind its own.
    pub fn followed_by<'a>(mut self, others: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Self {
        self.chain.extend(others.into_iter().cloned());
        self
    }

    /// The certificates, the client's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// The chain as PEM text.
    pub fn certificate_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The private key as PKCS#8 PEM text.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", self.key.secret_pkcs8_der())
    }
}

/// A certificate authority of a test's own.
pub struct Authority {
    credential: Credential,
    params: CertificateParams,
}

impl Authority {
    /// A self-signed root.
    pub fn root(name: &str) -> Self {
        Self::make(name, None)
    }

    /// An intermediate authority below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        Self::make(name, Some(self))
    }

    fn make(name: &str, parent: Option<&Self>) -> Self {
        let recipe = Recipe::new(name).authority();
        let params = recipe.params.clone();
        Self { credential: recipe.finish(parent), params }
    }

    /// The authority's own certificate and key, for clients that misuse them.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.credential.chain[0]
    }
}

/// How to make a certificate; by default a client's: CA:FALSE, clientAuth, valid for a year from an hour ago, ECDSA P-256.
pub struct Recipe {
    params: CertificateParams,
    key: KeyPair,
}

impl Recipe {
    /// The default recipe for a common name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let recipe = Self { params, key: KeyPair::generate().expect("a P-256 key") };
        recipe.valid(Duration::hours(-1), Duration::days(365))
    }

    /// Takes this key.
    pub fn key(mut self, key: KeyPair) -> Self {
        self.key = key;
        self
    }

    /// Sets the validity, relative to now.
    pub fn valid(mut self, from: Duration, until: Duration) -> Self {
        let now = OffsetDateTime::now_utc();
        (self.params.not_before, self.params.not_after) = (now + from, now + until);
        self
    }

    /// Valid for a day until an hour ago.
    pub fn expired(self) -> Self {
        self.valid(Duration::days(-1), Duration::hours(-1))
    }

    /// Valid from tomorrow on.
    pub fn not_yet_valid(self) -> Self {
        self.valid(Duration::days(1), Duration::days(2))
    }

    /// CA:TRUE.
    pub fn authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::DigitalSignature];
        self.params.extended_key_usages.clear();
        self
    }

    /// Without basicConstraints.
    pub fn without_constraints(mut self) -> Self {
        self.params.is_ca = IsCa::NoCa;
        self
    }

    /// Without extendedKeyUsage.
    pub fn without_usage(mut self) -> Self {
        self.params.extended_key_usages.clear();
        self
    }

    /// For servers only.
    pub fn for_servers(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// With these DNS names and addresses.
    pub fn names(mut self, names: &[&str]) -> Self {
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
            .expect("names for a certificate");
        self.params.subject_alt_names = params.subject_alt_names;
        self
    }

    /// Signed by its own key.
    pub fn self_signed(self) -> Credential {
        self.finish(None)
    }

    /// Signed by an authority; the chain holds the new certificate alone.
    pub fn signed_by(self, authority: &Authority) -> Credential {
        self.finish(Some(authority))
    }

    fn finish(self, issuer: Option<&Authority>) -> Credential {
        let certificate = match issuer {
            None => self.params.self_signed(&self.key),
            Some(authority) => {
                let key =
                    KeyPair::try_from(authority.credential.key.secret_pkcs8_der()).expect("the authority's own key");
                self.params.signed_by(&self.key, &Issuer::from_params(&authority.params, key))
            }
        };
        let certificate = certificate.expect("a certificate can be signed");
        Credential {
            identity: identity_of(&rcgen::PublicKeyData::subject_public_key_info(&self.key)),
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(self.key.serialize_der()),
        }
    }
}

/// Lower-case hex of SHA-256.
pub fn identity_of(public_key_info: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, public_key_info);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An Ed25519 key from its seed of 32 bytes (RFC 8410 PKCS#8 without the public key).
fn ed25519(seed: &[u8]) -> KeyPair {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend_from_slice(seed);
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &rcgen::PKCS_ED25519)
        .expect("any seed is a key")
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
