//! The stand-in for Azure Key Vault, `peers/azure_key_vault.py`, and a proxy that leads to it.

use crate::{Home, checkout};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A running stand-in; killed when dropped.
pub struct KeyVault {
    child: Child,
    folder: tempfile::TempDir,
    program: String,
    facts: Value,
}

/// A call of the stand-in by an application that may do everything, in Python: standard library alone.
const ASK: &str = r#"
import json, ssl, sys, urllib.parse, urllib.request
facts, method, path, body = json.loads(sys.argv[1]), *sys.argv[2:]
context = ssl.create_default_context(cafile=facts["ca"])
client = facts["clients"][0]
form = {"grant_type": "client_credentials", "client_id": client["id"], "client_secret": client["secret"],
        "scope": "https://vault.azure.net/.default"}
login = f"{facts['authority']}/{facts['tenant']}/oauth2/v2.0/token"
token = json.load(urllib.request.urlopen(login, urllib.parse.urlencode(form).encode(), context=context))["access_token"]
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
url = facts["vaults"]["kes"]["url"] + path + "?api-version=7.5"
request = urllib.request.Request(url, body.encode() or None, headers, method=method)
print(urllib.request.urlopen(request, context=context).read().decode() or "null")
"#;

impl KeyVault {
    /// Starts one.
    ///
    /// # Panics
    /// If there is none: `peers/peers.sh install standins`.
    pub fn start() -> Self {
        let script = Command::new(checkout().join("peers/peers.sh")).args(["path", "standins"]).output();
        let program = String::from_utf8(script.expect("the script starts").stdout).expect("a path").trim().to_owned();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(&program);
        command.arg(checkout().join("peers/azure_key_vault.py")).arg("--dir").arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|_| panic!("no stand-ins: peers/peers.sh install standins"));
        let (file, begun) = (folder.path().join("endpoints.json"), Instant::now());
        while !file.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the stand-in does not start");
            std::thread::yield_now();
        }
        let facts = serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("JSON");
        Self { child, folder, program, facts }
    }

    /// What it says of itself: `authority`, `tenant`, `identity_endpoint`, …
    ///
    /// # Panics
    /// If it does not say that.
    pub fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().expect("a text")
    }

    /// The client that has a secret, with it; or the one that is the machine's own.
    ///
    /// # Panics
    /// If it has none.
    pub fn client(&self, has_secret: bool) -> (&str, &str) {
        let clients = self.facts["clients"].as_array().expect("a list");
        let wanted =
            |client: &&Value| if has_secret { client["secret"].is_string() } else { client["managed"] == true };
        let client = clients.iter().find(wanted).expect("there is one of each");
        (client["id"].as_str().expect("a text"), client["secret"].as_str().unwrap_or_default())
    }

    /// The vault's address, of the domain that its challenge names.
    ///
    /// # Panics
    /// Never.
    pub fn endpoint(&self) -> &str {
        self.facts["vaults"]["kes"]["named"].as_str().expect("a text")
    }

    /// The authority that has signed its certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A configuration with `keystore`: `block`, in which `{vault}` is the endpoint and the login by a secret.
    pub fn config(&self, home: &Home, block: &str, more: &str) -> String {
        let folder = home.path().display();
        let (client, secret) = self.client(true);
        let vault = format!(
            "endpoint: '{}', credentials: {{tenant_id: {}, client_id: {client}, client_secret: {secret}}}",
            self.endpoint(),
            self.fact("tenant"),
        );
        format!(
            "version: v1\naddress: {{{{address}}}}\ntls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             keystore: {}\n{more}\n",
            block.replace("{vault}", &vault)
        )
    }

    /// Makes a server log in here and trust it.
    pub fn environment(&self) -> impl Fn(&mut Command) {
        let (authority, ca) = (self.fact("authority").to_owned(), self.ca());
        move |command| {
            command.env("AZURE_AUTHORITY_HOST", &authority).env("SSL_CERT_FILE", &ca);
        }
    }

    /// A call past every server: `("GET", "/secrets", "")`.
    ///
    /// # Panics
    /// If it fails.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let output =
            Command::new(&self.program).args(["-c", ASK, &self.facts.to_string(), method, path, body]).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{method} {path}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The names of all secrets, at most a page of them.
    ///
    /// # Panics
    /// As [`KeyVault::ask`].
    pub fn secrets(&self) -> Vec<String> {
        let listed = self.ask("GET", "/secrets", "");
        let names = listed["value"].as_array().expect("a list").iter();
        names.filter_map(|secret| secret["id"].as_str()?.rsplit('/').next().map(ToOwned::to_owned)).collect()
    }

    /// One of its controls: `("POST", "permissions", …)`.
    ///
    /// # Panics
    /// If it fails.
    pub fn control(&self, method: &str, path: &str, body: &str) {
        let address = self.fact("admin").trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).expect("it listens");
        let request = format!(
            "{method} /-/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("it answers");
        assert!(answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2')), "{path}: {answer}");
    }
}

impl Drop for KeyVault {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy for HTTPS that connects to this machine, whatever name it is asked for: not every resolver knows the names below
/// `localhost`.
pub struct Proxy {
    address: String,
    tunnels: Arc<AtomicUsize>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self::start()
    }
}

impl Proxy {
    /// Starts one, which ends with this process.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one").to_string();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tunnels);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || tunnel(near, &count));
            }
        });
        Self { address, tunnels }
    }

    /// For `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections went through it.
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

fn tunnel(mut near: TcpStream, count: &AtomicUsize) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        near.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let port: u16 = target.rsplit(':').next()?.parse().ok()?;
    let mut far = TcpStream::connect(("127.0.0.1", port)).ok()?;
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    count.fetch_add(1, Ordering::Relaxed);
    let (mut near_in, mut far_in) = (near.try_clone().ok()?, far.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut near_in, &mut far);
        let _ = far.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut far_in, &mut near);
    let _ = near.shutdown(std::net::Shutdown::Write);
    Some(())
}
