//! Which routes there are, for whom, and what their answers look like.

use serde_json::json;

use crate::support::{Payload, Policies, Rig, role};

#[tokio::test]
async fn the_order_of_checks_is_route_method_rights_name_body() {
    let rig = Rig::start(|_| ());
    let stranger = rig.client(&role("stranger")).await;
    let answer = stranger.get("/foo").await;
    assert_eq!((answer.status, answer.text()), (404, "404 page not found\n"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let answer = stranger.post("/v1/status", Payload::None).await;
    answer.refused(405, "received method 'POST' expected 'GET'");
    assert_eq!((answer.header("accept"), answer.header("allow")), (Some("GET"), Some("GET")));
    let answer = stranger.get("/v1/key/create/k1").await;
    answer.refused(405, "received method 'GET' expected 'PUT'");
    assert_eq!((answer.header("accept"), answer.header("allow")), (Some("PUT"), Some("PUT, POST")));
    stranger.post("/v1/key/decrypt/a.b", "nonsense").await.refused(403, "not authorized: insufficient permissions");
    let app = rig.client(&role("app")).await;
    let name = "key name 'a.b' is empty, too long or contains invalid characters";
    app.post("/v1/key/decrypt/a.b", "nonsense").await.refused(400, name);
    app.post("/v1/key/decrypt/k1", "nonsense").await.refused(400, "invalid request body");
    app.post("/v1/key/decrypt/k1", "{}").await.refused(404, "key does not exist");
    rig.stop().await;
}

#[tokio::test]
async fn self_describe_has_two_forms() {
    let rig = Rig::start(|_| ());
    let app = rig.client(&role("app")).await;
    let flat = app.get("/v1/identity/self/describe").await.ok().json();
    assert_eq!(flat["identity"], role("app").identity().as_str());
    assert_eq!(flat["policy"], "app");
    assert_eq!(flat["allow"]["/v1/key/create/*"], json!({}));
    assert_eq!(flat["deny"], json!({ "/v1/key/create/secret*": {} }));
    assert_eq!(flat["created_by"], role("admin").identity().as_str());
    let old = app.get("/v1/identity/self/describe?enclave=").await.ok().json();
    assert_eq!(old["policy_name"], "app");
    assert_eq!(old["policy"]["allow"][0], "/v1/key/create/*");
    assert_eq!(old["policy"]["deny"], json!(["/v1/key/create/secret*"]));
    let admin = rig.client(&role("admin")).await.get("/v1/identity/self/describe").await.ok().json();
    assert_eq!(admin["admin"], true);
    assert!(admin.get("policy").is_none());
    let stranger = rig.client(&role("stranger")).await;
    stranger.get("/v1/identity/self/describe").await.refused(404, "identity does not exist");
    rig.stop().await;
}

#[tokio::test]
async fn old_routes_can_be_turned_off() {
    let routes = [
        ("POST", "/v1/key/bulk/decrypt/k1", 404, "key does not exist"),
        ("GET", "/v1/secret/list/x", 501, "not implemented"),
        ("DELETE", "/v1/enclave/delete/e", 501, "not implemented"),
        ("POST", "/v1/sys/seal", 501, "not implemented"),
    ];
    let rig = Rig::start(|_| ());
    let (admin, stranger) = (rig.client(&role("admin")).await, rig.client(&role("stranger")).await);
    for (method, path, status, message) in routes {
        admin.call(method, path, &[], "[]".into()).await.refused(status, message);
        let refused = stranger.call(method, path, &[], "[]".into()).await;
        refused.refused(403, "not authorized: insufficient permissions");
    }
    let apis = admin.get("/v1/api").await.ok().json();
    assert_eq!(apis.as_array().unwrap().len(), 22, "old routes are not listed");
    rig.stop().await;

    let rig = Rig::start(|setup| setup.settings.legacy_routes = false);
    let admin = rig.client(&role("admin")).await;
    for (method, path, ..) in routes.into_iter().chain([("GET", "/v1/log/audit/trace", 0, "")]) {
        let answer = admin.call(method, path, &[], "[]".into()).await;
        assert_eq!((answer.status, answer.text()), (404, "404 page not found\n"), "{path}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn bulk_decrypt_opens_all_or_nothing() {
    let rig = Rig::start(|_| ());
    let admin = rig.client(&role("admin")).await;
    admin.create("k1").await.ok();
    let key = admin.post("/v1/key/generate/k1", r#"{"context":"Y29udGV4dA=="}"#).await.ok().json();
    let good = json!({ "ciphertext": key["ciphertext"], "context": "Y29udGV4dA==" });
    let path = "/v1/key/bulk/decrypt/k1";
    let body = json!([good, good]).to_string();
    let answer = admin.post(path, &body[..]).await.ok().json();
    assert_eq!(answer, json!([{ "plaintext": key["plaintext"] }, { "plaintext": key["plaintext"] }]));
    assert_eq!(admin.post(path, "[]").await.ok().text(), "[]\n");
    assert_eq!(admin.post(path, "null").await.ok().text(), "[]\n");
    let one_bad = json!([good, { "ciphertext": key["ciphertext"] }]).to_string();
    admin.post(path, &one_bad[..]).await.refused(400, "decryption failed: ciphertext is not authentic");
    let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    admin.post(path, &many(1001)[..]).await.refused(400, "too many ciphertexts");
    admin.post(path, &many(1000)[..]).await.refused(400, "decryption failed: ciphertext is not authentic");
    admin.post(path, "{}").await.refused(400, "invalid request body");
    let full = format!("[{}]", " ".repeat((1 << 20) - 2));
    assert_eq!(admin.post(path, &full[..]).await.ok().text(), "[]\n", "1 MiB is taken");
    let over = format!("[{}]", " ".repeat((1 << 20) - 1));
    admin.post(path, &over[..]).await.refused(400, "invalid request body");
    rig.stop().await;
}

/// A caller of releases that knew enclaves names one with each request, in the query or in a header.
#[tokio::test]
async fn enclaves_are_ignored() {
    let rig = Rig::start(|_| ());
    let admin = rig.client(&role("admin")).await;
    for (index, query) in
        ["?enclave=", "?enclave=default", "?enclave=tenant-1", "?x=y&enclave=tenant-1", ""].iter().enumerate()
    {
        let header: &[(&str, &str)] = &[("Kes-Enclave", "tenant-2")];
        let key = format!("/v1/key/create/k{index}{query}");
        admin.call("POST", &key, header, Payload::None).await.ok();
        admin.get(&format!("/v1/key/describe/k{index}{query}")).await.ok();
        admin.get(&format!("/v1/key/describe/k{index}")).await.ok();
        let list = admin.get(&format!("/v1/key/list/k{index}{query}")).await.ok().text().to_owned();
        assert_eq!(list, format!("{{\"names\":[\"k{index}\"]}}\n"));
        admin.get(&format!("/v1/status{query}")).await.ok();
    }
    let logs = rig.stop().await;
    assert_eq!(logs.error.matches("level=WARN msg=\"ignored an enclave").count(), 1, "once: {}", logs.error);
    assert!(logs.error.contains("enclave=tenant-1"), "{}", logs.error);
}

/// What MinIO before 2022 compares: these two texts, with their status. All else is worded as today.
#[tokio::test]
async fn refusals_can_have_the_words_of_2021() {
    for (legacy, exists, refused) in [
        (false, "key already exists", "not authorized: insufficient permissions"),
        (true, "key does already exist", "prohibited by policy"),
    ] {
        let rig = Rig::start(|setup| setup.settings.legacy_messages = legacy);
        let (admin, app) = (rig.client(&role("admin")).await, rig.client_h2(&role("app")).await);
        admin.create("k1").await.ok();
        admin.create("k1").await.refused(400, exists);
        let import = r#"{"key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","cipher":"AES256"}"#;
        admin.post("/v1/key/import/k1", import).await.refused(400, exists);
        app.get("/v1/status").await.refused(403, refused);
        app.create("secret1").await.refused(403, refused);
        rig.client(&role("stranger")).await.get("/v1/status").await.refused(403, refused);
        app.post("/v1/key/decrypt/nope", "{}").await.refused(404, "key does not exist");
        app.post("/v1/key/decrypt/k1", "{}").await.refused(400, "decryption failed: ciphertext is not authentic");
        app.post("/v1/key/decrypt/k1", "x").await.refused(400, "invalid request body");
        admin.post("/v1/policy/assign/app", "{}").await.refused(400, "identity is unknown");
        rig.stop().await;
    }
}

/// Every route of older releases for every kind of caller: the admin, one whose policy names it, one whose policy is
/// wide, one without policy.
#[tokio::test]
async fn old_routes_ask_the_policy_first() {
    let routes = [
        ("POST", "/v1/key/bulk/decrypt/k1", (404, "key does not exist"), true),
        ("POST", "/v1/enclave/create/e", (501, "not implemented"), true),
        ("DELETE", "/v1/enclave/delete/e", (501, "not implemented"), true),
        ("GET", "/v1/enclave/describe/default", (501, "not implemented"), true),
        ("POST", "/v1/secret/create/s", (501, "not implemented"), true),
        ("GET", "/v1/secret/describe/s", (501, "not implemented"), true),
        ("GET", "/v1/secret/read/s", (501, "not implemented"), true),
        ("DELETE", "/v1/secret/delete/s", (501, "not implemented"), true),
        ("GET", "/v1/secret/list/*", (501, "not implemented"), true),
        ("POST", "/v1/sys/seal", (501, "not implemented"), true),
        (
            "POST",
            "/v1/policy/write/a.b",
            (400, "policy name 'a.b' is empty, too long or contains invalid characters"),
            false,
        ),
        ("DELETE", "/v1/policy/delete/p", (404, "policy does not exist"), false),
        ("POST", "/v1/policy/assign/p", (400, "invalid request body"), false),
        ("POST", "/v1/identity/assign/p", (400, "identity is unknown"), false),
        ("DELETE", "/v1/identity/forget/i", (404, "identity does not exist"), false),
        ("DELETE", "/v1/identity/delete/i", (404, "identity does not exist"), false),
    ];
    const REFUSED: (u16, &str) = (403, "not authorized: insufficient permissions");
    for (method, path, served, is_wide_enough) in routes {
        let rig = Rig::start(|setup| {
            setup.policies = Policies::default().with("wide", &["/v1/*"], &[]).with("named", &[path], &[]).with(
                "denied",
                &["/v1/*", path],
                &["/v1/*/*"],
            );
        });
        let wide = if is_wide_enough { served } else { REFUSED };
        let denied = if path.matches('/').count() == 3 { REFUSED } else { served };
        for (name, (status, text)) in [
            ("admin", served),
            ("named", served),
            ("wide", wide),
            ("denied", denied),
            ("app", REFUSED),
            ("stranger", REFUSED),
        ] {
            // HEAD's reading of the deny rule refuses nothing here, the glob reading what has two segments.
            let client = rig.client(&role(name)).await;
            client.call(method, path, &[], "x".into()).await.refused(status, text);
        }
        let wrong = if method == "GET" { "POST" } else { "GET" };
        let text = format!("received method '{wrong}' expected '{method}'");
        rig.client(&role("stranger")).await.call(wrong, path, &[], Payload::None).await.refused(405, &text);
        rig.stop().await;
    }
}
