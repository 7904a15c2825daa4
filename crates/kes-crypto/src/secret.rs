//! Memory for secrets: filled in place, wiped on drop, opened only by `expose()`.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

use crate::Error;

/// Fills `buffer` from the operating system's random source, in one call.
///
/// # Errors
/// [`Error::Random`] if the operating system refuses.
pub fn random(buffer: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new().fill(buffer).map_err(|_| Error::Random)
}

/// Decrypted bytes: wiped on drop, never printed.
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Takes over bytes that were decrypted elsewhere.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The plaintext itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.0.len())
    }
}

/// 32 key bytes. They stay where they were first written: moving the owner moves a pointer, so no copy is left behind.
pub(crate) struct KeyBytes(Box<[u8; 32]>);

impl KeyBytes {
    pub(crate) const LEN: usize = 32;

    /// Zeros, to be filled by the caller.
    pub(crate) fn zeroed() -> Self {
        Self(Box::new([0; Self::LEN]))
    }

    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = Self::zeroed();
        random(bytes.as_mut())?;
        Ok(bytes)
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != Self::LEN {
            return Err(Error::InvalidKeyLength);
        }
        let mut copy = Self::zeroed();
        copy.0.copy_from_slice(bytes);
        Ok(copy)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl Drop for KeyBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Whether two keys are equal, in a time that does not depend on where they differ.
pub(crate) fn same_key(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}
