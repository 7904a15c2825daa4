//! No input makes it panic, hang or say nothing.

use kes_config::File;
use proptest::prelude::*;

/// Every word that means something in some place, and what makes YAML interesting.
const WORDS: &[&str] = &[
    "version",
    "address",
    "admin",
    "identity",
    "tls",
    "key",
    "cert",
    "auth",
    "proxy",
    "identities",
    "header",
    "api",
    "/v1/ready",
    "skip_auth",
    "timeout",
    "policy",
    "p",
    "allow",
    "deny",
    "paths",
    "cache",
    "expiry",
    "any",
    "unused",
    "log",
    "error",
    "audit",
    "file",
    "keys",
    "name",
    "keystore",
    "fs",
    "path",
    "vault",
    "endpoint",
    "approle",
    "kubernetes",
    "jwt",
    "aws",
    "secretsmanager",
    "root",
    "compat",
    "limits",
    "probe",
    "seal",
    "static",
    "disabled",
    "on",
    "5m",
    "-5m",
    "1",
    "~",
    "${X}",
    "${",
    "/v1/[",
    "",
    "[]",
    "{}",
    "&a",
    "*a",
    "<<",
    "!!str",
    "|",
    ">",
    "'",
    "\"",
    "#",
    "%",
    "@",
    "- ",
    ": ",
    "? ",
    ",",
    "---",
    "...",
    "\t",
    "\r\n",
    "é",
    "\u{feff}",
];

fn load(text: &str) {
    let outcome = File::from_text("kes.yml", text).environment(|name| (name == "X").then(|| "5m".to_owned())).load();
    match outcome {
        Ok(loaded) => drop(format!("{loaded:?}")),
        Err(error) => {
            assert!(!error.message().is_empty() && error.place().is_some(), "{error:?}");
            drop(error.to_string());
        }
    }
}

/// A document of the right shape with anything in it.
fn tree() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(WORDS).prop_map(|word| format!("{word:?}")),
        "[a-z0-9./:-]{0,12}".prop_map(|word| format!("'{word}'")),
        Just("~".to_owned()),
        Just("true".to_owned()),
        Just("-4".to_owned()),
    ];
    let names = || prop_oneof![prop::sample::select(WORDS).prop_map(|word| format!("{word:?}")), "'[a-z]{1,6}'"];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((names(), inner), 0..6).prop_map(|entries| {
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn words(words in prop::collection::vec((prop::sample::select(WORDS), prop::sample::select(&[" ", "\n", "\n  ", ": ", "\n    - "][..])), 0..60)) {
        load(&words.iter().map(|(word, between)| format!("{word}{between}")).collect::<String>());
    }

    #[test]
    fn characters(text in "\\PC{0,200}") {
        load(&text);
    }

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        load(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn trees(text in tree()) {
        load(&text);
    }

    #[test]
    fn sections_of_any_shape(name in prop::sample::select(WORDS), tree in tree()) {
        load(&crate::support::file_with(&[&format!("{name:?}: {tree}")]));
    }

    #[test]
    fn mutations_of_a_real_file(at in 0usize..2000, length in 0usize..20, put in prop::sample::select(WORDS)) {
        let text = include_str!("../configs/maximal-fs.yml");
        let characters: Vec<char> = text.chars().collect();
        let at = at.min(characters.len());
        let end = (at + length).min(characters.len());
        let text: String = characters[..at].iter().copied().chain(put.chars()).chain(characters[end..].iter().copied()).collect();
        load(&text);
    }
}

#[test]
fn large_and_deep_files_end_soon() {
    let policies = "p: {allow: [/v1/status]}".to_owned();
    let many: Vec<_> = (0..3000).map(|number| format!("p{number}: {{allow: [/v1/status, '/v1/key/*/x']}}")).collect();
    load(&crate::support::file_with(&[&format!("policy: {{{policies}, {}}}", many.join(", "))]));
    load(&"[".repeat(200_000));
    load(&"a: ".repeat(50_000));
    load(&"- ".repeat(50_000));
    load(&"x".repeat(5 << 20));
    load(&format!("a:\n    b: {{\n{}}}\n", "c: d,\n".repeat(5_000)));
    load(&format!("a:\n    b: \"{}\"\n", "c\n".repeat(50_000)));
}

/// An unset variable is told from every key that takes references, whatever else is wrong: sections read all their keys
/// before they refuse anything.
#[test]
fn unset_variables_are_seen_in_every_key() {
    let keys = [
        "address",
        "admin.identity",
        "tls.key",
        "tls.cert",
        "tls.password",
        "tls.auth",
        "tls.ca",
        "tls.renew.ca",
        "tls.renew.key",
        "tls.proxy.identities[]",
        "tls.proxy.header.cert",
        "tls.proxy.admin",
        "api./v1/ready.skip_auth",
        "api./v1/ready.timeout",
        "policy.p.identities[]",
        "cache.expiry.any",
        "cache.expiry.unused",
        "cache.expiry.offline",
        "cache.max_keys",
        "log.error",
        "log.audit",
        "log.format",
        "log.audit_events",
        "log.audit_on_full",
        "log.audit_file.path",
        "log.audit_file.sync",
        "keys[].name",
        "compat.legacy_routes",
        "compat.policy_match",
        "limits.rate",
        "limits.idle",
        "probe.address",
        "keystore.fs.path",
        "keystore.static.key",
        "keystore.static.file",
        "keystore.vault.endpoint",
        "keystore.vault.engine",
        "keystore.vault.version",
        "keystore.vault.namespace",
        "keystore.vault.prefix",
        "keystore.vault.mode",
        "keystore.vault.agent",
        "keystore.vault.transit.engine",
        "keystore.vault.transit.key",
        "keystore.vault.approle.engine",
        "keystore.vault.approle.namespace",
        "keystore.vault.approle.id",
        "keystore.vault.approle.secret",
        "keystore.vault.kubernetes.engine",
        "keystore.vault.kubernetes.namespace",
        "keystore.vault.kubernetes.role",
        "keystore.vault.kubernetes.jwt",
        "keystore.vault.token.value",
        "keystore.vault.token.file",
        "keystore.vault.cert.engine",
        "keystore.vault.cert.role",
        "keystore.vault.tls.key",
        "keystore.vault.tls.cert",
        "keystore.vault.tls.ca",
        "keystore.vault.status.ping",
        "keystore.aws.secretsmanager.endpoint",
        "keystore.aws.secretsmanager.region",
        "keystore.aws.secretsmanager.kmskey",
        "keystore.aws.secretsmanager.prefix",
        "keystore.aws.secretsmanager.tags.t",
        "keystore.aws.secretsmanager.credentials.accesskey",
        "keystore.aws.secretsmanager.credentials.secretkey",
        "keystore.aws.secretsmanager.credentials.token",
        "keystore.aws.kms.key",
        "keystore.aws.kms.region",
        "keystore.azure.keyvault.endpoint",
        "keystore.azure.keyvault.names",
        "keystore.azure.keyvault.purge",
        "keystore.azure.keyvault.credentials.tenant_id",
        "keystore.azure.keyvault.credentials.client_id",
        "keystore.azure.keyvault.credentials.client_secret",
        "keystore.azure.keyvault.managed_identity.client_id",
        "keystore.azure.keyvault.tls.ca",
        "keystore.gcp.secretmanager.project_id",
        "keystore.gcp.secretmanager.endpoint",
        "keystore.gcp.secretmanager.scopes[]",
        "keystore.gcp.secretmanager.credentials.client_email",
        "keystore.gcp.secretmanager.credentials.client_id",
        "keystore.gcp.secretmanager.credentials.private_key_id",
        "keystore.gcp.secretmanager.credentials.private_key",
        "keystore.fortanix.sdkms.endpoint",
        "keystore.fortanix.sdkms.group_id",
        "keystore.fortanix.sdkms.credentials.key",
        "keystore.fortanix.sdkms.tls.ca",
        "keystore.gemalto.keysecure.endpoint",
        "keystore.gemalto.keysecure.credentials.token",
        "keystore.gemalto.keysecure.credentials.domain",
        "keystore.gemalto.keysecure.tls.ca",
        "keystore.entrust.keycontrol.endpoint",
        "keystore.entrust.keycontrol.vault_id",
        "keystore.entrust.keycontrol.box_id",
        "keystore.entrust.keycontrol.credentials.username",
        "keystore.entrust.keycontrol.credentials.password",
        "keystore.entrust.keycontrol.tls.ca",
        "keystore.generic.endpoint",
        "keystore.generic.tls.key",
        "keystore.kes.endpoint[]",
        "keystore.kes.enclave",
        "keystore.kes.tls.key",
        "keystore.seal.store",
        "keystore.seal.passphrase",
        "keystore.seal.passphrase_file",
        "keystore.seal.key",
        "keystore.seal.key_file",
        "keystore.seal.credential",
        "keystore.seal.recovery",
        "keystore.seal.aws.key",
        "keystore.seal.azure.key",
        "keystore.seal.vault.key",
        "keystore.seal.vault.approle.secret",
    ];
    for key in keys {
        let mut text = "\"${UNSET}\"".to_owned();
        for part in key.rsplit('.') {
            text = match part.strip_suffix("[]") {
                Some(list) => format!("{{{list}: [{text}]}}"),
                None => format!("{{{part}: {text}}}"),
            };
        }
        let error = crate::support::refusal(&text, &[]);
        assert_eq!(error.message(), "kesconf: referenced env. variable 'UNSET' in line '1' not found", "{key}");
        assert_eq!(error.place().unwrap().key, key.replace("[]", "[0]"));
    }
}
