//! The cases.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use kes_crypto::KeyVersion;
use tokio::task::JoinSet;

use super::Subject;
use super::records::RECORDS;
use crate::{Cache, Error, ErrorKind, KeyName, KeyStore, cache};

fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("the suite uses key names")
}

/// Text of the length of a key, different for each seed.
fn text(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|index| b'A' + ((index * 7 + seed * 11 + index / 26) % 26) as u8).collect()
}

async fn create(store: &dyn KeyStore, text: &str, value: &[u8]) {
    if let Err(error) = store.create(&name(text), value).await {
        panic!("create '{text}': {error:?}");
    }
}

async fn read(store: &dyn KeyStore, text: &str) -> Vec<u8> {
    match store.get(&name(text)).await {
        Ok(value) => value.expose().to_vec(),
        Err(error) => panic!("get '{text}': {error:?}"),
    }
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Creates keys, several at a time.
async fn create_all(store: &Arc<dyn KeyStore>, names: impl IntoIterator<Item = String>) {
    let mut tasks = JoinSet::new();
    for name in names {
        let store = store.clone();
        tasks.spawn(async move { create(store.as_ref(), &name, &text(1, 116)).await });
        if tasks.len() >= 64 {
            tasks.join_next().await.expect("there are some").expect("created");
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("created");
    }
}

async fn list(store: &dyn KeyStore, prefix: &str, from: Option<&str>, limit: usize) -> (Vec<String>, Option<String>) {
    let page = store.list(prefix, from, limit).await.expect("list");
    (page.names.iter().map(ToString::to_string).collect(), page.next.map(|next| next.to_string()))
}

/// All names, page by page.
async fn walk(store: &dyn KeyStore, prefix: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut from = None;
    loop {
        let (names, next) = list(store, prefix, from.as_deref(), limit).await;
        assert!(names.len() <= limit, "a page of {} names, not {limit}", names.len());
        assert!(next.is_none() || !names.is_empty(), "a page must get on");
        all.extend(names);
        match next {
            Some(next) => from = Some(next),
            None => return all,
        }
    }
}

/// A store that is well says so.
pub async fn status_answers(subject: &impl Subject) {
    subject.store().status().await.expect("status");
}

/// What a store says of itself does not change.
pub async fn description_and_promises_are_constant(subject: &impl Subject) {
    let store = subject.store();
    let before = (store.describe(), store.promises());
    assert!(!before.0.is_empty() && !before.0.contains('\n'));
    create(store.as_ref(), "a", b"value").await;
    assert_eq!((store.describe(), store.promises()), before);
}

/// Values of 1, 116, 208 and 20 000 bytes, or the longest there can be.
pub async fn values_come_back_byte_for_byte(subject: &impl Subject) {
    let store = subject.store();
    for len in [1, 116, 208, 20_000.min(store.promises().max_value_len)] {
        let key = format!("value-{len}");
        create(store.as_ref(), &key, &text(len, len)).await;
        assert_eq!(read(store.as_ref(), &key).await, text(len, len));
        assert_eq!(read(store.as_ref(), &key).await, text(len, len), "reading changes nothing");
    }
}

/// Any bytes, or at least any ASCII characters, line breaks and quotes among them.
pub async fn values_are_opaque_bytes(subject: &impl Subject) {
    let store = subject.store();
    let last = if store.promises().any_bytes.is_kept() { 0xff } else { 0x7e };
    let first = if store.promises().any_bytes.is_kept() { 0 } else { 0x20 };
    let bytes: Vec<u8> = (first..=last).collect();
    create(store.as_ref(), "bytes", &bytes).await;
    assert_eq!(read(store.as_ref(), "bytes").await, bytes);
    let json = b"{\"bytes\":\"+/==\", \"a\":\"\\u0041\"}";
    create(store.as_ref(), "json", json).await;
    assert_eq!(read(store.as_ref(), "json").await, json);
}

/// The longest value the store declares.
pub async fn values_up_to_the_limit_are_kept(subject: &impl Subject) {
    let store = subject.store();
    let longest = text(3, store.promises().max_value_len);
    create(store.as_ref(), "longest", &longest).await;
    assert!(read(store.as_ref(), "longest").await == longest);
}

/// A value that is too long is refused, not cut.
pub async fn values_over_the_limit_are_refused(subject: &impl Subject) {
    let store = subject.store();
    let too_long = text(3, store.promises().max_value_len + 1);
    assert_eq!(kind(store.create(&name("long"), &too_long).await), Some(ErrorKind::TooLarge));
    assert_eq!(kind(store.get(&name("long")).await), Some(ErrorKind::NotFound));
    assert!(walk(store.as_ref(), "", 9).await.is_empty());
}

/// Create never overwrites, with whatever value.
pub async fn create_keeps_the_first_value(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "key", &text(1, 208)).await;
    for again in [text(2, 208), text(1, 208), text(3, 1)] {
        assert_eq!(kind(store.create(&name("key"), &again).await), Some(ErrorKind::Exists));
        assert_eq!(read(store.as_ref(), "key").await, text(1, 208));
    }
    assert_eq!(walk(store.as_ref(), "", 9).await, ["key"]);
}

/// Also beside names that resemble it.
pub async fn get_of_nothing_is_not_found(subject: &impl Subject) {
    let store = subject.store();
    assert_eq!(kind(store.get(&name("key")).await), Some(ErrorKind::NotFound));
    create(store.as_ref(), "key1", b"value").await;
    create(store.as_ref(), "ke", b"value").await;
    assert_eq!(kind(store.get(&name("key")).await), Some(ErrorKind::NotFound));
}

/// Or a success, if the store cannot tell; and nothing else goes.
pub async fn delete_of_nothing_is_not_found(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "other", b"value").await;
    let deleted = kind(store.delete(&name("key")).await);
    let promised = store.promises().delete_tells_missing.is_kept();
    assert!(deleted == Some(ErrorKind::NotFound) || (deleted.is_none() && !promised), "{deleted:?}");
    assert_eq!(read(store.as_ref(), "other").await, b"value");
}

/// A deleted key is gone, and its name free.
pub async fn deleted_keys_are_gone_and_can_be_created_again(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "key", &text(1, 116)).await;
    create(store.as_ref(), "key-2", b"stays").await;
    store.delete(&name("key")).await.expect("delete");
    assert_eq!(kind(store.get(&name("key")).await), Some(ErrorKind::NotFound));
    assert_eq!(walk(store.as_ref(), "", 9).await, ["key-2"]);
    create(store.as_ref(), "key", &text(2, 116)).await;
    assert_eq!(read(store.as_ref(), "key").await, text(2, 116));
    assert_eq!(read(store.as_ref(), "key-2").await, b"stays");
}

/// Of 24 creates at once, on two instances, one wins, and its value is what everyone reads.
pub async fn concurrent_creates_have_one_winner(subject: &impl Subject) {
    let stores = [subject.store(), subject.neighbour()];
    for round in 0..3 {
        let key = name(&format!("race-{round}"));
        let mut tasks = JoinSet::new();
        for racer in 0..24 {
            let (store, key) = (stores[racer % 2].clone(), key.clone());
            tasks.spawn(async move { (racer, store.create(&key, &text(racer, 208)).await) });
        }
        let mut winners = Vec::new();
        while let Some(task) = tasks.join_next().await {
            match task.expect("create does not panic") {
                (racer, Ok(())) => winners.push(racer),
                (_, Err(Error::Exists)) => {}
                (racer, Err(error)) => panic!("create {racer}: {error:?}"),
            }
        }
        let stored = read(stores[0].as_ref(), key.as_str()).await;
        assert_eq!(read(stores[1].as_ref(), key.as_str()).await, stored);
        assert!(winners.iter().any(|winner| text(*winner, 208) == stored), "the stored value is no winner's");
        if stores[0].promises().atomic_create.is_kept() {
            assert_eq!(winners.len(), 1);
        }
    }
}

/// What one instance does, another sees.
pub async fn neighbours_see_each_others_keys(subject: &impl Subject) {
    let (here, there) = (subject.store(), subject.neighbour());
    create(here.as_ref(), "here", b"1").await;
    create(there.as_ref(), "there", b"2").await;
    assert_eq!(read(there.as_ref(), "here").await, b"1");
    assert_eq!(kind(here.create(&name("there"), b"3").await), Some(ErrorKind::Exists));
    assert_eq!(walk(here.as_ref(), "", 9).await, ["here", "there"]);
    there.delete(&name("here")).await.expect("delete");
    assert_eq!(kind(here.get(&name("here")).await), Some(ErrorKind::NotFound));
}

/// The shortest, the longest, digits only, every kind of character.
pub async fn names_of_every_shape_are_kept(subject: &impl Subject) {
    let store = subject.store();
    let mut names = vec!["a".to_owned(), "0".to_owned(), "0123456789".to_owned(), "k".repeat(80), "a--b".to_owned()];
    if store.promises().any_name.is_kept() {
        names.extend(["_a_".to_owned(), "__".to_owned(), "My_Key-1".to_owned()]);
    }
    for (seed, text_of) in names.iter().enumerate() {
        create(store.as_ref(), text_of, &text(seed, 50)).await;
    }
    for (seed, text_of) in names.iter().enumerate() {
        assert_eq!(read(store.as_ref(), text_of).await, text(seed, 50), "{text_of}");
    }
    let names: BTreeSet<String> = names.into_iter().collect();
    assert!(walk(store.as_ref(), "", 99).await.iter().eq(&names));
    for text_of in &names {
        store.delete(&name(text_of)).await.expect("delete");
    }
    assert!(walk(store.as_ref(), "", 99).await.is_empty());
}

/// Or at least do not take each other's place.
pub async fn names_that_differ_in_case_differ(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "my-key", b"lower").await;
    let upper = store.create(&name("My-Key"), b"upper").await;
    if store.promises().any_name.is_kept() {
        upper.expect("create");
        assert_eq!(read(store.as_ref(), "My-Key").await, b"upper");
    } else {
        assert!(matches!(upper, Ok(()) | Err(Error::Exists)), "{upper:?}");
    }
    assert_eq!(read(store.as_ref(), "my-key").await, b"lower");
}

/// An empty store is not an error.
pub async fn an_empty_store_lists_nothing(subject: &impl Subject) {
    let store = subject.store();
    assert_eq!(list(store.as_ref(), "", None, 100).await, (vec![], None));
    assert_eq!(list(store.as_ref(), "prefix", Some("start"), 100).await, (vec![], None));
    create(store.as_ref(), "one", b"1").await;
    assert_eq!(list(store.as_ref(), "", None, 100).await, (vec!["one".to_owned()], None));
    store.delete(&name("one")).await.expect("delete");
    assert_eq!(list(store.as_ref(), "", None, 100).await, (vec![], None));
}

/// 1023, 1024, 1025 and 2500 names: the sizes at which the old server lost some.
pub async fn lists_of_every_size_page_without_loss(subject: &impl Subject) {
    let store = subject.store();
    let mut count = 0;
    for size in [1023, 1024, 1025, subject.many()] {
        create_all(&store, (count..size).map(|number| format!("key-{number:04}"))).await;
        count = size;
        let expected: Vec<String> = (0..size).map(|number| format!("key-{number:04}")).collect();
        for limit in [1000, 1024, 5000] {
            assert!(walk(store.as_ref(), "", limit).await == expected, "{size} names, {limit} a page");
        }
        assert_eq!(walk(store.as_ref(), "key-0", 100).await, expected[..1000.min(size)]);
        assert_eq!(walk(store.as_ref(), "key-1024", 100).await.len(), usize::from(size > 1024));
    }
}

/// Digits before capitals before `_` before small letters.
pub async fn list_is_sorted_by_bytes(subject: &impl Subject) {
    let store = subject.store();
    let mut sorted = vec!["0", "10", "9", "A", "Z", "a", "a-b", "a0", "aB", "z"];
    if store.promises().any_name.is_kept() {
        sorted = vec!["0", "10", "9", "A", "Z", "_x", "a", "a-b", "a0", "aB", "a_b", "ab", "z"];
    } else {
        sorted.retain(|name| !matches!(*name, "A" | "Z" | "aB"));
    }
    for index in (0..sorted.len()).rev() {
        create(store.as_ref(), sorted[(index * 5 + 3) % sorted.len()], b"value").await;
    }
    assert_eq!(list(store.as_ref(), "", None, 100).await, (sorted.iter().map(ToString::to_string).collect(), None));
}

/// A prefix is taken literally, and a name may be the prefix of another.
pub async fn list_filters_by_prefix(subject: &impl Subject) {
    let store = subject.store();
    create_all(&store, ["a", "app", "app-1", "app-2", "apple", "b-app"].map(str::to_owned)).await;
    for (prefix, expected) in [
        ("app", vec!["app", "app-1", "app-2", "apple"]),
        ("app-", vec!["app-1", "app-2"]),
        ("apple", vec!["apple"]),
        ("apples", vec![]),
        ("app*", vec![]),
        ("c", vec![]),
    ] {
        assert_eq!(walk(store.as_ref(), prefix, 100).await, expected, "{prefix}");
        assert_eq!(walk(store.as_ref(), prefix, 1).await, expected, "{prefix}");
    }
}

/// The two are independent: a start may lie before, within or behind the names with the prefix.
pub async fn list_keeps_prefix_and_start_apart(subject: &impl Subject) {
    let store = subject.store();
    create_all(&store, ["a", "b-1", "b-2", "b-3", "c"].map(str::to_owned)).await;
    for (prefix, from, expected) in [
        ("b", "a", vec!["b-1", "b-2", "b-3"]),
        ("b", "b-2", vec!["b-2", "b-3"]),
        ("b", "b-20", vec!["b-3"]),
        ("b", "c", vec![]),
        ("", "b-3", vec!["b-3", "c"]),
        ("", "zzz", vec![]),
    ] {
        assert_eq!(list(store.as_ref(), prefix, Some(from), 100).await.0, expected, "{prefix} from {from}");
    }
}

/// `next` is the first name left out, also if it is deleted before the next call.
pub async fn list_resumes_at_the_name_left_out(subject: &impl Subject) {
    let store = subject.store();
    create_all(&store, ["a", "b", "c", "d"].map(str::to_owned)).await;
    let (names, next) = list(store.as_ref(), "", None, 2).await;
    assert_eq!((names, next.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("c")));
    store.delete(&name("c")).await.expect("delete");
    assert_eq!(list(store.as_ref(), "", next.as_deref(), 2).await, (vec!["d".to_owned()], None));
    // A page that is exactly full is the last one.
    assert_eq!(list(store.as_ref(), "", None, 3).await.1, None);
}

/// Callers that go away in the middle of a call.
pub async fn dropped_calls_leave_the_store_usable(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "kept", b"kept").await;
    let (kept, fresh, gone) = (name("kept"), name("fresh"), name("gone"));
    create(store.as_ref(), "gone", b"gone").await;
    for _ in 0..5 {
        drop_after_one_poll(store.status()).await;
        drop_after_one_poll(store.get(&kept)).await;
        drop_after_one_poll(store.list("", None, 10)).await;
        drop_after_one_poll(store.create(&fresh, b"fresh")).await;
        drop_after_one_poll(store.delete(&gone)).await;
    }
    assert_eq!(read(store.as_ref(), "kept").await, b"kept");
    let again = store.create(&fresh, b"fresh").await;
    assert!(matches!(again, Ok(()) | Err(Error::Exists)), "{again:?}");
    assert_eq!(read(store.as_ref(), "fresh").await, b"fresh");
    let again = store.delete(&gone).await;
    assert!(matches!(again, Ok(()) | Err(Error::NotFound)), "{again:?}");
    assert_eq!(walk(store.as_ref(), "", 1).await, ["fresh", "kept"]);
}

async fn drop_after_one_poll(call: impl Future) {
    let mut call = pin!(call);
    poll_fn(|context| {
        let _ = call.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// While the service is away every call says so; afterwards the same store works again. Only where the subject can
/// stop its service.
pub async fn an_outage_is_reported_and_passes(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "before", b"value").await;
    if !subject.stop().await {
        return;
    }
    let is_outage = |error: Option<ErrorKind>| error.is_some_and(ErrorKind::is_outage);
    assert!(is_outage(kind(store.status().await)));
    assert!(is_outage(kind(store.get(&name("before")).await)));
    assert!(is_outage(kind(store.get(&name("missing")).await)));
    assert!(is_outage(kind(store.create(&name("during"), b"value").await)));
    assert!(is_outage(kind(store.delete(&name("before")).await)));
    assert!(is_outage(kind(store.list("", None, 10).await)));
    subject.start().await;
    store.status().await.expect("status");
    assert_eq!(read(store.as_ref(), "before").await, b"value");
    create(store.as_ref(), "after", b"value").await;
    assert_eq!(walk(store.as_ref(), "", 10).await, ["after", "before"]);
}

/// Stored keys of every generation of MinIO KES come back as the keys they are.
pub async fn records_of_every_release_are_read(subject: &impl Subject) {
    let store = subject.store();
    let keys = Cache::new(store.clone(), cache::Settings::default());
    for record in RECORDS {
        create(store.as_ref(), record.name, record.stored.as_bytes()).await;
        let key = keys.get(&name(record.name)).await.expect("readable");
        assert_eq!(hex(key.key().expose()), record.key, "{}", record.name);
        assert_eq!(key.hmac_key().map(|key| hex(key.expose())).as_deref(), record.hmac_key, "{}", record.name);
        assert_eq!(read(store.as_ref(), record.name).await, record.stored.as_bytes(), "never rewritten");
    }
}

/// Names like `-kes-seal`, of up to 91 bytes, are legal, and nobody sees them.
pub async fn entries_of_our_own_are_kept_and_never_listed(subject: &impl Subject) {
    let store = subject.store();
    create(store.as_ref(), "key", b"value").await;
    for text in ["-kes-probe".to_owned(), format!("-kes-probe-{}", "k".repeat(80))] {
        let own = KeyName::reserved(&text);
        store.create(&own, b"own").await.expect("create");
        assert_eq!(kind(store.create(&own, b"other").await), Some(ErrorKind::Exists));
        assert_eq!(store.get(&own).await.expect("get").expose(), b"own");
        assert_eq!(walk(store.as_ref(), "", 1).await, ["key"]);
        assert!(walk(store.as_ref(), "-", 9).await.is_empty());
        store.delete(&own).await.expect("delete");
        assert_eq!(kind(store.get(&own).await), Some(ErrorKind::NotFound));
    }
}

/// If the store can, it compares, replaces, and brings nothing back.
pub async fn values_are_replaced_in_place_if_at_all(subject: &impl Subject) {
    let store = subject.store();
    let Some(place) = store.in_place() else { return };
    create(store.as_ref(), "key", b"old").await;
    place.replace(&name("key"), b"old", b"new").await.expect("replace");
    assert_eq!(read(subject.neighbour().as_ref(), "key").await, b"new");
    assert_eq!(kind(place.replace(&name("key"), b"old", b"newer").await), Some(ErrorKind::Exists));
    assert_eq!(kind(place.replace(&name("other"), b"old", b"new").await), Some(ErrorKind::NotFound));
    assert_eq!(walk(store.as_ref(), "", 9).await, ["key"]);
    assert_eq!(read(store.as_ref(), "key").await, b"new");
}

/// The bytes we store are those MinIO KES stores for the same key.
pub async fn records_are_written_as_the_old_server_writes_them(subject: &impl Subject) {
    let store = subject.store();
    let keys = Cache::new(store.clone(), cache::Settings::default());
    for record in RECORDS.iter().filter(|record| record.canonical) {
        let key = KeyVersion::parse(record.stored.as_bytes()).expect("readable");
        keys.create(&name(record.name), key).await.expect("create");
        assert_eq!(read(store.as_ref(), record.name).await, record.stored.as_bytes(), "{}", record.name);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
