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
use aws_sdk_kms::config::SharedHttpClient;
use aws_sdk_kms::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kms::config::interceptors::InterceptorContext;
use aws_sdk_kms::config::retry::{ClassifyRetry, RetryAction};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use kes_keystore::http::{SetupError, root_certificates};

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

    /// Asks an address without credentials; whatever is answered, it is there.
    pub(crate) async fn probe(&self, url: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let request = HttpRequest::get(url)?;
        let answer: HttpResponse = self.probe.call(request).await?;
        drop(answer);
        Ok(())
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

impl ClassifyRetry for Judge {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        let failed = attempt.output_or_error().is_some_and(|outcome| outcome.is_err());
        let Some(response) = attempt.response().filter(|_| failed) else { return RetryAction::NoActionIndicated };
        let code = error_code(response);
        let status = response.status().as_u16();
        let known = |codes: &[&str]| code.as_deref().is_some_and(|code| codes.contains(&code));
        if status == 429 || known(&THROTTLED) {
            self.throttled.fetch_add(1, Ordering::Relaxed);
            return RetryAction::throttling_error();
        }
        if known(&KEY_REFUSED) && key_of(attempt).is_some_and(|key| self.session.is_replaced(key)) {
            return RetryAction::transient_error();
        }
        // Not an answer of AWS: something on the way made it up. Every call may be repeated.
        if code.is_none() || status >= 500 {
            return RetryAction::transient_error();
        }
        RetryAction::NoActionIndicated
    }

    fn name(&self) -> &'static str {
        "kes"
    }
}

/// The code of an answer that is an error, without the namespace before it and the address behind it.
fn error_code(response: &HttpResponse) -> Option<String> {
    let body = || {
        let body: serde_json::Value = serde_json::from_slice(response.body().bytes()?).ok()?;
        Some(body.get("__type").or_else(|| body.get("code"))?.as_str()?.to_owned())
    };
    let code = response.headers().get("x-amzn-errortype").map(ToOwned::to_owned).or_else(body)?;
    let code = code.split_once(':').map_or(code.as_str(), |(code, _)| code);
    Some(code.rsplit('#').next().unwrap_or(code).to_owned())
}

/// The ID of the access key that a request was signed with.
fn key_of(attempt: &InterceptorContext) -> Option<&str> {
    let header = attempt.request()?.headers().get("authorization")?;
    header.split_once("Credential=")?.1.split('/').next()
}
