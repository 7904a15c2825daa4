//! Names of requests: in, out, and in every log.

use kes_api::server::Format;

use crate::support::{Mood, Payload, Rig, role};

const GIVEN: &str = "7b1c0d3e-5a4f-4b2b";

#[tokio::test]
async fn the_clients_name_comes_back_and_is_in_the_logs() {
    let rig = Rig::start(|_| ());
    let (h1, h2) = (rig.client(&role("admin")).await, rig.client_h2(&role("admin")).await);
    for client in [h1, h2] {
        let answer = client.call("GET", "/v1/status", &[("X-Request-Id", GIVEN)], Payload::None).await;
        assert_eq!(answer.ok().header("x-request-id"), Some(GIVEN));
    }
    rig.store.set(Mood::Broken);
    let client = rig.client(&role("admin")).await;
    let path = "/v1/key/describe/my-key";
    let answer = client.call("GET", path, &[("x-request-id", "another")], Payload::None).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (502, Some("another")));
    let stranger = rig.client(&role("stranger")).await;
    stranger.call("GET", "/v1/api", &[("x-request-id", "third")], Payload::None).await;
    let logs = rig.stop().await;
    assert_eq!(logs.audit.matches(&format!(" req.id={GIVEN}\n")).count(), 2, "{}", logs.audit);
    assert_eq!(logs.audit_of(path)["req.id"], "another");
    assert!(logs.error.lines().any(|line| line.contains("on fire") && line.ends_with(" req.id=another")));
    assert!(logs.error.lines().any(|line| line.contains("access denied") && line.ends_with(" req.id=third")));
}

#[tokio::test]
async fn a_request_without_a_name_gets_one_that_refusals_show() {
    let rig = Rig::start(|_| ());
    let client = rig.client(&role("admin")).await;
    assert_eq!(client.get("/v1/status").await.ok().header("x-request-id"), None, "the headers of old");
    let first = client.get("/nowhere").await.header("x-request-id").unwrap().to_owned();
    let second = client.get("/nowhere/else").await.header("x-request-id").unwrap().to_owned();
    assert_ne!(first, second);
    let logs = rig.stop().await;
    assert_eq!(logs.audit_of("/nowhere")["req.id"], first);
    assert_eq!(logs.audit_of("/nowhere/else")["req.id"], second);
    assert!(logs.audit_of("/v1/status").contains_key("req.id"));
}

#[tokio::test]
async fn nothing_can_be_smuggled_into_a_log() {
    for format in [Format::Text, Format::Json] {
        let rig = Rig::start(|setup| setup.settings.logs.format = format);
        let client = rig.client(&role("admin")).await;
        let long = "x".repeat(129);
        for name in ["", "a b", "a\" level=ERROR", "a\",\"x\":\"y", "a=b", "{}", "\u{fc}", &long] {
            let answer = client.call("GET", "/v1/status", &[("x-request-id", name)], Payload::None).await;
            assert_eq!(answer.ok().header("x-request-id"), None, "{name}");
        }
        let mut raw = rig.raw(&role("admin")).await;
        let twice =
            raw.exchange("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n").await;
        assert_eq!(twice.ok().header("x-request-id"), None);
        let logs = rig.stop().await;
        assert_eq!(logs.audit.lines().count(), 9);
        let word = if format == Format::Json { "\"id\":\"" } else { "req.id=" };
        for line in logs.audit.lines() {
            let id = line.split_once(word).unwrap().1.split(['"', ' ']).next().unwrap();
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'), "{line}");
        }
    }
}
