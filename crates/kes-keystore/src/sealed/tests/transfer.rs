//! Moving keys into the seal and out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::support::{Cloud, key, listed, memory, name, open, read, record, slot, unlock};
use crate::sealed::{Entries, Error, Form, TableInfo, Unlocked};
use crate::{ErrorKind, KeyName, KeyStore, fs};

type Keys = BTreeMap<String, Vec<u8>>;

/// A store with some keys of the old server, in every kind of place.
async fn old_stores() -> Vec<(Arc<dyn KeyStore>, Keys, Option<tempfile::TempDir>)> {
    let directory = tempfile::tempdir().unwrap();
    let files: Arc<dyn KeyStore> = Arc::new(fs::Store::open(directory.path()).await.unwrap());
    let mut stores = Vec::new();
    for (store, directory) in [(memory(), None), (files, Some(directory)), (Arc::new(Cloud::new()) as _, None)] {
        let mut keys = Keys::new();
        for key in ["a", "b-2", "C_3"] {
            let record = record();
            store.create(&name(key), &record).await.unwrap();
            keys.insert(key.to_owned(), record);
        }
        stores.push((store, keys, directory));
    }
    stores
}

async fn values(store: &dyn KeyStore) -> Keys {
    let mut values = Keys::new();
    for key in listed(store).await {
        let value = read(store, &key).await;
        values.insert(key, value);
    }
    values
}

async fn copies(store: &Arc<dyn KeyStore>, keys: &Keys) -> usize {
    let mut copies = 0;
    for (key, value) in keys {
        if let Ok(copy) = store.get(&KeyName::reserved(&format!("-kes-plain-{key}"))).await {
            assert_eq!(copy.expose(), value);
            copies += 1;
        }
    }
    copies
}

#[tokio::test]
async fn keys_are_sealed_verified_and_kept_aside_until_the_end() {
    for (store, keys, _directory) in old_stores().await {
        let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1)), slot(key(2))]).await.unwrap();
        assert_eq!(unlocked.table().entries, Entries::Mixed);
        let mut told = Vec::new();
        let report = unlocked.migrate(false, &mut |name| told.push(name.to_string())).await.unwrap();
        assert_eq!((report.changed, report.unchanged, report.left.len(), told.len()), (3, 0, 0, 3));
        assert_eq!(values(&open(&store, key(2)).await).await, keys);
        assert!(values(store.as_ref()).await.values().all(|value| value.starts_with(b"kes-sealed:1:")));
        assert_eq!(copies(&store, &keys).await, 3);
        let again = unlocked.migrate(false, &mut |_| panic!("nothing to do")).await.unwrap();
        assert_eq!((again.changed, again.unchanged), (0, 3));

        let report = unlocked.finish().await.unwrap();
        assert_eq!((report.changed, report.unchanged), (3, 0));
        assert_eq!(copies(&store, &keys).await, 0);
        assert_eq!(unlocked.table().entries, Entries::Sealed);
        let sealed = open(&store, key(1)).await;
        assert_eq!(values(&sealed).await, keys);
        assert!(crate::KeyStore::notices(&sealed).is_empty());
        assert_eq!(unlocked.finish().await.unwrap().unchanged, 3);
    }
}

#[tokio::test]
async fn undoing_brings_back_every_byte() {
    for finished in [false, true] {
        for (store, mut keys, directory) in old_stores().await {
            let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
            unlocked.migrate(false, &mut |_| {}).await.unwrap();
            let new = record();
            open(&store, key(1)).await.create(&name("new"), &new).await.unwrap();
            keys.insert("new".to_owned(), new);
            if finished {
                unlocked.finish().await.unwrap();
            }
            let report = unlocked.undo(&mut |_| {}).await.unwrap();
            assert_eq!((report.changed, report.left.len()), (4, 0));
            assert_eq!(values(store.as_ref()).await, keys);
            assert_eq!(copies(&store, &keys).await, 0);
            assert!(TableInfo::read(store.as_ref()).await.unwrap().is_none());
            if let Some(directory) = directory {
                assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4, "as the old server knows it");
            }
        }
    }
}

#[tokio::test]
async fn while_the_seal_is_being_removed_new_keys_are_not_sealed() {
    let store = memory();
    let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    let server = open(&store, key(1)).await;
    server.create(&name("sealed"), &record()).await.unwrap();
    let mut table = unlocked.table.clone();
    table.entries = Entries::Unsealing;
    unlocked.write(table).await.unwrap();
    let new = record();
    server.create(&name("new"), &new).await.unwrap();
    assert_eq!(read(store.as_ref(), "new").await, new);
    assert!(server.notices()[0].contains("'kes seal undo --config FILE' goes on"), "{:?}", server.notices());
    // And back again.
    let report = unlocked.migrate(false, &mut |_| {}).await.unwrap();
    assert_eq!((report.changed, report.unchanged), (1, 1));
    unlocked.finish().await.unwrap();
    assert_eq!(read(&open(&store, key(1)).await, "new").await, new);
}

#[tokio::test]
async fn a_rotation_reseals_every_key_and_forgets_the_old_root() {
    for (store, keys, _directory) in old_stores().await {
        let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
        unlocked.migrate(false, &mut |_| {}).await.unwrap();
        unlocked.finish().await.unwrap();
        unlocked.rotate(&[key(1)], &[], &[]).await.unwrap();
        assert!(matches!(unlocked.finish().await, Err(Error::Unfinished { count: 3, .. })));
        assert_eq!(unlocked.survey().await.unwrap().count(|form| *form == Form::Retired), 3);
        // Rotated again before all keys have followed.
        unlocked.rotate(&[key(1)], &[], &[]).await.unwrap();
        assert_eq!(values(&open(&store, key(1)).await).await, keys);
        assert_eq!(unlocked.migrate(false, &mut |_| {}).await.unwrap().changed, 3);
        assert_eq!(copies(&store, &keys).await, 0, "nothing is stored unsealed");
        unlocked.finish().await.unwrap();
        assert_eq!(unlocked.table().retired, 0);
        assert_eq!(values(&open(&store, key(1)).await).await, keys);
    }
}

#[tokio::test]
async fn a_deleted_key_takes_its_copy_with_it() {
    for (store, keys, _directory) in old_stores().await {
        let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
        unlocked.migrate(false, &mut |_| {}).await.unwrap();
        let server = open(&store, key(1)).await;
        server.delete(&name("a")).await.unwrap();
        assert_eq!(server.delete(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(copies(&store, &keys).await, 2);
        unlocked.undo(&mut |_| {}).await.unwrap();
        assert_eq!(listed(store.as_ref()).await, ["C_3", "b-2"], "nothing comes back");
    }
}

#[tokio::test]
async fn what_is_no_key_is_left_alone_and_named() {
    let store = memory();
    store.create(&name("README"), b"keys of the north").await.unwrap();
    store.create(&name("key"), &record()).await.unwrap();
    let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    let report = unlocked.migrate(false, &mut |_| {}).await.unwrap();
    assert_eq!(report.left, [(name("README"), "it is no key".to_owned())]);
    assert_eq!(unlocked.finish().await.unwrap().left.len(), 1);
    assert_eq!(read(store.as_ref(), "README").await, b"keys of the north");
    unlocked.undo(&mut |_| {}).await.unwrap();
    assert_eq!(listed(store.as_ref()).await, ["README", "key"]);
}

/// A link leads elsewhere, perhaps to a file that others read as well.
#[tokio::test]
async fn a_link_to_a_key_is_named_and_the_others_are_sealed() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(directory.path()).await.unwrap());
    for key in ["a", "b", "c"] {
        store.create(&name(key), &record()).await.unwrap();
    }
    std::fs::rename(directory.path().join("b"), elsewhere.path().join("b")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("b"), directory.path().join("b")).unwrap();
    let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    let report = unlocked.migrate(false, &mut |_| {}).await.unwrap();
    assert_eq!((report.changed, report.left.len()), (2, 1));
    assert!(report.left[0].1.starts_with("it is a symbolic link"), "{:?}", report.left);
    assert!(!directory.path().join("-kes-plain-b").exists());
    assert!(open(&store, key(1)).await.get(&name("b")).await.is_ok(), "and served as it is");
    assert!(matches!(unlocked.finish().await, Err(Error::Unfinished { count: 1, .. })));
    std::fs::rename(elsewhere.path().join("b"), directory.path().join("b")).unwrap();
    assert_eq!(unlocked.migrate(false, &mut |_| {}).await.unwrap().changed, 1);
    unlocked.finish().await.unwrap();
}

#[tokio::test]
async fn a_key_slipped_into_a_sealed_store_is_not_sealed_by_accident() {
    let store = memory();
    let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    store.create(&name("mine"), &record()).await.unwrap();
    let error = unlocked.migrate(false, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Unfinished { count: 1, .. }), "{error:?}");
    assert_eq!(unlocked.table().entries, Entries::Sealed);
    unlocked.migrate(true, &mut |_| {}).await.unwrap();
    unlocked.finish().await.unwrap();
    assert!(open(&store, key(1)).await.get(&name("mine")).await.is_ok());
}

#[tokio::test]
async fn a_copy_of_another_key_stops_and_loses_nothing() {
    let store = memory();
    let (value, other) = (record(), record());
    store.create(&name("key"), &value).await.unwrap();
    let copy = KeyName::reserved("-kes-plain-key");
    store.create(&copy, &other).await.unwrap();
    let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    let error = unlocked.migrate(false, &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("there is a copy of another key of that name"), "{error}");
    assert_eq!(read(store.as_ref(), "key").await, value);

    store.delete(&copy).await.unwrap();
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    store.in_place().unwrap().replace(&copy, &value, &other).await.unwrap();
    let error = unlocked.finish().await.unwrap_err();
    assert!(error.to_string().contains("another key than its copy from before"), "{error}");
    assert_eq!(store.get(&copy).await.unwrap().expose(), other);
    let error = unlock(&store, key(1)).await.undo(&mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("its copy from before the seal is another key"), "{error}");
}

#[tokio::test]
async fn a_key_whose_sealed_form_was_damaged_keeps_its_copy() {
    let store = memory();
    let value = record();
    store.create(&name("key"), &value).await.unwrap();
    let mut unlocked = Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    let sealed = read(store.as_ref(), "key").await;
    store.in_place().unwrap().replace(&name("key"), &sealed, b"kes-sealed:1:AAAA").await.unwrap();
    let error = unlocked.finish().await.unwrap_err();
    assert!(error.to_string().contains("its copy from before the seal is still there"), "{error}");
    assert!(store.get(&KeyName::reserved("-kes-plain-key")).await.is_ok());
    let error = unlocked.undo(&mut |_| {}).await.unwrap_err();
    assert!(error.to_string().starts_with("'key' was left as it was: "), "{error}");
    assert!(TableInfo::read(store.as_ref()).await.unwrap().is_some(), "the seal stays");
}

/// A server creates and deletes while the keys are moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_server_loses_nothing_and_gets_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(directory.path()).await.unwrap());
    let mut kept = Keys::new();
    for number in 0..60 {
        let record = record();
        store.create(&name(&format!("old-{number}")), &record).await.unwrap();
        if number % 2 == 0 {
            kept.insert(format!("old-{number}"), record);
        }
    }
    Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    let server = Arc::new(open(&store, key(1)).await);
    let busy = tokio::spawn(async move {
        let mut made = Keys::new();
        for number in 0..60 {
            if number % 2 == 1 {
                server.delete(&name(&format!("old-{number}"))).await.unwrap();
            }
            let record = record();
            server.create(&name(&format!("new-{number}")), &record).await.unwrap();
            made.insert(format!("new-{number}"), record);
        }
        made
    });
    let mut unlocked = unlock(&store, key(1)).await;
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    unlocked.rotate(&[key(1)], &[], &[]).await.unwrap();
    while unlocked.migrate(false, &mut |_| {}).await.unwrap().changed > 0 {}
    kept.extend(busy.await.unwrap());
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    assert_eq!(values(&open(&store, key(1)).await).await, kept);
    unlocked.finish().await.unwrap();
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, kept.len() + 1, "keys and the slot table, no copies");
}
