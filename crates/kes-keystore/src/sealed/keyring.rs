//! The root keys of a store.

use kes_crypto::sealing::SealKey;

/// 16 bytes, written as 32 hex digits.
pub(super) type Id = [u8; 16];

/// A root key and its id, `HMAC-SHA256(root, "kes-seal root id" || 0x00)[..16]`. The id tells a wrong key from a right one.
pub(super) struct Root {
    pub(super) id: Id,
    pub(super) key: SealKey,
}

impl Root {
    pub(super) fn new(key: SealKey) -> Self {
        let id = key.mac("kes-seal root id", b"")[..16].try_into().expect("cut to length");
        Self { id, key }
    }

    pub(super) fn generate() -> Result<Self, kes_crypto::Error> {
        SealKey::generate().map(Self::new)
    }
}

/// What entries are sealed and opened with.
pub(super) struct Keyring {
    pub(super) store: Id,
    /// New entries are sealed under this one.
    pub(super) current: Root,
    /// Entries from before the last rotation are under these.
    pub(super) retired: Vec<Root>,
}

impl Keyring {
    pub(super) fn root(&self, id: &Id) -> Option<&Root> {
        std::iter::once(&self.current).chain(&self.retired).find(|root| root.id == *id)
    }
}

pub(super) fn random_id() -> Result<Id, kes_crypto::Error> {
    let mut id = Id::default();
    kes_crypto::random(&mut id)?;
    Ok(id)
}

pub(super) fn to_hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Id> {
    let mut id = Id::default();
    if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(id)
}
