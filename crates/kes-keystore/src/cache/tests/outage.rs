use tokio::task::yield_now;

use super::*;

fn offline(seconds: u32) -> Settings {
    Settings { offline: Some(seconds * SECOND), ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn three_failures_set_the_flag_and_one_answer_clears_it() {
    let (store, cache) = cache(Settings::default());
    store.set(Mode::Out);
    for failures in 1..=3 {
        assert_eq!(get(&cache, "a").await, Err(ErrorKind::Unreachable));
        assert_eq!(cache.stats().offline, failures == 3);
    }
    let calls = cache.calls()[0].count;
    assert_eq!(cache.status().await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(cache.calls()[0].count, calls, "answered at once");
    store.set(Mode::Well);
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::NotFound), "an answer");
    assert!(!cache.stats().offline);
    cache.status().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_probe_notices_without_any_caller() {
    let (store, cache) = cache(Settings::default());
    store.set(Mode::Out);
    sleep(15 * SECOND).await;
    assert_eq!(cache.stats().outage, Some(5 * SECOND));
    sleep(20 * SECOND).await;
    assert!(cache.stats().offline);
    store.set(Mode::Well);
    sleep(10 * SECOND).await;
    assert!(!cache.stats().offline);
    assert_eq!(cache.stats().outage, None);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_counts_as_out() {
    let (store, cache) = cache(Settings::default());
    store.set(Mode::Hang);
    let start = Instant::now();
    assert_eq!(cache.status().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed(), 5 * SECOND);
    sleep(40 * SECOND).await;
    let error = cache.status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(error.to_string(), "Fake is not reachable: its last calls were not answered");
}

#[tokio::test(start_paused = true)]
async fn without_offline_mode_deadlines_hold_in_an_outage() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    store.set(Mode::Out);
    sleep(29 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1));
    sleep(30 * SECOND).await;
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn an_entry_past_its_deadline_is_served_at_once_while_the_store_is_out() {
    let (store, cache) = cache(offline(3600));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    store.set(Mode::Out);
    sleep(400 * SECOND).await;
    assert!(cache.stats().offline);
    let reads = store.gets();
    assert_eq!(hit(&cache, "a"), Some(1), "past `any` and `unused`");
    assert_eq!(hit(&cache, "a"), Some(1));
    for _ in 0..5 {
        yield_now().await;
    }
    assert_eq!(store.gets(), reads + 1, "re-read once in the background");
    assert_eq!(cache.stats().stale_hits, 2);
    assert_eq!(get(&cache, "b").await, Err(ErrorKind::Unreachable), "what is not cached fails");
    assert_eq!(cache.create(&name("c"), key(1)).await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(cache.delete(&name("a")).await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(hit(&cache, "a"), Some(1));
}

/// However hung the store is, nobody waits for it once it is known to be out.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_hanging_store() {
    let (store, cache) = cache(offline(3600));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    store.set(Mode::Hang);
    sleep(400 * SECOND).await;
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(get(&cache, "a").await, Ok(1));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// The old server forgot keys in the seconds before it noticed.
#[tokio::test(start_paused = true)]
async fn an_outage_not_yet_noticed_loses_no_entry() {
    for age in 0..30 {
        let (store, cache) = cache(offline(3600));
        put(&store, "a", 1).await;
        get(&cache, "a").await.unwrap();
        sleep(age * SECOND).await;
        store.set(Mode::Out);
        for later in [1, 29, 30, 31, 200, 500, 1000] {
            sleep(later * SECOND).await;
            assert_eq!(get(&cache, "a").await, Ok(1), "out after {age} s, asked {later} s later");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offline_counts_from_the_first_failure() {
    let (store, cache) = cache(offline(600));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    store.set(Mode::Out);
    // The probe fails first at 10 seconds.
    sleep(609 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1));
    sleep(SECOND).await;
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::Unreachable));
    sleep(10 * SECOND).await;
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_store_is_asked_again() {
    let (store, cache) = cache(offline(3600));
    put(&store, "a", 1).await;
    put(&store, "b", 1).await;
    get(&cache, "a").await.unwrap();
    get(&cache, "b").await.unwrap();
    store.set(Mode::Out);
    sleep(400 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1));
    remove(&store, "a").await;
    put(&store, "a", 2).await;
    remove(&store, "b").await;
    store.set(Mode::Well);
    sleep(10 * SECOND).await;
    assert_eq!(get(&cache, "a").await, Ok(2));
    assert_eq!(get(&cache, "b").await, Err(ErrorKind::NotFound));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_any_other_kind_is_not_covered_up() {
    let (store, cache) = cache(offline(3600));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(31 * SECOND).await;
    store.set(Mode::Refuse);
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::Failed));
    store.set(Mode::Out);
    assert_eq!(get(&cache, "a").await, Ok(1));
}

/// Readiness is what load balancers look at: a store that is back must be seen at once, not at the next slow probe.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_is_noticed_within_a_second() {
    let (store, cache) = cache(Settings::default());
    store.set(Mode::Out);
    for _ in 0..3 {
        let _ = get(&cache, "a").await;
    }
    assert!(cache.ready().await.is_err());
    store.set(Mode::Well);
    sleep(SECOND + SECOND / 10).await;
    cache.ready().await.unwrap();
}
