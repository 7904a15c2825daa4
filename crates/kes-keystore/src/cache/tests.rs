mod closing;
mod deadlines;
mod engine;
mod fake;
mod mutations;
mod outage;
mod single_flight;

use kes_crypto::HmacKey;
use time::macros::datetime;
use tokio::time::sleep;

use self::fake::{Fake, Mode};
use super::*;
use crate::ErrorKind;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

/// A key that a number tells from others.
fn key(number: u8) -> KeyVersion {
    let secret = SecretKey::from_bytes(KeyType::Aes256, &[number; 32]).unwrap();
    let hmac_key = HmacKey::from_bytes(&[number + 100; 32]).unwrap();
    KeyVersion::new(secret, Some(hmac_key), datetime!(2026-01-02 03:04:05 UTC), "")
}

fn number(key: &KeyVersion) -> u8 {
    key.key().expose()[0]
}

/// Puts a key into the store behind the cache's back.
async fn put(store: &Fake, text: &str, number: u8) {
    store.inner.create(&name(text), key(number).encode().unwrap().expose()).await.unwrap();
}

async fn remove(store: &Fake, text: &str) {
    store.inner.delete(&name(text)).await.unwrap();
}

fn cache(settings: Settings) -> (Arc<Fake>, Cache) {
    let store = Arc::new(Fake::default());
    let cache = Cache::new(store.clone(), settings);
    (store, cache)
}

async fn get(cache: &Cache, text: &str) -> Result<u8, ErrorKind> {
    cache.get(&name(text)).await.map(|key| number(&key)).map_err(|error| error.kind())
}

fn hit(cache: &Cache, text: &str) -> Option<u8> {
    cache.hit(text).map(|key| number(&key))
}

#[tokio::test(start_paused = true)]
async fn a_key_is_fetched_once_and_then_served() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    assert_eq!(hit(&cache, "a"), None);
    for _ in 0..3 {
        assert_eq!(get(&cache, "a").await, Ok(1));
        assert_eq!(hit(&cache, "a"), Some(1));
    }
    assert_eq!(store.gets(), 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.fetches, stats.entries), (5, 1, 1, 1));
    assert_eq!(stats.oldest, Some(Duration::ZERO));
    sleep(SECOND).await;
    assert_eq!(cache.stats().oldest, Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn absence_is_not_cached() {
    let (store, cache) = cache(Settings::default());
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::NotFound));
    put(&store, "a", 1).await;
    assert_eq!(get(&cache, "a").await, Ok(1));
    assert_eq!(cache.stats().fetch_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_no_key_is_named_and_not_cached() {
    let (store, cache) = cache(Settings::default());
    store.inner.create(&name("torn"), b"CiQKINUOF15H").await.unwrap();
    let error = cache.get(&name("torn")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().starts_with("Fake: key 'torn': the stored value is no readable key: "), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(get(&cache, "torn").await, Err(ErrorKind::Damaged));
    let stats = cache.stats();
    assert_eq!((store.gets(), stats.fetch_failures, stats.entries), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_keys_used_longest_ago_go_when_there_are_too_many() {
    let (store, cache) = cache(Settings { max_keys: 3, ..Settings::default() });
    for number in 1..=3 {
        put(&store, &format!("key-{number}"), number).await;
        get(&cache, &format!("key-{number}")).await.unwrap();
        sleep(SECOND).await;
    }
    assert_eq!(hit(&cache, "key-1"), Some(1));
    put(&store, "key-4", 4).await;
    assert_eq!(get(&cache, "key-4").await, Ok(4));
    assert_eq!([1, 2, 3, 4].map(|number| hit(&cache, &format!("key-{number}")).is_some()), [true, false, true, true]);
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.evicted, stats.expired), (3, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn of_a_large_cache_a_hundredth_goes_at_once() {
    let (store, cache) = cache(Settings { max_keys: 400, ..Settings::default() });
    for index in 0..401 {
        put(&store, &format!("key-{index}"), 1).await;
        get(&cache, &format!("key-{index}")).await.unwrap();
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.evicted), (397, 4), "also when all were used in the same instant");
}

#[tokio::test(start_paused = true)]
async fn no_bound_is_no_bound() {
    let (store, cache) = cache(Settings { max_keys: 0, ..Settings::default() });
    for index in 0..300 {
        put(&store, &format!("key-{index}"), 1).await;
        get(&cache, &format!("key-{index}")).await.unwrap();
    }
    assert_eq!(cache.stats().entries, 300);
}

#[tokio::test(start_paused = true)]
async fn dropped_keys_leave_memory() {
    let (store, cache) = cache(Settings { unused: Some(10 * SECOND), ..Settings::default() });
    put(&store, "a", 1).await;
    let weak = Arc::downgrade(&cache.get(&name("a")).await.unwrap());
    sleep(9 * SECOND).await;
    assert!(weak.upgrade().is_some());
    sleep(3 * SECOND).await;
    assert!(weak.upgrade().is_none(), "wiped by its drop");
    assert_eq!(cache.stats().expired, 1);

    let weak = Arc::downgrade(&cache.get(&name("a")).await.unwrap());
    drop(cache);
    tokio::task::yield_now().await;
    assert!(weak.upgrade().is_none());
    assert_eq!(Arc::strong_count(&store), 1, "no timer holds the store");
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_operation_outcome_and_duration() {
    let (store, cache) = cache(Settings::default());
    cache.create(&name("a"), key(1)).await.unwrap();
    let _ = cache.create(&name("a"), key(1)).await;
    store.delay(30 * Duration::from_millis(1));
    get(&cache, "a").await.unwrap();
    store.set(Mode::Hang);
    assert_eq!(get(&cache, "b").await, Err(ErrorKind::Timeout));
    let [_, create, get, delete, list, ..] = cache.calls();
    assert_eq!((create.count, create.errors[ErrorKind::Exists as usize]), (2, 1));
    assert_eq!((get.count, get.errors[ErrorKind::Timeout as usize]), (2, 1));
    assert_eq!(get.total, Duration::from_millis(10_030));
    assert_eq!((get.buckets[9], get.buckets[15], get.buckets.iter().sum::<u64>()), (1, 1, 2));
    assert_eq!((delete.count, list.count), (0, 0));
    assert_eq!(delete.operation, Operation::Delete);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_the_stores_status_and_a_seal_and_open() {
    let (store, cache) = cache(Settings::default());
    cache.ready().await.unwrap();
    assert_eq!(store.inner.list("", None, 9).await.unwrap().names, []);
    assert_eq!(store.gets(), 0, "no key is touched");
    store.set(Mode::Out);
    assert_eq!(cache.ready().await.unwrap_err().kind(), ErrorKind::Unreachable);
    store.set(Mode::Refuse);
    assert_eq!(cache.ready().await.unwrap_err().kind(), ErrorKind::Failed);
}

#[tokio::test(start_paused = true)]
async fn listing_goes_to_the_store() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    put(&store, "b", 2).await;
    let page = cache.list("", None, 1).await.unwrap();
    assert_eq!((page.names, page.next), (vec![name("a")], Some(name("b"))));
    store.set(Mode::Hang);
    assert_eq!(cache.list("", None, 1).await.unwrap_err().kind(), ErrorKind::Timeout);
}

/// Callers on runtimes of their own, as one for each core.
#[test]
fn callers_may_live_on_any_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = Arc::new(Fake::default());
    home.block_on(put(&store, "a", 1));
    store.close();
    let cache = {
        let _home = home.enter();
        Cache::new(store.clone(), Settings::default())
    };
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let cache = cache.clone();
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let fetched = get(&cache, "a").await;
                    assert_eq!(hit(&cache, "a"), Some(1));
                    fetched
                })
            })
        })
        .collect();
    while cache.stats().misses < 4 {
        std::thread::yield_now();
    }
    store.open();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), Ok(1));
    }
    assert_eq!(store.gets(), 1);
    let created = std::thread::spawn({
        let cache = cache.clone();
        move || runtime().block_on(cache.create(&name("b"), key(2)))
    });
    created.join().unwrap().unwrap();
}
