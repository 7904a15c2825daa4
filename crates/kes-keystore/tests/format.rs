//! What was sealed once is opened by every later release.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kes_keystore::sealed::backup::Backup;
use kes_keystore::sealed::{Entries, RecoveryKey, SealingKey, Store, TableInfo, Unlocked};
use kes_keystore::{KeyName, KeyStore};

const NAMES: [&str; 2] = ["Of_2025-1", "of-2019"];

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sealed-1")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(vectors().join(name)).unwrap()
}

fn keys() -> [SealingKey; 3] {
    let recovery = String::from_utf8(file("recovery.txt")).unwrap();
    [
        SealingKey::key_from("seal.key", &file("seal.key")).unwrap(),
        SealingKey::recovery("recovery.txt", RecoveryKey::parse(&recovery).unwrap()),
        SealingKey::passphrase("passphrase.txt", &file("passphrase.txt")).unwrap(),
    ]
}

/// A copy, since a store of files is opened for writing.
async fn copy(folder: &str) -> (tempfile::TempDir, Arc<dyn KeyStore>) {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(vectors().join(folder)).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let store = kes_keystore::fs::Store::open(copy.path()).await.unwrap();
    (copy, Arc::new(store))
}

async fn assert_is_plain(store: &dyn KeyStore) {
    for name in NAMES {
        let value = store.get(&KeyName::parse(name).unwrap()).await.unwrap();
        assert_eq!(value.expose(), file(&format!("plain/{name}")), "{name}");
    }
}

#[tokio::test]
async fn every_key_opens_what_the_first_release_sealed() {
    for folder in ["sealed", "rotating"] {
        let (_copy, beneath) = copy(folder).await;
        for (number, key) in keys().into_iter().enumerate() {
            let unlocked = Unlocked::open(beneath.clone(), std::slice::from_ref(&key)).await.unwrap();
            assert_eq!(unlocked.opened_by(), (0, number as u32 + 1));
            assert_is_plain(&Store::open(beneath.clone(), vec![key]).await.unwrap()).await;
        }
        let table = TableInfo::read(beneath.as_ref()).await.unwrap().unwrap();
        assert_eq!((table.entries, table.slots[2].label.as_str()), (Entries::Sealed, "Zürich"));
        assert_eq!(table.retired, usize::from(folder == "rotating"));
        let costs = table.slots[2].costs.unwrap();
        assert_eq!((costs.memory_kib, costs.passes, costs.lanes), (8192, 2, 1));
    }
}

#[tokio::test]
async fn every_key_opens_a_backup_of_the_first_release() {
    for key in keys() {
        let backup = Backup::open(&file("backup"), &[key]).await.unwrap();
        assert_eq!(backup.names().map(KeyName::as_str).collect::<Vec<_>>(), NAMES);
        let target = kes_keystore::memory::Store::default();
        backup.restore(&target, &mut |_| {}).await.unwrap();
        assert_is_plain(&target).await;
    }
}

#[tokio::test]
async fn what_the_first_release_sealed_can_be_rotated_and_given_back() {
    let (copy, beneath) = copy("rotating").await;
    let mut unlocked = Unlocked::open(beneath, &keys()).await.unwrap();
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    unlocked.finish().await.unwrap();
    unlocked.rotate(&keys(), &[], &[]).await.unwrap();
    unlocked.undo(&mut |_| {}).await.unwrap();
    for name in NAMES {
        assert_eq!(fs::read(copy.path().join(name)).unwrap(), file(&format!("plain/{name}")), "{name}");
    }
    assert!(!copy.path().join("-kes-seal").exists());
}
