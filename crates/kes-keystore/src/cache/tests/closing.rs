//! When the store is closed: once, and not while anybody may still ask it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::memory;

/// Counts how often it was closed. Creating waits until it is let.
#[derive(Default)]
struct Closable {
    inner: memory::Store,
    closes: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

#[async_trait]
impl KeyStore for Closable {
    fn describe(&self) -> String {
        "Closable".to_owned()
    }

    async fn status(&self) -> Result<Status, Error> {
        self.inner.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.go_on.notified().await;
        assert_eq!(self.closes.load(SeqCst), 0, "closed under somebody's hands");
        self.inner.create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        self.inner.get(name).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.inner.delete(name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.inner.list(prefix, from, limit).await
    }

    async fn close(&self) {
        self.closes.fetch_add(1, SeqCst);
    }
}

fn closable() -> (Arc<Closable>, impl Fn() -> usize) {
    let store = Arc::new(Closable::default());
    let closes = store.closes.clone();
    (store, move || closes.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_store() {
    let (store, closes) = closable();
    let cache = Cache::new(store, Settings::default());
    let other = cache.clone();
    drop(cache);
    sleep(SECOND).await;
    assert_eq!(closes(), 0);
    drop(other);
    sleep(SECOND).await;
    assert_eq!(closes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_goes_on_keeps_it_open() {
    let (store, closes) = closable();
    let go_on = store.go_on.clone();
    let cache = Cache::new(store, Settings::default());
    let asked = tokio::time::timeout(SECOND, cache.create(&name("a"), key(1))).await;
    assert!(asked.is_err(), "nobody waits any more");
    drop(cache);
    sleep(SECOND).await;
    assert_eq!(closes(), 0);
    go_on.notify_one();
    sleep(SECOND).await;
    assert_eq!(closes(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_cache_or_holder_keeps_it_open() {
    let (store, closes) = closable();
    let first = Cache::new(store.clone(), Settings::default());
    let second = Cache::new(store.clone(), Settings::default());
    drop(first);
    sleep(SECOND).await;
    drop(second);
    sleep(SECOND).await;
    assert_eq!(closes(), 0, "we hold it");
    drop(Cache::new(store, Settings::default()));
    sleep(SECOND).await;
    assert_eq!(closes(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waits_for_it_and_it_is_not_closed_again() {
    let (store, closes) = closable();
    let cache = Cache::new(store, Settings::default());
    cache.close().await;
    assert_eq!(closes(), 1);
    cache.close().await;
    drop(cache);
    sleep(SECOND).await;
    assert_eq!(closes(), 1);
}
