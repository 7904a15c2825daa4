//! config.md 3: what is checked, in which order, and with which texts.

use crate::support::{check, file_with, refusal};

const HEX: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";

#[test]
fn every_text() {
    let proxy = "tls: {key: k, cert: c, proxy: {identities: [disabled]}}";
    let policy_proxy = ["tls: {key: k, cert: c, proxy: {identities: [aa]}}", "policy: {p: {identities: [aa]}}"];
    check(&[
        (&["admin: {}"], "kesconf: invalid admin identity: no admin identity", 4, "admin.identity"),
        (&["admin: {identity: ''}"], "kesconf: invalid admin identity: no admin identity", 4, "admin.identity"),
        (&["admin: {identity: '${EMPTY}'}"], "kesconf: invalid admin identity: no admin identity", 4, "admin.identity"),
        (&["tls: {cert: c}"], "kesconf: invalid tls config: no private key", 4, "tls.key"),
        (&["tls:\n  key: k"], "kesconf: invalid tls config: no certificate", 4, "tls.cert"),
        (&["tls: {key: k, cert: c, auth: foo}"], "kesconf: invalid tls config: invalid auth '{ foo}'", 4, "tls.auth"),
        (&["tls: {key: k, cert: c, auth: ' on'}"], "kesconf: invalid tls config: invalid auth '{  on}'", 4, "tls.auth"),
        (
            &["tls: {key: k, cert: c, auth: '${A}'}"],
            "kesconf: invalid tls config: invalid auth '{A maybe}'",
            4,
            "tls.auth",
        ),
        (&[proxy], "kesconf: invalid tls proxy: identity 'disabled' is already admin", 4, "tls.proxy.identities[0]"),
        (
            &["policy:\n  p:\n    identities:\n    - x\n    - ${ADMIN}"],
            "kesconf: invalid policy 'p': identity 'disabled' is already admin",
            9,
            "policy.p.identities[1]",
        ),
        (
            &policy_proxy,
            "kesconf: invalid policy 'p': identity 'aa' is already a TLS proxy",
            5,
            "policy.p.identities[0]",
        ),
        (&["cache: {expiry: {any: -5m}}"], "kesconf: invalid cache expiry '-5m0s'", 5, "cache.expiry.any"),
        (
            &["cache: {expiry: {unused: -1h30m}}"],
            "kesconf: invalid cache unused expiry '-1h30m0s'",
            5,
            "cache.expiry.unused",
        ),
        (
            &["cache: {expiry: {offline: -1ns}}"],
            "kesconf: invalid offline cache expiry '-1ns'",
            5,
            "cache.expiry.offline",
        ),
        (&["log: {error: WARN-2}"], "kesconf: invalid log level 'WARN-2'", 5, "log.error"),
        (
            &["api:\n  /v1/status:\n    timeout: -15s"],
            "kesconf: invalid timeout '-15000000000' for API '/v1/status'",
            7,
            "api./v1/status.timeout",
        ),
        (
            &["keys: [{name: a}, {name: b}, {name: a}]"],
            "kesconf: invalid key config: key 'a' is defined multiple times",
            5,
            "keys[2].name",
        ),
        (&["keystore:"], "kesconf: no keystore specified", 4, "keystore"),
    ]);
}

#[test]
fn the_first_mistake_wins() {
    // Each of these is wrong; put right from the first to the last, each is told once, in this order.
    let steps: &[(&str, &str, &str)] = &[
        ("version: v2", "version: v1", "edge: invalid server config version 'v2'"),
        (
            "log: {audit: '${NOT_SET}'}",
            "log: {audit: maybe, error: maybe2}",
            "kesconf: referenced env. variable 'NOT_SET'",
        ),
        ("limits: {idle: 5}", "limits: {idle: -5s}", "yaml: unmarshal errors:"),
        ("admin: {}", "admin: {identity: adm}", "kesconf: invalid admin identity: no admin identity"),
        ("tls: {}", "tls: {key: k}", "kesconf: invalid tls config: no private key"),
        ("tls: {key: k}", "tls: {key: k, cert: c, auth: x}", "kesconf: invalid tls config: no certificate"),
        (
            "tls: {key: k, cert: c, auth: x}",
            "tls: {key: k, cert: c, proxy: {identities: [adm]}}",
            "kesconf: invalid tls config: invalid auth '{ x}'",
        ),
        (
            "tls: {key: k, cert: c, proxy: {identities: [adm]}}",
            "tls: {key: k, cert: c, proxy: {identities: [prx]}}",
            "kesconf: invalid tls proxy: identity 'adm' is already admin",
        ),
        (
            "policy: {p: {identities: [adm, prx]}}",
            "policy: {p: {identities: [prx]}}",
            "kesconf: invalid policy 'p': identity 'adm' is already admin",
        ),
        (
            "policy: {p: {identities: [prx]}}",
            "policy: {p q: {identities: [a.b]}}",
            "kesconf: invalid policy 'p': identity 'prx' is already a TLS proxy",
        ),
        (
            "cache: {expiry: {offline: -1s, unused: -1s, any: -1s}}",
            "cache: {expiry: {offline: -1s, unused: -1s}}",
            "kesconf: invalid cache expiry '-1s'",
        ),
        (
            "cache: {expiry: {offline: -1s, unused: -1s}}",
            "cache: {expiry: {offline: -1s}}",
            "kesconf: invalid cache unused expiry '-1s'",
        ),
        ("cache: {expiry: {offline: -1s}}", "cache: {}", "kesconf: invalid offline cache expiry '-1s'"),
        (
            "log: {audit: maybe, error: maybe2}",
            "log: {audit: maybe}",
            "strconv.Atoi: parsing \"MAYBE2\": invalid syntax",
        ),
        ("log: {audit: maybe}", "log: {}", "strconv.Atoi: parsing \"MAYBE\": invalid syntax"),
        ("api: {/x: {timeout: -1s}}", "api: {}", "kesconf: invalid timeout '-1000000000' for API '/x'"),
        (
            "keys: [{name: a b}, {name: a b}]",
            "keys: [{name: a b}]",
            "kesconf: invalid key config: key 'a b' is defined multiple times",
        ),
        (
            "keystore: {fs: {x: y}, gcp: {secretmanager: {endpoint: x}}}",
            "keystore: {fs: {x: y}}",
            "kesconf: invalid keystore config: more than once keystore specified",
        ),
        ("keystore: {fs: {x: y}}", "keystore: {fs: {path: p}}", "kesconf: invalid fs keystore: no path specified"),
        ("limits: {idle: -5s}", "limits: {}", "kesconf: invalid limit '-5s' for 'idle'"),
        ("address: localhost", "address: ':1'", "address localhost: missing port in address"),
        (
            "policy: {p q: {identities: [a.b]}}",
            "policy: {p: {identities: [a.b]}}",
            "kes: policy name 'p q' is empty, too long or contains invalid characters",
        ),
        (
            "policy: {p: {identities: [a.b]}}",
            "policy: {p: {identities: [ab]}, q: {identities: [ab]}}",
            "kes: identity 'a.b' is empty, too long or contains invalid characters",
        ),
        (
            "policy: {p: {identities: [ab]}, q: {identities: [ab]}}",
            "policy: {}",
            "kes: cannot assign policy 'q' to 'ab': identity already has a policy",
        ),
        ("keys: [{name: a b}]", "keys: []", "kes: key name 'a b' is empty, too long or contains invalid characters"),
    ];
    let mut sections: Vec<&str> = Vec::new();
    for (wrong, ..) in steps {
        let name = wrong.split(':').next().unwrap();
        if !sections.iter().any(|section| section.starts_with(&format!("{name}:"))) {
            sections.push(wrong);
        }
    }
    for (wrong, right, message) in steps {
        let text: String = sections.iter().map(|section| format!("{section}\n")).collect();
        assert!(sections.contains(wrong), "{wrong} is not there:\n{text}");
        let error = refusal(&text, &[]);
        assert!(error.message().starts_with(message), "{} instead of {message}\n{text}", error.message());
        sections.iter_mut().filter(|section| *section == wrong).for_each(|section| *section = right);
    }
    let text: String = sections.iter().map(|section| format!("{section}\n")).collect();
    assert!(crate::support::load(&text, &[]).is_ok(), "{text}");
}

#[test]
fn the_form_of_a_refusal() {
    let error = refusal(&file_with(&["tls: {cert: c}"]), &[]);
    assert_eq!(
        error.to_string(),
        "kesconf: invalid tls config: no private key\n --> kes.yml:4: tls.key\n\
         hint: write 'tls.key: <path of a PEM file>'; `kes identity new` makes such files"
    );
    let error = refusal("a: b\n", &[]);
    assert_eq!(error.place().unwrap().to_string(), "kes.yml:1: admin.identity");
}

#[test]
fn decision_29_mistyped_lists_of_a_policy_stop_the_start() {
    let meant = [
        ("alow", "allow"),
        ("Allow", "allow"),
        ("allows", "allow"),
        ("denny", "deny"),
        ("dney", "deny"),
        ("identites", "identities"),
    ];
    for (key, meant) in meant {
        let error = refusal(&file_with(&[&format!("policy:\n  p:\n    {key}: [x]\n    identities: [{HEX}]")]), &[]);
        assert_eq!(error.message(), format!("kesconf: invalid policy 'p': unknown key '{key}'"));
        assert_eq!(error.place().unwrap().to_string(), format!("kes.yml:7: policy.p.{key}"));
        assert_eq!(error.advice(), Some(format!("did you mean '{meant}'?").as_str()));
    }
    let loaded = crate::support::load(&file_with(&["policy: {p: {members: [x]}}"]), &[]).unwrap();
    assert_eq!(loaded.warnings[0].message, "unknown key 'members' in 'policy.p': it has no effect");
}

#[test]
fn decision_29_stores_outside_of_keystore_stop_the_start() {
    for store in
        ["fs: {path: p}", "vault: {endpoint: e}", "aws: {secretsmanager: {}}", "azure: {}", "gcp: ", "generic: {}"]
    {
        let name = store.split(':').next().unwrap();
        let error = refusal(&file_with(&["keystore: {}", store]), &[]);
        assert_eq!(error.message(), "kesconf: no keystore specified");
        assert_eq!(error.place().unwrap().key, name);
        let error = refusal(&file_with(&[store]), &[]);
        assert_eq!(error.message(), format!("kesconf: invalid keystore config: '{name}' stands outside of 'keystore'"));
        assert!(error.advice().unwrap().contains(&format!("keystore.{name}")), "{error}");
    }
}
