//! `File::inspect`: all mistakes at once, each with its place, each once.

use crate::published::{configs, environment};
use crate::support::{ENVIRONMENT, file_with};
use kes_config::{ErrorKind, File, Inspection};

fn inspect(text: &str) -> Inspection {
    let lookup =
        |name: &str| ENVIRONMENT.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    File::from_text("kes.yml", text).environment(lookup).inspect()
}

fn keys(inspection: &Inspection) -> Vec<&str> {
    inspection.errors.iter().map(|error| error.place().unwrap().key.as_str()).collect()
}

#[test]
fn every_mistake_has_a_place_and_advice() {
    for path in configs() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let inspection =
            File::from_text(name, std::fs::read_to_string(&path).unwrap()).environment(environment).inspect();
        for error in &inspection.errors {
            assert!(error.place().is_some() && error.advice().is_some(), "{name}: {error}");
        }
    }
}

#[test]
fn sections_do_not_hide_each_other() {
    let text = "tls: {cert: c}\nversion: v2\naddress: x\nkeystore: {aws: {secretsmanager: {}}, vault: {version: v3}}\n\
                cache: {expiry: {any: -1s, offline: -1s}}\nkeys: [{name: a}, {name: a}, {name: 'b c'}]\n\
                policy: {p q: {allow: [x]}, r: {deny: ['/v1/[', '/v1/key/['], identities: [b c, d, d]}}\n\
                api: {/v1/key/create/: {skip_auth: on}, /v1/status: {timeout: -1s}}\nlog: {error: x, audit: y}\n";
    let expected = [
        "admin.identity",
        "tls.key",
        "version",
        "address",
        "keystore.vault.endpoint",
        "keystore.vault.approle",
        "keystore.vault.version",
        "cache.expiry.any",
        "cache.expiry.offline",
        "keys[1].name",
        "keys[2].name",
        "policy.p q",
        "policy.r.identities[0]",
        "policy.r.identities[2]",
        "policy.r.deny[0]",
        "policy.r.deny[1]",
        "api./v1/status.timeout",
        "api./v1/key/create/.skip_auth",
        "log.error",
        "log.audit",
    ];
    assert_eq!(keys(&inspect(text)), expected);
}

#[test]
fn a_value_that_cannot_be_read_is_told_once() {
    let cases = [
        ("admin: {identity: '${UNSET}'}", "admin.identity"),
        ("tls: [a]", "tls"),
        ("tls: {key: k, cert: {a: b}}", "tls.cert"),
        ("keystore: x", "keystore"),
        ("keystore: {vault: x}", "keystore.vault"),
        ("keystore: {fs: {path: '${UNSET}'}}", "keystore.fs.path"),
        ("keystore: {vault: {endpoint: e, approle: {id: i, secret: '${UNSET}'}}}", "keystore.vault.approle.secret"),
    ];
    for (part, key) in cases {
        assert_eq!(keys(&inspect(&file_with(&[part]))), [key], "{part}");
    }
}

#[test]
fn both_stores_are_judged_where_only_one_may_be() {
    let text = file_with(&["keystore: {vault: {approle: {id: i}}, azure: {keyvault: {credentials: {tenant_id: t}}}}"]);
    let expected = [
        "keystore.azure.keyvault",
        "keystore.vault.endpoint",
        "keystore.vault.approle.secret",
        "keystore.azure.keyvault.endpoint",
        "keystore.azure.keyvault.credentials.client_id",
        "keystore.azure.keyvault.credentials.client_secret",
    ];
    assert_eq!(keys(&inspect(&text)), expected);
}

#[test]
fn every_unset_variable_is_named() {
    let text = file_with(&["admin: {identity: '${ONE}'}", "policy: {p: {identities: ['${TWO}', '${THREE}']}}"]);
    let inspection = inspect(&text);
    assert!(inspection.errors.iter().all(|error| error.kind() == ErrorKind::Unset));
    assert_eq!(keys(&inspection), ["admin.identity", "policy.p.identities[0]", "policy.p.identities[1]"]);
}

#[test]
fn places_are_those_of_the_file() {
    let inspection = inspect(
        "root: disabled\ntls: {key: k, cert: c}\npolicy:\n  p:\n    paths:\n    - /v1/status\nkeystore: {fs: {path: x}}\n",
    );
    let line = |key: &str| inspection.place(key).unwrap().line;
    assert_eq!(["policy.p", "policy.p.allow[0]", "policy.p.deny", "log.error"].map(line), [4, 6, 4, 1]);
    assert_eq!(inspection.place("policy.p.deny").unwrap().key, "policy.p.deny");
}
