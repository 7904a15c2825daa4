use super::fake::Lie;
use super::*;

#[tokio::test(start_paused = true)]
async fn create_stores_the_record_and_does_not_fill_the_cache() {
    let (store, cache) = cache(Settings::default());
    cache.create(&name("a"), key(1)).await.unwrap();
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!((store.gets(), cache.stats().entries), (0, 0), "an honest store is not asked again");
    let stored = store.inner.get(&name("a")).await.unwrap();
    assert_eq!(stored.expose(), key(1).encode().unwrap().expose());
    assert_eq!(cache.create(&name("a"), key(2)).await.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(get(&cache, "a").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn what_a_doubtful_store_says_it_stored_is_read_back() {
    let (store, cache) = cache(Settings::default());
    store.lie(None);
    cache.create(&name("a"), key(1)).await.unwrap();
    assert_eq!(store.gets(), 1);

    store.lie(Some(Lie::Nothing));
    let error = cache.create(&name("b"), key(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStored);
    assert!(error.to_string().starts_with("Fake: key 'b': the store reported success but does not have the key"));

    store.lie(Some(Lie::Another));
    assert_eq!(cache.create(&name("c"), key(1)).await.unwrap_err().kind(), ErrorKind::Exists, "another create won");
}

#[tokio::test(start_paused = true)]
async fn create_replaces_what_was_cached_of_a_key_deleted_elsewhere() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    remove(&store, "a").await;
    cache.create(&name("a"), key(2)).await.unwrap();
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(get(&cache, "a").await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_comes_second_uses_the_key_that_came_first() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    remove(&store, "a").await;
    put(&store, "a", 2).await;
    assert_eq!(cache.create(&name("a"), key(3)).await.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(get(&cache, "a").await, Ok(2), "not what was cached of the one before");
}

#[tokio::test(start_paused = true)]
async fn delete_drops_the_entry() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    cache.delete(&name("a")).await.unwrap();
    assert_eq!(hit(&cache, "a"), None);
    assert_eq!(get(&cache, "a").await, Err(ErrorKind::NotFound));
}

/// Departs from upstream, which goes on serving the key.
#[tokio::test(start_paused = true)]
async fn delete_drops_the_entry_of_a_key_that_is_gone_already() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    remove(&store, "a").await;
    assert_eq!(cache.delete(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(hit(&cache, "a"), None);
}

#[tokio::test(start_paused = true)]
async fn a_failed_delete_keeps_the_entry() {
    let (store, cache) = cache(Settings::default());
    put(&store, "a", 1).await;
    get(&cache, "a").await.unwrap();
    store.set(Mode::Refuse);
    assert_eq!(cache.delete(&name("a")).await.unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(hit(&cache, "a"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn changes_go_on_when_the_caller_goes_away() {
    let (store, cache) = cache(Settings::default());
    put(&store, "old", 1).await;
    store.delay(SECOND);
    let start = Instant::now();
    for name_of in ["new", "old"] {
        let cache = cache.clone();
        let call = async move {
            match name_of {
                "new" => cache.create(&name("new"), key(2)).await,
                _ => cache.delete(&name("old")).await,
            }
        };
        assert!(timeout(Duration::from_millis(10), call).await.is_err(), "gave up");
    }
    cache.settled().await;
    assert!(start.elapsed() >= SECOND);
    assert_eq!(store.inner.list("", None, 9).await.unwrap().names, [name("new")]);
    cache.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_given_up_at_the_write_deadline() {
    let (store, cache) = cache(Settings::default());
    store.set(Mode::Hang);
    for limit in [12, 3] {
        let start = Instant::now();
        let limited = if limit == 12 { cache.clone() } else { cache.limited(3 * SECOND) };
        assert_eq!(limited.create(&name("a"), key(1)).await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(start.elapsed(), limit * SECOND);
        assert_eq!(limited.delete(&name("a")).await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(start.elapsed(), 2 * limit * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_without_stored_form_is_refused_before_the_store_is_asked() {
    let (store, cache) = cache(Settings::default());
    let old = KeyVersion::new(
        SecretKey::from_bytes(KeyType::Legacy, &[1; 32]).unwrap(),
        None,
        datetime!(2020-01-01 00:00:00 UTC),
        "",
    );
    assert_eq!(cache.create(&name("a"), old).await.unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(store.inner.list("", None, 9).await.unwrap().names, []);
}
