//! Counting what happens. Every worker counts into atomics of its own; a scrape adds them up.
//!
//! [`render`] has two views. The default one is exactly the old server's: 14 families, because its clients reject any
//! other family with more than one sample. The operator's view adds what is missing there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::routes::{LEGACY, NO_ROUTE, ROUTES};

mod exposition;

pub(super) use exposition::{Gauges, render};

/// Statuses that the server answers with; anything else is counted under the last of its class.
const CODES: [u16; 20] =
    [200, 400, 403, 404, 405, 406, 408, 409, 413, 414, 417, 429, 431, 499, 500, 501, 502, 503, 504, 505];
/// Upper bounds of the old server's response-time histogram, in seconds.
const SECONDS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 10.0];
/// Upper bounds of the operator's histograms, in microseconds.
const MICROS: [u64; 14] = [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 500_000, 2_000_000, 10_000_000];

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeFailure {
    NoCertificate,
    UnknownAuthority,
    Expired,
    BadCertificate,
    /// The client sent an alert about our certificate.
    RefusedByClient,
    Protocol,
    PlainHttp,
    Timeout,
    Disconnected,
    TooManyConnections,
}

const HANDSHAKE_FAILURES: [(HandshakeFailure, &str); 10] = [
    (HandshakeFailure::NoCertificate, "no_certificate"),
    (HandshakeFailure::UnknownAuthority, "unknown_authority"),
    (HandshakeFailure::Expired, "expired"),
    (HandshakeFailure::BadCertificate, "bad_certificate"),
    (HandshakeFailure::RefusedByClient, "refused_by_client"),
    (HandshakeFailure::Protocol, "protocol"),
    (HandshakeFailure::PlainHttp, "plain_http"),
    (HandshakeFailure::Timeout, "timeout"),
    (HandshakeFailure::Disconnected, "disconnected"),
    (HandshakeFailure::TooManyConnections, "too_many_connections"),
];

/// One worker's counters.
#[derive(Debug)]
pub(super) struct Metrics {
    codes: [AtomicU64; CODES.len()],
    active: AtomicU64,
    /// The old histogram: log streams are left out, they last for hours.
    seconds: [AtomicU64; SECONDS.len() + 1],
    nanos: AtomicU64,
    routes: [RouteMetrics; NO_ROUTE + 1],
    handshakes: AtomicU64,
    handshakes_resumed: AtomicU64,
    handshake_failures: [AtomicU64; HANDSHAKE_FAILURES.len()],
    connections: AtomicU64,
    proxy_header_ignored: AtomicU64,
    panics: AtomicU64,
}

#[derive(Debug)]
struct RouteMetrics {
    /// Below 400, below 500, the rest.
    classes: [AtomicU64; 3],
    micros: [AtomicU64; MICROS.len() + 1],
    nanos: AtomicU64,
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            codes: zeros(),
            active: AtomicU64::new(0),
            seconds: zeros(),
            nanos: AtomicU64::new(0),
            routes: std::array::from_fn(|_| RouteMetrics {
                classes: zeros(),
                micros: zeros(),
                nanos: AtomicU64::new(0),
            }),
            handshakes: AtomicU64::new(0),
            handshakes_resumed: AtomicU64::new(0),
            handshake_failures: zeros(),
            connections: AtomicU64::new(0),
            proxy_header_ignored: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    pub(super) fn request_started(&self) {
        add(&self.active);
    }

    /// `route` is an index of the route tables; `timed` is false for log streams.
    pub(super) fn request_finished(&self, route: usize, code: u16, took: Duration, timed: bool) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        add(&self.codes[code_index(code)]);
        let of_route = &self.routes[route];
        add(&of_route.classes[match code {
            0..400 => 0,
            400..500 => 1,
            _ => 2,
        }]);
        if timed {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            let seconds = took.as_secs_f64();
            add(&self.seconds[SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len())]);
            self.nanos.fetch_add(nanos, Ordering::Relaxed);
            let micros = nanos / 1_000;
            add(&of_route.micros[MICROS.iter().position(|bound| micros < *bound).unwrap_or(MICROS.len())]);
            of_route.nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    pub(super) fn handshake(&self, resumed: bool) {
        add(if resumed { &self.handshakes_resumed } else { &self.handshakes });
    }

    pub(super) fn handshake_failed(&self, reason: HandshakeFailure) {
        let index =
            HANDSHAKE_FAILURES.iter().position(|(failure, _)| *failure == reason).expect("every reason is listed");
        add(&self.handshake_failures[index]);
    }

    pub(super) fn connection_opened(&self) {
        add(&self.connections);
    }

    pub(super) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn proxy_header_ignored(&self) {
        add(&self.proxy_header_ignored);
    }

    pub(super) fn panicked(&self) {
        add(&self.panics);
    }
}

fn code_index(code: u16) -> usize {
    CODES.iter().position(|known| *known == code).unwrap_or(match code {
        0..400 => 0,
        400..500 => 1,
        _ => 14,
    })
}

/// Method and path of a route index, for labels.
fn route_name(index: usize) -> &'static str {
    ROUTES.iter().chain(&LEGACY).nth(index).map_or("none", |route| route.path)
}
