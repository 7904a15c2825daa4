//! The name of a key pair.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use crate::{Error, x509};

/// Who somebody is: 64 lower-case hex digits, the SHA-256 of the DER SubjectPublicKeyInfo of a public key.
///
/// `identity = hex(SHA-256(SubjectPublicKeyInfo))`
///
/// Configuration files may also name things that are no hash (`disabled`, `_`); those match no peer, see
/// [`is_hash`](Self::is_hash). Equality is byte for byte. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// The longest text an identity may have, in bytes.
    pub const MAX_LEN: usize = 80;

    /// The identity of a public key, given as DER SubjectPublicKeyInfo (for Ed25519 44 bytes).
    pub fn of_spki(spki: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hash = digest(&SHA256, spki);
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(hash.as_ref()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(Arc::from(std::str::from_utf8(&hex).expect("hex digits are ASCII")))
    }

    /// The identity of the key in a certificate (DER), whatever else the certificate says.
    ///
    /// For a peer of a handshake use [`peer_identity`](crate::peer_identity), which also asks whether this certificate may
    /// speak for it.
    ///
    /// # Errors
    /// [`Error::MalformedCertificate`].
    pub fn of_certificate(der: &[u8]) -> Result<Self, Error> {
        Ok(Self::of_spki(x509::parse(der)?.tbs_certificate.subject_pki.raw))
    }

    /// An identity of exactly this text, without the name rule: `admin.identity` of a configuration file takes any text, and
    /// `_` or `disabled` are how old files say that there is no admin. It matches a peer only if it [is a hash](Self::is_hash).
    pub fn verbatim(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this can be anybody at all: exactly 64 lower-case hex digits.
    pub fn is_hash(&self) -> bool {
        self.0.len() == 64 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl FromStr for Identity {
    type Err = Error;

    /// The name rule of the server: 1–80 bytes of `0-9A-Za-z_-`, `-` neither first nor last, not the single `_`.
    ///
    /// # Errors
    /// [`Error::InvalidIdentity`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let legal = (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text != "_";
        if legal { Ok(Self(Arc::from(text))) } else { Err(Error::InvalidIdentity(text.to_owned())) }
    }
}

impl AsRef<str> for Identity {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Identity {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_name_rule() {
        for legal in ["a", "A-b_9", "__", "disabled", &"x".repeat(80)] {
            assert_eq!(legal.parse::<Identity>().unwrap().as_str(), legal);
        }
        for illegal in ["", "_", "-", "-a", "a-", "a.b", "a b", "ä", "a*", &"x".repeat(81)] {
            let error = illegal.parse::<Identity>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("identity '{illegal}' is empty, too long or contains invalid characters")
            );
        }
    }

    #[test]
    fn only_lower_case_hex_can_be_somebody() {
        let hash = Identity::of_spki(b"");
        assert_eq!(hash.as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(hash.is_hash());
        assert!(!Identity::verbatim(&hash.as_str().to_uppercase()).is_hash());
        assert!(!Identity::verbatim("_").is_hash());
        assert!(!Identity::verbatim(&hash.as_str()[1..]).is_hash());
    }
}
