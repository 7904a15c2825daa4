//! The one rule for names, applied to policies here and to the tails of patterns.

use crate::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What names are made of.
pub(crate) const CHARACTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

/// The longest name, in bytes.
pub(crate) const MAX_LENGTH: usize = 80;

/// Whether `text` is a name: 1–80 bytes of `0-9A-Za-z_-`, `-` neither first nor last, not the single `_`.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| CHARACTERS.contains(&byte))
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text != "_"
}

/// Whether `text` can follow a list route: nothing, or a name that may also end in one `*`, at most 80 bytes in all.
pub(crate) fn is_listing(text: &str) -> bool {
    let start = text.strip_suffix('*').unwrap_or(text);
    let made_of_names = start.bytes().all(|byte| CHARACTERS.contains(&byte));
    let bounded = !text.starts_with('-') && !text.ends_with('-') && text != "_";
    text.len() <= MAX_LENGTH && made_of_names && bounded
}

/// The name of a policy: 1–80 bytes of `0-9A-Za-z_-`, `-` neither first nor last, not the single `_` (http-api 2.4).
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Arc<str>);

impl PolicyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyName {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidName`] if the text breaks the rule.
    fn from_str(text: &str) -> Result<Self, Error> {
        match is_name(text) {
            true => Ok(Self(text.into())),
            false => Err(Error::InvalidName(text.to_owned())),
        }
    }
}

impl AsRef<str> for PolicyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PolicyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_rule_says() {
        for good in ["a", "A-9_z", "__", "a_", &"x".repeat(80)] {
            assert!(good.parse::<PolicyName>().is_ok(), "{good}");
        }
        for bad in ["", "_", "-", "-a", "a-", "a b", "a.b", "ä", "a/b", "*", &"x".repeat(81)] {
            assert!(bad.parse::<PolicyName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_error_has_the_old_text() {
        let error = "p q".parse::<PolicyName>().unwrap_err();
        assert_eq!(error.to_string(), "policy name 'p q' is empty, too long or contains invalid characters");
    }

    #[test]
    fn listings_may_be_empty_and_end_in_a_star() {
        for good in ["", "*", "a", "a-*", "_*"] {
            assert!(is_listing(good), "{good}");
        }
        for bad in ["**", "*a", "a*b", "a.b", "-", "a-", "-*", "_", &"x".repeat(81)] {
            assert!(!is_listing(bad), "{bad}");
        }
    }
}
