//! How requests get to AWS: trust, proxies, deadlines, and what is tried again.
//!
//! Trust: the roots in the file or folder of `AWS_CA_BUNDLE`, else the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
//! Proxies: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`; never for the metadata services of a machine or container, which are
//! reached from there alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kms::config::interceptors::{FinalizerInterceptorContextRef, InterceptorContext};
use aws_sdk_kms::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use kes_keystore::http::{SetupError, root_certificates};

use crate::failure::Refusal;
use crate::session::Session;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an answer may take. Two fit into the deadline of a read: one that hangs is not the end.
const ATTEMPT: Duration = Duration::from_millis(4500);

/// How long an unused connection is kept: shorter than AWS and the proxies on the way keep it.
const IDLE: Duration = Duration::from_secs(10);

/// How often something is tried, and how long the pauses between grow. Each is a random part of what it could be.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(150);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often it is looked whether anything answers.
const PROBES: u32 = 3;

/// Error codes of a service that has too much to do. Not `LimitExceededException`: that is a quota, and stays.
pub(crate) const THROTTLED: [&str; 8] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
];

/// Error codes for an access key that has ended, or that the service does not know (any more).
pub(crate) const KEY_REFUSED: [&str; 6] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
];

/// The ways out of this process.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    /// To AWS, through the proxy if there is one.
    pub(crate) outside: SharedHttpClient,
    /// To the metadata services next to us.
    pub(crate) local: SharedHttpClient,
    probe: Arc<Connector>,
}

impl Wire {
    /// # Errors
    /// If the trusted roots cannot be read.
    pub(crate) fn new() -> Result<Self, SetupError> {
        let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        let roots = root_certificates(bundle.as_deref().map(Path::new))?;
        let trust = TrustStore::empty().with_native_roots(false);
        let trust = if roots.is_empty() { trust } else { trust.with_pem_certificate(roots) };
        let tls = TlsContext::builder().with_trust_store(trust).build().expect("nothing in it can be wrong");
        let client = |proxy: fn() -> ProxyConfig| {
            let tls = tls.clone();
            Builder::new().build_with_connector_fn(move |settings, _| connector(&tls, proxy(), settings))
        };
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).read_timeout(ATTEMPT).build();
        let probe = Arc::new(connector(&tls, ProxyConfig::from_env(), Some(&settings)));
        Ok(Self { outside: client(ProxyConfig::from_env), local: client(ProxyConfig::disabled), probe })
    }

    /// Asks an address without credentials, several times if need be; whatever is answered, it is there.
    pub(crate) async fn probe(&self, url: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..PROBES {
            if self.probe.call(HttpRequest::get(url)?).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(self.probe.call(HttpRequest::get(url)?).await.map(drop)?)
    }
}

fn connector(tls: &TlsContext, proxy: ProxyConfig, settings: Option<&HttpConnectorSettings>) -> Connector {
    let settings = settings.cloned().unwrap_or_default();
    Connector::builder()
        .connector_settings(settings)
        .pool_idle_timeout(IDLE)
        .proxy_config(proxy)
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(tls.clone())
        .build()
}

pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE)
}

pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build()
}

/// What is tried again beyond what the SDK tries again by itself, and the count of what was throttled.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    session: Arc<Session>,
    throttled: Arc<AtomicU64>,
}

impl Judge {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, throttled: Arc::default() }
    }

    /// How many requests were answered that they were too many.
    pub(crate) fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }
}

/// What a failed attempt was answered: status and code.
fn refusal(response: Option<&HttpResponse>) -> Option<(u16, Option<String>)> {
    response.map(|response| (response.status().as_u16(), error_code(response)))
}

fn is_throttled(status: u16, code: Option<&str>) -> bool {
    status == 429 || code.is_some_and(|code| THROTTLED.contains(&code))
}

impl ClassifyRetry for Judge {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        let failed = attempt.output_or_error().is_some_and(|outcome| outcome.is_err());
        let Some((status, code)) = refusal(attempt.response().filter(|_| failed)) else {
            return RetryAction::NoActionIndicated;
        };
        if is_throttled(status, code.as_deref()) {
            return RetryAction::throttling_error();
        }
        let refused = code.as_deref().is_some_and(|code| KEY_REFUSED.contains(&code));
        if refused && self.session.is_replaced() {
            return RetryAction::transient_error();
        }
        // Without a code it is not AWS that answers but something on the way. Every call may be repeated.
        if code.is_none() || status >= 500 {
            return RetryAction::transient_error();
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "kes"
    }
}

impl Intercept for Judge {
    fn name(&self) -> &'static str {
        "kes"
    }

    fn read_after_attempt(
        &self,
        attempt: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let failed = attempt.output_or_error().is_some_and(|outcome| outcome.is_err());
        let answer = refusal(attempt.response().filter(|_| failed));
        if answer.is_some_and(|(status, code)| is_throttled(status, code.as_deref())) {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Leaves to the caller what is sent again: for calls of which a second one may do harm if the first was done.
#[derive(Debug)]
pub(crate) struct Once;

impl ClassifyRetry for Once {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        let failed = attempt.output_or_error().is_some_and(|outcome| outcome.is_err());
        match refusal(attempt.response()) {
            _ if !failed => RetryAction::NoActionIndicated,
            Some((status, code)) if is_throttled(status, code.as_deref()) => RetryAction::RetryForbidden,
            // Nothing was done: our key was refused, and may be replaced.
            Some((400..500, Some(_))) => RetryAction::NoActionIndicated,
            _ => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "once"
    }
}

/// How long to wait after this many attempts of what [`Once`] leaves to us; none if they were enough.
pub(crate) fn pause(attempts: u32) -> Option<Duration> {
    (attempts < ATTEMPTS).then(|| (FIRST_PAUSE * 2_u32.pow(attempts)).min(LONGEST_PAUSE))
}

/// The code of an answer that is an error, without the namespace before it and the address behind it.
fn error_code(response: &HttpResponse) -> Option<String> {
    let json = || {
        let body: serde_json::Value = serde_json::from_slice(response.body().bytes()?).ok()?;
        Some(body.get("__type").or_else(|| body.get("code"))?.as_str()?.to_owned())
    };
    let xml = || Some(xml_error(response)?.code);
    let code = response.headers().get("x-amzn-errortype").map(ToOwned::to_owned).or_else(json).or_else(xml)?;
    let code = code.split_once(':').map_or(code.as_str(), |(code, _)| code);
    Some(code.rsplit('#').next().unwrap_or(code).to_owned())
}

/// An error as the older services of AWS answer it, which what stands before the newer ones may do as well.
pub(crate) fn xml_error(response: &HttpResponse) -> Option<Refusal> {
    let body = std::str::from_utf8(response.body().bytes()?).ok()?;
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
    };
    Some(Refusal { code: element("Code")?, message: element("Message").unwrap_or_default() })
}
