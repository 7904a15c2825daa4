//! How requests get to Azure: trust, proxies, deadlines, and what is tried again.
//!
//! The SDK's clients and logins build requests and read answers; this is the transport beneath all of them. What is tried
//! again is decided here alone, because here it is known whether a request may have had an effect: one that makes or
//! deletes a secret is sent again only if it cannot have arrived, and who has sent it looks at what is there.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, HeaderValue, Headers};
use azure_core::http::{
    AsyncRawResponse, Body, ClientOptions, HttpClient, Method, Request, RetryOptions, Transport, Url,
};
use kes_keystore::http::{self as shared, SetupError, Tls};
use tokio::time::Instant;

use crate::session::Session;

/// How long an answer may take. Two fit into the deadline of a read: one that hangs is not the end.
const ATTEMPT: Duration = Duration::from_millis(4500);

/// How often something is tried, and how long the pauses between grow. Each is a random part of what it could be.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(150);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Nothing is tried again that would be answered later than this after the beginning: nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(9);

/// Longest answer that is read. A page of a list has 25 names, a value 25 KiB.
const MAX_ANSWER: usize = 1 << 20;

/// The ways out of this process.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Ways>);

struct Ways {
    /// To Azure, through the proxy if there is one.
    outside: reqwest::Client,
    /// To the services next to us that know who we are.
    local: reqwest::Client,
    /// Where tokens may go.
    vault: Url,
    session: OnceLock<Weak<Session>>,
    throttled: AtomicU64,
}

/// Why there is no answer. The remedy is for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no connection")]
    Connection(#[source] reqwest::Error),
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    #[error("no answer within {ATTEMPT:?}")]
    Late,
    #[error("the answer of HTTP status {0} is not one of Key Vault")]
    Nonsense(u16),
    #[error("a link leads from the vault to another host, '{0}'")]
    Elsewhere(String),
}

impl NoAnswer {
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Connection(_) | Self::Broken(_) => {
                "check the endpoint, the network, the proxy (HTTPS_PROXY, NO_PROXY) and the trusted certificates \
                 (SSL_CERT_FILE, SSL_CERT_DIR, 'tls.ca')"
            }
            Self::Late => "it does not answer in time: check the network and its load",
            Self::Nonsense(_) | Self::Elsewhere(_) => {
                "what answers does not answer as Key Vault does: check the endpoint and the proxy"
            }
        }
    }

    /// The request cannot have had an effect.
    const fn is_unsent(&self) -> bool {
        matches!(self, Self::Connection(_))
    }
}

/// How a request is treated.
#[derive(Clone, Copy)]
struct Rules {
    /// Sending it again does no harm, whether or not it has arrived.
    repeats: bool,
    /// Whatever is answered is an answer.
    any: bool,
}

/// What was answered, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn retry_after(&self) -> Option<Duration> {
        let header = |name| self.headers.get_optional_str(&HeaderName::from_static(name))?.trim().parse::<f64>().ok();
        let seconds = match header("retry-after-ms").or_else(|| header("x-ms-retry-after-ms")) {
            Some(milliseconds) => Some(milliseconds / 1000.0),
            None => header("retry-after"),
        };
        seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// A success of Azure is JSON, or nothing.
    fn is_sound(&self) -> bool {
        self.status != 200 || serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
    }

    fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

impl Wire {
    /// # Errors
    /// If the trusted roots cannot be read.
    pub(crate) fn new(vault: Url, tls: &Tls) -> Result<Self, SetupError> {
        let outside = shared::client(tls)?;
        let local = shared::builder(tls)?.no_proxy().build().map_err(SetupError::Client)?;
        Ok(Self(Arc::new(Ways { outside, local, vault, session: OnceLock::new(), throttled: AtomicU64::new(0) })))
    }

    /// Who is to know when a token is refused.
    pub(crate) fn tell(&self, session: &Arc<Session>) {
        let _ = self.0.session.set(Arc::downgrade(session));
    }

    /// For clients of the SDK.
    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(self.clone()))),
            ..ClientOptions::default()
        }
    }

    /// How many requests were answered that they were too many.
    pub(crate) fn throttled(&self) -> u64 {
        self.0.throttled.load(Ordering::Relaxed)
    }

    /// Asks the vault without a token; whatever is answered, it is there.
    pub(crate) async fn probe(&self) -> Result<(), NoAnswer> {
        let request = self.0.outside.get(self.0.vault.clone());
        self.run(&request, Rules { repeats: true, any: true }).await.map(drop)
    }

    /// Asks a service next to us.
    pub(crate) async fn ask_local(&self, url: Url, headers: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
        let mut request = self.0.local.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(&request, Rules { repeats: true, any: false }).await
    }

    /// Asks it once, for a short time: there may be none. `None` if that was not enough to know.
    pub(crate) async fn is_there(&self, url: Url, patience: Duration) -> Option<bool> {
        let asked = tokio::time::timeout(patience, self.0.local.get(url).send()).await;
        asked.ok().map(|answered| answered.is_ok())
    }

    async fn run(&self, request: &reqwest::RequestBuilder, rules: Rules) -> Result<Answer, NoAnswer> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let request = request.try_clone().expect("the body is bytes");
            let outcome = match tokio::time::timeout(ATTEMPT, once(request)).await {
                Ok(Ok(answer)) if !rules.any && !answer.is_sound() => Err(NoAnswer::Nonsense(answer.status)),
                Ok(outcome) => outcome,
                Err(_) => Err(NoAnswer::Late),
            };
            if matches!(&outcome, Ok(answer) if answer.status == 429) {
                self.0.throttled.fetch_add(1, Ordering::Relaxed);
            }
            let (again, asked) = match &outcome {
                Ok(_) if rules.any => return outcome,
                Ok(answer) if answer.status == 429 => (true, answer.retry_after()),
                Ok(answer) => (rules.repeats && answer.is_passing(), answer.retry_after()),
                Err(none) => (rules.repeats || none.is_unsent(), None),
            };
            let wait = asked.unwrap_or_else(|| part_of(pause));
            // Who asks whether it is there wants to know now, and asks again.
            let attempts = if rules.any { 2 } else { ATTEMPTS };
            if !again || attempt == attempts || started.elapsed() + wait > PATIENCE {
                return outcome;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }
}

async fn once(request: reqwest::RequestBuilder) -> Result<Answer, NoAnswer> {
    let unanswered = |why: reqwest::Error| match why.is_connect() {
        true => NoAnswer::Connection(why.without_url()),
        false => NoAnswer::Broken(why.without_url()),
    };
    let mut response = request.send().await.map_err(unanswered)?;
    let status = response.status().as_u16();
    let mut headers = Headers::new();
    for (name, value) in response.headers() {
        if let Ok(value) = value.to_str() {
            headers.insert(name.as_str().to_owned(), HeaderValue::from(value.to_owned()));
        }
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(NoAnswer::Nonsense(status));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// Between half and all of it, so that many who wait do not come back at once.
fn part_of(pause: Duration) -> Duration {
    let mut byte = [0x80];
    // Without random bytes it is as good as before.
    let _ = kes_crypto::random(&mut byte);
    pause / 2 + pause.mul_f64(f64::from(byte[0]) / 512.0)
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let token = request.headers().get_optional_str(&AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer "));
        let no_answer = |why: NoAnswer| {
            let message = why.to_string();
            azure_core::Error::with_error(ErrorKind::Io, why, message)
        };
        if token.is_some() && request.url().origin() != self.0.vault.origin() {
            let host = request.url().host_str().unwrap_or_default().to_owned();
            return Err(no_answer(NoAnswer::Elsewhere(host)));
        }
        let Body::Bytes(body) = request.body() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "the body of a request is no stream"));
        };
        let mut copy = self.0.outside.request(method(request.method()), request.url().clone()).body(body.clone());
        for (name, value) in request.headers().iter() {
            copy = copy.header(name.as_str(), value.as_str());
        }
        let repeats = is_harmless_twice(request.method(), request.url().path());
        let answer = self.run(&copy, Rules { repeats, any: false }).await.map_err(no_answer)?;
        if (answer.status, token.is_some()) == (401, true)
            && let (Some(session), Some(token)) = (self.0.session.get().and_then(Weak::upgrade), token)
        {
            session.refused(token);
        }
        Ok(AsyncRawResponse::from_bytes(answer.status.into(), answer.headers, answer.body))
    }
}

/// Whether nothing is lost if a request arrives twice and somebody else does something in between: what he has made under
/// the same name is neither replaced nor deleted. A purge takes nothing that is not deleted.
fn is_harmless_twice(method: Method, path: &str) -> bool {
    match method {
        Method::Put => false,
        Method::Delete => path.starts_with("/deletedsecrets/"),
        _ => true,
    }
}

fn method(method: Method) -> reqwest::Method {
    method.as_str().parse().expect("the SDK's methods are those of HTTP")
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.0.vault.as_str()).finish()
    }
}
