//! `kes seal init|add|rm|change|recover`.

use kes_keystore::sealed::{NewSlot, RecoveryKey, SealingKey, TableInfo, Unlocked};
use serde_json::json;

use super::access::{Place, keys, new_recovery_key, refused};
use super::arguments::Init;
use super::status::{plain_keys, slot_document, slot_line};
use super::{show, tell};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

pub(super) async fn init(place: Place, output: &Output, init: &Init) -> Outcome {
    if let Some(store) = sealed_already(&place).await? {
        return Err(place.failed(kes_keystore::sealed::Error::AlreadySealed { store }));
    }
    let (unlocked, recovery) = seal_now(&place, output, init.no_recovery).await?;
    let plain = plain_keys(&unlocked, &place).await?;
    let more = match plain {
        0 => String::new(),
        count => format!("{} from before served unsealed: 'kes seal migrate' seals what is there\n", keys(count)),
    };
    tell(output, &document(&unlocked.table(), recovery.as_ref()), &format!("{}{more}", sealed_text(&unlocked)))
}

/// What the store beneath calls itself, if it is sealed.
pub(super) async fn sealed_already(place: &Place) -> Result<Option<String>, Failure> {
    let inner = place.config.store.open_beneath().await.map_err(|error| refused(&error))?;
    let table = TableInfo::read(inner.as_ref()).await.map_err(|error| place.failed(error))?;
    Ok(table.map(|_| inner.describe()))
}

/// Seals a store by what the configuration names and by a new recovery key, which is shown before.
pub(super) async fn seal_now(
    place: &Place,
    output: &Output,
    no_recovery: bool,
) -> Result<(Unlocked, Option<RecoveryKey>), Failure> {
    let store = &place.config.store;
    let is_shown = store.seal().is_some_and(|seal| seal.recovery.is_none() && seal.store.is_none());
    let mut recovery = None;
    if is_shown && !no_recovery {
        // A key that cannot be read is said before anything is shown.
        store.sealing_keys().await.map_err(|error| refused(&error))?;
        let (_, shown) = new_recovery_key()?;
        show(output, &shown)?;
        recovery = Some(shown);
    }
    let copy = recovery.as_ref().map(copied);
    let unlocked = store.seal_now(copy).await.map_err(|error| refused(&error))?;
    Ok((unlocked, recovery))
}

pub(super) fn sealed_text(unlocked: &Unlocked) -> String {
    format!("Sealed {}\n{}", unlocked.inner().describe(), slots(&unlocked.table()))
}

pub(super) async fn add(mut place: Place, output: &Output, new: (NewSlot, Option<RecoveryKey>)) -> Outcome {
    let (mut unlocked, _) = place.unlock().await?;
    let (slot, recovery) = new;
    if let Some(recovery) = &recovery {
        show(output, recovery)?;
    }
    let id = unlocked.add(slot).await.map_err(|error| place.failed(error))?;
    changed(output, &unlocked, &format!("Added slot {id}"), recovery.as_ref())
}

pub(super) async fn add_configured(mut place: Place, output: &Output) -> Outcome {
    let (mut unlocked, keys) = place.unlock().await?;
    let added = add_missing(&place, &mut unlocked, keys).await?;
    changed(output, &unlocked, &added_text(&added), None)
}

pub(super) async fn remove(mut place: Place, output: &Output, id: u32) -> Outcome {
    let (mut unlocked, _) = place.unlock().await?;
    unlocked.remove(id).await.map_err(|error| place.failed(error))?;
    changed(output, &unlocked, &format!("Removed slot {id}"), None)
}

pub(super) async fn change(mut place: Place, output: &Output, id: u32, new: (NewSlot, Option<RecoveryKey>)) -> Outcome {
    let (mut unlocked, _) = place.unlock().await?;
    let (slot, recovery) = new;
    if !unlocked.table().slots.iter().any(|slot| slot.id == id) {
        return Err(place.failed(kes_keystore::sealed::Error::NoSlot(id)));
    }
    if let Some(recovery) = &recovery {
        show(output, recovery)?;
    }
    unlocked.change(id, slot).await.map_err(|error| place.failed(error))?;
    changed(output, &unlocked, &format!("Changed slot {id}"), recovery.as_ref())
}

pub(super) async fn recover(mut place: Place, output: &Output, drop_others: bool) -> Outcome {
    let (mut unlocked, mut keys) = place.unlock().await?;
    let recovery = keys.remove(0);
    // What the configuration names now must be there by now, else the next start fails as the last one did.
    let configured = place.keys().await?;
    drop(keys);
    let mut kept = Vec::new();
    kept.extend(unlocked.slot_of(&recovery).await.map_err(|error| place.failed(error))?);
    let added = add_missing(&place, &mut unlocked, configured).await?;
    let mut text = added_text(&added);
    if drop_others {
        for key in &place.keys().await? {
            kept.extend(unlocked.slot_of(key).await.map_err(|error| place.failed(error))?);
        }
        let others: Vec<u32> =
            unlocked.table().slots.iter().map(|slot| slot.id).filter(|id| !kept.contains(id)).collect();
        for id in others {
            unlocked.remove(id).await.map_err(|error| place.failed(error))?;
            text += &format!("\nRemoved slot {id}");
        }
    }
    changed(output, &unlocked, &text, None)
}

/// Makes a slot of each key that opens none yet.
async fn add_missing(place: &Place, unlocked: &mut Unlocked, keys: Vec<SealingKey>) -> Outcome<Vec<u32>> {
    let mut added = Vec::new();
    for key in keys {
        if unlocked.slot_of(&key).await.map_err(|error| place.failed(error))?.is_none() {
            added.push(unlocked.add(NewSlot::of(key)).await.map_err(|error| place.failed(error))?);
        }
    }
    Ok(added)
}

fn added_text(added: &[u32]) -> String {
    match added {
        [] => "Every key that the configuration names opens a slot already".to_owned(),
        [id] => format!("Added slot {id}"),
        ids => format!("Added slots {}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn changed(output: &Output, unlocked: &Unlocked, what: &str, recovery: Option<&RecoveryKey>) -> Outcome {
    let table = unlocked.table();
    tell(output, &document(&table, recovery), &format!("{what}\n{}", slots(&table)))
}

fn slots(table: &TableInfo) -> String {
    table.slots.iter().map(|slot| slot_line(slot) + "\n").collect()
}

/// The slots, and a new recovery key, which in a document is shown here.
pub(super) fn document(table: &TableInfo, recovery: Option<&RecoveryKey>) -> serde_json::Value {
    let slots: Vec<_> = table.slots.iter().map(slot_document).collect();
    let mut document = json!({"id": table.store, "revision": table.revision, "slots": slots});
    if let Some(recovery) = recovery {
        document["recovery_key"] = json!(recovery.to_text().as_str());
    }
    document
}

fn copied(key: &RecoveryKey) -> RecoveryKey {
    RecoveryKey::parse(&key.to_text()).expect("what it writes it reads")
}

/// Slots that only a new recovery key can keep: nobody types the old one for a rotation.
pub(super) async fn unkeyed_recovery_slots(
    place: &Place,
    unlocked: &Unlocked,
    keys: &[SealingKey],
    dropped: &[u32],
) -> Result<Vec<u32>, Failure> {
    let mut held = Vec::new();
    for key in keys.iter().filter(|key| key.kind() == "recovery") {
        held.extend(unlocked.slot_of(key).await.map_err(|error| place.failed(error))?);
    }
    let table = unlocked.table();
    let recovery = table.slots.iter().filter(|slot| slot.kind == "recovery").map(|slot| slot.id);
    Ok(recovery.filter(|id| !held.contains(id) && !dropped.contains(id)).collect())
}
