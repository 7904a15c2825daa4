//! The decorator: a sealed store is a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::entry::{self, Broken};
use super::keyring::{Keyring, to_hex};
use super::slots::{check_sealable, read, unlock};
use super::table::{self, Entries};
use super::{Error as SealError, SealingKey, swap, transfer};
use crate::{Cause, Error, Kept, KeyName, KeyStore, Operation, Page, Promises, Status, Value};

/// A sealed store over another one.
///
/// It notices when slots, root key or kind of entries are changed under it, and goes on with what is there then: before
/// each create, and whenever an entry is under a root key that it does not know.
pub struct Store {
    inner: Arc<dyn KeyStore>,
    /// Kept to open the slot table again when it changes.
    keys: Vec<SealingKey>,
    seal: ArcSwap<State>,
    /// One re-opening at a time.
    opening: Mutex<()>,
    /// What whoever opened the store has to say of it.
    notice: Option<String>,
}

struct State {
    keys: Keyring,
    entries: Entries,
    slots: Vec<String>,
    /// The kind of the slot and the source of the key that opened the store.
    opened_by: (String, String),
    /// The table as it lies in the store.
    text: Vec<u8>,
}

impl Store {
    /// Opens a sealed store by any of these keys.
    ///
    /// # Errors
    /// [`SealError::NotSealed`], [`SealError::WrongKey`], [`SealError::External`], [`SealError::Damaged`],
    /// [`SealError::NothingToSeal`], [`SealError::Store`].
    pub async fn open(inner: Arc<dyn KeyStore>, keys: Vec<SealingKey>) -> Result<Self, SealError> {
        check_sealable(inner.as_ref())?;
        let state = State::open(inner.as_ref(), &keys).await?;
        Ok(Self { inner, keys, seal: ArcSwap::from_pointee(state), opening: Mutex::default(), notice: None })
    }

    /// The store with a sentence that stands before its other [notices](KeyStore::notices).
    #[must_use]
    pub fn with_notice(self, notice: impl Into<String>) -> Self {
        Self { notice: Some(notice.into()), ..self }
    }

    /// The id of the store, 32 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        to_hex(&self.seal.load().keys.store)
    }

    /// The state, after a look at whether the table is still the one we know.
    async fn fresh(&self, operation: Operation) -> Result<Arc<State>, Error> {
        let known = self.seal.load_full();
        let text = match swap::get(self.inner.as_ref(), &table::name()).await {
            Ok(text) => text,
            Err(Error::NotFound) => {
                return Err(self.failed(operation, "its slot table is gone: restart the server", None));
            }
            Err(error) => return Err(error),
        };
        if text.expose() == known.text {
            return Ok(known);
        }
        let _one = self.opening.lock().await;
        let known = self.seal.load_full();
        if text.expose() == known.text {
            return Ok(known);
        }
        let state = State::open(self.inner.as_ref(), &self.keys).await.map_err(|cause| {
            let remedy = "its slots were changed, and the server's sealing key does not open it any more";
            self.failed(operation, remedy, Some(Arc::new(cause)))
        })?;
        if state.keys.store != known.keys.store {
            return Err(self.failed(operation, "it is another store now: restart the server", None));
        }
        let state = Arc::new(state);
        self.seal.store(Arc::clone(&state));
        Ok(state)
    }

    /// The value as this state of the store has it: sealed, unless the seal is being removed.
    fn form_of_now(&self, state: &State, name: &KeyName, value: &[u8]) -> Result<Value, Error> {
        if state.entries == Entries::Unsealing {
            return Ok(Value::new(value.to_vec()));
        }
        let sealed = entry::seal(&state.keys, name, value).map_err(|cause| {
            self.failed(Operation::Create, "the operating system's random generator fails", Some(Arc::new(cause)))
        })?;
        Ok(Value::new(sealed))
    }

    /// Gives a new entry the form of today, should the seal have been changed while the entry was on its way: who
    /// changed it may have looked at all keys before this one was there, and forgets the root key of before. If the
    /// table is the same after the entry was stored, whoever changes it later sees the entry.
    async fn keep_up(
        &self,
        mut known: Arc<State>,
        name: &KeyName,
        value: &[u8],
        mut stored: Value,
    ) -> Result<(), Error> {
        loop {
            let now = self.fresh(Operation::Create).await.map_err(|cause| self.unknown(cause))?;
            if now.text == known.text {
                return Ok(());
            }
            let new = self.form_of_now(&now, name, value)?;
            match swap::replace(self.inner.as_ref(), name, stored.expose(), new.expose()).await {
                Ok(()) => (known, stored) = (now, new),
                // Deleted meanwhile, and not by us.
                Err(Error::NotFound) => return Ok(()),
                // Somebody else is changing an entry. If it is this one, it is as it should be.
                Err(Error::Exists) => {
                    let there = swap::get(self.inner.as_ref(), name).await.map_err(|cause| self.unknown(cause))?;
                    if there.expose() != stored.expose() {
                        (known, stored) = (now, there);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(cause) => return Err(self.unknown(cause)),
            }
        }
    }

    /// The key lies there, and nobody can tell whether it will open.
    fn unknown(&self, cause: Error) -> Error {
        let remedy = "the seal was changed while a key was created, and cannot be read now: look at that key";
        Error::Unreachable { store: self.describe(), remedy, source: Some(Arc::new(cause)) }
    }

    fn failed(&self, operation: Operation, remedy: &'static str, source: Option<Cause>) -> Error {
        Error::Failed { entry: self.describe(), operation, remedy, source }
    }

    fn damaged(&self, name: &KeyName, broken: Broken) -> Error {
        let source: Option<Cause> = match &broken {
            Broken::OtherName(other) => Some(Arc::new(Owner(other.clone()))),
            _ => None,
        };
        Error::Damaged { entry: self.entry(name), problem: broken.problem(), source }
    }

    fn entry(&self, name: &KeyName) -> String {
        format!("'{name}' in {}", self.describe())
    }
}

/// Whose entry it is in truth.
#[derive(Debug, thiserror::Error)]
#[error("the entry is that of '{0}'")]
struct Owner(String);

impl State {
    async fn open(inner: &dyn KeyStore, keys: &[SealingKey]) -> Result<Self, SealError> {
        let stored = read(inner).await?;
        let (keyring, (index, slot)) = unlock(&inner.describe(), &stored, keys).await?;
        let kind = stored.table.slots.iter().find(|other| other.id == slot).map(|slot| slot.kind.clone());
        Ok(Self {
            keys: keyring,
            entries: stored.table.entries,
            slots: stored.table.slots.iter().map(|slot| slot.kind.clone()).collect(),
            opened_by: (kind.unwrap_or_default(), keys[index].source().to_owned()),
            text: stored.text,
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.describe())
    }
}

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        format!("{} (sealed)", self.inner.describe())
    }

    fn promises(&self) -> Promises {
        let inner = self.inner.promises();
        Promises { any_bytes: Kept::Yes, max_value_len: entry::max_value_len(inner.max_value_len), ..inner }
    }

    async fn status(&self) -> Result<Status, Error> {
        self.inner.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        let limit = self.promises().max_value_len;
        if value.len() > limit {
            return Err(Error::TooLarge { entry: self.entry(name), len: value.len(), limit });
        }
        let state = self.fresh(Operation::Create).await?;
        let stored = self.form_of_now(&state, name, value)?;
        self.inner.create(name, stored.expose()).await?;
        self.keep_up(state, name, value, stored).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let value = swap::get(self.inner.as_ref(), name).await?;
        let state = self.seal.load_full();
        if !entry::is_sealed(value.expose()) {
            let refused =
                state.entries == Entries::Sealed && self.fresh(Operation::Get).await?.entries == Entries::Sealed;
            return if refused {
                let problem =
                    "it is not sealed, and this store takes sealed keys only; whoever put it there may know it";
                Err(Error::Damaged { entry: self.entry(name), problem, source: None })
            } else {
                Ok(value)
            };
        }
        match entry::open(&state.keys, name, value.expose()) {
            Err(Broken::UnknownRoot) => {
                let state = self.fresh(Operation::Get).await?;
                entry::open(&state.keys, name, value.expose()).map_err(|broken| self.damaged(name, broken))
            }
            opened => opened.map_err(|broken| self.damaged(name, broken)),
        }
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        if self.seal.load().entries == Entries::Sealed {
            return self.inner.delete(name).await;
        }
        // The copy from before the seal goes first: nothing may bring the key back. And again, should the key have been
        // moved into the seal meanwhile.
        transfer::forget_copy(self.inner.as_ref(), name).await?;
        self.inner.delete(name).await?;
        transfer::forget_copy(self.inner.as_ref(), name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.inner.list(prefix, from, limit).await
    }

    fn throttled(&self) -> u64 {
        self.inner.throttled()
    }

    async fn close(&self) {
        for key in &self.keys {
            key.close().await;
        }
        self.inner.close().await;
    }

    fn notices(&self) -> Vec<String> {
        let state = self.seal.load();
        let mut notices: Vec<_> = self.notice.iter().cloned().chain(self.inner.notices()).collect();
        match state.entries {
            Entries::Sealed => {}
            Entries::Mixed => notices.push(
                "keys from before the seal are still stored as they were: 'kes seal migrate --config FILE' seals them, \
                 'kes seal finish --config FILE' ends this"
                    .to_owned(),
            ),
            Entries::Unsealing => notices.push(
                "the seal is being removed and new keys are stored unsealed: 'kes seal undo --config FILE' goes on, \
                 'kes seal migrate --config FILE' turns back"
                    .to_owned(),
            ),
        }
        if state.opened_by.0 == "recovery" {
            notices.push(format!(
                "the store was opened with the recovery key ({}): make another slot with 'kes seal add', and put the \
                 recovery key away",
                state.opened_by.1
            ));
        }
        if state.slots.len() == 1 {
            notices.push(format!(
                "the store has one slot ({}): if its key is lost, so are all keys; 'kes seal add --recovery --config FILE' \
                 makes a recovery key",
                state.slots[0]
            ));
        }
        notices
    }
}
