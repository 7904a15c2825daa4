//! Calls of the store: each with a deadline, counted, and taken as a sign of the store's health.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::health::Health;
use crate::{Error, ErrorKind, KeyName, KeyStore, Operation};

/// Upper bounds of the buckets of [`CallStats::buckets`]; one more bucket holds what took longer.
pub const BUCKETS: [Duration; 16] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

/// Longest time that closing a store may take.
const CLOSE: Duration = Duration::from_secs(5);

/// What has become of the calls of one operation. Calls given up by whoever asked are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallStats {
    /// The operation.
    pub operation: Operation,
    /// Calls that ended, well or not.
    pub count: u64,
    /// Those that ended with an error, by kind in the order of [`ErrorKind::ALL`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// Their durations added up.
    pub total: Duration,
    /// How many took at most each of [`BUCKETS`] and longer than the one before; the last: longer than all.
    pub buckets: [u64; BUCKETS.len() + 1],
}

/// The store, and what is known of it.
pub(super) struct Calls {
    pub(super) store: Arc<dyn KeyStore>,
    pub(super) health: Health,
    /// The last transport failure.
    last_failure: Mutex<Option<Error>>,
    is_closed: AtomicBool,
    counters: [Counters; Operation::ALL.len()],
}

#[derive(Default)]
struct Counters {
    count: AtomicU64,
    errors: [AtomicU64; ErrorKind::ALL.len()],
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

impl Calls {
    pub(super) fn new(store: Arc<dyn KeyStore>) -> Self {
        Self {
            store,
            health: Health::new(),
            last_failure: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            counters: Default::default(),
        }
    }

    /// Closes the store, once.
    pub(super) async fn close(&self) {
        if !self.is_closed.swap(true, Relaxed) {
            close(&*self.store).await;
        }
    }

    /// Closes the store in the background, unless that was done or somebody else holds it: nobody asks it any more.
    pub(super) fn retire(&mut self, runtime: &Handle) {
        if Arc::get_mut(&mut self.store).is_some() && !*self.is_closed.get_mut() {
            let store = Arc::clone(&self.store);
            runtime.spawn(async move { close(&*store).await });
        }
    }

    /// Waits for a call of the store, at most until its deadline.
    pub(super) async fn measure<T>(
        &self,
        shared: &Shared,
        operation: Operation,
        deadline: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let result = match timeout(deadline, call).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(operation, deadline)),
        };
        let error = result.as_ref().err();
        let kind = error.map(Error::kind);
        if kind.is_some_and(ErrorKind::is_outage) {
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = error.cloned();
        }
        self.health.observe(kind, shared.now());
        self.counters[operation as usize].count(kind, start.elapsed());
        result
    }

    pub(super) fn timed_out(&self, operation: Operation, after: Duration) -> Error {
        Error::Timeout { store: self.store.describe(), operation, after }
    }

    /// How an entry of the store is named in errors.
    pub(super) fn entry(&self, name: &KeyName) -> String {
        format!("{}: key '{name}'", self.store.describe())
    }

    /// What to answer without asking while the offline flag is set.
    pub(super) fn offline_error(&self) -> Option<Error> {
        if !self.health.is_offline() {
            return None;
        }
        let last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(match last {
            Some(error @ Error::Unreachable { .. }) => error,
            last => Error::Unreachable {
                store: self.store.describe(),
                remedy: "its last calls were not answered",
                source: last.map(|error| Arc::new(error) as _),
            },
        })
    }

    pub(super) fn stats(&self) -> [CallStats; Operation::ALL.len()] {
        Operation::ALL.map(|operation| {
            let counters = &self.counters[operation as usize];
            CallStats {
                operation,
                count: counters.count.load(Relaxed),
                errors: counters.errors.each_ref().map(|count| count.load(Relaxed)),
                total: Duration::from_nanos(counters.nanoseconds.load(Relaxed)),
                buckets: counters.buckets.each_ref().map(|count| count.load(Relaxed)),
            }
        })
    }
}

/// A store that does not answer cannot be given anything back.
async fn close(store: &dyn KeyStore) {
    let _ = timeout(CLOSE, store.close()).await;
}

impl Counters {
    fn count(&self, error: Option<ErrorKind>, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        if let Some(kind) = error {
            self.errors[kind as usize].fetch_add(1, Relaxed);
        }
        self.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.buckets[BUCKETS.partition_point(|bound| *bound < took)].fetch_add(1, Relaxed);
    }
}
