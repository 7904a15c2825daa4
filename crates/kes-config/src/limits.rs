//! `cache`, `limits`, `keys` and `probe`: settings of the running server.

use crate::address::Address;
use crate::error::{Error, ErrorKind, Place};
use crate::scalar::GoDuration;
use crate::section::{Placed, Refused, Section};
use kes_keystore::{KeyName, cache};
use std::collections::HashSet;
use std::time::Duration;

/// `limits`. Zero is *no limit*, for the counts as for the times; absent is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once. Default none.
    pub connections: Option<u64>,
    /// Requests of one identity in a second. Default none.
    pub rate: Option<u64>,
    /// Requests of one identity at once. Default none.
    pub concurrency: Option<u64>,
    /// From the accepted connection to the end of the TLS handshake. Default 10 s.
    pub handshake: Option<Duration>,
    /// From the handshake to the first complete header, and for each later header once begun. Default 5 s.
    pub header: Option<Duration>,
    /// Between two requests of a connection. Default 90 s.
    pub idle: Option<Duration>,
    /// For requests in flight when the server stops. Default 10 s; zero waits for none.
    pub drain: Duration,
}

pub(crate) fn read_limits(root: &Section<'_>) -> Limits {
    let section = root.section("limits");
    let count = |key| section.count(key).map(|count| count.value).filter(|count| *count > 0);
    let (connections, rate, concurrency) = (count("connections"), count("rate"), count("concurrency"));
    let times = ["handshake", "header", "idle", "drain"].map(|key| (key, section.duration(key)));
    for (key, time) in &times {
        if let Some(time) = time.as_ref().filter(|time| time.value.is_negative()) {
            let error = section.error(key, format!("kesconf: invalid limit '{}' for '{key}'", time.value));
            section.refuse(error.hint("write a time such as 10s"));
        }
    }
    let [handshake, header, idle, drain] = times.map(|(_, time)| time.map(|time| time.value));
    let or_default = |time: Option<GoDuration>, seconds| match time {
        Some(time) => time.positive(),
        None => Some(Duration::from_secs(seconds)),
    };
    Limits {
        connections,
        rate,
        concurrency,
        handshake: or_default(handshake, 10),
        header: or_default(header, 5),
        idle: or_default(idle, 90),
        drain: drain.map_or(Duration::from_secs(10), GoDuration::length),
    }
}

/// Step 9 of config.md 3. Absent is the default, `0s` is never.
// Departs from upstream: it takes 30 s for `any` wherever `unused` is absent, and then keeps unused keys.
pub(crate) fn read_cache(root: &Section<'_>) -> cache::Settings {
    let section = root.section("cache");
    let expiry = section.section("expiry");
    let times = [("any", "cache expiry"), ("unused", "cache unused expiry"), ("offline", "offline cache expiry")];
    let times = times.map(|(key, words)| (words, expiry.duration(key)));
    let max_keys = section.count("max_keys");
    for (words, time) in &times {
        if let Some(Placed { value, place }) = time.as_ref().filter(|time| time.value.is_negative()) {
            let error = Error::new(ErrorKind::Invalid, format!("kesconf: invalid {words} '{value}'"));
            section.refuse(error.at(place.clone()).hint("write a time such as 5m; 0s is never"));
        }
    }
    let [any, unused, offline] = times.map(|(_, time)| time.map(|time| time.value.positive()));
    let mut settings = cache::Settings::default();
    settings.any = any.unwrap_or(settings.any);
    settings.unused = unused.unwrap_or(settings.unused);
    settings.offline = offline.unwrap_or(settings.offline);
    if let Some(max_keys) = max_keys {
        settings.max_keys = usize::try_from(max_keys.value).unwrap_or(usize::MAX);
    }
    settings
}

/// A key that must exist before requests are answered, as it is written.
pub(crate) struct Key {
    name: String,
    place: Place,
}

pub(crate) fn read_keys(root: &Section<'_>) -> Vec<Key> {
    let items = root.items("keys").into_iter();
    items.map(|item| Key { name: item.string("name"), place: item.place("name") }).collect()
}

impl Key {
    fn error(&self, message: String) -> Error {
        Error::new(ErrorKind::Invalid, message).at(self.place.clone())
    }
}

/// Step 12 of config.md 3.
pub(crate) fn check_keys(root: &Section<'_>, keys: &[Key]) {
    let mut seen = HashSet::new();
    for key in keys.iter().filter(|key| !seen.insert(&key.name)) {
        let text = format!("kesconf: invalid key config: key '{}' is defined multiple times", key.name);
        root.refuse(key.error(text).hint("name each key once"));
    }
}

/// Step 19 of config.md 3.
// Departs from upstream: it creates whatever name the store takes, which nobody can then use over the API.
pub(crate) fn name_keys(root: &Section<'_>, keys: &[Key]) -> Vec<KeyName> {
    const HINT: &str = "a name is 1 to 80 of 0-9 A-Z a-z _ and -, not '_' alone, with no '-' at either end";
    let name = |key: &Key| match KeyName::parse(&key.name) {
        Ok(name) => Some(name),
        Err(_) => {
            let text = format!("kes: key name '{}' is empty, too long or contains invalid characters", key.name);
            root.refuse(key.error(text).hint(HINT));
            None
        }
    };
    keys.iter().filter_map(name).collect()
}

/// `probe`: a listener for probes and metrics, without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Where to listen; `None` (the default) does not.
    pub address: Option<Address>,
}

pub(crate) fn read_probe(root: &Section<'_>) -> Result<Probe, Refused> {
    let address = root.section("probe").filled("address");
    let address = address.map(|text| Address::parse(text.as_str(), Some(text.place.clone()))).transpose();
    Ok(Probe { address: address.map_err(|error| root.refuse(error))? })
}
