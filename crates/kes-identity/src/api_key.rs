//! The text form of an Ed25519 key pair.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, Template, Usage};
use crate::signer::Signer;
use crate::{Error, Identity, SecretText};

const PREFIX: &str = "kes:v1:";
const SEED_LEN: usize = 32;
/// The first byte of the decoded text: the key is an Ed25519 seed.
const ED25519: u8 = 0;

/// A client's secret: an Ed25519 seed, and the identity that follows from it.
///
/// `text = "kes:v1:" + base64(0x00 || seed)`, 51 characters. From the key a client makes the certificate it shows
/// ([`certificate`](Self::certificate)); the server needs the [`identity`](Self::identity) only.
pub struct ApiKey {
    seed: Zeroizing<[u8; SEED_LEN]>,
    identity: Identity,
}

impl ApiKey {
    /// How long a certificate made from a key is valid: 90 days.
    pub const CERTIFICATE_LIFETIME: Duration = Duration::days(90);

    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        SystemRandom::new().fill(&mut *seed).map_err(|_| Error::Random)?;
        Ok(Self::from_seed(seed))
    }

    /// The key of an Ed25519 private key in PKCS#8 (DER, not encrypted), as `kes identity new --key` writes it.
    ///
    /// # Errors
    /// [`Error::NotEd25519`] for anything else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        const OID: pkcs8::ObjectIdentifier = pkcs8::ObjectIdentifier::new_unwrap("1.3.101.112");
        let info = pkcs8::PrivateKeyInfo::try_from(der).map_err(|_| Error::NotEd25519)?;
        // RFC 8410: the key is an OCTET STRING inside the OCTET STRING of PKCS#8.
        match info.private_key {
            [0x04, 0x20, bytes @ ..] if info.algorithm.oid == OID && bytes.len() == SEED_LEN => {
                let mut seed = Zeroizing::new([0; SEED_LEN]);
                seed.copy_from_slice(bytes);
                Ok(Self::from_seed(seed))
            }
            _ => Err(Error::NotEd25519),
        }
    }

    /// Reads a text that must begin with `kes:v1:`, to tell keys from file names.
    ///
    /// # Errors
    /// [`Error::NoPrefix`], and those of [`from_str`](Self::from_str).
    pub fn parse_prefixed(text: &str) -> Result<Self, Error> {
        if text.starts_with(PREFIX) { text.parse() } else { Err(Error::NoPrefix) }
    }

    /// Whom a server sees when this key is used.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The 51 characters to store or to hand over.
    pub fn to_text(&self) -> SecretText {
        let mut bytes = Zeroizing::new([ED25519; SEED_LEN + 1]);
        bytes[1..].copy_from_slice(&*self.seed);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 44));
        text.push_str(PREFIX);
        STANDARD.encode_string(bytes.as_slice(), &mut text);
        SecretText::new(text)
    }

    /// A client certificate for this key, valid from an hour before `now` until [`CERTIFICATE_LIFETIME`] after it.
    ///
    /// Self-signed X.509 v3: random 128-bit serial, subject = issuer = `CN=<identity>`, keyUsage digitalSignature and
    /// basicConstraints CA:FALSE (both critical), extendedKeyUsage clientAuth, no names, no key identifiers. A client that
    /// runs longer must make a new one if its server verifies certificates.
    ///
    /// [`CERTIFICATE_LIFETIME`]: Self::CERTIFICATE_LIFETIME
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::InvalidDates`] for a clock near the year 1 or 9999.
    pub fn certificate(&self, now: OffsetDateTime) -> Result<Certificate, Error> {
        // Departs from upstream: valid one hour back, so that a server whose clock is behind does not refuse a fresh one.
        let not_before = now.checked_sub(Duration::HOUR).ok_or(Error::InvalidDates)?;
        let not_after = now.checked_add(Self::CERTIFICATE_LIFETIME).ok_or(Error::InvalidDates)?;
        self.certificate_from(&Template {
            usages: vec![Usage::ClientAuth],
            ..Template::new(self.identity.as_str(), not_before, not_after)
        })
    }

    /// A self-signed certificate for this key with the given content, as `kes identity new --key --cert` makes it.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::InvalidName`], [`Error::InvalidDates`].
    pub fn certificate_from(&self, template: &Template) -> Result<Certificate, Error> {
        Certificate::sign(&Signer::ed25519(&self.seed), template)
    }

    fn from_seed(seed: Zeroizing<[u8; SEED_LEN]>) -> Self {
        let identity = Identity::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&Signer::ed25519(&seed)));
        Self { seed, identity }
    }
}

impl FromStr for ApiKey {
    type Err = Error;

    /// Reads a key with or without its prefix. Line breaks inside the base64 are skipped, as the old decoder did.
    ///
    /// # Errors
    /// [`Error::InvalidBase64`], [`Error::InvalidLength`], [`Error::UnsupportedType`], in this order.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = decode(text.strip_prefix(PREFIX).unwrap_or(text))?;
        let Some((&kind, seed_bytes)) = bytes.split_first() else { return Err(Error::InvalidLength) };
        if seed_bytes.len() != SEED_LEN {
            return Err(Error::InvalidLength);
        }
        if kind != ED25519 {
            return Err(Error::UnsupportedType);
        }
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        seed.copy_from_slice(seed_bytes);
        Ok(Self::from_seed(seed))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.identity)
    }
}

/// Standard base64 with the error offsets that the old command line prints: that of the first illegal character, or of the
/// quantum that the text breaks off in. Spare bits are accepted, CR and LF skipped.
fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = text.as_bytes();
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let mut symbols = bytes.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n')).peekable();
    while symbols.peek().is_some() {
        let mut quantum = Zeroizing::new(0u32);
        for filled in 0..4 {
            let Some((offset, &byte)) = symbols.next() else { return Err(Error::InvalidBase64(text.len() - filled)) };
            if let Some(value) = sextet(byte) {
                *quantum |= u32::from(value) << (18 - 6 * filled);
                continue;
            }
            if byte != b'=' || filled < 2 {
                return Err(Error::InvalidBase64(offset));
            }
            if filled == 2 {
                match symbols.next() {
                    None => return Err(Error::InvalidBase64(text.len())),
                    Some((_, b'=')) => {}
                    Some((offset, _)) => return Err(Error::InvalidBase64(offset - 1)),
                }
            }
            if let Some((offset, _)) = symbols.next() {
                return Err(Error::InvalidBase64(offset));
            }
            out.extend_from_slice(&quantum.to_be_bytes()[1..filled]);
            return Ok(out);
        }
        out.extend_from_slice(&quantum.to_be_bytes()[1..]);
    }
    Ok(out)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
