use super::*;

fn settings(any: Option<u32>, unused: Option<u32>) -> Settings {
    Settings { any: any.map(|any| any * SECOND), unused: unused.map(|unused| unused * SECOND), ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn an_entry_goes_unused_after_its_last_use() {
    let (store, cache) = cache(settings(Some(300), Some(30)));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    for _ in 0..3 {
        sleep(29 * SECOND).await;
        assert_eq!(hit(&cache, "a"), Some(1));
    }
    sleep(30 * SECOND).await;
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(get(&cache, "a").await, Ok(1));
    assert_eq!(store.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_entry_goes_any_after_its_fetch() {
    let (store, cache) = cache(settings(Some(300), None));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(299 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1));
    sleep(SECOND).await;
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(store.gets(), 1, "it was not used in time to be refreshed");
}

#[tokio::test(start_paused = true)]
async fn never_is_never() {
    let (store, cache) = cache(settings(None, None));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(100_000 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1));
    assert_eq!(store.gets(), 1);
}

/// A key in steady use never makes anybody wait for the store again.
#[tokio::test(start_paused = true)]
async fn a_key_in_use_is_refreshed_ahead() {
    let (store, cache) = cache(settings(Some(300), Some(30)));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    store.delay(2 * SECOND);
    for _ in 0..100 {
        sleep(10 * SECOND).await;
        assert_eq!(hit(&cache, "a"), Some(1));
    }
    // The first fetch, and a re-read each 240 to 245 of 1000 seconds.
    assert_eq!(store.gets(), 5);
    assert_eq!(cache.stats().misses, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_takes_in_a_new_value() {
    let (store, cache) = cache(settings(Some(100), None));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(SECOND).await;
    hit(&cache, "a").unwrap();
    remove(&store, "a").await;
    put(&store, "a", 2).await;
    sleep(78 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1), "not before 80 %");
    sleep(6 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_no_use() {
    let (store, cache) = cache(settings(Some(100), None));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(SECOND).await;
    hit(&cache, "a").unwrap();
    sleep(90 * SECOND).await;
    assert_eq!(store.gets(), 2);
    // Refreshed at about 80, not used since: not refreshed again, gone at about 180.
    sleep(80 * SECOND).await;
    assert_eq!((store.gets(), cache.stats().entries), (2, 1));
    sleep(20 * SECOND).await;
    assert_eq!((store.gets(), cache.stats().entries), (2, 0));

    let (store, short) = super::cache(settings(Some(100), Some(50)));
    put(&store, "a", 1).await;
    get(&short, "a").await.unwrap();
    sleep(40 * SECOND).await;
    hit(&short, "a").unwrap();
    sleep(45 * SECOND).await;
    assert_eq!(store.gets(), 2);
    sleep(6 * SECOND).await;
    assert_eq!(hit(&short, "a"), None, "50 seconds after its last use");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_finds_nothing_drops_the_entry() {
    let (store, cache) = cache(settings(Some(100), None));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(SECOND).await;
    hit(&cache, "a").unwrap();
    remove(&store, "a").await;
    sleep(90 * SECOND).await;
    assert_eq!(hit(&cache, "a"), None);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_repeated_until_the_deadline() {
    let (store, cache) = cache(settings(Some(100), None));
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    sleep(SECOND).await;
    hit(&cache, "a").unwrap();
    store.set(Mode::Refuse);
    sleep(98 * SECOND).await;
    assert_eq!(hit(&cache, "a"), Some(1));
    let tries = store.gets() - 1;
    assert!((3..=5).contains(&tries), "{tries}");
    sleep(2 * SECOND).await;
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::Failed));
}

/// Many keys in use do not storm the store together.
#[tokio::test(start_paused = true)]
async fn refreshes_run_a_few_at_a_time() {
    let (store, cache) = cache(settings(Some(100), None));
    for index in 0..100 {
        put(&store, &format!("key-{index}"), 1).await;
        get(&cache, &format!("key-{index}")).await.unwrap();
    }
    sleep(SECOND).await;
    for index in 0..100 {
        hit(&cache, &format!("key-{index}")).unwrap();
    }
    store.close();
    sleep(86 * SECOND).await;
    assert_eq!(store.gets(), 100 + BACKGROUND_READS);
    store.open();
    sleep(SECOND).await;
    assert_eq!(store.gets(), 200);
    assert_eq!(cache.stats().misses, 100);
}
