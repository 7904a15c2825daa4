//! What Go's `path.Match` and the releases of MinIO KES answered, replayed.

use kes_policy::{Matching, Policy, Rule};
use serde_json::Value;

fn file(text: &str) -> Value {
    serde_json::from_str(text).expect("the file is JSON")
}

fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member].as_str().expect("a text in each case")
}

/// `Some(matches)`, or `None` for a bad pattern.
fn expected(case: &Value) -> Option<bool> {
    match &case["expected"] {
        Value::Bool(matches) => Some(*matches),
        Value::String(bad) if bad == "bad pattern" => None,
        other => panic!("unknown expectation {other}"),
    }
}

fn check_glob(case: &Value) -> Rule {
    let rule = Rule::parse(text(case, "pattern"));
    assert_eq!(rule.malformed().is_none(), expected(case).is_some(), "{case}");
    assert_eq!(rule.matches_glob(text(case, "path")), expected(case).unwrap_or(false), "{case}");
    rule
}

#[test]
fn both_readings_answer_as_the_releases_did() {
    let vectors = file(include_str!("vectors/policy-match.json"));
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 247);
    for case in cases {
        let rule = check_glob(case);
        assert_eq!(rule.matches_head(text(case, "path")), case["head"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn globs_answer_as_gos_path_match() {
    let cases = file(include_str!("vectors/path-match.json"));
    for case in cases.as_array().unwrap() {
        check_glob(case);
    }
}

#[test]
fn policies_combine_the_readings_as_decided() {
    let vectors = file(include_str!("vectors/policy-match.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let (pattern, path) = (text(case, "pattern"), text(case, "path"));
        let (glob, head) = (expected(case).unwrap_or(false), case["head"].as_bool().unwrap());
        let looks_like_glob = Rule::parse(pattern).is_glob();
        for (matching, allowed, denied) in [
            (Matching::Both, head || (glob && looks_like_glob), head || glob),
            (Matching::Head, head, head),
            (Matching::Glob, glob, glob),
        ] {
            let none: [&str; 0] = [];
            let (allows, _) = Policy::new("p".parse().unwrap(), &[pattern], &none, matching);
            assert_eq!(allows.decide(path).is_allowed(), allowed, "{matching:?} {case}");
            let (denies, _) = Policy::new("p".parse().unwrap(), &none, &[pattern], matching);
            assert_eq!(denies.decide(path).rule().is_some(), denied, "{matching:?} {case}");
        }
    }
}

/// For every pattern without a wildcard but a last `*`, the default is exactly HEAD's rule.
#[test]
fn what_works_at_head_works_the_same() {
    let vectors = file(include_str!("vectors/policy-match.json"));
    for case in vectors["cases"].as_array().unwrap() {
        let (pattern, path) = (text(case, "pattern"), text(case, "path"));
        if Rule::parse(pattern).is_glob() || path.is_empty() {
            continue;
        }
        let (policy, _) = Policy::new("p".parse().unwrap(), &[pattern], &[pattern; 0], Matching::default());
        assert_eq!(policy.decide(path).is_allowed(), case["head"].as_bool().unwrap(), "{case}");
        let (policy, _) = Policy::new("p".parse().unwrap(), &["*"], &[pattern], Matching::default());
        assert_eq!(policy.decide(path).is_allowed(), !case["head"].as_bool().unwrap(), "{case}");
    }
}
