//! Reloads: what stays, what goes, and what is told of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kes_api::server::{Settings, State};
use kes_keystore::{Cache, Error, KeyName, KeyStore, Page, Status, Value, cache, memory};
use tokio::sync::Notify;

use crate::support::{Mood, Payload, Policies, Rig, Scripted, role, soon};

impl Rig {
    /// Another store, empty, behind a cache of its own.
    fn elsewhere(&self) -> State {
        self.over(Cache::new(Arc::new(memory::Store::default()), cache::Settings::default()))
    }

    fn over(&self, keys: Cache) -> State {
        State::new(
            role("admin").identity().as_str(),
            Policies::default().build(),
            keys,
            &self.server_certificate(),
            self.verification.clone(),
            Settings::default(),
        )
        .unwrap()
    }
}

#[tokio::test]
async fn a_request_ends_on_the_state_it_began_with() {
    let rig = Rig::start(|_| ());
    let client = rig.client_h2(&role("admin")).await;
    client.create("my-key").await.ok();
    rig.store.set(Mood::Held);
    let (describe, create) = (client.clone(), client.clone());
    let describe = tokio::spawn(async move { describe.get("/v1/key/describe/my-key").await });
    let create = tokio::spawn(async move { create.create("another").await });
    rig.store.holds(2).await;
    rig.handle.reload(rig.elsewhere());
    client.get("/v1/key/describe/my-key").await.refused(404, "key does not exist");
    client.create("another").await.ok();
    rig.store.release();
    describe.await.unwrap().ok();
    create.await.unwrap().ok();
    assert!(rig.store.has("another").await, "each where its request began");
    rig.stop().await;
}

#[tokio::test]
async fn what_was_in_force_before_is_closed() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    let old = Arc::downgrade(&rig.store);
    let mut states = Vec::new();
    rig.handle.reload(rig.elsewhere());
    client.get("/v1/status").await.ok();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..200 {
        let state = rig.elsewhere();
        states.push(Arc::downgrade(state.keys().store()));
        rig.handle.reload(state);
        client.create("my-key").await.ok();
        client.get("/v1/key/describe/my-key").await.ok();
    }
    assert_eq!(states.iter().filter(|store| store.strong_count() > 0).count(), 1, "the one in force");
    soon("the end of the timers of old caches", async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(old.strong_count() <= 1, "the rig's own");
    rig.stop().await;
}

/// The rig's kind of store, and how often it was closed.
struct Closable(Arc<Scripted>, Arc<Closes>);

#[derive(Default)]
struct Closes(AtomicUsize, Notify);

#[async_trait::async_trait]
impl KeyStore for Closable {
    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn status(&self) -> Result<Status, Error> {
        self.0.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.0.create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        assert_eq!(self.1.0.load(Ordering::SeqCst), 0, "closed under a request's hands");
        self.0.get(name).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.0.delete(name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.0.list(prefix, from, limit).await
    }

    async fn close(&self) {
        self.1.0.fetch_add(1, Ordering::SeqCst);
        self.1.1.notify_one();
    }
}

#[tokio::test]
async fn a_store_is_closed_when_its_last_request_has_ended_or_the_server_has() {
    let rig = Rig::start(|_| ());
    let closes = [(); 2].map(|()| Arc::new(Closes::default()));
    let count = |index: usize| closes[index].0.load(Ordering::SeqCst);
    let over = |index: usize| {
        let store = Arc::new(Closable(Arc::clone(&rig.store), Arc::clone(&closes[index])));
        rig.over(Cache::new(store, cache::Settings::default()))
    };
    rig.handle.reload(over(0));
    let client = rig.client_h2(&role("admin")).await;
    client.create("my-key").await.ok();
    rig.store.set(Mood::Held);
    let describe = tokio::spawn({
        let client = client.clone();
        async move { client.get("/v1/key/describe/my-key").await }
    });
    rig.store.holds(1).await;
    rig.handle.reload(over(1));
    client.get("/version").await.ok();
    assert_eq!(count(0), 0, "a request is under way there");
    rig.store.release();
    describe.await.unwrap().ok();
    soon("the end of the old store", closes[0].1.notified()).await;
    client.get("/v1/key/describe/my-key").await.ok();
    drop(client);
    assert_eq!((count(0), count(1)), (1, 0));
    rig.stop().await;
    assert_eq!((count(0), count(1)), (1, 1), "once each, and before the server's end");
}

#[tokio::test]
async fn failed_reloads_show_in_status_and_metrics() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    let status = client.get("/v1/status").await.ok().json();
    assert!(status.get("reload_failures").is_none() && status.get("reload_failed_at").is_none(), "{status}");
    rig.handle.reload_failed();
    rig.handle.reload_tls_failed();
    let status = client.get("/v1/status").await.ok().json();
    assert_eq!(status["reload_failures"], 2);
    assert!(status["reload_failed_at"].as_str().unwrap().ends_with('Z'), "{status}");
    let page = client.get("/v1/metrics?view=full").await.text().to_owned();
    assert!(page.contains("\nkes_reload_failures_total 2\n"), "{page}");
    assert!(page.contains("\nkes_config_last_reload_successful 0\n"), "{page}");
    rig.handle.reload(rig.elsewhere());
    let status = client.get("/v1/status").await.ok().json();
    assert_eq!(status["reload_failures"], 2, "since the start");
    assert!(status.get("reload_failed_at").is_none(), "{status}");
    let page = client.get("/v1/metrics?view=full").await.text().to_owned();
    assert!(page.contains("\nkes_reloads_total 1\n"), "{page}");
    assert!(page.contains("\nkes_config_last_reload_successful 1\n"), "{page}");
    assert!(page.contains("\nkes_config_last_reload_success_timestamp_seconds "), "{page}");
    rig.stop().await;
}

/// Holds a thread that serves requests, as an endless loop in it would.
struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>, tokio::sync::Notify);

#[async_trait::async_trait]
impl kes_keystore::KeyStore for Stuck {
    fn describe(&self) -> String {
        "Stuck".to_owned()
    }

    fn promises(&self) -> kes_keystore::Promises {
        kes_keystore::KeyStore::promises(&memory::Store::default())
    }

    async fn status(&self) -> Result<kes_keystore::Status, kes_keystore::Error> {
        self.1.notify_one();
        let _ = self.0.lock().unwrap().recv();
        Ok(kes_keystore::Status { latency: Duration::ZERO })
    }

    async fn create(&self, _: &kes_keystore::KeyName, _: &[u8]) -> Result<(), kes_keystore::Error> {
        unreachable!()
    }

    async fn get(&self, _: &kes_keystore::KeyName) -> Result<kes_keystore::Value, kes_keystore::Error> {
        unreachable!()
    }

    async fn delete(&self, _: &kes_keystore::KeyName) -> Result<(), kes_keystore::Error> {
        unreachable!()
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<kes_keystore::Page, kes_keystore::Error> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_watchdog_learns_of_a_thread_that_is_stuck() {
    let rig = Rig::start(|_| ());
    let long = Duration::from_secs(20);
    rig.client(&role("admin")).await.get("/version").await.ok();
    assert!(rig.handle.answers(long).await);
    let (release, held) = std::sync::mpsc::channel();
    let stuck = Arc::new(Stuck(std::sync::Mutex::new(held), tokio::sync::Notify::new()));
    let state = State::new(
        role("admin").identity().as_str(),
        Policies::default().build(),
        Cache::new(stuck.clone(), cache::Settings::default()),
        &rig.server_certificate(),
        rig.verification.clone(),
        Settings::default(),
    );
    rig.handle.reload(state.unwrap());
    let client = rig.client(&role("admin")).await;
    let request = tokio::spawn(async move { client.call("GET", "/v1/status", &[], Payload::None).await });
    soon("the thread that is stuck", stuck.1.notified()).await;
    assert!(!rig.handle.answers(Duration::from_millis(100)).await);
    release.send(()).unwrap();
    request.await.unwrap().ok();
    assert!(rig.handle.answers(long).await);
    let handle = rig.handle.clone();
    rig.stop().await;
    assert!(!handle.answers(long).await, "it does not serve any more");
}
