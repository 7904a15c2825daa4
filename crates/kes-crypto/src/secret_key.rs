//! The key that encrypts: seal, open, and data keys.
//!
//! ```text
//! iv, nonce  = 16 and 12 random bytes
//! key'       = HMAC-SHA256(key, iv)          AES-256-GCM
//!            | HChaCha20(key, iv)            ChaCha20-Poly1305
//! ciphertext = AEAD(key', nonce, plaintext, associated data = context) || iv || nonce
//! ```
//!
//! The random iv makes a fresh message key for every message, so the 96-bit nonce never limits how many messages one
//! key may encrypt. Neither the key's name nor its version is bound into the ciphertext.

use std::fmt;

use ring::hmac;
use zeroize::Zeroize;

use crate::envelope::{self, Envelope};
use crate::message_key::{self, Cipher, IV_LEN, NONCE_LEN, TAG_LEN};
use crate::secret::{KeyBytes, Plaintext, random};
use crate::{Error, KeyType};

/// Length of the trailer of a ciphertext: iv and nonce.
const TRAILER_LEN: usize = IV_LEN + NONCE_LEN;

/// A key that encrypts and decrypts: 32 bytes and their cipher.
pub struct SecretKey {
    key_type: KeyType,
    bytes: KeyBytes,
    /// The same bytes as a ready HMAC key: the derivation of every AES message key begins here.
    mac: hmac::Key,
}

impl SecretKey {
    /// Length of the key in bytes.
    pub const LEN: usize = KeyBytes::LEN;

    /// How much longer a ciphertext is than its plaintext: 16 bytes of tag, 16 of iv, 12 of nonce.
    pub const OVERHEAD: usize = TAG_LEN + TRAILER_LEN;

    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate(key_type: KeyType) -> Result<Self, Error> {
        Ok(Self::from_key_bytes(key_type, KeyBytes::random()?))
    }

    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidKeyLength`].
    pub fn from_bytes(key_type: KeyType, bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self::from_key_bytes(key_type, KeyBytes::copy_of(bytes)?))
    }

    pub(crate) fn from_key_bytes(key_type: KeyType, bytes: KeyBytes) -> Self {
        Self { key_type, mac: hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()), bytes }
    }

    /// The cipher of this key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The key bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        self.bytes.expose()
    }

    pub(crate) fn mac(&self) -> &hmac::Key {
        &self.mac
    }

    /// Encrypts `plaintext`, of any length, and binds `context` to it: opening needs the same context.
    /// The result is [`SecretKey::OVERHEAD`] bytes longer than the plaintext.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::PlaintextTooLong`].
    pub fn seal(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let mut trailer = [0; TRAILER_LEN];
        random(&mut trailer)?;
        self.seal_with(&trailer, plaintext, context)
    }

    /// [`SecretKey::seal`] with given `iv || nonce` (16 and 12 bytes).
    ///
    /// They must be fresh random bytes for every message: the same 28 bytes twice give away both plaintexts. For
    /// callers that draw all randomness of a request at once, and for test vectors.
    ///
    /// # Errors
    /// [`Error::PlaintextTooLong`].
    pub fn seal_with(&self, random: &[u8; TRAILER_LEN], plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let (iv, nonce) = split_trailer(random);
        let message_key = message_key::derive(self, self.own_cipher(), iv);

        let mut out = Vec::with_capacity(plaintext.len() + Self::OVERHEAD);
        out.extend_from_slice(plaintext);
        let Ok(tag) = message_key.seal(nonce, context, &mut out) else {
            out.zeroize();
            return Err(Error::PlaintextTooLong);
        };
        out.extend_from_slice(tag.as_ref());
        out.extend_from_slice(random);
        Ok(out)
    }

    /// Decrypts a ciphertext of any generation of MinIO KES, made by this key with this context.
    ///
    /// The current form is raw. Two older envelopes, message-pack and JSON, are recognised by their first byte; what
    /// merely begins like one is raw.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] for every cause there is.
    pub fn open(&self, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
        if let Some(Envelope { cipher, iv, nonce, sealed }) = envelope::parse(ciphertext, self.key_type) {
            // An explicit type wins over the label, as upstream; only a key without one believes it. Where the label is
            // wrong, upstream's reading must still do: it takes such a key for AES.
            if self.key_type == KeyType::Legacy
                && cipher != self.own_cipher()
                && let Ok(plaintext) = self.unseal(cipher, &iv, &nonce, sealed.clone(), context)
            {
                return Ok(plaintext);
            }
            return self.unseal(self.own_cipher(), &iv, &nonce, sealed, context);
        }
        let (sealed, trailer) = ciphertext.split_last_chunk::<TRAILER_LEN>().ok_or(Error::NotAuthentic)?;
        let (iv, nonce) = split_trailer(trailer);
        self.unseal(self.own_cipher(), iv, nonce, sealed.to_vec(), context)
    }

    /// A new random 256-bit key, once in plaintext and once sealed under this key with `context`.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate_data_key(&self, context: &[u8]) -> Result<DataKey, Error> {
        // One call for all 60 bytes, straight into the memory that is wiped: each call costs as much as the cipher.
        let mut bytes = vec![0; DataKey::LEN + TRAILER_LEN];
        random(&mut bytes)?;
        let trailer = *bytes.last_chunk::<TRAILER_LEN>().expect("sized above");
        bytes.truncate(DataKey::LEN);
        let plaintext = Plaintext::new(bytes);
        let ciphertext = self.seal_with(&trailer, plaintext.expose(), context)?;
        Ok(DataKey { plaintext, ciphertext })
    }

    fn own_cipher(&self) -> Cipher {
        match self.key_type {
            KeyType::Aes256 | KeyType::Legacy => Cipher::Aes,
            KeyType::ChaCha20 => Cipher::ChaCha,
        }
    }

    /// Opens `sealed` (ciphertext and tag) in place.
    fn unseal(
        &self,
        cipher: Cipher,
        iv: &[u8; IV_LEN],
        nonce: &[u8; NONCE_LEN],
        mut sealed: Vec<u8>,
        context: &[u8],
    ) -> Result<Plaintext, Error> {
        let length = message_key::derive(self, cipher, iv).open(nonce, context, &mut sealed)?;
        sealed.truncate(length);
        Ok(Plaintext::new(sealed))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.key_type)
    }
}

/// A random key for the caller's data, and its ciphertext to be kept beside that data.
#[derive(Debug)]
pub struct DataKey {
    /// The key, [`DataKey::LEN`] bytes. Use it, then drop it.
    pub plaintext: Plaintext,
    /// The sealed key: 76 bytes. [`SecretKey::open`] gives the plaintext back.
    pub ciphertext: Vec<u8>,
}

impl DataKey {
    /// Length of the plaintext in bytes.
    pub const LEN: usize = 32;
}

fn split_trailer(trailer: &[u8; TRAILER_LEN]) -> (&[u8; IV_LEN], &[u8; NONCE_LEN]) {
    let (iv, nonce) = trailer.split_first_chunk().expect("the trailer is longer than an iv");
    (iv, nonce.try_into().expect("the rest of the trailer is a nonce"))
}
