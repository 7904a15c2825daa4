//! Opening a sealed store by its slots, and changing them.

use std::sync::Arc;

use kes_crypto::sealing::{Argon2Costs, SealKey};

use super::keyring::{Id, Keyring, Root, random_id, to_hex};
use super::sealing_key::Secret;
use super::survey::{Form, Survey};
use super::table::{self, Argon2id, Entries, MAX_SLOTS, Slot, Stored, Table, TableInfo};
use super::{Error, SealingKey, swap};
use crate::KeyStore;

const PURPOSE: &str = "kes-seal slot";

/// A slot to be made.
#[derive(Debug)]
pub struct NewSlot {
    /// What opens it.
    pub key: SealingKey,
    /// What the operator calls it; empty: the source of the key.
    pub label: String,
    /// What a try of the passphrase costs, if the key is one.
    pub costs: Argon2Costs,
}

impl NewSlot {
    /// A slot with the usual settings.
    #[must_use]
    pub fn of(key: SealingKey) -> Self {
        Self { key, label: String::new(), costs: Argon2Costs::DEFAULT }
    }

    pub(super) fn label(&self) -> String {
        match self.key.secret() {
            _ if !self.label.is_empty() => self.label.clone(),
            Secret::External(seal) => seal.describe(),
            _ => self.key.source().to_owned(),
        }
    }
}

/// A sealed store that was opened to change its seal: its slots, its root key, or which entries are sealed.
///
/// A change of slots is one replaced entry: it has happened or it has not. Of several at the same time one succeeds, and
/// the others fail with [`Error::Changed`].
pub struct Unlocked {
    pub(super) inner: Arc<dyn KeyStore>,
    pub(super) table: Table,
    pub(super) keys: Keyring,
    /// The table as it lies in the store.
    pub(super) text: Vec<u8>,
    opened_by: (usize, u32),
}

impl Unlocked {
    /// Seals a store that is not sealed yet, by these slots. Keys that are there already are served as they are until
    /// [`Unlocked::migrate`]: [`Entries::Mixed`].
    ///
    /// # Errors
    /// [`Error::AlreadySealed`]; [`Error::TableMissing`] if there are sealed entries; [`Error::TooManySlots`], also for
    /// none; [`Error::NothingToSeal`]; [`Error::External`]; [`Error::Store`].
    pub async fn init(inner: Arc<dyn KeyStore>, slots: Vec<NewSlot>) -> Result<Self, Error> {
        if slots.is_empty() || slots.len() > MAX_SLOTS {
            return Err(Error::TooManySlots(MAX_SLOTS));
        }
        check_sealable(inner.as_ref())?;
        let already = || Error::AlreadySealed { store: inner.describe() };
        swap::resume(inner.as_ref()).await?;
        if table::read(inner.as_ref()).await?.is_some() {
            return Err(already());
        }
        let survey = Survey::take(inner.as_ref(), None).await?;
        if survey.count(|form| *form == Form::Sealed) > 0 {
            return Err(Error::TableMissing { store: inner.describe() });
        }
        let entries = if survey.count(|form| *form == Form::Plain) > 0 { Entries::Mixed } else { Entries::Sealed };
        let keys = Keyring { store: random_id()?, current: Root::generate()?, retired: Vec::new() };
        let root = keys.current.id;
        let mut table = Table { store: keys.store, revision: 1, entries, root, retired: Vec::new(), slots: Vec::new() };
        for (slot, id) in slots.iter().zip(1..) {
            table.slots.push(wrap(&inner.describe(), &keys, id, slot.label(), &slot.key, slot.costs).await?);
        }
        let text = table.encode(&keys);
        match inner.create(&table::name(), &text).await {
            Ok(()) => Ok(Self { inner, table, keys, text, opened_by: (0, 1) }),
            Err(crate::Error::Exists) => Err(already()),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a sealed store by any of these keys, and finishes a change that was interrupted.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::WrongKey`], [`Error::External`], [`Error::Damaged`], [`Error::NothingToSeal`],
    /// [`Error::Store`].
    pub async fn open(inner: Arc<dyn KeyStore>, keys: &[SealingKey]) -> Result<Self, Error> {
        check_sealable(inner.as_ref())?;
        swap::resume(inner.as_ref()).await?;
        let stored = read(inner.as_ref()).await?;
        let (keys, opened_by) = unlock(&inner.describe(), &stored, keys).await?;
        Ok(Self { inner, table: stored.table, keys, text: stored.text, opened_by })
    }

    /// The slot table.
    #[must_use]
    pub fn table(&self) -> TableInfo {
        self.table.info()
    }

    /// The store beneath.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn KeyStore> {
        &self.inner
    }

    /// Which of the keys opened the store, by its index, and which slot.
    #[must_use]
    pub fn opened_by(&self) -> (usize, u32) {
        self.opened_by
    }

    /// The slot that a key opens, if it opens one.
    ///
    /// # Errors
    /// [`Error::External`].
    pub async fn slot_of(&self, key: &SealingKey) -> Result<Option<u32>, Error> {
        slot_of(&self.inner.describe(), &self.table, key).await
    }

    async fn opens(&self, slot: &Slot, key: &SealingKey) -> Result<bool, Error> {
        let root =
            unwrap(&self.table, slot, key).await.map_err(|source| external(&self.inner.describe(), key, source))?;
        Ok(root.is_some())
    }

    /// Adds a slot and returns its number.
    ///
    /// # Errors
    /// [`Error::SameKey`], [`Error::TooManySlots`], [`Error::External`], [`Error::Changed`], [`Error::Store`].
    pub async fn add(&mut self, slot: NewSlot) -> Result<u32, Error> {
        if let Some(same) = self.slot_of(&slot.key).await? {
            return Err(Error::SameKey(same));
        }
        if self.table.slots.len() >= MAX_SLOTS {
            return Err(Error::TooManySlots(MAX_SLOTS));
        }
        let id = self.table.slots.iter().map(|slot| slot.id).max().unwrap_or(0) + 1;
        let made = wrap(&self.inner.describe(), &self.keys, id, slot.label(), &slot.key, slot.costs).await?;
        let mut table = self.table.clone();
        table.slots.push(made);
        self.write(table).await?;
        Ok(id)
    }

    /// Removes a slot: its key opens the store no more. Who has copied the table and the key before still has the root
    /// key; [`Unlocked::rotate`] is for that.
    ///
    /// # Errors
    /// [`Error::NoSlot`], [`Error::LastSlot`], [`Error::Changed`], [`Error::Store`].
    pub async fn remove(&mut self, id: u32) -> Result<(), Error> {
        let mut table = self.table.clone();
        table.slots.remove(self.position(id)?);
        if table.slots.is_empty() {
            return Err(Error::LastSlot(id));
        }
        self.write(table).await
    }

    /// Changes what opens a slot. Its number stays.
    ///
    /// # Errors
    /// As [`Unlocked::add`], and [`Error::NoSlot`].
    pub async fn change(&mut self, id: u32, slot: NewSlot) -> Result<(), Error> {
        let position = self.position(id)?;
        if let Some(same) = self.slot_of(&slot.key).await? {
            return Err(Error::SameKey(same));
        }
        let mut table = self.table.clone();
        table.slots[position] =
            wrap(&self.inner.describe(), &self.keys, id, slot.label(), &slot.key, slot.costs).await?;
        self.write(table).await
    }

    /// Makes a new root key, and wraps it for all slots: by those of the `keys` that open them; `replaced` slots get
    /// other keys, `dropped` ones go. Entries stay under the old root key until [`Unlocked::migrate`], and can be read
    /// until then; new ones are under the new one.
    ///
    /// # Errors
    /// [`Error::MissingKeys`], [`Error::NoSlot`], [`Error::LastSlot`], [`Error::External`], [`Error::Changed`],
    /// [`Error::Store`].
    pub async fn rotate(
        &mut self,
        keys: &[SealingKey],
        replaced: &[(u32, SealingKey)],
        dropped: &[u32],
    ) -> Result<(), Error> {
        for id in replaced.iter().map(|(id, _)| id).chain(dropped) {
            self.position(*id)?;
        }
        let holders = self.holders(keys, replaced, dropped).await?;
        if let (true, Some(last)) = (holders.is_empty(), dropped.last()) {
            return Err(Error::LastSlot(*last));
        }
        let new = Root::generate()?;
        let old = std::mem::replace(&mut self.keys.current, new);
        self.keys.retired.insert(0, old);
        let rotated = self.wrap_for_all(&holders).await;
        if rotated.is_err() {
            // Nothing has happened: the ring is as it was.
            self.keys.current = self.keys.retired.remove(0);
        }
        rotated
    }

    /// Whether a [rotation](Unlocked::rotate) has a key for each slot, but for those that it replaces or drops.
    ///
    /// # Errors
    /// [`Error::MissingKeys`], [`Error::External`].
    pub async fn check_keys(&self, keys: &[SealingKey], besides: &[u32]) -> Result<(), Error> {
        self.holders(keys, &[], besides).await.map(drop)
    }

    /// The slots that stay, each with the key it is to be wrapped for.
    async fn holders<'a>(
        &self,
        keys: &'a [SealingKey],
        replaced: &'a [(u32, SealingKey)],
        dropped: &[u32],
    ) -> Result<Vec<(Slot, &'a SealingKey)>, Error> {
        let (mut holders, mut missing) = (Vec::new(), Vec::new());
        for slot in self.table.slots.iter().filter(|slot| !dropped.contains(&slot.id)) {
            let mut holder = replaced.iter().find(|(id, _)| *id == slot.id).map(|(_, key)| key);
            for key in keys {
                if holder.is_none() && self.opens(slot, key).await? {
                    holder = Some(key);
                }
            }
            match holder {
                Some(key) => holders.push((slot.clone(), key)),
                None => missing.push(format!("{} ({}, {})", slot.id, slot.kind, slot.label)),
            }
        }
        if missing.is_empty() { Ok(holders) } else { Err(Error::MissingKeys { slots: missing.join("; ") }) }
    }

    async fn wrap_for_all(&mut self, holders: &[(Slot, &SealingKey)]) -> Result<(), Error> {
        let mut table = Table { root: self.keys.current.id, slots: Vec::new(), ..self.table.clone() };
        table.retire(&self.keys)?;
        for (slot, key) in holders {
            let costs = slot.argon2id.as_ref().map_or(Argon2Costs::DEFAULT, Argon2id::costs);
            let made = wrap(&self.inner.describe(), &self.keys, slot.id, slot.label.clone(), key, costs).await?;
            table.slots.push(made);
        }
        self.write(table).await
    }

    fn position(&self, id: u32) -> Result<usize, Error> {
        self.table.slots.iter().position(|slot| slot.id == id).ok_or(Error::NoSlot(id))
    }

    /// Puts a changed table in the place of the one that we know.
    pub(super) async fn write(&mut self, mut table: Table) -> Result<(), Error> {
        table.revision += 1;
        let text = table.encode(&self.keys);
        match swap::replace(self.inner.as_ref(), &table::name(), &self.text, &text).await {
            Ok(()) => {
                (self.table, self.text) = (table, text);
                Ok(())
            }
            Err(crate::Error::Exists | crate::Error::NotFound) => Err(Error::Changed { store: self.inner.describe() }),
            Err(error) => Err(error.into()),
        }
    }
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unlocked({}, revision {})", self.inner.describe(), self.table.revision)
    }
}

/// A store whose keys never leave it has no values.
pub(super) fn check_sealable(inner: &dyn KeyStore) -> Result<(), Error> {
    match inner.engine() {
        Some(_) => Err(Error::NothingToSeal { store: inner.describe() }),
        None => Ok(()),
    }
}

pub(super) async fn read(inner: &dyn KeyStore) -> Result<Stored, Error> {
    table::read(inner).await?.ok_or_else(|| Error::NotSealed { store: inner.describe() })
}

/// Opens a table by the first key that fits a slot: the index of the key, and the number of the slot.
pub(super) async fn unlock(
    store: &str,
    stored: &Stored,
    keys: &[SealingKey],
) -> Result<(Keyring, (usize, u32)), Error> {
    let mut failed = None;
    for (index, key) in keys.iter().enumerate() {
        for slot in &stored.table.slots {
            match unwrap(&stored.table, slot, key).await {
                Ok(Some(root)) => {
                    let keyring = stored.keyring(root).map_err(|problem| table::damaged(store, problem))?;
                    return Ok((keyring, (index, slot.id)));
                }
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(external(store, key, error))),
            }
        }
    }
    let tried: Vec<_> = keys.iter().map(SealingKey::source).collect();
    let tried = if tried.is_empty() { "no key at all".to_owned() } else { tried.join(", ") };
    Err(failed.unwrap_or(Error::WrongKey { store: store.to_owned(), tried }))
}

/// The slot that a key opens, if it opens one.
pub(super) async fn slot_of(store: &str, table: &Table, key: &SealingKey) -> Result<Option<u32>, Error> {
    for slot in &table.slots {
        if unwrap(table, slot, key).await.map_err(|source| external(store, key, source))?.is_some() {
            return Ok(Some(slot.id));
        }
    }
    Ok(None)
}

fn external(store: &str, key: &SealingKey, source: crate::Error) -> Error {
    let seal = match key.secret() {
        Secret::External(seal) => seal.describe(),
        _ => key.source().to_owned(),
    };
    Error::External { store: store.to_owned(), seal, source }
}

/// The label for keys held elsewhere, and the beginning of the associated data of all others.
fn label(store: &Id) -> String {
    format!("kes-seal:{}", to_hex(store))
}

fn associated_data(store: &Id, root: &Id, kind: &str) -> Vec<u8> {
    format!("{}:{}:{kind}", label(store), to_hex(root)).into_bytes()
}

pub(super) async fn wrap(
    store: &str,
    keys: &Keyring,
    id: u32,
    label_: String,
    key: &SealingKey,
    costs: Argon2Costs,
) -> Result<Slot, Error> {
    let root = &keys.current;
    let data = associated_data(&keys.store, &root.id, key.kind());
    let mut argon2id = None;
    let wrapped = match key.secret() {
        Secret::Passphrase(text) => {
            let mut salt = vec![0; 16];
            kes_crypto::random(&mut salt)?;
            let slot_key = stretch(text, &salt, costs).await?;
            let Argon2Costs { memory_kib, passes, lanes } = costs;
            argon2id = Some(Argon2id { memory_kib, passes, lanes, salt });
            slot_key.seal(PURPOSE, &data, root.key.expose())?
        }
        Secret::Key(slot_key) => slot_key.seal(PURPOSE, &data, root.key.expose())?,
        Secret::Recovery(recovery) => recovery.seal_key().seal(PURPOSE, &data, root.key.expose())?,
        Secret::External(seal) => {
            let wrapped = seal.wrap(&label(&keys.store), &root.key).await;
            wrapped.map_err(|source| external(store, key, source))?
        }
    };
    Ok(Slot { id, kind: key.kind().to_owned(), label: label_, argon2id, wrapped })
}

/// The root key in a slot, if the key opens it.
///
/// # Errors
/// If a key held elsewhere cannot be asked.
async fn unwrap(table: &Table, slot: &Slot, key: &SealingKey) -> Result<Option<SealKey>, crate::Error> {
    if slot.kind != key.kind() {
        return Ok(None);
    }
    let data = associated_data(&table.store, &table.root, &slot.kind);
    let open = |slot_key: SealKey| {
        let root = slot_key.open(PURPOSE, &data, &slot.wrapped).ok()?;
        SealKey::from_bytes(root.expose()).ok()
    };
    Ok(match (key.secret(), &slot.argon2id) {
        (Secret::Passphrase(text), Some(argon2id)) => {
            stretch(text, &argon2id.salt, argon2id.costs()).await.ok().and_then(open)
        }
        (Secret::Passphrase(_), None) => None,
        (Secret::Key(slot_key), _) => SealKey::from_bytes(slot_key.expose()).ok().and_then(open),
        (Secret::Recovery(recovery), _) => open(recovery.seal_key()),
        (Secret::External(seal), _) => match seal.unwrap(&label(&table.store), &slot.wrapped).await {
            Ok(root) => Some(Root::new(root)).filter(|root| root.id == table.root).map(|root| root.key),
            Err(crate::Error::Damaged { .. }) => None,
            Err(error) => return Err(error),
        },
    })
}

/// Argon2id, off the runtime's own threads: it takes a fifth of a second and 64 MiB.
async fn stretch(passphrase: &[u8], salt: &[u8], costs: Argon2Costs) -> Result<SealKey, Error> {
    let (passphrase, salt) = (zeroize::Zeroizing::new(passphrase.to_vec()), salt.to_vec());
    let work = move || SealKey::from_passphrase(&passphrase, &salt, costs);
    let key = match tokio::task::spawn_blocking(work).await {
        Ok(key) => key,
        Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
        Err(_) => Err(kes_crypto::Error::Random),
    };
    key.map_err(|cause| Error::Crypto {
        problem: "Argon2id does not take these costs: at least 8 KiB of memory for each lane, one pass and one lane",
        source: Arc::new(cause),
    })
}
