//! Pages of a listing.

use crate::KeyName;

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The names, bytewise ascending, without duplicates.
    pub names: Vec<KeyName>,
    /// The first name left out; `None` if this is the last page. It is the `from` of the next call.
    pub next: Option<KeyName>,
}

impl Page {
    /// The page of these names, which may come in any order and more than once: those with the prefix, at or after
    /// `from`, at most `limit`. For stores that can only list everything.
    #[must_use]
    pub fn select(names: impl IntoIterator<Item = KeyName>, prefix: &str, from: Option<&str>, limit: usize) -> Self {
        let wanted =
            |name: &KeyName| name.as_str().starts_with(prefix) && from.is_none_or(|from| name.as_str() >= from);
        let mut names: Vec<KeyName> = names.into_iter().filter(wanted).collect();
        names.sort_unstable();
        names.dedup();
        let next = names.get(limit).cloned();
        names.truncate(limit);
        Self { names, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<KeyName> {
        texts.iter().map(|text| KeyName::parse(text).unwrap()).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let all = names(&["b", "a-2", "A", "a", "a-1", "a", "_x"]);
        let first = Page::select(all.clone(), "", None, 2);
        assert_eq!(first, Page { names: names(&["A", "_x"]), next: names(&["a"]).pop() });
        let second = Page::select(all, "", Some("a"), 9);
        assert_eq!(second, Page { names: names(&["a", "a-1", "a-2", "b"]), next: None });
    }

    #[test]
    fn prefix_and_start_are_independent() {
        let all = names(&["a", "ab", "abc", "b"]);
        assert_eq!(Page::select(all.clone(), "ab", None, 9).names, names(&["ab", "abc"]));
        assert_eq!(Page::select(all.clone(), "a", Some("ab"), 9).names, names(&["ab", "abc"]));
        // A start need not be a name that exists, nor carry the prefix.
        assert_eq!(Page::select(all.clone(), "b", Some("aaa"), 9).names, names(&["b"]));
        assert_eq!(Page::select(all, "", Some("abb"), 9).names, names(&["abc", "b"]));
    }

    #[test]
    fn a_limit_of_zero_yields_only_the_next_name() {
        assert_eq!(Page::select(names(&["b", "a"]), "", None, 0), Page { names: vec![], next: names(&["a"]).pop() });
    }
}
