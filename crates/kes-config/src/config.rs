//! A whole configuration.

use crate::address::Address;
use crate::api::Route;
use crate::compat::Compat;
use crate::error::{Error, ErrorKind, Place};
use crate::keystore::Store;
use crate::limits::{Limits, Probe};
use crate::log::Log;
use crate::tls::{Admin, Tls};
use kes_keystore::{KeyName, KeyStore, cache};
use kes_policy::PolicySet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the operator wrote, with defaults for what was left out.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Default `0.0.0.0:7373`.
    pub address: Address,
    /// The administrator.
    pub admin: Admin,
    /// TLS of the server, and whom it believes.
    pub tls: Tls,
    /// What is different about single routes, by their paths as in [`kes_policy::ROUTES`].
    pub api: BTreeMap<&'static str, Route>,
    /// The policies and who has which.
    pub policies: PolicySet,
    /// How long keys are kept in memory.
    pub cache: cache::Settings,
    /// What is logged.
    pub log: Log,
    /// Keys that must exist before requests are answered, in the order of the file.
    pub keys: Vec<KeyName>,
    /// Limits of the service.
    pub limits: Limits,
    /// How close the server stays to older releases.
    pub compat: Compat,
    /// A listener for probes.
    pub probe: Probe,
    /// Where keys live.
    pub store: Store,
    /// Where the keys stand that are judged only when the server starts.
    pub(crate) places: Vec<Place>,
}

/// The sections of a file of which some may be refused: those are not there.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Sections {
    /// [`Config::address`].
    pub address: Option<Address>,
    /// [`Config::admin`].
    pub admin: Option<Admin>,
    /// [`Config::tls`].
    pub tls: Option<Tls>,
    /// [`Config::api`], without entries that are refused.
    pub api: BTreeMap<&'static str, Route>,
    /// [`Config::policies`], without members and rules that are refused.
    pub policies: PolicySet,
    /// [`Config::cache`].
    pub cache: cache::Settings,
    /// [`Config::log`].
    pub log: Option<Log>,
    /// [`Config::keys`], without names that are refused.
    pub keys: Vec<KeyName>,
    /// [`Config::limits`].
    pub limits: Option<Limits>,
    /// [`Config::compat`].
    pub compat: Option<Compat>,
    /// [`Config::probe`].
    pub probe: Option<Probe>,
    /// [`Config::store`].
    pub store: Option<Store>,
    pub(crate) places: Vec<Place>,
}

impl Sections {
    /// The whole, if nothing is missing.
    pub(crate) fn complete(self) -> Option<Config> {
        let Self { address, admin, tls, api, policies, cache, log, keys, limits, compat, probe, store, places } = self;
        Some(Config {
            address: address?,
            admin: admin?,
            tls: tls?,
            api,
            policies,
            cache,
            log: log?,
            keys,
            limits: limits?,
            compat: compat?,
            probe: probe?,
            store: store?,
            places,
        })
    }
}

impl Config {
    /// Opens the key store: [`Store::open`].
    ///
    /// # Errors
    /// As there.
    pub async fn open_store(&self) -> Result<Arc<dyn KeyStore>, Error> {
        self.store.open().await
    }

    /// Opens the key store for those who only look: [`Store::open_unchanged`].
    ///
    /// # Errors
    /// As there.
    pub async fn open_store_unchanged(&self) -> Result<Arc<dyn KeyStore>, Error> {
        self.store.open_unchanged().await
    }

    /// A refusal of what a key says that only the start of a server can judge: a certificate that cannot be read, an address
    /// in use. It has the form of all others, `message`, place and `hint` (none if it is empty); the place is that of
    /// `address`, `tls.cert`, `tls.key`, `tls.password`, `tls.ca`, `tls.renew.ca`, `tls.renew.key`,
    /// `tls.proxy.header.cert`, `log.audit_file.path`, `probe.address` or `keys`, unless a flag set the value.
    #[must_use]
    pub fn refuse(&self, key: &str, message: impl Into<String>, hint: &str) -> Error {
        let error = Error::new(ErrorKind::Invalid, message);
        let error = match self.places.iter().find(|place| place.key == key) {
            Some(place) => error.at(place.clone()),
            None => error,
        };
        if hint.is_empty() { error } else { error.hint(hint) }
    }

    /// Whether any route is answered without authentication: client certificates are then optional (config.md 4.2).
    #[must_use]
    pub fn skips_auth(&self) -> bool {
        self.api.values().any(|route| route.skip_auth)
    }
}
