//! Our server on moto in the place of AWS: beside the old server, and in the three ways that AWS can hold keys.

use kes_tests::{Client, Credential, Home, Kind, Moto, Request, Server, admin, ask, create, decrypt, generate, ok};
use rustix::process::Signal;
use serde_json::json;

/// One account, both servers: each reads what the other wrote.
#[test]
#[ignore = "needs moto and the Go KES: peers/peers.sh install moto kes"]
fn keys_travel_both_ways_with_the_old_server_through_secrets_manager() {
    let (more, client) = admin();
    let homes = [Home::new(), Home::new()];
    let moto = Moto::start_with_tls(&homes[0]);
    let block = "{aws: {secretsmanager: {{service}}}}";
    let start =
        |kind, home: &Home| Server::start_with(kind, home, &moto.config(home, block, &more), Moto::trust(&homes[0]));
    let (ours, old) = (start(Kind::Ours, &homes[0]), start(Kind::GoKes, &homes[1]));
    for (maker, reader, key) in [(&ours, &old, "ours"), (&old, &ours, "old")] {
        ok(maker, &client, &create(key));
        for (sealer, opener) in [(maker, reader), (reader, maker)] {
            let made = ok(sealer, &client, &generate(key, "bucket/object"));
            let opened = ok(opener, &client, &decrypt(key, &made.member("ciphertext"), "bucket/object"));
            assert_eq!(opened.member("plaintext"), made.member("plaintext"), "{key}");
        }
        let twice = ask(reader, &client, &create(key));
        assert_eq!((twice.status, &*twice.member("message")), (400, "key already exists"), "{key}");
    }
    let list = |server| ok(server, &client, &Request::get("/v1/key/list/")).json();
    assert_eq!(list(&ours)["names"], list(&old)["names"]);
    ok(&ours, &client, &Request::new("DELETE", "/v1/key/delete/old"));
    ok(&old, &client, &Request::new("DELETE", "/v1/key/delete/ours"));
    assert_eq!(list(&ours)["names"], json!([]));
    // A key that is not there is deleted as by the old server, which AWS does not tell either.
    for server in [&ours, &old] {
        ok(server, &client, &Request::new("DELETE", "/v1/key/delete/never"));
        let missing = ask(server, &client, &generate("never", ""));
        assert_eq!((missing.status, &*missing.member("message")), (404, "key does not exist"));
    }
}

/// Keys in a folder under a root key that KMS has wrapped.
#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn a_folder_is_sealed_by_kms() {
    let (more, client) = admin();
    let (home, moto) = (Home::new(), Moto::start());
    let block = format!(
        "{{fs: {{path: {}/keys}}, seal: {{recovery: {}/recovery, aws: {{key: '{}', {{service}}}}}}}}",
        home.path().display(),
        home.path().display(),
        moto.kms_key()
    );
    let config = moto.config(&home, &block, &more);
    let server = Server::start(Kind::Ours, &home, &config);
    ok(&server, &client, &create("my-key"));
    let made = ok(&server, &client, &generate("my-key", "c"));
    // KMS is needed for a start, and for nothing else.
    moto.signal(Signal::STOP);
    ok(&server, &client, &create("another"));
    let again = ok(&server, &client, &decrypt("my-key", &made.member("ciphertext"), "c"));
    assert_eq!(again.member("plaintext"), made.member("plaintext"));
    moto.signal(Signal::CONT);
    drop(server);
    assert!(home.stored().iter().any(|name| name == "-kes-seal"), "{:?}", home.stored());
    let server = Server::start(Kind::Ours, &home, &config);
    let again = ok(&server, &client, &decrypt("my-key", &made.member("ciphertext"), "c"));
    assert_eq!(again.member("plaintext"), made.member("plaintext"));
    assert!(moto.secrets().is_empty(), "nothing lies in Secrets Manager");
}

/// One KMS key behind all names.
#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_key_stays_in_kms() {
    let (more, client) = admin();
    let (home, moto) = (Home::new(), Moto::start());
    let key = moto.kms_key();
    let block = format!("{{aws: {{kms: {{key: '{key}', {{service}}}}}}}}");
    let server = Server::start(Kind::Ours, &home, &moto.config(&home, &block, &more));
    ok(&server, &client, &create("my-key"));
    let made = ok(&server, &client, &generate("my-key", "c"));
    let opened = ok(&server, &client, &decrypt("my-key", &made.member("ciphertext"), "c"));
    assert_eq!(opened.member("plaintext"), made.member("plaintext"));
    let wrong = ask(&server, &client, &decrypt("my-key", &made.member("ciphertext"), "d"));
    assert_eq!((wrong.status, &*wrong.member("message")), (400, "decryption failed: ciphertext is not authentic"));
    let aliases = moto.call("TrentService.ListAliases", &json!({ "KeyId": key }))["Aliases"].clone();
    assert_eq!(aliases[0]["AliasName"], "alias/kes/my-key");
    assert_eq!(ok(&server, &client, &Request::get("/v1/key/list/")).json()["names"], json!(["my-key"]));
    let mac = ask(&server, &client, &Request::put("/v1/key/hmac/my-key", json!({"message": "bQ=="}).to_string()));
    assert_eq!(mac.status, 403, "{}", mac.text());
    ok(&server, &client, &Request::new("DELETE", "/v1/key/delete/my-key"));
    assert_eq!(ask(&server, &client, &generate("my-key", "c")).status, 404);
    assert!(home.stored().is_empty() && moto.secrets().is_empty());
}

/// What was found out at the start is said, and requests that were too many are counted.
#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_operator_is_told() {
    let (more, client) = admin();
    let (home, moto) = (Home::new(), Moto::start());
    let key = moto.kms_key();
    moto.call("TrentService.DisableKey", &json!({ "KeyId": key.rsplit('/').next().unwrap() }));
    let block = format!("{{aws: {{secretsmanager: {{kmskey: '{key}', prefix: kes/, {{service}}}}}}}}");
    let server = Server::start(Kind::Ours, &home, &moto.config(&home, &block, &more));
    server.expect_stderr("enable-key");
    let page = ok(&server, &client, &Request::get("/v1/metrics?view=full")).text();
    assert!(page.contains("\nkes_store_throttled_total 0\n"), "{page}");
}

/// The configuration of MinIO's page on AWS as an operator has it, once with the page's mistakes: only the account is another.
#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_configuration_of_minios_page_starts() {
    for (page, keys) in [("page-aws", 3), ("page-aws-as-published", 1)] {
        let (home, moto) = (Home::new(), Moto::start());
        let folder = home.path().display().to_string();
        let read =
            std::fs::read_to_string(kes_tests::checkout().join(format!("crates/kes-config/tests/configs/{page}.yml")));
        let config = read
            .unwrap()
            .replace("0.0.0.0:7373", "{{address}}")
            .replace("kes-server.key", &format!("{folder}/server.key"))
            .replace("kes-server.cert", &format!("{folder}/server.crt"))
            .replace("secretsmanager.us-east-2.amazonaws.com", &moto.endpoint())
            .replace("secretsmanager.us-east-2.amazonaws\n", &format!("{}\n", moto.endpoint()));
        let (root, minio) = (Credential::from_seed(0), Credential::from_seed(1));
        let server = Server::start_with(Kind::Ours, &home, &config, |command| {
            command.env("ROOT_IDENTITY", root.identity()).env("MINIO_IDENTITY", minio.identity());
            command.env("AWS_ACCESS_KEY", "AKIATEST").env("AWS_SECRET_KEY", "s");
        });
        // The predefined keys are made one after the other, when the port is already open.
        let root = Client::new(&root);
        let names = || ok(&server, &root, &Request::get("/v1/key/list/")).json()["names"].clone();
        let are_there = || names().as_array().map(Vec::len) == Some(keys);
        assert!((0..1000).any(|_| are_there()), "{page}: {}", names());
        ok(&server, &Client::new(&minio), &generate("minio-encryption-key-alpha", "bucket"));
    }
}
