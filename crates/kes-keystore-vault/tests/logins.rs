//! Every way to log in, against a real Vault; and which namespace each request carries, by a proxy that writes it down.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kes_keystore::{KeyName, KeyStore};
use kes_keystore_vault::{Config, Login, Method, Secret, Server, Source, Tls, Version, connect};
use serde_json::json;
use support::{Vault, shared};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

fn config(server: Server) -> Config {
    Config { server, engine: "kv2".into(), version: Version::V2, prefix: "logins".into(), transit: None }
}

/// Works as a key store: whatever the login gave is good for it.
async fn works(server: Server, key: &str) {
    let key = KeyName::parse(key).unwrap();
    let store = connect(config(server)).await.unwrap();
    store.create(&key, b"v").await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().expose(), b"v");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn by_client_certificate() {
    let vault = shared();
    let dir = vault.dir();
    let (key, cert) = (dir.join("client.key"), dir.join("client.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=kes", "-addext", "extendedKeyUsage=clientAuth", "-keyout"])
        .args([&key, Path::new("-out"), &cert])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    vault.admin("POST", "sys/auth/cert", Some(json!({"type": "cert"}))).await;
    let pem = std::fs::read_to_string(&cert).unwrap();
    let role = json!({"certificate": pem, "token_policies": "kes", "token_ttl": "1h"});
    vault.admin("POST", "auth/cert/certs/kes", Some(role)).await;
    for (role, name) in [("kes", "by-role"), ("", "by-any-role")] {
        let mut server = vault.server_with(Method::Certificate { engine: "cert/".into(), role: role.into() });
        server.tls.key = Some(key.clone());
        server.tls.cert = Some(cert.clone());
        works(server, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn by_a_token_of_somebody_else() {
    let vault = shared();
    let body = json!({"policies": ["kes"], "ttl": "1h"});
    let made = vault.admin("POST", "auth/token/create", Some(body)).await.1;
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    works(vault.server_with(Method::Token(Source::Value(Secret::new(token)))), "by-token").await;
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault and its plugin: peers/peers.sh install vault vault-k8s"]
async fn by_a_service_account_of_kubernetes() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peers/fake-k8s.py");
    let review = Command::new("python3").arg(script).arg(dir.path()).arg(port.to_string()).spawn().unwrap();
    let _review = Running(review);
    let token = dir.path().join("token");
    while !token.exists() || TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ca = dir.path().join("ca.crt");
    let vault = Vault::start_with(&[
        ("STORAGE", "inmem"),
        ("K8S_HOST", &format!("https://127.0.0.1:{port}")),
        ("K8S_CA", ca.to_str().unwrap()),
    ]);
    let method = |jwt| Method::Kubernetes { engine: "kubernetes".into(), role: "kes".into(), jwt };
    works(vault.server_with(method(Source::File(token.clone()))), "by-file").await;

    let text = std::fs::read_to_string(&token).unwrap();
    // A mounted token may end in a line feed, which is no part of it.
    std::fs::write(&token, format!("{}\n", text.trim())).unwrap();
    works(vault.server_with(method(Source::File(token))), "by-file-with-line-feed").await;
    works(vault.server_with(method(Source::Value(Secret::new(text.trim().into())))), "by-value").await;

    let forged = text.trim().rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
    let error = connect(config(vault.server_with(method(Source::Value(Secret::new(forged)))))).await.err().unwrap();
    assert!(error.to_string().contains("check 'kubernetes'"), "{error}");
}

/// Path and namespace of each request that went through.
type Seen = Arc<Mutex<Vec<(String, Option<String>, Option<String>)>>>;

/// Plain HTTP in, Vault's TLS out; adds `token` where a request has none, as an agent does.
async fn recorder(vault: &'static Vault, token: Option<String>) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let tls = Tls { ca: Some(vault.ca.clone()), ..Tls::default() };
    let client = kes_keystore::http::client(&tls).unwrap();
    let written = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(forward(socket, vault, client.clone(), written.clone(), token.clone()));
        }
    });
    (address, seen)
}

async fn forward(socket: TcpStream, vault: &Vault, client: reqwest::Client, seen: Seen, token: Option<String>) {
    let mut socket = BufReader::new(socket);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            let found = lines.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
            Some(found.split_once(": ").unwrap().1.to_owned())
        };
        let mut words = lines[0].split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        socket.read_exact(&mut body).await.unwrap();
        let sent = header("x-vault-token");
        seen.lock().unwrap().push((path.to_owned(), header("x-vault-namespace"), sent.clone()));
        let mut request = client.request(method.parse().unwrap(), format!("{}{path}", vault.address)).body(body);
        if let Some(token) = sent.or_else(|| token.clone()) {
            request = request.header("X-Vault-Token", token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        let whole = [head.as_bytes(), &body].concat();
        if socket.write_all(&whole).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn by_an_agent_that_adds_its_own_token() {
    let vault = shared();
    let (endpoint, seen) = recorder(vault, Some(vault.root_token.clone())).await;
    works(Server { endpoint, ..vault.server_with(Method::Agent) }, "by-agent").await;
    assert!(seen.lock().unwrap().iter().all(|(_, _, token)| token.is_none()), "we have no token to send");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Vault: peers/peers.sh install vault"]
async fn each_request_carries_the_namespace_that_it_is_for() {
    let vault = shared();
    let cases = [
        // namespace of the engines, of the login
        (Some("team-a"), Some("team-a")),
        (Some("team-a"), None),
        (None, Some("logins")),
        (None, None),
        (Some(""), None),
    ];
    for (number, (engines, login)) in cases.into_iter().enumerate() {
        let (endpoint, seen) = recorder(vault, None).await;
        let Server { login: Login { method, .. }, tls, ping, .. } = vault.server();
        let login_namespace = login.map(ToOwned::to_owned);
        let server = Server {
            endpoint,
            namespace: engines.map(Into::into),
            login: Login { namespace: login_namespace, method },
            tls,
            ping,
        };
        works(server, &format!("namespace-{number}")).await;
        let engines = engines.filter(|namespace| !namespace.is_empty());
        let seen = seen.lock().unwrap();
        assert!(seen.len() > 5);
        for (path, namespace, _) in seen.iter() {
            let expected = match path.as_str() {
                path if path.starts_with("/v1/sys/health") => None,
                path if path.starts_with("/v1/auth/") => login,
                _ => engines,
            };
            assert_eq!(namespace.as_deref(), expected, "{path}");
        }
    }
}
