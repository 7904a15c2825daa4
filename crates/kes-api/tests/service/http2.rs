//! HTTP/2: the same answers, over many streams at once.

use crate::support::{Mood, Payload, Rig, role};

#[tokio::test]
async fn the_answers_are_the_same() {
    let rig = Rig::start(|_| ());
    let (one, two) = (rig.client(&role("admin")).await, rig.client_h2(&role("admin")).await);
    one.create("k1").await.ok();
    let long = "x".repeat(300);
    let endless = format!("/v1/key/describe/{long}");
    for (method, path, body) in [
        ("GET", "/version", ""),
        ("POST", "/version", ""),
        ("HEAD", "/version", ""),
        ("OPTIONS", "/v1/status", ""),
        ("GET", "/nowhere", ""),
        ("GET", "/v1%2Fstatus", ""),
        ("GET", "/v1/%73tatus/", ""),
        ("GET", "//version", ""),
        ("GET", "/v1/api", ""),
        ("GET", "/v1/key/describe/%6b1", ""),
        ("GET", "/v1/key/describe/none", ""),
        ("GET", "/v1/key/describe/%3C%26%FF", ""),
        ("GET", &endless, ""),
        ("POST", "/v1/key/create/k1", ""),
        ("PUT", "/v1/key/create/k1", ""),
        ("POST", "/v1/key/hmac/k1", "{}"),
        ("PUT", "/v1/key/hmac/k1", "null"),
        ("POST", "/v1/key/hmac/k1", "[]"),
        ("POST", "/v1/key/import/i", r#"{"key":"AAAA","cipher":"AES256"}"#),
        ("POST", "/v1/key/import/i", r#"{"key":"AAAA","cipher":"DES"}"#),
        ("GET", "/v1/key/list", ""),
        ("GET", "/v1/policy/list/", ""),
        ("GET", "/v1/policy/read/app", ""),
        ("GET", "/v1/identity/list/*", ""),
        ("GET", "/v1/ready", ""),
    ] {
        let one = one.call(method, path, &[], body.into()).await;
        let two = two.call(method, path, &[], body.into()).await;
        assert_eq!((one.status, &one.body), (two.status, &two.body), "{method} {path}");
        let headers = |answer: &crate::support::Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            // Each request has its own.
            headers.remove("x-request-id");
            headers
        };
        assert_eq!(headers(&one), headers(&two), "{method} {path}");
        assert_eq!(one.body.is_empty(), method == "HEAD" || path == "/v1/ready", "{method} {path}: {one:?}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn an_empty_data_frame_is_a_body_and_the_end_with_the_headers_is_none() {
    let rig = Rig::start(|_| ());
    let client = rig.client_h2(&role("admin")).await;
    client.create("k1").await.ok();
    let path = "/v1/key/generate/k1";
    client.post(path, Payload::None).await.ok();
    client.post(path, Payload::Undeclared(None)).await.refused(400, "invalid request body");
    client.post(path, Payload::Undeclared(Some("{}".into()))).await.ok();
    rig.stop().await;
}

#[tokio::test]
async fn there_are_250_streams_at_once() {
    let rig = Rig::start(|_| ());
    let client = rig.client_h2(&role("admin")).await;
    client.get("/version").await.ok();
    rig.store.set(Mood::Held);
    let requests: Vec<_> = (0..250)
        .map(|index| {
            let client = client.clone();
            tokio::spawn(async move { client.get(&format!("/v1/key/describe/k{index}")).await })
        })
        .collect();
    rig.store.holds(250).await;
    rig.store.release();
    for request in requests {
        request.await.unwrap().refused(404, "key does not exist");
    }
    rig.stop().await;
}

#[tokio::test]
async fn an_unread_body_harms_neither_its_answer_nor_other_streams() {
    let rig = Rig::start(|_| ());
    let client = rig.client_h2(&role("admin")).await;
    let long = "x".repeat(1_200_000);
    for index in 0..5 {
        client.post(&format!("/v1/key/create/k{index}"), &long[..]).await.ok();
        client.post("/v1/status", Payload::Undeclared(Some(long.clone().into()))).await;
        client.get("/v1/ready").await.ok();
    }
    rig.stop().await;
}

#[tokio::test]
async fn bodies_may_have_a_million_bytes() {
    let rig = Rig::start(|_| ());
    let client = rig.client_h2(&role("admin")).await;
    client.create("k1").await.ok();
    let body = format!("{{}}{}", " ".repeat(999_998));
    client.post("/v1/key/encrypt/k1", &body[..]).await.ok();
    client.post("/v1/key/encrypt/k1", Payload::Undeclared(Some(body.into()))).await.ok();
    let over = format!("{{\"plaintext\":\"{}\"}}", "A".repeat(1_000_000));
    client.post("/v1/key/encrypt/k1", &over[..]).await.refused(400, "invalid request body");
    rig.stop().await;
}
