//! Keys for message authentication codes.

use std::fmt;

use ring::hmac;

use crate::Error;
use crate::secret::KeyBytes;

/// A key for HMAC-SHA256: 32 bytes, independent of the secret key beside it.
pub struct HmacKey {
    bytes: KeyBytes,
    mac: hmac::Key,
}

impl HmacKey {
    /// Length of the key in bytes.
    pub const LEN: usize = KeyBytes::LEN;

    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        KeyBytes::random().map(Self::from_key_bytes)
    }

    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidKeyLength`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        KeyBytes::copy_of(bytes).map(Self::from_key_bytes)
    }

    pub(crate) fn from_key_bytes(bytes: KeyBytes) -> Self {
        Self { mac: hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()), bytes }
    }

    /// The key bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        self.bytes.expose()
    }

    /// `HMAC-SHA256(key, message)`, for any message including the empty one. No truncation, no domain separation.
    ///
    /// The result is meant to leave the process; compare it in constant time all the same.
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.mac, message);
        tag.as_ref().try_into().expect("an HMAC-SHA256 tag has 32 bytes")
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(SHA256)")
    }
}
