//! A policy and its decision.

use crate::finding::{self, Effect, Finding};
use crate::name::PolicyName;
use crate::names::Reach;
use crate::routes::{Route, Standing};
use crate::rule::{Matching, Rule};
use std::fmt;

/// Which requests the identities of a policy may make. Immutable once built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: PolicyName,
    allow: Box<[Rule]>,
    deny: Box<[Rule]>,
    matching: Matching,
}

impl Policy {
    /// Compiles the patterns of a policy, in the order of the file, and says what is remarkable about them.
    ///
    /// No pattern is refused here: it is for the caller to print the findings, and not to use the policy if one of
    /// them is a [`Severity::Error`](crate::Severity::Error). Empty lists are legal; without `allow` nothing passes.
    #[must_use]
    pub fn new<A: AsRef<str>, D: AsRef<str>>(
        name: PolicyName,
        allow: &[A],
        deny: &[D],
        matching: Matching,
    ) -> (Self, Vec<Finding>) {
        let policy = Self {
            name,
            allow: allow.iter().map(|pattern| Rule::parse(pattern.as_ref())).collect(),
            deny: deny.iter().map(|pattern| Rule::parse(pattern.as_ref())).collect(),
            matching,
        };
        let findings = policy.findings();
        (policy, findings)
    }

    /// The policy's name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// The rules of which one must match, in the order of the file.
    #[must_use]
    pub fn allow(&self) -> &[Rule] {
        &self.allow
    }

    /// The rules of which none may match, in the order of the file.
    #[must_use]
    pub fn deny(&self) -> &[Rule] {
        &self.deny
    }

    /// How the rules are read.
    #[must_use]
    pub fn matching(&self) -> Matching {
        self.matching
    }

    /// Whether a request for `path` passes, and which rule says so: the first deny rule that matches, else the first
    /// allow rule that matches, else none, which refuses too.
    ///
    /// `path` is the decoded URL path with its leading `/`, without query; a list without its last slash is asked
    /// with it (`/v1/key/list/`). Bytes that are no UTF-8 are fine. Nothing is allocated. Source: http-api 6.1.
    pub fn decide(&self, path: impl AsRef<[u8]>) -> Decision<'_> {
        self.decide_by(path.as_ref(), |_| true)
    }

    /// As [`decide`](Self::decide), for routes of [`Standing::Named`]: only allow rules that
    /// begin with the route's path count. Files were written while these routes did nothing, so that a rule such as
    /// `/v1/*` was not meant for them.
    pub fn decide_named(&self, route: &str, path: impl AsRef<[u8]>) -> Decision<'_> {
        self.decide_by(path.as_ref(), |rule| rule.is_written_for(route))
    }

    /// The decision on a request that came on `route`, by the rule for such routes: [`decide`](Self::decide) or
    /// [`decide_named`](Self::decide_named).
    pub fn decide_on(&self, route: &Route, path: impl AsRef<[u8]>) -> Decision<'_> {
        match route.standing {
            Standing::Named => self.decide_named(route.path, path),
            _ => self.decide(path),
        }
    }

    fn decide_by(&self, path: &[u8], counts: impl Fn(&Rule) -> bool) -> Decision<'_> {
        if let Some(rule) = self.deny.iter().find(|rule| rule.denies(path, self.matching)) {
            return Decision::Denied { policy: self, rule };
        }
        match self.allow.iter().find(|rule| counts(rule) && rule.allows(path, self.matching)) {
            Some(rule) => Decision::Allowed { policy: self, rule },
            None => Decision::NoRule { policy: self },
        }
    }

    /// What is remarkable about the rules: those of `allow` first, in the order of the file.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let allow = self.allow.iter().enumerate().map(|(index, rule)| (Effect::Allow, index, rule));
        let deny = self.deny.iter().enumerate().map(|(index, rule)| (Effect::Deny, index, rule));
        allow
            .chain(deny)
            .filter_map(|(effect, index, rule)| {
                let (severity, kind) = finding::judge(rule, effect, self.matching)?;
                let (policy, pattern) = (self.name.clone(), rule.as_str().to_owned());
                Some(Finding { severity, policy, effect, index, pattern, kind })
            })
            .collect()
    }

    /// What requests on one route may name, in every way they can be made: [`Reach`]. For people who ask what a policy
    /// grants; a request is decided by [`decide_on`](Self::decide_on).
    #[must_use]
    pub fn reach(&self, route: &Route) -> Reach {
        let counts = |rule: &Rule, effect| {
            effect == Effect::Deny || route.standing != Standing::Named || rule.is_written_for(route.path)
        };
        let rules = |rules: &[Rule], effect| {
            let names = |(index, rule): (usize, &Rule)| {
                rule.names(route, effect, self.matching).into_iter().map(move |names| (names, index))
            };
            rules.iter().enumerate().filter(|(_, rule)| counts(rule, effect)).flat_map(names).collect()
        };
        Reach::new(rules(&self.allow, Effect::Allow), rules(&self.deny, Effect::Deny))
    }

    /// The allow rule that comes closest to `path`: the one that shares the longest start with it, and at least the
    /// API's name. For the log of a refusal without a rule; the first such rule wins.
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<&Rule> {
        let api = path.rfind('/').filter(|at| *at > 0).unwrap_or(path.len());
        let shared = |rule: &Rule| rule.as_str().bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
        let mut nearest: Option<(usize, &Rule)> = None;
        for (length, rule) in self.allow.iter().map(|rule| (shared(rule), rule)) {
            if length >= api && nearest.is_none_or(|(longest, _)| length > longest) {
                nearest = Some((length, rule));
            }
        }
        nearest.map(|(_, rule)| rule)
    }
}

/// The answer to "may they?", with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The request passes: no deny rule matches, and this allow rule does.
    Allowed {
        /// The identity's policy.
        policy: &'a Policy,
        /// The first allow rule that matches.
        rule: &'a Rule,
    },
    /// The request is refused by a deny rule.
    Denied {
        /// The identity's policy.
        policy: &'a Policy,
        /// The first deny rule that matches.
        rule: &'a Rule,
    },
    /// The request is refused because no rule matches.
    NoRule {
        /// The identity's policy.
        policy: &'a Policy,
    },
    /// The request is refused because the identity has no policy.
    UnknownIdentity,
}

impl<'a> Decision<'a> {
    /// Whether the request passes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// The policy that decided, if the identity has one.
    #[must_use]
    pub fn policy(&self) -> Option<&'a Policy> {
        match self {
            Self::Allowed { policy, .. } | Self::Denied { policy, .. } | Self::NoRule { policy } => Some(policy),
            Self::UnknownIdentity => None,
        }
    }

    /// The rule that decided, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&'a Rule> {
        match self {
            Self::Allowed { rule, .. } | Self::Denied { rule, .. } => Some(rule),
            Self::NoRule { .. } | Self::UnknownIdentity => None,
        }
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { policy, rule } => write!(f, "allowed by {:?} of policy '{}'", rule.as_str(), policy.name),
            Self::Denied { policy, rule } => write!(f, "denied by {:?} of policy '{}'", rule.as_str(), policy.name),
            Self::NoRule { policy } => write!(f, "no rule of policy '{}' allows it", policy.name),
            Self::UnknownIdentity => f.write_str("the identity has no policy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], deny: &[&str], matching: Matching) -> Policy {
        Policy::new("app".parse().unwrap(), allow, deny, matching).0
    }

    #[test]
    fn deny_comes_first_and_the_deciding_rule_is_told() {
        let policy = policy(&["/v1/status", "/v1/key/create/*"], &["/v1/key/create/internal*"], Matching::Both);
        let told = |path: &str| policy.decide(path).to_string();
        assert_eq!(told("/v1/key/create/a"), "allowed by \"/v1/key/create/*\" of policy 'app'");
        assert_eq!(told("/v1/key/create/internal-1"), "denied by \"/v1/key/create/internal*\" of policy 'app'");
        assert_eq!(told("/v1/key/delete/a"), "no rule of policy 'app' allows it");
        assert_eq!(policy.decide("/v1/status").rule().map(Rule::as_str), Some("/v1/status"));
    }

    #[test]
    fn nothing_passes_without_allow_rules() {
        assert_eq!(policy(&[], &[], Matching::Both).decide("/v1/status").rule(), None);
        assert!(!policy(&[], &["/v1/key/*"], Matching::Both).decide("/v1/status").is_allowed());
    }

    #[test]
    fn deny_globs_refuse_again_what_the_old_server_let_pass() {
        let deny = ["/v1/key/*/internal*"];
        for (matching, allowed) in [(Matching::Both, false), (Matching::Head, true), (Matching::Glob, false)] {
            let policy = policy(&["/v1/key/delete/*"], &deny, matching);
            assert_eq!(policy.decide("/v1/key/delete/internal-1").is_allowed(), allowed, "{matching:?}");
        }
    }

    #[test]
    fn allow_globs_grant_again_what_they_say() {
        for (matching, allowed) in [(Matching::Both, true), (Matching::Head, false), (Matching::Glob, true)] {
            let policy = policy(&["/v1/key/*/my-key"], &[], matching);
            assert_eq!(policy.decide("/v1/key/delete/my-key").is_allowed(), allowed, "{matching:?}");
        }
    }

    #[test]
    fn a_malformed_deny_pattern_refuses_nothing_and_is_an_error() {
        let (policy, findings) =
            Policy::new("app".parse().unwrap(), &["/v1/key/create/*"], &["/v1/key/create/[a"], Matching::Both);
        assert!(policy.decide("/v1/key/create/a").is_allowed());
        assert_eq!(findings[0].severity, crate::Severity::Error);
    }

    #[test]
    fn routes_that_change_policies_must_be_named() {
        let route = "/v1/policy/write/";
        for (allow, deny, allowed) in [
            ("/v1/policy/write/*", "", true),
            ("/v1/policy/write/team-?", "", true),
            ("/v1/policy/write/other", "", false),
            ("/v1/policy/write*", "", false),
            ("/v1/policy/*/team-1", "", false),
            ("/v1/policy/*", "", false),
            ("/v1/*", "", false),
            ("*", "", false),
            ("/v1/policy/write/*", "/v1/*", false),
            ("/v1/policy/write/*", "/v1/policy/*/team-*", false),
        ] {
            let policy = policy(&["/v1/*", allow], &[deny], Matching::Both);
            let path = "/v1/policy/write/team-1";
            assert_eq!(policy.decide_named(route, path).is_allowed(), allowed, "{allow} {deny}");
        }
    }

    #[test]
    fn paths_need_not_be_utf8() {
        let policy = policy(&["/v1/key/create/?"], &[], Matching::Both);
        assert!(policy.decide(b"/v1/key/create/\xff").is_allowed());
        assert!(!policy.decide(b"/v1/key/create/\xff\xff").is_allowed());
    }

    #[test]
    fn nearest_is_the_rule_for_the_same_api_that_shares_most() {
        let policy = policy(&["/v1/key/create/a*", "/v1/key/create/my-*", "/v1/key/list"], &[], Matching::Both);
        let nearest = |path: &str| policy.nearest(path).map(Rule::as_str);
        assert_eq!(nearest("/v1/key/create/my_key"), Some("/v1/key/create/my-*"));
        assert_eq!(nearest("/v1/key/create/zzz"), Some("/v1/key/create/a*"));
        assert_eq!(nearest("/v1/key/list/"), Some("/v1/key/list"));
        assert_eq!(nearest("/v1/key/delete/my-key"), None);
    }
}
