//! Every way to log in, each in a process that has no other; and tokens that end, are revoked, and are asked for by many.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kes_keystore::{Error, ErrorKind, KeyStore};
use kes_keystore_azure::{Config, Login, Secret, Store, Vault, connect};
use serde_json::{Value, json};
use support::alone::{World, alone};
use support::{Act, CLIENT, CLIENT_SECRET, Front, StandIn, chain, name, shared};
use tokio::task::JoinSet;

const WORKLOAD: &str = "22222222-2222-4222-8222-222222222222";
const MANAGED: &str = "33333333-3333-4333-8333-333333333333";
const SECOND: &str = "44444444-4444-4444-8444-444444444444";

/// What the process of a test is told: the vault, and where to log in.
fn world(stand_in: &StandIn) -> World {
    let (vault, port) = stand_in.fresh();
    World::default()
        .set("TEST_ENDPOINT", format!("https://{vault}.vault.azure.localhost:{port}"))
        .set("SSL_CERT_FILE", stand_in.ca().display().to_string())
        .set("AZURE_AUTHORITY_HOST", stand_in.fact("authority"))
}

async fn open(login: Login) -> Result<Store, Error> {
    let endpoint = std::env::var("TEST_ENDPOINT").unwrap();
    let vault = Vault { endpoint, login, ..Vault::default() };
    connect(Config { vault, check: true, ..Config::default() }).await
}

/// Logs in and uses what it got.
async fn works(login: Login) {
    let store = open(login).await.unwrap_or_else(|why| panic!("{}", chain(&why)));
    assert!(store.notices().is_empty(), "{:?}", store.notices());
    store.create(&name("key"), b"value").await.unwrap();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
}

async fn fails(login: Login, words: &[&str]) {
    let error = open(login).await.err().expect("it must not get in");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{}", chain(&error));
    for words in words {
        assert!(chain(&error).contains(words), "{words}: {}", chain(&error));
    }
}

fn managed(id: Option<&str>) -> Login {
    Login::ManagedIdentity { client_id: id.map(ToOwned::to_owned) }
}

fn identities() -> StandIn {
    StandIn::start(&["--managed", MANAGED, "--managed", SECOND])
}

#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_secret_in_the_configuration() {
    let with = |tenant: &str, client: &str, secret: &str| Login::Credentials {
        tenant_id: tenant.to_owned(),
        client_id: client.to_owned(),
        client_secret: Secret::new(secret.to_owned()),
    };
    let tenant = "99999999-9999-4999-8999-999999999999";
    alone(
        "a_secret_in_the_configuration",
        async |_: &Path| world(shared()),
        async || {
            works(with(tenant, CLIENT, CLIENT_SECRET)).await;
            fails(with(tenant, CLIENT, "wrong"), &["client secret", "AADSTS7000215"]).await;
            fails(with(tenant, "nobody", CLIENT_SECRET), &["client ID", "AADSTS700016"]).await;
            fails(with("another", CLIENT, CLIENT_SECRET), &["tenant ID", "AADSTS90002"]).await;
        },
    );
}

#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_secret_in_the_environment() {
    alone(
        "a_secret_in_the_environment",
        async |_: &Path| {
            world(shared())
                .set("AZURE_TENANT_ID", shared().fact("tenant"))
                .set("AZURE_CLIENT_ID", CLIENT)
                .set("AZURE_CLIENT_SECRET", CLIENT_SECRET)
        },
        async || works(Login::Default).await,
    );
}

/// It is set up, so it counts: what else there is is not asked.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_wrong_secret_in_the_environment_is_the_end() {
    alone(
        "a_wrong_secret_in_the_environment_is_the_end",
        async |_: &Path| {
            world(shared())
                .set("AZURE_TENANT_ID", shared().fact("tenant"))
                .set("AZURE_CLIENT_ID", CLIENT)
                .set("AZURE_CLIENT_SECRET", "wrong")
                .set("IDENTITY_ENDPOINT", shared().fact("identity_endpoint"))
                .set("IDENTITY_HEADER", shared().fact("identity_header"))
        },
        async || fails(Login::Default, &["AADSTS7000215"]).await,
    );
}

#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_workload_identity() {
    alone(
        "a_workload_identity",
        async |_: &Path| {
            world(shared())
                .set("AZURE_TENANT_ID", shared().fact("tenant"))
                .set("AZURE_CLIENT_ID", WORKLOAD)
                .set("AZURE_FEDERATED_TOKEN_FILE", shared().fact("federated_token_file"))
        },
        async || works(Login::Default).await,
    );
}

#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_workload_identity_of_somebody_else() {
    alone(
        "a_workload_identity_of_somebody_else",
        async |home: &Path| {
            let other = json!({"subject": "system:serviceaccount:other:other"});
            let token = shared().control("POST", "federated-token", other).await;
            let file = home.join("token");
            std::fs::write(&file, token["token"].as_str().unwrap()).unwrap();
            world(shared())
                .set("AZURE_TENANT_ID", shared().fact("tenant"))
                .set("AZURE_CLIENT_ID", WORKLOAD)
                .set("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string())
        },
        async || fails(Login::Default, &["federated credential", "AADSTS70021"]).await,
    );
}

/// The identity of the system, and one that users have assigned; and only the one that is meant.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn identities_of_a_machine() {
    alone(
        "identities_of_a_machine",
        async |_: &Path| {
            let stand_in = identities();
            stand_in.allow(SECOND, Some(&[])).await;
            let world = world(&stand_in).set("AZURE_POD_IDENTITY_AUTHORITY_HOST", stand_in.fact("imds"));
            world.keep(stand_in)
        },
        async || {
            works(managed(None)).await;
            open(managed(Some(MANAGED))).await.unwrap();
            // Another one, which may do nothing.
            assert_eq!(open(managed(Some(SECOND))).await.unwrap().notices().len(), 5);
            fails(managed(Some("nobody")), &["managed identity", "Identity not found"]).await;
            open(Login::Default).await.unwrap();
        },
    );
}

#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn identities_of_an_app() {
    alone(
        "identities_of_an_app",
        async |_: &Path| {
            let stand_in = identities();
            stand_in.allow(SECOND, Some(&[])).await;
            let world = world(&stand_in)
                .set("IDENTITY_ENDPOINT", stand_in.fact("identity_endpoint"))
                .set("IDENTITY_HEADER", stand_in.fact("identity_header"))
                .set("AZURE_CLIENT_ID", SECOND);
            world.keep(stand_in)
        },
        async || {
            works(managed(None)).await;
            open(managed(Some(MANAGED))).await.unwrap();
            fails(managed(Some("nobody")), &["Identity not found"]).await;
            // The chain takes the one that AZURE_CLIENT_ID names.
            assert_eq!(open(Login::Default).await.unwrap().notices().len(), 5);
        },
    );
}

/// The agent of Arc: a key in a file that it names, and a token for who can read it. It is not a part of the stand-in.
#[test]
#[ignore = "needs the stand-ins, and to be root: peers/peers.sh install standins"]
fn the_identity_of_a_machine_with_arc() {
    alone(
        "the_identity_of_a_machine_with_arc",
        async |_: &Path| {
            let folder = Path::new("/var/opt/azcmagent/tokens");
            std::fs::create_dir_all(folder).unwrap();
            let file = folder.join(format!("test-{}.key", std::process::id()));
            std::fs::write(&file, "the-key-of-arc").unwrap();
            let agent = arc(file.clone(), shared()).await;
            world(shared())
                .set("IDENTITY_ENDPOINT", format!("{agent}/metadata/identity/oauth2/token"))
                .set("IMDS_ENDPOINT", agent)
                .keep(Removed(file))
        },
        async || {
            works(managed(None)).await;
            open(Login::Default).await.unwrap();
            fails(managed(Some(MANAGED)), &["identity of the machine only"]).await;
        },
    );
}

/// Who answers in place of the agent gets no file to read that is not a key of the agent.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn a_false_agent_of_arc_gets_no_file() {
    alone(
        "a_false_agent_of_arc_gets_no_file",
        async |home: &Path| {
            let file = home.join("precious.key");
            std::fs::write(&file, "precious").unwrap();
            let agent = arc(file, shared()).await;
            world(shared())
                .set("IDENTITY_ENDPOINT", format!("{agent}/metadata/identity/oauth2/token"))
                .set("IMDS_ENDPOINT", agent)
        },
        async || fails(Login::Default, &["none of its keys"]).await,
    );
}

struct Removed(std::path::PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An agent of Arc that hands on tokens of the stand-in's metadata service.
async fn arc(file: std::path::PathBuf, stand_in: &StandIn) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let imds = stand_in.fact("imds").replace("http://", "");
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 8192];
            let read = near.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let lower = request.to_ascii_lowercase();
            assert!(request.contains("api-version=2020-06-01") && lower.contains("metadata: true"), "{request}");
            let answer = if lower.contains("authorization: basic the-key-of-arc") {
                let target = request.split(' ').nth(1).unwrap().replace("2020-06-01", "2018-02-01");
                let mut far = tokio::net::TcpStream::connect(&imds).await.unwrap();
                let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\nMetadata: true\r\nConnection: close\r\n\r\n");
                far.write_all(text.as_bytes()).await.unwrap();
                let mut answer = String::new();
                far.read_to_string(&mut answer).await.unwrap();
                answer
            } else {
                let realm = file.display();
                format!(
                    "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm={realm}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            };
            near.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

/// The command line of a developer, when there is nothing else.
#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn the_command_line() {
    alone(
        "the_command_line",
        async |home: &Path| {
            // What 'az account get-access-token' would print, with a token that the stand-in takes.
            let url = format!(
                "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net",
                shared().fact("imds")
            );
            let script = format!(
                "#!/bin/sh\nexec python3 - <<'EOF'\nimport json, urllib.request\n\
                 request = urllib.request.Request('{url}', headers={{'Metadata': 'true'}})\n\
                 token = json.load(urllib.request.urlopen(request))\n\
                 print(json.dumps({{'accessToken': token['access_token'], 'expiresOn': '2030-01-01 00:00:00.000000',\n\
                 'expires_on': int(token['expires_on']), 'subscription': 's', 'tenant': 't', 'tokenType': 'Bearer'}}))\nEOF\n"
            );
            let bin = home.join("bin");
            std::fs::create_dir(&bin).unwrap();
            std::fs::write(bin.join("az"), script).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(bin.join("az"), mode).unwrap();
            let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
            world(shared()).set("PATH", path).set("AZURE_TOKEN_CREDENTIALS", "dev")
        },
        async || works(Login::Default).await,
    );
}

#[test]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
fn no_way_at_all_is_told_with_all_that_was_tried() {
    alone(
        "no_way_at_all_is_told_with_all_that_was_tried",
        async |_: &Path| world(shared()).set("PATH", "/nowhere"),
        async || {
            let tried = ["AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "managed identity", "az:", "'credentials'"];
            fails(Login::Default, &tried).await;
        },
    );
}

/// An endpoint of this machine may name any resource; another one has to be of the domain that it names.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_token_goes_only_to_the_domain_it_is_for() {
    let (_, port) = shared().fresh();
    let vault = Vault { endpoint: format!("https://127.0.0.1:{port}"), ..shared().vault_at("x", port) };
    let store = connect(Config { vault, check: true, ..Config::default() }).await.unwrap();
    store.create(&name("key"), b"value").await.unwrap();
    // A list that goes on elsewhere: the token stays here.
    let elsewhere = "{\"value\": [], \"nextLink\": \"https://127.0.0.1:1/secrets\"}";
    let front = Front::start(shared(), move |request| match request.target().starts_with("/secrets?") {
        true if request.header("authorization").is_some() => Act::Answer(200, elsewhere.to_owned()),
        _ => Act::Pass,
    })
    .await;
    let vault = front.vault(shared());
    let error = connect(Config { vault, ..Config::default() }).await.unwrap().list("", None, 9).await.unwrap_err();
    assert!(chain(&error).contains("another host, '127.0.0.1'"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn many_who_need_a_token_ask_once() {
    let stand_in = StandIn::start(&[]);
    let store = Arc::new(connect(Config { vault: stand_in.vault(), ..Config::default() }).await.unwrap());
    let all = |store: &Arc<Store>| {
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let store = Arc::clone(store);
            tasks.spawn(async move { store.list("", None, 9).await.unwrap() });
        }
        tasks.join_all()
    };
    all(&store).await;
    assert_eq!(stand_in.calls("token.client_secret").await, 1);
    // Revoked in the middle of it: nobody notices, and again one asks for all.
    stand_in.control("POST", "tokens/revoke", Value::Null).await;
    all(&store).await;
    assert_eq!(stand_in.calls("token.client_secret").await, 2);
}

/// A login that refuses is asked once for all who wait for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn many_who_are_refused_a_token_ask_once() {
    let stand_in = StandIn::start(&[]);
    let login = Login::Credentials {
        tenant_id: stand_in.fact("tenant"),
        client_id: CLIENT.to_owned(),
        client_secret: Secret::new("expired".to_owned()),
    };
    let vault = Vault { login, ..stand_in.vault() };
    let store = Arc::new(connect(Config { vault, ..Config::default() }).await.unwrap());
    stand_in.fault(json!({"kind": "delay", "seconds": 3, "operation": "token.*"})).await;
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.list("", None, 9).await.unwrap_err().kind() });
    }
    assert!(tasks.join_all().await.iter().all(|kind| *kind == ErrorKind::Unauthorized));
    assert_eq!(stand_in.calls("token.client_secret").await, 1);
}

/// Tokens of a few seconds under steady load: they are replaced before they end, and no call fails.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn tokens_are_replaced_under_load_before_they_end() {
    let stand_in = StandIn::start(&["--token-seconds", "3"]);
    let store = Arc::new(connect(stand_in.config()).await.unwrap());
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            while tokio::time::Instant::now() < until {
                store.list("", None, 9).await.unwrap_or_else(|why| panic!("{}", chain(&why)));
            }
        });
    }
    tasks.join_all().await;
    let logins = stand_in.calls("token.client_secret").await;
    assert!((3..12).contains(&logins), "{logins} logins in ten seconds, for tokens of three");
}

/// The login is away while a token still serves; and the other way round, when it has ended.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn a_login_that_is_away_does_no_harm_while_the_token_serves() {
    let stand_in = StandIn::start(&["--token-seconds", "6"]);
    let store = connect(stand_in.config()).await.unwrap();
    stand_in.fault(json!({"kind": "status", "status": 503, "count": 1000, "operation": "token.*"})).await;
    let begun = tokio::time::Instant::now();
    // Past the time at which a new one is asked for.
    while begun.elapsed() < Duration::from_millis(4800) {
        store.list("", None, 9).await.unwrap_or_else(|why| panic!("{}", chain(&why)));
    }
    stand_in.control("POST", "tokens/revoke", Value::Null).await;
    let error = store.list("", None, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
    assert!(chain(&error).contains("the login answers that it has failed"), "{}", chain(&error));
    stand_in.control("DELETE", "faults", Value::Null).await;
    store.list("", None, 9).await.unwrap();
}

/// Clocks that differ by an hour, in either direction.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-ins: peers/peers.sh install standins"]
async fn clocks_may_differ() {
    for skew in [-3600, 3600] {
        let stand_in = StandIn::start(&[]);
        let store = connect(stand_in.config()).await.unwrap();
        stand_in.control("POST", "clock", json!({ "skew": skew })).await;
        store.create(&name("key"), b"value").await.unwrap_or_else(|why| panic!("{skew}: {}", chain(&why)));
        assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
        let fresh = connect(stand_in.config_at(&store.describe())).await.unwrap();
        assert_eq!(fresh.get(&name("key")).await.unwrap().expose(), b"value");
    }
}

#[test]
fn what_is_secret_is_never_shown() {
    let login = Login::Credentials {
        tenant_id: "t".to_owned(),
        client_id: "c".to_owned(),
        client_secret: Secret::new("s3cr3t".to_owned()),
    };
    let vault = Vault { endpoint: "https://kes.vault.azure.net".to_owned(), login, ..Vault::default() };
    assert!(!format!("{vault:?} {vault:#?}").contains("s3cr3t"));
}
