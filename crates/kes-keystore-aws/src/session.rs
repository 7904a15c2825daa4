//! Being somebody to AWS: credentials from the first source that has some, replaced before they end.
//!
//! The order is that of the old server: environment, web identity (a token file and a role), profile, container, instance.
//! Temporary credentials are replaced in the background once a part of their life is over, while the old ones still serve;
//! a source that fails then is asked again, and only credentials that have really ended are waited for.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
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
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config;
use crate::failure::Told;
use crate::lack::{Lack, Watch};
use crate::wire::{Wire, retries};

/// How long before their end credentials are replaced: at most this, and at most a third of their life.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// How long a source that has failed is left alone. Meanwhile its failure is the answer, or the old credentials serve on.
const RETRY: Duration = Duration::from_secs(2);

/// How long all sources together may take.
const SEARCH: Duration = Duration::from_secs(8);

/// The source of credentials, and those in use.
pub(crate) struct Session {
    source: Source,
    state: Mutex<State>,
}

/// What asking the sources has come to.
type Outcome = Result<Credentials, Lack>;

/// Where the outcome will be. Closed when it is there.
type Answer = watch::Receiver<Option<Outcome>>;

enum Source {
    Fixed(Credentials),
    Found(Box<Place>),
}

/// Where sources are looked for.
#[derive(Clone)]
struct Place {
    wire: Wire,
    region: Option<Region>,
    fips: Option<bool>,
    dual_stack: Option<bool>,
    /// Whether the metadata service of the instance has ever answered: elsewhere than in AWS there is none.
    instance: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    /// The ID of the key that was in use before.
    before: Option<String>,
    /// Why there were none, and when.
    failed: Option<(Instant, Lack)>,
    /// The sources are being asked: whoever waits waits for the same answer.
    asked: Option<Answer>,
}

impl State {
    /// Those in use, if they have not ended.
    fn serving(&self) -> Option<&Held> {
        let alive = |held: &&Held| held.credentials.expiry().is_none_or(|end| SystemTime::now() < end);
        self.current.as_ref().filter(alive)
    }
}

#[derive(Clone)]
struct Held {
    credentials: Credentials,
    since: Instant,
    /// When to look for others; none for those that do not end.
    replace_at: Option<SystemTime>,
}

impl Held {
    fn is_due(&self) -> bool {
        self.replace_at.is_some_and(|time| time <= SystemTime::now())
    }
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
            instance: Arc::default(),
        })))
    }

    fn new(source: Source) -> Arc<Self> {
        Arc::new(Self { source, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Credentials that are good now.
    pub(crate) async fn credentials(self: &Arc<Self>) -> Outcome {
        let place = match &self.source {
            Source::Fixed(fixed) => return Ok(fixed.clone()),
            Source::Found(place) => place,
        };
        let held = self.state().serving().cloned();
        if let Some(held) = held {
            if held.is_due() {
                // In the background; if it fails, these serve on.
                let _ = self.ask(place);
            }
            return Ok(held.credentials);
        }
        let mut answer = self.ask(place)?;
        let outcome = answer.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Lack::away("the sources were not asked to the end")))
    }

    /// Asks the sources, or joins who does. In a task of its own: who waits may be cut off, and the next one still gets what
    /// a slow source has to give.
    fn ask(self: &Arc<Self>, place: &Place) -> Result<Answer, Lack> {
        let mut state = self.state();
        if let Some(held) = state.serving().filter(|held| !held.is_due()) {
            return Ok(watch::channel(Some(Ok(held.credentials.clone()))).1);
        }
        if let Some(asked) = state.asked.as_ref().filter(|asked| asked.has_changed().is_ok()) {
            return Ok(asked.clone());
        }
        if let Some((_, why)) = state.failed.as_ref().filter(|(when, _)| when.elapsed() < RETRY) {
            return Err(why.clone());
        }
        let (teller, answer) = watch::channel(None);
        state.asked = Some(answer.clone());
        let (session, place) = (Arc::clone(self), place.clone());
        tokio::spawn(async move {
            let outcome = place.search().await;
            session.keep(&outcome);
            teller.send_replace(Some(outcome));
        });
        Ok(answer)
    }

    fn keep(&self, outcome: &Outcome) {
        let mut state = self.state();
        let credentials = match outcome {
            Ok(credentials) => credentials.clone(),
            Err(why) => {
                state.failed = Some((Instant::now(), why.clone()));
                return;
            }
        };
        let now = SystemTime::now();
        let replace_at = credentials.expiry().map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            end - AHEAD.min(life / 3)
        });
        if let Some(held) = &state.current {
            state.before = Some(held.credentials.access_key_id().to_owned());
        }
        state.current = Some(Held { credentials, since: Instant::now(), replace_at });
        state.failed = None;
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
        let found = async { self.0.credentials().await.map_err(CredentialsError::provider_error) };
        future::ProvideCredentials::new(found)
    }
}

impl Place {
    async fn search(&self) -> Outcome {
        let (others, instance) = (Watch::default(), Watch::default());
        let chain = self.chain(&others, &instance);
        let found = tokio::time::timeout(SEARCH, chain.provide_credentials()).await;
        self.instance.fetch_or(instance.has_answered(), Ordering::Relaxed);
        found.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(SEARCH))).map_err(|why| match why {
            CredentialsError::CredentialsNotLoaded(_) if !self.instance.load(Ordering::Relaxed) => Lack::nowhere(&why),
            CredentialsError::ProviderTimedOut(_) => Lack::away(&why.to_string()),
            _ if others.is_away() || instance.is_away() => Lack::away(&Told::of(&why).to_string()),
            CredentialsError::CredentialsNotLoaded(_) => Lack::nowhere(&why),
            _ => Lack::refused(&why),
        })
    }

    /// Made anew each time: files and tokens are read again.
    fn chain(&self, others: &Watch, instance: &Watch) -> CredentialsProviderChain {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).operation_timeout(SEARCH).build();
        let common = ProviderConfig::without_region()
            .with_region(self.region.clone())
            .with_use_fips(self.fips)
            .with_use_dual_stack(self.dual_stack)
            .with_retry_config(retries())
            .with_timeout_config(timeouts);
        let outside = common.clone().with_http_client(others.over(&self.wire.outside));
        let local = common.clone().with_http_client(others.over(&self.wire.local));
        let instance = common.with_http_client(instance.over(&self.wire.local));
        CredentialsProviderChain::first_try("environment", Environment)
            .or_else("web identity", WebIdentityTokenCredentialsProvider::builder().configure(&outside).build())
            .or_else("profile", ProfileFileCredentialsProvider::builder().configure(&outside).build())
            .or_else("container", EcsCredentialsProvider::builder().configure(&local).build())
            .or_else("instance", ImdsCredentialsProvider::builder().configure(&instance).build())
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
