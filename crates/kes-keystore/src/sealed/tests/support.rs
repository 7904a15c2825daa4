//! Stores and keys for the tests of sealing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kes_crypto::sealing::{Argon2Costs, SealKey};
use kes_crypto::{KeyType, KeyVersion};
use time::macros::datetime;

use crate::sealed::{NewSlot, RecoveryKey, SealingKey, Store, Unlocked};
use crate::{Error, Kept, KeyName, KeyStore, Operation, Page, Promises, Seal, Status, Value, memory};

/// As little as Argon2 takes: the tests are about slots, not about its costs.
pub(super) const CHEAP: Argon2Costs = Argon2Costs { memory_kib: 8, passes: 1, lanes: 1 };

pub(super) fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

/// A stored key, different for each call.
pub(super) fn record() -> Vec<u8> {
    let key = KeyVersion::generate(KeyType::Aes256, datetime!(2026-01-02 03:04:05 UTC), "").unwrap();
    key.encode().unwrap().expose().to_vec()
}

pub(super) fn passphrase(text: &str) -> SealingKey {
    SealingKey::passphrase(format!("passphrase of {text}"), text.as_bytes()).unwrap()
}

pub(super) fn key(byte: u8) -> SealingKey {
    SealingKey::key(format!("key {byte}"), SealKey::from_bytes(&[byte; 32]).unwrap())
}

pub(super) fn slot(key: SealingKey) -> NewSlot {
    NewSlot { costs: CHEAP, ..NewSlot::of(key) }
}

pub(super) fn memory() -> Arc<dyn KeyStore> {
    Arc::new(memory::Store::default())
}

pub(super) async fn unlock(store: &Arc<dyn KeyStore>, key: SealingKey) -> Unlocked {
    Unlocked::open(Arc::clone(store), &[key]).await.unwrap()
}

pub(super) async fn open(store: &Arc<dyn KeyStore>, key: SealingKey) -> Store {
    Store::open(Arc::clone(store), vec![key]).await.unwrap()
}

pub(super) async fn read(store: &dyn KeyStore, key: &str) -> Vec<u8> {
    store.get(&name(key)).await.unwrap().expose().to_vec()
}

pub(super) async fn listed(store: &dyn KeyStore) -> Vec<String> {
    store.list("", None, 1000).await.unwrap().names.iter().map(ToString::to_string).collect()
}

/// The same key as often as it is needed: sealing keys cannot be cloned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Passphrase,
    Key,
    Recovery,
    External,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Passphrase, Self::Key, Self::Recovery, Self::External];

    pub(super) fn key(self) -> SealingKey {
        match self {
            Self::Passphrase => passphrase("correct horse battery staple"),
            Self::Key => key(7),
            Self::Recovery => SealingKey::recovery("paper", paper()),
            Self::External => SealingKey::external("config", Arc::new(Token::new(9))),
        }
    }
}

pub(super) fn paper() -> RecoveryKey {
    RecoveryKey::parse("000G4-0R40M-30E20-9185G-R38E1-W8124-GKF20-6830E").unwrap()
}

/// A key held elsewhere, which can be switched off.
pub(super) struct Token {
    key: SealKey,
    gone: AtomicBool,
}

impl Token {
    pub(super) fn new(byte: u8) -> Self {
        Self { key: SealKey::from_bytes(&[byte; 32]).unwrap(), gone: AtomicBool::new(false) }
    }

    pub(super) fn go(&self) {
        self.gone.store(true, SeqCst);
    }

    fn there(&self) -> Result<(), Error> {
        if self.gone.load(SeqCst) {
            return Err(Error::Unreachable { store: self.describe(), remedy: "plug it in", source: None });
        }
        Ok(())
    }
}

#[async_trait]
impl Seal for Token {
    fn kind(&self) -> &'static str {
        "token"
    }

    fn describe(&self) -> String {
        "Token: slot 0".to_owned()
    }

    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error> {
        self.there()?;
        Ok(self.key.seal("token", label.as_bytes(), root.expose()).unwrap())
    }

    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error> {
        self.there()?;
        let damaged = |_| Error::Damaged { entry: self.describe(), problem: "not wrapped by this key", source: None };
        let root = self.key.open("token", label.as_bytes(), wrapped).map_err(damaged)?;
        Ok(SealKey::from_bytes(root.expose()).unwrap())
    }
}

/// What happens at a call that changes or reads the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails, and nothing has happened.
    Before,
    /// It fails, and has happened all the same: the answer was lost.
    After,
    /// The process is killed before it: nothing comes through from here on.
    Killed,
    /// The process is killed right after it.
    KilledAfter,
}

/// A store as clouds have it: values cannot be changed in place, and are ASCII of at most 64 KiB. It can fail at any call.
#[derive(Clone)]
pub(super) struct Cloud {
    values: Arc<memory::Store>,
    calls: Arc<AtomicUsize>,
    fault: Arc<Mutex<Option<(usize, Fault)>>>,
    keeps_names: Arc<AtomicBool>,
    pub(super) closes: Arc<AtomicUsize>,
}

impl Cloud {
    pub(super) fn new() -> Self {
        Self {
            values: Arc::default(),
            calls: Arc::default(),
            fault: Arc::default(),
            keeps_names: Arc::default(),
            closes: Arc::default(),
        }
    }

    /// From now on, what is deleted is kept, and with it the name: a vault with purge protection.
    pub(super) fn keep_names(&self) {
        self.keeps_names.store(true, SeqCst);
    }

    /// From now on, the call of this number has that fault.
    pub(super) fn fail(&self, at: usize, fault: Fault) {
        self.calls.store(0, SeqCst);
        *self.fault.lock().unwrap() = Some((at, fault));
    }

    pub(super) fn heal(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// How many calls there were since the fault was planned.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// What becomes of the next call.
    fn next(&self) -> Option<Fault> {
        let number = self.calls.fetch_add(1, SeqCst);
        match *self.fault.lock().unwrap() {
            Some((at, fault @ (Fault::Killed | Fault::KilledAfter))) if number > at => {
                Some(if fault == Fault::Killed { Fault::Before } else { Fault::Killed })
            }
            Some((at, fault)) if number == at => Some(fault),
            _ => None,
        }
    }

    async fn call<T>(&self, operation: Operation, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let failed = || Error::Failed { entry: "cloud".to_owned(), operation, remedy: "wait", source: None };
        match self.next() {
            None => call.await,
            Some(Fault::Before | Fault::Killed) => Err(failed()),
            Some(Fault::After | Fault::KilledAfter) => {
                call.await?;
                Err(failed())
            }
        }
    }
}

#[async_trait]
impl KeyStore for Cloud {
    fn describe(&self) -> String {
        "Cloud".to_owned()
    }

    fn promises(&self) -> Promises {
        let any_bytes = Kept::No("text only");
        Promises { any_bytes, max_value_len: 64 << 10, ..self.values.promises() }
    }

    async fn close(&self) {
        self.closes.fetch_add(1, SeqCst);
    }

    async fn status(&self) -> Result<Status, Error> {
        self.values.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        assert!(value.iter().all(|byte| (0x20..0x7f).contains(byte)), "only text fits into every store");
        assert!(value.len() <= 64 << 10, "{} bytes", value.len());
        assert!(name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        self.call(Operation::Create, self.values.create(name, value)).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        self.call(Operation::Get, self.values.get(name)).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        if self.keeps_names.load(SeqCst) {
            let (entry, remedy) = (name.to_string(), "the name is not free before the retention period is over");
            // Nobody reads it any more, and nobody can make it again.
            let kept = KeyName::parse(&format!("kept{}", name.as_str().replace('-', "_"))).unwrap();
            self.values.create(&kept, self.values.get(name).await?.expose()).await?;
            self.values.delete(name).await?;
            return Err(Error::Failed { entry, operation: Operation::Delete, remedy, source: None });
        }
        self.call(Operation::Delete, self.values.delete(name)).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.call(Operation::List, self.values.list(prefix, from, limit)).await
    }
}
