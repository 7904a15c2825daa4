//! Requests on the wire: built from vaultrs's endpoints, sent and judged here.
//!
//! vaultrs knows paths, methods and bodies. Its own client is left aside: it reads `VAULT_*` variables unasked, merges
//! authorities into the system's, loses the status and body of an answer (which tell a deleted entry from one that never
//! was), and copies tokens into what it prints.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kes_keystore::{Error, Operation, http as shared};
use reqwest::Url;
use rustify::Endpoint;
use serde::de::DeserializeOwned;
use vaultrs::api::EndpointMiddleware;
use zeroize::Zeroizing;

use crate::config::Server;

/// Longest answer that is read: a list of some 400,000 names.
const MAX_ANSWER: usize = 32 << 20;

/// Tries of one call, and how long to wait before the second and the third.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1000)];

/// The connection to one server.
pub(crate) struct Wire {
    http: reqwest::Client,
    base: String,
    /// As far as the last look told.
    sealed: AtomicBool,
}

/// What an answer says.
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: Zeroizing<Vec<u8>>,
}

/// A request that can be sent several times.
pub(crate) type Request = http::Request<Vec<u8>>;

/// Who asks: a token and a namespace.
#[derive(Default)]
pub(crate) struct Caller<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
}

/// What Vault says when it refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    errors: Vec<String>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.status)?;
        for error in &self.errors {
            write!(f, ": {}", error.trim())?;
        }
        Ok(())
    }
}

/// The envelope of every answer.
#[derive(serde::Deserialize)]
struct Envelope<T> {
    data: Option<T>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.status, 200 | 204)
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The member `data`, if there is one that is not null.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        if self.body.is_empty() {
            return Ok(None);
        }
        Ok(self.parse::<Envelope<T>>()?.data)
    }

    /// Vault's own words.
    pub(crate) fn refusal(&self) -> Refusal {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        let errors = self.parse::<Errors>().map(|body| body.errors).unwrap_or_default();
        Refusal { status: self.status, errors }
    }

    pub(crate) fn says(&self, words: &str) -> bool {
        self.refusal().errors.iter().any(|error| error.contains(words))
    }
}

impl Wire {
    pub(crate) fn new(server: &Server) -> Result<Self, Error> {
        let fault = |remedy, source| Error::Failed {
            entry: describe(&server.endpoint),
            operation: Operation::Status,
            remedy,
            source: Some(source),
        };
        let url = Url::parse(server.endpoint.trim_end_matches('/'))
            .map_err(|why| fault("write the endpoint as https://host:8200", std::sync::Arc::new(why) as _))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            let why = std::io::Error::other(format!("the scheme of the endpoint is '{}'", url.scheme()));
            return Err(fault("write the endpoint as https://host:8200", std::sync::Arc::new(why)));
        }
        let http = shared::client(&server.tls)
            .map_err(|why| fault("mend 'tls' of the key store", std::sync::Arc::new(why) as _))?;
        Ok(Self { http, base: url.as_str().trim_end_matches('/').to_owned(), sealed: AtomicBool::new(false) })
    }

    /// The store as errors and the banner name it.
    pub(crate) fn describe(&self) -> String {
        describe(&self.base)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Relaxed);
    }

    /// The request of an endpoint of vaultrs.
    pub(crate) fn build<E: Endpoint>(&self, caller: &Caller<'_>, endpoint: E) -> Result<Request, Error> {
        let middleware = EndpointMiddleware {
            token: caller.token.unwrap_or_default().to_owned(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: caller.namespace.map(ToOwned::to_owned),
        };
        let built = endpoint.with_middleware(&middleware).request(&self.base);
        drop(Zeroizing::new(middleware.token));
        built.map_err(|why| self.unbuilt(why))
    }

    /// The request for what vaultrs has no endpoint for, or a wrong one: `path` without `/v1/`.
    pub(crate) fn build_json(
        &self,
        caller: &Caller<'_>,
        method: http::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Request, Error> {
        let mut request = http::Request::builder().method(method).uri(format!("{}/v1/{path}", self.base));
        request = request.header("X-Vault-Request", "true");
        if let Some(token) = caller.token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(namespace) = caller.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let body = body.map(ToString::to_string).unwrap_or_default().into_bytes();
        request.body(body).map_err(|why| self.unbuilt(why))
    }

    /// Sends an endpoint of vaultrs.
    pub(crate) async fn send<E: Endpoint>(&self, caller: &Caller<'_>, endpoint: E) -> Result<Answer, Error> {
        let request = self.build(caller, endpoint)?;
        self.run(request).await
    }

    /// Tries again what a passing trouble has stopped. Every call may be repeated: what creates checks what is there.
    pub(crate) async fn run(&self, request: Request) -> Result<Answer, Error> {
        let (head, body) = request.into_parts();
        let body = bytes::Bytes::from_owner(Zeroizing::new(body));
        let mut pauses = PAUSES.into_iter();
        loop {
            let request = http::Request::from_parts(head.clone(), body.clone());
            let outcome = self.once(request).await;
            let passing = match &outcome {
                Ok(answer) => matches!(answer.status, 412 | 429 | 500 | 502..=599) && !answer.says("sealed"),
                Err(_) => true,
            };
            let Some(pause) = pauses.next().filter(|_| passing) else { return self.judge(outcome) };
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, request: http::Request<bytes::Bytes>) -> Result<Answer, reqwest::Error> {
        let mut response = self.http.execute(reqwest::Request::try_from(request)?).await?;
        let status = response.status().as_u16();
        let mut body = Zeroizing::new(Vec::with_capacity(response.content_length().unwrap_or(0).min(1 << 20) as usize));
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                break; // what is cut short cannot be read as JSON, and is refused as such
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }

    /// A server that is sealed or cannot be reached is out; every other answer is for whoever asked.
    fn judge(&self, outcome: Result<Answer, reqwest::Error>) -> Result<Answer, Error> {
        match outcome {
            Ok(answer) if answer.status == 503 && answer.says("sealed") => {
                self.set_sealed(true);
                Err(self.sealed())
            }
            Ok(answer) if answer.status == 503 || answer.says("active cluster node not found") => {
                let remedy = "its cluster has no active node at the moment";
                Err(self.unreachable(remedy, std::sync::Arc::new(answer.refusal())))
            }
            Ok(answer) => Ok(answer),
            Err(why) => {
                let remedy = "check that the server runs at this endpoint, its certificate, and the network";
                Err(self.unreachable(remedy, std::sync::Arc::new(why.without_url())))
            }
        }
    }

    pub(crate) fn sealed(&self) -> Error {
        Error::Unreachable { store: self.describe(), remedy: "it is sealed: unseal it", source: None }
    }

    fn unreachable(&self, remedy: &'static str, source: kes_keystore::Cause) -> Error {
        Error::Unreachable { store: self.describe(), remedy, source: Some(source) }
    }

    fn unbuilt(&self, why: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Failed {
            entry: self.describe(),
            operation: Operation::Status,
            remedy: "a path or namespace in the configuration cannot stand in a request",
            source: Some(std::sync::Arc::new(why)),
        }
    }
}

/// Without the user name and password that a URL may hold.
fn describe(endpoint: &str) -> String {
    let shown = Url::parse(endpoint).ok().and_then(|mut url| {
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(url.as_str().trim_end_matches('/').to_owned())
    });
    format!("Hashicorp Vault: {}", shown.as_deref().unwrap_or("?"))
}
