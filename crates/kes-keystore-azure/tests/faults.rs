//! A way to Azure on which everything happens that can happen: delays, cuts, throttling, errors and garbage.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kes_crypto::{KeyType, KeyVersion};
use kes_keystore::{Cache, ErrorKind, KeyName, KeyStore, cache};
use kes_keystore_azure::{Config, Store, Vault, connect};
use serde_json::json;
use support::{Act, Front, Request, StandIn, chain, name, shared};
use tokio::task::JoinSet;

const KEYS: usize = 1000;

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
            3 => Act::throttled(),
            4 => Act::Answer(429, "Too Many Requests".to_owned()),
            5 => Act::error(500, "InternalServerError", "", "An error occurred."),
            6 => Act::Spoil(503, "{\"error\": {\"code\": \"ServiceUnavailable\"}}".to_owned()),
            7 => Act::Answer(200, "<html>Please log in</html>".to_owned()),
            8 => Act::Spoil(200, "{\"cut sho".to_owned()),
            _ => Act::Pass,
        }
    }
}

async fn open(vault: Vault) -> Arc<Store> {
    Arc::new(connect(Config { vault, check: true, ..Config::default() }).await.unwrap())
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
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn of_1000_keys_nothing_is_lost_and_nothing_is_there_twice() {
    let front = Front::start(shared(), hostile()).await;
    let store = open(front.vault(shared())).await;
    let given_up = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for worker in 0..32 {
        let (store, given_up) = (Arc::clone(&store), Arc::clone(&given_up));
        tasks.spawn(async move {
            for number in (worker..KEYS).step_by(32) {
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
                            assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
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
    let clear = open(front.clear(shared())).await;
    let expected: Vec<_> = (0..KEYS).map(|number| name(&format!("key-{number:04}"))).collect();
    for limit in [400, 1024] {
        assert!(walk(&clear, limit).await == expected, "{limit} a page");
    }
    assert!(walk(&store, 1024).await == expected, "and through all that as well");
    let mut reads = JoinSet::new();
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
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn deletes_through_all_that_leave_nothing_and_take_nothing_else() {
    let front = Front::start(shared(), hostile()).await;
    let store = open(front.vault(shared())).await;
    let clear = open(front.clear(shared())).await;
    let mut creates = JoinSet::new();
    for number in 0..40 {
        let clear = Arc::clone(&clear);
        creates.spawn(async move { clear.create(&name(&format!("key-{number:02}")), b"value").await.unwrap() });
    }
    while let Some(done) = creates.join_next().await {
        done.unwrap();
    }
    let mut deletes = JoinSet::new();
    for number in (0..40).step_by(2) {
        let store = Arc::clone(&store);
        deletes.spawn(async move {
            while let Err(error) = store.delete(&name(&format!("key-{number:02}"))).await {
                assert!(error.kind().is_outage(), "{}", chain(&error));
            }
        });
    }
    while let Some(done) = deletes.join_next().await {
        done.unwrap();
    }
    let expected: Vec<_> = (1..40).step_by(2).map(|number| name(&format!("key-{number:02}"))).collect();
    assert_eq!(clear.list("", None, 100).await.unwrap().names, expected);
    // The names are free: nothing is kept in a deleted state.
    clear.create(&name("key-00"), b"again").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn deadlines_are_kept_whatever_happens() {
    let key = || KeyVersion::generate(KeyType::Aes256, time::OffsetDateTime::UNIX_EPOCH, "").unwrap();
    let acts: BTreeMap<&str, Act> = [
        ("hangs", Act::Hang),
        ("is slow", Act::Delay(Duration::from_secs(60))),
        ("throttles", Act::throttled()),
        ("fails", Act::error(503, "ServiceUnavailable", "", "")),
        ("talks nonsense", Act::Answer(200, "nonsense".to_owned())),
        ("cuts", Act::Cut),
    ]
    .into();
    let mut tasks = JoinSet::new();
    for (what, act) in acts {
        tasks.spawn(async move {
            let spoilt = Arc::new(AtomicBool::new(false));
            let on = Arc::clone(&spoilt);
            let plan = move |_: &Request| if on.load(Ordering::Relaxed) { act.clone() } else { Act::Pass };
            let front = Front::start(shared(), plan).await;
            let store = open(front.vault(shared())).await;
            store.create(&name("old"), key().encode().unwrap().expose()).await.unwrap();
            spoilt.store(true, Ordering::Relaxed);
            let (read, write) = (Duration::from_secs(2), Duration::from_secs(4));
            let settings = cache::Settings { read_deadline: read, write_deadline: write, ..cache::Settings::default() };
            let keys = Cache::new(store, settings);
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
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// The faults that the stand-in has itself, each on every operation.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn one_fault_anywhere_is_not_noticed() {
    let stand_in = StandIn::start(&[]);
    let store = connect(stand_in.config()).await.unwrap();
    let faults = [
        json!({"kind": "throttle", "retry_after": 1}),
        json!({"kind": "throttle", "count": 3, "retry_after": 0}),
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 503, "retry_after": 1}),
        json!({"kind": "status", "status": 408}),
        json!({"kind": "delay", "seconds": 0.5}),
        json!({"kind": "cut", "after": "request"}),
        json!({"kind": "cut", "after": "headers"}),
        json!({"kind": "cut", "after": "body"}),
        json!({"kind": "lose"}),
    ];
    for fault in &faults {
        for operation in ["secrets.versions", "secrets.get", "secrets.set", "secrets.list", "secrets.delete", "*.purge"]
        {
            let mut fault = fault.clone();
            fault["operation"] = operation.into();
            stand_in.fault(fault.clone()).await;
            let key = name("key");
            store.create(&key, b"value").await.unwrap_or_else(|why| panic!("{fault}: {}", chain(&why)));
            assert_eq!(store.get(&key).await.unwrap().expose(), b"value", "{fault}");
            assert_eq!(store.list("", None, 9).await.unwrap().names, std::slice::from_ref(&key), "{fault}");
            store.delete(&key).await.unwrap_or_else(|why| panic!("{fault}: {}", chain(&why)));
            assert_eq!(store.get(&key).await.unwrap_err().kind(), ErrorKind::NotFound, "{fault}");
            stand_in.control("DELETE", "faults", serde_json::Value::Null).await;
        }
    }
    assert!(store.throttled() >= 20, "{}", store.throttled());
}

/// How long to wait is for the service to say, as long as somebody waits.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn retry_after_is_honoured_and_throttling_is_counted() {
    let stand_in = StandIn::start(&[]);
    let store = connect(stand_in.config()).await.unwrap();
    store.create(&name("key"), b"value").await.unwrap();
    assert_eq!(store.throttled(), 0);
    stand_in.fault(json!({"kind": "throttle", "count": 2, "retry_after": 2})).await;
    let before = (stand_in.calls("secrets.versions").await, tokio::time::Instant::now());
    store.get(&name("key")).await.unwrap();
    assert!(before.1.elapsed() >= Duration::from_secs(4), "it was not asked before it said so");
    assert_eq!(stand_in.calls("secrets.versions").await, before.0 + 3);
    assert_eq!(store.throttled(), 2);
    // Longer than anybody waits: at once, with what to do.
    stand_in.fault(json!({"kind": "throttle", "count": 1, "retry_after": 120})).await;
    let error = store.get(&name("key")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(chain(&error).contains("throttles") && chain(&error).contains("VaultRequestTypeLimitReached"), "{error}");
    assert_eq!(store.throttled(), 3);
}

/// A vault that is away does not stop the start; as soon as it is there all is well.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn an_azure_that_is_away_does_not_stop_the_start() {
    let front = Front::start(shared(), |_| Act::Pass).await;
    front.cut().await;
    let store = open(front.vault(shared())).await;
    let notices = store.notices();
    assert!(notices.len() == 1 && notices[0].contains("is not reachable: check the endpoint"), "{notices:?}");
    assert_eq!(store.get(&name("key")).await.unwrap_err().kind(), ErrorKind::Unreachable);
    front.mend().await;
    store.create(&name("key"), b"value").await.unwrap();
}

/// Whatever is answered to a probe, somebody has answered.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn any_answer_ends_the_probe() {
    for act in
        [Act::throttled(), Act::error(503, "ServiceUnavailable", "", ""), Act::Answer(200, "nonsense".to_owned())]
    {
        let answer = act.clone();
        let front = Front::start(shared(), move |_| answer.clone()).await;
        connect(Config { vault: front.vault(shared()), ..Config::default() }).await.unwrap().status().await.unwrap();
        assert_eq!(front.seen().len(), 2, "{act:?}: one at the start, one more");
    }
}
