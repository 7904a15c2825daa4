//! A server on a loopback port, with its logs in files.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kes_api::server::{Build, Handle, Limits, Options, Server, Settings, State, Sync, Target};
use kes_identity::{ApiKey, Authority, Certificate, Identity, KeyKind, Template, Verification, trust};
use kes_keystore::{Cache, cache};
use kes_policy::{Matching, Policy, PolicySet};
use rustls::RootCertStore;
use time::{Duration, OffsetDateTime};
use tokio::task::JoinHandle;

use super::client::{Client, Raw};
use super::{Scripted, soon};

/// The certificate of a client; the same each time for one name.
///
/// `admin` is the admin. What `app` may do is in [`Policies`]; any other name has no policy unless a test gives it one.
pub(crate) fn role(name: &str) -> Certificate {
    let mut secret = [0; 33];
    secret[1..=name.len()].copy_from_slice(name.as_bytes());
    let text = format!("kes:v1:{}", kes_crypto::base64::encode(&secret));
    let key: ApiKey = text.parse().unwrap();
    key.certificate(OffsetDateTime::now_utc()).unwrap()
}

/// Policies by name, each with a member of the same name.
#[derive(Clone)]
pub(crate) struct Policies(Vec<(&'static str, Vec<&'static str>, Vec<&'static str>)>);

impl Default for Policies {
    fn default() -> Self {
        let none = Self(Vec::new());
        none.with(
            "app",
            &["/v1/key/create/*", "/v1/key/generate/*", "/v1/key/decrypt/*", "/v1/key/encrypt/*", "/v1/key/list/*"],
            &["/v1/key/create/secret*"],
        )
    }
}

impl Policies {
    pub(crate) fn with(mut self, name: &'static str, allow: &[&'static str], deny: &[&'static str]) -> Self {
        self.0.retain(|(other, ..)| *other != name);
        self.0.push((name, allow.to_vec(), deny.to_vec()));
        self
    }

    pub(crate) fn build(&self) -> PolicySet {
        let policies = self.0.iter().fold(PolicySet::builder(), |set, (name, allow, deny)| {
            let (policy, _) = Policy::new(name.parse().unwrap(), allow, deny, Matching::Both);
            set.policy(policy, [role(name).identity()])
        });
        policies.build().unwrap()
    }
}

/// What a server is to be like.
pub(crate) struct Setup {
    pub(crate) policies: Policies,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) audit_file: Option<Target>,
    pub(crate) verified: bool,
    pub(crate) threads: usize,
    /// Keys never leave the store.
    pub(crate) engine: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policies: Policies::default(),
            settings: Settings::default(),
            limits: Limits::default(),
            audit_file: None,
            verified: false,
            threads: 2,
            engine: false,
        }
    }
}

/// A running server.
pub(crate) struct Rig {
    pub(crate) store: Arc<Scripted>,
    pub(crate) handle: Handle,
    pub(crate) address: SocketAddr,
    /// Signs the server's certificate, and clients' where they are verified.
    pub(crate) authority: Authority,
    pub(crate) verification: Verification,
    serving: JoinHandle<io::Result<()>>,
    folder: tempfile::TempDir,
}

/// What a server that has ended has written.
pub(crate) struct Logs {
    pub(crate) audit: String,
    pub(crate) error: String,
}

impl Rig {
    /// A server with [`Setup::default`], changed by `change`.
    pub(crate) fn start(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        setup.settings.connections = setup.limits;
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Scripted::new(setup.engine));
        let now = OffsetDateTime::now_utc();
        let authority = Authority::generate("tests", now - Duration::HOUR, now + Duration::DAY).unwrap();
        let verification = verification(&authority, setup.verified);
        let state = State::new(
            role("admin").identity().as_str(),
            setup.policies.build(),
            Cache::new(store.clone(), cache::Settings::default()),
            &server_certificate(&authority),
            verification.clone(),
            setup.settings,
        );
        let options = Options {
            threads: Some(setup.threads),
            error_log: target(&folder.path().join("error")),
            audit_log: target(&folder.path().join("audit")),
            audit_file: setup.audit_file,
            ..Options::new(Build { version: "1.2.3".to_owned(), commit: "<unknown>".to_owned() })
        };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), state.unwrap(), options).unwrap();
        let (handle, address) = (server.handle(), server.local_addr().unwrap());
        let serving = tokio::spawn(server.serve());
        Self { store, handle, address, authority, verification, serving, folder }
    }

    /// A connection that speaks HTTP/1.1.
    pub(crate) async fn client(&self, certificate: &Certificate) -> Client {
        Client::http1(self.raw(certificate).await).await
    }

    /// A connection that speaks h2.
    pub(crate) async fn client_h2(&self, certificate: &Certificate) -> Client {
        let config = Raw::config(&self.authority, Some(&certificate.certified_key()), b"h2");
        Client::http2(Raw::connect(self.address, config).await.unwrap()).await
    }

    /// A TLS connection for HTTP/1.1 written by hand.
    pub(crate) async fn raw(&self, certificate: &Certificate) -> Raw {
        let config = Raw::config(&self.authority, Some(&certificate.certified_key()), b"http/1.1");
        Raw::connect(self.address, config).await.unwrap()
    }

    /// A client certificate that the server's authority has signed, valid for so long.
    pub(crate) fn issue(&self, validity: Duration) -> Certificate {
        let now = OffsetDateTime::now_utc();
        let template = Template::new("client", now - Duration::HOUR, now + validity);
        self.authority.issue(KeyKind::Ed25519, &template).unwrap()
    }

    pub(crate) fn server_certificate(&self) -> Certificate {
        server_certificate(&self.authority)
    }

    /// The same store under other policies and settings.
    pub(crate) fn configured(&self, admin: &Identity, policies: &Policies, settings: Settings) -> State {
        let (certificate, verification) = (self.server_certificate(), self.verification.clone());
        let state = self.handle.state();
        state.with_configuration(admin.as_str(), policies.build(), &certificate, verification, settings).unwrap()
    }

    /// Shuts the server down, which writes what it has to say.
    pub(crate) async fn stop(self) -> Logs {
        self.handle.shutdown();
        soon("the end of the server", self.serving).await.unwrap().unwrap();
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        Logs { audit: read("audit"), error: read("error") }
    }

    /// Whether the server has not ended yet.
    pub(crate) fn is_serving(&self) -> bool {
        !self.serving.is_finished()
    }
}

fn target(path: &Path) -> Target {
    Target::File { file: std::fs::File::create(PathBuf::from(path)).unwrap(), sync: Sync::Off }
}

fn verification(authority: &Authority, verified: bool) -> Verification {
    if !verified {
        return Verification::Any;
    }
    let mut roots = RootCertStore::empty();
    trust(&mut roots, &[authority.certificate().clone()]).unwrap();
    Verification::Roots(Arc::new(roots))
}

fn server_certificate(authority: &Authority) -> Certificate {
    let now = OffsetDateTime::now_utc();
    let mut template = Template::new("localhost", now - Duration::HOUR, now + Duration::DAY);
    template.dns.push("localhost".to_owned());
    authority.issue(KeyKind::EcdsaP256, &template).unwrap()
}

impl Logs {
    /// Members of the only audit line with this path.
    pub(crate) fn audit_of(&self, path: &str) -> HashMap<String, String> {
        let lines: Vec<_> =
            self.audit_all().into_iter().filter(|line| line.get("req.path").is_some_and(|p| p == path)).collect();
        assert_eq!(lines.len(), 1, "audit lines of {path} in:\n{}", self.audit);
        lines.into_iter().next().unwrap()
    }

    /// Members of all audit lines.
    pub(crate) fn audit_all(&self) -> Vec<HashMap<String, String>> {
        self.audit.lines().map(members).collect()
    }
}

/// Members of a logfmt line. Quotes inside quoted values are not expected.
fn members(line: &str) -> HashMap<String, String> {
    let mut members = HashMap::new();
    let mut rest = line;
    while let Some((name, value)) = rest.split_once('=') {
        let (value, tail) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => value.split_at(value.find(' ').unwrap_or(value.len())),
        };
        members.insert(name.to_owned(), value.to_owned());
        rest = tail.trim_start();
    }
    members
}
