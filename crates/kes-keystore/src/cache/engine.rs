//! Keys that are used where they are: calls of an [`Engine`], with the deadlines and the counting of all calls.

use std::future::Future;
use std::time::Duration;

use kes_crypto::{DataKey, Plaintext};

use super::Cache;
use crate::{Description, Engine, Error, KeyName, KeyStore, Operation};

/// The engine of a cache's store: see [`Cache::engine`].
#[derive(Clone, Debug)]
pub struct Remote(Cache);

impl Cache {
    /// How to use the keys, if they never leave the store; [`Cache::hit`] and [`Cache::get`] then have none.
    #[must_use]
    pub fn engine(&self) -> Option<Remote> {
        self.shared.calls.store.engine().map(|_| Remote(self.clone()))
    }
}

impl Remote {
    fn engine(&self) -> &dyn Engine {
        let store: &dyn KeyStore = &*self.0.shared.calls.store;
        store.engine().expect("a store has an engine always or never")
    }

    /// A use of a key: its deadline is that of a read.
    async fn used<T>(&self, operation: Operation, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let shared = &self.0.shared;
        let deadline = self.0.limit.min(shared.settings.read_deadline);
        shared.calls.measure(shared, operation, deadline, call).await
    }

    /// As [`Engine::create_key`]. Goes on when the caller goes away.
    ///
    /// # Errors
    /// As [`Engine::create_key`].
    pub async fn create(&self, name: &KeyName) -> Result<(), Error> {
        let limit: Duration = self.0.limit.min(self.0.shared.settings.write_deadline);
        let name = name.clone();
        let remote = self.clone();
        self.0
            .detached(Operation::Create, move |shared| async move {
                shared.calls.measure(&shared, Operation::Create, limit, remote.engine().create_key(&name)).await
            })
            .await
    }

    /// As [`Engine::describe_key`].
    ///
    /// # Errors
    /// As [`Engine::describe_key`].
    pub async fn describe(&self, name: &KeyName) -> Result<Description, Error> {
        self.used(Operation::Get, self.engine().describe_key(name)).await
    }

    /// As [`Engine::generate`].
    ///
    /// # Errors
    /// As [`Engine::generate`].
    pub async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, Error> {
        self.used(Operation::Generate, self.engine().generate(name, context)).await
    }

    /// As [`Engine::encrypt`].
    ///
    /// # Errors
    /// As [`Engine::encrypt`].
    pub async fn encrypt(&self, name: &KeyName, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        self.used(Operation::Encrypt, self.engine().encrypt(name, plaintext, context)).await
    }

    /// As [`Engine::decrypt`].
    ///
    /// # Errors
    /// As [`Engine::decrypt`].
    pub async fn decrypt(&self, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
        self.used(Operation::Decrypt, self.engine().decrypt(name, ciphertext, context)).await
    }

    /// As [`Engine::mac`].
    ///
    /// # Errors
    /// As [`Engine::mac`].
    pub async fn mac(&self, name: &KeyName, message: &[u8]) -> Result<[u8; 32], Error> {
        self.used(Operation::Mac, self.engine().mac(name, message)).await
    }
}
