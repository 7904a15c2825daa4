//! The listener for probes and metrics.

use std::net::{SocketAddr, TcpListener};

use kes_api::server::ProbeListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Mood, Rig, role, soon};

fn probes(rig: &Rig) -> ProbeListener {
    rig.handle.probes(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()
}

async fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    soon("an answer", socket.read_to_string(&mut text)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn status(address: SocketAddr, request: &str) -> u16 {
    ask(address, request).await.0.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn live_ready_and_metrics_are_there_and_nothing_else() {
    let rig = Rig::start(|_| ());
    let probes = probes(&rig);
    for (request, expected) in [
        ("GET /live", 200),
        ("GET /livez", 200),
        ("HEAD /live", 200),
        ("GET /ready", 200),
        ("GET /readyz?verbose", 200),
        ("GET /v1/ready", 200),
        ("HEAD /ready", 200),
        ("GET /metrics", 200),
        ("GET /v1/metrics", 200),
        ("POST /live", 404),
        ("PUT /ready", 404),
        ("GET /", 404),
        ("GET /version", 404),
        ("GET /v1/status", 404),
        ("GET /v1/key/list/", 404),
        ("POST /v1/key/create/my-key", 404),
        ("GET /ready/", 404),
    ] {
        assert_eq!(status(probes.address(), request).await, expected, "{request}");
    }
    let (head, page) = ask(probes.address(), "GET /metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(page.contains("\nkes_tls_certificate_expiry_seconds "), "{page}");
    for (probe, count) in [("live", 3), ("ready", 4), ("metrics", 3), ("other", 8)] {
        assert!(page.contains(&format!("\nkes_probe_requests_total{{probe=\"{probe}\"}} {count}\n")), "{page}");
    }
    let old = ask(probes.address(), "GET /v1/metrics").await.1;
    assert!(!old.contains("kes_probe_requests_total") && old.contains("kes_system_up_time"), "{old}");
    assert!(ask(probes.address(), "HEAD /metrics").await.1.is_empty());
    let logs = rig.stop().await;
    assert!(logs.audit.is_empty(), "probes are no requests of the API: {}", logs.audit);
}

#[tokio::test]
async fn live_has_nothing_to_do_with_the_store_and_ready_has() {
    for (mood, expected, message) in
        [(Mood::Unreachable, 504, "key store is not reachable"), (Mood::Broken, 502, "key store is unavailable")]
    {
        let rig = Rig::start(|_| ());
        let probes = probes(&rig);
        rig.store.set(mood);
        assert_eq!(status(probes.address(), "GET /live").await, 200);
        let (head, body) = ask(probes.address(), "GET /ready").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}");
        assert_eq!(body, format!("{{\"message\":\"{message}\"\n}}"));
        rig.stop().await;
    }
    let rig = Rig::start(|_| ());
    let probes = probes(&rig);
    rig.store.set(Mood::Held);
    let (address, ready) = (probes.address(), "GET /ready");
    let asked = tokio::spawn(async move { status(address, ready).await });
    rig.store.holds(1).await;
    assert_eq!(status(address, "GET /live").await, 200, "a store that hangs");
    let another = tokio::spawn(async move { status(address, ready).await });
    rig.store.release();
    assert_eq!((asked.await.unwrap(), another.await.unwrap()), (200, 200));
    rig.store.set(Mood::Broken);
    assert_eq!(status(address, ready).await, 200, "for a moment the last answer is taken for new");
    rig.handle.shutdown();
    assert_eq!(status(address, ready).await, 503, "a balancer must look elsewhere");
    rig.stop().await;
}

#[tokio::test]
async fn connections_are_few_and_short() {
    let rig = Rig::start(|_| ());
    let probes = probes(&rig);
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(probes.address()).await.unwrap());
    }
    let mut beyond = TcpStream::connect(probes.address()).await.unwrap();
    assert_eq!(soon("the close", beyond.read(&mut [0])).await.unwrap_or(0), 0);
    // Silence ends a connection, which makes room.
    let mut first = silent.remove(0);
    let mut rest = Vec::new();
    let _ = soon("the close of a silent one", first.read_to_end(&mut rest)).await;
    drop(silent);
    soon("room", async {
        let ask = || async {
            let mut socket = TcpStream::connect(probes.address()).await.ok()?;
            socket.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
            let mut text = String::new();
            socket.read_to_string(&mut text).await.ok()?;
            text.starts_with("HTTP/1.1 200").then_some(())
        };
        while ask().await.is_none() {}
    })
    .await;
    let address = probes.address();
    drop(probes);
    soon("the end of the listener", async { while TcpStream::connect(address).await.is_ok() {} }).await;
    rig.client(&role("admin")).await.get("/version").await.ok();
    rig.stop().await;
}
