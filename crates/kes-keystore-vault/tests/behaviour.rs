//! What happens when tokens end, entries were deleted, keys are rotated, and servers are sealed, paused or gone.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use kes_keystore::{Engine, Error, ErrorKind, KeyName, KeyStore};
use kes_keystore_vault::{
    Config, EngineConfig, Method, Secret, Server, Source, Store, Transit, Version, connect, connect_engine,
};
use serde_json::json;
use support::{Vault, Way, shared};

const NEEDS: &str = "a real Vault";

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn config(server: Server, version: Version, prefix: &str) -> Config {
    let engine = if version == Version::V1 { "kv1" } else { "kv2" }.into();
    Config { server, engine, version, prefix: prefix.into(), transit: None }
}

async fn open(version: Version, prefix: &str) -> Store {
    connect(config(shared().server(), version, prefix)).await.expect(NEEDS)
}

/// A token for the policy `kes` that ends after `ttl`.
async fn token(vault: &Vault, ttl: &str, renewable: bool) -> String {
    let body = json!({"policies": ["kes"], "ttl": ttl, "renewable": renewable, "no_parent": true});
    vault.admin("POST", "auth/token/create", Some(body)).await.1["auth"]["client_token"].as_str().unwrap().to_owned()
}

/// Waits for something that a background task brings about; bounded, and checked by what it brings.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn values_lie_where_and_how_the_old_server_lays_them() {
    for (version, path) in [(Version::V1, "kv1/layout/my-key"), (Version::V2, "kv2/data/layout/my-key")] {
        open(version, "/layout/").await.create(&name("my-key"), b"CiQKIP").await.unwrap();
        let (_, entry) = shared().admin("GET", path, None).await;
        let data = if version == Version::V1 { &entry["data"] } else { &entry["data"]["data"] };
        assert_eq!(*data, json!({"my-key": "CiQKIP"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_deleted_version_is_not_found_and_never_overwritten() {
    let store = open(Version::V2, "soft").await;
    store.create(&name("a"), b"one").await.unwrap();
    shared().admin("DELETE", "kv2/data/soft/a", None).await;
    assert_eq!(store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = store.create(&name("a"), b"two").await.unwrap_err();
    assert!(error.to_string().contains("kv undelete"), "{error}");
    shared().admin("POST", "kv2/undelete/soft/a", Some(json!({"versions": [1]}))).await;
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn an_entry_of_somebody_else_is_neither_read_nor_overwritten() {
    for (version, path, body) in [
        (Version::V1, "kv1/foreign/a", json!({"password": "x"})),
        (Version::V2, "kv2/data/foreign/a", json!({"data": {"password": "x"}})),
    ] {
        shared().admin("POST", path, Some(body)).await;
        let store = open(version, "foreign").await;
        assert_eq!(store.create(&name("a"), b"v").await.unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_rotated_wrapping_key_opens_old_and_seals_new_values_and_plain_ones_stay() {
    let vault = shared();
    vault.admin("POST", "transit/keys/rotating", None).await;
    let policy = json!({"policy": "path \"kv2/*\" { capabilities = [\"create\",\"read\",\"list\",\"delete\"] }
        path \"transit/*\" { capabilities = [\"update\"] }"});
    vault.admin("PUT", "sys/policies/acl/rotating", Some(policy)).await;
    let body = json!({"policies": ["rotating"], "ttl": "1h", "no_parent": true});
    let made = vault.admin("POST", "auth/token/create", Some(body)).await.1;
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let server = || vault.server_with(Method::Token(Source::Value(Secret::new(token.clone()))));
    let plain = connect(config(server(), Version::V2, "rotating")).await.unwrap();
    plain.create(&name("plain"), b"0").await.unwrap();

    let transit = Some(Transit { engine: "transit/".into(), key: "rotating".into() });
    let store = connect(Config { transit, ..config(server(), Version::V2, "rotating") }).await.unwrap();
    store.create(&name("old"), b"1").await.unwrap();
    vault.admin("POST", "transit/keys/rotating/rotate", None).await;
    store.create(&name("new"), b"2").await.unwrap();
    for (key, value) in [("plain", b"0"), ("old", b"1"), ("new", b"2")] {
        assert_eq!(store.get(&name(key)).await.unwrap().expose(), value, "{key}");
    }
    let entry = vault.admin("GET", "kv2/data/rotating/new", None).await.1;
    assert!(entry["data"]["data"]["new"].as_str().unwrap().starts_with("vault:v2:"));
    let error = plain.get(&name("old")).await.unwrap_err();
    assert!(error.to_string().contains("keystore.vault.transit"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_wrong_version_of_the_engine_is_named_at_the_start() {
    for (engine, version, says) in [("kv2", Version::V1, "version: v2"), ("kv1", Version::V2, "version: v1")] {
        let config = Config { engine: engine.into(), ..config(shared().server(), version, "") };
        let error = connect(config).await.err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn what_is_not_permitted_is_said_at_the_start() {
    let vault = shared();
    let policy = json!({"policy": "path \"kv2/data/*\" { capabilities = [\"read\"] }"});
    vault.admin("PUT", "sys/policies/acl/reader", Some(policy)).await;
    let body = json!({"policies": ["reader"], "no_parent": true});
    let made = vault.admin("POST", "auth/token/create", Some(body)).await.1;
    let token = Secret::new(made["auth"]["client_token"].as_str().unwrap().to_owned());
    let server = vault.server_with(Method::Token(Source::Value(token)));
    let store = connect(config(server, Version::V2, "p")).await.unwrap();
    let notices = store.notices();
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices[0].contains("path \"kv2/data/p/*\" { capabilities = [\"create\"] }"), "{notices:?}");
    let error = store.create(&name("a"), b"v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert_eq!(open(Version::V2, "p").await.notices(), Vec::<String>::new(), "and the usual policy is enough");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_revoked_login_is_replaced_within_the_request() {
    let vault = shared();
    let store = open(Version::V2, "revoked").await;
    store.create(&name("a"), b"v").await.unwrap();
    // Every token of the role, ours among them.
    vault.admin("PUT", "sys/leases/revoke-prefix/auth/approle/login", None).await;
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn short_lived_tokens_are_renewed_and_replaced_under_load() {
    let vault = Vault::start("inmem");
    // The longest life is a few renewals, so that both happen.
    let role = json!({"token_policies": "kes", "token_ttl": "2s", "token_max_ttl": "6s"});
    vault.admin("POST", "auth/approle/role/kes", Some(role)).await;
    let store = connect(config(vault.server(), Version::V2, "short")).await.unwrap();
    store.create(&name("a"), b"v").await.unwrap();
    let started = tokio::time::Instant::now();
    let mut reads = 0_u32;
    while started.elapsed() < Duration::from_secs(12) {
        assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"v", "after {reads} reads");
        reads += 1;
    }
    println!("{reads} reads, none refused, with tokens of 2 s");
    let accessors = vault.admin("LIST", "auth/token/accessors", None).await.1;
    assert!(accessors["data"]["keys"].as_array().unwrap().len() < 12, "logins are counted in units, not in dozens");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_login_is_given_back_and_a_lent_token_is_not() {
    let vault = shared();
    let store = open(Version::V2, "closed").await;
    store.close().await;
    assert!(store.get(&name("a")).await.is_err(), "nothing is served after that");

    let lent = token(vault, "1h", true).await;
    let method = Method::Token(Source::Value(Secret::new(lent.clone())));
    let store = connect(config(vault.server_with(method), Version::V2, "closed")).await.unwrap();
    store.close().await;
    let (status, _) = vault.admin("POST", "auth/token/lookup", Some(json!({ "token": lent }))).await;
    assert_eq!(status, 200, "its owner still has it");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_token_file_is_read_again_when_its_token_has_ended() {
    let vault = shared();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let first = token(vault, "1h", false).await;
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let server = vault.server_with(Method::Token(Source::File(file.clone())));
    let store = connect(config(server, Version::V2, "sink")).await.unwrap();
    store.create(&name("a"), b"v").await.unwrap();
    std::fs::write(&file, token(vault, "1h", false).await).unwrap();
    vault.admin("POST", "auth/token/revoke", Some(json!({ "token": first }))).await;
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_sealed_server_is_out_and_an_unsealed_one_is_back() {
    let vault = Vault::start("raft");
    let store = connect(config(vault.server(), Version::V2, "")).await.unwrap();
    store.create(&name("a"), b"v").await.unwrap();
    vault.admin("PUT", "sys/seal", None).await;
    let error = store.get(&name("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("unseal it"), "{error}");
    let begin = std::time::Instant::now();
    assert!(store.get(&name("a")).await.is_err());
    assert!(begin.elapsed() < Duration::from_millis(100), "and no request is sent while it is known to be sealed");
    assert_eq!(store.status().await.unwrap_err().kind(), ErrorKind::Unreachable);
    vault.admin("PUT", "sys/unseal", Some(json!({"key": vault.unseal_key}))).await;
    until("being back", async || store.get(&name("a")).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn pooled_connections_to_a_server_that_was_cut_off_do_not_hang() {
    let way = Way::to(&shared().address).await;
    let mut server = shared().server();
    server.endpoint = way.endpoint();
    let store = connect(config(server, Version::V2, "pooled")).await.unwrap();
    store.create(&name("a"), b"v").await.unwrap();
    way.cut().await;
    assert_eq!(store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::Unreachable);
    way.mend().await;
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn set_ups_that_cannot_work_are_refused_at_the_start() {
    let vault = shared();
    let refused = async |server: Server, says: &str| {
        let error = connect(config(server, Version::V2, "")).await.err().unwrap();
        let mut text = error.to_string();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(why) = cause {
            text = format!("{text}: {why}");
            cause = why.source();
        }
        assert!(text.contains(says), "{text}");
        assert!(!text.contains(&vault.secret_id) && !text.contains("s3cr3t"), "{text}");
    };
    let wrong_secret =
        Method::AppRole { engine: "approle".into(), id: vault.role_id.clone(), secret: Secret::new("s3cr3t".into()) };
    refused(vault.server_with(wrong_secret), "check 'approle'").await;
    refused(vault.server_with(Method::Token(Source::Value(Secret::new("s3cr3t".into())))), "check 'token'").await;
    let mut untrusted = vault.server();
    untrusted.tls.ca = None;
    refused(untrusted, "certificate").await;
    let mut missing = vault.server();
    missing.tls.ca = Some("/nowhere/ca.crt".into());
    refused(missing, "/nowhere/ca.crt").await;
    let mut scheme = vault.server();
    scheme.endpoint = "vault.internal:8200".into();
    refused(scheme, "https://host:8200").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn keys_of_the_transit_engine_are_used_in_there() {
    let vault = shared();
    let server = vault.server_with(vault.root());
    let engine = connect_engine(EngineConfig { server, engine: "transit".into(), prefix: "kes".into() }).await.unwrap();
    let key = name("my-key_1");
    engine.create_key(&key).await.unwrap();
    assert_eq!(engine.create_key(&key).await.unwrap_err().kind(), ErrorKind::Exists);
    let made = engine.describe_key(&key).await.unwrap();
    assert_eq!(made.algorithm, "AES256");
    let age = time::OffsetDateTime::now_utc() - made.created_at;
    assert!(age.whole_minutes() < 10, "{age}");

    for context in [&b""[..], b"bucket/object"] {
        let data_key = engine.generate(&key, context).await.unwrap();
        assert_eq!(data_key.plaintext.expose().len(), 32);
        let opened = engine.decrypt(&key, &data_key.ciphertext, context).await.unwrap();
        assert_eq!(opened.expose(), data_key.plaintext.expose());
        let wrong = engine.decrypt(&key, &data_key.ciphertext, b"another context").await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::NotAuthentic);
    }
    let sealed = engine.encrypt(&key, b"", b"").await.unwrap();
    assert_eq!(engine.decrypt(&key, &sealed, b"").await.unwrap().expose(), b"");
    for junk in [&b""[..], b"vault:v1:AAAA", b"\xff\xfe", b"vault:v9:AAAA"] {
        assert_eq!(engine.decrypt(&key, junk, b"").await.unwrap_err().kind(), ErrorKind::NotAuthentic, "{junk:?}");
    }

    let sum = engine.mac(&key, b"message").await.unwrap();
    vault.admin("POST", "transit/keys/kes-my-key_1/rotate", None).await;
    assert_eq!(engine.mac(&key, b"message").await.unwrap(), sum, "also after a rotation");
    assert_eq!(engine.decrypt(&key, &sealed, b"").await.unwrap().expose(), b"");

    let page = engine.list("my", None, 10).await.unwrap();
    assert_eq!(page.names, std::slice::from_ref(&key));
    engine.delete(&key).await.unwrap();
    assert_eq!(engine.delete(&key).await.unwrap_err().kind(), ErrorKind::NotFound);
    let gone: Vec<Error> = vec![
        engine.encrypt(&key, b"x", b"").await.unwrap_err(),
        engine.decrypt(&key, &sealed, b"").await.unwrap_err(),
        engine.mac(&key, b"x").await.unwrap_err(),
        engine.describe_key(&key).await.unwrap_err(),
    ];
    assert!(gone.iter().all(|error| error.kind() == ErrorKind::NotFound), "{gone:?}");
    assert_eq!(engine.get(&key).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn of_many_who_create_at_once_everybody_ends_with_one_value() {
    let stores = [Arc::new(open(Version::V2, "race").await), Arc::new(open(Version::V2, "race").await)];
    for round in 0..20 {
        let key = name(&format!("k{round}"));
        let creates = (0..8).map(|number| {
            let (store, key) = (stores[number % 2].clone(), key.clone());
            tokio::spawn(async move {
                store.create(&key, format!("value-{number}").as_bytes()).await.is_ok().then_some(number)
            })
        });
        let mut winners = Vec::new();
        for create in creates.collect::<Vec<_>>() {
            winners.extend(create.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let value = stores[0].get(&key).await.unwrap();
        assert_eq!(value.expose(), format!("value-{}", winners[0]).as_bytes());
    }
}
