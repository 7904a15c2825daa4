//! What is promised about secrets: who was first, what is deleted, how names are written, what an operator is told.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kes_keystore::{Error, ErrorKind, KeyStore};
use kes_keystore_azure::{Config, Names, Store, Vault, connect};
use serde_json::{Value, json};
use support::{Act, CLIENT, Front, Request, StandIn, chain, name, shared};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

async fn open(vault: Vault) -> Store {
    connect(Config { vault, ..Config::default() }).await.unwrap()
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// All versions of a secret: identifier and value.
async fn versions(vault: &Vault, secret: &str) -> Vec<(String, String)> {
    let (_, listed) = shared().ask(&vault.endpoint, "GET", &format!("/secrets/{secret}/versions"), Value::Null).await;
    let mut found = Vec::new();
    for version in listed["value"].as_array().unwrap() {
        let id = version["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let (_, read) = shared().ask(&vault.endpoint, "GET", &format!("/secrets/{secret}/{id}"), Value::Null).await;
        found.push((id, read["value"].as_str().unwrap().to_owned()));
    }
    found
}

async fn set(vault: &Vault, secret: &str, value: &str) -> u16 {
    shared().ask(&vault.endpoint, "PUT", &format!("/secrets/{secret}"), json!({ "value": value })).await.0
}

async fn soft_delete(vault: &Vault, secret: &str) {
    let (status, _) = shared().ask(&vault.endpoint, "DELETE", &format!("/secrets/{secret}"), Value::Null).await;
    assert_eq!(status, 200);
    // It takes effect a moment later.
    loop {
        let path = format!("/deletedsecrets/{secret}");
        if shared().ask(&vault.endpoint, "GET", &path, Value::Null).await.0 == 200 {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn the_value_is_all_that_is_written() {
    let vault = shared().vault();
    let endpoint = vault.endpoint.clone();
    open(vault).await.create(&name("my-key"), b"{\"bytes\":\"x\"}").await.unwrap();
    let (_, read) = shared().ask(&endpoint, "GET", "/secrets/my-key", Value::Null).await;
    assert_eq!(read["value"], "{\"bytes\":\"x\"}");
    assert!(read["contentType"].is_null() && read["tags"].is_null(), "{read}");
}

/// Many servers at once, each with its own value: one wins, the others are told so, and everybody reads the winner's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn of_many_who_create_one_wins_and_the_others_know() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let mut stores = Vec::new();
    for _ in 0..6 {
        stores.push(Arc::new(open(vault()).await));
    }
    for round in 0..10 {
        let key = format!("race-{round}");
        let mut tasks = JoinSet::new();
        for (number, store) in stores.iter().enumerate() {
            let (store, key) = (Arc::clone(store), name(&key));
            tasks.spawn(async move { (number, kind(store.create(&key, format!("of-{number}").as_bytes()).await)) });
        }
        let mut winners = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done.unwrap() {
                (number, None) => winners.push(number),
                (_, failed) => assert_eq!(failed, Some(ErrorKind::Exists)),
            }
        }
        assert_eq!(winners.len(), 1, "{key}");
        for store in &stores {
            let read = store.get(&name(&key)).await.unwrap();
            assert_eq!(read.expose(), format!("of-{}", winners[0]).as_bytes(), "{key}");
        }
    }
}

/// A server that has looked before another one made the key, and goes on after that: it loses, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn who_comes_late_loses_whatever_it_has_seen() {
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let plan = move |request: &Request| match request.method() {
        "PUT" => Act::Hold(Arc::clone(&held)),
        _ => Act::Pass,
    };
    let front = Front::start(shared(), plan).await;
    let late = Arc::new(open(front.vault(shared())).await);
    let clear = open(front.clear(shared())).await;
    assert!(clear.list("", None, 1).await.is_ok());
    for round in 0..4 {
        let key = name(&format!("key-{round}"));
        let creating = {
            let (late, key) = (Arc::clone(&late), key.clone());
            tokio::spawn(async move { late.create(&key, b"late").await })
        };
        let put = format!("PUT /secrets/{key}?");
        while !front.seen().iter().any(|request| request.line.starts_with(&put)) {
            tokio::task::yield_now().await;
        }
        clear.create(&key, b"first").await.unwrap();
        gate.notify_one();
        assert_eq!(kind(creating.await.unwrap()), Some(ErrorKind::Exists));
        assert_eq!(clear.get(&key).await.unwrap().expose(), b"first");
        assert_eq!(late.get(&key).await.unwrap().expose(), b"first");
    }
}

/// Answers with the versions of `key` as they are at the first look and from the second on, and with each one's value. The
/// versions were made at 1,700,000,000; the answers tell how many seconds later they come, if they tell.
async fn two_looks(later: Option<i64>) -> Arc<Front> {
    let looks = AtomicUsize::new(0);
    let plan = move |request: &Request| {
        let path = request.target().split('?').next().unwrap_or_default();
        let version = |id: &str| json!({ "id": format!("https://x/secrets/key/{id}"), "attributes": { "enabled": true, "created": 1_700_000_000 } });
        let body = match path {
            _ if request.header("authorization").is_none() => return Act::Pass,
            "/secrets/key/versions" => match looks.fetch_add(1, Ordering::Relaxed) {
                0 => json!({ "value": [version("bbbb")] }),
                _ => json!({ "value": [version("bbbb"), version("aaaa")] }),
            },
            _ => match path.strip_prefix("/secrets/key/") {
                Some(id) => json!({ "value": format!("of-{id}"), "id": format!("https://x/secrets/key/{id}") }),
                None => return Act::Pass,
            },
        };
        match later {
            Some(later) => {
                Act::Dated(OffsetDateTime::from_unix_timestamp(1_700_000_000 + later).unwrap(), body.to_string())
            }
            None => Act::Answer(200, body.to_string()),
        }
    };
    Front::start(shared(), plan).await
}

/// Whoever reads a key in the second in which it was made waits until nobody can come before it any more, by Key Vault's clock.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn nobody_uses_a_version_that_may_still_lose() {
    let asked = |front: &Front| front.seen().iter().filter(|request| request.header("authorization").is_some()).count();
    for later in [None, Some(0), Some(1), Some(-3600)] {
        let front = two_looks(later).await;
        let store = open(front.vault(shared())).await;
        assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"of-aaaa", "{later:?}");
        assert_eq!(asked(&front), 3, "{later:?}: versions twice, and the value");
        // Whoever creates it is told only when it is known whose it is.
        let front = two_looks(later).await;
        let store = open(front.vault(shared())).await;
        assert_eq!(kind(store.create(&name("key"), b"late").await), Some(ErrorKind::Exists));
        assert_eq!(asked(&front), 2, "{later:?}: versions twice");
    }
    // One that is settled costs nothing more.
    for later in [60, 86400] {
        let front = two_looks(Some(later)).await;
        let store = open(front.vault(shared())).await;
        assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"of-bbbb");
        assert_eq!(asked(&front), 2, "versions, and the value");
    }
}

/// Who has made a key has already waited.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn who_made_a_key_reads_it_at_once() {
    let front = Front::start(shared(), |_| Act::Pass).await;
    let store = open(front.vault(shared())).await;
    store.create(&name("key"), b"value").await.unwrap();
    let before = front.seen().len();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
    assert_eq!(front.seen().len() - before, 2, "versions, and the value");
}

/// An answer that was lost is no "key already exists".
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_create_whose_answer_was_lost_is_no_failure() {
    let lost = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&lost);
    let plan = move |request: &Request| match request.method() {
        "PUT" if !once.swap(true, Ordering::Relaxed) => Act::Lose,
        _ => Act::Pass,
    };
    let front = Front::start(shared(), plan).await;
    let store = open(front.vault(shared())).await;
    store.create(&name("key"), b"value").await.unwrap();
    assert!(lost.load(Ordering::Relaxed));
    assert_eq!(kind(store.create(&name("key"), b"value").await), Some(ErrorKind::Exists));
    let found = versions(&front.clear(shared()), "key").await;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn versions_that_others_add_change_nothing() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let store = open(vault()).await;
    store.create(&name("key"), b"first").await.unwrap();
    // More than one page of them.
    for number in 0..30 {
        assert_eq!(set(&vault(), "key", &format!("later-{number}")).await, 200);
    }
    assert_eq!(versions(&vault(), "key").await.len(), 25, "the first page");
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"first");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_deleted_secret_is_neither_overwritten_nor_purged_by_a_create() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let store = open(vault()).await;
    store.create(&name("key"), b"precious").await.unwrap();
    soft_delete(&vault(), "key").await;
    assert_eq!(kind(store.get(&name("key")).await), Some(ErrorKind::NotFound));
    assert!(store.list("", None, 9).await.unwrap().names.is_empty());
    let error = store.create(&name("key"), b"new").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let text = chain(&error);
    for words in
        ["'key'", "az keyvault secret recover", "az keyvault secret purge", "keystore.azure.keyvault.purge: on"]
    {
        assert!(text.contains(words), "{text}");
    }
    let (status, _) = shared().ask(&vault().endpoint, "POST", "/deletedsecrets/key/recover", Value::Null).await;
    assert_eq!(status, 200);
    // Recovering goes on for a moment after it was answered: a create finds that it exists, or waits for it.
    assert_eq!(kind(store.create(&name("key"), b"new").await), Some(ErrorKind::Exists));
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"precious");

    // Unless the operator has said so.
    soft_delete(&vault(), "key").await;
    let purges = connect(Config { vault: vault(), purge: true, ..Config::default() }).await.unwrap();
    purges.create(&name("key"), b"new").await.unwrap();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"new");
    assert_eq!(versions(&vault(), "key").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn deleting_is_for_good_also_when_it_was_begun_before() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let store = open(vault()).await;
    store.create(&name("key"), b"value").await.unwrap();
    soft_delete(&vault(), "key").await;
    store.delete(&name("key")).await.unwrap();
    store.create(&name("key"), b"again").await.unwrap();
    store.delete(&name("key")).await.unwrap();
    let (status, _) = shared().ask(&vault().endpoint, "GET", "/deletedsecrets/key", Value::Null).await;
    assert_eq!(status, 404);
    store.delete(&name("key")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn purge_protection_and_a_missing_permission_are_told_apart() {
    let stand_in = StandIn::start(&["--purge-protection"]);
    let store = connect(stand_in.config()).await.unwrap();
    assert!(store.notices().is_empty(), "{:?}", store.notices());
    store.create(&name("key"), b"value").await.unwrap();
    let error = store.delete(&name("key")).await.unwrap_err();
    assert!(chain(&error).contains("the vault has purge protection"), "{}", chain(&error));
    let error = store.create(&name("key"), b"value").await.unwrap_err();
    assert!(chain(&error).contains("az keyvault secret recover"), "{}", chain(&error));

    let stand_in = StandIn::start(&[]);
    let store = connect(stand_in.config()).await.unwrap();
    store.create(&name("key"), b"value").await.unwrap();
    stand_in.allow(CLIENT, Some(&["secrets/get", "secrets/list", "secrets/set", "secrets/delete"])).await;
    let error = store.delete(&name("key")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(chain(&error).contains("does not permit secrets/purge"), "{}", chain(&error));
}

/// The start finds out what is missing, one by one, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn the_start_names_what_is_not_permitted() {
    let stand_in = StandIn::start(&[]);
    let all = ["secrets/get", "secrets/list", "secrets/set", "secrets/delete", "secrets/purge"];
    let (vault_name, port) = stand_in.fresh();
    let config = || Config { vault: stand_in.vault_at(&vault_name, port), check: true, ..Config::default() };
    stand_in.allow(CLIENT, Some(&all)).await;
    let store = connect(config()).await.unwrap();
    assert!(store.notices().is_empty(), "with what MinIO's guide grants: {:?}", store.notices());
    // And that is all that is needed.
    store.create(&name("key"), b"value").await.unwrap();
    store.get(&name("key")).await.unwrap();
    store.list("", None, 9).await.unwrap();
    store.delete(&name("key")).await.unwrap();
    for missing in all {
        let rest: Vec<_> = all.into_iter().filter(|one| *one != missing).collect();
        stand_in.allow(CLIENT, Some(&rest)).await;
        let notices = connect(config()).await.unwrap().notices();
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains(missing) && notices[0].contains("access policy"), "{notices:?}");
    }
    stand_in.allow(CLIENT, None).await;
    let store = connect(config()).await.unwrap();
    assert!(store.list("", None, 9).await.unwrap().names.is_empty());
}

/// What role-based access control and network rules say, in the words of Microsoft's documentation.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn roles_and_network_rules_are_told_with_their_remedy() {
    let by_role = "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
                   definitions were changed recently, please observe propagation time.\r\nCaller: appid=x\r\nAction: \
                   'Microsoft.KeyVault/vaults/secrets/setSecret/action'\r\nResource: '/subscriptions/x'";
    let front = Front::start(shared(), move |request| match request.method() {
        "PUT" if request.header("authorization").is_some() => Act::error(403, "Forbidden", "ForbiddenByRbac", by_role),
        _ => Act::Pass,
    })
    .await;
    let store = connect(Config { vault: front.vault(shared()), check: true, ..Config::default() }).await.unwrap();
    let notices = store.notices();
    assert!(notices.len() == 1 && notices[0].contains("Key Vault Secrets Officer"), "{notices:?}");
    assert!(notices[0].contains("Microsoft.KeyVault/vaults/secrets/setSecret/action"), "{notices:?}");
    let error = store.create(&name("key"), b"value").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(chain(&error).contains("Key Vault Secrets Officer"), "{}", chain(&error));

    let front = Front::start(shared(), |request| match request.header("authorization") {
        Some(_) => Act::error(403, "Forbidden", "ForbiddenByFirewall", "Client address is not authorized."),
        None => Act::Pass,
    })
    .await;
    let config = Config { vault: front.vault(shared()), check: true, ..Config::default() };
    let error = connect(config).await.err().unwrap();
    assert!(chain(&error).contains("the network rules of the vault"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn names_that_key_vault_has_not_are_refused_at_once() {
    let vault = shared().vault();
    let endpoint = vault.endpoint.clone();
    let store = open(vault).await;
    let error = store.create(&name("my_key"), b"value").await.unwrap_err();
    let Error::UnfitName { problem, .. } = &error else { panic!("{error}") };
    assert!(problem.contains("Azure Key Vault") && problem.contains("'_'"), "{problem}");
    assert_eq!(kind(store.get(&name("my_key")).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(store.delete(&name("my_key")).await), Some(ErrorKind::NotFound));
    // One key, however it is spelled; the other spellings are not it.
    store.create(&name("My-Key"), b"value").await.unwrap();
    assert_eq!(store.get(&name("My-Key")).await.unwrap().expose(), b"value");
    assert_eq!(kind(store.get(&name("my-key")).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(store.create(&name("my-key"), b"other").await), Some(ErrorKind::Exists));
    store.delete(&name("my-key")).await.unwrap();
    assert_eq!(store.list("", None, 9).await.unwrap().names, [name("My-Key")]);
    let (status, _) = shared().ask(&endpoint, "GET", "/secrets/My-Key", Value::Null).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn mapped_names_are_listed_as_they_were_given() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let old = open(vault()).await;
    old.create(&name("Old-Key"), b"old").await.unwrap();
    let store = connect(Config { vault: vault(), names: Names::Map, ..Config::default() }).await.unwrap();
    for key in ["my_key", "My_Key", "my-key", "MY-KEY", "plain-1"] {
        store.create(&name(key), key.as_bytes()).await.unwrap();
    }
    for key in ["my_key", "My_Key", "my-key", "MY-KEY", "plain-1"] {
        assert_eq!(store.get(&name(key)).await.unwrap().expose(), key.as_bytes());
    }
    let expected: Vec<_> = ["MY-KEY", "My_Key", "Old-Key", "my-key", "my_key", "plain-1"].map(name).into();
    assert_eq!(store.list("", None, 99).await.unwrap().names, expected);
    // What the old server has made is found, and is not made again.
    assert_eq!(store.get(&name("Old-Key")).await.unwrap().expose(), b"old");
    assert_eq!(kind(store.create(&name("Old-Key"), b"new").await), Some(ErrorKind::Exists));
    // It finds those that need no mapping under their names.
    assert_eq!(old.get(&name("plain-1")).await.unwrap().expose(), b"plain-1");
    let (_, listed) = shared().ask(&vault().endpoint, "GET", "/secrets", Value::Null).await;
    let mut secrets: Vec<_> = listed["value"].as_array().unwrap().iter().map(|secret| secret["id"].clone()).collect();
    secrets.sort_by_key(ToString::to_string);
    assert!(secrets.iter().any(|id| id.as_str().unwrap().ends_with("/secrets/my-key-w-")), "{secrets:?}");
    for key in ["my_key", "Old-Key", "MY-KEY"] {
        store.delete(&name(key)).await.unwrap();
    }
    let expected: Vec<_> = ["My_Key", "my-key", "plain-1"].map(name).into();
    assert_eq!(store.list("", None, 99).await.unwrap().names, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn secrets_that_cannot_be_read_are_told_with_the_reason() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let store = open(vault()).await;
    store.create(&name("key"), b"value").await.unwrap();
    for (attributes, words) in [(json!({"enabled": false}), "is disabled")] {
        let body = json!({ "attributes": attributes });
        let (status, _) = shared().ask(&vault().endpoint, "PATCH", "/secrets/key", body).await;
        assert_eq!(status, 200);
        let error = store.get(&name("key")).await.unwrap_err();
        assert!(chain(&error).contains(words), "{}", chain(&error));
        assert_eq!(kind(store.create(&name("key"), b"new").await), Some(ErrorKind::Exists));
    }
}

async fn is_kept(vault: &Vault, secret: &str) -> bool {
    let (status, _) = shared().ask(&vault.endpoint, "GET", &format!("/deletedsecrets/{secret}"), Value::Null).await;
    status == 200
}

/// The answer to a deletion is lost, and before it can be repeated another server makes the key anew: that one stays.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_deletion_whose_answer_was_lost_does_not_take_what_came_after_it() {
    let (lost, gate, open_again) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()), Arc::default());
    let plan = {
        let (lost, gate, open_again) = (Arc::clone(&lost), Arc::clone(&gate), Arc::<AtomicBool>::clone(&open_again));
        move |request: &Request| match request.method() {
            "DELETE" if !lost.swap(true, Ordering::Relaxed) => Act::Lose,
            _ if lost.load(Ordering::Relaxed) && !open_again.load(Ordering::Relaxed) => Act::Hold(Arc::clone(&gate)),
            _ => Act::Pass,
        }
    };
    let front = Front::start(shared(), plan).await;
    let store = Arc::new(open(front.vault(shared())).await);
    let other = Config { vault: front.clear(shared()), purge: true, ..Config::default() };
    let other = connect(other).await.unwrap();
    other.create(&name("key"), b"old").await.unwrap();
    let deleting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.delete(&name("key")).await })
    };
    while front.seen().last().is_none_or(|last| !lost.load(Ordering::Relaxed) || last.method() == "DELETE") {
        if front.seen().iter().filter(|request| request.method() == "DELETE").count() > 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    other.create(&name("key"), b"new").await.unwrap();
    open_again.store(true, Ordering::Relaxed);
    gate.notify_one();
    deleting.await.unwrap().unwrap();
    assert_eq!(other.get(&name("key")).await.unwrap().expose(), b"new");
    assert!(!is_kept(&front.clear(shared()), "key").await);
}

/// Key Vault takes the two for one name; what is purged by a create is only what had the very same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_create_does_not_purge_a_secret_in_another_case() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    assert_eq!(set(&vault(), "My-Key", "precious").await, 200);
    soft_delete(&vault(), "My-Key").await;
    let store = connect(Config { vault: vault(), purge: true, ..Config::default() }).await.unwrap();
    let error = store.create(&name("my-key"), b"new").await.unwrap_err();
    assert!(chain(&error).contains("differs in capitals only"), "{}", chain(&error));
    assert!(is_kept(&vault(), "My-Key").await);
    store.create(&name("My-Key"), b"new").await.unwrap();
}

/// With mapped names as well, where the secret has the name that the old server gave it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn an_interrupted_deletion_is_completed_under_either_name() {
    let (vault_name, port) = shared().fresh();
    let vault = || shared().vault_at(&vault_name, port);
    let store = connect(Config { vault: vault(), names: Names::Map, ..Config::default() }).await.unwrap();
    for secret in ["My-Key", "my-key-s-"] {
        assert_eq!(set(&vault(), secret, "value").await, 200);
        soft_delete(&vault(), secret).await;
    }
    store.delete(&name("My-Key")).await.unwrap();
    for secret in ["My-Key", "my-key-s-"] {
        assert!(!is_kept(&vault(), secret).await, "{secret}");
    }
}
