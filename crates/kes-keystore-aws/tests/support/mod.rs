//! What stands in for AWS: a moto server, started once and ended with the tests, and small HTTP servers that answer as they
//! are told or spoil what passes through them.

pub mod alone;
pub mod sources;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kes_keystore::KeyName;
use kes_keystore_aws::{Config, Credentials, Secret, Service};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub const REGION: &str = "eu-central-1";

pub fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a key name")
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// moto: Secrets Manager, KMS, IAM and STS in one server.
pub struct Moto {
    /// `127.0.0.1:port`.
    pub address: String,
    /// Ends the server when this process has gone.
    _warden: Child,
}

/// The one that tests share. They keep apart by prefixes.
pub fn moto() -> &'static Moto {
    static SHARED: OnceLock<Moto> = OnceLock::new();
    SHARED.get_or_init(Moto::start)
}

impl Moto {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments, such as a certificate.
    pub fn start_with(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peers/peers.sh");
        let found = Command::new(script).args(["path", "moto"]).output().expect("the script runs");
        let program = String::from_utf8(found.stdout).expect("a path").trim().to_owned();
        assert!(Path::new(&program).exists(), "no moto: peers/peers.sh install moto");
        let port = free_port().to_string();
        // Behind a shell that ends it when its input ends, which it does with this process.
        let warden = Command::new("sh")
            .args([
                "-c",
                "\"$@\" <&- >/dev/null 2>&1 & read _; kill -9 $!",
                "sh",
                &program,
                "-H",
                "127.0.0.1",
                "-p",
                &port,
            ])
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let address = format!("127.0.0.1:{port}");
        let started = std::time::Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "moto does not start");
            std::thread::yield_now();
        }
        Self { address, _warden: warden }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A call past everything under test: `secretsmanager.DescribeSecret`, `TrentService.CreateKey`.
    pub async fn call(&self, target: &str, body: Value) -> Value {
        self.call_in(REGION, target, body).await
    }

    pub async fn call_in(&self, region: &str, target: &str, body: Value) -> Value {
        self.post_in(region, "/", "application/x-amz-json-1.1", Some(target), body.to_string()).await.1
    }

    pub async fn post(&self, path: &str, kind: &str, target: Option<&str>, body: String) -> (u16, Value) {
        self.post_in(REGION, path, kind, target, body).await
    }

    async fn post_in(&self, region: &str, path: &str, kind: &str, target: Option<&str>, body: String) -> (u16, Value) {
        let service = match target {
            Some(target) if target.starts_with("Trent") => "kms",
            Some(_) => "secretsmanager",
            None => "iam",
        };
        let scope = format!("AWS4-HMAC-SHA256 Credential=AKIAADMIN/20260101/{region}/{service}/aws4_request");
        let target = target.map(|target| format!("X-Amz-Target: {target}\r\n")).unwrap_or_default();
        let head = format!(
            "Host: {}\r\nContent-Type: {kind}\r\n{target}Authorization: {scope}, SignedHeaders=host, Signature=0\r\n\
             Content-Length: {}",
            self.address,
            body.len(),
        );
        let request = Request { line: format!("POST {path} HTTP/1.1"), head, body: body.into_bytes() };
        let answer = send(&self.address, &request).await.expect("moto answers");
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer of HTTP");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }

    /// A new symmetric KMS key; its ARN.
    pub async fn kms_key(&self) -> String {
        self.kms_key_in(REGION).await
    }

    pub async fn kms_key_in(&self, region: &str) -> String {
        let made = self.call_in(region, "TrentService.CreateKey", json!({})).await;
        made["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned()
    }

    pub async fn secret(&self, id: &str) -> Value {
        self.call("secretsmanager.DescribeSecret", json!({ "SecretId": id })).await
    }
}

/// Fixed credentials that moto takes, as it takes any.
pub fn service(endpoint: &str) -> Service {
    Service {
        endpoint: Some(endpoint.to_owned()),
        region: Some(REGION.into()),
        credentials: Some(fixed("AKIATEST", None)),
    }
}

pub fn fixed(id: &str, token: Option<&str>) -> Credentials {
    let secret_key = Secret::new("s3cr3t/s3cr3t".to_owned());
    Credentials { access_key: id.to_owned(), secret_key, token: token.map(|token| Secret::new(token.to_owned())) }
}

/// A store of its own below a prefix of its own.
pub fn config(endpoint: &str, prefix: &str) -> Config {
    Config { service: service(endpoint), prefix: prefix.to_owned(), check: true, ..Config::default() }
}

/// A prefix that no other test has.
pub fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}/{}-{}/", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
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

    /// The action without its service: `CreateSecret`.
    pub fn action(&self) -> &str {
        self.header("x-amz-target").and_then(|target| target.split('.').nth(1)).unwrap_or_default()
    }

    /// The ID of the access key that it is signed with.
    pub fn key(&self) -> &str {
        let header = self.header("authorization").and_then(|header| header.split_once("Credential="));
        header.and_then(|(_, scope)| scope.split('/').next()).unwrap_or_default()
    }

    fn with(&self, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        let head: Vec<_> = self.head.lines().filter(|line| !line.is_empty() && !is_length(line)).collect();
        let head = format!("{}\r\ncontent-length: {}", head.join("\r\n"), body.len());
        Self { line: self.line.clone(), head, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// To moto, and its answer back.
    Pass,
    /// The same, after a while.
    Delay(Duration),
    /// To moto with another body.
    Instead(Value),
    /// To moto, and then the connection is cut: the answer is lost.
    Lose,
    /// The same, and meanwhile somebody else makes this secret.
    LoseAndMake(Value),
    /// The connection is cut at once.
    Cut,
    /// Nothing is ever answered.
    Hang,
    /// Answered once there is a permit.
    Gate(Arc<Semaphore>, u16, String),
    /// To moto, and then nothing is ever answered.
    Swallow,
    /// To moto, and then something else is answered.
    Spoil(u16, String),
    /// Answered here.
    Answer(u16, String),
}

impl Act {
    /// An error in the form of AWS.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Answer(status, json!({ "__type": code, "message": message }).to_string())
    }

    pub fn denied(permission: &str) -> Self {
        let message = format!(
            "User: arn:aws:iam::123456789012:user/kes is not authorized to perform: {permission} on resource: kes/x \
             because no identity-based policy allows the {permission} action"
        );
        Self::error(400, "AccessDeniedException", &message)
    }
}

type Plan = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

/// A server between the store and moto, or in the place of a service that moto has not. It can be taken away and brought back.
pub struct Front {
    port: u16,
    plan: Plan,
    open: Mutex<Option<JoinHandle<()>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Front {
    pub async fn start(plan: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Self::start_at(free_port(), plan).await
    }

    /// At a port that the environment of this process names already.
    pub async fn start_at(port: u16, plan: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Arc<Self> {
        let front = Arc::new(Self { port, plan: Arc::new(plan), open: Mutex::default(), seen: Arc::default() });
        front.mend().await;
        front
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What has come in so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics in here").clone()
    }

    pub fn count(&self, action: &str) -> usize {
        self.seen().iter().filter(|request| request.action() == action).count()
    }

    pub async fn mend(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.expect("the port is ours");
        let (plan, seen) = (Arc::clone(&self.plan), Arc::clone(&self.seen));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(serve(near, Arc::clone(&plan), Arc::clone(&seen)));
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
}

async fn serve(near: TcpStream, plan: Plan, seen: Arc<Mutex<Vec<Request>>>) {
    let mut near = BufReader::new(near);
    while let Some(request) = read_request(&mut near).await {
        let act = plan(&request);
        seen.lock().expect("no test panics in here").push(request.clone());
        let answer = match act {
            Act::Pass => forward(&request).await,
            Act::Delay(time) => {
                tokio::time::sleep(time).await;
                forward(&request).await
            }
            Act::Instead(body) => forward(&request.with(&body)).await,
            Act::Lose => {
                forward(&request).await;
                return;
            }
            Act::LoseAndMake(secret) => {
                forward(&request).await;
                moto().call("secretsmanager.CreateSecret", secret).await;
                return;
            }
            Act::Cut => return,
            Act::Hang => std::future::pending().await,
            Act::Gate(gate, status, body) => {
                gate.acquire().await.expect("it is never closed").forget();
                Some(render(status, &body))
            }
            Act::Swallow => {
                forward(&request).await;
                std::future::pending().await
            }
            Act::Spoil(status, body) => {
                forward(&request).await;
                Some(render(status, &body))
            }
            Act::Answer(status, body) => Some(render(status, &body)),
        };
        let Some(answer) = answer else { return };
        if near.get_mut().write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn read_request(near: &mut BufReader<TcpStream>) -> Option<Request> {
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

async fn forward(request: &Request) -> Option<Vec<u8>> {
    // One at a time: moto answers 500 to a list of what changes meanwhile.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    send(&moto().address, request).await
}

/// The answer, whole.
async fn send(address: &str, request: &Request) -> Option<Vec<u8>> {
    let mut far = TcpStream::connect(address).await.ok()?;
    let head = request.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: Vec<_> = head.filter(|line| !line.is_empty()).collect();
    let text = format!("{}\r\n{}\r\nConnection: close\r\n\r\n", request.line, head.join("\r\n"));
    far.write_all(text.as_bytes()).await.ok()?;
    far.write_all(&request.body).await.ok()?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let kept: Vec<_> = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).collect();
    let mut whole = kept.join("\r\n").replacen("HTTP/1.0", "HTTP/1.1", 1).into_bytes();
    whole.extend_from_slice(&answer[end..]);
    Some(whole)
}

fn render(status: u16, body: &str) -> Vec<u8> {
    let kind = if body.starts_with('<') { "text/xml" } else { "application/json" };
    let length = body.len();
    // How long a token of the metadata service lives; nobody else minds.
    let ttl = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600";
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{ttl}\r\n\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
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
