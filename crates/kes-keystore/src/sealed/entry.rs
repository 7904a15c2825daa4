//! The form of a sealed value: text, so that it fits into every store.
//!
//! ```text
//! "kes-sealed:1:" base64(header || box)
//! header: root id (16) || store id (16) || length of the name (1) || name
//! box:    SealKey::seal("kes-seal entry", "kes-sealed:1:" || header, value) under the root key of that id
//! ```
//!
//! The name stands in the header, so that an entry that was renamed can be told from a damaged one: it is authentic,
//! and it is another's.

use kes_crypto::base64;
use kes_crypto::sealing::{OVERHEAD, SALT_LEN};

use super::keyring::{Id, Keyring};
use crate::{KeyName, Value};

const PREFIX: &str = "kes-sealed:1:";
const FAMILY: &[u8] = b"kes-sealed:";
const PURPOSE: &str = "kes-seal entry";
const ID_LEN: usize = 16;
/// Where the name begins.
const NAME_AT: usize = 2 * ID_LEN + 1;

/// Why an entry does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Its form is of a later release.
    Newer,
    /// The store has no such root key.
    UnknownRoot,
    /// Not authentic.
    Damaged,
    /// Authentic, of another store.
    OtherStore,
    /// Authentic, of another key.
    OtherName(String),
}

impl Broken {
    pub(super) fn problem(&self) -> &'static str {
        match self {
            Self::Newer => "it is sealed in a form of a later release: use that release",
            Self::UnknownRoot => "it is sealed under a root key that this store does not have",
            Self::Damaged => "the sealed entry is damaged or was changed",
            Self::OtherStore => "it is sealed for another store",
            Self::OtherName(_) => "it is sealed for another name",
        }
    }
}

/// Whether a stored value is sealed, in whatever version of the form. No stored key of any release looks so.
pub(super) fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(FAMILY)
}

/// Whether a sealed value says that it is under this root key. Nothing is verified.
pub(super) fn claims_root(value: &[u8], root: &Id) -> bool {
    decode(value).is_ok_and(|bytes| bytes.starts_with(root))
}

/// Length of the longest value whose entry has at most `limit` bytes, for a name of any length.
pub(super) const fn max_value_len(limit: usize) -> usize {
    // What a journal puts before the entry counts as well.
    const AROUND: usize = 128;
    let bytes = limit.saturating_sub(AROUND + PREFIX.len()) / 4 * 3;
    bytes.saturating_sub(NAME_AT + KeyName::MAX_LEN + OVERHEAD)
}

pub(super) fn seal(keys: &Keyring, name: &KeyName, value: &[u8]) -> Result<Vec<u8>, kes_crypto::Error> {
    let root = &keys.current;
    let mut bytes = Vec::with_capacity(NAME_AT + name.as_str().len() + value.len() + OVERHEAD);
    bytes.extend_from_slice(&root.id);
    bytes.extend_from_slice(&keys.store);
    bytes.push(u8::try_from(name.as_str().len()).expect("a name has at most 80 bytes"));
    bytes.extend_from_slice(name.as_str().as_bytes());
    let sealed = root.key.seal(PURPOSE, &associated_data(&bytes), value)?;
    bytes.extend_from_slice(&sealed);
    let mut text = Vec::with_capacity(PREFIX.len() + base64::encoded_len(bytes.len()));
    text.extend_from_slice(PREFIX.as_bytes());
    base64::encode_into(&bytes, &mut text);
    Ok(text)
}

pub(super) fn open(keys: &Keyring, name: &KeyName, value: &[u8]) -> Result<Value, Broken> {
    let bytes = decode(value)?;
    let name_len = bytes.get(NAME_AT - 1).copied().map(usize::from).ok_or(Broken::Damaged)?;
    let (header, sealed) = bytes.split_at_checked(NAME_AT + name_len).ok_or(Broken::Damaged)?;
    if sealed.len() < SALT_LEN {
        return Err(Broken::Damaged);
    }
    let root: &Id = header[..ID_LEN].try_into().expect("cut to length");
    let root = keys.root(root).ok_or(Broken::UnknownRoot)?;
    let value = root.key.open(PURPOSE, &associated_data(header), sealed).map_err(|_| Broken::Damaged)?;
    if header[ID_LEN..2 * ID_LEN] != keys.store {
        return Err(Broken::OtherStore);
    }
    if header[NAME_AT..] != *name.as_str().as_bytes() {
        return Err(Broken::OtherName(String::from_utf8_lossy(&header[NAME_AT..]).into_owned()));
    }
    Ok(Value::new(value.expose().to_vec()))
}

fn decode(value: &[u8]) -> Result<Vec<u8>, Broken> {
    let text = value.strip_prefix(PREFIX.as_bytes()).ok_or(Broken::Newer)?;
    base64::decode(text).map_err(|_| Broken::Damaged)
}

fn associated_data(header: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), header].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sealed::keyring::Root;

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    fn keyring() -> Keyring {
        Keyring { store: [7; 16], current: Root::generate().unwrap(), retired: vec![] }
    }

    #[test]
    fn an_entry_belongs_to_its_name_store_and_root() {
        let keys = keyring();
        let entry = seal(&keys, &name("a"), b"value").unwrap();
        assert_eq!(open(&keys, &name("a"), &entry).unwrap().expose(), b"value");
        assert_eq!(open(&keys, &name("b"), &entry).unwrap_err(), Broken::OtherName("a".to_owned()));
        assert_eq!(open(&keyring(), &name("a"), &entry).unwrap_err(), Broken::UnknownRoot);
        let elsewhere = Keyring { store: [8; 16], ..keys };
        assert_eq!(open(&elsewhere, &name("a"), &entry).unwrap_err(), Broken::OtherStore);
    }

    #[test]
    fn an_entry_under_a_retired_root_opens() {
        let old = keyring();
        let entry = seal(&old, &name("a"), b"value").unwrap();
        let keys = Keyring { store: old.store, current: Root::generate().unwrap(), retired: vec![old.current] };
        assert_eq!(open(&keys, &name("a"), &entry).unwrap().expose(), b"value");
        assert!(claims_root(&entry, &keys.retired[0].id) && !claims_root(&entry, &keys.current.id));
    }

    #[test]
    fn no_bit_of_an_entry_can_be_changed() {
        let keys = keyring();
        let entry = seal(&keys, &name("key"), b"value").unwrap();
        let bytes = decode(&entry).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let text = format!("{PREFIX}{}", base64::encode(&changed));
                let broken = open(&keys, &name("key"), text.as_bytes()).unwrap_err();
                assert!(matches!(broken, Broken::Damaged | Broken::UnknownRoot), "byte {at}: {broken:?}");
            }
        }
        for len in PREFIX.len()..entry.len() {
            assert!(open(&keys, &name("key"), &entry[..len]).is_err(), "{len}");
        }
        assert_eq!(open(&keys, &name("key"), b"kes-sealed:2:AAAA").unwrap_err(), Broken::Newer);
    }

    #[test]
    fn the_longest_value_fits_exactly() {
        let keys = keyring();
        for limit in [1 << 20, 25 << 10, 64 << 10, 1001] {
            let longest = vec![0; max_value_len(limit)];
            let entry = seal(&keys, &name(&"k".repeat(80)), &longest).unwrap();
            assert!(entry.len() + 128 <= limit && entry.len() + 136 > limit, "{limit}: {}", entry.len());
        }
        assert_eq!(max_value_len(100), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let keys = keyring();
            prop_assert!(open(&keys, &name("key"), &bytes).is_err());
            let text = format!("{PREFIX}{}", base64::encode(&[&keys.current.id[..], &bytes].concat()));
            prop_assert!(open(&keys, &name("key"), text.as_bytes()).is_err());
        }
    }
}
