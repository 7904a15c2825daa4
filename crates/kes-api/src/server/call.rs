//! One request on its way through the server.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use kes_identity::Identity;
use kes_keystore::Cache;
use kes_policy::{Decision, Policy};
use tokio::time::Instant;

use super::connection::Connection;
use super::failure::Failure;
use super::request_id::RequestId;
use super::routes::Route;
use super::state::State;

/// Everything known about a request. Owned, so that work which changes the store can outlive its connection.
pub(super) struct Call {
    pub(super) state: Arc<State>,
    pub(super) connection: Arc<Connection>,
    pub(super) request: Parts,
    /// Its name, for logs.
    pub(super) id: RequestId,
    /// The decoded path, where it differs from the one in `request`.
    pub(super) decoded: Option<Vec<u8>>,
    pub(super) route: Option<&'static Route>,
    /// Where the name or pattern begins in the path.
    pub(super) tail: usize,
    /// Whom a TLS proxy speaks for; else the peer itself is asking.
    pub(super) forwarded: Option<Caller>,
    pub(super) verdict: Verdict,
    pub(super) started: Instant,
    /// Whether authentication was reached.
    pub(super) authenticated: bool,
    /// What was created, deleted or changed.
    pub(super) changed: Option<Changed>,
}

/// A change that the audit log has a sentence for.
pub(super) enum Changed {
    /// A key of this name was created or imported.
    Created(String),
    /// A key of this name was deleted.
    Deleted(String),
    /// A policy or an identity; the whole sentence.
    Rights(String),
}

/// Who is asking behind a TLS proxy.
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) ip: Arc<str>,
}

/// Which rule decided, for the audit log.
#[derive(Clone, Default)]
pub(super) enum Verdict {
    /// Nobody was asked.
    #[default]
    None,
    Admin,
    SkippedAuth,
    UnknownIdentity,
    Policy {
        policy: Arc<Policy>,
        rule: Option<RuleAt>,
    },
}

/// A rule inside its policy.
#[derive(Clone, Copy)]
pub(super) enum RuleAt {
    Allow(usize),
    Deny(usize),
}

impl Verdict {
    pub(super) fn of(policy: &Arc<Policy>, decision: &Decision<'_>) -> Self {
        let rule = decision.rule().and_then(|rule| {
            let at = |rules: &[kes_policy::Rule]| rules.iter().position(|other| std::ptr::eq(other, rule));
            at(policy.allow()).map(RuleAt::Allow).or_else(|| at(policy.deny()).map(RuleAt::Deny))
        });
        Self::Policy { policy: Arc::clone(policy), rule }
    }

    /// Policy and rule, as the audit log names them.
    pub(super) fn names(&self) -> (&str, &str) {
        match self {
            Self::None => ("", ""),
            Self::Admin => ("", "admin"),
            Self::SkippedAuth => ("", "skip_auth"),
            Self::UnknownIdentity => ("", "no policy"),
            Self::Policy { policy, rule } => {
                let rule = match rule {
                    Some(RuleAt::Allow(at)) => policy.allow()[*at].as_str(),
                    Some(RuleAt::Deny(at)) => policy.deny()[*at].as_str(),
                    None => "no rule",
                };
                (policy.name().as_str(), rule)
            }
        }
    }
}

impl Call {
    /// The decoded path. Bytes: it need not be text.
    pub(super) fn path(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or_else(|| self.request.uri.path().as_bytes())
    }

    /// What stands behind the route: a name or a pattern, not yet checked.
    pub(super) fn tail(&self) -> &[u8] {
        &self.path()[self.tail..]
    }

    pub(super) fn method(&self) -> &str {
        self.request.method.as_str()
    }

    /// Who is asking, if that is known.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match &self.forwarded {
            Some(caller) => Some(&caller.identity),
            None => self.connection.identity.as_ref().ok(),
        }
    }

    /// Where the request comes from.
    pub(super) fn ip(&self) -> &str {
        self.forwarded.as_ref().map_or(&self.connection.ip, |caller| &caller.ip)
    }

    pub(super) fn identity_text(&self) -> &str {
        self.identity().map_or("", Identity::as_str)
    }

    /// When the route's time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timeout: Duration = self.state.timeout(self.route?)?;
        Some(self.started + timeout)
    }

    /// The key cache, for calls that may have to ask the store: they end a second before the route's time is over, so
    /// that the answer says what the store did.
    pub(super) fn keys(&self) -> Cache {
        let timeout = self.route.and_then(|route| self.state.timeout(route));
        match timeout {
            Some(timeout) => self.state.keys.limited(timeout.saturating_sub(Duration::from_secs(1)).max(timeout / 2)),
            None => Cache::clone(&self.state.keys),
        }
    }

    /// Waits for slow work, but not beyond the route's time. The hot path does not come through here.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        match self.deadline() {
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.map_err(|_| Failure::timeout()),
            None => Ok(work.await),
        }
    }
}
