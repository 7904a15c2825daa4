//! Stores that hang, fail or panic; clients that hang up; the end of the server.

use std::time::{Duration, Instant};

use crate::support::{Mood, Payload, Raw, Rig, role, soon};

#[tokio::test]
async fn a_panic_is_a_500_and_the_server_lives() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    rig.store.set(Mood::Panicking);
    client.create("my-key").await.refused(500, "internal server error");
    client.get("/v1/key/list/").await.refused(500, "internal server error");
    rig.store.set(Mood::Well);
    client.create("my-key").await.ok();
    let page = client.get("/v1/metrics?view=full").await;
    assert!(page.text().contains("\nkes_handler_panics_total 2\n"), "{}", page.text());
    let logs = rig.stop().await;
    assert_eq!(logs.error.matches("a handler panicked").count(), 2, "{}", logs.error);
    assert!(logs.error.contains("req.path=/v1/key/create/my-key"), "{}", logs.error);
    let codes: Vec<_> = logs.audit_all().into_iter().map(|line| line["res.code"].clone()).collect();
    assert_eq!(codes, ["500", "500", "200", "200"]);
}

#[tokio::test]
async fn a_slow_store_is_answered_within_the_deadline() {
    let rig = Rig::start(|setup| {
        for path in ["/v1/key/describe/", "/v1/key/create/", "/v1/key/list/", "/v1/ready"] {
            assert!(setup.settings.timeout(path, Duration::from_millis(300)));
        }
    });
    let client = rig.client(&role("admin")).await;
    rig.store.set(Mood::Held);
    let started = Instant::now();
    for (answer, message) in [
        (client.get("/v1/key/describe/my-key").await, "failed to read key"),
        (client.get("/v1/key/list/").await, "failed to list keys"),
        (client.create("my-key").await, "failed to create key"),
        (client.get("/v1/ready").await, "key store is not reachable"),
    ] {
        answer.refused(if message == "key store is not reachable" { 504 } else { 502 }, message);
    }
    assert!(started.elapsed() < Duration::from_secs(8), "four times 300 ms, not the 15 s of other routes");
    let logs = rig.stop().await;
    assert!(logs.error.contains("Scripted did not answer within"), "{}", logs.error);
}

#[tokio::test]
async fn an_outage_shows_in_status_and_readiness() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    rig.store.set(Mood::Unreachable);
    let status = client.get("/v1/status").await.ok().json();
    assert_eq!(status["keystore_unreachable"], true);
    assert_eq!(status["keystore_unavailable"], true, "clients refuse the one without the other");
    assert!(status.get("keystore_latency").is_none());
    client.get("/v1/ready").await.refused(504, "key store is not reachable");
    client.get("/v1/key/describe/my-key").await.refused(502, "failed to read key");
    rig.stop().await;
}

#[tokio::test]
async fn a_failing_store_is_unavailable_and_its_cause_is_for_the_log_alone() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    rig.store.set(Mood::Broken);
    let status = client.get("/v1/status").await.ok().json();
    assert!(status.get("keystore_unreachable").is_none());
    assert_eq!(status["keystore_unavailable"], true);
    client.get("/v1/ready").await.refused(502, "key store is unavailable");
    client.create("my-key").await.refused(502, "failed to create key");
    client.call("DELETE", "/v1/key/delete/my-key", &[], Payload::None).await.refused(502, "failed to delete key");
    rig.store.set(Mood::Well);
    let status = client.get("/v1/status").await.ok().json();
    assert_eq!(status["keystore_latency"], 1, "good again at once");
    let logs = rig.stop().await;
    assert!(logs.error.contains("look at the disk that is on fire"), "{}", logs.error);
    assert!(logs.error.contains("res.code=502"), "{}", logs.error);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_a_create() {
    let rig = Rig::start(|_| ());
    rig.store.set(Mood::Held);
    let mut raw = rig.raw(&role("app")).await;
    raw.write("POST /v1/key/create/my-key HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    rig.store.holds(1).await;
    drop(raw);
    let h2 = rig.client_h2(&role("app")).await;
    let request = tokio::spawn(async move { h2.create("another").await });
    rig.store.holds(2).await;
    request.abort();
    let store = rig.store.clone();
    let handle = rig.handle.clone();
    handle.shutdown();
    store.release();
    let logs = rig.stop().await;
    for name in ["my-key", "another"] {
        assert!(store.has(name).await);
        let line = logs.audit_of(&format!("/v1/key/create/{name}"));
        assert_eq!((&line["msg"][..], &line["res.code"][..]), (&format!("secret key '{name}' created")[..], "200"));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_reads_is_recorded() {
    let rig = Rig::start(|_| ());
    rig.store.set(Mood::Held);
    let mut raw = rig.raw(&role("admin")).await;
    raw.write("GET /v1/key/describe/my-key HTTP/1.1\r\nHost: x\r\n\r\n").await;
    rig.store.holds(1).await;
    drop(raw);
    let logs = rig.stop().await;
    assert_eq!(logs.audit_of("/v1/key/describe/my-key")["res.code"], "499");
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_in_flight_and_takes_no_new_ones() {
    let rig = Rig::start(|_| ());
    let idle = rig.client(&role("admin")).await;
    idle.get("/version").await.ok();
    let client = rig.client(&role("admin")).await;
    let h2 = rig.client_h2(&role("admin")).await;
    rig.store.set(Mood::Held);
    let create = tokio::spawn(async move { client.create("my-key").await });
    let describe = tokio::spawn(async move { h2.get("/v1/key/describe/other").await });
    rig.store.holds(2).await;
    rig.handle.shutdown();
    soon("the end of an idle connection", async {
        while idle.send("GET", "/version", &[], Payload::None).await.is_ok() {}
    })
    .await;
    let refused = async {
        let config = Raw::config(&rig.authority, Some(&role("admin").certified_key()), b"http/1.1");
        while Raw::connect(rig.address, config.clone()).await.is_ok() {}
    };
    soon("the end of accepting", refused).await;
    assert!(rig.is_serving(), "two requests are in flight");
    rig.store.release();
    create.await.unwrap().ok();
    describe.await.unwrap().refused(404, "key does not exist");
    let logs = rig.stop().await;
    assert_eq!(logs.audit_of("/v1/key/create/my-key")["res.code"], "200");
    assert_eq!(logs.audit_of("/v1/key/describe/other")["res.code"], "404");
}

#[tokio::test]
async fn requests_that_outlive_the_drain_are_recorded_too() {
    let rig = Rig::start(|setup| setup.limits.drain = Duration::from_millis(50));
    rig.store.set(Mood::Held);
    let client = rig.client(&role("admin")).await;
    let describe = tokio::spawn(async move { client.send("GET", "/v1/key/describe/my-key", &[], Payload::None).await });
    rig.store.holds(1).await;
    let logs = rig.stop().await;
    assert!(describe.await.unwrap().is_err(), "the connection was closed");
    assert_eq!(logs.audit_of("/v1/key/describe/my-key")["res.code"], "499");
}
