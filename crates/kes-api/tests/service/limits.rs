//! Limits of requests, connections and time.

use std::time::Duration;

use kes_api::server::{RequestLimits, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Mood, Policies, Rig, role, soon};

#[tokio::test]
async fn too_many_requests_a_second_are_told_to_come_back() {
    let rig = Rig::start(|setup| setup.settings.limits = RequestLimits { rate: Some(1), concurrency: None });
    let client = rig.client(&role("admin")).await;
    client.get("/v1/status").await.ok();
    let answer = client.get("/v1/status").await;
    answer.refused(429, "too many requests");
    assert_eq!(answer.header("retry-after"), Some("1"));
    rig.client(&role("app")).await.get("/v1/key/list/").await.ok();
    let logs = rig.stop().await;
    assert!(logs.audit_all().iter().any(|line| line["res.code"] == "429"), "{}", logs.audit);
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back() {
    let rig = Rig::start(|setup| setup.settings.limits = RequestLimits { rate: None, concurrency: Some(1) });
    let (first, second) = (rig.client(&role("admin")).await, rig.client_h2(&role("admin")).await);
    rig.store.set(Mood::Held);
    let held = tokio::spawn(async move { first.get("/v1/key/describe/my-key").await });
    rig.store.holds(1).await;
    let answer = second.get("/v1/api").await;
    answer.refused(429, "too many requests");
    assert_eq!(answer.header("retry-after"), Some("1"));
    rig.store.release();
    held.await.unwrap().refused(404, "key does not exist");
    second.get("/v1/api").await.ok();
    rig.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let rig = Rig::start(|setup| setup.limits.connections = Some(2));
    let first = rig.client(&role("admin")).await;
    let second = rig.client(&role("admin")).await;
    first.get("/version").await.ok();
    second.get("/version").await.ok();
    let mut third = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(soon("the close", third.read(&mut [0])).await.unwrap_or(0), 0);
    first.get("/version").await.ok();
    let page = first.get("/v1/metrics?view=full").await;
    assert!(page.text().contains("kes_tls_handshake_failures_total{reason=\"too_many_connections\"} 1\n"));
    assert!(page.text().contains("\nkes_connections_limit 2\n"));
    for _ in 0..20 {
        let mut more = TcpStream::connect(rig.address).await.unwrap();
        assert_eq!(soon("the close", more.read(&mut [0])).await.unwrap_or(0), 0);
    }
    let logs = rig.stop().await;
    let lines: Vec<_> = logs.error.lines().filter(|line| line.contains("'limits.connections'")).collect();
    assert!(lines[0].contains("level=WARN") && lines[0].ends_with("req.ip=127.0.0.1 times=1"), "{}", logs.error);
    assert!(lines.len() <= 3, "a flood is not one line for each: {}", logs.error);
}

#[tokio::test]
async fn limits_change_with_a_reload() {
    let rig = Rig::start(|_| ());
    let first = rig.client(&role("admin")).await;
    first.get("/version").await.ok();
    let mut settings = Settings::default();
    settings.connections.connections = Some(1);
    settings.limits = RequestLimits { rate: Some(1), concurrency: None };
    rig.handle.reload(rig.configured(&role("admin").identity(), &Policies::default(), settings));
    let mut second = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(soon("the close", second.read(&mut [0])).await.unwrap_or(0), 0);
    first.get("/v1/status").await.ok();
    first.get("/v1/status").await.refused(429, "too many requests");
    rig.handle.reload(rig.configured(&role("admin").identity(), &Policies::default(), Settings::default()));
    rig.client(&role("admin")).await.get("/v1/status").await.ok();
    first.get("/v1/status").await.ok();
    rig.stop().await;
}

#[tokio::test]
async fn silent_clients_are_closed_in_every_phase() {
    let short = Duration::from_millis(200);
    let rig = Rig::start(|setup| {
        setup.limits.handshake = short;
        setup.limits.header = short;
        setup.limits.idle = short;
    });
    let mut before_the_handshake = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(soon("the close", before_the_handshake.read(&mut [0])).await.unwrap_or(0), 0);
    assert!(rig.raw(&role("admin")).await.rest().await.is_empty(), "after it");
    let mut raw = rig.raw(&role("admin")).await;
    raw.write("GET /version HT").await;
    assert!(raw.rest().await.is_empty(), "inside a header");
    let mut raw = rig.raw(&role("admin")).await;
    raw.exchange("GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    assert!(raw.rest().await.is_empty(), "between requests");
    let logs = rig.stop().await;
    assert!(logs.error.contains("the client did not complete the handshake in time"), "{}", logs.error);
}

#[tokio::test]
async fn a_stalled_body_is_a_408_and_the_end_of_the_connection() {
    let rig = Rig::start(|setup| {
        setup.settings.timeout("/v1/key/generate/", Duration::from_millis(200));
    });
    rig.client(&role("admin")).await.create("my-key").await.ok();
    let mut raw = rig.raw(&role("app")).await;
    let answer = raw.exchange("POST /v1/key/generate/my-key HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").await;
    answer.refused(408, "request timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(raw.rest().await.is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn plain_http_is_told_so() {
    let rig = Rig::start(|_| ());
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    let _ = soon("the close", socket.read_to_end(&mut text)).await;
    let expected = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let logs = rig.stop().await;
    assert!(logs.error.contains("client sent an HTTP request to an HTTPS server"), "{}", logs.error);
    assert_eq!(logs.audit_all()[0]["msg"], "client sent an HTTP request to an HTTPS server");
}
