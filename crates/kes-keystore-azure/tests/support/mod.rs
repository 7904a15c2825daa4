//! What stands in for Azure: peers/azure_key_vault.py, started once and ended with the tests, and a server in front of it that
//! spoils what passes through.

pub mod alone;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kes_keystore::KeyName;
use kes_keystore::http::Tls;
use kes_keystore_azure::{Config, Login, Secret, Vault};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The client with a secret that the stand-in has unless told otherwise.
pub const CLIENT: &str = "11111111-1111-4111-8111-111111111111";
pub const CLIENT_SECRET: &str = "stand-in-client-secret";

pub fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a key name")
}

/// A Key Vault, or many of them, with the login that goes with it.
pub struct StandIn {
    pub dir: PathBuf,
    /// What it says of itself.
    pub facts: Value,
    next: AtomicUsize,
    /// Ends the server when this process has gone.
    _warden: Child,
}

/// The one that tests share. Each takes a vault of its own.
pub fn shared() -> &'static StandIn {
    static SHARED: OnceLock<StandIn> = OnceLock::new();
    SHARED.get_or_init(|| StandIn::start_with(150, &[]))
}

impl StandIn {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(1, arguments)
    }

    fn start_with(vaults: usize, arguments: &[&str]) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peers");
        let found = Command::new(peers.join("peers.sh")).args(["path", "standins"]).output().expect("the script runs");
        let program = String::from_utf8(found.stdout).expect("a path").trim().to_owned();
        assert!(Path::new(&program).exists(), "no stand-ins: peers/peers.sh install standins");
        let dir = tempfile::tempdir().expect("a folder").keep();
        // Behind a shell that ends it, and cleans up, when its input ends, which it does with this process.
        let script = "dir=$1; shift; \"$@\" <&- >/dev/null & read _; kill -9 $!; rm -r \"$dir\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&dir).arg(program).arg(peers.join("azure_key_vault.py"));
        command.arg("--dir").arg(&dir);
        for number in 0..vaults {
            command.args(["--vault", &format!("kes{number}")]);
        }
        let warden = command.args(arguments).stdin(Stdio::piped()).spawn().expect("sh runs");
        let file = dir.join("endpoints.json");
        let started = std::time::Instant::now();
        while !file.exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "the stand-in does not start");
            std::thread::yield_now();
        }
        let facts = serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("JSON");
        Self { dir, facts, next: AtomicUsize::new(0), _warden: warden }
    }

    pub fn fact(&self, name: &str) -> String {
        self.facts[name].as_str().expect("a text").to_owned()
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A vault that no other test has: its name and port.
    pub fn fresh(&self) -> (String, u16) {
        let name = format!("kes{}", self.next.fetch_add(1, Ordering::Relaxed));
        let url = self.facts["vaults"][&name]["url"].as_str().expect("there are enough").to_owned();
        (name, url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port"))
    }

    /// A vault with our login to it.
    pub fn vault(&self) -> Vault {
        let (name, port) = self.fresh();
        self.vault_at(&name, port)
    }

    pub fn vault_at(&self, name: &str, port: u16) -> Vault {
        let client_secret = Secret::new(CLIENT_SECRET.to_owned());
        let login = Login::Credentials { tenant_id: self.fact("tenant"), client_id: CLIENT.to_owned(), client_secret };
        let endpoint = format!("https://{name}.vault.azure.localhost:{port}");
        Vault { endpoint, login, authority: Some(self.fact("authority")), ca: Some(self.ca()) }
    }

    pub fn config(&self) -> Config {
        Config { vault: self.vault(), check: true, ..Config::default() }
    }

    /// The same vault again: by how its store describes itself.
    pub fn config_at(&self, description: &str) -> Config {
        let (_, endpoint) = description.split_once(": ").expect("a kind and a place");
        let vault = Vault { endpoint: endpoint.to_owned(), ..self.vault_at("", 0) };
        Config { vault, check: true, ..Config::default() }
    }

    /// A call of its controls: `("POST", "faults", …)`.
    pub async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let admin = self.fact("admin");
        let address = admin.trim_start_matches("http://");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /-/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let mut far = TcpStream::connect(address).await.expect("it listens");
        far.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')), "{path}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    pub async fn fault(&self, fault: Value) {
        self.control("POST", "faults", fault).await;
    }

    /// Calls of an operation so far.
    pub async fn calls(&self, operation: &str) -> u64 {
        self.control("GET", "calls", Value::Null).await[operation]["calls"].as_u64().unwrap_or(0)
    }

    pub async fn allow(&self, client: &str, permissions: Option<&[&str]>) {
        self.control("POST", "permissions", json!({ "client": client, "allow": permissions })).await;
    }

    /// A request past everything under test, by a client that may do everything.
    pub async fn ask(&self, endpoint: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = endpoint.replace("https://", "");
        let port = url.rsplit(':').next().expect("a port");
        let client = http(&self.ca());
        let form = format!(
            "grant_type=client_credentials&client_id={CLIENT}&client_secret={CLIENT_SECRET}&scope={}",
            "https%3A%2F%2Fvault.azure.net%2F.default"
        );
        let login = format!("{}/{}/oauth2/v2.0/token", self.fact("authority"), self.fact("tenant"));
        let granted = client.post(login).body(form).header("content-type", "application/x-www-form-urlencoded");
        let granted = granted.send().await.expect("it answers").bytes().await.expect("a body");
        let granted: Value = serde_json::from_slice(&granted).expect("JSON");
        let token = granted["access_token"].as_str().expect("a token");
        let url = format!("https://127.0.0.1:{port}{path}?api-version=7.5");
        let mut request = client.request(method.parse().expect("a method"), url).header("host", url_host(endpoint));
        request = request.header("authorization", format!("Bearer {token}"));
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("it answers");
        let status = answer.status().as_u16();
        let body = answer.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

fn url_host(endpoint: &str) -> &str {
    endpoint.trim_start_matches("https://")
}

fn http(ca: &Path) -> reqwest::Client {
    kes_keystore::http::client(&Tls { ca: Some(ca.to_owned()), ..Tls::default() }).expect("it can be made")
}

/// A request as a server sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// With its query.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// To the stand-in, and its answer back.
    Pass,
    /// The same, after a while.
    Delay(Duration),
    /// To the stand-in, and then the connection is cut: the answer is lost.
    Lose,
    /// The connection is cut at once.
    Cut,
    /// Nothing is ever answered.
    Hang,
    /// To the stand-in, and then something else is answered.
    Spoil(u16, String),
    /// Answered here.
    Answer(u16, String),
    /// The same, at a time that the answer tells.
    Dated(time::OffsetDateTime, String),
    /// Held back until this has happened, then to the stand-in.
    Hold(Arc<tokio::sync::Notify>),
}

impl Act {
    /// An error in the form of Key Vault.
    pub fn error(status: u16, code: &str, inner: &str, message: &str) -> Self {
        let body = json!({ "error": { "code": code, "message": message, "innererror": { "code": inner } } });
        Self::Answer(status, body.to_string())
    }

    pub fn throttled() -> Self {
        Self::error(429, "Throttled", "VaultRequestTypeLimitReached", "too many requests")
    }
}

type Plan = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

/// A server between the store and the stand-in. It can be taken away and brought back.
pub struct Front {
    pub name: String,
    pub port: u16,
    far: u16,
    tls: TlsAcceptor,
    http: reqwest::Client,
    plan: Plan,
    open: Mutex<Option<JoinHandle<()>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Front {
    pub async fn start(stand_in: &StandIn, plan: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Arc<Self> {
        let (name, far) = stand_in.fresh();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has one").port();
        drop(listener);
        let front = Arc::new(Self {
            name,
            port,
            far,
            tls: acceptor(&stand_in.dir.join("server.pem")),
            http: http(&stand_in.ca()),
            plan: Arc::new(plan),
            open: Mutex::default(),
            seen: Arc::default(),
        });
        front.mend().await;
        front
    }

    pub fn vault(&self, stand_in: &StandIn) -> Vault {
        stand_in.vault_at(&self.name, self.port)
    }

    /// The same vault without the front.
    pub fn clear(&self, stand_in: &StandIn) -> Vault {
        stand_in.vault_at(&self.name, self.far)
    }

    /// What has come in so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics in here").clone()
    }

    pub async fn mend(self: &Arc<Self>) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.expect("the port is ours");
        let front = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let front = Arc::clone(&front);
                connections.spawn(async move {
                    if let Ok(near) = front.tls.accept(near).await {
                        front.serve(BufReader::new(near)).await;
                    }
                });
            }
        });
        *self.open.lock().expect("no test panics in here") = Some(task);
    }

    /// Ends the listener and every connection.
    pub async fn cut(&self) {
        let task = self.open.lock().expect("no test panics in here").take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    async fn serve<S: AsyncRead + tokio::io::AsyncWrite + Unpin>(&self, mut near: BufReader<S>) {
        while let Some(request) = read_request(&mut near).await {
            let act = (self.plan)(&request);
            self.seen.lock().expect("no test panics in here").push(request.clone());
            let answer = match act {
                Act::Pass => self.forward(&request).await,
                Act::Delay(time) => {
                    tokio::time::sleep(time).await;
                    self.forward(&request).await
                }
                Act::Lose => {
                    self.forward(&request).await;
                    return;
                }
                Act::Cut => return,
                Act::Hang => std::future::pending().await,
                Act::Spoil(status, body) => {
                    self.forward(&request).await;
                    Some(render(status, "", body.as_bytes()))
                }
                Act::Answer(status, body) => Some(render(status, "", body.as_bytes())),
                Act::Dated(date, body) => Some(render(200, &format!("date: {}\r\n", http_date(date)), body.as_bytes())),
                Act::Hold(until) => {
                    until.notified().await;
                    self.forward(&request).await
                }
            };
            let Some(answer) = answer else { return };
            if near.get_mut().write_all(&answer).await.is_err() || near.get_mut().flush().await.is_err() {
                return;
            }
        }
    }

    async fn forward(&self, request: &Request) -> Option<Vec<u8>> {
        let url = format!("https://127.0.0.1:{}{}", self.far, request.target());
        let mut copy = self.http.request(request.method().parse().ok()?, url).body(request.body.clone());
        for line in request.head.lines() {
            if let Some((header, value)) = line.split_once(':')
                && !["connection", "content-length"].contains(&header.to_ascii_lowercase().as_str())
            {
                copy = copy.header(header, value.trim());
            }
        }
        let answer = copy.send().await.ok()?;
        let status = answer.status().as_u16();
        let mut head = String::new();
        for (header, value) in answer.headers() {
            if !["connection", "content-length", "transfer-encoding"].contains(&header.as_str()) {
                head += &format!("{header}: {}\r\n", value.to_str().ok()?);
            }
        }
        let body = answer.bytes().await.ok()?;
        Some(render(status, &head, &body))
    }
}

fn acceptor(file: &Path) -> TlsAcceptor {
    let pem = std::fs::read(file).expect("the stand-in has written it");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

async fn read_request<S: AsyncRead + Unpin>(near: &mut BufReader<S>) -> Option<Request> {
    let mut line = String::new();
    near.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut head = String::new();
    loop {
        let start = head.len();
        near.read_line(&mut head).await.ok().filter(|read| *read > 0)?;
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let mut request = Request { line: line.trim().to_owned(), head, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    near.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

fn render(status: u16, head: &str, body: &[u8]) -> Vec<u8> {
    let kind = if head.contains("content-type") { "" } else { "content-type: application/json\r\n" };
    let head = format!("HTTP/1.1 {status} X\r\n{kind}{head}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), if status == 204 { b"" } else { body }].concat()
}

/// As in the header `Date`.
fn http_date(date: time::OffsetDateTime) -> String {
    let (day, month) = (date.weekday().to_string(), date.month().to_string());
    let (hour, minute, second) = date.to_hms();
    format!("{}, {:02} {} {} {hour:02}:{minute:02}:{second:02} GMT", &day[..3], date.day(), &month[..3], date.year())
}

/// An error with everything beneath it, as a log shows it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}
