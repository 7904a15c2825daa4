//! Everything that changes a store, as one operation after the other, and what must hold after it was interrupted
//! anywhere: each key is whole or absent, none is lost, none comes back; slots are those of before or those of after;
//! and making the same call again finishes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::support::{key, listed, name, open, read, record, slot};
use crate::sealed::backup::{self, Backup};
use crate::sealed::{Error, SealingKey, Store, TableInfo, Unlocked};
use crate::{KeyName, KeyStore};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Of a store that is not sealed.
    CreatePlain,
    DeletePlain,
    Create,
    Delete,
    /// Of a key whose copy from before the seal is still there.
    DeleteMigrated,
    Init,
    Migrate,
    Finish,
    Undo,
    Rotate,
    /// After a rotation.
    Reseal,
    AddSlot,
    ChangeSlot,
    RemoveSlot,
    Restore,
}

impl Act {
    pub(super) const ALL: [Self; 15] = [
        Self::CreatePlain,
        Self::DeletePlain,
        Self::Create,
        Self::Delete,
        Self::DeleteMigrated,
        Self::Init,
        Self::Migrate,
        Self::Finish,
        Self::Undo,
        Self::Rotate,
        Self::Reseal,
        Self::AddSlot,
        Self::ChangeSlot,
        Self::RemoveSlot,
        Self::Restore,
    ];

    pub(super) fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|act| format!("{act:?}") == text).unwrap()
    }

    fn starts_plain(self) -> bool {
        use Act::{DeleteMigrated, Finish, Init, Migrate, Undo};
        self.stays_plain() || matches!(self, Init | Migrate | Finish | Undo | DeleteMigrated)
    }

    fn stays_plain(self) -> bool {
        matches!(self, Self::CreatePlain | Self::DeletePlain)
    }
}

/// What was in the store before.
pub(super) struct World {
    act: Act,
    keys: BTreeMap<String, Vec<u8>>,
    /// For a restore; stands for the file.
    pub(super) backup: Vec<u8>,
}

const NEW: &[u8] = b"CiQKIPMUJEzwWCRQXzRUwiPd7a9ghDwsEX+77NuuPbA4NNBxEAESJAogz3f4my9xZxntTccrsNg/SThZnt00eCz8gpkHqcqpX6EQARoMCICByKwGEIDKte4B";

/// Either of these is right, whichever slots there are.
fn all_keys() -> Vec<SealingKey> {
    vec![key(1), key(2), key(3)]
}

async fn unlocked(store: &Arc<dyn KeyStore>) -> Result<Unlocked, Error> {
    Unlocked::open(store.clone(), &all_keys()).await
}

/// Brings a store to where the act begins.
pub(super) async fn prepare(act: Act, store: &Arc<dyn KeyStore>) -> World {
    let mut world = World { act, keys: BTreeMap::new(), backup: Vec::new() };
    for key in ["a", "b"] {
        world.keys.insert(key.to_owned(), record());
    }
    if act.starts_plain() {
        fill(store.as_ref(), &world).await;
    }
    if act.stays_plain() || act == Act::Init {
        return world;
    }
    let mut slots = vec![slot(key(1))];
    if act == Act::RemoveSlot {
        slots.push(slot(key(3)));
    }
    let mut seal = Unlocked::init(store.clone(), slots).await.unwrap();
    match act {
        Act::Migrate => {}
        Act::Finish | Act::Undo | Act::DeleteMigrated => {
            seal.migrate(false, &mut |_| {}).await.unwrap();
        }
        Act::Restore => {
            let sealed = open(store, key(1)).await;
            fill(&sealed, &world).await;
            world.backup = backup::take(&seal, "now").await.unwrap().0;
            for key in world.keys.keys() {
                sealed.delete(&name(key)).await.unwrap();
            }
        }
        _ => {
            fill(&open(store, key(1)).await, &world).await;
            if act == Act::Reseal {
                seal.rotate(&[key(1)], &[], &[]).await.unwrap();
            }
        }
    }
    world
}

async fn fill(store: &dyn KeyStore, world: &World) {
    for (key, value) in &world.keys {
        store.create(&name(key), value).await.unwrap();
    }
}

/// Does it, on a store that may fail; as it is made again after an interruption, with "is done already" as a success.
pub(super) async fn perform(act: Act, store: &Arc<dyn KeyStore>, backup: &[u8]) -> Result<(), Error> {
    match act {
        Act::CreatePlain => created(store.create(&name("new"), NEW).await),
        Act::DeletePlain => deleted(store.delete(&name("a")).await),
        Act::Create => created(sealed(store).await?.create(&name("new"), NEW).await),
        Act::Delete | Act::DeleteMigrated => deleted(sealed(store).await?.delete(&name("a")).await),
        Act::Init => match Unlocked::init(store.clone(), vec![slot(key(1))]).await {
            Ok(_) | Err(Error::AlreadySealed { .. }) => Ok(()),
            Err(error) => Err(error),
        },
        Act::Migrate | Act::Reseal => unlocked(store).await?.migrate(false, &mut |_| {}).await.map(drop),
        Act::Finish => unlocked(store).await?.finish().await.map(drop),
        Act::Undo => match unlocked(store).await {
            Err(Error::NotSealed { .. }) => Ok(()),
            seal => seal?.undo(&mut |_| {}).await.map(drop),
        },
        Act::Rotate => unlocked(store).await?.rotate(&all_keys(), &[], &[]).await,
        Act::AddSlot => done(unlocked(store).await?.add(slot(key(2))).await.map(drop)),
        Act::ChangeSlot => done(unlocked(store).await?.change(1, slot(key(2))).await),
        Act::RemoveSlot => done(unlocked(store).await?.remove(2).await),
        Act::Restore => {
            let backup = Backup::open(backup, &all_keys()).await?;
            backup.restore(&sealed(store).await?, &mut |_| {}).await.map(drop)
        }
    }
}

async fn sealed(store: &Arc<dyn KeyStore>) -> Result<Store, Error> {
    Store::open(store.clone(), all_keys()).await
}

fn created(result: Result<(), crate::Error>) -> Result<(), Error> {
    match result {
        Ok(()) | Err(crate::Error::Exists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn deleted(result: Result<(), crate::Error>) -> Result<(), Error> {
    match result {
        Ok(()) | Err(crate::Error::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn done(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Ok(()) | Err(Error::SameKey(_) | Error::NoSlot(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What must hold in a store that was opened anew after the act was interrupted, or was done.
pub(super) async fn check(world: &World, store: &Arc<dyn KeyStore>, is_done: bool, at: &str) {
    let act = world.act;
    let table = TableInfo::read(store.as_ref()).await.unwrap();
    let sealed: Option<Arc<dyn KeyStore>> = match table {
        Some(_) => Some(Arc::new(sealed(store).await.unwrap_or_else(|error| panic!("{at}: {error}")))),
        None => None,
    };
    match act {
        _ if act.stays_plain() => assert!(sealed.is_none(), "{at}"),
        Act::Init => assert!(sealed.is_some() || !is_done, "{at}"),
        Act::Undo => assert!(sealed.is_none() || !is_done, "{at}"),
        _ => assert!(sealed.is_some(), "{at}"),
    }
    let view = sealed.as_ref().unwrap_or(store);
    let present: BTreeSet<String> = found(view.as_ref(), world, at).await;
    let expected: BTreeSet<String> = world.keys.keys().cloned().collect();
    match act {
        Act::CreatePlain | Act::Create => {
            let new = present.contains("new");
            assert!(new || !is_done, "{at}: the new key is lost");
            let others: BTreeSet<_> = present.iter().filter(|key| *key != "new").cloned().collect();
            assert_eq!(others, expected, "{at}");
        }
        Act::DeletePlain | Act::Delete | Act::DeleteMigrated => {
            assert!(present.contains("b"), "{at}: the other key is lost");
            assert!(!present.contains("a") || !is_done, "{at}: the deleted key is there again");
        }
        Act::Restore => assert!(present == expected || !is_done, "{at}: {present:?}"),
        _ => assert_eq!(present, expected, "{at}"),
    }
    if sealed.is_some() {
        check_slots(act, store, is_done, at).await;
    }
}

/// The names there are. Each of them is whole.
async fn found(view: &dyn KeyStore, world: &World, at: &str) -> BTreeSet<String> {
    let mut present = BTreeSet::new();
    for key in ["a", "b", "new"] {
        let expected = world.keys.get(key).map_or(NEW, Vec::as_slice);
        match view.get(&name(key)).await {
            Ok(value) => {
                assert!(value.expose() == expected, "{at}: '{key}' is not what it was");
                present.insert(key.to_owned());
            }
            Err(crate::Error::NotFound) => {}
            Err(error) => panic!("{at}: '{key}': {error}"),
        }
    }
    for key in listed(view).await {
        assert!(present.contains(&key), "{at}: '{key}' is listed and not there");
    }
    present
}

async fn check_slots(act: Act, store: &Arc<dyn KeyStore>, is_done: bool, at: &str) {
    let mut open = Vec::new();
    for number in [1, 2, 3] {
        match Store::open(store.clone(), vec![key(number)]).await {
            Ok(_) => open.push(number),
            Err(Error::WrongKey { .. }) => {}
            Err(error) => panic!("{at}: {error}"),
        }
    }
    let (before, after): (&[u8], &[u8]) = match act {
        Act::AddSlot => (&[1], &[1, 2]),
        Act::ChangeSlot => (&[1], &[2]),
        Act::RemoveSlot => (&[1, 3], &[1]),
        _ => (&[1], &[1]),
    };
    assert!(open == after || (open == before && !is_done), "{at}: slots {open:?}");
}

/// After an interruption was checked: the same call again, on the same store, and then nothing of it is left.
pub(super) async fn finish(world: &World, store: &Arc<dyn KeyStore>, at: &str) {
    let act = world.act;
    perform(act, store, &world.backup).await.unwrap_or_else(|error| panic!("{at}, again: {error}"));
    check(world, store, true, &format!("{at}, again")).await;
    let mut names = listed(store.as_ref()).await;
    names.sort();
    let expected: &[&str] = match act {
        Act::CreatePlain | Act::Create => &["a", "b", "new"],
        Act::DeletePlain | Act::Delete | Act::DeleteMigrated => &["b"],
        _ => &["a", "b"],
    };
    assert_eq!(names, expected, "{at}, again");
    assert!(store.get(&KeyName::reserved("-kes-move")).await.is_err(), "{at}, again: a journal is left");
    if matches!(act, Act::Finish | Act::Undo | Act::DeleteMigrated) {
        let gone: &[&str] = if act == Act::DeleteMigrated { &["a"] } else { &["a", "b"] };
        for key in gone {
            let copy = KeyName::reserved(&format!("-kes-plain-{key}"));
            assert!(store.get(&copy).await.is_err(), "{at}, again: the copy of '{key}' is left");
        }
    }
    if act == Act::DeleteMigrated {
        unlocked(store).await.unwrap().undo(&mut |_| {}).await.unwrap();
        assert_eq!(listed(store.as_ref()).await, ["b"], "{at}: undoing brought back a deleted key");
        assert_eq!(read(store.as_ref(), "b").await, world.keys["b"], "{at}");
    }
}
