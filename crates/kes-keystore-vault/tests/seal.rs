//! A transit key as seal of a store elsewhere, on a real Vault.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;

use kes_crypto::sealing::SealKey;
use kes_keystore::sealed::{self, NewSlot, SealingKey, Unlocked};
use kes_keystore::{ErrorKind, KeyName, KeyStore, Seal, memory};
use kes_keystore_vault::{SealConfig, Transit, TransitSeal, connect_seal};
use serde_json::json;
use support::{Vault, shared};

/// As root: what the policy must grant is the business of the store's tests.
async fn seal(vault: &Vault, key: &str) -> TransitSeal {
    let server = vault.server_with(vault.root());
    connect_seal(SealConfig { server, key: Transit { engine: "/transit/".into(), key: key.into() } }).await.unwrap()
}

async fn make_key(vault: &Vault, key: &str) {
    vault.admin("POST", &format!("transit/keys/{key}"), Some(json!({"type": "aes256-gcm96"}))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_root_key_opens_for_its_store_alone_also_after_rotation() {
    let vault = shared();
    for key in ["seal-a", "seal-b"] {
        make_key(vault, key).await;
    }
    let (seal, other) = (seal(vault, "seal-a").await, seal(vault, "seal-b").await);
    let root = SealKey::generate().unwrap();
    let wrapped = seal.wrap("store 1", &root).await.unwrap();
    assert!(wrapped.starts_with(b"vault:v1:"));
    vault.admin("POST", "transit/keys/seal-a/rotate", None).await;
    assert!(seal.unwrap("store 1", &wrapped).await.unwrap().is(&root));
    assert!(seal.wrap("store 1", &root).await.unwrap().starts_with(b"vault:v2:"));
    for refused in [
        seal.unwrap("store 2", &wrapped).await,
        other.unwrap("store 1", &wrapped).await,
        seal.unwrap("store 1", b"vault:v1:AAAA").await,
        seal.unwrap("store 1", b"something else").await,
    ] {
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::Damaged);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn a_sealed_store_opens_by_vault_and_without_it_by_another_slot() {
    let vault = shared();
    make_key(vault, "seal-c").await;
    let inner: Arc<dyn KeyStore> = Arc::new(memory::Store::default());
    let by_vault = async || SealingKey::external("vault", Arc::new(seal(vault, "seal-c").await));
    let by_phrase = || SealingKey::passphrase("phrase", b"correct horse battery").unwrap();
    let slots = vec![NewSlot::of(by_vault().await), NewSlot::of(by_phrase())];
    Unlocked::init(Arc::clone(&inner), slots).await.unwrap();

    let name = KeyName::parse("my-key").unwrap();
    let store = sealed::Store::open(Arc::clone(&inner), vec![by_vault().await]).await.unwrap();
    store.create(&name, b"value").await.unwrap();
    let store = sealed::Store::open(Arc::clone(&inner), vec![by_phrase()]).await.unwrap();
    assert_eq!(store.get(&name).await.unwrap().expose(), b"value");

    // The key that wrapped it is gone.
    vault.admin("POST", "transit/keys/seal-c/config", Some(json!({"deletion_allowed": true}))).await;
    vault.admin("DELETE", "transit/keys/seal-c", None).await;
    let keys = vec![by_vault().await, by_phrase()];
    let store = sealed::Store::open(Arc::clone(&inner), keys).await.unwrap();
    assert_eq!(store.get(&name).await.unwrap().expose(), b"value");
    assert!(sealed::Store::open(Arc::clone(&inner), vec![by_vault().await]).await.is_err());
}
