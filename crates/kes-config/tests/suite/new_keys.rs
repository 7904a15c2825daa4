//! Decision 35: keys that MinIO KES does not have.

use crate::support::{check, file_with, load};
use kes_config::keystore::{Backend, VaultAuth};
use kes_config::{AuditEvents, Format, OnFull, Sync};
use kes_policy::Matching;
use std::time::Duration;

#[test]
fn defaults() {
    let config = load(&file_with(&[]), &[]).unwrap().config;
    let compat = config.compat;
    assert!(
        compat.legacy_routes && compat.ephemeral_policies && !compat.legacy_messages && !compat.skip_auth_any_route
    );
    assert_eq!(compat.policy_match, Matching::Both);
    let limits = config.limits;
    assert_eq!((limits.connections, limits.rate, limits.concurrency), (None, None, None));
    let seconds = [limits.handshake, limits.header, limits.idle].map(|time| time.unwrap().as_secs());
    assert_eq!((seconds, limits.drain.as_secs()), ([10, 5, 90], 10));
    assert_eq!(
        (config.log.format, config.log.audit_events, config.log.audit_on_full),
        (Format::Text, AuditEvents::All, None)
    );
    assert!(config.log.audit_file.is_none() && config.probe.address.is_none() && config.store.seal().is_none());
}

#[test]
fn everything_set() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs/new-keys.yml")).unwrap();
    let config = load(&text, &[("SEAL_PASSPHRASE", "open sesame")]).unwrap().config;
    let compat = config.compat;
    assert!(
        !compat.legacy_routes && !compat.ephemeral_policies && compat.legacy_messages && compat.skip_auth_any_route
    );
    assert_eq!(compat.policy_match, Matching::Head);
    assert!(config.tls.proxy.admin && config.api["/v1/key/describe/"].skip_auth);
    let limits = config.limits;
    assert_eq!((limits.connections, limits.rate, limits.concurrency), (Some(1000), Some(50), Some(8)));
    let seconds = [limits.handshake, limits.header, limits.idle].map(|time| time.unwrap().as_secs());
    assert_eq!((seconds, limits.drain.as_secs()), ([4, 3, 60], 30));
    let log = config.log;
    assert_eq!(
        (log.format, log.audit_events, log.audit_on_full),
        (Format::Json, AuditEvents::Mutations, Some(OnFull::Wait))
    );
    assert_eq!(log.audit_file.unwrap().sync, Sync::Always);
    assert_eq!(config.probe.address.unwrap().port(), 7374);
    assert_eq!((config.cache.any, config.cache.max_keys), (None, 500));
    let seal = config.store.seal().unwrap();
    assert_eq!(seal.passphrase.as_ref().unwrap().expose(), "open sesame");
    assert_eq!(seal.recovery.as_ref().unwrap().to_str(), Some("/etc/kes/recovery"));
}

#[test]
fn seals_in_the_cloud() {
    let seal = "keystore: {fs: {path: p}, seal: {key_file: k, credential: c, aws: {key: alias/kes, region: r}, \
                azure: {endpoint: kv.vault.azure.net, key: k, managed_identity: {client_id: i}}, \
                vault: {endpoint: e, key: k, namespace: n, token: {file: t}}}}";
    let loaded = load(&file_with(&[seal]), &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    let seal = loaded.config.store.seal().unwrap();
    assert_eq!(seal.aws.as_ref().unwrap().key, "alias/kes");
    assert_eq!(seal.azure.as_ref().unwrap().endpoint.expose(), "https://kv.vault.azure.net");
    let vault = seal.vault.as_ref().unwrap();
    assert_eq!((vault.engine.as_str(), vault.login.namespace.as_deref()), ("transit", Some("n")));
    assert!(matches!(vault.login.auth, VaultAuth::Token(_)));
    assert!(matches!(loaded.config.store.backend(), Backend::Fs(_)));
}

#[test]
fn zero_is_no_limit() {
    let zeros = "limits: {connections: 0, rate: 0, handshake: 0s, idle: 0s, drain: 0s}";
    let limits = load(&file_with(&[zeros]), &[]).unwrap().config.limits;
    assert_eq!((limits.connections, limits.rate, limits.handshake, limits.idle), (None, None, None, None));
    assert_eq!(limits.drain, Duration::ZERO);
}

#[test]
fn refusals() {
    check(&[
        (
            &["compat: {policy_match: globs}"],
            "kesconf: invalid value 'globs' for 'compat.policy_match'",
            5,
            "compat.policy_match",
        ),
        (&["log: {format: xml}"], "kesconf: invalid value 'xml' for 'log.format'", 5, "log.format"),
        (
            &["log: {audit_file: {path: p, sync: on}}"],
            "kesconf: invalid value 'on' for 'log.audit_file.sync'",
            5,
            "log.audit_file.sync",
        ),
        (
            &["log: {audit_file: {sync: off}}"],
            "kesconf: invalid log config: no audit file path specified",
            5,
            "log.audit_file.path",
        ),
        (&["limits: {header: -1s}"], "kesconf: invalid limit '-1s' for 'header'", 5, "limits.header"),
        (
            &["limits: {rate: -1}"],
            "yaml: unmarshal errors:\n  line 5: cannot unmarshal !!int `-1` into uint64",
            5,
            "limits.rate",
        ),
    ]);
}

#[test]
fn an_authority_that_renews_is_whole_or_absent() {
    let tls = |renew: &str| format!("tls: {{key: k.pem, cert: c.pem, renew: {renew}}}");
    let read = |renew: &str| load(&file_with(&[&tls(renew)]), &[]).unwrap().config.tls.renew;
    let renew = read("{ca: ca.crt, key: ca.key}").unwrap();
    assert_eq!((renew.ca.to_str(), renew.key.to_str()), (Some("ca.crt"), Some("ca.key")));
    assert_eq!(read("{ca: '', key: ''}"), None);
    check(&[
        (&[&tls("{ca: ca.crt}")], "kesconf: invalid tls config: 'renew' without 'key'", 4, "tls.renew.key"),
        (&[&tls("{key: ca.key}")], "kesconf: invalid tls config: 'renew' without 'ca'", 4, "tls.renew.ca"),
    ]);
}
