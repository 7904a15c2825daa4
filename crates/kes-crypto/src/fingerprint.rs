//! Telling stored values apart without showing them.

use std::fmt;

use ring::digest::{SHA256, digest};

/// The fingerprint of a stored value: `SHA-256(value)`, as `sha256sum` prints it for a key file.
///
/// Not a secret: a stored key holds at least 32 random bytes, so nobody finds it by trying. `Display` shows the first
/// 8 bytes in hex, which tells any two values apart that were not made to look alike; equality compares all 32.
///
/// ```
/// use kes_crypto::Fingerprint;
///
/// let fingerprint = Fingerprint::of(b"abc");
/// assert_eq!(fingerprint.to_string(), "ba7816bf8f01cfea");
/// assert_ne!(fingerprint, Fingerprint::of(b"abd"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let hash = digest(&SHA256, value);
        Self(hash.as_ref().try_into().expect("a SHA-256 hash has 32 bytes"))
    }

    /// All 32 bytes in hex, as `sha256sum` prints them.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
