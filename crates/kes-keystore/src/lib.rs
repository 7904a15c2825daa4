//! Where keys live: the store trait, the memory and filesystem stores, the key cache, and the suite that every store
//! must pass.
//!
//! A key store maps names to opaque bytes, and that is all: five calls, no typed keys, no policies, no HTTP. What the
//! bytes mean is `kes-crypto`'s business; who may ask is decided before a store is asked. The typed keys stand in the
//! [`Cache`], which every reader goes through.
//!
//! ```
//! use std::sync::Arc;
//! use kes_keystore::{Cache, KeyName, KeyStore, cache, memory};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let store: Arc<dyn KeyStore> = Arc::new(memory::Store::default());
//! let name = KeyName::parse("my-key")?;
//! # let record = b"CiQKIPMUJEzwWCRQXzRUwiPd7a9ghDwsEX+77NuuPbA4NNBxEAESJAogz3f4my9xZxntTccrsNg/SThZnt00eCz8gpkHqcqpX6EQARoMCICByKwGEIDKte4B";
//! store.create(&name, record).await?;
//!
//! let keys = Cache::new(store, cache::Settings::default());
//! let key = keys.get(&name).await?; // one fetch, however many ask
//! let sealed = key.key().seal(b"secret", b"context")?;
//!
//! let key = keys.hit("my-key").expect("cached now"); // no await, no allocation
//! assert_eq!(key.key().open(&sealed, b"context")?.expose(), b"secret");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Why shaped so: the store is chosen at run time, hence a trait object and `async_trait`; everything stores have in
//! common (paging, deadlines, counting, reading back what was created) stands here once, in [`Page`] and [`Cache`], so
//! that a store is five short methods. What a store cannot promise it says in [`Promises`], with the reason, and the
//! suite then checks the weaker promise instead.

pub mod cache;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod engine;
mod error;
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
pub mod memory;
mod name;
mod page;
mod seal;
pub mod sealed;
pub mod static_store;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use cache::Cache;
pub use engine::{Description, Engine};
pub use error::{Cause, Error, ErrorKind, Operation};
pub use name::{InvalidKeyName, KeyName};
pub use page::{Listings, Page};
pub use seal::Seal;

/// Length of the longest value any store must take, in bytes. A key is some 200 bytes long.
pub const MAX_VALUE_LEN: usize = 1 << 20;

/// A place where keys live.
///
/// Implementations set no deadlines: whoever calls does, by dropping the future. A call that is dropped leaves the
/// store usable and, if it was a create, the complete value or none. Dropping the store ends its background work.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The store's kind and place in one line, as the start-up banner shows it: `Filesystem: ./keys`. No secrets.
    fn describe(&self) -> String;

    /// Which clauses of this contract the store keeps. Must always return the same.
    fn promises(&self) -> Promises {
        Promises::ALL
    }

    /// One cheap round trip that needs no access to keys.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if the store cannot be reached, else any error.
    async fn status(&self) -> Result<Status, Error>;

    /// Stores `value` under `name` if and only if there is nothing under that name; never overwrites. Of several who
    /// create the same name at once exactly one succeeds, and its value is what everyone reads.
    ///
    /// After success the value outlives a crash of the process or of its machine, as far as the store outlives one.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken, also by something that is no key; else any error. Unless the error is
    /// [`Error::Timeout`] or [`Error::Unreachable`], nothing has been stored.
    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error>;

    /// Exactly the bytes that were given to create.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Damaged`] if there is something else under that name; else any error.
    async fn get(&self, name: &KeyName) -> Result<Value, Error>;

    /// Removes the value for good.
    ///
    /// # Errors
    /// [`Error::NotFound`], unless the store [cannot tell](Promises::delete_tells_missing); else any error.
    async fn delete(&self, name: &KeyName) -> Result<(), Error>;

    /// Names that begin with `prefix` (empty: all), bytewise ascending, at or after `from` if that is given, at most
    /// `limit` of them. [`Page::next`] is the first name left out, and the `from` of the next call.
    ///
    /// Names that are not key names are left out: other things may live in the same place. No consistency is promised
    /// against concurrent changes, but a name that exists throughout is listed. [`Page::select`] does the work for a
    /// store that can only list everything.
    ///
    /// # Errors
    /// Any error. An empty store is not one.
    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error>;

    /// Changing values in place, if the store can. Ordinary service never does: [sealing](crate::sealed) does, when it
    /// re-seals what is there. Without it that takes a detour of several steps.
    fn in_place(&self) -> Option<&dyn InPlace> {
        None
    }

    /// What an operator should know when a server starts on this store, one sentence each.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many requests the service behind the store has answered that they were too many, since the store was opened.
    fn throttled(&self) -> u64 {
        0
    }

    /// Gives back what the store holds elsewhere, such as a login. Called once, when nobody asks it any more; what does not
    /// arrive must do no harm.
    async fn close(&self) {}

    /// What uses the keys, if they never leave the store. Then [`KeyStore::create`] and [`KeyStore::get`] are
    /// [`Error::Denied`], and everything else is as it is for other stores.
    fn engine(&self) -> Option<&dyn Engine> {
        None
    }
}

/// What some stores can do besides: see [`KeyStore::in_place`].
#[async_trait]
pub trait InPlace: Send + Sync {
    /// Replaces the value under `name` by `new` if it is `old`. Every reader sees one of both at any instant, also
    /// after a crash.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is nothing under that name any more; [`Error::Exists`] if there is another value, which
    /// is unchanged; else any error, after which either of both is there.
    async fn replace(&self, name: &KeyName, old: &[u8], new: &[u8]) -> Result<(), Error>;
}

/// What a store says of itself when it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How long the round trip took.
    pub latency: Duration,
}

/// Which clauses of the contract of [`KeyStore`] a store keeps.
///
/// ```
/// use kes_keystore::{Kept, Promises};
///
/// const PROMISES: Promises = Promises {
///     any_name: Kept::No("secret names have no underscore"),
///     ..Promises::ALL
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Create is atomic: of several at once one wins, and the others learn that they lost.
    pub atomic_create: Kept,
    /// Delete of a missing name is [`Error::NotFound`]; else it may be a success.
    pub delete_tells_missing: Kept,
    /// Every [`KeyName`] can be a name in the store, and names that differ in case differ.
    pub any_name: Kept,
    /// Values may be any bytes; else only text of ASCII characters, which is what keys are stored as.
    pub any_bytes: Kept,
    /// Values outlive the process.
    pub durable: Kept,
    /// A create that reports success has stored the value. If it may not have, the cache reads each new key back and
    /// compares before it reports success.
    pub honest_create: Kept,
    /// Length of the longest value in bytes.
    pub max_value_len: usize,
}

impl Promises {
    /// The whole contract.
    pub const ALL: Self = Self {
        atomic_create: Kept::Yes,
        delete_tells_missing: Kept::Yes,
        any_name: Kept::Yes,
        any_bytes: Kept::Yes,
        durable: Kept::Yes,
        honest_create: Kept::Yes,
        max_value_len: MAX_VALUE_LEN,
    };
}

/// Whether a promise is kept, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Yes,
    /// It cannot be kept, for this reason.
    No(&'static str),
}

impl Kept {
    /// Whether the promise is kept.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// A stored value: secret bytes, wiped on drop.
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes over bytes read from a store.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_does_not_show_its_bytes() {
        let value = Value::new(b"CiQKINUOF15HyXq3".to_vec());
        assert_eq!(format!("{value:?} {value:#?}"), "Value(16 bytes) Value(16 bytes)");
    }
}
