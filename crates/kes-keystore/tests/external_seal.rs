//! A sealing key held elsewhere, and a store that is, written against the public traits alone, as a crate for another
//! cloud or for PKCS#11 would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use kes_crypto::sealing::SealKey;
use kes_crypto::{DataKey, Plaintext};
use kes_keystore::sealed::{Error as SealError, NewSlot, SealingKey, Store, TableInfo, Unlocked};
use kes_keystore::{Description, Engine, Error, KeyName, KeyStore, Page, Seal, Status, Value, fs, memory};

/// A machine with some keys, of which each has a number; what it wraps begins with that number.
struct Machine {
    is_off: AtomicBool,
    calls: AtomicUsize,
    closed: AtomicUsize,
}

impl Machine {
    fn new() -> Arc<Self> {
        Arc::new(Self { is_off: AtomicBool::new(false), calls: AtomicUsize::new(0), closed: AtomicUsize::new(0) })
    }

    fn key(self: &Arc<Self>, number: u8) -> Arc<MachineKey> {
        Arc::new(MachineKey { machine: Arc::clone(self), number })
    }

    fn sealing_key(self: &Arc<Self>, number: u8) -> SealingKey {
        SealingKey::external("keystore.seal.machine", self.key(number))
    }
}

struct MachineKey {
    machine: Arc<Machine>,
    number: u8,
}

impl MachineKey {
    fn held(&self) -> Result<SealKey, Error> {
        self.machine.calls.fetch_add(1, SeqCst);
        if self.machine.is_off.load(SeqCst) {
            return Err(Error::Unreachable { store: self.describe(), remedy: "switch it on", source: None });
        }
        Ok(SealKey::from_bytes(&[self.number; 32]).unwrap())
    }
}

#[async_trait]
impl Seal for MachineKey {
    fn kind(&self) -> &'static str {
        "machine"
    }

    fn describe(&self) -> String {
        format!("Machine: key {}", self.number)
    }

    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error> {
        let wrapped = self.held()?.seal("machine", label.as_bytes(), root.expose()).unwrap();
        Ok([&[self.number][..], &wrapped].concat())
    }

    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error> {
        let damaged = || Error::Damaged { entry: self.describe(), problem: "wrapped by another key", source: None };
        let key = self.held()?;
        let wrapped = wrapped.strip_prefix(&[self.number]).ok_or_else(damaged)?;
        let root = key.open("machine", label.as_bytes(), wrapped).map_err(|_| damaged())?;
        Ok(SealKey::from_bytes(root.expose()).unwrap())
    }

    async fn close(&self) {
        self.machine.closed.fetch_add(1, SeqCst);
    }
}

fn passphrase() -> SealingKey {
    SealingKey::key("spare", SealKey::from_bytes(&[200; 32]).unwrap())
}

async fn sealed_by(keys: Vec<SealingKey>) -> Arc<dyn KeyStore> {
    let store: Arc<dyn KeyStore> = Arc::new(memory::Store::default());
    Unlocked::init(store.clone(), keys.into_iter().map(NewSlot::of).collect()).await.unwrap();
    store
}

/// Two slots of one kind are told apart by asking the key for each of them.
#[tokio::test]
async fn each_of_several_keys_of_a_machine_opens_its_own_slot() {
    let machine = Machine::new();
    let store = sealed_by(vec![machine.sealing_key(1), machine.sealing_key(2)]).await;
    for (number, slot) in [(1, 1), (2, 2)] {
        let unlocked = Unlocked::open(store.clone(), &[machine.sealing_key(number)]).await.unwrap();
        assert_eq!(unlocked.opened_by(), (0, slot));
    }
    let error = Store::open(store.clone(), vec![machine.sealing_key(3)]).await.unwrap_err();
    assert!(matches!(error, SealError::WrongKey { .. }), "{error:?}");
    let elsewhere = sealed_by(vec![machine.sealing_key(1)]).await;
    let mut unlocked = Unlocked::open(elsewhere, &[machine.sealing_key(1)]).await.unwrap();
    assert!(matches!(unlocked.add(NewSlot::of(machine.sealing_key(1))).await, Err(SealError::SameKey(1))));
    assert_eq!(unlocked.add(NewSlot::of(machine.sealing_key(2))).await.unwrap(), 2);
}

#[tokio::test]
async fn a_machine_that_is_off_is_not_called_a_wrong_key_and_another_slot_will_do() {
    let machine = Machine::new();
    let store = sealed_by(vec![machine.sealing_key(1), passphrase()]).await;
    machine.is_off.store(true, SeqCst);
    let error = Store::open(store.clone(), vec![machine.sealing_key(1)]).await.unwrap_err();
    assert_eq!(error.to_string(), "In Memory cannot be opened: Machine: key 1 does not unwrap its key");
    assert!(Store::open(store.clone(), vec![machine.sealing_key(1), passphrase()]).await.is_ok());
    machine.is_off.store(false, SeqCst);
    assert!(Store::open(store, vec![machine.sealing_key(1)]).await.is_ok());
}

/// The machine is asked when the store is opened, not for keys; a rotation asks it once for each slot.
#[tokio::test]
async fn keys_cost_no_call() {
    let machine = Machine::new();
    let beneath = sealed_by(vec![machine.sealing_key(1)]).await;
    let store = Store::open(beneath.clone(), vec![machine.sealing_key(1)]).await.unwrap();
    let before = machine.calls.load(SeqCst);
    for number in 0..20 {
        let name = KeyName::parse(&format!("key-{number}")).unwrap();
        store.create(&name, b"value").await.unwrap();
        assert_eq!(store.get(&name).await.unwrap().expose(), b"value");
    }
    assert_eq!(machine.calls.load(SeqCst), before);

    let mut unlocked = Unlocked::open(beneath, &[machine.sealing_key(1)]).await.unwrap();
    unlocked.rotate(&[machine.sealing_key(1)], &[], &[]).await.unwrap();
    let name = KeyName::parse("key-1").unwrap();
    assert_eq!(store.get(&name).await.unwrap().expose(), b"value");
    store.create(&KeyName::parse("after").unwrap(), b"value").await.unwrap();
}

/// What stands in the table is final: kind, description and the wrapped bytes, in base64.
#[tokio::test]
async fn a_slot_holds_what_the_page_about_the_format_says() {
    let machine = Machine::new();
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(folder.path()).await.unwrap());
    let unlocked = Unlocked::init(store, vec![NewSlot::of(machine.sealing_key(9))]).await.unwrap();
    let TableInfo { store: id, slots, .. } = unlocked.table();
    assert_eq!((slots[0].kind.as_str(), slots[0].label.as_str()), ("machine", "Machine: key 9"));
    let table = std::fs::read_to_string(folder.path().join("-kes-seal")).unwrap();
    let json = &table[table.find('{').unwrap()..];
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let slot = json["slots"][0].as_object().unwrap();
    assert_eq!(slot.keys().collect::<Vec<_>>(), ["id", "kind", "label", "wrapped"]);
    let wrapped = kes_crypto::base64::decode(slot["wrapped"].as_str().unwrap()).unwrap();
    machine.key(9).unwrap(&format!("kes-seal:{id}"), &wrapped).await.unwrap();
}

#[tokio::test]
async fn closing_the_store_closes_what_seals_it_and_what_is_beneath() {
    let machine = Machine::new();
    let beneath = Arc::new(Far { keys: memory::Store::default(), closed: AtomicUsize::new(0), is_engine: false });
    Unlocked::init(beneath.clone(), vec![NewSlot::of(machine.sealing_key(1))]).await.unwrap();
    let store = Store::open(beneath.clone(), vec![machine.sealing_key(1), passphrase()]).await.unwrap();
    assert!(store.notices().contains(&"far away".to_owned()), "{:?}", store.notices());
    store.close().await;
    assert_eq!((machine.closed.load(SeqCst), beneath.closed.load(SeqCst)), (1, 1));
}

#[tokio::test]
async fn keys_that_never_leave_their_store_cannot_be_sealed() {
    let engine = || Arc::new(Far { keys: memory::Store::default(), closed: AtomicUsize::new(0), is_engine: true });
    let opened = Store::open(engine(), vec![passphrase()]).await.map(drop).unwrap_err();
    assert_eq!(opened.to_string(), "there is nothing to seal: the keys of Far never leave it");
    let sealed = Unlocked::init(engine(), vec![NewSlot::of(passphrase())]).await.map(drop).unwrap_err();
    assert!(matches!(sealed, SealError::NothingToSeal { .. }));
}

/// A store that is elsewhere; perhaps one that never gives a key away.
struct Far {
    keys: memory::Store,
    closed: AtomicUsize,
    is_engine: bool,
}

#[async_trait]
impl KeyStore for Far {
    fn describe(&self) -> String {
        "Far".to_owned()
    }

    async fn status(&self) -> Result<Status, Error> {
        self.keys.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.keys.create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        self.keys.get(name).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.keys.delete(name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.keys.list(prefix, from, limit).await
    }

    fn notices(&self) -> Vec<String> {
        vec!["far away".to_owned()]
    }

    async fn close(&self) {
        self.closed.fetch_add(1, SeqCst);
    }

    fn engine(&self) -> Option<&dyn Engine> {
        self.is_engine.then_some(self)
    }
}

/// Never asked for anything here.
#[async_trait]
impl Engine for Far {
    async fn create_key(&self, _: &KeyName) -> Result<(), Error> {
        Err(Error::Exists)
    }

    async fn describe_key(&self, _: &KeyName) -> Result<Description, Error> {
        Err(Error::NotFound)
    }

    async fn generate(&self, _: &KeyName, _: &[u8]) -> Result<DataKey, Error> {
        Err(Error::NotFound)
    }

    async fn encrypt(&self, _: &KeyName, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::NotFound)
    }

    async fn decrypt(&self, _: &KeyName, _: &[u8], _: &[u8]) -> Result<Plaintext, Error> {
        Err(Error::NotFound)
    }

    async fn mac(&self, _: &KeyName, _: &[u8]) -> Result<[u8; 32], Error> {
        Err(Error::NotFound)
    }
}
