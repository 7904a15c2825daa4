//! A way to AWS on which everything happens that can happen: delays, cuts, throttling, errors and garbage.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kes_crypto::{KeyType, KeyVersion};
use kes_keystore::{Cache, ErrorKind, KeyName, KeyStore, cache};
use kes_keystore_aws::{Store, connect};
use support::{Act, Front, Request, config, fresh, moto, name};
use tokio::task::JoinSet;

const KEYS: usize = 3000;

/// Every third request meets with something, in an order that is the same each time.
fn hostile() -> impl Fn(&Request) -> Act + Send + Sync {
    let state = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    move |_| {
        let step = |x: u64| x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x))).unwrap() >> 33;
        match number % 27 {
            0 => Act::Delay(Duration::from_millis(200)),
            1 => Act::Cut,
            2 => Act::Lose,
            3 => Act::error(400, "ThrottlingException", "Rate exceeded"),
            4 => Act::Answer(429, "Too Many Requests".to_owned()),
            5 => Act::error(500, "InternalServiceError", "An error occurred on the server side."),
            6 => Act::Spoil(500, "{\"__type\": \"InternalServiceError\"}".to_owned()),
            7 => Act::Answer(200, "<html>Please log in</html>".to_owned()),
            8 => Act::Spoil(200, "{\"cut sho".to_owned()),
            _ => Act::Pass,
        }
    }
}

/// Opens through a way that may fail, as a supervisor would: again.
async fn open(front: &Front, prefix: &str) -> Arc<Store> {
    loop {
        match connect(config(&front.url(), prefix)).await {
            Ok(store) => return Arc::new(store),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}"),
        }
    }
}

async fn walk(store: &Store, limit: usize) -> Vec<KeyName> {
    let (mut all, mut from) = (Vec::new(), None::<KeyName>);
    loop {
        let page = match store.list("", from.as_ref().map(KeyName::as_str), limit).await {
            Ok(page) => page,
            Err(error) => {
                assert!(error.kind().is_outage(), "{error}");
                continue;
            }
        };
        all.extend(page.names);
        let Some(next) = page.next else { return all };
        from = Some(next);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn of_3000_keys_nothing_is_lost_and_nothing_is_there_twice() {
    let prefix = fresh("hostile");
    let front = Front::start(hostile()).await;
    let store = open(&front, &prefix).await;
    let given_up = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for worker in 0..16 {
        let (store, given_up) = (Arc::clone(&store), Arc::clone(&given_up));
        tasks.spawn(async move {
            for number in (worker..KEYS).step_by(16) {
                let (key, value) = (name(&format!("key-{number:04}")), format!("value-{number}"));
                let mut unsure = false;
                loop {
                    match store.create(&key, value.as_bytes()).await {
                        Ok(()) => break,
                        // Only after an outcome that nobody knows may it be there.
                        Err(error) if error.kind() == ErrorKind::Exists => {
                            assert!(unsure, "{key} was never made by anybody else");
                            break;
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
                            given_up.fetch_add(1, Ordering::Relaxed);
                            unsure = true;
                        }
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let clear = connect(config(&moto().url(), &prefix)).await.unwrap();
    let expected: Vec<_> = (0..KEYS).map(|number| name(&format!("key-{number:04}"))).collect();
    for limit in [1000, 1024, KEYS + 1] {
        assert!(walk(&clear, limit).await == expected, "{limit} a page");
    }
    assert!(walk(&store, 1024).await == expected, "and through all that as well");
    let mut reads = JoinSet::new();
    let clear = Arc::new(clear);
    for worker in 0..16 {
        let clear = Arc::clone(&clear);
        reads.spawn(async move {
            for number in (worker..KEYS).step_by(16) {
                let value = clear.get(&name(&format!("key-{number:04}"))).await.unwrap();
                assert_eq!(value.expose(), format!("value-{number}").as_bytes());
            }
        });
    }
    while let Some(done) = reads.join_next().await {
        done.unwrap();
    }
    assert!(store.throttled() > 100, "{}", store.throttled());
    println!("{} creates ended without an outcome", given_up.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn deletes_through_all_that_leave_nothing_and_take_nothing_else() {
    let prefix = fresh("deletes");
    let front = Front::start(hostile()).await;
    let store = open(&front, &prefix).await;
    let clear = connect(config(&moto().url(), &prefix)).await.unwrap();
    for number in 0..60 {
        clear.create(&name(&format!("key-{number:02}")), b"value").await.unwrap();
    }
    for number in (0..60).step_by(2) {
        while let Err(error) = store.delete(&name(&format!("key-{number:02}"))).await {
            assert!(error.kind().is_outage(), "{error}");
        }
    }
    let expected: Vec<_> = (1..60).step_by(2).map(|number| name(&format!("key-{number:02}"))).collect();
    assert_eq!(clear.list("", None, 100).await.unwrap().names, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn deadlines_are_kept_whatever_happens() {
    let prefix = fresh("deadlines");
    let clear = connect(config(&moto().url(), &prefix)).await.unwrap();
    let key = || KeyVersion::generate(KeyType::Aes256, time::OffsetDateTime::UNIX_EPOCH, "").unwrap();
    clear.create(&name("old"), key().encode().unwrap().expose()).await.unwrap();

    let acts: BTreeMap<&str, Act> = [
        ("hangs", Act::Hang),
        ("is slow", Act::Delay(Duration::from_secs(60))),
        ("throttles", Act::error(400, "ThrottlingException", "Rate exceeded")),
        ("fails", Act::error(503, "ServiceUnavailable", "")),
        ("talks nonsense", Act::Answer(200, "nonsense".to_owned())),
        ("cuts", Act::Cut),
    ]
    .into();
    for (what, act) in acts {
        let spoilt = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let on = Arc::clone(&spoilt);
        let plan = move |_: &Request| if on.load(Ordering::Relaxed) { act.clone() } else { Act::Pass };
        let front = Front::start(plan).await;
        let store = connect(config(&front.url(), &prefix)).await.unwrap();
        spoilt.store(true, Ordering::Relaxed);
        let (read, write) = (Duration::from_secs(2), Duration::from_secs(3));
        let settings = cache::Settings { read_deadline: read, write_deadline: write, ..cache::Settings::default() };
        let keys = Cache::new(Arc::new(store), settings);
        let all = async {
            let (old, new) = (name("old"), name("new"));
            let outcomes = tokio::join!(
                async { keys.get(&old).await.map(drop) },
                keys.create(&new, key()),
                keys.delete(&old),
                async { keys.list("", None, 9).await.map(drop) },
            );
            <[_; 4]>::from(outcomes)
        };
        // Twice the longest, for a machine that is busy.
        let outcomes = tokio::time::timeout(write * 2, all).await.expect("within the deadlines");
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(error.kind().is_outage(), "{what}: {error}");
        }
        spoilt.store(false, Ordering::Relaxed);
        assert!(keys.get(&name("old")).await.is_ok(), "{what}: and all is well afterwards");
        match keys.create(&name("new"), key()).await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Exists, "{what}: {error}"),
        }
        keys.delete(&name("new")).await.unwrap();
    }
}
