//! What can go wrong with the seal of a store.

use crate::Cause;

/// What can go wrong when a sealed store is opened or its seal is changed. After an error nothing was changed, unless
/// the variant says otherwise. Compare by variant; the text is one sentence for the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store has no slot table: it is not sealed.
    #[error("{store} is not sealed")]
    NotSealed {
        /// The store, as it describes itself.
        store: String,
    },

    /// The store has a slot table already.
    #[error("{store} is sealed already")]
    AlreadySealed {
        /// The store, as it describes itself.
        store: String,
    },

    /// The keys of the store never leave it: there is no value that could be sealed.
    #[error("there is nothing to seal: the keys of {store} never leave it")]
    NothingToSeal {
        /// The store, as it describes itself.
        store: String,
    },

    /// None of the sealing keys opens a slot. The operator's fault.
    #[error("{store} is sealed under another key: no slot opens with {tried}")]
    WrongKey {
        /// The store, as it describes itself.
        store: String,
        /// The sources of the keys that were tried.
        tried: String,
    },

    /// A key held elsewhere could not be asked, and no other key opens a slot.
    #[error("{store} cannot be opened: {seal} does not unwrap its key")]
    External {
        /// The store, as it describes itself.
        store: String,
        /// The key held elsewhere.
        seal: String,
        /// What it answered.
        #[source]
        source: crate::Error,
    },

    /// The slot table is not what was written: damaged, or changed by somebody without the key. The key may be right.
    #[error("{entry} is damaged: {problem}; restore it from a backup, and do not delete it")]
    Damaged {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// There are sealed entries and no slot table. The key to them is gone with it.
    #[error("{store} has sealed keys but no entry '-kes-seal' any more: restore that from a backup")]
    TableMissing {
        /// The store, as it describes itself.
        store: String,
    },

    /// The configuration names another store than this one.
    #[error("{store} is not the sealed store {expected} that was expected: {found}")]
    OtherStore {
        /// The store, as it describes itself.
        store: String,
        /// The id that was expected.
        expected: String,
        /// What there is instead.
        found: String,
    },

    /// There is no such slot.
    #[error("there is no slot {0}")]
    NoSlot(u32),

    /// The slot is the only one: without it nothing opens the store any more.
    #[error("slot {0} is the last one: without it nothing opens the store any more")]
    LastSlot(u32),

    /// The key opens a slot already.
    #[error("slot {0} opens with that key already")]
    SameKey(u32),

    /// There is no room for another slot.
    #[error("a store has at most {0} slots")]
    TooManySlots(usize),

    /// The new root key cannot be wrapped for slots whose sealing keys are not at hand.
    #[error("the sealing keys of some slots are not at hand: {slots}")]
    MissingKeys {
        /// The slots, with their labels.
        slots: String,
    },

    /// Somebody else has changed the slot table meanwhile, or is about to.
    #[error("the slots of {store} were changed by somebody else at the same time: look at them, then try again")]
    Changed {
        /// The store, as it describes itself.
        store: String,
    },

    /// Some keys are not sealed under the current root key yet.
    #[error("there are keys that are not sealed yet: {count}, '{first}' among them")]
    Unfinished {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },

    /// An entry cannot be read, or is not what its copy says. What was done before it stays done.
    #[error("'{name}' was left as it was: {problem}")]
    Entry {
        /// The key.
        name: String,
        /// What is wrong.
        problem: String,
    },

    /// The file is no backup, not a whole one, or was changed. Nothing was written.
    #[error("the backup cannot be used: {0}")]
    Backup(String),

    /// The store has other keys under names of the backup. Nothing was written.
    #[error("the store has other keys under names of the backup: {count}, '{first}' among them; none is overwritten")]
    Conflict {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },

    /// Not even our own cryptography works: the system's random generator fails, or a cost is none that Argon2 knows.
    #[error("{problem}")]
    Crypto {
        /// What fails.
        problem: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },

    /// The store beneath failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

impl From<kes_crypto::Error> for Error {
    fn from(cause: kes_crypto::Error) -> Self {
        Self::Crypto { problem: "the operating system's random generator fails", source: std::sync::Arc::new(cause) }
    }
}
