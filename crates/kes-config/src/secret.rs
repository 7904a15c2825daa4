//! Text that must not be seen: passwords, tokens, private keys.

use std::fmt;
use zeroize::Zeroizing;

/// A credential from the file or from an environment variable. Wiped on drop; `Debug` shows nothing of it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text itself, as written (not trimmed, not decoded).
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
