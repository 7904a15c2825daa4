//! TLS proxies: a peer that forwards its clients' certificates in a header.

use std::collections::HashSet;

use http::HeaderName;
use kes_api::server::{Proxy, Settings};
use kes_identity::{Authority, Certificate, pem};
use time::{Duration, OffsetDateTime};

use crate::support::{Client, Payload, Policies, Rig, percent_encode, role};

const HEADER: &str = "X-Tls-Client-Cert";

fn behind(identity: kes_identity::Identity, admin: bool) -> Option<Proxy> {
    let header = HeaderName::from_static("x-tls-client-cert");
    Some(Proxy { identities: HashSet::from([identity]), header, admin })
}

fn rig(admin: bool) -> Rig {
    Rig::start(|setup| setup.settings.proxy = behind(role("proxy").identity(), admin))
}

fn forwarded(certificate: &Certificate) -> String {
    percent_encode(&certificate.to_pem())
}

async fn create(client: &Client, name: &str, headers: &[(&str, &str)]) -> crate::support::Answer {
    client.call("POST", &format!("/v1/key/create/{name}"), headers, Payload::None).await
}

#[tokio::test]
async fn a_forwarded_certificate_acts() {
    let rig = rig(false);
    let proxy = rig.client(&role("proxy")).await;
    let app = forwarded(&role("app"));
    create(&proxy, "k1", &[(HEADER, &app)]).await.ok();
    create(&proxy, "k2", &[("x-tls-client-CERT", &app), ("X-Forwarded-For", " 10.1.2.3:99 , 10.0.0.1")]).await.ok();
    create(&proxy, "secret1", &[(HEADER, &app)]).await.refused(403, "not authorized: insufficient permissions");
    let answer = proxy.call("GET", "/v1/status", &[(HEADER, &forwarded(&role("stranger")))], Payload::None).await;
    answer.refused(403, "not authorized: insufficient permissions");
    // Further blocks are ignored, and so is text around them.
    let several = percent_encode(&format!("app:\n{}{}", role("app").to_pem(), role("admin").to_pem()));
    create(&proxy, "k3", &[(HEADER, &several)]).await.ok();
    let logs = rig.stop().await;
    let app = role("app").identity();
    assert_eq!(logs.audit_of("/v1/key/create/k1")["req.identity"], app.as_str());
    assert_eq!(logs.audit_of("/v1/key/create/k1")["req.ip"], "127.0.0.1");
    assert_eq!(logs.audit_of("/v1/key/create/k2")["req.ip"], "10.1.2.3");
}

#[tokio::test]
async fn a_proxy_may_forward_the_admin_only_if_told_so() {
    let rig_off = rig(false);
    let admin = forwarded(&role("admin"));
    let answer = create(&rig_off.client(&role("proxy")).await, "k1", &[(HEADER, &admin)]).await;
    answer.refused(403, "not authorized: insufficient permissions");
    let logs = rig_off.stop().await;
    assert!(logs.error.contains("tls.proxy.admin is off"), "{}", logs.error);
    let rig_on = rig(true);
    create(&rig_on.client(&role("proxy")).await, "k1", &[(HEADER, &admin)]).await.ok();
    let logs = rig_on.stop().await;
    assert_eq!(logs.audit_of("/v1/key/create/k1")["req.identity"], role("admin").identity().as_str());
}

#[tokio::test]
async fn the_header_of_others_is_ignored_and_counted() {
    let rig = rig(false);
    let app = rig.client(&role("app")).await;
    let admin = forwarded(&role("admin"));
    for name in ["k1", "k2"] {
        create(&app, name, &[(HEADER, &admin)]).await.ok();
    }
    create(&app, "secret1", &[(HEADER, &admin)]).await.refused(403, "not authorized: insufficient permissions");
    let page = rig.client(&role("admin")).await.get("/v1/metrics?view=full").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("\nkes_tls_proxy_header_ignored_total 3\n"), "{}", page.text());
    let logs = rig.stop().await;
    assert_eq!(logs.audit_of("/v1/key/create/k1")["req.identity"], role("app").identity().as_str());
    assert_eq!(logs.error.matches("its sender is no TLS proxy").count(), 1, "once per identity: {}", logs.error);
}

#[tokio::test]
async fn headers_that_carry_no_certificate_are_refused() {
    let rig = rig(false);
    let proxy = rig.client(&role("proxy")).await;
    let app = forwarded(&role("app"));
    let no_percent = role("app").to_pem().replace('\n', "%0A").replace(' ', "%20");
    create(&proxy, "k1", &[]).await.refused(400, "no client certificate is present");
    create(&proxy, "k1", &[(HEADER, &app), (HEADER, &app)])
        .await
        .refused(400, "too many client certificates are present");
    // Somebody joined the client's own header with the proxy's, in either order and with any blanks.
    let admin = forwarded(&role("admin"));
    for joined in [format!("{admin},{app}"), format!("{app}, {admin}"), format!("{app},"), format!(",{app}")] {
        create(&proxy, "k1", &[(HEADER, &joined)]).await.refused(400, "too many client certificates are present");
    }
    let key = percent_encode(role("app").key_to_pem().expose());
    let broken = percent_encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let cut = &app[..app.len() - 1];
    for garbage in ["", "x", "%", "%zz", &key, &broken, cut, "%00%FF"] {
        create(&proxy, "k1", &[(HEADER, garbage)]).await.refused(400, "invalid client certificate");
    }
    // A `+` means a blank: proxies must send %2B.
    assert_eq!(no_percent.contains('+'), create(&proxy, "k9", &[(HEADER, &no_percent)]).await.status == 400);
    // It runs before the method is looked at, and on every route.
    let answer = proxy.call("POST", "/version", &[], Payload::None).await;
    answer.refused(400, "no client certificate is present");
    assert_eq!(proxy.get("/nowhere").await.status, 404);
    rig.stop().await;
}

#[tokio::test]
async fn a_plus_sign_must_come_escaped() {
    let rig = rig(false);
    let proxy = rig.client(&role("proxy")).await;
    let pem = loop {
        let pem = role("app").to_pem(); // with another serial number each time
        if pem.contains('+') {
            break pem;
        }
    };
    let escaped = percent_encode(&pem);
    assert!(escaped.contains("%2B"));
    create(&proxy, "k1", &[(HEADER, &escaped)]).await.ok();
    create(&proxy, "k2", &[(HEADER, &escaped.replace("%2B", "+"))]).await.refused(400, "invalid client certificate");
    rig.stop().await;
}

#[tokio::test]
async fn an_authority_has_no_identity() {
    let rig = rig(false);
    let now = OffsetDateTime::now_utc();
    let authority = Authority::generate("mine", now - Duration::HOUR, now + Duration::HOUR).unwrap();
    let header = percent_encode(&pem::encode("CERTIFICATE", authority.certificate()));
    let answer = create(&rig.client(&role("proxy")).await, "k1", &[(HEADER, &header)]).await;
    answer.refused(403, "not authorized: insufficient permissions");
    rig.stop().await;
}

#[tokio::test]
async fn a_proxy_has_no_rights_of_its_own() {
    let rig = rig(true);
    let proxy = rig.client(&role("proxy")).await;
    for path in ["/v1/status", "/version", "/v1/identity/self/describe", "/v1/policy/list/"] {
        proxy.get(path).await.refused(400, "no client certificate is present");
    }
    let own = forwarded(&role("proxy"));
    create(&proxy, "k1", &[(HEADER, &own)]).await.refused(403, "not authorized: insufficient permissions");
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_verifies_clients_verifies_forwarded_ones() {
    let rig = Rig::start(|setup| setup.verified = true);
    let (proxy, good) = (rig.issue(Duration::HOUR), rig.issue(Duration::HOUR));
    let mut settings = Settings::default();
    settings.proxy = behind(proxy.identity(), true);
    rig.handle.reload(rig.configured(&good.identity(), &Policies::default(), settings));
    let client = rig.client(&proxy).await;
    create(&client, "k1", &[(HEADER, &forwarded(&good))]).await.ok();
    let expired = rig.issue(-Duration::MINUTE);
    for bad in [role("app"), expired] {
        create(&client, "k2", &[(HEADER, &forwarded(&bad))]).await.refused(403, "");
    }
    rig.stop().await;
}
