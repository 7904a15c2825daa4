//! What all connections share: the state, the logs, the counters.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::access::Reported;
use super::audit::Audit;
use super::lists::Continuations;
use super::log::{Log, Seldom};
use super::metrics::Metrics;
use super::probe::Probes;
use super::quota::Quotas;
use super::reloads::Reloads;
use super::request_id::RequestId;
use super::state::State;

/// Limits of connections and their time. A reload changes them for new connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones are accepted and closed at once, counted, and now and then logged. `None`
    /// (default): as many as the system gives.
    pub connections: Option<usize>,
    /// For a TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// From the handshake to the first complete request header, and for each later one once it has begun. Default 5 s.
    pub header: Duration,
    /// Between requests. Default 90 s.
    pub idle: Duration,
    /// For requests in flight when the server shuts down. Default 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(90),
            drain: Duration::from_secs(10),
        }
    }
}

/// Version and build of the server, as it tells clients.
#[derive(Clone, Debug)]
pub struct Build {
    /// Without blanks.
    pub version: String,
    /// 40 hex digits, or `<unknown>`.
    pub commit: String,
}

/// One thread with its own runtime and counters.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) metrics: Metrics,
    /// Connections that it serves.
    pub(super) load: AtomicUsize,
    /// Fires when the last of them ends.
    pub(super) idle: Notify,
    /// Requests that it has named.
    pub(super) requests: AtomicU64,
    /// Its runtime, once it runs.
    pub(super) runtime: OnceLock<tokio::runtime::Handle>,
}

impl Worker {
    /// A name for a request that has none.
    pub(super) fn next_request(&self, process: u32) -> RequestId {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        RequestId::Own { process, worker: self.index as u32, count }
    }

    /// Comes back with whether the worker still does what it is asked; never, if it is stuck.
    async fn answers(&self) -> bool {
        match self.runtime.get() {
            Some(runtime) => runtime.spawn(async {}).await.is_ok(),
            None => false,
        }
    }
}

pub(super) struct Shared {
    pub(super) state: ArcSwap<State>,
    /// Held by whoever puts another state in the place of the one in force.
    pub(super) changing: Mutex<()>,
    pub(super) log: Arc<Log>,
    pub(super) audit: Audit,
    pub(super) workers: Vec<Arc<Worker>>,
    pub(super) build: Build,
    /// What names of requests begin with.
    pub(super) process: u32,
    pub(super) started: Instant,
    /// Policies and identities were made when the server started: they come from its file.
    pub(super) created_at: OffsetDateTime,
    pub(super) reported: Reported,
    pub(super) continuations: Continuations,
    pub(super) quotas: Quotas,
    pub(super) shutdown: watch::Sender<bool>,
    /// The same, for a quick look.
    pub(super) stopping: AtomicBool,
    /// Changes to the store that are under way.
    pub(super) detached: watch::Sender<usize>,
    pub(super) status: StatusAnswer,
    pub(super) reloads: Reloads,
    pub(super) probes: Probes,
    /// Lines about connections beyond the limit.
    pub(super) turned_away: Seldom,
}

impl Shared {
    /// Waits for `work`, or for the shutdown: then `None`.
    ///
    /// Like a select over both, but the shutdown is looked at once to be woken by it, and then only when it has come: a
    /// connection is polled for every request.
    pub(super) async fn unless_stopped<F: Future + Unpin>(&self, mut work: F) -> Option<F::Output> {
        let mut stop = self.shutdown.subscribe();
        let mut stopped = std::pin::pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
        let mut is_registered = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = Pin::new(&mut work).poll(cx) {
                return Poll::Ready(Some(output));
            }
            if is_registered && !self.stopping.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            is_registered = true;
            stopped.as_mut().poll(cx).map(|_| None)
        })
        .await
    }

    /// Counts a change to the store until the guard is dropped; a shutdown waits for it.
    pub(super) fn detach(self: &Arc<Self>) -> Detached {
        self.detached.send_modify(|count| *count += 1);
        Detached(Arc::clone(self))
    }

    /// Connections that were accepted and have not ended.
    pub(super) fn load(&self) -> usize {
        self.workers.iter().map(|worker| worker.load.load(Ordering::Relaxed)).sum()
    }

    /// Limits of connections as they are now.
    pub(super) fn limits(&self) -> Limits {
        self.state.load().settings.connections
    }

    /// Whether every worker does what it is asked within this time.
    pub(super) async fn answers(&self, within: Duration) -> bool {
        let all = async {
            for worker in &self.workers {
                if !worker.answers().await {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(within, all).await.unwrap_or(false)
    }
}

/// The last answer to a status request, for as long as it can be called new: a monitoring system that asks a thousand
/// times a second need not make the store work as often. Bad news is never kept.
#[derive(Debug, Default)]
pub(super) struct StatusAnswer(Mutex<Option<(Instant, Bytes)>>);

impl StatusAnswer {
    const AGE: Duration = Duration::from_millis(20);

    pub(super) fn get(&self) -> Option<Bytes> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < Self::AGE).map(|(_, body)| body.clone())
    }

    pub(super) fn put(&self, body: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), body));
    }

    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A change to the store that outlives its connection.
pub(super) struct Detached(Arc<Shared>);

impl Drop for Detached {
    fn drop(&mut self) {
        self.0.detached.send_modify(|count| *count -= 1);
    }
}
