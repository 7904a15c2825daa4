//! The line that would allow a request, for the log of a refusal.

use crate::name;
use crate::routes::{Route, Standing, Tail};
use std::fmt;

/// The rules that would allow a request that no rule matched.
///
/// `Display` gives both for a log line: ``- /v1/key/create/my-key (only this) or - /v1/key/create/* (all)``.
///
/// ```
/// use kes_policy::Suggestion;
///
/// let suggestion = Suggestion::for_path("/v1/key/create/my-key").expect("a route that policies guard");
/// assert_eq!(suggestion.exact(), Some("/v1/key/create/my-key"));
/// assert_eq!(suggestion.all(), "/v1/key/create/*");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    exact: Option<String>,
    all: String,
}

impl Suggestion {
    /// What would allow `path`, the decoded request path. `None` if no rule would help: no such route, or one that
    /// is answered without asking a policy.
    #[must_use]
    pub fn for_path(path: &str) -> Option<Self> {
        let helps = |route: &&Route| matches!(route.standing, Standing::Guarded | Standing::Legacy | Standing::Named);
        let route = Route::of(path).filter(helps)?;
        let tail = &path[route.path.len()..];
        let answerable = match route.tail {
            Tail::Nothing => true,
            Tail::Name => name::is_name(tail),
            Tail::Listing => name::is_listing(tail),
            Tail::Anything => false,
        };
        Some(Self { exact: answerable.then(|| path.to_owned()), all: route.pattern() })
    }

    /// The narrowest rule, as written in the file; `None` if the request would be refused for its name anyway.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        self.exact.as_deref()
    }

    /// The rule for every request on the route.
    #[must_use]
    pub fn all(&self) -> &str {
        &self.all
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exact() {
            Some(exact) if exact != self.all => write!(f, "- {exact} (only this) or - {} (all)", self.all),
            _ => write!(f, "- {}", self.all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Matching, Rule};

    fn shown(path: &str) -> Option<String> {
        Suggestion::for_path(path).map(|suggestion| suggestion.to_string())
    }

    #[test]
    fn names_the_line_for_one_and_for_all() {
        assert_eq!(shown("/v1/key/create/a").unwrap(), "- /v1/key/create/a (only this) or - /v1/key/create/* (all)");
        assert_eq!(shown("/v1/status").unwrap(), "- /v1/status");
        assert_eq!(shown("/v1/key/list/").unwrap(), "- /v1/key/list/ (only this) or - /v1/key/list/* (all)");
        assert_eq!(shown("/v1/key/list/*").unwrap(), "- /v1/key/list/*");
        assert_eq!(
            shown("/v1/key/bulk/decrypt/k").unwrap(),
            "- /v1/key/bulk/decrypt/k (only this) or - /v1/key/bulk/decrypt/* (all)"
        );
    }

    #[test]
    fn a_name_that_cannot_exist_is_not_repeated() {
        assert_eq!(shown("/v1/key/create/a.b\n").unwrap(), "- /v1/key/create/*");
        assert_eq!(shown("/v1/key/create/").unwrap(), "- /v1/key/create/*");
    }

    #[test]
    fn silent_where_no_rule_would_help() {
        for path in ["/version", "/v1/identity/self/describe", "/foo", "/v1/status/", "/v1/secret/read/s", ""] {
            assert_eq!(shown(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_suggested_does_allow_the_request() {
        for path in ["/v1/key/create/my-key", "/v1/key/list/", "/v1/key/list/a*", "/v1/log/audit", "/v1/policy/read/p"]
        {
            let suggestion = Suggestion::for_path(path).unwrap();
            for rule in [suggestion.exact().unwrap(), suggestion.all()] {
                for matching in [Matching::Both, Matching::Head, Matching::Glob] {
                    assert!(Rule::parse(rule).allows(path.as_bytes(), matching), "{path} {rule} {matching:?}");
                }
            }
        }
    }
}
