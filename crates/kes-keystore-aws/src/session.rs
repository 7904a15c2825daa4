//! Being somebody to AWS: credentials from the first source that has some, replaced before they end.
//!
//! The order is that of the old server: environment, web identity (a token file and a role), profile, container, instance.
//! Temporary credentials are replaced in the background once a part of their life is over, while the old ones still serve;
//! a source that fails then is asked again, and only credentials that have really ended are waited for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::time::Instant;

use crate::config;
use crate::wire::{Wire, retries};

/// How long before their end credentials are replaced: at most this, and at most a third of their life.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// How long to wait after a replacement that failed, while the old credentials serve.
const RETRY: Duration = Duration::from_secs(2);

/// How long all sources together may take.
const SEARCH: Duration = Duration::from_secs(8);

/// The source of credentials, and those in use.
pub(crate) struct Session {
    source: Source,
    state: Mutex<State>,
    /// Held while a source is asked, so that many who wait ask once.
    turn: tokio::sync::Mutex<()>,
}

enum Source {
    Fixed(Credentials),
    Found(Box<Place>),
}

/// Where sources are looked for.
struct Place {
    wire: Wire,
    region: Option<Region>,
    fips: Option<bool>,
    dual_stack: Option<bool>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    /// The ID of the key that was in use before.
    before: Option<String>,
    /// Do not try to replace what serves before this.
    not_before: Option<Instant>,
}

#[derive(Clone)]
struct Held {
    credentials: Credentials,
    since: Instant,
    /// When to look for others; none for those that do not end.
    replace_at: Option<SystemTime>,
}

impl Session {
    pub(crate) fn fixed(credentials: &config::Credentials) -> Arc<Self> {
        let config::Credentials { access_key, secret_key, token } = credentials;
        let token = token.as_ref().map(|token| token.expose().to_owned());
        let fixed = Credentials::new(access_key.as_str(), secret_key.expose(), token, None, "configuration");
        Self::new(Source::Fixed(fixed))
    }

    pub(crate) fn found(wire: &Wire, settings: &SdkConfig) -> Arc<Self> {
        Self::new(Source::Found(Box::new(Place {
            wire: wire.clone(),
            region: settings.region().cloned(),
            fips: settings.use_fips(),
            dual_stack: settings.use_dual_stack(),
        })))
    }

    fn new(source: Source) -> Arc<Self> {
        Arc::new(Self { source, state: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credentials that are good now.
    pub(crate) async fn credentials(self: &Arc<Self>) -> Result<Credentials, CredentialsError> {
        if let Source::Fixed(fixed) = &self.source {
            return Ok(fixed.clone());
        }
        if let Some(held) = self.serving() {
            if held.replace_at.is_some_and(|time| time <= SystemTime::now()) {
                self.replace_in_background();
            }
            return Ok(held.credentials);
        }
        let _turn = self.turn.lock().await;
        match self.serving() {
            Some(held) => Ok(held.credentials),
            None => self.load().await,
        }
    }

    /// Those in use, if they have not ended.
    fn serving(&self) -> Option<Held> {
        let held = self.state().current.clone()?;
        held.credentials.expiry().is_none_or(|end| SystemTime::now() < end).then_some(held)
    }

    fn replace_in_background(self: &Arc<Self>) {
        if self.state().not_before.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_turn) = session.turn.try_lock() else { return };
            let due = |held: &Held| held.replace_at.is_some_and(|time| time <= SystemTime::now());
            if session.serving().as_ref().is_none_or(due) && session.load().await.is_err() {
                session.state().not_before = Some(Instant::now() + RETRY);
            }
        });
    }

    /// Asks the sources. Whoever calls has the turn.
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let credentials = match &self.source {
            Source::Fixed(fixed) => return Ok(fixed.clone()),
            Source::Found(place) => {
                let chain = place.chain();
                let found = tokio::time::timeout(SEARCH, chain.provide_credentials()).await;
                found.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(SEARCH)))?
            }
        };
        let now = SystemTime::now();
        let replace_at = credentials.expiry().map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            end - AHEAD.min(life / 3)
        });
        let mut state = self.state();
        if let Some(held) = &state.current {
            state.before = Some(held.credentials.access_key_id().to_owned());
        }
        state.current = Some(Held { credentials: credentials.clone(), since: Instant::now(), replace_at });
        state.not_before = None;
        Ok(credentials)
    }

    /// Told that AWS has refused the key: whether the next call has another one. The source is asked again, unless it has
    /// just been.
    pub(crate) fn is_replaced(&self) -> bool {
        if let Source::Fixed(_) = self.source {
            return false;
        }
        let mut state = self.state();
        match &state.current {
            Some(held) if held.since.elapsed() > RETRY => {
                state.before = Some(held.credentials.access_key_id().to_owned());
                state.current = None;
                true
            }
            // It has just come in the place of another, which may be the one that was refused.
            Some(held) => state.before.as_deref().is_some_and(|before| before != held.credentials.access_key_id()),
            None => true,
        }
    }
}

/// Keys and tokens stay out of every text.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

/// The face towards the SDK.
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub(crate) Arc<Session>);

impl ProvideCredentials for Identity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.credentials())
    }
}

impl Place {
    /// Made anew each time: files and tokens are read again.
    fn chain(&self) -> CredentialsProviderChain {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).operation_timeout(SEARCH).build();
        let common = ProviderConfig::without_region()
            .with_region(self.region.clone())
            .with_use_fips(self.fips)
            .with_use_dual_stack(self.dual_stack)
            .with_retry_config(retries())
            .with_timeout_config(timeouts);
        let outside = common.clone().with_http_client(self.wire.outside.clone());
        let local = common.with_http_client(self.wire.local.clone());
        CredentialsProviderChain::first_try("environment", Environment)
            .or_else("web identity", WebIdentityTokenCredentialsProvider::builder().configure(&outside).build())
            .or_else("profile", ProfileFileCredentialsProvider::builder().configure(&outside).build())
            .or_else("container", EcsCredentialsProvider::builder().configure(&local).build())
            .or_else("instance", ImdsCredentialsProvider::builder().configure(&local).build())
    }
}

/// Credentials in the environment, in both spellings.
// Compat: the SDK of the old server read `AWS_ACCESS_KEY` and `AWS_SECRET_KEY` as well, which today's SDKs do not.
#[derive(Debug)]
struct Environment;

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let first =
            |names: [&str; 2]| names.into_iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
        let key = first(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]);
        let secret = first(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]);
        let token = std::env::var("AWS_SESSION_TOKEN").ok().filter(|token| !token.is_empty());
        future::ProvideCredentials::ready(match (key, secret) {
            (Some(key), Some(secret)) => Ok(Credentials::new(key, secret, token, None, "environment")),
            _ => Err(CredentialsError::not_loaded("the environment has no access key")),
        })
    }
}
