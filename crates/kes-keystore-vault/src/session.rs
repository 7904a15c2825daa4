//! Being logged in: a token that is renewed in time, replaced when it is refused, and given back at the end.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kes_keystore::{Error, Operation};
use rustify::Endpoint;
use serde::Deserialize;
use serde_json::json;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use vaultrs::api::auth::{approle, cert, kubernetes};
use vaultrs::api::sys::requests::ReadHealthRequest;
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RevokeTokenSelfRequest};
use zeroize::Zeroizing;

use crate::config::{Login, Method, Server, Source};
use crate::wire::{Answer, Caller, Request, Wire};

/// How long to wait after a login that failed.
const RETRY: Duration = Duration::from_secs(3);

/// The least time between two renewals.
const FLOOR: Duration = Duration::from_secs(1);

/// How long a new token rests before it is used: nodes of a cluster may learn of it late. At most this, and at most a
/// tenth of what the old one had to live.
const REST: Duration = Duration::from_secs(30);

/// The code that we ask health to have for every state: whatever it is, it is an answer.
const ANY_STATE: u16 = 299;

/// A server that we are logged in to.
pub(crate) struct Session {
    wire: Wire,
    login: Login,
    namespace: Option<String>,
    token: Mutex<Option<Arc<Token>>>,
    /// Held while logging in, so that many who are refused log in once.
    entrance: tokio::sync::Mutex<()>,
    tasks: Mutex<Vec<AbortHandle>>,
}

struct Token {
    text: Zeroizing<String>,
    /// How long it lives from when we had it; zero: for ever.
    ttl: Duration,
    renewable: bool,
    /// It was made for us, and nobody else will miss it.
    ours: bool,
}

/// The state of a server, as its health route tells it.
#[derive(Deserialize)]
struct Health {
    initialized: bool,
    sealed: bool,
}

/// What a login or a renewal gives.
#[derive(Deserialize)]
struct Granted {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

/// What a token says of itself.
#[derive(Deserialize)]
struct Looked {
    ttl: u64,
    renewable: Option<bool>,
}

impl Session {
    /// Connects and logs in; keeps the token alive and the seal status up to date from then on.
    pub(crate) async fn open(server: Server) -> Result<Arc<Self>, Error> {
        let wire = Wire::new(&server)?;
        let session = Arc::new(Self {
            wire,
            login: server.login,
            namespace: server.namespace.filter(|namespace| !namespace.is_empty()),
            token: Mutex::new(None),
            entrance: tokio::sync::Mutex::new(()),
            tasks: Mutex::new(Vec::new()),
        });
        session.look().await?;
        let first = session.log_in().await?;
        session.switch_to(first);
        let tasks = [
            tokio::spawn(stay_logged_in(Arc::downgrade(&session))).abort_handle(),
            tokio::spawn(watch_the_seal(Arc::downgrade(&session), server.ping)).abort_handle(),
        ];
        session.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
        Ok(session)
    }

    pub(crate) fn describe(&self) -> String {
        self.wire.describe()
    }

    /// Sends an endpoint with our token in the namespace of the engines. A token that is not valid any more is replaced,
    /// once.
    pub(crate) async fn call<E: Endpoint>(&self, endpoint: impl Fn() -> E + Send + Sync) -> Result<Answer, Error> {
        self.with_token(|caller| self.wire.build(caller, endpoint())).await
    }

    /// The same for what has no endpoint.
    pub(crate) async fn call_json(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, Error> {
        self.with_token(|caller| self.wire.build_json(caller, method.clone(), path, body)).await
    }

    async fn with_token(
        &self,
        build: impl Fn(&Caller<'_>) -> Result<Request, Error> + Send + Sync,
    ) -> Result<Answer, Error> {
        if self.wire.is_sealed() {
            return Err(self.wire.sealed());
        }
        let namespace = self.namespace.as_deref();
        let token = self.token();
        let text = token.as_ref().map(|token| token.text.as_str());
        let request = build(&Caller { token: text, namespace })?;
        let answer = self.wire.run(request).await?;
        if answer.status != 403 || token.is_none() || !self.is_rejected(text).await {
            return Ok(answer);
        }
        let Some(fresh) = self.replace(token.as_ref()).await? else { return Ok(answer) };
        let request = build(&Caller { token: Some(&fresh.text), namespace })?;
        self.wire.run(request).await
    }

    /// Whether it is the token that is refused, and not what it asked for.
    async fn is_rejected(&self, token: Option<&str>) -> bool {
        let caller = Caller { token, namespace: self.login.namespace.as_deref() };
        let looked = self.wire.send(&caller, LookupTokenSelfRequest {}).await;
        looked.is_ok_and(|answer| answer.status == 403)
    }

    /// Logs in anew, unless somebody has just done so.
    async fn replace(&self, rejected: Option<&Arc<Token>>) -> Result<Option<Arc<Token>>, Error> {
        let _turn = self.entrance.lock().await;
        let current = self.token();
        let same = matches!((&current, rejected), (Some(current), Some(rejected)) if Arc::ptr_eq(current, rejected));
        if !same {
            return Ok(current);
        }
        if let Method::Token(Source::Value(_)) = self.login.method {
            return Ok(None);
        }
        let fresh = self.log_in().await?;
        self.switch_to(fresh);
        Ok(self.token())
    }

    fn token(&self) -> Option<Arc<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn switch_to(&self, token: Option<Token>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token.map(Arc::new);
    }

    /// A new token; none if an agent adds its own.
    async fn log_in(&self) -> Result<Option<Token>, Error> {
        let caller = Caller { token: None, namespace: self.login.namespace.as_deref() };
        let trim = |engine: &str| engine.trim_matches('/').to_owned();
        let answer = match &self.login.method {
            Method::Agent => return Ok(None),
            Method::Token(source) => return self.look_up(self.read(source)?).await.map(Some),
            Method::AppRole { engine, id, secret } => {
                let (role_id, secret_id) = (id.clone(), secret.expose().to_owned());
                let login = approle::requests::LoginWithApproleRequest { mount: trim(engine), role_id, secret_id };
                self.wire.send(&caller, login).await?
            }
            Method::Kubernetes { engine, role, jwt } => {
                let (role, jwt) = (role.clone(), self.read(jwt)?.to_string());
                let login = kubernetes::requests::LoginWithKubernetesRequest { mount: trim(engine), role, jwt };
                self.wire.send(&caller, login).await?
            }
            Method::Certificate { engine, role } => {
                let login = cert::requests::LoginRequest { mount: trim(engine), cert_name: role.clone() };
                self.wire.send(&caller, login).await?
            }
        };
        if !answer.is_success() {
            let remedy = match self.login.method {
                Method::AppRole { .. } => "the login failed: check 'approle' (ID, secret, engine, namespace)",
                Method::Kubernetes { .. } => "the login failed: check 'kubernetes' (role, jwt, engine, namespace)",
                _ => "the login failed: check 'cert' (role, engine) and the client certificate of 'tls'",
            };
            return Err(self.refused(&answer, remedy));
        }
        self.granted(&answer).map(Some)
    }

    fn granted(&self, answer: &Answer) -> Result<Token, Error> {
        let granted = answer.parse::<Granted>().ok().and_then(|granted| granted.auth);
        let auth = granted.ok_or_else(|| self.refused(answer, "the login was answered without a token"))?;
        let ttl = Duration::from_secs(auth.lease_duration);
        Ok(Token { text: Zeroizing::new(auth.client_token), ttl, renewable: auth.renewable, ours: true })
    }

    /// What is known of a token that was given to us.
    async fn look_up(&self, text: Zeroizing<String>) -> Result<Token, Error> {
        let caller = Caller { token: Some(&text), namespace: self.login.namespace.as_deref() };
        let answer = self.wire.send(&caller, LookupTokenSelfRequest {}).await?;
        if !answer.is_success() {
            return Err(self.refused(&answer, "the token is not valid, or not in this namespace: check 'token'"));
        }
        let looked = answer.data::<Looked>().ok().flatten().unwrap_or(Looked { ttl: 0, renewable: None });
        let renewable = looked.renewable.unwrap_or(false);
        Ok(Token { text, ttl: Duration::from_secs(looked.ttl), renewable, ours: false })
    }

    fn read(&self, source: &Source) -> Result<Zeroizing<String>, Error> {
        let text = match source {
            Source::Value(secret) => Zeroizing::new(secret.expose().to_owned()),
            Source::File(path) => Zeroizing::new(std::fs::read_to_string(path).map_err(|why| Error::Failed {
                entry: path.display().to_string(),
                operation: Operation::Status,
                remedy: "the file with the token must be there and readable",
                source: Some(Arc::new(why)),
            })?),
        };
        Ok(Zeroizing::new(text.trim().to_owned()))
    }

    fn refused(&self, answer: &Answer, remedy: &'static str) -> Error {
        Error::Unauthorized { entry: self.describe(), remedy, source: Some(Arc::new(answer.refusal())) }
    }

    /// Asks for the state of the server and remembers whether it is sealed.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it cannot serve.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        let endpoint = ReadHealthRequest {
            standbyok: None,
            perfstandbyok: None,
            activecode: None,
            standbycode: Some(ANY_STATE),
            drsecondarycode: Some(ANY_STATE),
            haunhealthycode: None,
            performancestandbycode: Some(ANY_STATE),
            removedcode: Some(ANY_STATE),
            sealedcode: Some(ANY_STATE),
            uninitcode: Some(ANY_STATE),
        };
        // Health knows no namespaces: a request with the header is answered 404.
        let answer = self.wire.send(&Caller::default(), endpoint).await?;
        let Ok(health) = answer.parse::<Health>() else {
            let remedy = "its health route does not answer as Vault's does: check the endpoint";
            let source = Some(Arc::new(answer.refusal()) as _);
            return Err(Error::Unreachable { store: self.describe(), remedy, source });
        };
        self.wire.set_sealed(health.sealed);
        match health {
            Health { initialized: false, .. } => {
                let remedy = "it is not initialised: run 'vault operator init'";
                Err(Error::Unreachable { store: self.describe(), remedy, source: None })
            }
            Health { sealed: true, .. } => Err(self.wire.sealed()),
            _ => Ok(()),
        }
    }

    /// Renews the token; `None` if it cannot be renewed.
    async fn renew(&self, token: &Token) -> Option<Token> {
        if !token.renewable {
            return None;
        }
        // vaultrs has a tab in the path of this one.
        let caller = Caller { token: Some(&token.text), namespace: self.login.namespace.as_deref() };
        let body = json!({"increment": 0});
        let request = self.wire.build_json(&caller, http::Method::PUT, "auth/token/renew-self", Some(&body)).ok()?;
        let answer = self.wire.run(request).await.ok()?;
        let renewed = if answer.is_success() { self.granted(&answer).ok()? } else { return None };
        // Its days are numbered: what a renewal gives grows shorter towards the token's last day.
        (renewed.ttl * 2 >= token.ttl).then_some(Token { ours: token.ours, ..renewed })
    }

    /// Gives back a token that was made for us. Nothing is served after that.
    pub(crate) async fn close(&self) {
        self.stop();
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(token) = token.filter(|token| token.ours) {
            let caller = Caller { token: Some(&token.text), namespace: self.login.namespace.as_deref() };
            // It expires by itself if this does not arrive.
            let _ = self.wire.send(&caller, RevokeTokenSelfRequest {}).await;
        }
    }

    fn stop(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Renews or replaces the token at four fifths of its life, as long as the session is there.
async fn stay_logged_in(session: Weak<Session>) {
    let mut next = Duration::ZERO;
    loop {
        tokio::time::sleep(next).await;
        let Some(session) = session.upgrade() else { return };
        let Some(token) = session.token() else { return };
        if token.ttl.is_zero() {
            return; // it lives for ever
        }
        if next.is_zero() {
            next = (token.ttl * 4 / 5).max(FLOOR);
            continue;
        }
        if session.wire.is_sealed() {
            next = FLOOR;
            continue;
        }
        next = match prolong(&session, &token).await {
            Some(ttl) if ttl.is_zero() => return,
            Some(ttl) => (ttl * 4 / 5).max(FLOOR),
            None => RETRY,
        };
    }
}

/// The time that the token in use has now, or `None` if there is no better one to be had.
async fn prolong(session: &Session, token: &Arc<Token>) -> Option<Duration> {
    if let Some(renewed) = session.renew(token).await {
        let ttl = renewed.ttl;
        session.switch_to(Some(renewed));
        return Some(ttl);
    }
    let had = Instant::now();
    let fresh = {
        let _turn = session.entrance.lock().await;
        session.log_in().await.ok()??
    };
    let ttl = fresh.ttl;
    // A token of the same text is one that its owner has not replaced yet.
    if *fresh.text != *token.text {
        tokio::time::sleep((token.ttl / 10).min(REST)).await;
        session.switch_to(Some(fresh));
    } else if ttl <= token.ttl / 5 {
        return None;
    }
    Some(ttl.saturating_sub(had.elapsed()).max(FLOOR))
}

/// Notices that the server was sealed or unsealed before a request does.
async fn watch_the_seal(session: Weak<Session>, every: Duration) {
    loop {
        let sealed = session.upgrade().is_some_and(|session| session.wire.is_sealed());
        tokio::time::sleep(if sealed { every.min(FLOOR) } else { every }).await;
        let Some(session) = session.upgrade() else { return };
        // A look that fails leaves what was known.
        let _ = session.look().await;
    }
}
