//! A whole store in one authenticated file.
//!
//! ```text
//! "kes-backup:1" LF
//! JSON: {"keys":<number>,"sealed":<whether the store was>,"source":<the store>,"time":<when>} LF
//! the slot table, as it lies in the store LF
//! <name> " " <sealed entry> LF                     for each key, in the order of the names
//! "mac:" base64(SealKey::mac("kes-seal backup", all of the above)) LF
//! ```
//!
//! The entries are under the root key of that table, and so is the MAC: whoever opens a slot of the store at the time of
//! the backup, the recovery key among them, opens the backup. A store that is not sealed has no table; its backup gets one of its
//! own, of which nothing else knows.
//!
//! A file is read and verified as a whole, every entry opened, before anything is written.

use std::sync::Arc;

use kes_crypto::base64;
use kes_crypto::sealing::SealKey;
use serde::{Deserialize, Serialize};

use super::keyring::{Keyring, Root, random_id};
use super::slots::{slot_of, unlock, wrap};
use super::survey::{Form, form, names};
use super::table::{self, Entries, MAX_SLOTS, Stored, Table, TableInfo};
use super::{Error, NewSlot, Progress, Report, SealingKey, Unlocked, entry, swap};
use crate::{KeyName, KeyStore, Value};

const MAGIC: &str = "kes-backup:1";
const MAC: &str = "kes-seal backup";
const MAC_LINE: &[u8] = b"mac:";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Header {
    /// How many keys are in it.
    pub keys: usize,
    /// Whether the store was sealed.
    pub sealed: bool,
    /// The store, as it describes itself.
    pub source: String,
    /// When it was made, as whoever made it says.
    pub time: String,
}

/// A backup that was opened and verified as a whole.
pub struct Backup {
    header: Header,
    table: Table,
    keys: Keyring,
    entries: Vec<(KeyName, Vec<u8>)>,
}

/// How a store and a backup compare, by names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// In the backup, not in the store.
    pub missing: Vec<KeyName>,
    /// The same in both.
    pub same: Vec<KeyName>,
    /// Another value in the store, or an unreadable one.
    pub different: Vec<KeyName>,
    /// In the store, not in the backup.
    pub newer: Vec<KeyName>,
}

/// Backs up a sealed store; `time` is now. Returns the file, and what was left out because it is no key or cannot be read.
///
/// # Errors
/// [`Error::Store`], [`Error::Crypto`].
pub async fn take(store: &Unlocked, time: &str) -> Result<(Vec<u8>, Report), Error> {
    let header = Header { keys: 0, sealed: true, source: store.inner.describe(), time: time.to_owned() };
    write(store.inner.as_ref(), header, &store.keys, &store.text).await
}

/// Backs up a store that is not sealed, in a file that these slots open.
///
/// # Errors
/// [`Error::AlreadySealed`] if it is; [`Error::TooManySlots`], also for none; [`Error::External`], [`Error::Store`],
/// [`Error::Crypto`].
pub async fn take_unsealed(store: &dyn KeyStore, slots: &[NewSlot], time: &str) -> Result<(Vec<u8>, Report), Error> {
    if slots.is_empty() || slots.len() > MAX_SLOTS {
        return Err(Error::TooManySlots(MAX_SLOTS));
    }
    if table::read(store).await?.is_some() {
        return Err(Error::AlreadySealed { store: store.describe() });
    }
    let keys = Keyring { store: random_id()?, current: Root::generate()?, retired: Vec::new() };
    let (root, entries) = (keys.current.id, Entries::Sealed);
    let mut table = Table { store: keys.store, revision: 1, entries, root, retired: Vec::new(), slots: Vec::new() };
    for (slot, id) in slots.iter().zip(1..) {
        table.slots.push(wrap(&store.describe(), &keys, id, slot.label(), &slot.key, slot.costs).await?);
    }
    let header = Header { keys: 0, sealed: false, source: store.describe(), time: time.to_owned() };
    write(store, header, &keys, &table.encode(&keys)).await
}

async fn write(
    store: &dyn KeyStore,
    mut header: Header,
    keys: &Keyring,
    table: &[u8],
) -> Result<(Vec<u8>, Report), Error> {
    let mut report = Report::default();
    let mut lines = Vec::new();
    for name in names(store).await? {
        match entry_of(store, keys, &name).await? {
            Some(Ok(entry)) => {
                lines.extend_from_slice(format!("{name} ").as_bytes());
                lines.extend_from_slice(&entry);
                lines.push(b'\n');
                report.changed += 1;
            }
            Some(Err(problem)) => report.left.push((name, problem)),
            None => {}
        }
    }
    header.keys = report.changed;
    let header = serde_json::to_string(&header).expect("a header is plain data");
    let mut file = format!("{MAGIC}\n{header}\n").into_bytes();
    file.extend_from_slice(table);
    file.push(b'\n');
    file.append(&mut lines);
    let mac = base64::encode(&keys.current.key.mac(MAC, &file));
    file.extend_from_slice(MAC_LINE);
    file.extend_from_slice(mac.as_bytes());
    file.push(b'\n');
    Ok((file, report))
}

/// The entry for the file, or why there is none; `None` if the key was deleted meanwhile.
async fn entry_of(
    store: &dyn KeyStore,
    keys: &Keyring,
    name: &KeyName,
) -> Result<Option<Result<Vec<u8>, String>>, Error> {
    let value = match swap::get(store, name).await {
        Ok(value) => value,
        Err(crate::Error::NotFound) => return Ok(None),
        Err(error @ crate::Error::Damaged { .. }) => return Ok(Some(Err(error.to_string()))),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(match form(Some(keys), name, &value) {
        Form::Sealed => Ok(value.expose().to_vec()),
        Form::Plain => Ok(entry::seal(keys, name, value.expose())?),
        Form::Retired => match entry::open(keys, name, value.expose()) {
            Ok(value) => Ok(entry::seal(keys, name, value.expose())?),
            Err(broken) => Err(broken.problem().to_owned()),
        },
        Form::NoKey => Err("it is no key".to_owned()),
        Form::Unreadable(problem) => Err(problem),
    }))
}

impl Backup {
    /// Opens a file by any of these keys and verifies all of it: that it is whole, that nobody has changed it, and that
    /// every key in it opens.
    ///
    /// # Errors
    /// [`Error::Backup`]; [`Error::WrongKey`], [`Error::External`].
    pub async fn open(file: &[u8], keys: &[SealingKey]) -> Result<Self, Error> {
        let content = Content::of(file)?;
        let source = format!("the backup of {}", content.header.source);
        let (keyring, _) = unlock(&source, &content.stored, keys).await.map_err(|error| match error {
            Error::Damaged { problem, .. } => Error::Backup(format!("its slot table: {problem}")),
            error => error,
        })?;
        content.verified(keyring)
    }

    /// Opens a backup by the store itself, if its root key is still that of the backup, whatever has become of the slots:
    /// a passphrase that was changed since does not matter then.
    ///
    /// # Errors
    /// [`Error::Backup`]; [`Error::WrongKey`] if the store has not that root key.
    pub fn open_by(file: &[u8], store: &Unlocked) -> Result<Self, Error> {
        let content = Content::of(file)?;
        let root = store.keys.root(&content.stored.table.root);
        let root =
            root.and_then(|root| SealKey::from_bytes(root.key.expose()).ok()).ok_or_else(|| Error::WrongKey {
                store: format!("the backup of {}", content.header.source),
                tried: format!("the root key of {}", store.inner.describe()),
            })?;
        let keyring = content.stored.keyring(root);
        content.verified(keyring.map_err(|problem| Error::Backup(format!("its slot table: {problem}")))?)
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The slots that open it.
    #[must_use]
    pub fn table(&self) -> TableInfo {
        self.table.info()
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &KeyName> {
        self.entries.iter().map(|(name, _)| name)
    }

    /// Holds it against a store. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn compare(&self, store: &dyn KeyStore) -> Result<Comparison, Error> {
        let mut comparison = Comparison::default();
        for (name, entry) in &self.entries {
            let list = match store.get(name).await {
                Ok(value) if value.expose() == self.value(name, entry)?.expose() => &mut comparison.same,
                Ok(_) | Err(crate::Error::Damaged { .. }) => &mut comparison.different,
                Err(crate::Error::NotFound) => &mut comparison.missing,
                Err(error) => return Err(error.into()),
            };
            list.push(name.clone());
        }
        let ours = |name: &KeyName| self.entries.binary_search_by(|(ours, _)| ours.cmp(name)).is_ok();
        comparison.newer = names(store).await?.into_iter().filter(|name| !ours(name)).collect();
        Ok(comparison)
    }

    /// Creates the keys that the store does not have, and reads each back. What is there already stays.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the store has another key under a name of the backup: then nothing was written.
    /// [`Error::Entry`], [`Error::Store`]: the keys before that are there, and another call goes on.
    pub async fn restore(&self, store: &dyn KeyStore, progress: &mut Progress<'_>) -> Result<Report, Error> {
        let comparison = self.compare(store).await?;
        if let Some(first) = comparison.different.first() {
            return Err(Error::Conflict { count: comparison.different.len(), first: first.to_string() });
        }
        let mut report = Report { unchanged: comparison.same.len(), ..Report::default() };
        for (name, entry) in &self.entries {
            if comparison.missing.binary_search(name).is_err() {
                continue;
            }
            let value = self.value(name, entry)?;
            match store.create(name, value.expose()).await {
                // Somebody else has created it meanwhile; the comparison tells.
                Ok(()) | Err(crate::Error::Exists) => {}
                Err(error) => return Err(error.into()),
            }
            if store.get(name).await?.expose() != value.expose() {
                let problem = "the store does not return what was written".to_owned();
                return Err(Error::Entry { name: name.to_string(), problem });
            }
            progress(name);
            report.changed += 1;
        }
        Ok(report)
    }

    /// Gives an empty store that is not sealed the slots and the root key of the backup, and a slot for each of the keys
    /// that opens none of them: the store then opens as the one that was lost did.
    ///
    /// # Errors
    /// [`Error::AlreadySealed`], [`Error::TooManySlots`], [`Error::External`], [`Error::Store`].
    pub async fn adopt(&self, store: &Arc<dyn KeyStore>, keys: &[SealingKey]) -> Result<(), Error> {
        let mut table = Table { entries: Entries::Sealed, retired: Vec::new(), ..self.table.clone() };
        table.revision += 1;
        if table::read(store.as_ref()).await?.is_some() {
            return Err(Error::AlreadySealed { store: store.describe() });
        }
        for key in keys {
            if slot_of(&store.describe(), &table, key).await?.is_none() {
                if table.slots.len() >= MAX_SLOTS {
                    return Err(Error::TooManySlots(MAX_SLOTS));
                }
                let id = table.slots.iter().map(|slot| slot.id).max().unwrap_or(0) + 1;
                let label = key.source().to_owned();
                table
                    .slots
                    .push(wrap(&store.describe(), &self.keys, id, label, key, super::Argon2Costs::DEFAULT).await?);
            }
        }
        match store.create(&table::name(), &table.encode(&self.keys)).await {
            Ok(()) => Ok(()),
            Err(crate::Error::Exists) => Err(Error::AlreadySealed { store: store.describe() }),
            Err(error) => Err(error.into()),
        }
    }

    fn value(&self, name: &KeyName, entry: &[u8]) -> Result<Value, Error> {
        let opened = entry::open(&self.keys, name, entry);
        opened.map_err(|broken| Error::Backup(format!("the key '{name}' in it: {}", broken.problem())))
    }
}

impl Comparison {
    /// With a store that has no keys.
    #[must_use]
    pub fn of_nothing(backup: &Backup) -> Self {
        Self { missing: backup.names().cloned().collect(), ..Self::default() }
    }
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backup({} keys of {})", self.entries.len(), self.header.source)
    }
}

/// What stands in a file, not yet verified.
struct Content<'f> {
    header: Header,
    stored: Stored,
    /// The lines of the keys.
    lines: Vec<&'f [u8]>,
    /// What the MAC is of.
    covered: &'f [u8],
    mac: Vec<u8>,
}

impl<'f> Content<'f> {
    fn of(file: &'f [u8]) -> Result<Self, Error> {
        let lines = file.strip_suffix(b"\n").ok_or_else(|| refuse("it is not whole: its end is missing"))?;
        let last = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (covered, mac) = file.split_at(last);
        // As it is written: base64 has bits to spare, and nothing in a backup may be changed.
        let text = mac.strip_prefix(MAC_LINE).and_then(|mac| mac.strip_suffix(b"\n"));
        let mac = text.and_then(|text| base64::decode(text).ok().filter(|mac| base64::encode(mac).as_bytes() == text));
        let mut lines = covered.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]);
        match lines.next() {
            Some(line) if line == MAGIC.as_bytes() => {}
            Some(line) if line.starts_with(b"kes-backup:") => return Err(refuse("it is of a later release")),
            _ => return Err(refuse("it is no backup of kes")),
        }
        let mac = mac.ok_or_else(|| refuse("it is not whole: its end is missing"))?;
        let header = lines.next().and_then(|line| serde_json::from_slice::<Header>(line).ok());
        let header = header.ok_or_else(|| refuse("its second line is damaged"))?;
        let stored = lines.next().ok_or_else(|| refuse("it has no slot table"))?;
        let stored = Stored::parse(stored).map_err(|problem| Error::Backup(format!("its slot table: {problem}")))?;
        Ok(Self { header, stored, lines: lines.collect(), covered, mac })
    }

    /// The backup, if nobody has changed it and every key in it opens.
    fn verified(self, keys: Keyring) -> Result<Backup, Error> {
        if !keys.current.key.verify(MAC, self.covered, &self.mac) {
            return Err(refuse("it was changed, or is not whole"));
        }
        let entries = self.lines.into_iter().map(parse_line).collect::<Option<Vec<_>>>();
        let entries = entries.filter(|entries| entries.len() == self.header.keys);
        let entries = entries.ok_or_else(|| refuse("it does not hold the keys that it says"))?;
        let backup = Backup { header: self.header, table: self.stored.table, keys, entries };
        for (name, entry) in &backup.entries {
            backup.value(name, entry)?;
        }
        Ok(backup)
    }
}

fn refuse(problem: &str) -> Error {
    Error::Backup(problem.to_owned())
}

fn parse_line(line: &[u8]) -> Option<(KeyName, Vec<u8>)> {
    let (name, entry) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    Some((KeyName::parse(name).ok()?, entry.as_bytes().to_vec()))
}
