//! Real MinIO and `mc` against our server. The checks stand in `peers/minio-e2e.sh`, one line each.

use kes_tests::{Credential, Home, KeyVault, Kind, Moto, Server, Vault, checkout, peer};
use std::process::{Command, Stdio};

/// Runs the script against a server whose configuration ends in `more`; answers whether it succeeded and what it said.
fn run(more: &str, variables: &[(&str, &str)]) -> (bool, String) {
    run_on(more, variables, Home::config)
}

/// The same on another store than the filesystem's: `config` makes a configuration that ends in what it is given.
fn run_on(more: &str, variables: &[(&str, &str)], config: impl Fn(&Home, &str) -> String) -> (bool, String) {
    run_with(more, variables, config, |_| {})
}

/// The same with changes to the server's environment.
fn run_with(
    more: &str,
    variables: &[(&str, &str)],
    config: impl Fn(&Home, &str) -> String,
    change: impl Fn(&mut Command),
) -> (bool, String) {
    let home = Home::new();
    let (admin, minio) = (Credential::from_seed(0), Credential::from_seed(1));
    // What MinIO's documentation asks for, and nothing else.
    let policy = format!(
        "admin: {{identity: {}}}\npolicy: {{minio: {{allow: [/v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/bulk/decrypt, \
         /v1/key/list/*, /v1/key/describe/*, /v1/status, /v1/metrics, /v1/log/audit, /v1/log/error, /v1/api], identities: [{}]}}}}\nlog: {{error: on, audit: off}}\n{more}",
        admin.identity(),
        minio.identity()
    );
    let server = Server::start_with(Kind::Ours, &home, &config(&home, &policy), change);
    let output = Command::new(checkout().join("peers/minio-e2e.sh"))
        .arg(format!("https://{}", server.address()))
        .arg(home.path().join("server.crt"))
        .arg(Credential::api_key(1))
        .env("MINIO_BIN", peer("minio"))
        .env("MC_BIN", peer("mc"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the script starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    (output.status.success(), text)
}

#[test]
#[ignore = "needs MinIO and mc: peers/peers.sh install minio mc"]
fn todays_minio_seals_and_opens_with_it() {
    let (success, text) = run("", &[]);
    println!("{text}");
    assert!(success && text.ends_with("71 passed, 0 failed\n"));
}

#[test]
#[ignore = "needs MinIO, mc and the MinIO of 2021: peers/peers.sh install minio mc minio-2021"]
fn the_minio_of_2021_seals_with_it_and_todays_reads_that() {
    let old = peer("minio-2021");
    let new = peer("minio");
    let variables =
        [("LEGACY", "1"), ("MINIO_BIN", old.to_str().expect("UTF-8")), ("MINIO_NEW", new.to_str().expect("UTF-8"))];
    let (success, text) = run("compat: {legacy_messages: on}", &variables);
    println!("{text}");
    assert!(success && text.ends_with("19 passed, 0 failed\n"));
}

#[test]
#[ignore = "needs MinIO, mc and Vault: peers/peers.sh install minio mc vault"]
fn minio_seals_with_keys_in_vault() {
    let vault = Vault::start();
    let block = "engine: kv2\nversion: v2\nprefix: minio\ntransit:\n  engine: transit\n  key: kes";
    let (success, text) = run_on("", &[], |home, more| vault.config(home, block, more));
    println!("{text}");
    assert!(success && text.ends_with("71 passed, 0 failed\n"));
    let stored = vault.run(&["kv", "list", "kv2/minio"]);
    assert!(stored.lines().count() > 3, "{stored}");
}

#[test]
#[ignore = "needs MinIO, mc and Vault: peers/peers.sh install minio mc vault"]
fn minio_seals_with_keys_that_never_leave_vault() {
    let vault = Vault::start();
    vault.grant(
        r#"path "transit/keys" { capabilities = ["list"] }
           path "transit/keys/minio-*" { capabilities = ["create", "read", "update", "delete"] }
           path "transit/encrypt/minio-*" { capabilities = ["update"] }
           path "transit/decrypt/minio-*" { capabilities = ["update"] }
           path "transit/hmac/minio-*" { capabilities = ["update"] }"#,
    );
    let block = "mode: engine\nprefix: minio";
    let (success, text) = run_on("", &[], |home, more| vault.config(home, block, more));
    println!("{text}");
    assert!(success && text.ends_with("71 passed, 0 failed\n"));
    let keys = vault.run(&["list", "transit/keys"]);
    assert!(keys.lines().filter(|line| line.starts_with("minio-")).count() > 2, "{keys}");
}

#[test]
#[ignore = "needs MinIO, mc and moto: peers/peers.sh install minio mc moto"]
fn minio_seals_with_keys_in_secrets_manager() {
    let moto = Moto::start();
    let block = "{aws: {secretsmanager: {prefix: minio/, {service}}}}";
    let (success, text) = run_on("", &[], |home, more| moto.config(home, block, more));
    println!("{text}");
    assert!(success && text.ends_with("71 passed, 0 failed\n"));
    let stored = moto.secrets();
    assert!(stored.len() > 2 && stored.iter().all(|name| name.starts_with("minio/")), "{stored:?}");
}

#[test]
#[ignore = "needs MinIO, mc and moto: peers/peers.sh install minio mc moto"]
fn minio_seals_with_a_key_that_never_leaves_kms() {
    let moto = Moto::start();
    let block = format!("{{aws: {{kms: {{key: '{}', {{service}}}}}}}}", moto.kms_key());
    let (success, text) = run_on("", &[], |home, more| moto.config(home, &block, more));
    println!("{text}");
    assert!(success && text.ends_with("71 passed, 0 failed\n"));
    assert!(moto.secrets().is_empty());
}

#[test]
#[ignore = "needs MinIO, mc and the stand-ins: peers/peers.sh install minio mc standins"]
fn minio_seals_with_keys_in_azure_key_vault() {
    let vault = KeyVault::start();
    let block = "{azure: {keyvault: {{vault}}}}";
    let (success, text) = run_with("", &[], |home, more| vault.config(home, block, more), vault.environment());
    println!("{text}");
    assert!(success && text.ends_with("71 passed, 0 failed\n"));
    let stored = vault.secrets();
    assert!(stored.len() > 2 && stored.iter().all(|name| name.contains("e2e-")), "{stored:?}");
}
