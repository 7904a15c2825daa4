//! A store in memory that can be told to hang, fail or panic.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kes_crypto::{DataKey, KeyType, KeyVersion, Plaintext};
use kes_keystore::{Description, Engine, Error, KeyName, KeyStore, Operation, Page, Promises, Status, Value, memory};
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore};

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Each call waits until it is let go.
    Held,
    Unreachable,
    /// Reached, and failing.
    Broken,
    Panicking,
}

pub(crate) struct Scripted {
    /// Its keys never leave it.
    is_engine: bool,
    inner: memory::Store,
    mood: Mutex<Mood>,
    gate: Semaphore,
    waiting: AtomicUsize,
    arrived: Notify,
}

impl Scripted {
    pub(crate) fn new(is_engine: bool) -> Self {
        Self {
            is_engine,
            inner: memory::Store::default(),
            mood: Mutex::new(Mood::Well),
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Lets calls go that are held, and later ones too.
    pub(crate) fn release(&self) {
        self.set(Mood::Well);
        self.gate.add_permits(10_000);
    }

    /// Waits until so many calls are held.
    pub(crate) async fn holds(&self, calls: usize) {
        super::soon("a call that is held", async {
            loop {
                let arrived = self.arrived.notified();
                if self.waiting.load(Ordering::SeqCst) >= calls {
                    return;
                }
                arrived.await;
            }
        })
        .await;
    }

    /// Whether the store has a key, whatever its mood.
    pub(crate) async fn has(&self, name: &str) -> bool {
        self.inner.get(&KeyName::parse(name).unwrap()).await.is_ok()
    }

    fn denied(&self, operation: Operation) -> Error {
        Error::Denied { store: self.describe(), operation, remedy: "its keys never leave it" }
    }

    async fn key(&self, name: &KeyName) -> Result<KeyVersion, Error> {
        Ok(KeyVersion::parse(self.inner.get(name).await?.expose()).unwrap())
    }

    async fn enter(&self, operation: Operation) -> Result<(), Error> {
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        match mood {
            Mood::Well => Ok(()),
            Mood::Held => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.arrived.notify_waiters();
                self.gate.acquire().await.unwrap().forget();
                Ok(())
            }
            Mood::Unreachable => Err(Error::Unreachable { store: self.describe(), remedy: "plug it in", source: None }),
            Mood::Broken => Err(Error::Failed {
                entry: self.describe(),
                operation,
                remedy: "look at the disk that is on fire",
                source: None,
            }),
            Mood::Panicking => panic!("the store has a bug"),
        }
    }
}

#[async_trait]
impl KeyStore for Scripted {
    fn describe(&self) -> String {
        "Scripted".to_owned()
    }

    fn promises(&self) -> Promises {
        self.inner.promises()
    }

    async fn status(&self) -> Result<Status, Error> {
        self.enter(Operation::Status).await?;
        Ok(Status { latency: Duration::from_millis(1) })
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.enter(Operation::Create).await?;
        if self.is_engine {
            return Err(self.denied(Operation::Create));
        }
        self.inner.create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        self.enter(Operation::Get).await?;
        if self.is_engine {
            return Err(self.denied(Operation::Get));
        }
        self.inner.get(name).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.enter(Operation::Delete).await?;
        self.inner.delete(name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.enter(Operation::List).await?;
        self.inner.list(prefix, from, limit).await
    }

    fn engine(&self) -> Option<&dyn Engine> {
        self.is_engine.then_some(self)
    }
}

#[async_trait]
impl Engine for Scripted {
    async fn create_key(&self, name: &KeyName) -> Result<(), Error> {
        self.enter(Operation::Create).await?;
        let key = KeyVersion::generate(KeyType::Aes256, OffsetDateTime::UNIX_EPOCH, "").unwrap();
        self.inner.create(name, key.encode().unwrap().expose()).await
    }

    async fn describe_key(&self, name: &KeyName) -> Result<Description, Error> {
        self.enter(Operation::Get).await?;
        self.key(name).await?;
        Ok(Description { algorithm: "AES256", created_at: OffsetDateTime::UNIX_EPOCH })
    }

    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, Error> {
        self.enter(Operation::Generate).await?;
        Ok(self.key(name).await?.key().generate_data_key(context).unwrap())
    }

    async fn encrypt(&self, name: &KeyName, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        self.enter(Operation::Encrypt).await?;
        Ok(self.key(name).await?.key().seal(plaintext, context).unwrap())
    }

    async fn decrypt(&self, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
        self.enter(Operation::Decrypt).await?;
        self.key(name).await?.key().open(ciphertext, context).map_err(|_| Error::NotAuthentic)
    }

    async fn mac(&self, name: &KeyName, message: &[u8]) -> Result<[u8; 32], Error> {
        self.enter(Operation::Mac).await?;
        Ok(self.key(name).await?.hmac_key().unwrap().mac(message))
    }
}
