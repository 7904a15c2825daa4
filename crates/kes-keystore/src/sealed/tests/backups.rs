//! Backups: whole and authentic, or refused before anything is written.

use std::sync::Arc;

use super::support::{
    CHEAP, Cloud, Kind, key, listed, memory, name, open, paper, passphrase, read, record, slot, unlock,
};
use crate::sealed::backup::{self, Backup};
use crate::sealed::{Error, NewSlot, SealingKey, TableInfo, Unlocked};
use crate::{KeyName, KeyStore};

const NOW: &str = "2026-01-02T03:04:05Z";

async fn sealed_with(keys: &[&str]) -> Arc<dyn KeyStore> {
    let store = memory();
    let slots = vec![slot(key(1)), slot(SealingKey::recovery("paper", paper()))];
    Unlocked::init(store.clone(), slots).await.unwrap();
    let sealed = open(&store, key(1)).await;
    for key in keys {
        sealed.create(&name(key), &record()).await.unwrap();
    }
    store
}

async fn backup_of(store: &Arc<dyn KeyStore>) -> Vec<u8> {
    let (file, report) = backup::take(&unlock(store, key(1)).await, NOW).await.unwrap();
    assert!(report.left.is_empty());
    file
}

fn none() -> impl FnMut(&KeyName) + Send {
    |_| {}
}

#[tokio::test]
async fn a_lost_store_comes_back_and_opens_with_the_recovery_key() {
    let store = sealed_with(&["a", "b", "c"]).await;
    let sealed = open(&store, key(1)).await;
    let file = backup_of(&store).await;

    // All is lost but the file and the paper; the new configuration has another key.
    let recovery = SealingKey::recovery("typed", paper());
    let backup = Backup::open(&file, &[key(9), recovery]).await.unwrap();
    assert_eq!((backup.header().keys, backup.header().sealed, backup.header().time.as_str()), (3, true, NOW));
    let fresh: Arc<dyn KeyStore> = Arc::new(Cloud::new());
    backup.adopt(&fresh, &[key(9)]).await.unwrap();
    let target = open(&fresh, key(9)).await;
    let report = backup.restore(&target, &mut none()).await.unwrap();
    assert_eq!((report.changed, report.unchanged), (3, 0));
    for key in ["a", "b", "c"] {
        assert_eq!(read(&target, key).await, read(&sealed, key).await);
    }
    for key in [key(1), key(9), SealingKey::recovery("typed", paper())] {
        assert_eq!(listed(&open(&fresh, key).await).await, ["a", "b", "c"]);
    }
    assert_eq!(TableInfo::read(fresh.as_ref()).await.unwrap().unwrap().store, target.id());
    assert!(matches!(backup.adopt(&fresh, &[]).await, Err(Error::AlreadySealed { .. })));
}

#[tokio::test]
async fn nothing_in_the_file_is_readable_without_a_key() {
    let store = sealed_with(&[]).await;
    let plain = record();
    store.create(&name("from-before"), &plain).await.unwrap();
    let mut unlocked = unlock(&store, key(1)).await;
    let mut table = unlocked.table.clone();
    table.entries = crate::sealed::Entries::Mixed;
    unlocked.write(table).await.unwrap();
    let file = backup_of(&store).await;
    assert!(!file.windows(24).any(|part| plain.windows(24).any(|secret| secret == part)));
    let backup = Backup::open(&file, &[key(1)]).await.unwrap();
    let target = memory();
    backup.restore(target.as_ref(), &mut none()).await.unwrap();
    assert_eq!(read(target.as_ref(), "from-before").await, plain);
    assert!(matches!(Backup::open(&file, &[key(2)]).await, Err(Error::WrongKey { .. })));
}

#[tokio::test]
async fn every_changed_byte_and_every_cut_is_refused() {
    let store = sealed_with(&["a", "b"]).await;
    let file = backup_of(&store).await;
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let opened = Backup::open(&changed, &[key(1)]).await;
        assert!(matches!(opened, Err(Error::Backup(_))), "byte {at}: {opened:?}");
    }
    for len in 0..file.len() {
        let opened = Backup::open(&file[..len], &[key(1)]).await;
        assert!(matches!(opened, Err(Error::Backup(_))), "{len} bytes: {opened:?}");
    }
    // The last character but the padding holds two bits of nothing.
    for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
        let mut changed = file.clone();
        let at = file.len() - 3;
        changed[at] = *other;
        let opened = Backup::open(&changed, &[key(1)]).await;
        assert_eq!(opened.is_ok(), changed == file, "{}", char::from(*other));
    }
    let longer = [file.as_slice(), b"x\n"].concat();
    assert!(matches!(Backup::open(&longer, &[key(1)]).await, Err(Error::Backup(_))));
    let text = String::from_utf8(file).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.remove(3);
    let without_a_key = lines.join("\n") + "\n";
    let error = Backup::open(without_a_key.as_bytes(), &[key(1)]).await.unwrap_err();
    assert_eq!(error.to_string(), "the backup cannot be used: it was changed, or is not whole");
}

#[tokio::test]
async fn other_keys_are_never_overwritten() {
    let store = sealed_with(&["a", "b"]).await;
    let file = backup_of(&store).await;
    let backup = Backup::open(&file, &[key(1)]).await.unwrap();
    let target = memory();
    let other = record();
    target.create(&name("b"), &other).await.unwrap();
    target.create(&name("z"), &record()).await.unwrap();
    let comparison = backup.compare(target.as_ref()).await.unwrap();
    assert_eq!((comparison.missing, comparison.same), (vec![name("a")], vec![]));
    assert_eq!((comparison.different, comparison.newer), (vec![name("b")], vec![name("z")]));
    let error = backup.restore(target.as_ref(), &mut none()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the store has other keys under names of the backup: 1, 'b' among them; none is overwritten"
    );
    assert_eq!(listed(target.as_ref()).await, ["b", "z"], "nothing was written");
    assert_eq!(read(target.as_ref(), "b").await, other);

    target.delete(&name("b")).await.unwrap();
    assert_eq!(backup.restore(target.as_ref(), &mut none()).await.unwrap().changed, 2);
    let again = backup.restore(target.as_ref(), &mut none()).await.unwrap();
    assert_eq!((again.changed, again.unchanged), (0, 2), "the same keys are no conflict");
}

#[tokio::test]
async fn a_plain_store_is_backed_up_under_a_passphrase() {
    let store = memory();
    let value = record();
    store.create(&name("key"), &value).await.unwrap();
    store.create(&name("README"), b"no key").await.unwrap();
    let slots = [NewSlot { costs: CHEAP, ..NewSlot::of(passphrase("open sesame")) }];
    let (file, report) = backup::take_unsealed(store.as_ref(), &slots, NOW).await.unwrap();
    assert_eq!((report.changed, report.left.len()), (1, 1));
    let backup = Backup::open(&file, &[passphrase("open sesame")]).await.unwrap();
    assert!(!backup.header().sealed);
    let target = memory();
    backup.restore(target.as_ref(), &mut none()).await.unwrap();
    assert_eq!(read(target.as_ref(), "key").await, value);
    assert!(matches!(backup::take_unsealed(store.as_ref(), &[], NOW).await, Err(Error::TooManySlots(_))));
    let sealed = sealed_with(&[]).await;
    assert!(matches!(backup::take_unsealed(sealed.as_ref(), &slots, NOW).await, Err(Error::AlreadySealed { .. })));
}

#[tokio::test]
async fn a_backup_of_before_a_rotation_still_opens() {
    let store = sealed_with(&["a"]).await;
    let before = backup_of(&store).await;
    let mut unlocked = unlock(&store, key(1)).await;
    unlocked.rotate(&[key(1), Kind::Recovery.key()], &[], &[]).await.unwrap();
    let between = backup_of(&store).await;
    unlocked.migrate(false, &mut |_| {}).await.unwrap();
    unlocked.finish().await.unwrap();
    let sealed = open(&store, key(1)).await;
    for file in [before, between, backup_of(&store).await] {
        let backup = Backup::open(&file, &[key(1)]).await.unwrap();
        assert_eq!(backup.compare(&sealed).await.unwrap().same, [name("a")]);
    }
}

/// A passphrase is changed every year, and the backups of last year are verified all the same.
#[tokio::test]
async fn a_store_opens_its_backups_though_its_slots_have_changed() {
    let store = sealed_with(&["a"]).await;
    let file = backup_of(&store).await;
    let mut unlocked = unlock(&store, key(1)).await;
    unlocked.change(1, slot(key(7))).await.unwrap();
    unlocked.remove(2).await.unwrap();
    assert!(matches!(Backup::open(&file, &[key(7)]).await, Err(Error::WrongKey { .. })));
    assert_eq!(Backup::open_by(&file, &unlocked).unwrap().header().keys, 1);
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(Backup::open_by(&changed, &unlocked).is_err(), "byte {at}");
    }
    unlocked.rotate(&[key(7)], &[], &[]).await.unwrap();
    assert!(Backup::open_by(&file, &unlocked).is_ok(), "the old root key is still there");
    unlocked.migrate(false, &mut none()).await.unwrap();
    unlocked.finish().await.unwrap();
    let error = Backup::open_by(&file, &unlocked).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the backup of In Memory is sealed under another key: no slot opens with the root key of In Memory"
    );
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_left_out() {
    let store = sealed_with(&["a", "b"]).await;
    let entry = read(store.as_ref(), "a").await;
    store.in_place().unwrap().replace(&name("b"), &read(store.as_ref(), "b").await, &entry).await.unwrap();
    let (file, report) = backup::take(&unlock(&store, key(1)).await, NOW).await.unwrap();
    assert_eq!(report.left, [(name("b"), "it is sealed for another name".to_owned())]);
    assert_eq!(Backup::open(&file, &[key(1)]).await.unwrap().names().count(), 1);
}
