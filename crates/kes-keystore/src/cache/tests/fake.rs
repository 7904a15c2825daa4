//! A store that does as it is told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::{Error, Kept, KeyName, KeyStore, Operation, Page, Promises, Status, Value, memory};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Well,
    /// Cannot be reached.
    Out,
    /// Never answers.
    Hang,
    /// Answers with an error of its own.
    Refuse,
    /// Reading panics.
    Panic,
}

/// How create lies about what it has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// It stores nothing.
    Nothing,
    /// It stores something else.
    Another,
}

#[derive(Default)]
pub(super) struct Fake {
    pub(super) inner: memory::Store,
    mode: Mutex<Mode>,
    lie: Mutex<Option<Lie>>,
    suspect: Mutex<bool>,
    delay: Mutex<Duration>,
    gate: Gate,
    gets: AtomicUsize,
    /// Reads that were given up.
    pub(super) given_up: AtomicUsize,
}

/// Open, unless closed.
struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(Semaphore::MAX_PERMITS))
    }
}

impl Fake {
    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Declares that create may lie, and lets it.
    pub(super) fn lie(&self, lie: Option<Lie>) {
        *self.suspect.lock().unwrap() = true;
        *self.lie.lock().unwrap() = lie;
    }

    pub(super) fn delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    /// Lets reads, creates and deletes that come from now on wait at the door.
    pub(super) fn close(&self) {
        self.gate.0.forget_permits(usize::MAX);
    }

    pub(super) fn open(&self) {
        self.gate.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Reads that have begun.
    pub(super) fn gets(&self) -> usize {
        self.gets.load(SeqCst)
    }

    async fn enter(&self, operation: Operation) -> Result<(), Error> {
        drop(self.gate.0.acquire().await.unwrap());
        let delay = *self.delay.lock().unwrap();
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Well => Ok(()),
            Mode::Out => Err(Error::Unreachable { store: self.describe(), remedy: "turn it on", source: None }),
            Mode::Hang => std::future::pending().await,
            Mode::Refuse => Err(Error::Failed { entry: self.describe(), operation, remedy: "ask again", source: None }),
            Mode::Panic => panic!("as told"),
        }
    }
}

struct GivenUp<'a>(Option<&'a AtomicUsize>);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, SeqCst);
        }
    }
}

#[async_trait]
impl KeyStore for Fake {
    fn describe(&self) -> String {
        "Fake".to_owned()
    }

    fn promises(&self) -> Promises {
        match *self.suspect.lock().unwrap() {
            true => Promises { honest_create: Kept::No("it lies"), ..Promises::ALL },
            false => Promises::ALL,
        }
    }

    async fn status(&self) -> Result<Status, Error> {
        self.enter(Operation::Status).await?;
        self.inner.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.enter(Operation::Create).await?;
        let lie = *self.lie.lock().unwrap();
        match lie {
            None => self.inner.create(name, value).await,
            Some(Lie::Nothing) => Ok(()),
            Some(Lie::Another) => self.inner.create(name, b"another").await,
        }
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        self.gets.fetch_add(1, SeqCst);
        let mut given_up = GivenUp(Some(&self.given_up));
        // What is read is what was there when reading began.
        let value = self.inner.get(name).await;
        let entered = self.enter(Operation::Get).await;
        given_up.0 = None;
        entered?;
        value
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
