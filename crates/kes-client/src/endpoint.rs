//! Where the servers are, and which one is asked next.
//!
//! The rules are those of the official client (http-api.md 11.3): a server on this very machine is asked first; else
//! the round begins at a random server; one that failed is left alone for 30 s and then probed by a single request; if
//! all were left out, all are asked regardless.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::BuildError;

/// How long an endpoint that failed is left alone.
pub(crate) const TIME_OUT: Duration = Duration::from_secs(30);

/// How long a name may take to resolve when the endpoints are sorted.
const LOOKUP: Duration = Duration::from_secs(2);

/// One server: `https://host[:port][/prefix]`, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: String,
    host: String,
    port: u16,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Self, BuildError> {
        let trimmed = text.trim();
        let base = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let wrong = |why| BuildError::Endpoint { endpoint: trimmed.to_owned(), why };
        let url = reqwest::Url::parse(base).map_err(|_| wrong("it is not a URL like https://host:7373"))?;
        if url.scheme() != "https" {
            return Err(wrong("it does not begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has more than host, port and path"));
        }
        let host = url.host_str().ok_or_else(|| wrong("it has no host"))?;
        let port = url.port_or_known_default().unwrap_or(443);
        Ok(Self { base: base.to_owned(), host: host.trim_matches(['[', ']']).to_owned(), port })
    }

    /// The URL of an API path such as `/v1/status`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.base
    }

    /// Host and port, an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Host without port, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the server runs on this machine: a loopback address or one that a socket here can be bound to.
    async fn is_on_this_machine(&self) -> bool {
        if self.host == "localhost" {
            return true;
        }
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return is_ours(address);
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        match tokio::time::timeout(LOOKUP, lookup).await {
            Ok(Ok(mut addresses)) => addresses.any(|address| is_ours(address.ip())),
            _ => false,
        }
    }
}

/// The kernel lets a socket be bound to the machine's own addresses only; no packet is sent.
fn is_ours(address: IpAddr) -> bool {
    address.is_loopback() || (!address.is_unspecified() && UdpSocket::bind(SocketAddr::new(address, 0)).is_ok())
}

/// The endpoints of a client and what is known of them.
pub(crate) struct Endpoints {
    all: Vec<State>,
    /// Index of the endpoint on this machine, found at the first use.
    nearest: OnceCell<Option<usize>>,
    next: AtomicUsize,
}

struct State {
    endpoint: Endpoint,
    out_until: Mutex<Option<Instant>>,
}

impl Endpoints {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        let all = endpoints.into_iter().map(|endpoint| State { endpoint, out_until: Mutex::new(None) }).collect();
        // A random start spreads the load of many clients; going on from there spreads that of one.
        let next = usize::try_from(RandomState::new().hash_one(0u8) >> 33).unwrap_or(0);
        Self { all, nearest: OnceCell::new(), next: AtomicUsize::new(next) }
    }

    pub(crate) fn get(&self, index: usize) -> &Endpoint {
        &self.all[index].endpoint
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.all.iter().map(|state| &state.endpoint)
    }

    /// The order in which a request asks the endpoints, before those in time-out are left out.
    pub(crate) async fn order(&self) -> Vec<usize> {
        if self.all.len() == 1 {
            return vec![0];
        }
        let nearest = *self.nearest.get_or_init(|| self.find_nearest()).await;
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len();
        let round = (0..self.all.len()).map(|step| (start + step) % self.all.len());
        nearest.into_iter().chain(round.filter(|index| Some(*index) != nearest)).collect()
    }

    async fn find_nearest(&self) -> Option<usize> {
        let mut lookups = tokio::task::JoinSet::new();
        for (index, state) in self.all.iter().enumerate() {
            let endpoint = state.endpoint.clone();
            lookups.spawn(async move { endpoint.is_on_this_machine().await.then_some(index) });
        }
        lookups.join_all().await.into_iter().flatten().min()
    }

    /// Whether a request may ask this endpoint now. When a time-out has just passed, only the first who asks may: the
    /// others keep away until that probe has succeeded or another 30 s are over.
    pub(crate) fn admit(&self, index: usize) -> bool {
        let mut out_until = self.all[index].out_until.lock().expect("nothing panics while holding it");
        match *out_until {
            None => true,
            Some(until) if until > Instant::now() => false,
            Some(_) => {
                *out_until = Some(Instant::now() + TIME_OUT);
                true
            }
        }
    }

    pub(crate) fn succeeded(&self, index: usize) {
        *self.all[index].out_until.lock().expect("nothing panics while holding it") = None;
    }

    pub(crate) fn failed(&self, index: usize) {
        let until = Instant::now() + TIME_OUT;
        *self.all[index].out_until.lock().expect("nothing panics while holding it") = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(texts: &[&str]) -> Endpoints {
        Endpoints::new(texts.iter().map(|text| Endpoint::parse(text).unwrap()).collect())
    }

    #[test]
    fn blanks_and_one_slash_are_trimmed_and_a_path_is_kept() {
        let endpoint = Endpoint::parse(" https://kes.example:7373/proxy/ ").unwrap();
        assert_eq!(endpoint.url("/v1/status"), "https://kes.example:7373/proxy/v1/status");
        assert_eq!(Endpoint::parse("https://[::1]:7373").unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_https_url_is_refused() {
        for (text, why) in [
            ("http://a:7373", "it does not begin with https://"),
            ("127.0.0.1:7373", "it is not a URL like https://host:7373"),
            ("https://user@a:7373", "it has more than host, port and path"),
            ("https://a:7373?x", "it has more than host, port and path"),
        ] {
            let error = Endpoint::parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("invalid endpoint '{text}': {why}"));
        }
    }

    #[tokio::test]
    async fn the_server_on_this_machine_is_asked_first() {
        let endpoints = endpoints(&["https://203.0.113.1:7373", "https://127.0.0.1:7373", "https://203.0.113.2:7373"]);
        for _ in 0..5 {
            assert_eq!(endpoints.order().await[0], 1);
        }
    }

    #[tokio::test]
    async fn the_round_goes_on_where_the_last_one_began() {
        let endpoints =
            endpoints(&["https://203.0.113.1:7373", "https://203.0.113.2:7373", "https://203.0.113.3:7373"]);
        let first = endpoints.order().await;
        let second = endpoints.order().await;
        assert_eq!(second[0], (first[0] + 1) % 3);
        assert_eq!(first.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_time_out_a_single_request_probes() {
        let endpoints = endpoints(&["https://203.0.113.1:7373", "https://203.0.113.2:7373"]);
        assert!(endpoints.admit(0));
        endpoints.failed(0);
        assert!(!endpoints.admit(0));
        tokio::time::advance(TIME_OUT).await;
        assert!(endpoints.admit(0), "the probe");
        assert!(!endpoints.admit(0), "everybody else");
        endpoints.succeeded(0);
        assert!(endpoints.admit(0));
    }
}
