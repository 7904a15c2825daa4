//! Lists from servers of every kind, and log streams.

mod support;

use std::sync::Arc;

use kes_client::{Error, Reason};
use support::{Reply, Seen, json, trusted};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key-{number:04}")).collect()
}

fn page(names: &[String], next: Option<&String>) -> Reply {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    let next = next.map(|next| format!(",\"continue_at\":\"{next}\"")).unwrap_or_default();
    json(200, &format!("{{\"names\":[{}]{next}}}", names.join(",")))
}

/// The old server: the text is a prefix, a page has 1024 names.
fn old(names: Arc<Vec<String>>) -> impl Fn(&Seen) -> Reply {
    move |seen| {
        let prefix = seen.path.strip_prefix("/v1/key/list/").expect("a list of keys");
        if prefix.ends_with('-') || prefix == "_" {
            return json(400, "{\"message\":\"listing pattern is invalid\"\n}");
        }
        let found: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        page(&found[..found.len().min(1024)], found.get(1024))
    }
}

/// Ours: a text that was handed out as `continue_at` is a place to go on from.
fn ours(names: Arc<Vec<String>>, length: usize) -> impl Fn(&Seen) -> Reply {
    move |seen| {
        let text = seen.path.strip_prefix("/v1/key/list/").expect("a list of keys");
        let place = names.iter().position(|name| name == text).filter(|place| place % length == 0).unwrap_or(0);
        let end = (place + length).min(names.len());
        page(&names[place..end], names.get(end))
    }
}

#[tokio::test]
async fn an_old_server_gives_all_its_names() {
    let mut all = names(3000);
    all.extend(["a", "_x", "key-02", "key-1024-b", "key_", "z-1", "zz"].map(str::to_owned));
    all.sort();
    let all = Arc::new(all);
    let (_fake, builder) = trusted(old(Arc::clone(&all))).await;
    let client = builder.build().unwrap();
    assert_eq!(&client.list_keys("").unwrap().all().await.unwrap(), all.as_ref());
    let expected: Vec<_> = all.iter().filter(|name| name.starts_with("key-")).cloned().collect();
    assert_eq!(client.list_keys("key-").unwrap().all().await.unwrap(), expected, "a prefix that it refuses");
}

#[tokio::test]
async fn pages_of_our_server_follow_each_other() {
    for length in [1, 700, 1024, 3000, 3001] {
        let all = Arc::new(names(3000));
        let (fake, builder) = trusted(ours(Arc::clone(&all), length)).await;
        let mut list = builder.build().unwrap().list_keys("").unwrap();
        let mut found = Vec::new();
        while let Some(name) = list.next().await.unwrap() {
            found.push(name);
            if length == 1 && found.len() == 5 {
                break;
            }
        }
        assert_eq!(found, all[..found.len()], "pages of {length}");
        assert_eq!(fake.seen().len(), found.len().div_ceil(length), "pages of {length}");
    }
}

#[tokio::test]
async fn lists_of_releases_before_2023_10_24_are_read() {
    let (_fake, builder) = trusted(|seen| match seen.path.as_str() {
        "/v1/key/list/" => (200, "application/x-ndjson", b"{\"name\":\"b\"}\n{\"name\":\"a\"}\n".to_vec()),
        "/v1/identity/list/" => (200, "application/x-ndjson", b"{\"identity\":\"f00\",\"admin\":false}\n".to_vec()),
        _ => (200, "application/x-ndjson", b"{\"name\":\"a\"}\n{\"error\":\"it broke\"}\n".to_vec()),
    })
    .await;
    let client = builder.build().unwrap();
    assert_eq!(client.list_keys("").unwrap().all().await.unwrap(), ["a", "b"]);
    assert_eq!(client.list_identities("").unwrap().all().await.unwrap(), ["f00"]);
    let error = client.list_policies("").unwrap().all().await.unwrap_err();
    assert_eq!(error.to_string(), "it broke");
}

const EVENT: &str =
    r#"{"time":"2026-11-21T07:58:48.6Z","request":{"path":"/v1/key/create/k"},"response":{"code":200,"time":950701}}"#;

#[tokio::test]
async fn events_arrive_and_the_stream_ends() {
    let (_fake, builder) = trusted(|seen| match seen.path.as_str() {
        "/v1/log/audit" => (200, "application/x-ndjson", format!("{EVENT}\n\n{EVENT}").into_bytes()),
        _ => (200, "application/x-ndjson", b"{\"message\":\"a\"}\n[]\n{\"message\":\"b\"}\n".to_vec()),
    })
    .await;
    let client = builder.build().unwrap();
    let mut audit = client.audit_log().await.unwrap();
    let event = audit.next().await.unwrap().unwrap();
    assert_eq!((event.request.path.as_str(), event.response.time), ("/v1/key/create/k", 950_701));
    assert!(audit.next().await.unwrap().is_ok(), "the last line needs no newline");
    assert!(audit.next().await.is_none());

    let mut errors = client.error_log().await.unwrap();
    assert_eq!(errors.next().await.unwrap().unwrap().message, "a");
    assert!(matches!(errors.next().await, Some(Err(Error::Answer { .. }))));
    assert!(errors.next().await.is_none(), "what is no event ends the stream");
}

#[tokio::test]
async fn a_refused_stream_is_a_refusal() {
    let (_fake, builder) = trusted(|_| json(403, "{\"message\":\"not authorized: insufficient permissions\"\n}")).await;
    let error = builder.build().unwrap().audit_log().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NotAllowed));
}
