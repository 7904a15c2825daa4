//! Names of keys.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a key: 1 to 80 characters of `A-Z a-z 0-9 _ -`, neither beginning nor ending with `-`, and not `_` alone.
///
/// Such a name is a safe file name, path segment and secret name in every store, and it never contains a `.`: a name
/// with a dot is free for a store's own use. A clone is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

/// The text is no key name. The caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key name is empty, too long or contains invalid characters")]
pub struct InvalidKeyName;

impl KeyName {
    /// Length of the longest name, in bytes.
    pub const MAX_LEN: usize = 80;

    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidKeyName`].
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidKeyName) }
    }

    /// The name of an entry of our own, `-kes-…`: no key name, so nobody can ask for it and no list shows it, but made of
    /// the same characters, so that it is legal in every store. At most 91 bytes.
    pub(crate) fn reserved(text: &str) -> Self {
        debug_assert!(text.starts_with("-kes-") && !Self::is_valid(text));
        Self(text.into())
    }

    /// Whether the text is a key name.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text != "_"
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        Self::parse(text)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for KeyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Maps keyed by name can be asked with a `&str`.
impl Borrow<str> for KeyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rule_of_the_api_decides() {
        let longest = "k".repeat(80);
        for name in ["a", "7", "0123", "my-key", "My_Key", "_a", "a_", "__", "a--b", longest.as_str()] {
            assert!(KeyName::is_valid(name), "{name}");
        }
        let too_long = "k".repeat(81);
        for name in ["", "_", "-", "-a", "a-", "a.b", ".", "..", "a/b", "a\\b", "a b", "ä", "a\0", "a*", &too_long] {
            assert_eq!(KeyName::parse(name), Err(InvalidKeyName), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_comes_back_as_it_was_written(text in "[A-Za-z0-9_-]{1,90}") {
            match KeyName::parse(&text) {
                Ok(name) => prop_assert_eq!(name.to_string(), text),
                Err(InvalidKeyName) => {
                    prop_assert!(text.len() > 80 || text.starts_with('-') || text.ends_with('-') || text == "_");
                }
            }
        }

        #[test]
        fn a_name_is_never_a_path(text in "\\PC{0,90}") {
            if KeyName::is_valid(&text) {
                prop_assert!(!text.contains(['.', '/', '\\', '\0', '%', ' ']));
            }
        }
    }
}
