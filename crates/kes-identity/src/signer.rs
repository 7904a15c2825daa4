//! Key pairs that sign certificates. rcgen has its own, but keeps unwiped copies of their private keys.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::{Error, PrivateKey};

/// DER of a PKCS#8 v1 Ed25519 private key (RFC 8410) up to the 32 bytes of the seed.
const PKCS8_ED25519: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A key pair with the PKCS#8 form of its private key.
pub(crate) struct Signer {
    pair: Pair,
    private: PrivateKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    pub(crate) fn ed25519(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("the seed has 32 bytes");
        Self { pair: Pair::Ed25519(pair), private: pkcs8([PKCS8_ED25519.as_slice(), seed].concat()) }
    }

    pub(crate) fn generate_ed25519() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(&mut *seed)?;
        Ok(Self::ed25519(&seed))
    }

    pub(crate) fn generate_p256() -> Result<Self, Error> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| Error::Random)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.as_ref(), &random)
            .map_err(|_| Error::Signing)?;
        Ok(Self { pair: Pair::P256(pair), private: pkcs8(der.as_ref().to_vec()) })
    }

    /// The key pair of a private key in PKCS#8, of one of the two kinds that are made here.
    pub(crate) fn from_private_key(key: &PrivateKey) -> Result<Self, Error> {
        let PrivateKeyDer::Pkcs8(der) = key.expose() else { return Err(Error::UnsupportedKey) };
        let der = der.secret_pkcs8_der();
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &SystemRandom::new());
        let pair = match p256 {
            Ok(pair) => Pair::P256(pair),
            Err(_) => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| Error::UnsupportedKey)?)
            }
        };
        Ok(Self { pair, private: PrivateKey::new(key.expose().clone_key()) })
    }

    pub(crate) fn private_key(&self) -> PrivateKey {
        PrivateKey::new(self.private.expose().clone_key())
    }
}

impl rcgen::PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::P256(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.pair {
            Pair::Ed25519(_) => &rcgen::PKCS_ED25519,
            Pair::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(pair) => match pair.sign(&SystemRandom::new(), message) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(rcgen::Error::RingUnspecified),
            },
        }
    }
}

/// Fills `bytes` from the system's random number generator.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    ring::rand::SecureRandom::fill(&SystemRandom::new(), bytes).map_err(|_| Error::Random)
}

fn pkcs8(der: Vec<u8>) -> PrivateKey {
    PrivateKey::new(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)))
}
