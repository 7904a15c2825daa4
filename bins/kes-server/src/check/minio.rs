//! What MinIO asks of a server, so that a policy can be judged before MinIO is refused.

use kes_policy::{Decision, Policy};

/// A route that MinIO calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Need {
    /// The route's fixed part, such as `/v1/key/generate/`.
    pub route: &'static str,
    /// Whether the name of the key follows.
    pub named: bool,
    /// What MinIO does with it.
    pub used_for: &'static str,
    /// How much depends on it.
    pub urgency: Urgency,
}

/// How much depends on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// MinIO is of no use without it.
    Required,
    /// Something does not work, or is refused again and again.
    Wanted,
    /// Only some set-ups use it.
    Special,
}

const fn need(route: &'static str, named: bool, used_for: &'static str, urgency: Urgency) -> Need {
    Need { route, named, used_for, urgency }
}

/// All of them.
pub const NEEDS: &[Need] = {
    use Urgency::{Required, Special, Wanted};
    &[
        need("/v1/key/generate/", true, "every new object, IAM, configuration, readiness", Required),
        need("/v1/key/decrypt/", true, "every object that is read", Required),
        need("/v1/key/create/", true, "the default key at the first start, `mc admin kms key create`", Wanted),
        need("/v1/key/describe/", true, "asked every 10 seconds", Wanted),
        need("/v1/key/list/", false, "`mc admin kms key list`", Wanted),
        need("/v1/status", false, "`mc admin info`", Wanted),
        need("/v1/metrics", false, "the KMS metrics of MinIO; older releases hang on a refusal", Wanted),
        need("/v1/api", false, "the list of APIs over MinIO's admin API", Special),
        need("/v1/key/hmac/", true, "root credentials that MinIO makes from the key", Special),
        need("/v1/key/bulk/decrypt/", true, "MinIO of 2022-03 to 2023-08 alone", Special),
    ]
};

impl Need {
    /// The request's path for a key.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        if self.named { format!("{}{key}", self.route) } else { self.route.to_owned() }
    }

    /// The rule that allows it: for all keys that `keys` matches, such as `*` or `minio-*`.
    #[must_use]
    pub fn rule(&self, keys: &str) -> String {
        match self.route {
            "/v1/key/list/" => "/v1/key/list/*".to_owned(),
            route if self.named => format!("{route}{keys}"),
            route => route.to_owned(),
        }
    }
}

/// What a policy refuses a MinIO.
pub(super) struct Gaps<'a> {
    /// Needs that no rule allows, and the rule that would.
    pub(super) missing: Vec<(&'static Need, String)>,
    /// Needs that a deny rule refuses, and which.
    pub(super) denied: Vec<(&'static Need, &'a str)>,
}

/// Compares a policy with what MinIO needs. `None` if the policy is not for a MinIO: it neither bears its name nor allows
/// both to make and to open data keys.
pub(super) fn gaps(policy: &Policy) -> Option<Gaps<'_>> {
    let names = key_patterns(policy);
    let allows = |route: &str| names.iter().any(|keys| policy.decide(format!("{route}{}", sample(keys))).is_allowed());
    let is_minio = policy.name().as_str().to_ascii_lowercase().contains("minio");
    let seals_and_opens = || allows("/v1/key/generate/") && allows("/v1/key/decrypt/");
    if !is_minio && !seals_and_opens() {
        return None;
    }
    // A policy may be for some keys only: the keys for which it allows most are those it is for.
    names.iter().map(|keys| gaps_for(policy, keys)).min_by_key(|gaps| gaps.missing.len() + gaps.denied.len())
}

fn gaps_for<'a>(policy: &'a Policy, keys: &str) -> Gaps<'a> {
    let mut gaps = Gaps { missing: Vec::new(), denied: Vec::new() };
    for need in NEEDS.iter().filter(|need| need.urgency < Urgency::Special) {
        match policy.decide(need.path(&sample(keys))) {
            Decision::Allowed { .. } => {}
            Decision::Denied { rule, .. } => gaps.denied.push((need, rule.as_str())),
            Decision::NoRule { .. } | Decision::UnknownIdentity => gaps.missing.push((need, need.rule(keys))),
        }
    }
    gaps
}

/// The patterns for names of keys that the policy's rules have, and that for all.
fn key_patterns(policy: &Policy) -> Vec<String> {
    let routes = NEEDS.iter().filter(|need| need.named).map(|need| need.route);
    let tails = |rule: &str| routes.clone().find_map(|route| rule.strip_prefix(route)).map(str::to_owned);
    let mut patterns: Vec<String> =
        policy.allow().iter().filter_map(|rule| tails(rule.as_str())).filter(|keys| !keys.is_empty()).collect();
    patterns.push("*".to_owned());
    patterns.dedup();
    patterns
}

/// A name that such a pattern matches, if it is a simple one.
fn sample(keys: &str) -> String {
    match keys {
        "*" => "minio-key".to_owned(),
        keys => keys.replace(['*', '?'], "x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kes_policy::Matching;

    fn policy(name: &str, allow: &[&str], deny: &[&str]) -> Policy {
        Policy::new(name.parse().expect("a name"), allow, deny, Matching::Both).0
    }

    fn rules(policy: &Policy) -> Vec<String> {
        gaps(policy).expect("it is for a MinIO").missing.into_iter().map(|(_, rule)| rule).collect()
    }

    const WHOLE: [&str; 7] = [
        "/v1/key/create/*",
        "/v1/key/generate/*",
        "/v1/key/decrypt/*",
        "/v1/key/describe/*",
        "/v1/key/list/*",
        "/v1/status",
        "/v1/metrics",
    ];

    #[test]
    fn the_documented_policy_is_wide_enough() {
        assert!(rules(&policy("p", &WHOLE, &[])).is_empty());
        assert!(rules(&policy("p", &["/v1/*"], &[])).is_empty());
    }

    #[test]
    fn each_rule_is_missed() {
        for rule in WHOLE {
            let rest: Vec<_> = WHOLE.into_iter().filter(|other| *other != rule).collect();
            assert_eq!(rules(&policy("minio", &rest, &[])), [rule]);
        }
    }

    #[test]
    fn the_missing_rules_are_for_the_keys_that_the_policy_is_for() {
        let some = ["/v1/key/generate/minio-*", "/v1/key/decrypt/minio-*", "/v1/key/create/minio-*", "/v1/status"];
        assert_eq!(rules(&policy("app", &some, &[])), ["/v1/key/describe/minio-*", "/v1/key/list/*", "/v1/metrics"]);
        let apart = ["/v1/key/generate/a-*", "/v1/key/decrypt/b-*", "/v1/key/list/*", "/v1/status", "/v1/metrics"];
        assert!(rules(&policy("app", &apart, &[])).contains(&"/v1/key/decrypt/a-*".to_owned()));
    }

    #[test]
    fn a_refusal_is_told_apart_from_a_missing_rule() {
        let policy = policy("minio", &WHOLE, &["/v1/key/decrypt/*"]);
        let gaps = gaps(&policy).expect("it is for a MinIO");
        assert!(gaps.missing.is_empty());
        assert_eq!(
            gaps.denied.iter().map(|(need, rule)| (need.route, *rule)).collect::<Vec<_>>(),
            [("/v1/key/decrypt/", "/v1/key/decrypt/*")]
        );
    }

    #[test]
    fn other_clients_are_left_alone() {
        assert!(gaps(&policy("metrics", &["/v1/metrics"], &[])).is_none());
        assert!(gaps(&policy("readers", &["/v1/key/decrypt/*"], &[])).is_none());
    }
}
