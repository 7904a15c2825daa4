//! Why there are no credentials.
//!
//! Whether a source has refused or is away decides whether cached keys serve on. Its errors do not tell: each source has its
//! own, and some are text in the end. So it is watched on the way whether what was asked last has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::config::http::HttpRequest;
use aws_sdk_kms::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};

use crate::failure::Told;
use crate::wire::THROTTLED;

/// Why there are no credentials, for all who wait for them.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Lack {
    /// There is no source.
    #[error("{0}")]
    Nowhere(Told),
    /// There is a source, which cannot be asked now.
    #[error("{0}")]
    Away(Told),
    /// There is a source, which gives none.
    #[error("{0}")]
    Refused(Told),
}

impl Lack {
    pub(crate) fn nowhere(why: &CredentialsError) -> Self {
        Self::Nowhere(Told::of(why))
    }

    pub(crate) fn away(why: &str) -> Self {
        Self::Away(Told::new(why))
    }

    /// Unless that was for there being too many requests.
    pub(crate) fn refused(why: &CredentialsError) -> Self {
        let told = Told::of(why);
        let text = told.to_string();
        match THROTTLED.iter().any(|code| text.contains(code)) {
            true => Self::Away(told),
            false => Self::Refused(told),
        }
    }
}

/// What has become of the requests to sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// The last request has no answer (yet), or one of something that has failed.
    away: Arc<AtomicBool>,
    answered: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// A client that is watched.
    pub(crate) fn over(&self, client: &SharedHttpClient) -> Watched<SharedHttpClient> {
        Watched { inner: client.clone(), watch: self.clone() }
    }
}

/// A client, or a connector of one, that is watched.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    watch: Watch,
}

impl HttpClient for Watched<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Watched { inner, watch: self.watch.clone() })
    }
}

impl HttpConnector for Watched<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (call, watch) = (self.inner.call(request), self.watch.clone());
        watch.away.store(true, Ordering::Relaxed);
        HttpConnectorFuture::new(async move {
            let answer = call.await;
            let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            watch.answered.fetch_or(status.is_some(), Ordering::Relaxed);
            watch.away.store(status.is_none_or(|status| status == 429 || status >= 500), Ordering::Relaxed);
            answer
        })
    }
}
