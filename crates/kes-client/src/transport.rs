//! One request to one endpoint, over reqwest.
//!
//! The HTTP client is rebuilt when its certificate is renewed or its files changed: a new one has no pooled connection
//! and no TLS session of the old identity. Requests in flight finish on the old one.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use reqwest::{Method, Response};
use time::OffsetDateTime;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::credentials::{Credentials, Loaded};
use crate::endpoint::Endpoint;
use crate::error::Cause;
use crate::retry::{Exchange, Failed};
use crate::tls::{self, Observed, Trust};
use crate::{BuildError, Error};

/// Longest answer that is read, in bytes; the official clients stop there too.
pub(crate) const MAX_ANSWER: usize = 1 << 20;

/// How often certificate files are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(60);

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// `None` for a route without body.
    pub(crate) body: Option<Bytes>,
    /// Sending it twice does no more than sending it once.
    pub(crate) repeatable: bool,
    /// The answer is an endless stream, whose first byte may take any time.
    pub(crate) streams: bool,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, repeatable: true, streams: false }
    }

    /// A request with a body. It is wiped when the last try is over.
    pub(crate) fn with_body(method: Method, path: String, body: Vec<u8>) -> Self {
        let body = Some(Bytes::from_owner(Zeroizing::new(body)));
        Self { method, path, body, repeatable: true, streams: false }
    }

    /// What errors call it: `Get "https://host:port/path"`, as the old client's texts do.
    pub(crate) fn call(&self, endpoint: &Endpoint) -> String {
        let method = self.method.as_str();
        format!("{}{} \"{}\"", &method[..1], method[1..].to_ascii_lowercase(), endpoint.url(&self.path))
    }
}

/// Settings of the HTTP client that stay the same when it is rebuilt.
pub(crate) struct Settings {
    pub(crate) credentials: Credentials,
    pub(crate) trust: Trust,
    pub(crate) connect: Duration,
    pub(crate) proxy: bool,
}

/// The HTTP client in use, and when to replace it.
pub(crate) struct Transport {
    settings: Settings,
    current: Mutex<Arc<Current>>,
    looked: Mutex<Instant>,
}

pub(crate) struct Current {
    http: reqwest::Client,
    pub(crate) loaded: Loaded,
    pub(crate) observed: Arc<Observed>,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Result<Self, BuildError> {
        let current = Mutex::new(Arc::new(Current::build(&settings)?));
        Ok(Self { settings, current, looked: Mutex::new(Instant::now()) })
    }

    /// Reads all files again and begins with fresh connections.
    pub(crate) fn reload(&self) -> Result<(), BuildError> {
        let fresh = Arc::new(Current::build(&self.settings)?);
        *self.current.lock().expect("nothing panics while holding it") = fresh;
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.lock().expect("nothing panics while holding it"))
    }

    /// The client to use now. A certificate that is due is renewed, changed files are read; if that fails (a rotation
    /// may be half done), the old one goes on and the next look tries again.
    fn fresh(&self) -> Arc<Current> {
        let current = self.current();
        if self.is_due(&current) && self.reload().is_ok() {
            return self.current();
        }
        current
    }

    fn is_due(&self, current: &Current) -> bool {
        let mut looked = self.looked.lock().expect("nothing panics while holding it");
        if looked.elapsed() < LOOK_AT_FILES {
            return false;
        }
        *looked = Instant::now();
        drop(looked);
        current.loaded.is_due(&self.settings.credentials, OffsetDateTime::now_utc())
    }

    async fn send(&self, endpoint: &Endpoint, request: &Request) -> Result<(Response, Arc<Current>), Failed> {
        let current = self.fresh();
        let mut builder = current.http.request(request.method.clone(), endpoint.url(&request.path));
        builder = match &request.body {
            Some(body) => builder.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None if request.method == Method::GET => builder,
            None => builder.header(CONTENT_LENGTH, HeaderValue::from_static("0")),
        };
        match builder.send().await {
            Ok(response) => Ok((response, current)),
            Err(error) => Err(failed(error, endpoint, request, &current)),
        }
    }
}

impl Current {
    fn build(settings: &Settings) -> Result<Self, BuildError> {
        let loaded = settings.credentials.load(OffsetDateTime::now_utc())?;
        let (config, observed) = tls::client_config(&settings.trust, loaded.resolver())?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            .connect_timeout(settings.connect)
            .pool_idle_timeout(Duration::from_secs(80)) // the server closes idle connections after 90 s
            .tcp_keepalive(Duration::from_secs(30))
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::custom(same_origin))
            .user_agent(concat!("kes-client/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if settings.proxy
            && let Some(proxy) = proxy_from_environment()?
        {
            builder = builder.proxy(proxy);
        }
        let http = builder.build().map_err(|error| BuildError::Http(Cause::of(error)))?;
        Ok(Self { http, loaded, observed })
    }
}

/// Redirects (old servers answer lists without a slash with one) are followed on the same server only: a plaintext or
/// key must not travel to whom a redirect names.
fn same_origin(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let same = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= 10 { attempt.follow() } else { attempt.stop() }
}

/// `HTTPS_PROXY` and `NO_PROXY`, in upper or lower case, as Go programs read them: loopback is never proxied.
fn proxy_from_environment() -> Result<Option<reqwest::Proxy>, BuildError> {
    let read = |names: [&str; 2]| names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|v| !v.is_empty());
    let Some(url) = read(["HTTPS_PROXY", "https_proxy"]) else { return Ok(None) };
    let not_for = format!("{},localhost,127.0.0.0/8,::1", read(["NO_PROXY", "no_proxy"]).unwrap_or_default());
    let proxy = reqwest::Proxy::https(url).map_err(|error| BuildError::Http(Cause::of(error)))?;
    Ok(Some(proxy.no_proxy(reqwest::NoProxy::from_string(&not_for))))
}

/// Turns reqwest's error into ours, and says whether the request may have reached the server.
fn failed(error: reqwest::Error, endpoint: &Endpoint, request: &Request, current: &Current) -> Failed {
    let call = request.call(endpoint);
    if let Some(problem) = tls::diagnose(&error, &call, endpoint, current.loaded.identity(), &current.observed) {
        // The peer has refused the connection itself: nothing was carried out, and a second try changes nothing.
        return Failed { error: Error::Tls(Box::new(problem)), sent: false, passing: false };
    }
    let sent = !error.is_connect() && !error.is_builder();
    let passing = !error.is_builder() && !error.is_redirect();
    let connecting = error.is_connect();
    let source = Cause::of(error.without_url());
    let source = if connecting { source.dialing(endpoint) } else { source };
    Failed { error: Error::Connection { call, source }, sent, passing }
}

/// A whole answer, at most 1 MiB.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// The server's clock, as it stands in the header.
    pub(crate) date: Option<String>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Exchange for Transport {
    type Answer = Answer;

    async fn exchange(&self, endpoint: &Endpoint, request: &Request) -> Result<Answer, Failed> {
        let (response, current) = self.send(endpoint, request).await?;
        read_whole(response, &request.call(endpoint))
            .await
            .map_err(|error| error.unwrap_or_else(|error| failed(error, endpoint, request, &current)))
    }

    fn status(answer: &Answer) -> u16 {
        answer.status
    }
}

/// Reads the body. The error is ours where the answer is too long, else reqwest's.
async fn read_whole(mut response: Response, call: &str) -> Result<Answer, Result<Failed, reqwest::Error>> {
    let (status, content_type, date) = head(&response);
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
    // Room for everything at once: a buffer that grows would leave parts of a plaintext behind.
    let mut body = Zeroizing::new(Vec::with_capacity(expected.unwrap_or(4096).min(MAX_ANSWER)));
    while let Some(chunk) = response.chunk().await.map_err(Err)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            let source = Cause::text("it is longer than 1 MiB");
            let error = Error::Answer { call: call.to_owned(), source };
            return Err(Ok(Failed { error, sent: true, passing: false }));
        }
        append(&mut body, &chunk);
    }
    Ok(Answer { status, content_type, date, body })
}

fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.len() + chunk.len() > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity((body.len() + chunk.len()) * 2));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

fn head(response: &Response) -> (u16, String, Option<String>) {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    (response.status().as_u16(), header(CONTENT_TYPE).unwrap_or_default(), header(DATE))
}

/// The same transport for answers without an end: the body is left to the caller, unless the answer is a refusal.
pub(crate) struct Streaming<'t>(pub(crate) &'t Transport);

pub(crate) enum Opened {
    Stream(Response),
    Refused(Answer),
}

impl Exchange for Streaming<'_> {
    type Answer = Opened;

    async fn exchange(&self, endpoint: &Endpoint, request: &Request) -> Result<Opened, Failed> {
        let (response, current) = self.0.send(endpoint, request).await?;
        if response.status().as_u16() == 200 {
            return Ok(Opened::Stream(response));
        }
        read_whole(response, &request.call(endpoint))
            .await
            .map(Opened::Refused)
            .map_err(|error| error.unwrap_or_else(|error| failed(error, endpoint, request, &current)))
    }

    fn status(answer: &Opened) -> u16 {
        match answer {
            Opened::Stream(_) => 200,
            Opened::Refused(answer) => answer.status,
        }
    }
}

/// Walks the causes of an error, through the `io::Error`s that hide theirs.
pub(crate) fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let hidden = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        hidden.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}
