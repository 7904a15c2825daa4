use std::sync::atomic::Ordering::SeqCst;

use tokio::task::{JoinHandle, yield_now};

use super::*;

fn ask(cache: &Cache, text: &'static str) -> JoinHandle<Result<u8, ErrorKind>> {
    let cache = cache.clone();
    tokio::spawn(async move { get(&cache, text).await })
}

/// Lets all tasks get as far as they can.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_fetch() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.close();
    let asked: Vec<_> = (0..24).map(|_| ask(&cache, "a")).collect();
    settle().await;
    store.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Ok(1));
    }
    assert_eq!((store.gets(), cache.stats().misses), (1, 24));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_a_failure_and_the_next_asks_anew() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.close();
    store.set(Mode::Refuse);
    let asked: Vec<_> = (0..24).map(|_| ask(&cache, "a")).collect();
    settle().await;
    store.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Err(ErrorKind::Failed));
    }
    assert_eq!((store.gets(), cache.stats().fetch_failures), (1, 1));
    store.set(Mode::Well);
    assert_eq!(get(&cache, "a").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn names_do_not_wait_for_each_other() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    put(&store, "b", 2).await;
    store.close();
    let slow = ask(&cache, "a");
    settle().await;
    store.open();
    assert_eq!(get(&cache, "b").await, Ok(2));
    assert_eq!(slow.await.unwrap(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn the_first_may_go_away_without_stopping_the_fetch() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.close();
    let first = ask(&cache, "a");
    settle().await;
    let second = ask(&cache, "a");
    settle().await;
    first.abort();
    settle().await;
    store.open();
    assert_eq!(second.await.unwrap(), Ok(1));
    assert_eq!((store.gets(), store.given_up.load(SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_nobody_waits_for_is_given_up() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.close();
    let asked = [ask(&cache, "a"), ask(&cache, "a")];
    settle().await;
    asked[0].abort();
    settle().await;
    assert_eq!(store.given_up.load(SeqCst), 0);
    asked[1].abort();
    settle().await;
    assert_eq!(store.given_up.load(SeqCst), 1);
    store.open();
    assert_eq!(get(&cache, "a").await, Ok(1));
    assert_eq!(store.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_given_up_at_the_deadline() {
    let (store, cache) = cache(Settings::default());
    store.set(Mode::Hang);
    let start = Instant::now();
    let error = cache.get(&name("a")).await.unwrap_err();
    assert_eq!(start.elapsed(), 10 * SECOND);
    assert_eq!(error.to_string(), "Fake did not answer within 10s when asked to read: check its load and the network");
    assert_eq!(store.given_up.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_in_a_hurry_waits_less_and_spoils_nothing_for_others() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.delay(5 * SECOND);
    let patient = ask(&cache, "a");
    settle().await;
    let start = Instant::now();
    let error = cache.limited(2 * SECOND).get(&name("a")).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (ErrorKind::Timeout, 2 * SECOND));
    assert_eq!(patient.await.unwrap(), Ok(1));
    assert_eq!((store.gets(), cache.stats().outage), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_store_is_an_error_for_those_who_wait_and_over_then() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.set(Mode::Panic);
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::Failed));
    store.set(Mode::Well);
    assert_eq!(get(&cache, "a").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_cannot_bring_a_deleted_key_back() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    store.close();
    let before = ask(&cache, "a");
    settle().await;
    // Deleted by another call to the same server, which overtakes the read.
    store.inner.delete(&name("a")).await.unwrap();
    cache.shared.forget(&name("a"));
    let after = ask(&cache, "a");
    settle().await;
    store.open();
    assert_eq!(before.await.unwrap(), Ok(1), "asked before the delete");
    assert_eq!(after.await.unwrap(), Err(ErrorKind::NotFound));
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_saw_nothing_does_not_hide_a_key_created_since() {
    let (store, cache) = cache(Settings::default());
    store.close();
    let before = ask(&cache, "a");
    settle().await;
    let created = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache.create(&name("a"), key(1)).await.unwrap();
            get(&cache, "a").await
        }
    });
    settle().await;
    store.delay(Duration::from_millis(5));
    store.open();
    assert_eq!(before.await.unwrap(), Err(ErrorKind::NotFound));
    assert_eq!(created.await.unwrap(), Ok(1));
}

/// Between a miss and the fetch somebody else's fetch may end.
#[tokio::test(start_paused = true)]
async fn who_comes_just_after_a_fetch_starts_no_other() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    assert!(matches!(cache.shared.join(&name("a")), Joined::Landed(_)));
    assert_eq!(store.gets(), 1);
}
