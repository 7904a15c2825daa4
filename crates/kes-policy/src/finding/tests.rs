use super::*;
use crate::Policy;

fn findings(effect: Effect, pattern: &str, matching: Matching) -> Vec<Finding> {
    let (allow, deny) = match effect {
        Effect::Allow => (vec![pattern], vec![]),
        Effect::Deny => (vec![], vec![pattern]),
    };
    Policy::new("app".parse().unwrap(), &allow, &deny, matching).1
}

fn only(effect: Effect, pattern: &str, matching: Matching) -> Finding {
    let mut findings = findings(effect, pattern, matching);
    assert_eq!(findings.len(), 1, "{pattern}: {findings:?}");
    findings.remove(0)
}

#[test]
fn rules_that_do_what_they_say_are_not_remarked_on() {
    for pattern in [
        "/v1/status",
        "/version",
        "/v1/identity/self/describe",
        "/v1/key/create/*",
        "/v1/key/create/my-*",
        "/v1/key/create*",
        "/v1/key/create/my-key",
        "/v1/key/list/",
        "/v1/key/list/my*",
        "/v1/key/bulk/decrypt/*",
        "/v1/log/*",
        "/v1/log/audit",
        "/v1/log/audit/trace",
        "/v1/m*",
    ] {
        assert_eq!(findings(Effect::Allow, pattern, Matching::Both), [], "{pattern}");
    }
    for pattern in ["*", "/v1/*", "/v1/key/*", "/v1/key/delete/*", "/v1/key/create/internal*"] {
        assert_eq!(findings(Effect::Deny, pattern, Matching::Both), [], "{pattern}");
    }
}

#[test]
fn the_published_minio_policies_give_no_warning() {
    let paths = [
        "/v1/key/create/*",
        "/v1/key/generate/*",
        "/v1/key/decrypt/*",
        "/v1/key/bulk/decrypt",
        "/v1/key/list/*",
        "/v1/status",
        "/v1/metrics",
        "/v1/log/audit",
        "/v1/log/error",
    ];
    let (_, findings) = Policy::new("minio-server".parse().unwrap(), &paths, &[] as &[&str], Matching::Both);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].index, findings[0].severity), (3, Severity::Note));
}

#[test]
fn a_malformed_deny_is_an_error_and_a_malformed_allow_a_warning() {
    for matching in [Matching::Both, Matching::Head, Matching::Glob] {
        let deny = only(Effect::Deny, "/v1/key/create/[a", matching);
        assert_eq!((deny.severity, &deny.kind), (Severity::Error, &Kind::Malformed(Malformed::UnclosedClass(15))));
        assert_eq!(only(Effect::Allow, "/v1/key/create/[a", matching).severity, Severity::Warning);
    }
    assert_eq!(
        only(Effect::Deny, "/v1/key/create/[a", Matching::Both).to_string(),
        "policy 'app': the deny rule \"/v1/key/create/[a\" is malformed: the `[` at position 15 is never closed"
    );
}

#[test]
fn an_allow_rule_whose_star_crosses_the_slash_is_told() {
    for (pattern, count) in
        [("*", 20), ("/*", 20), ("/v1/*", 20), ("/v1/key/*", 9), ("/v1/k*", 9), ("/v1/key/de*", 3), ("/v1/policy/*", 3)]
    {
        let finding = only(Effect::Allow, pattern, Matching::Both);
        let Kind::ReachesSeveral(routes) = &finding.kind else { panic!("{finding:?}") };
        assert_eq!(routes.len(), count, "{pattern}");
        assert_eq!(finding.severity, Severity::Warning);
        assert!(matches!(only(Effect::Allow, pattern, Matching::Head).kind, Kind::ReachesSeveral(_)));
    }
    assert_eq!(
        only(Effect::Allow, "/v1/policy/*", Matching::Both).to_string(),
        "policy 'app': the allow rule \"/v1/policy/*\" reaches 3 APIs, because its `*` also matches `/`: \
         /v1/policy/describe/, /v1/policy/read/, /v1/policy/list/"
    );
}

#[test]
fn globs_that_the_old_server_ignored_are_told() {
    for pattern in ["/v1/key/*/internal*", "/v1/statu?", "/v1/key/[cd]*/x", "/v1/**"] {
        for effect in [Effect::Allow, Effect::Deny] {
            let finding = only(effect, pattern, Matching::Both);
            assert!(matches!(finding.kind, Kind::Revived(_)), "{finding:?}");
            assert_eq!(findings(effect, pattern, Matching::Glob), [], "{pattern}");
            assert!(matches!(only(effect, pattern, Matching::Head).kind, Kind::OtherReading(_)));
        }
    }
    let told = only(Effect::Deny, "/v1/key/c*/x", Matching::Both).to_string();
    let expected = "policy 'app': the deny rule \"/v1/key/c*/x\" refuses requests on /v1/key/create/; releases since \
                    2023-10-24 ignored it";
    assert_eq!(told, expected);
}

#[test]
fn a_rule_that_only_the_other_reading_reaches_is_told() {
    assert!(matches!(only(Effect::Deny, "/v1/key/*", Matching::Glob).kind, Kind::OtherReading(_)));
}

#[test]
fn a_missing_end_is_told_with_what_to_write() {
    for (pattern, instead) in [
        ("/v1/key/list", "write `/v1/key/list/*`"),
        ("/v1/key/create", "write `/v1/key/create/*`"),
        ("/v1/key/create/", "write `/v1/key/create/*`"),
        ("/v1/policy/list", "write `/v1/policy/list/*`"),
    ] {
        for effect in [Effect::Allow, Effect::Deny] {
            let finding = only(effect, pattern, Matching::Both);
            assert!(matches!(finding.kind, Kind::MissingTail(_)), "{finding:?}");
            assert_eq!((finding.severity, finding.hint().unwrap().as_str()), (Severity::Warning, instead));
        }
    }
    let bulk = only(Effect::Allow, "/v1/key/bulk/decrypt", Matching::Both);
    assert_eq!(bulk.severity, Severity::Note);
    assert_eq!(bulk.hint().unwrap(), "write `/v1/key/bulk/decrypt/*`");
}

#[test]
fn routes_of_older_releases_are_harmless() {
    for pattern in ["/v1/secret/read/*", "/v1/secret/read", "/v1/enclave/*", "/v1/sys/seal"] {
        let finding = only(Effect::Allow, pattern, Matching::Both);
        assert!(matches!(finding.kind, Kind::Gone(_)), "{finding:?}");
        assert_eq!(finding.severity, Severity::Note);
    }
}

#[test]
fn who_may_change_policies_may_have_every_right() {
    for pattern in ["/v1/policy/write/*", "/v1/policy/assign/team", "/v1/identity/assign/*/*", "/v1/identity/delete/a*"]
    {
        let finding = only(Effect::Allow, pattern, Matching::Both);
        assert!(matches!(finding.kind, Kind::Delegates(_)), "{finding:?}");
        assert_eq!(finding.severity, Severity::Warning);
    }
    let wide = only(Effect::Allow, "/v1/policy/wri*", Matching::Both);
    assert!(matches!(wide.kind, Kind::NotNamed(_)), "{wide:?}");
    assert_eq!(wide.hint().unwrap(), "write `/v1/policy/write/*` if that is meant");
    // Wide rules are not for these routes, and deny rules refuse there as everywhere.
    assert!(matches!(only(Effect::Allow, "/v1/policy/*", Matching::Both).kind, Kind::ReachesSeveral(_)));
    for pattern in ["/v1/policy/write/*", "/v1/policy/wri*"] {
        assert_eq!(findings(Effect::Deny, pattern, Matching::Both), [], "{pattern}");
    }
    assert!(matches!(only(Effect::Deny, "/v1/*/*/internal", Matching::Both).kind, Kind::Revived(_)));
    let bare = only(Effect::Allow, "/v1/policy/write", Matching::Both);
    assert!(matches!(bare.kind, Kind::MissingTail(_)) && bare.severity == Severity::Note, "{bare:?}");
}

#[test]
fn dead_rules_name_what_was_probably_meant() {
    for (pattern, nearest) in [
        ("v1/key/create/*", Some("/v1/key/create/*")),
        (" /v1/status", Some("/v1/status")),
        ("/v1/key/creat/my-*", Some("/v1/key/create/my-*")),
        ("/V1/KEY/create/*", Some("/v1/key/create/*")),
        ("/v1/keys/list/*", Some("/v1/key/list/*")),
        ("/v1/metric", Some("/v1/metrics")),
        ("/v2/something/else/*", None),
        ("", None),
    ] {
        let finding = only(Effect::Deny, pattern, Matching::Both);
        let Kind::Dead { nearest: found } = &finding.kind else { panic!("{finding:?}") };
        assert_eq!(found.as_deref(), nearest, "{pattern}");
        assert_eq!(finding.severity, Severity::Warning);
    }
}

#[test]
fn names_that_cannot_exist_are_told() {
    for pattern in ["/v1/key/create/my.key", "/v1/key/create/a/*", "/v1/key/delete/ *"] {
        let finding = only(Effect::Deny, pattern, Matching::Both);
        assert!(matches!(finding.kind, Kind::ImpossibleName(_)), "{finding:?}");
    }
}

#[test]
fn denying_what_no_policy_guards_has_no_effect() {
    for pattern in ["/version", "/v1/identity/self/describe", "/vers*"] {
        assert!(matches!(only(Effect::Deny, pattern, Matching::Both).kind, Kind::Unguarded(_)), "{pattern}");
    }
}

#[test]
fn a_finding_knows_its_place_and_stays_on_one_line() {
    let (_, findings) =
        Policy::new("app".parse().unwrap(), &["/v1/status", "/v1/x\ny"], &["/v1/key/list"], Matching::Both);
    assert_eq!(
        findings.iter().map(|f| (f.effect, f.index)).collect::<Vec<_>>(),
        [(Effect::Allow, 1), (Effect::Deny, 0)]
    );
    assert!(findings.iter().all(|finding| !finding.to_string().contains('\n')));
}
