//! Which keys: a shell pattern for whole names.

use crate::failure::{Failure, Outcome, Status};
use crate::glob;

/// The pattern, `*` if none is given.
///
/// Departs from upstream: there a malformed pattern matched nothing, and the migration succeeded without a key.
pub(super) fn check(pattern: Option<&str>) -> Outcome<&str> {
    let pattern = pattern.unwrap_or("*");
    if is_well_formed(pattern.as_bytes()) {
        return Ok(pattern);
    }
    let failure = Failure::new(format!("invalid pattern '{pattern}': syntax error in pattern"));
    let hint = "write * for any characters, ? for one, [a-z] for one of these, \\x for x itself";
    Err(Failure { status: Status::Usage, ..failure }.hint(hint))
}

pub(super) fn matches(pattern: &str, name: &str) -> bool {
    glob::matches(pattern, name)
}

pub(super) fn prefix(pattern: &str) -> &str {
    glob::literal_prefix(pattern)
}

/// Every class has members and an end, every backslash something behind it.
fn is_well_formed(pattern: &[u8]) -> bool {
    match pattern {
        [] => true,
        [b'\\', rest @ ..] => !rest.is_empty() && is_well_formed(&rest[1..]),
        [b'[', rest @ ..] => {
            let members = rest.strip_prefix(b"^").unwrap_or(rest);
            match members.iter().position(|byte| *byte == b']') {
                None | Some(0) => false,
                Some(end) => is_range_list(&members[..end]) && is_well_formed(&members[end + 1..]),
            }
        }
        [_, rest @ ..] => is_well_formed(rest),
    }
}

fn is_range_list(members: &[u8]) -> bool {
    match members {
        [] => true,
        [b'-', ..] | [_, b'-'] => false,
        [_, b'-', _, rest @ ..] | [_, rest @ ..] => is_range_list(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["[", "a[", "[]", "[^]", "[a-]", "[-a]", "a\\", "[a", "[a-z]["] {
            let failure = check(Some(pattern)).unwrap_err();
            assert_eq!(failure.status, Status::Usage, "{pattern}");
            assert!(failure.text.contains(pattern), "{pattern}");
        }
        for pattern in ["*", "", "a*", "[a-z]*", "[^ab]", "\\*", "a?c", "]", "my-key"] {
            assert_eq!(check(Some(pattern)).unwrap(), pattern);
        }
        assert_eq!(check(None).unwrap(), "*");
    }

    #[test]
    fn a_pattern_is_for_the_whole_name() {
        assert!(matches("my-key", "my-key") && !matches("my-key", "my-key-2") && matches("*", "a"));
    }
}
