//! Names are checked before anything is sent: a name with `/` or `..` would change the route (`kes-client` never lets
//! it), and a wrong one is the caller's mistake on every server.

use crate::Error;

/// Longest name, in bytes.
const MAX: usize = 80;

/// Checks a name by the rule of the server and gives it back.
pub(crate) fn check<'n>(what: &'static str, name: &'n str) -> Result<&'n str, Error> {
    if is_valid(name) { Ok(name) } else { Err(Error::Name { what, name: name.to_owned() }) }
}

fn is_valid(name: &str) -> bool {
    (1..=MAX).contains(&name.len())
        && name != "_"
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(is_name_byte)
}

/// Checks the beginning of a name, which may be empty. Nothing that a name cannot begin with passes.
pub(crate) fn check_prefix<'n>(what: &'static str, prefix: &'n str) -> Result<&'n str, Error> {
    let valid = prefix.len() <= MAX && !prefix.starts_with('-') && prefix.bytes().all(is_name_byte);
    if valid { Ok(prefix) } else { Err(Error::Name { what, name: prefix.to_owned() }) }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The longest part of a prefix that a server takes as listing pattern: it refuses a last `-` and a lone `_`.
pub(crate) fn listable(prefix: &str) -> &str {
    match prefix.trim_end_matches('-') {
        "_" => "",
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_the_server() {
        for good in ["a", "A-b_9", "_a", "__", &"x".repeat(80)] {
            assert!(check("key name", good).is_ok(), "{good}");
        }
        for bad in ["", "_", "-", "-a", "a-", "a.b", "a/b", "..", "a b", "ä", &"x".repeat(81)] {
            let error = check("key name", bad).expect_err(bad);
            assert_eq!(
                error.to_string(),
                format!("key name '{bad}' is empty, too long or contains invalid characters")
            );
        }
    }

    #[test]
    fn a_prefix_may_be_empty_or_end_in_a_dash() {
        for good in ["", "a-", "_", "__-"] {
            assert!(check_prefix("key name", good).is_ok(), "{good}");
        }
        for bad in ["-", "a*", "a/", "ä"] {
            assert!(check_prefix("key name", bad).is_err(), "{bad}");
        }
        assert_eq!(["a--", "_-", "_", "", "ab"].map(listable), ["a", "", "", "", "ab"]);
    }
}
