//! Our server on the stand-in for Azure Key Vault: beside the old server, through a proxy, as MinIO's guide has it, and with a
//! key that seals a folder.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::{
    Credential, Home, KeyVault, Kind, Program, Proxy, Request, Server, admin, ask, create, decrypt, delete,
    free_address, generate, ok, peer,
};
use serde_json::json;
use std::process::Command;

/// One vault, both servers, each with the identity of the app and through a proxy: each reads what the other wrote.
#[test]
#[ignore = "needs the stand-ins and the Go KES: peers/peers.sh install standins kes"]
fn keys_travel_both_ways_with_the_old_server_through_key_vault() {
    let (more, client) = admin();
    let (homes, vault, proxy) = ([Home::new(), Home::new()], KeyVault::start(), Proxy::start());
    let (identity, _) = vault.client(false);
    let block = format!(
        "{{azure: {{keyvault: {{endpoint: '{}', managed_identity: {{client_id: {identity}}}}}}}}}",
        vault.endpoint()
    );
    let start = |kind, home: &Home| {
        Server::start_with(kind, home, &vault.config(home, &block, &more), |command| {
            command
                .env("SSL_CERT_FILE", vault.ca())
                .env("IDENTITY_ENDPOINT", vault.fact("identity_endpoint"))
                .env("IDENTITY_HEADER", vault.fact("identity_header"))
                .env("HTTPS_PROXY", proxy.url());
        })
    };
    let ours = start(Kind::Ours, &homes[0]);
    assert!(proxy.tunnels() > 0, "the vault is reached through the proxy");
    let old = start(Kind::GoKes, &homes[1]);
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
    ok(&ours, &client, &delete("old"));
    ok(&old, &client, &delete("ours"));
    assert_eq!(list(&ours)["names"], json!([]));
    // A key that is not there is deleted as by the old server.
    for server in [&ours, &old] {
        ok(server, &client, &delete("never"));
        let missing = ask(server, &client, &generate("never", ""));
        assert_eq!((missing.status, &*missing.member("message")), (404, "key does not exist"));
    }
}

/// What clients are told of names and of what was deleted, and what the operator is told.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn clients_and_the_operator_are_told() {
    let (more, client) = admin();
    let (home, vault) = (Home::new(), KeyVault::start());
    let (id, _) = vault.client(true);
    let most = json!({"client": id, "allow": ["secrets/get", "secrets/list", "secrets/set", "secrets/delete"]});
    vault.control("POST", "permissions", &most.to_string());
    let block = "{azure: {keyvault: {{vault}}}}";
    let server = Server::start_with(Kind::Ours, &home, &vault.config(&home, block, &more), vault.environment());
    server.expect_stderr(
        "Azure does not permit secrets/purge: add 'Purge' to the secret permissions of its access policy",
    );
    vault.control("POST", "permissions", &json!({"client": id, "allow": null}).to_string());

    let refused = ask(&server, &client, &create("my_key"));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.member("message"), "Azure Key Vault cannot hold a key name with '_'");
    let import = json!({"bytes": STANDARD.encode([7; 32])}).to_string();
    assert_eq!(ask(&server, &client, &Request::put("/v1/key/import/my_key", import)).status, 400);
    for request in [generate("my_key", ""), delete("my_key"), Request::get("/v1/key/describe/my_key")] {
        let missing = ask(&server, &client, &request);
        assert_eq!((missing.status, &*missing.member("message")), (404, "key does not exist"), "{}", request.target);
    }

    ok(&server, &client, &create("my-key"));
    vault.ask("DELETE", "/secrets/my-key", "");
    let refused = ask(&server, &client, &create("my-key"));
    assert_eq!((refused.status, &*refused.member("message")), (502, "failed to create key"));
    server.expect_stderr("'az keyvault secret recover' brings the key back");

    vault.control("POST", "faults", r#"{"kind": "throttle", "count": 2, "retry_after": 0}"#);
    ok(&server, &client, &create("another"));
    let page = ok(&server, &client, &Request::get("/v1/metrics?view=full")).text();
    assert!(page.contains("\nkes_store_throttled_total 2\n"), "{page}");
}

/// Names that Key Vault has not, where the configuration says so.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn names_are_mapped_and_deleted_names_are_purged_where_the_configuration_says_so() {
    let (more, client) = admin();
    let (home, vault) = (Home::new(), KeyVault::start());
    let block = "{azure: {keyvault: {names: map, purge: on, {vault}}}}";
    let server = Server::start_with(Kind::Ours, &home, &vault.config(&home, block, &more), vault.environment());
    for key in ["my_key", "My-Key", "my-key"] {
        ok(&server, &client, &create(key));
    }
    let listed = ok(&server, &client, &Request::get("/v1/key/list/")).json();
    assert_eq!(listed["names"], json!(["My-Key", "my-key", "my_key"]));
    let mut secrets = vault.secrets();
    secrets.sort();
    assert_eq!(secrets, ["my-key", "my-key-e-", "my-key-s-"].map(String::from));
    vault.ask("DELETE", "/secrets/my-key", "");
    ok(&server, &client, &create("my-key"));
}

/// Keys in a folder under a root key that a key of Key Vault has wrapped.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_folder_is_sealed_by_key_vault() {
    let (more, client) = admin();
    let (home, vault) = (Home::new(), KeyVault::start());
    vault.ask("POST", "/keys/kes/create", r#"{"kty": "RSA", "key_size": 2048}"#);
    let folder = home.path().display();
    let block = format!(
        "{{fs: {{path: {folder}/keys}}, seal: {{recovery: {folder}/recovery, azure: {{key: kes, {{vault}}}}}}}}"
    );
    let config = vault.config(&home, &block, &more);
    let server = Server::start_with(Kind::Ours, &home, &config, vault.environment());
    ok(&server, &client, &create("my_key"));
    let made = ok(&server, &client, &generate("my_key", "c"));
    // Key Vault is needed for a start, and for nothing else.
    vault.control("POST", "faults", r#"{"kind": "status", "status": 503, "count": 1000}"#);
    ok(&server, &client, &create("another"));
    let again = ok(&server, &client, &decrypt("my_key", &made.member("ciphertext"), "c"));
    assert_eq!(again.member("plaintext"), made.member("plaintext"));
    vault.control("DELETE", "faults", "");
    drop(server);
    assert!(home.stored().iter().any(|name| name == "-kes-seal"), "{:?}", home.stored());
    // The key was rotated meanwhile.
    vault.ask("POST", "/keys/kes/create", r#"{"kty": "RSA", "key_size": 2048}"#);
    let server = Server::start_with(Kind::Ours, &home, &config, vault.environment());
    let again = ok(&server, &client, &decrypt("my_key", &made.member("ciphertext"), "c"));
    assert_eq!(again.member("plaintext"), made.member("plaintext"));
    assert!(vault.secrets().is_empty(), "nothing lies in the vault");
}

/// MinIO's guide for Azure Key Vault, step by step: an application with exactly the permissions that it grants, predefined
/// keys, the policy, MinIO itself, a new key by `mc`, a bucket encrypted with it.
#[test]
#[ignore = "needs the stand-ins, MinIO and mc: peers/peers.sh install standins minio mc"]
fn the_guide_of_minio_works_step_by_step() {
    let (home, vault) = (Home::new(), KeyVault::start());
    let (root, minio) = (Credential::from_seed(0), Credential::from_seed(1));
    let (id, secret) = vault.client(true);
    let granted = ["secrets/get", "secrets/list", "secrets/set", "secrets/delete", "secrets/purge"];
    vault.control("POST", "permissions", &json!({"client": id, "allow": granted}).to_string());
    let folder = home.path().display();
    let config = format!(
        r#"address: {{{{address}}}}
admin: {{identity: "${{ROOT_IDENTITY}}"}}
tls: {{key: {folder}/server.key, cert: {folder}/server.crt}}
policy:
  minio-server:
    allow: [/v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/bulk/decrypt, /v1/key/list/*,
            /v1/status, /v1/metrics, /v1/log/audit, /v1/log/error]
    identities: ["${{MINIO_IDENTITY}}"]
keys: [{{name: minio-encryption-key-alpha}}, {{name: minio-encryption-key-baker}}, {{name: minio-encryption-key-charlie}}]
keystore:
  azure:
    keyvault:
      endpoint: "{}"
      credentials:
        tenant_id: "${{TENANTID}}"
        client_id: "${{CLIENTID}}"
        client_secret: "${{CLIENTSECRET}}"
"#,
        vault.endpoint()
    );
    let server = Server::start_with(Kind::Ours, &home, &config, |command| {
        vault.environment()(command);
        command
            .env("ROOT_IDENTITY", root.identity())
            .env("MINIO_IDENTITY", minio.identity())
            .env("TENANTID", vault.fact("tenant"))
            .env("CLIENTID", id)
            .env("CLIENTSECRET", secret);
    });
    assert!(!server.stderr().contains("does not permit"), "{}", server.stderr());
    // The predefined keys are made one after the other, when the port is already open.
    let begun = std::time::Instant::now();
    let predefined = ["alpha", "baker", "charlie"].map(|name| format!("minio-encryption-key-{name}"));
    let mut secrets = Vec::new();
    while secrets != predefined {
        assert!(begun.elapsed().as_secs() < 30, "{secrets:?}");
        secrets = vault.secrets();
        secrets.sort();
    }

    let address = free_address();
    let _minio = Program::start(
        Command::new(peer("minio"))
            .args(["server", "--quiet", "--address", &address.to_string()])
            .arg(home.path().join("data"))
            .env("HOME", home.path())
            .env("MINIO_ROOT_USER", "minioadmin")
            .env("MINIO_ROOT_PASSWORD", "minioadmin")
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .env("MINIO_CI_CD", "1")
            .env("MINIO_KMS_KES_ENDPOINT", format!("https://{}", server.address()))
            .env("MINIO_KMS_KES_API_KEY", Credential::api_key(1))
            .env("MINIO_KMS_KES_CAPATH", home.path().join("server.crt"))
            .env("MINIO_KMS_KES_KEY_NAME", "minio-encryption-key-alpha"),
    );
    let mc = |arguments: &[&str]| {
        let mut command = Command::new(peer("mc"));
        command.arg("--config-dir").arg(home.path().join("mc")).args(["--no-color"]).args(arguments);
        let output = command.output().expect("mc starts");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    };
    let url = format!("http://{address}");
    let begun = std::time::Instant::now();
    while !mc(&["alias", "set", "myminio", &url, "minioadmin", "minioadmin"]).0 {
        assert!(begun.elapsed().as_secs() < 60, "MinIO does not start");
    }
    home.write("object", "what must not reach the disk");
    let object = home.path().join("object").display().to_string();
    for (arguments, says) in [
        (vec!["admin", "kms", "key", "create", "myminio", "minio-encryption-key-delta"], ""),
        (vec!["admin", "kms", "key", "status", "myminio", "minio-encryption-key-delta"], "Encryption"),
        (vec!["mb", "myminio/data"], ""),
        (vec!["encrypt", "set", "sse-kms", "minio-encryption-key-delta", "myminio/data"], ""),
        (vec!["cp", &object, "myminio/data/object"], ""),
        (vec!["stat", "myminio/data/object"], "minio-encryption-key-delta"),
        (vec!["cat", "myminio/data/object"], "what must not reach the disk"),
    ] {
        let (success, text) = mc(&arguments);
        assert!(success && text.contains(says), "mc {}: {text}", arguments.join(" "));
    }
    assert!(vault.secrets().contains(&"minio-encryption-key-delta".to_owned()));
}
