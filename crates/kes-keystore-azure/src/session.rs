//! Who we are to Azure: a token, and where the next one comes from.
//!
//! A token is replaced in the background once a part of its life is over, while the old one still serves; a source that
//! fails then is asked again, and only a token that has really ended is waited for. One that Key Vault refuses is replaced
//! at once. Many who need one ask once, also if there is none for them. How long a token lives is counted from when it came, by a clock that nobody sets.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use kes_keystore::Error;
use tokio::time::Instant;

use crate::failure::Told;
use crate::login::Source;

/// How long before its end a token is replaced: at most this, and at most a third of its life.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// How long to wait after a replacement that failed, while the old token serves; and the least time between two tokens that
/// are asked for because the one before was refused; and how long a login that was refused is not tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How long all sources together may take.
const SEARCH: Duration = Duration::from_secs(9);

/// The source of tokens, and the one in use.
pub(crate) struct Session {
    source: Source,
    state: Mutex<State>,
    /// Held while a source is asked, so that many who wait ask once.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    /// Do not try to replace what serves before this.
    not_before: Option<Instant>,
    /// How the source failed last, for what scope, and when.
    failed: Option<(Instant, String, NoToken)>,
    /// When a token was last refused that had come in the place of another.
    refused: Option<Instant>,
}

#[derive(Clone)]
struct Held {
    token: AccessToken,
    scope: String,
    since: Instant,
    life: Duration,
}

impl Held {
    fn serves(&self, scope: &str) -> bool {
        self.scope == scope && self.since.elapsed() < self.life
    }

    fn is_due(&self) -> bool {
        self.since.elapsed() + AHEAD.min(self.life / 3) >= self.life
    }
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[error("there is no token for Key Vault")]
pub(crate) struct NoToken {
    /// It is a matter of the network, and may pass.
    pub(crate) is_outage: bool,
    pub(crate) remedy: &'static str,
    #[source]
    pub(crate) cause: Told,
}

impl NoToken {
    pub(crate) fn into_error(self, store: &str) -> Error {
        let (remedy, source) = (self.remedy, Some(Arc::new(self.cause) as _));
        match self.is_outage {
            true => Error::Unreachable { store: store.to_owned(), remedy, source },
            false => Error::Unauthorized { entry: store.to_owned(), remedy, source },
        }
    }
}

impl Session {
    pub(crate) fn new(source: Source) -> Arc<Self> {
        Arc::new(Self { source, state: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that is good now.
    async fn token(self: &Arc<Self>, scope: &str) -> Result<AccessToken, NoToken> {
        if let Some(held) = self.serving(scope) {
            if held.is_due() {
                self.replace_in_background(scope);
            }
            return Ok(held.token);
        }
        let since = Instant::now();
        let _turn = self.turn.lock().await;
        match self.serving(scope) {
            Some(held) => Ok(held.token),
            None => match self.failure(scope, since) {
                Some(none) => Err(none),
                None => self.load(scope).await,
            },
        }
    }

    /// How the source has failed while we waited for it, or refused shortly before: it would not say anything else.
    fn failure(&self, scope: &str, since: Instant) -> Option<NoToken> {
        let state = self.state();
        let (time, _, none) = state.failed.as_ref().filter(|(_, failed, _)| failed == scope)?;
        (*time >= since || (!none.is_outage && time.elapsed() < RETRY)).then(|| none.clone())
    }

    fn serving(&self, scope: &str) -> Option<Held> {
        self.state().current.clone().filter(|held| held.serves(scope))
    }

    fn replace_in_background(self: &Arc<Self>, scope: &str) {
        if self.state().not_before.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let (session, scope) = (Arc::clone(self), scope.to_owned());
        tokio::spawn(async move {
            let Ok(_turn) = session.turn.try_lock() else { return };
            let due = session.serving(&scope).is_none_or(|held| held.is_due());
            if due && session.load(&scope).await.is_err() {
                session.state().not_before = Some(Instant::now() + RETRY);
            }
        });
    }

    /// Asks the source. Whoever calls has the turn.
    async fn load(&self, scope: &str) -> Result<AccessToken, NoToken> {
        let asked = tokio::time::timeout(SEARCH, self.source.token(scope)).await.unwrap_or_else(|_| {
            let remedy = "the login does not answer in time: check the network, and where the login is";
            Err(NoToken { is_outage: true, remedy, cause: Told::new(format!("no token within {SEARCH:?}")) })
        });
        let token = match asked {
            Ok(token) => token,
            Err(none) => {
                self.state().failed = Some((Instant::now(), scope.to_owned(), none.clone()));
                return Err(none);
            }
        };
        let life = (token.expires_on - OffsetDateTime::now_utc()).try_into().unwrap_or(Duration::ZERO);
        let mut state = self.state();
        state.current = Some(Held { token: token.clone(), scope: scope.to_owned(), since: Instant::now(), life });
        state.not_before = None;
        state.failed = None;
        Ok(token)
    }

    /// Told that Key Vault has refused a token: the next call has another one, unless that has just been tried.
    pub(crate) fn refused(&self, token: &str) {
        let mut state = self.state();
        let Some(held) = state.current.as_ref().filter(|held| held.token.token.secret() == token) else { return };
        let just_tried = state.refused.is_some_and(|time| time.elapsed() < RETRY && held.since >= time);
        if !just_tried {
            state.current = None;
            state.refused = Some(Instant::now());
        }
    }
}

/// Tokens and secrets stay out of every text.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

/// The face towards the SDK.
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub(crate) Arc<Session>);

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let scope = scopes.first().copied().unwrap_or_default();
        self.0.token(scope).await.map_err(|none| {
            let message = none.to_string();
            azure_core::Error::with_error(ErrorKind::Credential, none, message)
        })
    }
}
