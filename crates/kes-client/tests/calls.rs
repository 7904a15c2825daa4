//! Every call: what is sent, and what becomes of the answer.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use kes_client::wire::{PolicyRequest, SecretBytes};
use kes_client::{ApiKey, Client, Error, Identity, KeyType, Reason, ServerError};
use support::{Fake, Reply, Seen, Setup, authority, json, settings, template, trusted};

const TIME: &str = "2026-11-21T07:48:20.977670609Z";

/// A server that knows one answer per route.
fn routes(seen: &Seen) -> Reply {
    let json = |body: String| json(200, &body);
    match seen.path.as_str() {
        "/version" => json(r#"{"version":"v1","commit":"c0ffee"}"#.into()),
        "/v1/ready" | "/v1/key/create/k" | "/v1/key/import/k" | "/v1/key/delete/k" => (200, "", Vec::new()),
        "/v1/status" => json(r#"{"version":"v1","uptime":43,"num_cpu":2,"keystore_unreachable":true}"#.into()),
        "/v1/api" => json(r#"[{"method":"GET","path":"/version","max_body":0,"timeout":10}]"#.into()),
        "/v1/metrics" => (200, "text/plain; version=0.0.4", b"kes_http_request_active 1\n".to_vec()),
        "/v1/metrics?view=full" => (200, "text/plain; version=0.0.4", b"kes_cache_hits_total 1\n".to_vec()),
        "/v1/key/describe/k" => json(format!(r#"{{"name":"k","created_at":"{TIME}","created_by":"me"}}"#)),
        "/v1/key/generate/k" => json(r#"{"plaintext":"cGxhaW4=","ciphertext":"c2VhbGVk"}"#.into()),
        "/v1/key/encrypt/k" => json(r#"{"ciphertext":"c2VhbGVk"}"#.into()),
        "/v1/key/decrypt/k" => json(r#"{"plaintext":""}"#.into()),
        "/v1/key/hmac/k" => json(r#"{"hmac":"c3Vt"}"#.into()),
        "/v1/key/list/" => json(r#"{"names":["a","b"]}"#.into()),
        "/v1/policy/list/ap" => json(r#"{"names":["app"],"continue_at":""}"#.into()),
        "/v1/identity/list/" => json(r#"{"identities":["f00"],"continue_at":""}"#.into()),
        "/v1/policy/describe/app" => json(format!(r#"{{"name":"app","created_at":"{TIME}","created_by":"me"}}"#)),
        "/v1/policy/read/app" => {
            json(format!(r#"{{"name":"app","allow":{{"/v1/status":{{}}}},"created_at":"{TIME}"}}"#))
        }
        "/v1/policy/write/new" | "/v1/policy/assign/new" | "/v1/policy/delete/new" | "/v1/identity/delete/someone" => {
            (200, "", Vec::new())
        }
        "/v1/policy/list/new" => json(r#"{"names":["newer","news"],"continue_at":"","ephemeral":["news"]}"#.into()),
        "/v1/identity/describe/someone" => json(format!(r#"{{"policy":"app","created_at":"{TIME}"}}"#)),
        "/v1/identity/self/describe" => json(format!(r#"{{"identity":"f00","admin":true,"created_at":"{TIME}"}}"#)),
        _ => (404, "text/plain; charset=utf-8", b"404 page not found\n".to_vec()),
    }
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

#[tokio::test]
async fn calls_send_what_the_official_client_sends() {
    let (fake, builder) = trusted(routes).await;
    let client = builder.build().unwrap();
    client.ready().await.unwrap();
    client.create_key("k").await.unwrap();
    client.import_key("k", KeyType::ChaCha20, secret("0")).await.unwrap();
    client.generate_key("k", b"").await.unwrap();
    client.generate_key("k", b"ctx").await.unwrap();
    client.encrypt("k", secret("p"), b"ctx").await.unwrap();
    client.decrypt("k", b"c", b"").await.unwrap();
    client.hmac("k", secret("m")).await.unwrap();
    client.delete_key("k").await.unwrap();
    let sent: Vec<_> = fake
        .seen()
        .into_iter()
        .map(|seen| format!("{} {} {}", seen.method, seen.path, String::from_utf8_lossy(&seen.body).trim_end()))
        .collect();
    assert_eq!(
        sent,
        [
            "GET /v1/ready ",
            "POST /v1/key/create/k ",
            r#"POST /v1/key/import/k {"key":"MA==","cipher":"ChaCha20"}"#,
            "POST /v1/key/generate/k {}",
            r#"POST /v1/key/generate/k {"context":"Y3R4"}"#,
            r#"POST /v1/key/encrypt/k {"plaintext":"cA==","context":"Y3R4"}"#,
            r#"POST /v1/key/decrypt/k {"ciphertext":"Yw=="}"#,
            r#"PUT /v1/key/hmac/k {"message":"bQ=="}"#,
            "DELETE /v1/key/delete/k ",
        ]
    );
    for seen in fake.seen() {
        let length = seen.headers.get("content-length").map(|value| value.to_str().unwrap().to_owned());
        let expected = if seen.method == "GET" { None } else { Some(seen.body.len().to_string()) };
        assert_eq!(length, expected, "{} {}", seen.method, seen.path);
    }
}

#[tokio::test]
async fn answers_are_read() {
    let (_fake, builder) = trusted(routes).await;
    let client = builder.build().unwrap();
    assert_eq!(client.version().await.unwrap().commit, "c0ffee");
    let status = client.status().await.unwrap();
    assert!(status.keystore_unreachable && !status.keystore_unavailable, "HEAD sends one without the other");
    assert_eq!(client.apis().await.unwrap()[0].timeout, 10);
    assert_eq!(client.metrics().await.unwrap().requests_active, 1);
    assert_eq!(client.metrics_text().await.unwrap(), "kes_http_request_active 1\n");
    assert_eq!(client.metrics_full_text().await.unwrap(), "kes_cache_hits_total 1\n");
    let info = client.describe_key("k").await.unwrap();
    assert_eq!((info.algorithm.as_str(), info.created_at.nanosecond()), ("AES256", 977_670_609));
    let data_key = client.generate_key("k", b"").await.unwrap();
    assert_eq!((data_key.plaintext.expose(), &data_key.ciphertext[..]), (&b"plain"[..], &b"sealed"[..]));
    assert_eq!(client.decrypt("k", b"c", b"").await.unwrap().expose(), b"");
    assert_eq!(client.hmac("k", secret("m")).await.unwrap().expose(), b"sum");
    assert_eq!(client.list_keys("").unwrap().all().await.unwrap(), ["a", "b"]);
    assert_eq!(client.list_policies("ap").unwrap().all().await.unwrap(), ["app"]);
    assert_eq!(client.list_identities("").unwrap().all().await.unwrap(), ["f00"]);
    assert_eq!(client.describe_policy("app").await.unwrap().name, "app");
    assert!(client.read_policy("app").await.unwrap().allow.contains_key("/v1/status"));
    let someone: Identity = "someone".parse().unwrap();
    assert_eq!(client.describe_identity(&someone).await.unwrap().policy, "app");
    assert!(client.describe_self().await.unwrap().admin);
}

#[tokio::test]
async fn policies_and_identities_are_changed_on_the_old_routes() {
    let (fake, builder) = trusted(routes).await;
    let client = builder.build().unwrap();
    let policy = PolicyRequest { allow: vec!["/v1/status".into()], deny: Vec::new() };
    client.create_policy("new", &policy).await.unwrap();
    client.assign_policy("new", "someone").await.unwrap();
    client.delete_policy("new").await.unwrap();
    client.delete_identity("someone").await.unwrap();
    let sent: Vec<_> = fake
        .seen()
        .into_iter()
        .map(|seen| format!("{} {} {}", seen.method, seen.path, String::from_utf8_lossy(&seen.body).trim_end()))
        .collect();
    assert_eq!(
        sent,
        [
            r#"POST /v1/policy/write/new {"allow":["/v1/status"],"deny":[]}"#,
            r#"POST /v1/policy/assign/new {"identity":"someone"}"#,
            "DELETE /v1/policy/delete/new ",
            "DELETE /v1/identity/delete/someone ",
        ]
    );
    for wrong in ["", "..", "a/b"] {
        assert!(matches!(client.create_policy(wrong, &policy).await, Err(Error::Name { .. })));
        assert!(matches!(client.assign_policy(wrong, "a").await, Err(Error::Name { .. })));
        assert!(matches!(client.assign_policy("a", wrong).await, Err(Error::Name { .. })));
        assert!(matches!(client.delete_policy(wrong).await, Err(Error::Name { .. })));
        assert!(matches!(client.delete_identity(wrong).await, Err(Error::Name { .. })));
    }
    assert_eq!(fake.seen().len(), 4);
    let mut names = client.list_policies("new").unwrap();
    assert_eq!(names.next().await.unwrap().as_deref(), Some("newer"));
    assert!(names.is_ephemeral("news") && !names.is_ephemeral("newer"));
}

#[tokio::test]
async fn a_wrong_name_is_never_sent() {
    let (fake, builder) = trusted(routes).await;
    let client = builder.build().unwrap();
    for name in ["", "..", "a/b", "a b", "-"] {
        assert!(matches!(client.create_key(name).await, Err(Error::Name { .. })), "{name}");
        assert!(matches!(client.decrypt(name, b"", b"").await, Err(Error::Name { .. })), "{name}");
    }
    assert!(client.list_keys("a*").is_err());
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn refusals_keep_status_and_text() {
    let (_fake, builder) = trusted(|seen| match seen.path.as_str() {
        "/v1/key/describe/missing" => json(404, "{\"message\":\"key does not exist\"\n}"),
        "/v1/key/describe/old" => {
            (403, "application/json; charset=utf-8", br#"{"message":"prohibited by policy"}"#.to_vec())
        }
        "/v1/key/describe/both" => json(400, r#"{"message":"a","error":"b"}"#),
        "/v1/key/describe/empty" => json(502, "{}"),
        "/v1/key/describe/broken" => json(500, "{\"message\":"),
        "/v1/key/describe/page" => (404, "text/plain", b"404 page not found\n".to_vec()),
        _ => json(204, ""),
    })
    .await;
    let client = builder.build().unwrap();
    let refusal = async |name: &str| client.describe_key(name).await.unwrap_err();
    assert!(refusal("missing").await.is_key_not_found());
    assert!(refusal("old").await.is_not_allowed());
    assert_eq!(refusal("both").await.server(), Some(&ServerError::new(400, "b")));
    assert_eq!(refusal("empty").await.server(), Some(&ServerError::new(502, "")));
    assert_eq!(refusal("broken").await.server(), Some(&ServerError::new(500, "{\"message\":")));
    assert_eq!(refusal("page").await.server(), Some(&ServerError::new(404, "404 page not found\n")));
    assert!(matches!(refusal("x").await, Error::Answer { .. }), "204 is no answer to a question");
}

#[tokio::test]
async fn an_answer_that_is_none_is_said_so() {
    let (_fake, builder) = trusted(|seen| match seen.path.as_str() {
        "/version" => (200, "text/html", b"<html>".to_vec()),
        _ => (200, support::JSON, vec![b' '; (1 << 20) + 1]),
    })
    .await;
    let client = builder.build().unwrap();
    let error = client.version().await.unwrap_err();
    assert!(error.to_string().ends_with("/version\": the answer was not understood"), "{error}");
    let error = client.status().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "it is longer than 1 MiB");
}

#[tokio::test]
async fn the_next_endpoint_gets_the_body_again() {
    let authority = authority();
    let down = Fake::start(Setup::new(authority.issue(kes_identity::KeyKind::EcdsaP256, &template()).unwrap()), |_| {
        json(502, "{\"message\":\"failed to read key\"\n}")
    })
    .await;
    let up =
        Fake::start(Setup::new(authority.issue(kes_identity::KeyKind::EcdsaP256, &template()).unwrap()), routes).await;
    let client =
        settings().endpoints([down.url(), up.url()]).ca_certificate(authority.certificate().clone()).build().unwrap();
    for _ in 0..3 {
        client.decrypt("k", b"c", b"ctx").await.unwrap();
    }
    assert_eq!(down.seen().len(), 1, "left alone after its first failure");
    let bodies: Vec<_> = down.seen().into_iter().chain(up.seen()).map(|seen| seen.body).collect();
    assert!(bodies.iter().all(|body| body == bodies.first().unwrap() && !body.is_empty()));
}

#[tokio::test]
async fn one_of_several_endpoints_can_be_asked_alone() {
    let (fake, builder) = trusted(routes).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = builder.endpoint(format!("https://{dead}")).build().unwrap();
    let (first, second) = (client.only(0).unwrap(), client.only(1).unwrap());
    assert!(client.only(2).is_none());
    assert_eq!(second.endpoints().collect::<Vec<_>>(), [format!("https://{dead}")]);
    assert_eq!(first.identity(), client.identity());
    for _ in 0..3 {
        first.status().await.unwrap();
        assert!(matches!(second.status().await, Err(Error::Connection { .. })));
    }
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let (fake, builder) = trusted(routes).await;
    // A port that nobody listens on: bound, then let go.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = builder.endpoint(format!("https://{dead}")).build().unwrap();
    for _ in 0..4 {
        client.create_key("k").await.unwrap();
    }
    assert_eq!(fake.seen().len(), 4);

    let alone = settings().endpoint(format!("https://{dead}")).insecure(true).build().unwrap();
    let error = alone.status().await.unwrap_err();
    assert_eq!(error.to_string(), format!("kes: connection error: Get \"https://{dead}/v1/status\""));
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        format!("dial tcp {dead}: connect: connection refused")
    );
}

#[tokio::test]
async fn a_503_is_asked_three_times() {
    let tries = AtomicUsize::new(0);
    let (fake, builder) = trusted(move |seen| match tries.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => json(503, "{}"),
        _ => routes(seen),
    })
    .await;
    let client = builder.build().unwrap();
    client.encrypt("k", secret("p"), b"").await.unwrap();
    let bodies: Vec<_> = fake.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, vec![bodies[0].clone(); 3]);
}

#[tokio::test]
async fn a_create_is_repeated_only_when_asked() {
    let unlucky = || {
        let tries = AtomicUsize::new(0);
        move |_: &Seen| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => json(503, "{}"),
            _ => json(400, "{\"message\":\"key already exists\"\n}"),
        }
    };
    let (fake, builder) = trusted(unlucky()).await;
    let error = builder.build().unwrap().create_key("k").await.unwrap_err();
    assert_eq!((error.server().unwrap().status(), fake.seen().len()), (503, 1));

    let (fake, builder) = trusted(unlucky()).await;
    builder.repeat_writes(true).build().unwrap().create_key("k").await.unwrap();
    assert_eq!(fake.seen().len(), 2);

    let (_fake, builder) = trusted(|_| json(400, "{\"message\":\"key already exists\"\n}")).await;
    let error = builder.repeat_writes(true).build().unwrap().create_key("k").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::KeyExists), "nothing was repeated: it is somebody else's");
}

#[tokio::test]
async fn redirects_stay_on_the_server() {
    let (elsewhere, _) = trusted(routes).await;
    let target = elsewhere.url();
    let location: &'static str = Box::leak(format!("location:{target}/v1/key/generate/k").into_boxed_str());
    let (_fake, builder) = trusted(move |seen| match seen.path.as_str() {
        "/v1/status" => (307, "location:/v1/status/", Vec::new()),
        "/v1/status/" => json(200, r#"{"version":"v1","uptime":1}"#),
        _ => (307, location, Vec::new()),
    })
    .await;
    let client = builder.insecure(true).build().unwrap();
    assert_eq!(client.status().await.unwrap().version, "v1");
    assert!(matches!(client.generate_key("k", b"").await, Err(Error::Answer { .. })));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn the_server_sees_the_api_keys_identity() {
    let (fake, builder) = trusted(routes).await;
    let key: ApiKey = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let client = builder.api_key(key).build().unwrap();
    client.version().await.unwrap();
    let expected = "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23";
    assert_eq!(client.identity().unwrap().as_str(), expected);
    assert_eq!(fake.seen()[0].identity.as_ref().unwrap().as_str(), expected);
    assert!(!format!("{client:?}").contains("AAAAAAAA"));
}

#[test]
fn a_client_needs_an_endpoint() {
    assert_eq!(Client::builder().build().unwrap_err().to_string(), "kes: no server endpoint");
}
