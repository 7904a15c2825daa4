//! HTTP/1.1 on the wire: bodies that nobody reads, expectations, limits of headers and bodies.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Payload, Raw, Rig, role, soon};

#[tokio::test]
async fn a_long_unread_body_ends_the_connection_and_is_never_taken_for_requests() {
    let rig = Rig::start(|_| ());
    for (path, status) in [("/v1/key/create/k1", "200"), ("/nowhere", "404"), ("/v1/status", "405")] {
        let raw = rig.raw(&role("admin")).await;
        let smuggled = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000);
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", smuggled.len());
        let (mut reader, mut writer) = tokio::io::split(raw.0);
        let write = async {
            // The server may be gone before the last byte.
            let _ = writer.write_all(format!("{head}{smuggled}").as_bytes()).await;
            let _ = writer.flush().await;
        };
        let mut text = Vec::new();
        let (_, _) =
            soon("the answer and the close", async { tokio::join!(write, reader.read_to_end(&mut text)) }).await;
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {text}");
        assert!(text.to_lowercase().contains("connection: close"), "{path}: {text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{path}: {text}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_short_unread_body_is_thrown_away_and_the_connection_goes_on() {
    let rig = Rig::start(|_| ());
    let mut raw = rig.raw(&role("admin")).await;
    let body = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n".repeat(7_000);
    for path in ["/v1/key/create/k1", "/nowhere", "/v1/status", "/v1/key/create/a.b"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = raw.exchange(format!("{head}{body}")).await;
        assert_eq!(answer.header("connection"), None, "{path}");
        raw.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    }
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head = "POST /v1/key/create/k2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.exchange(format!("{head}{chunk}")).await.ok();
    raw.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    let logs = rig.stop().await;
    assert!(!logs.audit.contains("/version"), "{}", logs.audit);
}

#[tokio::test]
async fn a_body_that_comes_late_does_not_begin_a_header() {
    let rig = Rig::start(|setup| setup.limits.header = std::time::Duration::from_millis(300));
    let mut raw = rig.raw(&role("admin")).await;
    let answer = raw.exchange("POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await;
    assert_eq!(answer.status, 405);
    raw.write("0123456789").await;
    // Longer than a header may take: the connection is idle, not stalled.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    raw.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    rig.stop().await;
}

#[tokio::test]
async fn expectations_are_met_or_refused() {
    let rig = Rig::start(|_| ());
    rig.client(&role("admin")).await.create("k1").await.ok();
    let mut raw = rig.raw(&role("app")).await;
    let head = "POST /v1/key/encrypt/k1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    raw.write(head).await;
    assert_eq!(raw.head().await.0, 100);
    raw.exchange("{}").await.ok();
    // Nobody will read that body: the client learns it before it sends it.
    let answer = raw.exchange(head.replace("encrypt/k1", "encrypt/a.b")).await;
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert!(raw.rest().await.is_empty());
    let mut raw = rig.raw(&role("app")).await;
    let answer = raw.exchange("GET /version HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\n\r\n").await;
    assert_eq!((answer.status, answer.text(), answer.header("connection")), (417, "", Some("close")));
    rig.stop().await;
}

#[tokio::test]
async fn bodies_may_have_a_million_bytes() {
    let rig = Rig::start(|_| ());
    rig.client(&role("admin")).await.create("k1").await.ok();
    let path = "/v1/key/encrypt/k1";
    let quoted = |size: usize| format!("{{\"plaintext\":\"\",\"x\":\"{}\"}}", "y".repeat(size - 23));
    assert_eq!(quoted(1_000_000).len(), 1_000_000);
    let client = rig.client(&role("app")).await;
    client.post(path, &quoted(1_000_000)[..]).await.ok();
    client.post(path, Payload::Undeclared(Some(Bytes::from(quoted(1_000_000))))).await.ok();
    client.post(path, &quoted(1_000_001)[..]).await.refused(400, "invalid request body");
    let over = rig.client(&role("app")).await.post(path, &quoted(3_500_000)[..]).await;
    over.refused(400, "invalid request body");
    assert_eq!(over.header("connection"), Some("close"), "it is not read to its end");
    // What fits is a complete value; what follows it is nobody's business.
    let client = rig.client(&role("app")).await;
    let answer = client.post(path, &format!("{{}}{}", " ".repeat(3_500_000))[..]).await;
    assert_eq!(answer.ok().header("connection"), Some("close"));
    rig.stop().await;
}

#[tokio::test]
async fn headers_may_be_many_but_not_endless() {
    let rig = Rig::start(|_| ());
    let mut raw = rig.raw(&role("admin")).await;
    let headers = |count: usize| (0..count).map(|index| format!("X-{index}: y\r\n")).collect::<String>();
    raw.exchange(format!("GET /version HTTP/1.1\r\nHost: x\r\n{}\r\n", headers(500))).await.ok();
    let long = "z".repeat(1 << 19);
    raw.exchange(format!("GET /version HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n")).await.ok();
    let (mut reader, mut writer) = tokio::io::split(raw.0);
    let endless = format!("GET /version HTTP/1.1\r\nHost: x\r\nX: {long}{long}{long}\r\n\r\n");
    let mut text = Vec::new();
    let _ = soon("the refusal", async {
        tokio::join!(writer.write_all(endless.as_bytes()), reader.read_to_end(&mut text))
    })
    .await;
    assert!(text.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&text));
    rig.stop().await;
}

#[tokio::test]
async fn head_has_the_headers_of_the_answer_and_no_body() {
    let rig = Rig::start(|_| ());
    let mut raw = rig.raw(&role("admin")).await;
    let message = "{\"message\":\"received method 'HEAD' expected 'GET'\"\n}";
    for _ in 0..2 {
        raw.write("HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (status, headers) = raw.head().await;
        assert_eq!(
            (status, &headers["accept"], &headers["allow"]),
            (405, &"GET".parse().unwrap(), &"GET".parse().unwrap())
        );
        assert_eq!(headers["content-length"], message.len().to_string());
    }
    raw.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    rig.stop().await;
}

#[tokio::test]
async fn what_is_not_http_as_it_should_be_is_a_400_and_the_end() {
    let rig = Rig::start(|_| ());
    for request in [
        "GET /version HTTP/1.1\r\n\r\n",
        "GET /version HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET /version HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut raw = rig.raw(&role("admin")).await;
        let answer = raw.exchange(request).await;
        assert_eq!(answer.status, 400, "{request}");
        assert_eq!(answer.text(), "", "{request}");
        assert!(raw.rest().await.is_empty(), "{request}");
    }
    let mut raw = rig.raw(&role("admin")).await;
    raw.exchange("GET /version HTTP/1.0\r\n\r\n").await.ok();
    let mut raw = rig.raw(&role("admin")).await;
    raw.exchange("GET https://elsewhere/version HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    rig.stop().await;
}

#[tokio::test]
async fn an_empty_chunked_body_is_no_request_without_context() {
    let rig = Rig::start(|_| ());
    rig.client(&role("admin")).await.create("k1").await.ok();
    let client = rig.client(&role("app")).await;
    let path = "/v1/key/generate/k1";
    let key = client.post(path, Payload::None).await.ok().json();
    assert_eq!(key["plaintext"].as_str().unwrap().len(), 44);
    client.post(path, Payload::Undeclared(None)).await.refused(400, "invalid request body");
    client.post(path, Payload::Undeclared(Some("{}".into()))).await.ok();
    client.post(path, " ").await.refused(400, "invalid request body");
    rig.stop().await;
}

#[tokio::test]
async fn requests_may_come_before_the_answers_to_those_before_them() {
    let rig = Rig::start(|_| ());
    let mut raw = rig.raw(&role("admin")).await;
    raw.write("GET /version HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50)).await;
    for _ in 0..50 {
        assert!(raw.answer().await.ok().text().contains("\"version\":\"1.2.3\""));
    }
    drop::<Raw>(raw);
    rig.stop().await;
}
