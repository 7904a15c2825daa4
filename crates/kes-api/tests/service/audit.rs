//! The audit log: one line for every request, whatever became of it.

use kes_api::server::{Events, Format, OnFull, Sync, Target};
use tokio::io::AsyncReadExt;

use crate::support::{Payload, Raw, Rig, role, soon};

#[tokio::test]
async fn every_outcome_has_its_line() {
    let rig = Rig::start(|setup| assert!(setup.settings.skip_auth("/v1/ready")));
    let app = rig.client(&role("app")).await;
    app.create("k1").await.ok();
    app.post("/v1/key/generate/k1", "{}").await.ok();
    app.create("secret1").await;
    app.get("/v1/metrics").await;
    app.get("/now%20here?x=y").await;
    app.get("/v1/key/create/k2").await;
    rig.client_h2(&role("stranger")).await.get("/v1/api").await;
    let admin = rig.client(&role("admin")).await;
    admin.call("DELETE", "/v1/key/delete/k1", &[], Payload::None).await.ok();
    let config = Raw::config(&rig.authority, None, b"http/1.1");
    let mut nobody = Raw::connect(rig.address, config).await.unwrap();
    nobody.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    nobody.exchange("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").await;

    let logs = rig.stop().await;
    let (app, admin) = (role("app").identity(), role("admin").identity());
    let stranger = role("stranger").identity();
    for (path, message, method, code, identity, policy, rule) in [
        ("/v1/key/create/k1", "secret key 'k1' created", "POST", "200", app.as_str(), "app", "/v1/key/create/*"),
        ("/v1/key/generate/k1", "request served", "POST", "200", app.as_str(), "app", "/v1/key/generate/*"),
        ("/v1/key/create/secret1", "request refused", "POST", "403", app.as_str(), "app", "/v1/key/create/secret*"),
        ("/v1/metrics", "request refused", "GET", "403", app.as_str(), "app", "no rule"),
        ("/now here", "request refused", "GET", "404", app.as_str(), "", ""),
        ("/v1/key/create/k2", "request refused", "GET", "405", app.as_str(), "", ""),
        ("/v1/api", "request refused", "GET", "403", stranger.as_str(), "", "no policy"),
        ("/v1/key/delete/k1", "secret key 'k1' deleted", "DELETE", "200", admin.as_str(), "", "admin"),
        ("/v1/ready", "request served", "GET", "200", "-", "", "skip_auth"),
        ("/v1/status", "request refused", "GET", "400", "-", "", ""),
    ] {
        let line = logs.audit_of(path);
        let member = |name: &str| line.get(name).map_or("", String::as_str);
        assert_eq!(member("level"), "INFO");
        assert_eq!((member("msg"), member("req.method"), member("res.code")), (message, method, code), "{path}");
        assert_eq!((member("req.identity"), member("policy"), member("rule")), (identity, policy, rule), "{path}");
        assert_eq!(member("req.ip"), "127.0.0.1");
        assert!(member("time").ends_with('Z') && member("res.time").ends_with('s'), "{line:?}");
    }
    assert_eq!(logs.audit.lines().count(), 10);
}

#[tokio::test]
async fn a_failed_handshake_has_its_line() {
    let rig = Rig::start(|_| ());
    let mut raw = Raw::connect(rig.address, Raw::config(&rig.authority, None, b"http/1.1")).await.unwrap();
    assert!(soon("the alert", raw.0.read(&mut [0])).await.is_err());
    let logs = rig.stop().await;
    let line = &logs.audit_all()[0];
    assert!(line["msg"].contains("certificate"), "{line:?}");
    assert_eq!((&line["req.ip"][..], &line["req.identity"][..]), ("127.0.0.1", "-"));
    assert!(logs.error.contains("TLS handshake error from 127.0.0.1:"), "{}", logs.error);
}

#[tokio::test]
async fn mutations_only_is_what_the_old_server_recorded() {
    let rig = Rig::start(|setup| setup.settings.logs.events = Events::Mutations);
    let admin = rig.client(&role("admin")).await;
    admin.create("k1").await.ok();
    admin.create("k1").await;
    admin.get("/v1/status").await.ok();
    let import = format!(r#"{{"key":"{}=","cipher":"AES256"}}"#, "A".repeat(43));
    admin.post("/v1/key/import/k2", &import[..]).await.ok();
    admin.call("DELETE", "/v1/key/delete/k1", &[], Payload::None).await.ok();
    admin.call("DELETE", "/v1/key/delete/k1", &[], Payload::None).await;
    let logs = rig.stop().await;
    let messages: Vec<_> = logs.audit_all().into_iter().map(|line| line["msg"].clone()).collect();
    assert_eq!(messages, ["secret key 'k1' created", "secret key 'k2' created", "secret key 'k1' deleted"]);
}

#[tokio::test]
async fn lines_can_be_json() {
    let rig = Rig::start(|setup| setup.settings.logs.format = Format::Json);
    rig.client(&role("app")).await.create("k1").await.ok();
    rig.client(&role("stranger")).await.get("/v1/key/describe/%22%0A%ff").await;
    let logs = rig.stop().await;
    let lines: Vec<serde_json::Value> = logs.audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["msg"], "secret key 'k1' created");
    assert_eq!(lines[0]["request"]["identity"], role("app").identity().as_str());
    assert_eq!(lines[1]["request"]["path"], "/v1/key/describe/\"\n\u{fffd}");
    assert_eq!(lines[1]["response"]["code"], 403);
    for line in logs.error.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[tokio::test]
async fn the_file_has_every_record_whatever_the_console_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let open = |name: &str| Target::File { file: std::fs::File::create(path(name)).unwrap(), sync: Sync::Always };
    let rig = Rig::start(|setup| {
        setup.audit_file = Some(open("one"));
        setup.settings.logs.audit = 9;
        setup.settings.logs.on_full = OnFull::Wait;
    });
    let app = rig.client(&role("app")).await;
    app.create("k1").await.ok();
    rig.handle.redirect_audit(Some(open("two")));
    app.create("k2").await.ok();
    rig.handle.redirect_audit(None);
    app.create("k3").await.ok();
    let logs = rig.stop().await;
    assert!(logs.audit.is_empty(), "{}", logs.audit);
    let read = |name| std::fs::read_to_string(path(name)).unwrap();
    let created = |text: &str| text.lines().map(|line| line.split('\'').nth(1).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((created(&read("one")), created(&read("two"))), (vec!["k1".to_owned()], vec!["k2".to_owned()]));
}

#[tokio::test]
async fn the_console_and_the_file_have_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let file = std::fs::File::create(&path).unwrap();
    let rig = Rig::start(|setup| setup.audit_file = Some(Target::File { file, sync: Sync::Off }));
    let client = rig.client_h2(&role("app")).await;
    client.create("k1").await.ok();
    client.get("/nowhere").await;
    let logs = rig.stop().await;
    assert_eq!(logs.audit.lines().count(), 2);
    assert_eq!(std::fs::read_to_string(path).unwrap(), logs.audit);
}

/// Linux's `/dev/full` is a disk without a free block.
#[tokio::test]
async fn a_full_disk_stops_nothing_and_is_counted_and_said_once() {
    let file = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let rig = Rig::start(|setup| {
        setup.audit_file = Some(Target::File { file, sync: Sync::Always });
        setup.settings.logs.on_full = OnFull::Wait;
    });
    let client = rig.client(&role("admin")).await;
    let lost = |page: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix("kes_log_audit_file_dropped_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let mut requests = 0;
    while lost(client.get("/v1/metrics?view=full").await.ok().text()) < 3 {
        requests += 1;
        assert!(requests < 100_000, "never counted");
    }
    let logs = rig.stop().await;
    assert!(logs.audit.lines().count() >= 3, "the console has them: {}", logs.audit);
    let said: Vec<_> = logs.error.lines().filter(|line| line.contains("cannot write the audit file")).collect();
    assert_eq!(said.len(), 1, "{}", logs.error);
    assert!(said[0].contains("level=ERROR") && said[0].contains("No space left on device"), "{}", said[0]);
}
