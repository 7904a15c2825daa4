//! Keys of Key Vault that wrap the root key of a sealed store.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;

use kes_crypto::sealing::SealKey;
use kes_keystore::sealed::{self, NewSlot, SealingKey, Unlocked};
use kes_keystore::{Error, ErrorKind, KeyStore, Seal, fs};
use kes_keystore_azure::{KeyVaultSeal, SealConfig, Vault, connect_seal};
use serde_json::{Value, json};
use support::{CLIENT, StandIn, chain, name};

const LABEL: &str = "kes-seal:00112233445566778899aabbccddeeff";

struct Place {
    stand_in: StandIn,
    name: String,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let stand_in = StandIn::start(&[]);
        let (name, port) = stand_in.fresh();
        Self { stand_in, name, port }
    }

    fn vault(&self) -> Vault {
        self.stand_in.vault_at(&self.name, self.port)
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.stand_in.ask(&self.vault().endpoint, method, path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn make(&self, key: &str, kind: Value) {
        self.ask("POST", &format!("/keys/{key}/create"), kind).await;
    }

    async fn seal(&self, key: &str) -> KeyVaultSeal {
        connect_seal(SealConfig { vault: self.vault(), key: key.to_owned() }).await.unwrap()
    }
}

fn root() -> SealKey {
    SealKey::from_bytes(&[7; 32]).unwrap()
}

fn failed<T>(outcome: Result<T, Error>) -> (ErrorKind, String) {
    let error = outcome.err().expect("it must fail");
    (error.kind(), chain(&error))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn keys_of_both_kinds_wrap_and_unwrap() {
    let place = Place::new();
    for (key, kind, algorithm) in [
        ("rsa", json!({"kty": "RSA", "key_size": 2048}), "RSA-OAEP-256"),
        ("rsa-4096", json!({"kty": "RSA-HSM", "key_size": 4096}), "RSA-OAEP-256"),
        ("aes", json!({"kty": "oct-HSM", "key_size": 256}), "A256KW"),
    ] {
        place.make(key, kind).await;
        let seal = place.seal(key).await;
        let wrapped = seal.wrap(LABEL, &root()).await.unwrap_or_else(|why| panic!("{}", chain(&why)));
        assert!(wrapped.len() <= 1024, "{key}: {} bytes", wrapped.len());
        let shown: Value = serde_json::from_slice(&wrapped).unwrap();
        assert_eq!(shown["algorithm"], algorithm, "{key}");
        assert!(seal.unwrap(LABEL, &wrapped).await.unwrap().is(&root()));
        // For another store, by another key, or changed: another slot is tried then.
        let (kind, text) = failed(seal.unwrap("kes-seal:00", &wrapped).await);
        assert_eq!(kind, ErrorKind::Damaged, "{text}");
        let mut changed = shown.clone();
        changed["sealed"] = shown["wrapped"].clone();
        let changed = serde_json::to_vec(&changed).unwrap();
        assert_eq!(failed(seal.unwrap(LABEL, &changed).await).0, ErrorKind::Damaged);
        assert_eq!(failed(seal.unwrap(LABEL, b"nonsense").await).0, ErrorKind::Damaged);
        let other = format!("{key}-other");
        place.make(&other, json!({"kty": "RSA", "key_size": 2048})).await;
        assert_eq!(failed(place.seal(&other).await.unwrap(LABEL, &wrapped).await).0, ErrorKind::Damaged);
        // A new version of the key: what the old one has wrapped still opens.
        let kind = if key == "aes" { json!({"kty": "oct-HSM", "key_size": 256}) } else { json!({"kty": "RSA"}) };
        place.make(key, kind).await;
        assert!(seal.unwrap(LABEL, &wrapped).await.unwrap().is(&root()));
        assert!(seal.unwrap(LABEL, &seal.wrap(LABEL, &root()).await.unwrap()).await.unwrap().is(&root()));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn what_keeps_a_key_from_being_used_is_told() {
    let place = Place::new();
    let (kind, text) = failed(place.seal("missing").await.wrap(LABEL, &root()).await);
    assert!(kind == ErrorKind::Failed && text.contains("az keyvault key create"), "{text}");
    place.make("key", json!({"kty": "RSA"})).await;
    let seal = place.seal("key").await;
    let wrapped = seal.wrap(LABEL, &root()).await.unwrap();
    place.stand_in.allow(CLIENT, Some(&["keys/wrapKey"])).await;
    let (kind, text) = failed(seal.unwrap(LABEL, &wrapped).await);
    assert!(kind == ErrorKind::Unauthorized && text.contains("Unwrap Key"), "{text}");
    // What the documentation names is enough.
    place.stand_in.allow(CLIENT, Some(&["keys/get", "keys/wrapKey", "keys/unwrapKey"])).await;
    let again = seal.wrap(LABEL, &root()).await.unwrap();
    assert!(seal.unwrap(LABEL, &again).await.unwrap().is(&root()));
    place.stand_in.allow(CLIENT, None).await;
    place.ask("PATCH", "/keys/key", json!({"attributes": {"enabled": false}})).await;
    let (kind, text) = failed(seal.unwrap(LABEL, &wrapped).await);
    assert!(kind == ErrorKind::Failed && text.contains("the key is disabled"), "{text}");
    place.make("small", json!({"kty": "oct-HSM", "key_size": 128})).await;
    let (_, text) = failed(place.seal("small").await.wrap(LABEL, &root()).await);
    assert!(text.contains("AES of 256 bits"), "{text}");
    place.stand_in.fault(json!({"kind": "status", "status": 503, "count": 100})).await;
    assert_eq!(failed(seal.unwrap(LABEL, &wrapped).await).0, ErrorKind::Unreachable);
}

/// The embedded store under it: Key Vault is asked when it is opened, and never for a key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_folder_is_sealed_by_key_vault() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    place.make("kes", json!({"kty": "RSA"})).await;
    let beneath = || async { Arc::new(fs::Store::open(folder.path()).await.unwrap()) as Arc<dyn KeyStore> };
    let key = || async { SealingKey::external("config", Arc::new(place.seal("kes").await)) };
    Unlocked::init(beneath().await, vec![NewSlot::of(key().await)]).await.unwrap();
    let store = sealed::Store::open(beneath().await, vec![key().await]).await.unwrap();
    let asked = place.stand_in.calls("keys.unwrapKey").await;
    store.create(&name("my_key"), b"value").await.unwrap();
    assert_eq!(store.get(&name("my_key")).await.unwrap().expose(), b"value");
    assert_eq!(place.stand_in.calls("keys.unwrapKey").await, asked);
    drop(store);
    let store = sealed::Store::open(beneath().await, vec![key().await]).await.unwrap();
    assert_eq!(store.get(&name("my_key")).await.unwrap().expose(), b"value");
    assert_ne!(std::fs::read(folder.path().join("my_key")).unwrap(), b"value");
    assert_eq!(place.stand_in.calls("secrets.set").await, 0, "nothing lies in the vault");
}
