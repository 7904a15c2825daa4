//! A store in memory that can be told to hang, fail or panic.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kes_keystore::{Error, KeyName, KeyStore, Operation, Page, Promises, Status, Value, memory};
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
    inner: memory::Store,
    mood: Mutex<Mood>,
    gate: Semaphore,
    waiting: AtomicUsize,
    arrived: Notify,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self {
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
        self.inner.create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        self.enter(Operation::Get).await?;
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
}
