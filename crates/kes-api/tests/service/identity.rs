//! Who a connection belongs to: certificates, sessions that resume, rights that change.

use std::sync::Arc;

use kes_api::server::Settings;
use kes_identity::{Authority, Certificate, Identity};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind};
use time::{Duration, OffsetDateTime};

use crate::support::{Answer, Policies, Raw, Rig, role, soon};

const STATUS: &str = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";

/// A client with the key of `own` that shows further certificates behind its own.
fn shows(own: &Certificate, behind: &[&Certificate]) -> CertifiedKey {
    let mut chain = own.chain().to_vec();
    chain.extend(behind.iter().map(|certificate| certificate.leaf().clone()));
    CertifiedKey::new(chain, own.certified_key().key.clone())
}

async fn status_as(rig: &Rig, shown: &CertifiedKey) -> Answer {
    let config = Raw::config(&rig.authority, Some(shown), b"http/1.1");
    Raw::connect(rig.address, config).await.unwrap().exchange(STATUS).await
}

fn throw_away_authority() -> Certificate {
    let now = OffsetDateTime::now_utc();
    Authority::generate("mine", now - Duration::HOUR, now + Duration::HOUR).unwrap().as_certificate().unwrap()
}

#[tokio::test]
async fn only_the_certificate_whose_key_was_proved_counts() {
    let rig = Rig::start(|_| ());
    let (admin, mine) = (role("admin"), throw_away_authority());
    status_as(&rig, &shows(&admin, &[])).await.ok();
    status_as(&rig, &shows(&admin, &[&mine])).await.ok();
    // One's own CA certificate before the admin's public one made an admin of anybody.
    let attack = status_as(&rig, &shows(&mine, &[&admin])).await;
    attack.refused(400, "tls: client certificate is required");
    status_as(&rig, &shows(&mine, &[])).await.refused(400, "tls: client certificate is required");
    let several = "tls: received more than one client certificate";
    status_as(&rig, &shows(&role("stranger"), &[&admin])).await.refused(400, several);
    status_as(&rig, &shows(&admin, &[&admin])).await.refused(400, several);
    let logs = rig.stop().await;
    assert!(logs.error.contains("CA:TRUE"), "the log says why: {}", logs.error);
    for line in logs.audit_all() {
        assert_eq!(line["res.code"] == "200", line["req.identity"] == admin.identity().as_str(), "{line:?}");
        assert_eq!(line["res.code"] == "400", line["req.identity"] == "-", "{line:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_the_handshake_fails_unless_a_route_is_open() {
    let rig = Rig::start(|_| ());
    let config = Raw::config(&rig.authority, None, b"http/1.1");
    let mut raw = Raw::connect(rig.address, config.clone()).await.unwrap();
    let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.0, STATUS.as_bytes()).await;
    let error = soon("the alert", tokio::io::AsyncReadExt::read(&mut raw.0, &mut [0])).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    rig.stop().await;

    let rig = Rig::start(|setup| assert!(setup.settings.skip_auth("/v1/ready")));
    let config = Raw::config(&rig.authority, None, b"http/1.1");
    let mut raw = Raw::connect(rig.address, config).await.unwrap();
    raw.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    raw.exchange("GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
    raw.exchange(STATUS).await.refused(400, "tls: client certificate is required");
    let own = raw.exchange("GET /v1/identity/self/describe HTTP/1.1\r\nHost: x\r\n\r\n").await;
    own.refused(404, "identity does not exist");
    rig.stop().await;
}

#[tokio::test]
async fn a_reload_swaps_rights_for_the_next_request_on_an_open_connection() {
    let rig = Rig::start(|_| ());
    let (app, other) = (rig.client(&role("app")).await, rig.client_h2(&role("other")).await);
    app.create("k1").await.ok();
    let refused = "not authorized: insufficient permissions";
    app.get("/v1/status").await.refused(403, refused);
    other.create("k2").await.refused(403, refused);
    let policies = Policies::default().with("app", &["/v1/status"], &[]).with("other", &["/v1/key/create/*"], &[]);
    rig.handle.reload(rig.configured(&role("admin").identity(), &policies, Settings::default()));
    app.create("k2").await.refused(403, refused);
    app.get("/v1/status").await.ok();
    other.create("k2").await.ok();
    other.create("k1").await.refused(400, "key already exists");
    // The admin can change too.
    rig.handle.reload(rig.configured(&role("other").identity(), &policies, Settings::default()));
    other.get("/v1/api").await.ok();
    rig.client(&role("admin")).await.get("/v1/api").await.refused(403, refused);
    let page = other.get("/v1/metrics?view=full").await;
    assert!(page.text().contains("\nkes_reloads_total 2\n"));
    rig.stop().await;
}

#[tokio::test]
async fn refusals_are_logged_once_until_a_reload_says_otherwise() {
    let rig = Rig::start(|_| ());
    let app = rig.client(&role("app")).await;
    for _ in 0..3 {
        app.get("/v1/status").await;
        app.create("secret1").await;
    }
    rig.handle.reload(rig.configured(&role("admin").identity(), &Policies::default(), Settings::default()));
    app.get("/v1/status").await;
    let logs = rig.stop().await;
    assert_eq!(logs.error.matches("add under policy.app.allow: ").count(), 2, "{}", logs.error);
    assert_eq!(logs.error.matches("rule '/v1/key/create/secret*' under policy.app.deny").count(), 1, "{}", logs.error);
}

/// Connects, asks for the status, and says how the session began.
async fn session(rig: &Rig, config: &Arc<ClientConfig>) -> std::io::Result<(HandshakeKind, u16)> {
    let mut raw = Raw::connect(rig.address, config.clone()).await?;
    tokio::io::AsyncWriteExt::write_all(&mut raw.0, STATUS.as_bytes()).await?;
    let mut first = [0; 12];
    soon("an answer", tokio::io::AsyncReadExt::read_exact(&mut raw.0, &mut first)).await?;
    let status = std::str::from_utf8(&first[9..]).unwrap().parse().unwrap();
    Ok((raw.0.get_ref().1.handshake_kind().unwrap(), status))
}

#[tokio::test]
async fn a_session_resumes_with_its_identity_until_the_certificate_is_swapped() {
    let rig = Rig::start(|_| ());
    let config = Raw::config(&rig.authority, Some(&role("admin").certified_key()), b"http/1.1");
    assert_eq!(session(&rig, &config).await.unwrap(), (HandshakeKind::Full, 200));
    assert_eq!(session(&rig, &config).await.unwrap(), (HandshakeKind::Resumed, 200), "still the admin");
    let state = rig.handle.state();
    rig.handle.reload_tls(state.with_tls(&rig.server_certificate(), rig.verification.clone()).unwrap());
    assert_eq!(session(&rig, &config).await.unwrap(), (HandshakeKind::Full, 200));
    assert_eq!(session(&rig, &config).await.unwrap(), (HandshakeKind::Resumed, 200));
    let page = rig.client(&role("admin")).await.get("/v1/metrics?view=full").await;
    assert!(page.text().contains("kes_tls_handshakes_total{resumed=\"true\"} 2\n"), "{}", page.text());
    rig.stop().await;
}

#[tokio::test]
async fn a_session_does_not_outlive_its_certificate_where_certificates_are_verified() {
    let rig = Rig::start(|setup| setup.verified = true);
    let certificate = rig.issue(Duration::seconds(2));
    let expired = certificate.facts().not_after + Duration::SECOND;
    let admin: Identity = certificate.identity();
    rig.handle.reload(rig.configured(&admin, &Policies::default(), Settings::default()));
    let config = Raw::config(&rig.authority, Some(&certificate.certified_key()), b"http/1.1");
    assert_eq!(session(&rig, &config).await.unwrap(), (HandshakeKind::Full, 200));
    assert_eq!(session(&rig, &config).await.unwrap(), (HandshakeKind::Resumed, 200));
    // The clock of certificates is the machine's.
    let left = expired - OffsetDateTime::now_utc();
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    assert!(session(&rig, &config).await.is_err(), "neither resumed nor anew");
    let logs = rig.stop().await;
    assert!(logs.audit_all().iter().any(|line| line["msg"].contains("expired")), "{}", logs.audit);
}
