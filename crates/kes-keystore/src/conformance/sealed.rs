//! A sealed store is a store: the suite over the seal of any other.

use std::sync::Arc;

use async_trait::async_trait;
use kes_crypto::sealing::SealKey;

use super::Subject;
use crate::KeyStore;
use crate::sealed::{Argon2Costs, NewSlot, SealingKey, Store, Unlocked};

/// A subject under a seal, which passes the suite if the subject does:
///
/// ```
/// mod sealed {
///     use std::sync::Arc;
///     use kes_keystore::{KeyStore, conformance::{Sealed, Subject}, memory};
///
///     struct Memory(Arc<memory::Store>);
///
///     impl Subject for Memory {
///         fn store(&self) -> Arc<dyn KeyStore> {
///             self.0.clone()
///         }
///     }
///
///     async fn subject() -> Sealed<Memory> {
///         Sealed::over(Memory(Arc::default())).await
///     }
///
///     kes_keystore::conformance_tests!(subject);
/// }
/// ```
pub struct Sealed<S> {
    beneath: S,
    stores: [Arc<Store>; 2],
}

impl<S: Subject> Sealed<S> {
    /// Seals the store beneath by a key.
    ///
    /// # Panics
    /// If that fails.
    pub async fn over(beneath: S) -> Self {
        let key = || SealKey::from_bytes(&[0x6b; SealKey::LEN]).expect("the length of a key");
        Self::by(beneath, || SealingKey::key("the suite", key())).await
    }

    /// Seals the store beneath by what `key` makes each time.
    ///
    /// # Panics
    /// If that fails.
    pub async fn by(beneath: S, key: impl Fn() -> SealingKey) -> Self {
        // As little as Argon2 takes: the suite is not about passphrases.
        let costs = Argon2Costs { memory_kib: 8, passes: 1, lanes: 1 };
        let slot = NewSlot { costs, ..NewSlot::of(key()) };
        Unlocked::init(beneath.store(), vec![slot]).await.expect("an empty store can be sealed");
        let one = Store::open(beneath.store(), vec![key()]).await.expect("the store opens");
        let other = Store::open(beneath.neighbour(), vec![key()]).await.expect("the store opens next door");
        Self { beneath, stores: [Arc::new(one), Arc::new(other)] }
    }
}

impl<S> std::fmt::Debug for Sealed<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({:?})", self.stores[0])
    }
}

#[async_trait]
impl<S: Subject> Subject for Sealed<S> {
    fn store(&self) -> Arc<dyn KeyStore> {
        self.stores[0].clone()
    }

    fn neighbour(&self) -> Arc<dyn KeyStore> {
        self.stores[1].clone()
    }

    fn many(&self) -> usize {
        self.beneath.many()
    }

    async fn stop(&self) -> bool {
        self.beneath.stop().await
    }

    async fn start(&self) {
        self.beneath.start().await;
    }
}
