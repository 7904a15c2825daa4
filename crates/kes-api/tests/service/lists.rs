//! Lists: prefixes, paging with the one parameter there is, and lines for old scripts.

use kes_keystore::{KeyName, KeyStore};
use serde_json::{Value, json};

use crate::support::{Payload, Rig, role};

const LINES: &[(&str, &str)] = &[("accept", "application/x-ndjson")];

async fn many_keys(rig: &Rig) {
    for index in 0..13_000 {
        let name = KeyName::parse(&format!("app-{index:05}{}", "x".repeat(70))).unwrap();
        rig.store.create(&name, b"value").await.unwrap();
    }
    rig.store.create(&KeyName::parse("zoo").unwrap(), b"value").await.unwrap();
}

fn names(answer: &Value) -> Vec<&str> {
    answer["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_beyond_one_answer_goes_on_where_it_was_cut() {
    let rig = Rig::start(|_| ());
    many_keys(&rig).await;
    for client in [rig.client(&role("app")).await, rig.client_h2(&role("admin")).await] {
        let first = client.get("/v1/key/list/app*").await;
        assert!(first.body.len() <= 1 << 20, "clients read 1 MiB");
        let first = first.ok().json();
        let cut = first["continue_at"].as_str().unwrap();
        assert!(names(&first).len() > 11_000 && cut.starts_with("app-1"));
        let rest = client.get(&format!("/v1/key/list/{cut}")).await.ok().json();
        assert_eq!(names(&rest)[0], cut, "the first name not sent");
        assert_eq!(names(&first).len() + names(&rest).len(), 13_000, "all with the prefix, and not zoo");
        assert!(rest.get("continue_at").is_none());
    }
    let (other, cut) = (rig.client(&role("app")).await, "app-12000");
    assert_eq!(names(&other.get(&format!("/v1/key/list/{cut}")).await.ok().json()).len(), 1, "a plain prefix");
    rig.stop().await;
}

#[tokio::test]
async fn lines_are_for_who_asks_for_them_and_complete() {
    let rig = Rig::start(|_| ());
    many_keys(&rig).await;
    let admin = rig.client(&role("admin")).await;
    let lines = |path: &'static str| {
        let admin = admin.clone();
        async move {
            let answer = admin.call("GET", path, LINES, Payload::None).await;
            assert_eq!(answer.ok().header("content-type"), Some("application/x-ndjson"));
            answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        }
    };
    let keys = lines("/v1/key/list/").await;
    assert_eq!((keys.len(), &keys[13_000]), (13_001, &json!({ "name": "zoo" })), "a list of lines is never cut");
    assert!(lines("/v1/key/list/nothing").await.is_empty());
    let policies = lines("/v1/policy/list/*").await;
    assert_eq!(policies[0]["name"], "app");
    let identities = lines("/v1/identity/list/*").await;
    assert_eq!(identities.len(), 2);
    for line in identities {
        let is_admin = line["identity"] == role("admin").identity().as_str();
        assert_eq!((&line["admin"], &line["policy"]), (&json!(is_admin), &json!(if is_admin { "" } else { "app" })));
    }
    let answer = admin.call("GET", "/v1/policy/list/", &[("accept", "*/*")], Payload::None).await;
    assert_eq!(answer.ok().text(), "{\"names\":[\"app\"],\"continue_at\":\"\"}\n");
    rig.stop().await;
}

#[tokio::test]
async fn lists_are_served_without_their_slash_and_judged_with_it() {
    let rig = Rig::start(|_| ());
    let app = rig.client(&role("app")).await;
    app.create("k1").await.ok();
    for path in ["/v1/key/list", "/v1/key/list/", "/v1/key/list/*", "/v1/key/list?x=y"] {
        assert_eq!(app.get(path).await.ok().text(), "{\"names\":[\"k1\"]}\n", "{path}");
    }
    let pattern = "listing pattern 'a*b' is empty, too long or is invalid";
    app.get("/v1/key/list/a*b").await.refused(400, pattern);
    rig.stop().await;
}
