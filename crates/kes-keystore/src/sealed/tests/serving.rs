//! The store as a server uses it, while others change it or tamper with it.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::support::{Cloud, key, memory, name, open, passphrase, read, record, slot, unlock};
use crate::sealed::{Store, Unlocked};
use crate::{Cache, ErrorKind, KeyName, KeyStore, cache, fs};

async fn sealed() -> (Arc<dyn KeyStore>, Store) {
    let beneath = memory();
    Unlocked::init(beneath.clone(), vec![slot(key(1))]).await.unwrap();
    let store = open(&beneath, key(1)).await;
    (beneath, store)
}

async fn put(beneath: &Arc<dyn KeyStore>, key: &str, value: &[u8]) {
    match beneath.get(&name(key)).await {
        Ok(old) => beneath.in_place().unwrap().replace(&name(key), old.expose(), value).await.unwrap(),
        Err(_) => beneath.create(&name(key), value).await.unwrap(),
    }
}

#[tokio::test]
async fn what_lies_beneath_shows_neither_key_nor_value() {
    let (beneath, store) = sealed().await;
    let record = record();
    store.create(&name("key"), &record).await.unwrap();
    let stored = beneath.get(&name("key")).await.unwrap();
    assert!(stored.expose().starts_with(b"kes-sealed:1:"));
    assert!(!stored.expose().windows(20).any(|part| record.windows(20).any(|secret| secret == part)));
    assert_eq!(store.describe(), "In Memory (sealed)");
    assert_eq!(format!("{store:?}"), "Store(In Memory (sealed))");
}

#[tokio::test]
async fn a_renamed_or_swapped_entry_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let beneath: Arc<dyn KeyStore> = Arc::new(fs::Store::open(directory.path()).await.unwrap());
    Unlocked::init(beneath.clone(), vec![slot(key(1))]).await.unwrap();
    let store = open(&beneath, key(1)).await;
    store.create(&name("one"), b"first").await.unwrap();
    store.create(&name("two"), b"second").await.unwrap();
    std::fs::rename(directory.path().join("one"), directory.path().join("two")).unwrap();
    let error = store.get(&name("two")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(
        error.to_string().starts_with(&format!("'two' in {}: it is sealed for another name: ", store.describe())),
        "{error}"
    );
    assert_eq!(error.source().unwrap().to_string(), "the entry is that of 'one'");
}

#[tokio::test]
async fn an_entry_of_another_store_or_from_before_is_refused() {
    let (_, other) = sealed().await;
    let (beneath, store) = sealed().await;
    let elsewhere = memory();
    Unlocked::init(elsewhere.clone(), vec![slot(key(1))]).await.unwrap();
    open(&elsewhere, key(1)).await.create(&name("key"), b"value").await.unwrap();
    put(&beneath, "key", elsewhere.get(&name("key")).await.unwrap().expose()).await;
    let error = store.get(&name("key")).await.unwrap_err();
    assert!(error.to_string().contains("under a root key that this store does not have"), "{error}");
    drop(other);
}

#[tokio::test]
async fn a_damaged_entry_is_told_from_a_wrong_key() {
    let (beneath, store) = sealed().await;
    store.create(&name("key"), b"value").await.unwrap();
    let mut entry = beneath.get(&name("key")).await.unwrap().expose().to_vec();
    let last = entry.len() - 5;
    entry[last] = if entry[last] == b'A' { b'B' } else { b'A' };
    put(&beneath, "key", &entry).await;
    let error = store.get(&name("key")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("the sealed entry is damaged or was changed"), "{error}");
    put(&beneath, "key", b"kes-sealed:2:AAAA").await;
    let error = store.get(&name("key")).await.unwrap_err();
    assert!(error.to_string().contains("in a form of a later release"), "{error}");
}

/// A cloud must not be able to slip in a key that it knows.
#[tokio::test]
async fn a_key_that_is_not_sealed_is_refused() {
    let (beneath, store) = sealed().await;
    put(&beneath, "mine", &record()).await;
    let error = store.get(&name("mine")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("it is not sealed, and this store takes sealed keys only"), "{error}");
    assert_eq!(store.create(&name("mine"), &record()).await.unwrap_err().kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn an_old_directory_is_served_as_it_is_and_new_keys_are_sealed() {
    let beneath = memory();
    let old = record();
    put(&beneath, "old", &old).await;
    Unlocked::init(beneath.clone(), vec![slot(key(1)), slot(key(2))]).await.unwrap();
    let store = open(&beneath, key(1)).await;
    assert_eq!(read(&store, "old").await, old);
    assert_eq!(read(beneath.as_ref(), "old").await, old, "untouched");
    store.create(&name("new"), &record()).await.unwrap();
    assert!(read(beneath.as_ref(), "new").await.starts_with(b"kes-sealed:1:"));
    let notices = store.notices();
    assert!(notices[0].contains("'kes seal migrate --config FILE' seals them"), "{notices:?}");
    store.delete(&name("old")).await.unwrap();
}

#[tokio::test]
async fn closing_it_closes_the_store_beneath() {
    let cloud = Cloud::new();
    let beneath: Arc<dyn KeyStore> = Arc::new(cloud.clone());
    Unlocked::init(beneath.clone(), vec![slot(key(1))]).await.unwrap();
    let store = open(&beneath, key(1)).await;
    assert_eq!(cloud.closes.load(SeqCst), 0);
    store.close().await;
    assert_eq!(cloud.closes.load(SeqCst), 1);
}

#[tokio::test]
async fn a_running_server_follows_a_rotation() {
    let (beneath, store) = sealed().await;
    store.create(&name("before"), b"1").await.unwrap();
    let mut unlocked = unlock(&beneath, key(1)).await;
    unlocked.rotate(&[key(1)], &[], &[]).await.unwrap();
    store.create(&name("between"), b"2").await.unwrap();
    assert!(
        unlocked
            .survey()
            .await
            .unwrap()
            .entries
            .iter()
            .any(|(key, form)| { key.as_str() == "between" && *form == crate::sealed::Form::Sealed }),
        "sealed under the new root key"
    );
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    let (_, fresh) = (unlocked.finish().await.unwrap(), open(&beneath, key(1)).await);
    for reader in [&store, &fresh] {
        assert_eq!(read(reader, "before").await, b"1");
        assert_eq!(read(reader, "between").await, b"2");
    }
}

#[tokio::test]
async fn a_running_server_whose_slot_was_taken_reads_on_and_says_why_it_cannot_create() {
    let (beneath, store) = sealed().await;
    store.create(&name("key"), b"value").await.unwrap();
    let mut unlocked = unlock(&beneath, key(1)).await;
    unlocked.change(1, slot(passphrase("new"))).await.unwrap();
    assert_eq!(read(&store, "key").await, b"value");
    let error = store.create(&name("other"), b"value").await.unwrap_err();
    assert!(error.to_string().contains("the server's sealing key does not open it any more"), "{error}");
    beneath.delete(&KeyName::reserved("-kes-seal")).await.unwrap();
    let error = store.create(&name("other"), b"value").await.unwrap_err();
    assert!(error.to_string().contains("its slot table is gone"), "{error}");
    assert!(beneath.get(&name("other")).await.is_err(), "nothing that nobody could read");
}

#[tokio::test]
async fn a_key_in_the_middle_of_a_change_is_there() {
    let cloud = Cloud::new();
    let beneath: Arc<dyn KeyStore> = Arc::new(cloud.clone());
    let old = record();
    beneath.create(&name("old"), &old).await.unwrap();
    Unlocked::init(beneath.clone(), vec![slot(key(1))]).await.unwrap();
    let store = open(&beneath, key(1)).await;
    let mut unlocked = unlock(&beneath, key(1)).await;
    // Killed between the two halves: the old value is deleted and the new one not yet created.
    let mut seen_in_journal = 0;
    for at in 0.. {
        cloud.fail(at, super::support::Fault::Killed);
        let done = unlocked.migrate(false, &mut |_| {}).await.is_ok();
        cloud.heal();
        assert_eq!(read(&store, "old").await, old, "call {at}");
        seen_in_journal += usize::from(cloud.get(&name("old")).await.is_err());
        if done {
            break;
        }
        unlocked = unlock(&beneath, key(1)).await;
    }
    assert!(seen_in_journal > 0, "the test must see that moment");
}

#[tokio::test]
async fn the_cache_above_is_none_the_wiser() {
    let (_, store) = sealed().await;
    let record = record();
    store.create(&name("key"), &record).await.unwrap();
    let keys = Cache::new(Arc::new(store), cache::Settings::default());
    let sealed = keys.get(&name("key")).await.unwrap().key().seal(b"data", b"context").unwrap();
    let key = keys.hit("key").unwrap();
    assert_eq!(key.key().open(&sealed, b"context").unwrap().expose(), b"data");
    keys.delete(&name("key")).await.unwrap();
    assert_eq!(keys.get(&name("key")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A store in which a create takes long: long enough for `kes seal rotate` and `kes seal finish`, from beginning to end.
struct Slow {
    beneath: Arc<dyn KeyStore>,
    meanwhile: Meanwhile,
    is_over: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Rotate,
    Undo,
    /// The table is lost as well, so nobody can tell what became of the key.
    Lose,
}

#[async_trait::async_trait]
impl KeyStore for Slow {
    fn describe(&self) -> String {
        self.beneath.describe()
    }

    async fn status(&self) -> Result<crate::Status, crate::Error> {
        self.beneath.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), crate::Error> {
        if name.as_str() == "late" && !self.is_over.swap(true, SeqCst) {
            let mut seal = unlock(&self.beneath, key(1)).await;
            match self.meanwhile {
                Meanwhile::Rotate => {
                    seal.rotate(&[key(1)], &[], &[]).await.unwrap();
                    seal.migrate(false, &mut |_| {}).await.unwrap();
                    seal.finish().await.unwrap();
                }
                Meanwhile::Undo => {
                    let mut table = seal.table.clone();
                    table.entries = crate::sealed::Entries::Unsealing;
                    seal.write(table).await.unwrap();
                }
                Meanwhile::Lose => self.beneath.delete(&KeyName::reserved("-kes-seal")).await.unwrap(),
            }
        }
        self.beneath.create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<crate::Value, crate::Error> {
        self.beneath.get(name).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), crate::Error> {
        self.beneath.delete(name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<crate::Page, crate::Error> {
        self.beneath.list(prefix, from, limit).await
    }

    fn in_place(&self) -> Option<&dyn crate::InPlace> {
        self.beneath.in_place()
    }
}

#[tokio::test]
async fn a_key_that_is_created_while_the_seal_changes_is_not_lost() {
    for meanwhile in [Meanwhile::Rotate, Meanwhile::Undo, Meanwhile::Lose] {
        for beneath in [memory(), Arc::new(Cloud::new()) as Arc<dyn KeyStore>] {
            Unlocked::init(beneath.clone(), vec![slot(key(1))]).await.unwrap();
            let slow = Slow { beneath: beneath.clone(), meanwhile, is_over: AtomicBool::new(false) };
            let server = open(&(Arc::new(slow) as _), key(1)).await;
            let value = record();
            let created = server.create(&name("late"), &value).await;
            if let Meanwhile::Lose = meanwhile {
                assert_eq!(created.unwrap_err().kind(), ErrorKind::Unreachable, "nobody can tell");
                continue;
            }
            created.unwrap();
            assert_eq!(
                read(&open(&beneath, key(1)).await, "late").await,
                value,
                "{meanwhile:?}: success, so it is there"
            );
            let is_sealed = read(beneath.as_ref(), "late").await.starts_with(b"kes-sealed:1:");
            assert_eq!(is_sealed, matches!(meanwhile, Meanwhile::Rotate));
        }
    }
}
