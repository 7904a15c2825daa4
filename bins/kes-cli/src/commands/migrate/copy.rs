//! One key: look at both sides, then write, then read back.
//!
//! Looking changes nothing, so it may run ahead for many keys at once. What a look finds is either a verdict or a write
//! that still has to happen; the value to be written has been read and understood by then.
//!
//! A replacement has to delete before it can create, because no store can overwrite. The old value stays in memory until
//! the new one has been read back: if the target does not take the new one, the old one is put back.

use std::sync::Arc;
use std::time::Duration;

use kes_crypto::{Fingerprint, KeyVersion};
use kes_keystore::{Error, ErrorKind, KeyName, KeyStore, Operation, Value};

use super::verdict::{Record, Verdict};
use crate::failure::chain;

/// Pauses before a store that was not there, or did not answer, is asked again.
const PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// What to do with a key that the target has with another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnConflict {
    /// Say that it differs.
    Stop,
    /// Leave the target's value.
    Merge,
    /// Put the source's value in its place.
    Force,
}

/// Both sides, and how to copy.
pub(super) struct Copier {
    pub(super) from: Arc<dyn KeyStore>,
    pub(super) to: Arc<dyn KeyStore>,
    pub(super) on_conflict: OnConflict,
    /// Only look.
    pub(super) dry_run: bool,
    /// How long one call of a store may take.
    pub(super) limit: Duration,
}

/// What looking at both sides has found.
#[derive(Debug)]
pub(super) enum Look {
    Verdict(Record),
    Write(Write),
}

/// A value that the target shall have.
#[derive(Debug)]
pub(super) struct Write {
    name: KeyName,
    value: Value,
    fingerprint: Fingerprint,
    /// What has to go first.
    old: Option<Value>,
}

impl Copier {
    /// Reads both sides and decides.
    pub(super) async fn look(&self, name: KeyName) -> Look {
        let (source, target) = tokio::join!(self.read(&*self.from, &name), self.read(&*self.to, &name));
        let value = match source.map_err(Trouble::at_source).and_then(readable) {
            Ok(value) => value,
            Err(trouble) => return Look::Verdict(trouble.record(name, Verdict::Unreadable)),
        };
        let fingerprint = Fingerprint::of(value.expose());
        let record = |verdict| Record::new(name.clone(), verdict).with(fingerprint);
        let old = match target {
            Ok(old) => Some(old),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let trouble = Trouble::of(&error, "reading the target's value");
                return Look::Verdict(trouble.record(name, Verdict::Failed).with(fingerprint));
            }
        };
        let found = old.as_ref().map(|old| Fingerprint::of(old.expose()));
        let verdict = match (found, self.on_conflict) {
            (Some(found), _) if found == fingerprint => return Look::Verdict(record(Verdict::Same)),
            (Some(_), OnConflict::Stop) => Verdict::Differs,
            (Some(_), OnConflict::Merge) => Verdict::Skipped,
            (Some(_), OnConflict::Force) => Verdict::Replaced,
            (None, _) => Verdict::Copied,
        };
        let limit = self.to.promises().max_value_len;
        match verdict {
            Verdict::Copied | Verdict::Replaced if value.expose().len() > limit => {
                let text = format!("the value has {} bytes, the target takes {limit}", value.expose().len());
                let trouble = Trouble { text, kind: Some(ErrorKind::TooLarge), outage: false };
                Look::Verdict(Record { target: found, ..trouble.record(name, Verdict::Failed).with(fingerprint) })
            }
            Verdict::Copied | Verdict::Replaced if !self.dry_run => {
                Look::Write(Write { name, value, fingerprint, old })
            }
            _ => Look::Verdict(Record { target: found, ..record(verdict) }),
        }
    }

    /// Writes, reads back and compares.
    pub(super) async fn write(&self, write: Write) -> Record {
        let written = match &write.old {
            None => self.create(&write.name, &write.value, is_outage).await,
            Some(old) => self.replace(&write, old).await,
        };
        let record = |verdict| Record::new(write.name.clone(), verdict).with(write.fingerprint);
        let failed = |trouble: Trouble| trouble.record(write.name.clone(), Verdict::Failed).with(write.fingerprint);
        let mut other = Verdict::Failed;
        match written {
            Ok(()) => {}
            // Somebody was quicker, or a try of ours that seemed to fail: what is there now decides.
            Err(Trouble { kind: Some(ErrorKind::Exists), .. }) if write.old.is_none() => {
                other = if self.on_conflict == OnConflict::Merge { Verdict::Skipped } else { Verdict::Differs };
            }
            Err(trouble) => return failed(trouble),
        }
        let found = match self.read(&*self.to, &write.name).await {
            Ok(value) => Fingerprint::of(value.expose()),
            Err(error) => return failed(Trouble::of(&error, "reading back what was written")),
        };
        match other {
            _ if found == write.fingerprint => {
                record(if write.old.is_none() { Verdict::Copied } else { Verdict::Replaced })
            }
            Verdict::Failed => {
                let text = "the target took the value and returns another".to_owned();
                Record { target: Some(found), ..failed(Trouble { text, kind: None, outage: false }) }
            }
            other => Record { target: Some(found), ..record(other) },
        }
    }

    async fn create(&self, name: &KeyName, value: &Value, again: fn(&Error) -> bool) -> Result<(), Trouble> {
        let create = || self.limited(&*self.to, Operation::Create, self.to.create(name, value.expose()));
        patiently(create, again).await.map_err(|error| Trouble::of(&error, "creating the key"))
    }

    /// Deletes the old value and creates the new one; puts the old one back if that fails.
    async fn replace(&self, write: &Write, old: &Value) -> Result<(), Trouble> {
        let delete = || self.limited(&*self.to, Operation::Delete, self.to.delete(&write.name));
        match patiently(delete, is_outage).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Trouble::of(&error, "deleting the old value")),
        }
        // Some stores free a name only a moment after its deletion, and until then refuse it by various errors.
        let refused = |error: &Error| error.kind() != ErrorKind::Exists;
        let Err(mut trouble) = self.create(&write.name, &write.value, refused).await else { return Ok(()) };
        match self.create(&write.name, old, refused).await {
            Ok(()) => trouble.text += "; the old value was put back",
            Err(Trouble { kind: Some(ErrorKind::Exists), .. }) => {
                trouble.text += "; the old value was not put back: somebody else has created the key";
            }
            Err(again) => {
                trouble.text += "; the old value could not be put back either: the target lacks the key now";
                trouble.outage |= again.outage;
            }
        }
        Err(trouble)
    }

    async fn read(&self, store: &dyn KeyStore, name: &KeyName) -> Result<Value, Error> {
        patiently(|| self.limited(store, Operation::Get, store.get(name)), is_outage).await
    }

    async fn limited<T>(
        &self,
        store: &dyn KeyStore,
        operation: Operation,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        limited(store, operation, self.limit, call).await
    }
}

/// Runs a call of a store, for so long at most: stores themselves set no deadlines.
pub(super) async fn limited<T>(
    store: &dyn KeyStore,
    operation: Operation,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let timeout = |_| Error::Timeout { store: store.describe(), operation, after: limit };
    tokio::time::timeout(limit, call).await.map_err(timeout)?
}

/// Repeats a call after errors that may pass.
pub(super) async fn patiently<T, C>(mut call: impl FnMut() -> C, again: fn(&Error) -> bool) -> Result<T, Error>
where
    C: Future<Output = Result<T, Error>>,
{
    for pause in PAUSES {
        match call().await {
            Err(error) if again(&error) => tokio::time::sleep(pause).await,
            result => return result,
        }
    }
    call().await
}

pub(super) fn is_outage(error: &Error) -> bool {
    error.kind().is_outage()
}

/// A value that holds a key, of whatever release.
///
/// Departs from upstream: there anything was copied, so that a torn file stayed unnoticed until somebody needed the key.
fn readable(value: Value) -> Result<Value, Trouble> {
    match KeyVersion::parse(value.expose()) {
        Ok(_) => Ok(value),
        Err(error) => {
            Err(Trouble { text: format!("the value is no key: {}", chain(&error)), kind: None, outage: false })
        }
    }
}

/// Why a key was not copied.
struct Trouble {
    text: String,
    kind: Option<ErrorKind>,
    outage: bool,
}

impl Trouble {
    fn of(error: &Error, doing: &str) -> Self {
        let text = format!("{doing}: {}", chain(error));
        Self { text, kind: Some(error.kind()), outage: is_outage(error) }
    }

    fn at_source(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => {
                let text = "the key was deleted from the source in the meantime".to_owned();
                Self { text, kind: Some(ErrorKind::NotFound), outage: false }
            }
            _ => Self { text: chain(&error), kind: Some(error.kind()), outage: is_outage(&error) },
        }
    }

    fn record(self, name: KeyName, verdict: Verdict) -> Record {
        Record { problem: Some(self.text), outage: self.outage, ..Record::new(name, verdict) }
    }
}
