//! Changing a value in place, in any store.
//!
//! Where the store can [replace](crate::InPlace) a value, that is all. Elsewhere it takes a journal, the entry
//! `-kes-move` with the text `kes-move:1:<name>:<new value>`:
//!
//! 0. create and delete the entry `-kes-probe`: a store that does not give names free would keep the value's;
//! 1. create the journal;
//! 2. delete the old value, create the new one;
//! 3. delete the journal.
//!
//! Between the two halves of 2 the value stands in the journal alone: [`get`] looks there, and [`resume`] finishes what
//! was interrupted. One journal is one change at a time: whoever finds it there has come second.

use crate::{Error, KeyName, KeyStore, Value};

const PREFIX: &[u8] = b"kes-move:1:";

fn journal() -> KeyName {
    KeyName::reserved("-kes-move")
}

/// The value under a name, also in the middle of a change.
pub(super) async fn get(store: &dyn KeyStore, name: &KeyName) -> Result<Value, Error> {
    let value = store.get(name).await;
    if !matches!(value, Err(Error::NotFound)) || store.in_place().is_some() {
        return value;
    }
    match store.get(&journal()).await {
        Ok(entry) => match parse(entry.expose()) {
            Some((moving, value)) if moving == name.as_str().as_bytes() => Ok(Value::new(value.to_vec())),
            _ => Err(Error::NotFound),
        },
        // The change may have ended between the two looks.
        Err(Error::NotFound) => store.get(name).await,
        Err(error) => Err(error),
    }
}

/// Replaces `old` by `new`.
///
/// # Errors
/// As [`crate::InPlace::replace`]; also [`Error::Exists`] if another change is under way.
pub(super) async fn replace(store: &dyn KeyStore, name: &KeyName, old: &[u8], new: &[u8]) -> Result<(), Error> {
    if let Some(store) = store.in_place() {
        return store.replace(name, old, new).await;
    }
    if store.get(name).await?.expose() != old {
        return Err(Error::Exists);
    }
    probe(store).await?;
    let entry = Value::new([PREFIX, name.as_str().as_bytes(), b":", new].concat());
    store.create(&journal(), entry.expose()).await?;
    if let Err(error) = store.delete(name).await {
        // Gone already: somebody deleted the key, which must not come back.
        if matches!(error, Error::NotFound) {
            forget(store).await?;
        }
        return Err(error);
    }
    finish(store, name, new).await
}

/// Whether a name can be used again after a delete. What was deleted may be kept for months instead, by a setting of the
/// store or for want of a permission: the value that is to be changed would then be locked out.
async fn probe(store: &dyn KeyStore) -> Result<(), Error> {
    let probe = KeyName::reserved("-kes-probe");
    match store.create(&probe, b"kes-probe:1").await {
        // It was left by somebody who was interrupted.
        Err(Error::Exists) => {}
        created => created?,
    }
    match store.delete(&probe).await {
        Err(Error::NotFound) => Ok(()),
        deleted => deleted,
    }
}

/// Finishes a change that was interrupted. Only for who changes the store: nobody else may be in the middle of one.
pub(super) async fn resume(store: &dyn KeyStore) -> Result<(), Error> {
    if store.in_place().is_some() {
        return Ok(());
    }
    let entry = match store.get(&journal()).await {
        Ok(entry) => entry,
        Err(Error::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some((name, new)) = parse(entry.expose()) else {
        let problem = "it is no journal of this release";
        return Err(Error::Damaged {
            entry: format!("the entry '{}' of {}", journal(), store.describe()),
            problem,
            source: None,
        });
    };
    let name = String::from_utf8_lossy(name);
    let name = KeyName::parse(&name).unwrap_or_else(|_| KeyName::reserved("-kes-seal"));
    match store.get(&name).await {
        // Nothing had happened to it, or all of it.
        Ok(_) => forget(store).await,
        Err(Error::NotFound) => finish(store, &name, new).await,
        Err(error) => Err(error),
    }
}

async fn finish(store: &dyn KeyStore, name: &KeyName, new: &[u8]) -> Result<(), Error> {
    match store.create(name, new).await {
        // A create that reported failure may have happened all the same.
        Err(Error::Exists) if store.get(name).await?.expose() == new => {}
        created => created?,
    }
    forget(store).await
}

async fn forget(store: &dyn KeyStore) -> Result<(), Error> {
    match store.delete(&journal()).await {
        Err(Error::NotFound) => Ok(()),
        deleted => deleted,
    }
}

fn parse(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = entry.strip_prefix(PREFIX)?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    Some((&rest[..colon], &rest[colon + 1..]))
}
