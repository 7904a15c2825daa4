//! One pattern of a policy, compiled, with its two readings.

use crate::finding::Effect;
use crate::glob::{self, Malformed, Token};
use crate::names::Names;
use crate::reach::Reading;
use crate::routes::Route;
use std::fmt;

/// How patterns are read. Setting `compat.policy_match` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// What works at HEAD works, and what was written as a glob works too: a deny pattern matches by either reading,
    /// an allow pattern by HEAD's, and by the glob reading as well if it [looks like a glob](Rule::is_glob). The default.
    #[default]
    Both,
    /// Only as releases since 2023-10-24 do: equal, or the same start if the pattern ends in `*`.
    Head,
    /// Only as releases up to 2023-10-03 did: globs whose `*` stays between two `/`.
    Glob,
}

/// A pattern of a policy, compiled.
///
/// A pattern has two readings, because releases read it differently:
///
/// * [`matches_head`](Self::matches_head): a pattern that ends in `*` matches every path with the same start, `/`
///   included; any other pattern matches only the path equal to it. No other character is special.
/// * [`matches_glob`](Self::matches_glob): Go's `path.Match`. A malformed pattern matches nothing.
///
/// Which of them counts is the policy's affair ([`Matching`]). Source: http-api 6.2.
///
/// ```
/// use kes_policy::Rule;
///
/// let rule = Rule::parse("/v1/key/*/internal-?");
/// assert!(rule.is_glob());
/// assert!(rule.matches_glob("/v1/key/create/internal-1"));
/// assert!(!rule.matches_head("/v1/key/create/internal-1"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    text: Box<str>,
    glob: Result<Box<[Token]>, Malformed>,
    is_glob: bool,
}

impl Rule {
    /// Compiles `pattern`. Every text is a rule; whether it is a good one says [`malformed`](Self::malformed) and, in
    /// the context of a policy, a [`Finding`](crate::Finding).
    #[must_use]
    pub fn parse(pattern: &str) -> Self {
        let inner_star = pattern.find('*').is_some_and(|at| at + 1 < pattern.len());
        Self {
            text: pattern.into(),
            glob: glob::compile(pattern),
            is_glob: inner_star || pattern.contains(['?', '[', '\\']),
        }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Why the pattern is no glob, if it is none. Such a pattern still has HEAD's reading, in which nothing is malformed.
    #[must_use]
    pub fn malformed(&self) -> Option<Malformed> {
        self.glob.as_ref().err().copied()
    }

    /// Whether the pattern contains `?`, `[`, `\`, or a `*` before its last character: something that HEAD's reading
    /// takes literally and that no valid request path contains.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.is_glob
    }

    /// Whether `path`, the decoded request path, matches as releases since 2023-10-24 read the pattern. The empty
    /// pattern matches nothing.
    #[must_use]
    pub fn matches_head(&self, path: impl AsRef<[u8]>) -> bool {
        let (path, pattern) = (path.as_ref(), self.text.as_bytes());
        match pattern.strip_suffix(b"*") {
            Some(start) => path.starts_with(start),
            None => !pattern.is_empty() && path == pattern,
        }
    }

    /// Whether `path` matches as releases up to 2023-10-03 read the pattern: as Go's `path.Match`.
    ///
    /// Takes at most about (length of the path) × (longest stretch of the pattern between two stars) steps and
    /// allocates nothing.
    #[must_use]
    pub fn matches_glob(&self, path: impl AsRef<[u8]>) -> bool {
        self.glob.as_ref().is_ok_and(|glob| glob::matches(glob, path.as_ref()))
    }

    /// Whether this rule lets `path` pass when it stands under `allow`.
    pub(crate) fn allows(&self, path: &[u8], matching: Matching) -> bool {
        match matching {
            // Departs from upstream: an allow pattern with an inner wildcard grants what its author wrote. At HEAD it
            // grants nothing at all, so files written for globs lock their users out after the upgrade.
            Matching::Both => self.matches_head(path) || (self.is_glob && self.matches_glob(path)),
            Matching::Head => self.matches_head(path),
            Matching::Glob => self.matches_glob(path),
        }
    }

    /// Whether the rule begins with the path of `route`, and so was written for it.
    pub(crate) fn is_written_for(&self, route: &str) -> bool {
        self.text.starts_with(route)
    }

    /// Whether this rule refuses `path` when it stands under `deny`.
    pub(crate) fn denies(&self, path: &[u8], matching: Matching) -> bool {
        match matching {
            // Departs from upstream: a deny pattern with an inner wildcard refuses what its author wrote. HEAD ignores
            // such a rule silently, which opens what the operator had closed.
            Matching::Both => self.matches_head(path) || self.matches_glob(path),
            Matching::Head => self.matches_head(path),
            Matching::Glob => self.matches_glob(path),
        }
    }

    /// What a request on `route` may name so that this rule matches it, when it stands under `effect`: empty if no
    /// well-formed request on the route matches.
    #[must_use]
    pub fn names(&self, route: &Route, effect: Effect, matching: Matching) -> Vec<Names> {
        let (head, glob) = match matching {
            Matching::Both => (true, effect == Effect::Deny || self.is_glob),
            Matching::Head => (true, false),
            Matching::Glob => (false, true),
        };
        let head = Reading::head(self).filter(|_| head).map(|reading| reading.names(route));
        let glob = Reading::glob(self).filter(|_| glob).map(|reading| reading.names(route));
        let mut names: Vec<_> = head.into_iter().chain(glob).flatten().collect();
        names.sort();
        names.dedup();
        names
    }

    /// The compiled glob, for judging what it can reach.
    pub(crate) fn glob(&self) -> Option<&[Token]> {
        self.glob.as_deref().ok()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_star_is_no_glob_and_an_inner_star_is() {
        for (pattern, is_glob) in [
            ("/v1/key/create/*", false),
            ("*", false),
            ("", false),
            ("/v1/status", false),
            ("**", true),
            ("/v1/*/x", true),
            ("/v1/statu?", true),
            ("/v1/[a]", true),
            ("/v1/\\*", true),
        ] {
            assert_eq!(Rule::parse(pattern).is_glob(), is_glob, "{pattern}");
        }
    }

    #[test]
    fn a_malformed_pattern_keeps_heads_reading() {
        let rule = Rule::parse("/v1/key/create/[");
        assert_eq!(rule.malformed(), Some(Malformed::UnclosedClass(15)));
        assert!(rule.matches_head("/v1/key/create/["));
        assert!(!rule.matches_glob("/v1/key/create/["));
        assert!(rule.denies(b"/v1/key/create/[", Matching::Both));
        assert!(!rule.denies(b"/v1/key/create/[", Matching::Glob));
    }

    #[test]
    fn a_plain_trailing_star_allows_across_slashes_but_in_glob_mode() {
        let rule = Rule::parse("/v1/key/*");
        assert!(rule.allows(b"/v1/key/create/a", Matching::Both));
        assert!(rule.allows(b"/v1/key/create/a", Matching::Head));
        assert!(!rule.allows(b"/v1/key/create/a", Matching::Glob));
    }

    #[test]
    fn prints_as_written() {
        assert_eq!(Rule::parse("/v1/*").to_string(), "/v1/*");
        assert_eq!(format!("{:?}", Rule::parse("/v1/*")), "Rule(\"/v1/*\")");
    }
}
