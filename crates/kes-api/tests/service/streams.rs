//! The log streams.

use kes_api::server::Settings;

use crate::support::{Mood, Payload, Policies, Rig, role};

#[tokio::test]
async fn the_audit_stream_has_every_request_that_reached_authentication() {
    let rig = Rig::start(|_| ());
    let admin = role("admin");
    let mut events = rig.client(&admin).await.events("/v1/log/audit").await;
    let start = events.next().await.unwrap();
    assert_eq!(start["request"]["path"], "/v1/log/audit", "the stream's own request");
    let app = rig.client(&role("app")).await;
    app.get("/nowhere").await;
    app.get("/v1/key/create/my-key").await;
    app.create("my-key").await.ok();
    app.create("secret1").await;
    rig.client(&role("stranger")).await.get("/v1/status").await;
    let created = events.next().await.unwrap();
    assert_eq!(created["request"]["path"], "/v1/key/create/my-key");
    assert_eq!(created["request"]["ip"], "127.0.0.1");
    assert_eq!(created["request"]["identity"], role("app").identity().as_str());
    assert_eq!(created["request"]["method"], "POST");
    assert_eq!(created["request"]["policy"], "app");
    assert_eq!(created["request"]["rule"], "/v1/key/create/*");
    assert_eq!(created["response"]["code"], 200);
    assert!(created["response"]["time"].as_u64().unwrap() > 1_000, "nanoseconds");
    let denied = events.next().await.unwrap();
    assert_eq!(denied["request"]["rule"], "/v1/key/create/secret*");
    assert_eq!(denied["response"]["code"], 403);
    let unknown = events.next().await.unwrap();
    assert_eq!(unknown["request"]["identity"], role("stranger").identity().as_str());
    assert_eq!(unknown["response"]["code"], 403);
    rig.stop().await;
    assert!(events.next().await.is_none(), "a shutdown ends streams");
}

#[tokio::test]
async fn the_error_stream_has_the_console_lines() {
    for path in ["/v1/log/error", "/v1/log/error/trace"] {
        let rig = Rig::start(|setup| setup.settings.logs.error = 8);
        let client = rig.client_h2(&role("admin")).await;
        let mut events = client.events(path).await;
        rig.client(&role("stranger")).await.get("/v1/status").await;
        let warning = events.next().await.unwrap()["message"].as_str().unwrap().to_owned();
        assert!(warning.contains(" level=WARN msg=\"access denied: unknown identity;"), "{warning}");
        rig.store.set(Mood::Broken);
        client.create("my-key").await;
        let error = events.next().await.unwrap()["message"].as_str().unwrap().to_owned();
        assert!(error.contains(" level=ERROR msg=\"Scripted: cannot create the key: look at the disk"), "{error}");
        let logs = rig.stop().await;
        assert!(events.next().await.is_none());
        assert!(logs.error.contains(&error) && !logs.error.contains("level=WARN"), "{}", logs.error);
    }
}

#[tokio::test]
async fn a_slow_subscriber_is_disconnected_and_counted() {
    let rig = Rig::start(|_| ());
    // Its window takes 64 KiB and is never renewed, as nobody reads.
    let mut slow = rig.client_h2(&role("admin")).await.events("/v1/log/audit").await;
    let client = rig.client(&role("admin")).await;
    let mut requests = 0;
    while !client.get("/v1/metrics?view=full").await.text().contains("\nkes_log_stream_lagged_total 1\n") {
        requests += 1;
        assert!(requests < 10_000, "never disconnected");
    }
    let mut received = 0;
    while slow.next().await.is_some() {
        received += 1;
    }
    assert!(received >= 1024 && received <= requests + 1, "{received} of {requests}: then a clean end");
    rig.stop().await;
}

#[tokio::test]
async fn the_65th_subscriber_is_refused() {
    let rig = Rig::start(|_| ());
    let client = rig.client_h2(&role("admin")).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(client.events("/v1/log/audit").await);
    }
    client.get("/v1/log/audit").await.refused(429, "too many log subscribers");
    client.events("/v1/log/error").await;
    drop(streams);
    rig.client(&role("admin")).await.get("/version").await.ok();
    client.get("/version").await.ok();
    client.events("/v1/log/audit").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_reload_ends_streams_so_that_their_readers_come_back() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    let mut audit = rig.client(&role("admin")).await.events("/v1/log/audit").await;
    let mut error = rig.client_h2(&role("admin")).await.events("/v1/log/error").await;
    assert!(audit.next().await.is_some());
    let admin = role("admin").identity();
    rig.handle.reload(rig.configured(&admin, &Policies::default(), Settings::default()));
    while audit.next().await.is_some() {}
    assert!(error.next().await.is_none());
    client.events("/v1/log/audit").await.next().await.unwrap();
    rig.stop().await;
}

#[tokio::test]
async fn streams_are_left_out_of_response_times() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    drop(rig.client(&role("admin")).await.events("/v1/log/audit").await);
    assert_eq!(client.call("PUT", "/v1/log/audit", &[], Payload::None).await.status, 405);
    let page = client.get("/v1/metrics").await;
    assert!(page.text().contains("kes_http_response_time_count 0\n"), "{}", page.text());
    assert!(page.text().contains("kes_http_request_success{code=\"200\"} 1\n"));
    rig.stop().await;
}
