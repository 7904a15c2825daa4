//! Whole runs over stores in memory, some of which misbehave.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use kes_crypto::{KeyType, KeyVersion};
use kes_keystore::{ErrorKind, KeyStore, Page, Status as StoreStatus, Value, memory};
use time::OffsetDateTime;

use super::engine::Watcher;
use super::verdict::Record;
use super::*;

type Result<T> = std::result::Result<T, Error>;

/// How a call goes wrong, by operation and name; `true` if the call is carried out all the same.
type Fault = dyn Fn(&str, &str) -> Option<(Error, bool)> + Send + Sync;

/// A store in memory that delays calls, fails them or forgets to return.
struct Fake {
    inner: memory::Store,
    fault: Box<Fault>,
    /// What every call waits for, in milliseconds, by the name.
    delay: fn(&str) -> u64,
    calls: Mutex<BTreeMap<&'static str, u32>>,
}

impl Fake {
    fn new() -> Self {
        let (inner, fault) = (memory::Store::default(), Box::new(|_: &str, _: &str| None));
        Self { inner, fault, delay: |_| 0, calls: Mutex::default() }
    }

    fn failing(fault: impl Fn(&str, &str) -> Option<(Error, bool)> + Send + Sync + 'static) -> Self {
        Self { fault: Box::new(fault), ..Self::new() }
    }

    async fn call<T>(&self, what: &'static str, name: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        *self.calls.lock().unwrap().entry(what).or_default() += 1;
        let delay = (self.delay)(name);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        match (self.fault)(what, name) {
            None => call.await,
            Some((error, carried_out)) => {
                if carried_out {
                    call.await?;
                }
                Err(error)
            }
        }
    }

    fn calls(&self, what: &str) -> u32 {
        self.calls.lock().unwrap().get(what).copied().unwrap_or_default()
    }
}

#[async_trait]
impl KeyStore for Fake {
    fn describe(&self) -> String {
        "Fake".to_owned()
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<()> {
        self.call("create", name.as_str(), self.inner.create(name, value)).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value> {
        self.call("get", name.as_str(), self.inner.get(name)).await
    }

    async fn delete(&self, name: &KeyName) -> Result<()> {
        self.call("delete", name.as_str(), self.inner.delete(name)).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page> {
        self.call("list", "", self.inner.list(prefix, from, limit)).await
    }
}

fn unreachable() -> Error {
    Error::Unreachable { store: "Fake".into(), remedy: "plug it in", source: None }
}

fn refused(operation: kes_keystore::Operation) -> Error {
    Error::Failed { entry: "Fake".into(), operation, remedy: "ask it", source: None }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn numbered(count: usize) -> Vec<KeyName> {
    (0..count).map(|number| name(&format!("key-{number:05}"))).collect()
}

/// A stored key, different each time.
fn record() -> Vec<u8> {
    let key = KeyVersion::generate(KeyType::Aes256, OffsetDateTime::UNIX_EPOCH, "").unwrap();
    key.encode().unwrap().expose().to_vec()
}

async fn fill(store: &memory::Store, names: &[KeyName]) {
    for name in names {
        store.create(name, &record()).await.unwrap();
    }
}

async fn copy(from: &Fake, to: &Fake, names: &[KeyName]) {
    for name in names {
        to.inner.create(name, from.inner.get(name).await.unwrap().expose()).await.unwrap();
    }
}

async fn same_value(from: &Fake, to: &Fake, name: &KeyName) -> bool {
    let (from, to) = (from.inner.get(name).await, to.inner.get(name).await);
    matches!((from, to), (Ok(from), Ok(to)) if from.expose() == to.expose())
}

#[derive(Default)]
struct Seen(Vec<Record>);

impl Watcher for Seen {
    fn record(&mut self, record: &Record) {
        self.0.push(record.clone());
    }

    fn tick(&mut self) {}
}

impl Seen {
    fn verdicts(&self) -> Vec<(&str, Verdict)> {
        self.0.iter().map(|record| (record.name.as_str(), record.verdict)).collect()
    }

    fn problem(&self, at: usize) -> &str {
        self.0[at].problem.as_deref().unwrap_or_default()
    }
}

/// A run from one fake to another, with these settings.
struct Case {
    from: Arc<Fake>,
    to: Arc<Fake>,
    on_conflict: OnConflict,
    dry_run: bool,
    go_on: bool,
    jobs: usize,
}

impl Case {
    fn new(from: Fake, to: Fake) -> Self {
        let (from, to) = (Arc::new(from), Arc::new(to));
        Self { from, to, on_conflict: OnConflict::Stop, dry_run: false, go_on: false, jobs: 16 }
    }

    async fn run(&self, names: Vec<KeyName>) -> (End, Seen) {
        self.run_until(names, pending()).await
    }

    async fn run_until(&self, names: Vec<KeyName>, interrupt: impl Future<Output = ()>) -> (End, Seen) {
        let copier = Copier {
            from: self.from.clone(),
            to: self.to.clone(),
            on_conflict: self.on_conflict,
            dry_run: self.dry_run,
            limit: Duration::from_secs(30),
        };
        let run = Run { copier: Arc::new(copier), jobs: self.jobs, go_on: self.go_on };
        let mut seen = Seen::default();
        let end = run.over(names, interrupt, &mut seen).await;
        (end, seen)
    }
}

/// Runs on paused time: no test waits for a pause of ours.
fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

#[test]
fn every_name_is_walked_whatever_the_pages() {
    paused(async {
        let store = memory::Store::default();
        let mut names = numbered(5000);
        // Names that begin like others, are as long as names may be, and stand at both ends of the order.
        names.extend(
            ["0", "key", "key-", "key-0", "key-01023x", "zz"].into_iter().filter_map(|text| KeyName::parse(text).ok()),
        );
        names.push(name(&"z".repeat(80)));
        fill(&store, &names).await;
        names.sort();
        for page in [1, 7, 1000, 1023, 1024, 1025, 4999, names.len(), names.len() + 1] {
            assert_eq!(walk::names(&store, "", page).await.unwrap(), names, "{page}");
        }
        assert_eq!(walk::names(&store, "key-01", 100).await.unwrap().len(), 1001);
    });
}

#[test]
fn a_list_that_does_not_end_is_an_error_and_a_short_outage_is_not() {
    struct Circle;
    #[async_trait]
    impl KeyStore for Circle {
        fn describe(&self) -> String {
            "Circle".into()
        }
        async fn status(&self) -> Result<StoreStatus> {
            unimplemented!()
        }
        async fn create(&self, _: &KeyName, _: &[u8]) -> Result<()> {
            unimplemented!()
        }
        async fn get(&self, _: &KeyName) -> Result<Value> {
            unimplemented!()
        }
        async fn delete(&self, _: &KeyName) -> Result<()> {
            unimplemented!()
        }
        async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page> {
            Ok(Page { names: numbered(2), next: Some(name("key-00001")) })
        }
    }
    paused(async {
        assert_eq!(walk::names(&Circle, "", 2).await.unwrap_err().kind(), ErrorKind::Failed);
        let left = AtomicU32::new(3);
        let passing = move |_: &str, _: &str| {
            let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            fails.then(|| (unreachable(), false))
        };
        let store = Fake::failing(passing);
        fill(&store.inner, &numbered(3)).await;
        assert_eq!(walk::names(&store, "", 100).await.unwrap(), numbered(3));
    });
}

#[test]
fn five_thousand_keys_are_copied_and_found_the_same_again() {
    paused(async {
        let case = Case::new(Fake::new(), Fake::new());
        let names = numbered(5000);
        fill(&case.from.inner, &names).await;
        let (end, seen) = case.run(names.clone()).await;
        assert_eq!(end, End::Complete);
        assert!(seen.0.iter().all(|record| record.verdict == Verdict::Copied && record.fingerprint.is_some()));
        for name in &names {
            assert!(same_value(&case.from, &case.to, name).await, "{name}");
        }
        let (end, seen) = case.run(names.clone()).await;
        assert_eq!(end, End::Complete);
        assert!(seen.0.iter().all(|record| record.verdict == Verdict::Same) && seen.0.len() == 5000);
        assert_eq!(case.to.calls("create"), 5000);
        assert_eq!((case.from.calls("create"), case.from.calls("delete")), (0, 0));
    });
}

#[test]
fn the_report_is_in_order_whoever_is_quicker() {
    paused(async {
        let slow = |name: &str| (name.bytes().map(u64::from).sum::<u64>() * 7919) % 97;
        let (mut from, mut to) = (Fake::new(), Fake::new());
        (from.delay, to.delay) = (slow, |name: &str| u64::from(name.as_bytes()[name.len() - 1] % 5) * 20);
        let case = Case::new(from, to);
        let names = numbered(200);
        fill(&case.from.inner, &names).await;
        copy(&case.from, &case.to, &names[50..60]).await;
        let (_, seen) = case.run(names.clone()).await;
        assert_eq!(seen.0.iter().map(|record| &record.name).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    });
}

#[test]
fn it_stops_exactly_at_the_first_key_that_is_not_good() {
    paused(async {
        for torn in [false, true] {
            let mut to = Fake::new();
            // The bad key is found long before the writes of the keys before it have ended.
            to.delay = |name| if name < "key-00040" { 500 } else { 0 };
            let case = Case::new(Fake::new(), to);
            let names = numbered(100);
            fill(&case.from.inner, &names).await;
            if torn {
                case.from.inner.delete(&names[40]).await.unwrap();
                case.from.inner.create(&names[40], b"torn").await.unwrap();
            } else {
                fill(&case.to.inner, &names[40..41]).await;
            }
            let (end, seen) = case.run(names.clone()).await;
            assert_eq!(end, End::Stopped);
            let bad = if torn { Verdict::Unreadable } else { Verdict::Differs };
            assert_eq!(seen.verdicts().last(), Some(&("key-00040", bad)));
            assert!(seen.0[..40].iter().all(|record| record.verdict == Verdict::Copied));
            let there = walk::names(&*case.to, "", 1000).await.unwrap();
            assert_eq!(there, names[..if torn { 40 } else { 41 }]);
            assert!(torn || !same_value(&case.from, &case.to, &names[40]).await, "nothing is overwritten");
        }
    });
}

#[test]
fn it_goes_on_if_it_is_told_to() {
    paused(async {
        let case = Case { go_on: true, ..Case::new(Fake::new(), Fake::new()) };
        let names = numbered(6);
        fill(&case.from.inner, &names[..5]).await;
        fill(&case.to.inner, &names[1..2]).await;
        case.from.inner.delete(&names[3]).await.unwrap();
        case.from.inner.create(&names[3], b"").await.unwrap();
        let (end, seen) = case.run(names).await;
        assert_eq!(end, End::Complete);
        use Verdict::{Copied, Differs, Unreadable};
        let verdicts: Vec<_> = seen.0.iter().map(|record| record.verdict).collect();
        assert_eq!(verdicts, [Copied, Differs, Copied, Unreadable, Copied, Unreadable]);
        assert_eq!(seen.problem(3), "the value is no key: stored value is not a readable key: it is empty");
        assert_eq!(seen.problem(5), "the key was deleted from the source in the meantime");
        assert!(seen.0[1].fingerprint != seen.0[1].target && seen.0[1].target.is_some());
    });
}

#[test]
fn merge_leaves_and_force_replaces_what_differs() {
    paused(async {
        for on_conflict in [OnConflict::Merge, OnConflict::Force] {
            let case = Case { on_conflict, ..Case::new(Fake::new(), Fake::new()) };
            let names = numbered(3);
            fill(&case.from.inner, &names).await;
            copy(&case.from, &case.to, &names[..1]).await;
            fill(&case.to.inner, &names[1..2]).await;
            for dry_run in [true, false] {
                let (from, to) = (case.from.clone(), case.to.clone());
                let (end, seen) =
                    Case { from, to, on_conflict, dry_run, go_on: false, jobs: 16 }.run(names.clone()).await;
                assert_eq!(end, End::Complete);
                let second = if on_conflict == OnConflict::Merge { Verdict::Skipped } else { Verdict::Replaced };
                let verdicts: Vec<_> = seen.0.iter().map(|record| record.verdict).collect();
                assert_eq!(verdicts, [Verdict::Same, second, Verdict::Copied], "{dry_run}");
                let changed = !dry_run && on_conflict == OnConflict::Force;
                assert_eq!(same_value(&case.from, &case.to, &names[1]).await, changed);
                assert_eq!(same_value(&case.from, &case.to, &names[2]).await, !dry_run);
            }
        }
    });
}

#[test]
fn a_replacement_that_fails_puts_the_old_value_back() {
    paused(async {
        // The target takes nothing but the old value: that is the second create that succeeds or fails as a whole.
        let creates = AtomicU32::new(0);
        let picky = move |what: &str, _: &str| {
            let is_new = what == "create" && creates.fetch_add(1, Ordering::SeqCst) < 4;
            is_new.then(|| (refused(kes_keystore::Operation::Create), false))
        };
        let case = Case { on_conflict: OnConflict::Force, ..Case::new(Fake::new(), Fake::failing(picky)) };
        let names = numbered(1);
        fill(&case.from.inner, &names).await;
        fill(&case.to.inner, &names).await;
        let before = case.to.inner.get(&names[0]).await.unwrap();
        let (end, seen) = case.run(names.clone()).await;
        assert_eq!((end, seen.0[0].verdict), (End::Stopped, Verdict::Failed));
        assert!(seen.problem(0).ends_with("; the old value was put back"), "{}", seen.problem(0));
        assert_eq!(case.to.inner.get(&names[0]).await.unwrap().expose(), before.expose());
    });
}

#[test]
fn a_replacement_waits_for_a_name_that_is_freed_late() {
    paused(async {
        let creates = AtomicU32::new(0);
        let late = move |what: &str, _: &str| {
            let early = what == "create" && creates.fetch_add(1, Ordering::SeqCst) < 2;
            early.then(|| (refused(kes_keystore::Operation::Create), false))
        };
        let case = Case { on_conflict: OnConflict::Force, ..Case::new(Fake::new(), Fake::failing(late)) };
        let names = numbered(1);
        fill(&case.from.inner, &names).await;
        fill(&case.to.inner, &names).await;
        let (_, seen) = case.run(names.clone()).await;
        assert_eq!(seen.0[0].verdict, Verdict::Replaced);
        assert!(same_value(&case.from, &case.to, &names[0]).await);
    });
}

#[test]
fn nothing_is_deleted_before_the_new_value_is_known() {
    paused(async {
        let source = Fake::failing(|what, _| (what == "get").then(|| (refused(kes_keystore::Operation::Get), false)));
        let case = Case { on_conflict: OnConflict::Force, ..Case::new(source, Fake::new()) };
        let names = numbered(1);
        fill(&case.from.inner, &names).await;
        fill(&case.to.inner, &names).await;
        let (_, seen) = case.run(names).await;
        assert_eq!((seen.0[0].verdict, case.to.calls("delete")), (Verdict::Unreadable, 0));
    });
}

#[test]
fn a_store_that_comes_back_is_waited_for_and_one_that_does_not_ends_the_run() {
    paused(async {
        for (failures, end) in [(3, End::Complete), (u32::MAX, End::Outage)] {
            let left = AtomicU32::new(failures);
            let fault = move |what: &str, name: &str| {
                let hit = what == "create" && name == "key-00002";
                let fails =
                    hit && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
                fails.then(|| (unreachable(), false))
            };
            let case = Case { go_on: true, jobs: 1, ..Case::new(Fake::new(), Fake::failing(fault)) };
            let names = numbered(50);
            fill(&case.from.inner, &names).await;
            let (ended, seen) = case.run(names).await;
            assert_eq!(ended, end);
            assert_eq!(seen.0.len() == 50, end == End::Complete);
        }
    });
}

#[test]
fn a_create_that_only_seemed_to_fail_counts() {
    paused(async {
        let first = AtomicU32::new(0);
        let fault = move |what: &str, _: &str| {
            let hit = what == "create" && first.fetch_add(1, Ordering::SeqCst) == 0;
            hit.then(|| (unreachable(), true))
        };
        let case = Case::new(Fake::new(), Fake::failing(fault));
        fill(&case.from.inner, &numbered(1)).await;
        let (end, seen) = case.run(numbered(1)).await;
        assert_eq!((end, seen.0[0].verdict), (End::Complete, Verdict::Copied));
    });
}

#[test]
fn a_call_that_never_ends_is_given_up() {
    paused(async {
        let mut from = Fake::new();
        from.delay = |_| 3_600_000;
        let case = Case::new(from, Fake::new());
        fill(&case.from.inner, &numbered(1)).await;
        let (end, seen) = case.run(numbered(1)).await;
        assert_eq!(end, End::Outage);
        assert!(seen.problem(0).contains("did not answer within 30s"), "{}", seen.problem(0));
    });
}

#[test]
fn a_target_that_lies_is_found_out() {
    paused(async {
        let case = Case::new(Fake::new(), Fake::failing(|what, _| (what == "create").then(|| (Error::Exists, false))));
        fill(&case.from.inner, &numbered(1)).await;
        let (_, seen) = case.run(numbered(1)).await;
        assert_eq!(seen.0[0].verdict, Verdict::Failed);
        assert_eq!(seen.problem(0), "reading back what was written: key does not exist");
    });
}

#[test]
fn an_interrupted_run_finishes_what_it_has_begun_and_goes_on_later() {
    paused(async {
        for after in 0..30 {
            let mut to = Fake::new();
            to.delay = |_| 10;
            let case = Case::new(Fake::new(), to);
            let names = numbered(60);
            fill(&case.from.inner, &names).await;
            let (end, seen) = case.run_until(names.clone(), tokio::time::sleep(Duration::from_millis(after * 5))).await;
            let there = walk::names(&case.to.inner, "", 1000).await.unwrap();
            assert_eq!(there, seen.0.iter().map(|record| record.name.clone()).collect::<Vec<_>>(), "{after}");
            assert!(end == End::Interrupted || seen.0.len() == 60);
            let (end, again) = case.run(names).await;
            assert_eq!((end, again.0.len()), (End::Complete, 60));
            assert!(again.0[..there.len()].iter().all(|record| record.verdict == Verdict::Same));
        }
    });
}

#[test]
fn the_old_last_lines_and_the_counts() {
    let frame = Frame { from: "a", to: "b", pattern: "*", dry_run: false, total: 7, done_before: 2 };
    let mut tally = Tally::default();
    assert_eq!(frame.success(&tally), "Migration succeeded! No keys migrated.\n");
    [Verdict::Copied, Verdict::Replaced, Verdict::Same, Verdict::Differs].into_iter().for_each(|v| tally.add(v));
    assert_eq!(frame.success(&tally), "Migrated      2 keys successfully!\n");
    assert_eq!(frame.summary(&tally), "7 keys: 1 copied, 1 same, 1 replaced, 1 differs, 2 done before, 1 not reached");
    assert_eq!(Frame { total: 0, done_before: 0, ..frame }.summary(&Tally::default()), "0 keys");
}
