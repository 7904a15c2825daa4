//! A real Vault for the tests of a program: started once, ended with it; and a way to it that can be cut.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kes_keystore_vault::{Login, Method, Secret, Server, Source, Tls};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A Vault with what `peers/vault-start.sh` sets up in it.
pub struct Vault {
    pub address: String,
    pub ca: PathBuf,
    pub root_token: String,
    pub role_id: String,
    pub secret_id: String,
    pub unseal_key: String,
    pub pid: u32,
    dir: tempfile::TempDir,
    /// Ends the server when this process has gone.
    _warden: Child,
}

/// The one that tests share. They keep apart by prefixes.
pub fn shared() -> &'static Vault {
    static SHARED: OnceLock<Vault> = OnceLock::new();
    SHARED.get_or_init(|| Vault::start("raft"))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

impl Vault {
    pub fn start(storage: &str) -> Self {
        Self::start_with(&[("STORAGE", storage)])
    }

    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peers/vault-start.sh");
        let output = Command::new(&script)
            .arg(dir.path())
            .arg(free_port().to_string())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the script runs");
        assert!(
            output.status.success(),
            "no Vault (peers/peers.sh install vault): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let env = std::fs::read_to_string(dir.path().join("env")).expect("the script has written it");
        let value = |name: &str| {
            let word = env.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.unwrap_or_else(|| panic!("{name} in {env}")).trim_matches(['"', '\'']).to_owned()
        };
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("the script has written it").trim().to_owned();
        let warden = Command::new("sh").args(["-c", &format!("read _; kill -9 {pid}")]).stdin(Stdio::piped()).spawn();
        Self {
            address: value("VAULT_ADDR"),
            ca: value("VAULT_CACERT").into(),
            root_token: value("VAULT_TOKEN"),
            role_id: value("ROLE_ID"),
            secret_id: value("SECRET_ID"),
            unseal_key: value("UNSEAL_KEY"),
            pid: pid.parse().expect("a process id"),
            dir,
            _warden: warden.expect("sh runs"),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Logs in as the role that the script made.
    pub fn server(&self) -> Server {
        let (id, secret) = (self.role_id.clone(), Secret::new(self.secret_id.clone()));
        self.server_with(Method::AppRole { engine: "approle".into(), id, secret })
    }

    pub fn server_with(&self, method: Method) -> Server {
        Server {
            endpoint: self.address.clone(),
            namespace: None,
            login: Login { namespace: None, method },
            tls: Tls { ca: Some(self.ca.clone()), ..Tls::default() },
            ping: Duration::from_secs(1),
        }
    }

    pub fn root(&self) -> Method {
        Method::Token(Source::Value(Secret::new(self.root_token.clone())))
    }

    /// A call as root, past everything under test. The answer's body, null if it has none.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let tls = Tls { ca: Some(self.ca.clone()), ..Tls::default() };
        let client = kes_keystore::http::client(&tls).expect("the CA is good");
        let mut request = client
            .request(method.parse().expect("a method"), format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", &self.root_token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.expect("Vault answers");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("Vault answers");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.pid.to_string()]).status().expect("kill runs");
        assert!(done.success());
    }
}

/// A way to a server that can be cut and mended.
pub struct Way {
    port: u16,
    to: String,
    open: Mutex<Option<JoinHandle<()>>>,
}

impl Way {
    pub async fn to(address: &str) -> Arc<Self> {
        let to = address.rsplit("//").next().expect("an address").to_owned();
        let way = Arc::new(Self { port: free_port(), to, open: Mutex::new(None) });
        way.mend().await;
        way
    }

    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub async fn mend(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.expect("the port is ours");
        let to = self.to.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(&to).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        *self.open.lock().unwrap() = Some(task);
    }

    /// Ends the listener and every connection.
    pub async fn cut(&self) {
        let task = self.open.lock().unwrap().take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }
}
