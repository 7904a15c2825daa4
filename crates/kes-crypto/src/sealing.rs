//! Sealing at rest: 32-byte keys under which other secrets are stored, and the one box that they are stored in.
//!
//! A box is `salt (32) || ciphertext || tag (16)`: AES-256-GCM with a nonce of twelve zero bytes, under a key that is
//! used for this box only,
//!
//! ```text
//! box key = HMAC-SHA256(key, purpose || 0x00 || salt)        salt: 32 random bytes
//! ```
//!
//! so that any number of boxes can be made under one key: no nonce is ever used twice, because no box key is. The
//! purpose keeps boxes of different kinds apart, and what a box belongs to is its associated data.

use std::fmt;

use argon2::{Algorithm, Argon2, Version};
use ring::aead::AES_256_GCM;
use ring::hmac;

use crate::message_key::{MessageKey, NONCE_LEN, TAG_LEN};
use crate::secret::{KeyBytes, random, same_key};
use crate::{Error, Plaintext};

/// Length of the salt that a box begins with, in bytes.
pub const SALT_LEN: usize = 32;

/// How much longer a box is than what is in it, in bytes.
pub const OVERHEAD: usize = SALT_LEN + TAG_LEN;

/// A key for sealing: 32 bytes, never used for anything but deriving others.
pub struct SealKey {
    bytes: KeyBytes,
    mac: hmac::Key,
}

impl SealKey {
    /// Length in bytes.
    pub const LEN: usize = KeyBytes::LEN;

    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        KeyBytes::random().map(Self::new)
    }

    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidKeyLength`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        KeyBytes::copy_of(bytes).map(Self::new)
    }

    /// The key of a passphrase, by Argon2id (RFC 9106, version 0x13).
    ///
    /// # Errors
    /// [`Error::InvalidKeyLength`] if the costs or the salt (at least 8 bytes) are none that Argon2 allows.
    pub fn from_passphrase(passphrase: &[u8], salt: &[u8], costs: Argon2Costs) -> Result<Self, Error> {
        let parameters = argon2::Params::new(costs.memory_kib, costs.passes, costs.lanes, Some(Self::LEN));
        let parameters = parameters.map_err(|_| Error::InvalidKeyLength)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let mut bytes = KeyBytes::zeroed();
        argon2.hash_password_into(passphrase, salt, bytes.as_mut()).map_err(|_| Error::InvalidKeyLength)?;
        Ok(Self::new(bytes))
    }

    fn new(bytes: KeyBytes) -> Self {
        Self { mac: hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()), bytes }
    }

    /// The key bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        self.bytes.expose()
    }

    /// Whether both are the same key, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        same_key(self.expose(), other.expose())
    }

    /// `HMAC-SHA256(key, purpose || 0x00 || message)`. It tells nothing of the key, so it may be public.
    #[must_use]
    pub fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(message);
        context.sign().as_ref().try_into().expect("an HMAC-SHA256 tag has 32 bytes")
    }

    /// Whether `mac` is the one of this message, in constant time.
    #[must_use]
    pub fn verify(&self, purpose: &str, message: &[u8], mac: &[u8]) -> bool {
        mac.try_into().is_ok_and(|mac: [u8; 32]| same_key(&self.mac(purpose, message), &mac))
    }

    /// Puts a secret into a box.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn seal(&self, purpose: &str, associated_data: &[u8], secret: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = Vec::with_capacity(secret.len() + OVERHEAD);
        sealed.resize(SALT_LEN, 0);
        random(&mut sealed)?;
        let key = self.box_key(purpose, &sealed);
        sealed.extend_from_slice(secret);
        let tag = key
            .seal(&[0; NONCE_LEN], associated_data, &mut sealed[SALT_LEN..])
            .expect("what is stored is far shorter than the 64 GiB of one message");
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What is in a box.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] if anything was changed, or key, purpose or associated data are others.
    pub fn open(&self, purpose: &str, associated_data: &[u8], sealed: &[u8]) -> Result<Plaintext, Error> {
        if sealed.len() < OVERHEAD {
            return Err(Error::NotAuthentic);
        }
        let (salt, ciphertext) = sealed.split_at(SALT_LEN);
        let mut secret = ciphertext.to_vec();
        let opened = self.box_key(purpose, salt).open(&[0; NONCE_LEN], associated_data, &mut secret);
        let secret = opened.map(|length| {
            secret.truncate(length);
            Plaintext::new(secret)
        });
        secret.map_err(|_| Error::NotAuthentic)
    }

    fn box_key(&self, purpose: &str, salt: &[u8]) -> MessageKey {
        let key = zeroize::Zeroizing::new(self.mac(purpose, salt));
        MessageKey::new(&AES_256_GCM, key.as_slice())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// What one try of a passphrase costs whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Costs {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes that can be computed at once.
    pub lanes: u32,
}

impl Argon2Costs {
    /// 64 MiB, three passes, one lane: a fifth of a second on a server of today, on a small one too.
    pub const DEFAULT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };
}

impl Default for Argon2Costs {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// `SHA-256(message)`: for checksums of what is no secret or of high entropy.
#[must_use]
pub fn digest(message: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, message);
    digest.as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_box_opens_for_its_key_purpose_and_owner_only() {
        let key = SealKey::generate().unwrap();
        let sealed = key.seal("test", b"owner", b"secret").unwrap();
        assert_eq!(sealed.len(), 6 + OVERHEAD);
        assert_eq!(key.open("test", b"owner", &sealed).unwrap().expose(), b"secret");
        let other = SealKey::generate().unwrap();
        for opened in [
            other.open("test", b"owner", &sealed),
            key.open("tests", b"owner", &sealed),
            key.open("test", b"ownes", &sealed),
            key.open("test", b"owner", &sealed[..sealed.len() - 1]),
            key.open("test", b"owner", &sealed[..10]),
            key.open("test", b"owner", b""),
        ] {
            assert_eq!(opened.unwrap_err(), Error::NotAuthentic);
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open("test", b"owner", &changed).unwrap_err(), Error::NotAuthentic, "byte {at}");
        }
    }

    #[test]
    fn no_two_boxes_are_alike() {
        let key = SealKey::generate().unwrap();
        assert_ne!(key.seal("test", b"", b"secret").unwrap(), key.seal("test", b"", b"secret").unwrap());
    }

    #[test]
    fn purpose_and_message_do_not_run_together() {
        let key = SealKey::from_bytes(&[7; 32]).unwrap();
        assert_ne!(key.mac("a", b"b"), key.mac("ab", b""));
        assert!(key.verify("a", b"b", &key.mac("a", b"b")));
        assert!(!key.verify("a", b"b", &key.mac("a", b"b")[..31]));
    }

    /// RFC 9106 section 5.3 uses a secret and associated data, which we do not: this is from the reference implementation,
    /// `echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32 -v 13`.
    #[test]
    fn argon2id_is_the_one_everybody_has() {
        let costs = Argon2Costs { memory_kib: 65536, passes: 2, lanes: 1 };
        let key = SealKey::from_passphrase(b"password", b"somesalt", costs).unwrap();
        assert_eq!(key.expose().as_slice(), hex("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"));
    }

    #[test]
    fn costs_that_argon2_does_not_know_are_refused() {
        for (memory_kib, passes, lanes) in [(7, 1, 1), (8, 0, 1), (8, 1, 0), (8, 1, 2)] {
            let costs = Argon2Costs { memory_kib, passes, lanes };
            assert!(SealKey::from_passphrase(b"p", b"somesalt", costs).is_err(), "{costs:?}");
        }
        assert!(SealKey::from_passphrase(b"p", b"short", Argon2Costs::DEFAULT).is_err());
    }

    #[test]
    fn the_key_is_not_shown() {
        let key = SealKey::from_bytes(&[0x41; 32]).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "SealKey(..) SealKey(..)");
    }
}
