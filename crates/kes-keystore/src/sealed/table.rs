//! The slot table: the one entry, `-kes-seal`, by which a sealed store is opened.
//!
//! ```text
//! "kes-seal:1:" base64(checksum) ":" base64(mac) ":" JSON
//! checksum: SHA-256(base64(mac) ":" JSON): anybody can tell a damaged table from a wrong key
//! mac:      SealKey::mac("kes-seal table", JSON) of the root key: nobody without a key can change the table
//! ```

use kes_crypto::base64;
use kes_crypto::sealing::{Argon2Costs, SealKey, digest};
use serde::{Deserialize, Serialize};

use super::Error;
use super::keyring::{Id, Keyring, Root, from_hex, to_hex};
use crate::{KeyName, KeyStore};

const PREFIX: &str = "kes-seal:1:";
const FAMILY: &str = "kes-seal:";
const MAC: &str = "kes-seal table";
const RETIRED: &str = "kes-seal retired root";

/// More would not fit into every store.
pub(super) const MAX_SLOTS: usize = 16;

/// What a try of a passphrase may cost at most: who can write to the store must not be able to exhaust our memory.
const MAX_COSTS: Argon2Costs = Argon2Costs { memory_kib: 4 << 20, passes: 100, lanes: 16 };

pub(super) fn name() -> KeyName {
    KeyName::reserved("-kes-seal")
}

/// Which entries the store takes and makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entries {
    /// All are sealed; others are refused.
    Sealed,
    /// New ones are sealed; those from before are served as they are.
    Mixed,
    /// New ones are not sealed any more; those that are are served.
    Unsealing,
}

impl Entries {
    /// The word in the table: `sealed`, `mixed`, `unsealing`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Mixed => "mixed",
            Self::Unsealing => "unsealing",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(with = "hex_id")]
    pub(super) store: Id,
    /// Counts the changes.
    pub(super) revision: u64,
    pub(super) entries: Entries,
    /// The id of the root key.
    #[serde(with = "hex_id")]
    pub(super) root: Id,
    pub(super) retired: Vec<Retired>,
    pub(super) slots: Vec<Slot>,
}

/// A root key of before, in a box under the current one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retired {
    #[serde(with = "hex_id")]
    root: Id,
    #[serde(with = "base64_bytes")]
    wrapped: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    pub(super) id: u32,
    pub(super) kind: String,
    pub(super) label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) argon2id: Option<Argon2id>,
    #[serde(with = "base64_bytes")]
    pub(super) wrapped: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Argon2id {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
    #[serde(with = "base64_bytes")]
    pub(super) salt: Vec<u8>,
}

impl Argon2id {
    pub(super) fn costs(&self) -> Argon2Costs {
        Argon2Costs { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes }
    }

    fn is_bearable(&self) -> bool {
        self.memory_kib <= MAX_COSTS.memory_kib && self.passes <= MAX_COSTS.passes && self.lanes <= MAX_COSTS.lanes
    }
}

/// What a table shows to who has no key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// The id of the store, 32 hex digits.
    pub store: String,
    /// Counts the changes of the table.
    pub revision: u64,
    /// Which entries the store takes.
    pub entries: Entries,
    /// The id of the root key, 32 hex digits.
    pub root: String,
    /// How many root keys of before are kept for entries that are still under them.
    pub retired: usize,
    /// The slots.
    pub slots: Vec<SlotInfo>,
}

/// A slot, as everybody may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotInfo {
    /// Its number.
    pub id: u32,
    /// What opens it: `passphrase`, `key`, `recovery`, or the kind of a key held elsewhere.
    pub kind: String,
    /// What the operator called it, or which key it is.
    pub label: String,
    /// What a try of a passphrase costs.
    pub costs: Option<Argon2Costs>,
}

impl TableInfo {
    /// The table of a store, without a key; `None` if the store is not sealed.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Store`].
    pub async fn read(store: &dyn KeyStore) -> Result<Option<Self>, Error> {
        Ok(read(store).await?.map(|stored| stored.table.info()))
    }
}

/// A table as it was read, not yet authenticated.
pub(super) struct Stored {
    pub(super) table: Table,
    /// The whole entry.
    pub(super) text: Vec<u8>,
    json: Vec<u8>,
    mac: Vec<u8>,
}

pub(super) async fn read(store: &dyn KeyStore) -> Result<Option<Stored>, Error> {
    match super::swap::get(store, &name()).await {
        Ok(value) => Stored::parse(value.expose()).map(Some).map_err(|problem| damaged(&store.describe(), problem)),
        Err(crate::Error::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn damaged(store: &str, problem: &'static str) -> Error {
    Error::Damaged { entry: format!("the slot table '{}' of {store}", name()), problem }
}

impl Stored {
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        const DAMAGED: &str = "its checksum does not fit";
        let Some(rest) = text.strip_prefix(PREFIX.as_bytes()) else {
            return Err(if text.starts_with(FAMILY.as_bytes()) { "it is of a later release" } else { DAMAGED });
        };
        let mut parts = rest.splitn(2, |byte| *byte == b':');
        let (checksum, rest) = parts.next().zip(parts.next()).ok_or(DAMAGED)?;
        if checksum != base64::encode(&digest(rest)).as_bytes() {
            return Err(DAMAGED);
        }
        let mut parts = rest.splitn(2, |byte| *byte == b':');
        let (mac, json) = parts.next().zip(parts.next()).ok_or(DAMAGED)?;
        let mac = base64::decode(mac).map_err(|_| DAMAGED)?;
        let table: Table = serde_json::from_slice(json).map_err(|_| "it is not written as this release writes it")?;
        if table.slots.is_empty() || table.slots.len() > MAX_SLOTS {
            return Err("it has no slots, or more than there can be");
        }
        if !table.slots.iter().filter_map(|slot| slot.argon2id.as_ref()).all(Argon2id::is_bearable) {
            return Err("a passphrase would cost more memory or time than there can be");
        }
        Ok(Self { table, text: text.to_vec(), json: json.to_vec(), mac })
    }

    /// The root keys, given the current one.
    pub(super) fn keyring(&self, root: SealKey) -> Result<Keyring, &'static str> {
        let current = Root::new(root);
        if current.id != self.table.root || !current.key.verify(MAC, &self.json, &self.mac) {
            return Err("somebody without a key of the store has changed it");
        }
        let store = self.table.store;
        let mut retired = Vec::new();
        for root in &self.table.retired {
            let key = current.key.open(RETIRED, &retired_data(&store, &root.root), &root.wrapped);
            let key = key.ok().and_then(|key| SealKey::from_bytes(key.expose()).ok());
            retired.push(Root::new(key.ok_or("a root key of before does not open")?));
        }
        Ok(Keyring { store, current, retired })
    }
}

impl Table {
    pub(super) fn info(&self) -> TableInfo {
        let slot = |slot: &Slot| SlotInfo {
            id: slot.id,
            kind: slot.kind.clone(),
            label: slot.label.clone(),
            costs: slot.argon2id.as_ref().map(Argon2id::costs),
        };
        TableInfo {
            store: to_hex(&self.store),
            revision: self.revision,
            entries: self.entries,
            root: to_hex(&self.root),
            retired: self.retired.len(),
            slots: self.slots.iter().map(slot).collect(),
        }
    }

    /// The entry for this table, whose root key is the current one of the ring.
    pub(super) fn encode(&self, keys: &Keyring) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a table is plain data");
        // Labels are the operator's words; outside of a string JSON is ASCII anyway, and some stores take nothing else.
        let json: String = json.chars().flat_map(escape).collect();
        let mac = base64::encode(&keys.current.key.mac(MAC, json.as_bytes()));
        let rest = format!("{mac}:{json}");
        format!("{PREFIX}{}:{rest}", base64::encode(&digest(rest.as_bytes()))).into_bytes()
    }

    /// Wraps the retired root keys of the ring anew under its current one.
    pub(super) fn retire(&mut self, keys: &Keyring) -> Result<(), kes_crypto::Error> {
        let wrap = |root: &Root| {
            let wrapped = keys.current.key.seal(RETIRED, &retired_data(&keys.store, &root.id), root.key.expose())?;
            Ok(Retired { root: root.id, wrapped })
        };
        self.retired = keys.retired.iter().map(wrap).collect::<Result<_, kes_crypto::Error>>()?;
        Ok(())
    }
}

fn retired_data(store: &Id, root: &Id) -> Vec<u8> {
    format!("{}:{}", to_hex(store), to_hex(root)).into_bytes()
}

/// A character of JSON text in ASCII.
fn escape(character: char) -> Vec<char> {
    if character.is_ascii() {
        return vec![character];
    }
    let mut units = [0; 2];
    character
        .encode_utf16(&mut units)
        .iter()
        .flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>())
        .collect()
}

mod hex_id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{Id, from_hex, to_hex};

    pub(super) fn serialize<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        from_hex(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("no id"))
    }
}

mod base64_bytes {
    use kes_crypto::base64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        base64::decode(String::deserialize(deserializer)?).map_err(|_| D::Error::custom("no base64"))
    }
}
