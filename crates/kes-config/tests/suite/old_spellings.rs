//! config.md 8 and decision 31.

use crate::support::{file_with, load, refusal};
use kes_config::keystore::Backend;
use kes_config::{ClientAuth, Level};

#[test]
fn the_same_twice_is_fine_while_it_agrees() {
    let cases = [
        ("root: disabled\nadmin: {identity: disabled}", "root"),
        ("policy: {p: {paths: [/v1/status], allow: [/v1/status]}}", "policy.p.paths"),
        ("cache: {expiry: {any: 5m, all: 5m}}", "cache.expiry.all"),
        ("keys: {fs: {path: x}}\nkeystore: {fs: {path: x}}", "keys"),
    ];
    for (both, old) in cases {
        let text = format!("tls: {{key: k, cert: c}}\n{both}\n");
        let text = ["admin: {identity: disabled}\n", "keystore: {fs: {path: x}}\n"]
            .into_iter()
            .filter(|section| !both.contains(section.split(':').next().unwrap()))
            .fold(text, |text, section| text + section);
        let loaded = load(&text, &[]).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{text}");
        assert_eq!(loaded.warnings[0].place.key, old);
        let different = text.replacen("disabled", "other", 1).replacen("status]", "ready]", 1);
        let different = different.replacen("any: 5m", "any: 6m", 1).replacen("path: x", "path: y", 1);
        let error = refusal(&different, &[]);
        assert!(error.message().starts_with(&format!("kesconf: '{old}' is the old spelling of ")), "{error}");
        assert_eq!(error.place().unwrap().key, old);
    }
}

#[test]
fn old_spellings_set_what_they_say() {
    let text = "root: abc\ntls: {key: k, cert: c, client: {verify_cert: true}}\ncache: {expiry: {all: 7s}}\n\
                log: {error: {file: [e.log]}, audit: {file: [a.log, b.log]}}\npolicy: {p: {paths: [/v1/status]}}\n\
                keys: {aws: {secrets_manager: {address: a, region: r, credentials: {access_key: k, secret_key: s}}}}\n";
    let loaded = load(text, &[]).unwrap();
    let config = &loaded.config;
    assert_eq!((config.admin.as_str(), config.tls.auth), ("abc", ClientAuth::On));
    assert_eq!(config.cache.any.unwrap().as_secs(), 7);
    assert_eq!((config.log.error, config.log.audit), (Level::INFO, Level::INFO));
    assert_eq!(config.log.audit_file.as_ref().unwrap().path.to_str(), Some("a.log"));
    assert_eq!(config.policies.policy("p").unwrap().allow().len(), 1);
    let Backend::AwsSecretsManager(aws) = config.store.backend() else { panic!() };
    assert_eq!(aws.credentials.as_ref().unwrap().secretkey.as_ref().unwrap().expose(), "s");
    assert!(loaded.warnings.iter().all(|warning| !warning.message.contains("unknown")), "{:#?}", loaded.warnings);
}

#[test]
fn an_empty_new_spelling_is_absent() {
    let text = file_with(&["admin: {identity: ''}", "root: abc"]);
    assert_eq!(load(&text, &[]).unwrap().config.admin.as_str(), "abc");
    let nothing = file_with(&["root:", "keys: {}", "cache: {expiry: {all: ~}}"]);
    let loaded = load(&nothing, &[]);
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
}

#[test]
fn retry_is_neither_used_nor_warned_about() {
    let vault = "keystore: {vault: {endpoint: e, approle: {id: i, secret: s, retry: 15s}}}";
    let gemalto = "keystore: {gemalto: {keysecure: {endpoint: e, credentials: {token: t, retry: 15s}}}}";
    for store in [vault, gemalto] {
        assert_eq!(load(&file_with(&[store]), &[]).unwrap().warnings, []);
    }
}
