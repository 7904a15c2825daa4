//! Changes of policies and identities over the API: they are in force at once, on every connection, until a reload.

use std::collections::HashSet;

use http::HeaderName;
use kes_api::server::{Dropped, Events, Proxy, Settings};
use kes_identity::Identity;
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Payload, Policies, Raw, Rig, percent_encode, role};

const REFUSED: &str = "not authorized: insufficient permissions";

fn id(name: &str) -> Identity {
    role(name).identity()
}

async fn write(client: &Client, name: &str, allow: &[&str], deny: &[&str]) -> Answer {
    let body = json!({ "allow": allow, "deny": deny }).to_string();
    client.post(&format!("/v1/policy/write/{name}"), &body[..]).await
}

async fn assign(client: &Client, policy: &str, identity: &str) -> Answer {
    client.post(&format!("/v1/policy/assign/{policy}"), &json!({ "identity": identity }).to_string()[..]).await
}

async fn delete(client: &Client, path: &str) -> Answer {
    client.call("DELETE", path, &[], Payload::None).await
}

fn nothing(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (200, ""), "{answer:?}");
    assert_eq!((answer.header("content-length"), answer.header("content-type")), (Some("0"), None));
}

#[tokio::test]
async fn a_change_is_in_force_at_once_on_open_connections() {
    let rig = Rig::start(|_| ());
    let admin = rig.client(&role("admin")).await;
    let (old, new) = (rig.client(&role("new")).await, rig.client_h2(&role("new")).await);
    for client in [&old, &new] {
        client.get("/v1/status").await.refused(403, REFUSED);
    }
    nothing(&write(&admin, "readers", &["/v1/status"], &[]).await);
    old.get("/v1/status").await.refused(403, REFUSED);
    nothing(&assign(&admin, "readers", id("new").as_str()).await);
    for client in [&old, &new] {
        client.get("/v1/status").await.ok();
    }
    // Other rules for the same policy: its members keep it.
    nothing(&write(&admin, "readers", &["/v1/*"], &["/v1/status"]).await);
    for client in [&old, &new] {
        client.get("/v1/status").await.refused(403, REFUSED);
        client.get("/v1/api").await.ok();
    }
    nothing(&assign(&admin, "app", id("new").as_str()).await);
    new.get("/v1/api").await.refused(403, REFUSED);
    new.create("k1").await.ok();
    nothing(&delete(&admin, &format!("/v1/identity/delete/{}", id("new"))).await);
    for client in [&old, &new] {
        client.create("k2").await.refused(403, REFUSED);
        client.get("/v1/identity/self/describe").await.refused(404, "identity does not exist");
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_the_file_says_can_be_changed_and_comes_back() {
    let rig = Rig::start(|_| ());
    let admin = rig.client(&role("admin")).await;
    let app = rig.client(&role("app")).await;
    let path = format!("/v1/identity/describe/{}", id("app"));
    let described = |answer: Answer| answer.ok().json();
    // With its policy an identity loses its rights, and does not get them back with the policy's name.
    nothing(&delete(&admin, "/v1/policy/delete/app").await);
    app.create("k1").await.refused(403, REFUSED);
    admin.get(&path).await.refused(404, "identity does not exist");
    admin.get("/v1/policy/read/app").await.refused(404, "policy does not exist");
    assert_eq!(admin.get("/v1/policy/list/").await.ok().text(), "{\"names\":[],\"continue_at\":\"\"}\n");
    nothing(&write(&admin, "app", &["/v1/key/create/*"], &[]).await);
    app.create("k1").await.refused(403, REFUSED);
    nothing(&assign(&admin, "app", id("app").as_str()).await);
    app.create("k1").await.ok();
    assert_eq!(described(admin.get(&path).await)["policy"], "app");
    // And a reload brings back what was there.
    rig.handle.reload(rig.configured(&id("admin"), &Policies::default(), Settings::default()));
    app.create("secret1").await.refused(403, REFUSED);
    app.create("k2").await.ok();
    let policy = described(admin.get("/v1/policy/read/app").await);
    assert_eq!((policy["created_by"].as_str(), policy.get("ephemeral")), (Some(id("admin").as_str()), None));
    rig.stop().await;
}

#[tokio::test]
async fn changes_are_shown_as_ephemeral_and_only_they() {
    let rig = Rig::start(|_| ());
    let admin = rig.client(&role("admin")).await;
    let member = id("new");
    let before = admin.get("/v1/policy/describe/app").await.ok().json();
    nothing(&write(&admin, "readers", &["/v1/status"], &["/v1/key/*"]).await);
    nothing(&assign(&admin, "readers", member.as_str()).await);

    let get = async |path: &str| admin.get(path).await.ok().json();
    assert_eq!(get("/v1/policy/describe/app").await, before, "a policy of the file is as it was");
    let info = get("/v1/policy/describe/readers").await;
    assert_eq!((&info["name"], &info["ephemeral"]), (&json!("readers"), &json!(true)));
    assert_eq!(info["created_by"], id("admin").as_str());
    assert!(info["created_at"].as_str() > before["created_at"].as_str(), "its own time: {info}");
    let rules = get("/v1/policy/read/readers").await;
    assert_eq!((&rules["allow"], &rules["deny"]), (&json!({ "/v1/status": {} }), &json!({ "/v1/key/*": {} })));
    assert_eq!(rules["ephemeral"], true);
    let identity = get(&format!("/v1/identity/describe/{member}")).await;
    assert_eq!((&identity["policy"], &identity["ephemeral"]), (&json!("readers"), &json!(true)));
    assert_eq!(get(&format!("/v1/identity/describe/{}", id("app"))).await.get("ephemeral"), None);

    let list = get("/v1/policy/list/").await;
    assert_eq!((&list["names"], &list["ephemeral"]), (&json!(["app", "readers"]), &json!(["readers"])));
    let list = get("/v1/policy/list/app").await;
    assert_eq!(list, json!({ "names": ["app"], "continue_at": "" }), "only those that are listed");
    let list = get("/v1/identity/list/").await;
    assert_eq!(list["ephemeral"], json!([member.as_str()]));
    assert_eq!(list["identities"].as_array().unwrap().len(), 3);

    // Whoever asks about itself: by its own assignment, or because its policy was rewritten.
    let own = async |name: &str| rig.client(&role(name)).await.get("/v1/identity/self/describe").await.ok().json();
    assert_eq!(own("new").await["ephemeral"], true);
    assert_eq!(own("app").await.get("ephemeral"), None);
    nothing(&write(&admin, "app", &["/v1/key/create/*"], &[]).await);
    assert_eq!(own("app").await["ephemeral"], true);
    assert_eq!(own("admin").await.get("ephemeral"), None);
    assert_eq!(get(&format!("/v1/identity/describe/{}", id("app"))).await.get("ephemeral"), None);
    let lines = admin.call("GET", "/v1/identity/list/", &[("Accept", "application/x-ndjson")], Payload::None).await;
    assert!(lines.ok().text().contains(&format!("\"created_by\":\"{}\"", id("admin"))));
    rig.stop().await;
}

#[tokio::test]
async fn a_reload_says_what_it_drops() {
    let rig = Rig::start(|setup| {
        let policies = Policies::default();
        setup.policies = policies.with("gone", &["/v1/status"], &[]).with("rewritten", &[], &[]);
    });
    let admin = rig.client(&role("admin")).await;
    nothing(&write(&admin, "short", &["/v1/status"], &[]).await);
    nothing(&delete(&admin, "/v1/policy/delete/short").await);
    nothing(&write(&admin, "new", &["/v1/status"], &[]).await);
    nothing(&write(&admin, "rewritten", &["/v1/status"], &[]).await);
    nothing(&assign(&admin, "new", id("new").as_str()).await);
    nothing(&delete(&admin, "/v1/policy/delete/gone").await);
    nothing(&delete(&admin, &format!("/v1/identity/delete/{}", id("app"))).await);
    // Another certificate is not another configuration.
    let state = rig.handle.state().with_tls(&rig.server_certificate(), rig.verification.clone()).unwrap();
    rig.handle.reload_tls(state);
    rig.client(&role("new")).await.get("/v1/status").await.ok();

    let reload = || rig.handle.reload(rig.configured(&id("admin"), &Policies::default(), Settings::default()));
    let mut deleted = [id("app").to_string(), id("gone").to_string()];
    deleted.sort();
    let expected = Dropped {
        policies: vec!["new".to_owned(), "rewritten".to_owned()],
        deleted_policies: vec!["gone".to_owned()],
        identities: vec![(id("new").to_string(), "new".to_owned())],
        deleted_identities: deleted.to_vec(),
    };
    assert_eq!(reload(), expected);
    assert!(reload().is_empty(), "nothing is dropped twice");
    rig.client(&role("new")).await.get("/v1/status").await.refused(403, REFUSED);
    let logs = rig.stop().await;
    for line in expected.lines() {
        assert_eq!(logs.error.matches(&format!("level=WARN msg=\"{line}\"")).count(), 1, "{line} in {}", logs.error);
    }
}

#[tokio::test]
async fn only_the_admin_and_whom_a_rule_names_may_change() {
    let rig = Rig::start(|setup| {
        setup.policies = Policies::default()
            .with("wide", &["/v1/*", "*", "/v1/policy/*", "/v1/policy/w*", "/v1/*/*/*"], &[])
            .with("named", &["/v1/policy/write/team-*", "/v1/policy/assign/team-?"], &["/v1/policy/write/team-x"]);
        assert!(!setup.settings.skip_auth("/v1/policy/write/"), "these routes are never open");
    });
    let wide = rig.client(&role("wide")).await;
    for (method, path) in [
        ("POST", "/v1/policy/write/p"),
        ("DELETE", "/v1/policy/delete/app"),
        ("POST", "/v1/policy/assign/app"),
        ("POST", "/v1/identity/assign/app/x"),
        ("DELETE", "/v1/identity/delete/x"),
        ("DELETE", "/v1/identity/forget/x"),
    ] {
        for name in ["wide", "app", "stranger"] {
            let client = rig.client(&role(name)).await;
            client.call(method, path, &[], "nonsense".into()).await.refused(403, REFUSED);
        }
        let wrong = if method == "POST" { "PUT" } else { "POST" };
        let text = format!("received method '{wrong}' expected '{method}'");
        wide.call(wrong, path, &[], Payload::None).await.refused(405, &text);
        wide.get(path).await.refused(405, &format!("received method 'GET' expected '{method}'"));
    }
    let named = rig.client(&role("named")).await;
    nothing(&write(&named, "team-a", &["/v1/status"], &[]).await);
    nothing(&assign(&named, "team-a", id("new").as_str()).await);
    write(&named, "team-x", &[], &[]).await.refused(403, REFUSED);
    write(&named, "other", &[], &[]).await.refused(403, REFUSED);
    assign(&named, "app", id("new").as_str()).await.refused(403, REFUSED);
    assign(&named, "team-a", id("named").as_str()).await.refused(403, "identity cannot assign policy to itself");
    delete(&named, "/v1/policy/delete/team-a").await.refused(403, REFUSED);
    rig.client(&role("new")).await.get("/v1/status").await.ok();
    // Nobody without certificate, whatever else is open.
    let info = rig.client(&role("admin")).await.get("/v1/policy/describe/team-a").await.ok().json();
    assert_eq!(info["created_by"], id("named").as_str());
    let logs = rig.stop().await;
    let hint = "add under policy.wide.allow: - /v1/policy/write/p (only this) or - /v1/policy/write/* (all)";
    assert!(logs.error.contains(hint), "{}", logs.error);
}

/// Each row: method, path, body, status, text. Asked as the admin, in this order, and nothing may have changed after it.
#[tokio::test]
async fn bad_requests_change_nothing() {
    let long = "x".repeat(81);
    let (admin, app, proxy) = (id("admin"), id("app"), id("proxy"));
    let rig = Rig::start(|setup| {
        let header = HeaderName::from_static("x-tls-client-cert");
        setup.settings.proxy = Some(Proxy { identities: HashSet::from([id("proxy")]), header, admin: false });
    });
    let client = rig.client(&role("admin")).await;
    let name = |what: &str, name: &str| format!("{what} '{name}' is empty, too long or contains invalid characters");
    let identity = |identity: &str| json!({ "identity": identity }).to_string();
    let body = "invalid request body".to_owned();
    let rows = [
        ("POST", "/v1/policy/write/".to_owned(), "{}".to_owned(), 400, name("policy name", "")),
        ("POST", "/v1/policy/write".to_owned(), "{}".to_owned(), 400, name("policy name", "")),
        ("POST", "/v1/policy/write/a.b".to_owned(), "{}".to_owned(), 400, name("policy name", "a.b")),
        ("POST", "/v1/policy/write/a%2Fb".to_owned(), "{}".to_owned(), 400, name("policy name", "a/b")),
        ("POST", "/v1/policy/write/_".to_owned(), "{}".to_owned(), 400, name("policy name", "_")),
        ("POST", format!("/v1/policy/write/{long}"), "{}".to_owned(), 400, name("policy name", &long)),
        ("POST", "/v1/policy/write/p".to_owned(), String::new(), 400, body.clone()),
        ("POST", "/v1/policy/write/p".to_owned(), "[]".to_owned(), 400, body.clone()),
        ("POST", "/v1/policy/write/p".to_owned(), r#"{"allow":"/v1/status"}"#.to_owned(), 400, body.clone()),
        ("POST", "/v1/policy/write/p".to_owned(), r#"{"allow":[1]}"#.to_owned(), 400, body.clone()),
        ("POST", "/v1/policy/write/p".to_owned(), r#"{"allow":["#.to_owned(), 400, body.clone()),
        (
            "POST",
            "/v1/policy/write/app".to_owned(),
            r#"{"allow":["*"],"deny":["/v1/status","/v1/key/[a"]}"#.to_owned(),
            400,
            "deny pattern '/v1/key/[a' is malformed".to_owned(),
        ),
        (
            "POST",
            "/v1/policy/write/p".to_owned(),
            format!("{{\"allow\":[\"{}\"]}}", "x".repeat(1_000_000)),
            400,
            body.clone(),
        ),
        ("DELETE", "/v1/policy/delete/nope".to_owned(), String::new(), 404, "policy does not exist".to_owned()),
        ("DELETE", "/v1/policy/delete/-".to_owned(), String::new(), 400, name("policy name", "-")),
        ("POST", "/v1/policy/assign/nope".to_owned(), identity("x"), 404, "policy does not exist".to_owned()),
        ("POST", "/v1/policy/assign/a.b".to_owned(), identity("x"), 400, name("policy name", "a.b")),
        ("POST", "/v1/policy/assign/app".to_owned(), String::new(), 400, body.clone()),
        ("POST", "/v1/policy/assign/app".to_owned(), r#"{"identity":7}"#.to_owned(), 400, body),
        ("POST", "/v1/policy/assign/app".to_owned(), "{}".to_owned(), 400, "identity is unknown".to_owned()),
        ("POST", "/v1/policy/assign/app".to_owned(), "null".to_owned(), 400, "identity is unknown".to_owned()),
        ("POST", "/v1/policy/assign/app".to_owned(), identity("a b"), 400, name("identity", "a b")),
        (
            "POST",
            "/v1/policy/assign/app".to_owned(),
            identity(admin.as_str()),
            400,
            "cannot assign policy to system admin".to_owned(),
        ),
        (
            "POST",
            "/v1/policy/assign/app".to_owned(),
            identity(proxy.as_str()),
            400,
            "cannot assign policy to TLS proxy".to_owned(),
        ),
        ("POST", "/v1/identity/assign/app".to_owned(), String::new(), 400, "identity is unknown".to_owned()),
        ("POST", "/v1/identity/assign/app/".to_owned(), String::new(), 400, "identity is unknown".to_owned()),
        ("POST", "/v1/identity/assign/".to_owned(), String::new(), 400, name("policy name", "")),
        ("POST", "/v1/identity/assign/app/x/y".to_owned(), String::new(), 400, name("identity", "x/y")),
        ("POST", "/v1/identity/assign/nope/x".to_owned(), String::new(), 404, "policy does not exist".to_owned()),
        ("POST", format!("/v1/identity/assign/app/{admin}"), String::new(), 400, "identity is root".to_owned()),
        (
            "POST",
            format!("/v1/identity/assign/app/{proxy}"),
            String::new(),
            400,
            "cannot assign policy to TLS proxy".to_owned(),
        ),
        ("DELETE", format!("/v1/identity/delete/{admin}"), String::new(), 400, "cannot delete system admin".to_owned()),
        ("DELETE", format!("/v1/identity/forget/{admin}"), String::new(), 400, "identity is root".to_owned()),
        ("DELETE", "/v1/identity/delete/nope".to_owned(), String::new(), 404, "identity does not exist".to_owned()),
        ("DELETE", format!("/v1/identity/forget/{proxy}"), String::new(), 404, "identity does not exist".to_owned()),
        ("DELETE", "/v1/identity/delete/a.b".to_owned(), String::new(), 400, name("identity", "a.b")),
        ("DELETE", "/v1/identity/forget/".to_owned(), String::new(), 400, name("identity", "")),
    ];
    let before = client.get("/v1/policy/read/app").await.ok().json();
    for (method, path, body, status, message) in rows {
        // Each on a connection of its own: what is too long ends it.
        let asking = rig.client(&role("admin")).await;
        let payload = if body.is_empty() { Payload::None } else { body[..].into() };
        asking.call(method, &path, &[], payload).await.refused(status, &message);
        assert_eq!(client.get("/v1/policy/list/").await.ok().text(), "{\"names\":[\"app\"],\"continue_at\":\"\"}\n");
        assert_eq!(client.get("/v1/policy/read/app").await.ok().json(), before, "{method} {path}");
    }
    assert_eq!(client.get("/v1/identity/list/").await.ok().json().get("ephemeral"), None);
    client.get(&format!("/v1/identity/describe/{app}")).await.ok();
    let logs = rig.stop().await;
    assert_eq!(logs.error, "", "what is refused is not warned about");
}

#[tokio::test]
async fn policies_of_all_ages_are_taken() {
    let rig = Rig::start(|_| ());
    let admin = rig.client(&role("admin")).await;
    let status = json!({ "/v1/status": {} });
    for (name, body) in [
        ("v014", r#"{"paths":["/v1/status"]}"#),
        ("v018", r#"{"allow":["/v1/status"],"deny":[]}"#),
        ("today", r#"{"name":"x","allow":{"/v1/status":{}},"created_at":"2026-11-21T02:58:46Z"}"#),
    ] {
        nothing(&admin.post(&format!("/v1/policy/write/{name}"), body).await);
        let rules = admin.get(&format!("/v1/policy/read/{name}")).await.ok().json();
        assert_eq!((&rules["name"], &rules["allow"]), (&json!(name), &status));
    }
    // Without rules nothing passes; a malformed allow pattern allows nothing and is warned about.
    nothing(&admin.post("/v1/policy/write/empty", "{}").await);
    nothing(&write(&admin, "odd", &["/v1/["], &[]).await);
    // The routes of v0.17 do the same without a body.
    nothing(&admin.post(&format!("/v1/identity/assign/v014/{}", id("new")), Payload::None).await);
    rig.client(&role("new")).await.get("/v1/status").await.ok();
    nothing(&delete(&admin, &format!("/v1/identity/forget/{}", id("new"))).await);
    rig.client(&role("new")).await.get("/v1/status").await.refused(403, REFUSED);
    let logs = rig.stop().await;
    assert!(logs.error.contains("level=WARN msg=\"policy 'odd': the allow rule"), "{}", logs.error);
}

#[tokio::test]
async fn changes_are_audited_as_changes() {
    let rig = Rig::start(|setup| setup.settings.logs.events = Events::Mutations);
    let admin = rig.client(&role("admin")).await;
    let (new, app) = (id("new"), id("app"));
    nothing(&write(&admin, "readers", &["/v1/status"], &[]).await);
    nothing(&assign(&admin, "readers", new.as_str()).await);
    nothing(&admin.post(&format!("/v1/identity/assign/app/{new}"), Payload::None).await);
    nothing(&delete(&admin, &format!("/v1/identity/delete/{app}")).await);
    nothing(&delete(&admin, &format!("/v1/identity/forget/{new}")).await);
    nothing(&delete(&admin, "/v1/policy/delete/readers").await);
    delete(&admin, "/v1/policy/delete/readers").await.refused(404, "policy does not exist");
    rig.client(&role("app")).await.get("/v1/status").await.refused(403, REFUSED);
    let logs = rig.stop().await;
    let told: Vec<_> =
        logs.audit_all().into_iter().map(|line| (line["msg"].clone(), line["res.code"].clone())).collect();
    let expected = [
        "policy 'readers' written".to_owned(),
        format!("policy 'readers' assigned to '{new}'"),
        format!("policy 'app' assigned to '{new}'"),
        format!("identity '{app}' deleted"),
        format!("identity '{new}' deleted"),
        "policy 'readers' deleted".to_owned(),
    ];
    assert_eq!(told, expected.map(|sentence| (sentence, "200".to_owned())));
    assert!(logs.audit_all().iter().all(|line| line["req.identity"] == id("admin").as_str()));
}

#[tokio::test]
async fn changes_can_be_switched_off() {
    let rig = Rig::start(|setup| setup.settings.ephemeral_policies = false);
    let (admin, app) = (rig.client(&role("admin")).await, rig.client(&role("app")).await);
    for (method, path) in [
        ("POST", "/v1/policy/write/p"),
        ("POST", "/v1/policy/write/a.b"),
        ("DELETE", "/v1/policy/delete/app"),
        ("POST", "/v1/policy/assign/app"),
        ("POST", "/v1/identity/assign/app/x"),
        ("DELETE", "/v1/identity/delete/x"),
        ("DELETE", "/v1/identity/forget/x"),
    ] {
        admin.call(method, path, &[], "{}".into()).await.refused(501, "not implemented");
        app.call(method, path, &[], "{}".into()).await.refused(403, REFUSED);
    }
    admin.get("/v1/policy/write/p").await.refused(405, "received method 'GET' expected 'POST'");
    app.create("k1").await.ok();
    rig.stop().await;
    let rig = Rig::start(|setup| setup.settings.legacy_routes = false);
    let answer = write(&rig.client(&role("admin")).await, "p", &[], &[]).await;
    assert_eq!((answer.status, answer.text()), (404, "404 page not found\n"));
    rig.stop().await;
}

#[tokio::test]
async fn nobody_sees_half_a_change() {
    let rig = Rig::start(|setup| {
        setup.settings.logs.audit = 8;
        setup.settings.logs.error = 8;
    });
    let admin = rig.client(&role("admin")).await;
    let rules = |version: usize| (format!("/v1/key/create/v{version}-*"), format!("/v1/key/delete/v{version}-*"));
    let readers: Vec<_> = futures_of(4, async || rig.client(&role("app")).await).await;
    let (stop, _) = tokio::sync::watch::channel(false);
    let mut tasks = Vec::new();
    for reader in readers {
        let stop = stop.subscribe();
        tasks.push(tokio::spawn(async move {
            let mut seen = HashSet::new();
            while !*stop.borrow() {
                let own = reader.get("/v1/identity/self/describe").await.ok().json();
                let only = |rules: &Value| rules.as_object().unwrap().keys().next().unwrap().clone();
                let allow = only(&own["allow"]);
                if own["ephemeral"] == true {
                    assert_eq!(only(&own["deny"]), allow.replace("create", "delete"), "both of one write");
                }
                seen.insert(allow);
            }
            seen.len()
        }));
    }
    for version in 0..200 {
        let (allow, deny) = rules(version);
        nothing(&write(&admin, "app", &[&allow], &[&deny]).await);
    }
    stop.send_replace(true);
    for task in tasks {
        assert!(task.await.unwrap() > 1, "readers saw the changes go by");
    }
    rig.stop().await;
}

async fn futures_of<T>(count: usize, mut make: impl AsyncFnMut() -> T) -> Vec<T> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(make().await);
    }
    all
}

#[tokio::test]
async fn parallel_changes_are_all_kept() {
    let rig = Rig::start(|_| ());
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let admin = rig.client_h2(&role("admin")).await;
        tasks.push(tokio::spawn(async move {
            for index in 0..20 {
                nothing(&write(&admin, &format!("p-{worker}-{index}"), &["/v1/status"], &[]).await);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let list = rig.client(&role("admin")).await.get("/v1/policy/list/p-*").await.ok().json();
    assert_eq!(list["names"].as_array().unwrap().len(), 160);
    assert_eq!(list["ephemeral"], list["names"]);
    let dropped = rig.handle.reload(rig.configured(&id("admin"), &Policies::default(), Settings::default()));
    assert_eq!(dropped.policies.len(), 160);
    rig.stop().await;
}

#[tokio::test]
async fn whoever_loses_the_right_to_a_log_loses_the_stream() {
    let rig = Rig::start(|setup| {
        setup.policies = Policies::default().with("auditor", &["/v1/log/audit"], &[]);
    });
    let admin = rig.client(&role("admin")).await;
    let mut events = rig.client(&role("auditor")).await.events("/v1/log/audit").await;
    assert_eq!(events.next().await.unwrap()["request"]["path"], "/v1/log/audit");
    nothing(&write(&admin, "other", &["/v1/status"], &[]).await);
    assert_eq!(
        events.next().await.unwrap()["request"]["path"],
        "/v1/policy/write/other",
        "others' rights are no reason"
    );
    nothing(&delete(&admin, &format!("/v1/identity/delete/{}", id("auditor"))).await);
    while let Some(event) = events.next().await {
        assert_ne!(event["request"]["path"], "/v1/status", "nothing after the change");
    }
    rig.client(&role("auditor")).await.get("/v1/log/audit").await.refused(403, REFUSED);
    rig.stop().await;
}

/// Callers of every other kind: nobody, somebody with two certificates, an authority, and those behind a TLS proxy.
#[tokio::test]
async fn callers_without_one_identity_of_their_own_are_refused() {
    let rig = Rig::start(|setup| {
        assert!(setup.settings.skip_auth("/v1/ready"), "so that clients without certificate get as far as this");
        let header = HeaderName::from_static("x-tls-client-cert");
        setup.settings.proxy = Some(Proxy { identities: HashSet::from([id("proxy")]), header, admin: false });
        setup.policies = Policies::default().with("named", &["/v1/policy/assign/*", "/v1/policy/write/team"], &[]);
    });
    let (admin, app) = (role("admin"), role("app"));
    let mut both = app.chain().to_vec();
    both.extend(admin.chain().iter().cloned());
    let both = CertifiedKey::new(both, app.certified_key().key.clone());
    let routes = [
        ("POST", "/v1/policy/write/p"),
        ("DELETE", "/v1/policy/delete/app"),
        ("POST", "/v1/policy/assign/app"),
        ("POST", "/v1/identity/assign/app/x"),
        ("DELETE", "/v1/identity/delete/x"),
        ("DELETE", "/v1/identity/forget/x"),
    ];
    for (shown, text) in
        [(None, "tls: client certificate is required"), (Some(&both), "tls: received more than one client certificate")]
    {
        let config = Raw::config(&rig.authority, shown, b"http/1.1");
        let mut client = Raw::connect(rig.address, config).await.unwrap();
        client.exchange("GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.ok();
        for (method, path) in routes {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}");
            client.exchange(request).await.refused(400, text);
        }
    }
    let proxy = rig.client(&role("proxy")).await;
    let forwarded = |name: &str| percent_encode(&role(name).to_pem());
    for (method, path) in routes {
        let ask = async |headers: &[(&str, &str)]| proxy.call(method, path, headers, "{}".into()).await;
        ask(&[]).await.refused(400, "no client certificate is present");
        ask(&[("X-Tls-Client-Cert", &forwarded("admin"))]).await.refused(403, REFUSED);
        ask(&[("X-Tls-Client-Cert", &forwarded("app"))]).await.refused(403, REFUSED);
    }
    // Behind a proxy the caller is who was forwarded.
    let header = forwarded("named");
    let ask = async |path: &str, body: Value| {
        proxy.call("POST", path, &[("X-Tls-Client-Cert", &header)], body.to_string()[..].into()).await
    };
    nothing(&ask("/v1/policy/write/team", json!({})).await);
    nothing(&ask("/v1/policy/assign/team", json!({ "identity": id("new").as_str() })).await);
    let itself = ask("/v1/policy/assign/team", json!({ "identity": id("named").as_str() })).await;
    itself.refused(403, "identity cannot assign policy to itself");
    let info = rig.client(&admin).await.get("/v1/policy/describe/team").await.ok().json();
    assert_eq!(info["created_by"], id("named").as_str());
    rig.stop().await;
}
