//! Everything a request is judged by, in one value. A request loads it once; a reload swaps it whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use kes_identity::{Certificate, Identity, Verification};
use kes_keystore::Cache;
use kes_policy::{Matching, PolicySet};

use super::audit::{Events, OnFull};
use super::ephemeral::Changes;
use super::log::Format;
use super::routes::{self, Access, NO_ROUTE, Route};
use super::shared::Limits;
use super::tls::Tls;

/// One consistent view of the configuration: who may do what, over which keys, behind which certificate.
#[derive(Clone)]
pub struct State {
    pub(super) admin: Arc<str>,
    pub(super) admin_identity: Option<Identity>,
    /// Those in force: as configured, and as changed since.
    pub(super) policies: Arc<PolicySet>,
    pub(super) changes: Arc<Changes>,
    pub(super) keys: Arc<Cache>,
    pub(super) tls: Arc<Tls>,
    pub(super) settings: Arc<Settings>,
}

/// What a configuration says about single routes and old habits, and how much is logged.
#[derive(Debug)]
pub struct Settings {
    routes: Vec<RouteSettings>,
    /// Serve the routes of older releases. Default on.
    pub legacy_routes: bool,
    /// Refuse in the words that MinIO before 2022 compares. Default off.
    pub legacy_messages: bool,
    /// Take changes of policies and identities over the API, until the next reload. Default on.
    pub ephemeral_policies: bool,
    /// How the patterns of policies that are written over the API are read.
    pub policy_match: Matching,
    /// TLS proxies in front of the server.
    pub proxy: Option<Proxy>,
    /// Requests a second that one identity may make, and how many at once. Default no limit.
    pub limits: RequestLimits,
    /// Limits of connections and their time.
    pub connections: Limits,
    /// What the consoles show.
    pub logs: Logs,
}

/// Limits for each identity. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests a second, with bursts of as many.
    pub rate: Option<u32>,
    /// Requests at the same time.
    pub concurrency: Option<u32>,
}

/// What the consoles show; the streams always carry everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Threshold of the error log: −4 debug, 0 info, 4 warn, 8 error.
    pub error: i32,
    /// Threshold of the audit log, whose records are of level 0.
    pub audit: i32,
    /// Form of the lines.
    pub format: Format,
    /// Which requests are recorded.
    pub events: Events,
    /// When a buffer is full.
    pub on_full: OnFull,
}

impl Default for Logs {
    fn default() -> Self {
        Self { error: 0, audit: 0, format: Format::Text, events: Events::All, on_full: OnFull::Drop }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct RouteSettings {
    skip_auth: bool,
    timeout: Option<Duration>,
}

/// TLS proxies: peers whose requests carry the real client's certificate in a header.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Who they are.
    pub identities: HashSet<Identity>,
    /// The header: URL-escaped PEM of one certificate.
    pub header: HeaderName,
    /// Whether a proxy may forward the admin. Default no.
    pub admin: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            routes: vec![RouteSettings::default(); NO_ROUTE],
            legacy_routes: true,
            legacy_messages: false,
            ephemeral_policies: true,
            policy_match: Matching::default(),
            proxy: None,
            limits: RequestLimits::default(),
            connections: Limits::default(),
            logs: Logs::default(),
        }
    }
}

impl Settings {
    /// Lets everybody use a route, policies and deny rules notwithstanding. Returns whether there is such a route that
    /// may be open; those that change policies may not.
    pub fn skip_auth(&mut self, path: &str) -> bool {
        let route = routes::exact(path).filter(|route| route.access != Access::Named);
        route.map(|route| self.routes[route.index].skip_auth = true).is_some()
    }

    /// Replaces a route's time limit. Returns whether there is such a route.
    pub fn timeout(&mut self, path: &str, timeout: Duration) -> bool {
        routes::exact(path).map(|route| self.routes[route.index].timeout = Some(timeout)).is_some()
    }

    fn any_skips(&self) -> bool {
        self.routes.iter().any(|route| route.skip_auth)
    }
}

impl State {
    /// Puts a state together. `admin` is the configured text: an identity, or any word that no certificate can match,
    /// which means that there is no admin. Must be called inside a Tokio runtime if `keys` was made for it.
    ///
    /// # Errors
    /// [`rustls::Error`] if certificate and key do not fit each other or TLS cannot be set up.
    pub fn new(
        admin: &str,
        policies: PolicySet,
        keys: Cache,
        certificate: &Certificate,
        verification: Verification,
        settings: Settings,
    ) -> Result<Self, rustls::Error> {
        Self::over(Arc::new(keys), admin, policies, certificate, verification, settings)
    }

    /// The same state behind another certificate. Sessions of the old one do not resume.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tls(&self, certificate: &Certificate, verification: Verification) -> Result<Self, rustls::Error> {
        let tls = Tls::new(certificate, verification, !self.settings.any_skips())?;
        Ok(Self { tls: Arc::new(tls), ..self.clone() })
    }

    /// The same store and cache under another configuration, without what was changed over the API: what a reload does
    /// that does not touch the store.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_configuration(
        &self,
        admin: &str,
        policies: PolicySet,
        certificate: &Certificate,
        verification: Verification,
        settings: Settings,
    ) -> Result<Self, rustls::Error> {
        Self::over(Arc::clone(&self.keys), admin, policies, certificate, verification, settings)
    }

    fn over(
        keys: Arc<Cache>,
        admin: &str,
        policies: PolicySet,
        certificate: &Certificate,
        verification: Verification,
        settings: Settings,
    ) -> Result<Self, rustls::Error> {
        let tls = Tls::new(certificate, verification, !settings.any_skips())?;
        let policies = Arc::new(policies);
        Ok(Self {
            admin: admin.into(),
            admin_identity: admin.parse().ok().filter(Identity::is_hash),
            changes: Arc::new(Changes::none(Arc::clone(&policies))),
            policies,
            keys,
            tls: Arc::new(tls),
            settings: Arc::new(settings),
        })
    }

    /// When the server's certificate expires.
    #[must_use]
    pub fn certificate_expires(&self) -> time::OffsetDateTime {
        self.tls.facts.not_after
    }

    /// The key cache and the store behind it.
    #[must_use]
    pub fn keys(&self) -> &Cache {
        &self.keys
    }

    /// The same behind the certificate of another.
    pub(super) fn with_tls_of(&self, other: &Self) -> Self {
        Self { tls: Arc::clone(&other.tls), ..self.clone() }
    }

    pub(super) fn timeout(&self, route: &'static Route) -> Option<Duration> {
        self.settings.routes[route.index].timeout.filter(|timeout| !timeout.is_zero()).or(route.timeout)
    }

    pub(super) fn skips_auth(&self, route: &'static Route) -> bool {
        self.settings.routes[route.index].skip_auth
    }
}
