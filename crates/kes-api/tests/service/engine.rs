//! A store whose keys never leave it: the routes are the same.

use serde_json::{Value, json};

use crate::support::{Mood, Rig, role};

fn start() -> Rig {
    Rig::start(|setup| setup.engine = true)
}

#[tokio::test]
async fn every_key_route_works_on_an_engine() {
    let rig = start();
    let client = rig.client(&role("admin")).await;
    client.create("my-key").await.ok();
    client.create("my-key").await.refused(400, "key already exists");
    let context = "YnVja2V0L29iamVjdA==";

    let made = client.post("/v1/key/generate/my-key", json!({"context": context})).await.ok().json();
    let open = |ciphertext: &Value, context: &str| json!({"ciphertext": ciphertext, "context": context});
    let opened = client.post("/v1/key/decrypt/my-key", open(&made["ciphertext"], context)).await.ok().json();
    assert_eq!(opened["plaintext"], made["plaintext"]);
    let wrong = client.post("/v1/key/decrypt/my-key", open(&made["ciphertext"], "AAAA")).await;
    wrong.refused(400, "decryption failed: ciphertext is not authentic");

    let sealed = json!({"plaintext": "aGVsbG8=", "context": context});
    let sealed = client.post("/v1/key/encrypt/my-key", sealed).await.ok().json();
    let one = open(&sealed["ciphertext"], context);
    let both = json!([one, one]);
    let opened = client.post("/v1/key/bulk/decrypt/my-key", both).await.ok().json();
    assert_eq!(opened, json!([{"plaintext": "aGVsbG8="}, {"plaintext": "aGVsbG8="}]));

    let hmac = client.call("PUT", "/v1/key/hmac/my-key", &[], json!({"message": "aGVsbG8="}).into()).await;
    assert_eq!(hmac.ok().json()["hmac"].as_str().unwrap().len(), 44);
    let info = client.get("/v1/key/describe/my-key").await.ok().json();
    assert_eq!((&info["name"], &info["algorithm"]), (&json!("my-key"), &json!("AES256")));
    assert_eq!(client.get("/v1/key/list/").await.ok().json()["names"], json!(["my-key"]));
    client.call("DELETE", "/v1/key/delete/my-key", &[], crate::support::Payload::None).await.ok();
    client.post("/v1/key/generate/my-key", "{}").await.refused(404, "key does not exist");
    rig.stop().await;
}

/// The material would have to go there, and engines do not take any.
#[tokio::test]
async fn an_import_is_refused_and_the_log_says_why() {
    let rig = start();
    let client = rig.client(&role("admin")).await;
    let key = json!({"key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "cipher": "AES256"});
    client
        .call("PUT", "/v1/key/import/my-key", &[], key.into())
        .await
        .refused(403, "not authorized: insufficient permissions");
    let logs = rig.stop().await;
    assert!(logs.error.contains("Scripted does not permit to create keys: its keys never leave it"), "{}", logs.error);
}

#[tokio::test]
async fn an_engine_that_is_away_is_a_502_in_time() {
    let rig = Rig::start(|setup| {
        setup.engine = true;
        let limit = std::time::Duration::from_millis(300);
        assert!(setup.settings.timeout("/v1/key/generate/", limit));
    });
    let client = rig.client(&role("admin")).await;
    client.create("my-key").await.ok();
    rig.store.set(Mood::Unreachable);
    client.post("/v1/key/generate/my-key", "{}").await.refused(502, "failed to read key");
    rig.store.set(Mood::Held);
    client.post("/v1/key/generate/my-key", "{}").await.refused(502, "failed to read key");
    rig.store.set(Mood::Well);
    client.post("/v1/key/generate/my-key", "{}").await.ok();
    let page = client.get("/v1/metrics?view=full").await;
    assert!(page.text().contains("operation=\"generate\""), "{}", page.text());
    rig.stop().await;
}
