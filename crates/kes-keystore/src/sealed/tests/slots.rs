//! Slots: what opens a store, and how that changes.

use std::sync::Arc;

use super::support::{CHEAP, Cloud, Kind, Token, key, memory, name, open, paper, passphrase, read, slot, unlock};
use crate::sealed::{Argon2Costs, Entries, Error, NewSlot, RecoveryKey, SealingKey, Store, TableInfo, Unlocked};
use crate::{KeyName, KeyStore};

async fn sealed_by(slots: Vec<SealingKey>) -> Arc<dyn KeyStore> {
    let store = memory();
    Unlocked::init(store.clone(), slots.into_iter().map(slot).collect()).await.unwrap();
    store
}

async fn table(store: &Arc<dyn KeyStore>) -> Vec<u8> {
    store.get(&KeyName::reserved("-kes-seal")).await.unwrap().expose().to_vec()
}

async fn opens(store: &Arc<dyn KeyStore>, key: SealingKey) -> bool {
    match Store::open(store.clone(), vec![key]).await {
        Ok(_) => true,
        Err(Error::WrongKey { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn any_slot_opens_the_same_store() {
    let store = sealed_by(Kind::ALL.map(Kind::key).into()).await;
    let first = open(&store, Kind::Passphrase.key()).await;
    first.create(&name("key"), b"value").await.unwrap();
    for kind in Kind::ALL {
        assert_eq!(read(&open(&store, kind.key()).await, "key").await, b"value", "{kind:?}");
    }
    let info = TableInfo::read(store.as_ref()).await.unwrap().unwrap();
    let kinds: Vec<_> = info.slots.iter().map(|slot| (slot.id, slot.kind.as_str(), slot.label.as_str())).collect();
    let expected = [
        (1, "passphrase", "passphrase of correct horse battery staple"),
        (2, "key", "key 7"),
        (3, "recovery", "paper"),
        (4, "token", "Token: slot 0"),
    ];
    assert_eq!(kinds, expected);
    assert_eq!((info.revision, info.entries, info.slots[0].costs), (1, Entries::Sealed, Some(CHEAP)));
}

#[tokio::test]
async fn a_wrong_key_is_one_sentence_and_touches_nothing() {
    let store = sealed_by(vec![passphrase("right"), key(1)]).await;
    let before = table(&store).await;
    for wrong in [passphrase("wrong"), key(2), SealingKey::recovery("paper", paper())] {
        let source = wrong.source().to_owned();
        let error = Store::open(store.clone(), vec![wrong]).await.unwrap_err();
        assert_eq!(error.to_string(), format!("In Memory is sealed under another key: no slot opens with {source}"));
    }
    let error = Unlocked::open(store.clone(), &[passphrase("wrong"), key(3)]).await.unwrap_err();
    assert!(error.to_string().ends_with("no slot opens with passphrase of wrong, key 3"), "{error}");
    assert_eq!(table(&store).await, before);
    assert!(Store::open(store, vec![key(3), key(1)]).await.is_ok(), "one right key is enough");
}

#[tokio::test]
async fn a_damaged_table_is_told_from_a_wrong_key() {
    let store = sealed_by(vec![key(1)]).await;
    let whole = table(&store).await;
    let entry = KeyName::reserved("-kes-seal");
    let mut problems = std::collections::BTreeSet::new();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        store.in_place().unwrap().replace(&entry, &table(&store).await, &changed).await.unwrap();
        match Store::open(store.clone(), vec![key(1)]).await.unwrap_err() {
            Error::Damaged { problem, .. } => problems.insert(problem),
            error => panic!("byte {at}: {error:?}"),
        };
    }
    assert_eq!(problems.len(), 2, "{problems:?}");
    for len in [0, 1, 20, whole.len() - 1] {
        store.in_place().unwrap().replace(&entry, &table(&store).await, &whole[..len]).await.unwrap();
        let error = Store::open(store.clone(), vec![key(1)]).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{len}: {error:?}");
    }
    store.in_place().unwrap().replace(&entry, &table(&store).await, b"kes-seal:2:x").await.unwrap();
    let error = Store::open(store.clone(), vec![key(1)]).await.unwrap_err();
    assert!(error.to_string().contains("it is of a later release"), "{error}");
}

/// Whoever can write to the store can make the checksum fit, but not the MAC.
#[tokio::test]
async fn a_table_changed_by_somebody_without_a_key_is_refused() {
    let store = sealed_by(vec![key(1), key(2)]).await;
    let whole = String::from_utf8(table(&store).await).unwrap();
    let rest = whole.strip_prefix("kes-seal:1:").unwrap().split_once(':').unwrap().1;
    let forged = rest.replace(r#""entries":"sealed""#, r#""entries":"mixed""#);
    let checksum = kes_crypto::base64::encode(&kes_crypto::sealing::digest(forged.as_bytes()));
    let forged = format!("kes-seal:1:{checksum}:{forged}");
    let entry = KeyName::reserved("-kes-seal");
    store.in_place().unwrap().replace(&entry, whole.as_bytes(), forged.as_bytes()).await.unwrap();
    let error = Store::open(store, vec![key(1)]).await.unwrap_err();
    assert!(error.to_string().contains("somebody without a key of the store has changed it"), "{error}");
}

#[tokio::test]
async fn costs_beyond_reason_are_refused_before_they_are_paid() {
    let store = memory();
    let costs = Argon2Costs { memory_kib: 8, passes: 101, lanes: 1 };
    Unlocked::init(store.clone(), vec![NewSlot { costs, ..slot(passphrase("p")) }]).await.unwrap();
    let error = Store::open(store, vec![passphrase("p")]).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn slots_are_added_changed_and_removed_in_place() {
    let store = sealed_by(vec![passphrase("one")]).await;
    open(&store, passphrase("one")).await.create(&name("key"), b"value").await.unwrap();
    let mut unlocked = unlock(&store, passphrase("one")).await;
    assert_eq!(unlocked.add(slot(key(2))).await.unwrap(), 2);
    assert!(opens(&store, key(2)).await && opens(&store, passphrase("one")).await);
    unlocked.change(1, slot(passphrase("two"))).await.unwrap();
    assert!(opens(&store, passphrase("two")).await && !opens(&store, passphrase("one")).await);
    unlocked.change(2, slot(SealingKey::recovery("paper", paper()))).await.unwrap();
    assert!(opens(&store, SealingKey::recovery("paper", paper())).await && !opens(&store, key(2)).await);
    unlocked.remove(1).await.unwrap();
    assert!(!opens(&store, passphrase("two")).await);
    let info = TableInfo::read(store.as_ref()).await.unwrap().unwrap();
    assert_eq!((info.slots.len(), info.slots[0].id, info.revision), (1, 2, 5));
    assert_eq!(read(&open(&store, SealingKey::recovery("paper", paper())).await, "key").await, b"value");
}

#[tokio::test]
async fn a_store_that_keeps_what_is_deleted_is_found_out_before_anything_is() {
    let cloud = Cloud::new();
    let store: Arc<dyn KeyStore> = Arc::new(cloud.clone());
    Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
    cloud.keep_names();
    let mut unlocked = unlock(&store, key(1)).await;
    let error = unlocked.add(slot(key(2))).await.unwrap_err();
    assert!(error.to_string().contains("retention period"), "{error}");
    assert!(opens(&store, key(1)).await && !opens(&store, key(2)).await);
}

#[tokio::test]
async fn the_last_slot_stays() {
    let store = sealed_by(vec![key(1)]).await;
    let mut unlocked = unlock(&store, key(1)).await;
    let before = table(&store).await;
    assert!(matches!(unlocked.remove(1).await, Err(Error::LastSlot(1))));
    assert!(matches!(unlocked.rotate(&[key(1)], &[], &[1]).await, Err(Error::LastSlot(1))));
    assert!(matches!(unlocked.remove(9).await, Err(Error::NoSlot(9))));
    assert!(matches!(unlocked.change(9, slot(key(2))).await, Err(Error::NoSlot(9))));
    assert!(matches!(unlocked.add(slot(key(1))).await, Err(Error::SameKey(1))));
    assert_eq!(table(&store).await, before);
    for number in 2..=16 {
        unlocked.add(slot(key(number))).await.unwrap();
    }
    assert!(matches!(unlocked.add(slot(key(17))).await, Err(Error::TooManySlots(16))));
    assert!(matches!(Unlocked::init(memory(), vec![]).await, Err(Error::TooManySlots(16))));
}

#[tokio::test]
async fn sixteen_slots_with_long_labels_fit_into_every_store() {
    let store: Arc<dyn KeyStore> = Arc::new(Cloud::new());
    let slots = (1..=16).map(|byte| NewSlot { label: "ä\"\n😀".repeat(8), ..slot(key(byte)) }).collect();
    Unlocked::init(store.clone(), slots).await.unwrap();
    let info = unlock(&store, key(16)).await.table();
    assert!(table(&store).await.len() < 25 << 10, "as Azure has it");
    assert_eq!(info.slots[15].label, "ä\"\n😀".repeat(8));
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_told_to_look_again() {
    for store in [memory(), Arc::new(Cloud::new()) as Arc<dyn KeyStore>] {
        Unlocked::init(store.clone(), vec![slot(key(1))]).await.unwrap();
        let (mut one, mut two) = (unlock(&store, key(1)).await, unlock(&store, key(1)).await);
        one.add(slot(key(2))).await.unwrap();
        assert!(matches!(two.add(slot(key(3))).await, Err(Error::Changed { .. })));
        assert!(opens(&store, key(2)).await && !opens(&store, key(3)).await);
    }
}

#[tokio::test]
async fn sealing_a_sealed_store_again_is_refused() {
    let store = sealed_by(vec![key(1)]).await;
    assert!(matches!(Unlocked::init(store.clone(), vec![slot(key(2))]).await, Err(Error::AlreadySealed { .. })));
    assert!(opens(&store, key(1)).await);
    assert!(matches!(Store::open(memory(), vec![key(1)]).await, Err(Error::NotSealed { .. })));
}

/// Nothing is ever sealed anew over keys whose table was lost.
#[tokio::test]
async fn sealed_keys_without_a_table_are_not_sealed_anew() {
    let store = sealed_by(vec![key(1)]).await;
    open(&store, key(1)).await.create(&name("key"), b"value").await.unwrap();
    store.delete(&KeyName::reserved("-kes-seal")).await.unwrap();
    let error = Unlocked::init(store, vec![slot(key(1))]).await.unwrap_err();
    assert!(matches!(error, Error::TableMissing { .. }), "{error:?}");
}

#[tokio::test]
async fn the_recovery_key_opens_the_store_when_all_else_is_lost() {
    let token = Arc::new(Token::new(4));
    let recovery = RecoveryKey::generate().unwrap();
    let on_paper = recovery.to_text().to_string();
    let slots = vec![
        passphrase("forgotten"),
        SealingKey::external("config", token.clone()),
        SealingKey::recovery("recovery", recovery),
    ];
    let store = sealed_by(slots).await;
    open(&store, passphrase("forgotten")).await.create(&name("key"), b"value").await.unwrap();
    token.go();

    let error = Store::open(store.clone(), vec![passphrase("which?"), SealingKey::external("config", token)]).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::External { .. }), "a key that does not answer is not called wrong: {error:?}");
    let typed = RecoveryKey::parse(&on_paper.to_lowercase()).unwrap();
    let mut unlocked = unlock(&store, SealingKey::recovery("typed", typed)).await;
    assert_eq!(unlocked.opened_by(), (0, 3));
    unlocked.add(slot(passphrase("new"))).await.unwrap();
    unlocked.remove(1).await.unwrap();
    unlocked.remove(2).await.unwrap();
    let store = open(&store, passphrase("new")).await;
    assert_eq!(read(&store, "key").await, b"value");
    assert!(store.notices().is_empty(), "{:?}", store.notices());
}

#[tokio::test]
async fn a_server_is_told_what_is_risky() {
    let store = sealed_by(vec![SealingKey::recovery("paper", paper())]).await;
    let notices = open(&store, SealingKey::recovery("paper", paper())).await.notices();
    assert!(notices[0].starts_with("the store was opened with the recovery key (paper)"), "{notices:?}");
    assert!(notices[1].starts_with("the store has one slot (recovery)"), "{notices:?}");
}

#[tokio::test]
async fn a_new_root_key_needs_the_keys_of_all_slots() {
    let store = sealed_by(Kind::ALL.map(Kind::key).into()).await;
    open(&store, key(7)).await.create(&name("key"), b"value").await.unwrap();
    let mut unlocked = unlock(&store, key(7)).await;
    let before = unlocked.table();
    let error = unlocked.rotate(&[key(7), Kind::External.key()], &[], &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sealing keys of some slots are not at hand: \
         1 (passphrase, passphrase of correct horse battery staple); 3 (recovery, paper)"
    );
    assert_eq!(unlocked.table(), before);

    let new = RecoveryKey::generate().unwrap();
    let text = new.to_text().to_string();
    let replaced = [(3, SealingKey::recovery("recovery", new))];
    unlocked.rotate(&[key(7), Kind::External.key()], &replaced, &[1]).await.unwrap();
    let after = unlocked.table();
    assert_ne!(after.root, before.root);
    assert_eq!((after.retired, after.slots.len(), &after.store), (1, 3, &before.store));
    assert!(!opens(&store, Kind::Passphrase.key()).await && !opens(&store, Kind::Recovery.key()).await);
    let typed = RecoveryKey::parse(&text).unwrap();
    for key in [key(7), Kind::External.key(), SealingKey::recovery("typed", typed)] {
        assert_eq!(read(&open(&store, key).await, "key").await, b"value", "under the root key of before");
    }
}

#[tokio::test]
async fn after_a_rotation_the_old_root_key_opens_nothing_new() {
    let store = sealed_by(vec![key(1)]).await;
    let old = table(&store).await;
    let mut unlocked = unlock(&store, key(1)).await;
    unlocked.rotate(&[key(1)], &[], &[]).await.unwrap();
    open(&store, key(1)).await.create(&name("new"), b"value").await.unwrap();
    // Who has kept the table of before, and a key, has the old root key.
    let elsewhere = memory();
    elsewhere.create(&KeyName::reserved("-kes-seal"), &old).await.unwrap();
    let entry = store.get(&name("new")).await.unwrap();
    elsewhere.create(&name("new"), entry.expose()).await.unwrap();
    let error = open(&elsewhere, key(1)).await.get(&name("new")).await.unwrap_err();
    assert!(error.to_string().contains("under a root key that this store does not have"), "{error}");
}

#[test]
fn nothing_shows_a_key() {
    let shown = format!("{:?} {:?}", slot(passphrase("correct horse")), NewSlot::of(key(0x41)));
    assert!(!shown.contains("horse\"") && !shown.contains("AAAA") && !shown.contains("65, 65"), "{shown}");
}
