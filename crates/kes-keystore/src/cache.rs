//! Typed keys over any store: what every reader of keys goes through.
//!
//! | when | what happens |
//! |---|---|
//! | a key is asked for and cached | it is served; nothing waits, nothing is allocated |
//! | it is not cached | one fetch, however many ask; it ends early only when nobody waits any more |
//! | `any` after its fetch, `unused` after its last use | an entry is no longer served, and soon wiped |
//! | 80 % of `any` have passed and the key was used since its fetch | it is read again in the background |
//! | more than `max_keys` are cached | those used longest ago go |
//! | a key is created | the store alone changes: a store that lied about success must not be covered up by a cache |
//! | a key is deleted, or found to be deleted | its entry goes, and a fetch under way cannot bring it back |
//!
//! **Outage.** A call that does not reach the store or is not answered in time counts as a transport failure; three in
//! a row set the *offline* flag, one answer clears it. A probe asks for the store's status every 10 seconds, so the flag
//! follows the store also when nobody else calls. While it is set, [`Cache::status`] fails at once. If `offline` is not
//! `None`, then from the first failure of an outage until `offline` later, entries past their deadlines stay: a re-read
//! that fails is answered from the entry, and once the flag is set the entry is served at once and re-read in the
//! background. Keys that are not cached fail as the store does. Nothing is created or deleted offline.
//!
//! Failures are never cached, and neither is the absence of a key: a key created on one server can be used on the next.
//! Other servers are not told of a deletion; they serve the key for up to `any`.
//!
//! Calls that change the store run as tasks of their own and finish even if the caller goes away.
// Departs from upstream: MinIO KES empties the whole cache every `any`, keeps a key whose deletion answered "not found",
// starts a fetch for each waiter in turn, and during an outage keeps entries for a random part of `offline`.

mod background;
mod calls;
mod engine;
mod entries;
mod flights;
mod health;
mod mutations;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kes_crypto::{KeyType, KeyVersion, SecretKey};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use self::calls::Calls;
pub use self::calls::{BUCKETS, CallStats};
pub use self::engine::Remote;
use self::entries::{Entries, Lookup, Rules};
use self::flights::{Flights, Joined};
use self::mutations::Mutations;
use crate::{Error, Kept, KeyName, KeyStore, Operation, Page, Status, Value};

/// How long keys are kept and how long the store may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An entry lives this long after its fetch; `None` for ever. Default 5 minutes.
    pub any: Option<Duration>,
    /// An entry lives this long after its last use; `None` for ever. Default 30 seconds.
    pub unused: Option<Duration>,
    /// During an outage of the store entries are served this long; `None` (the default) turns offline mode off.
    pub offline: Option<Duration>,
    /// At most so many keys are cached; 0 is no limit. Default 100 000.
    pub max_keys: usize,
    /// Deadline of a read or a listing. Default 10 seconds.
    pub read_deadline: Duration,
    /// Deadline of a create or a delete. Default 12 seconds.
    pub write_deadline: Duration,
    /// Deadline of a status call. Default 5 seconds.
    pub status_deadline: Duration,
    /// How often the store is asked for its status. Default 10 seconds; every second while it is out.
    pub probe_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            any: Some(Duration::from_secs(300)),
            unused: Some(Duration::from_secs(30)),
            offline: None,
            max_keys: 100_000,
            read_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(12),
            status_deadline: Duration::from_secs(5),
            probe_interval: Duration::from_secs(10),
        }
    }
}

/// Keys by name, cached over a store. A clone is a handle to the same cache.
///
/// Callers may live on any runtime; fetches, changes and timers run on the one the cache was made on. When the last
/// handle is dropped and the last change has ended, timers stop, the keys are wiped as soon as nobody uses them, and the
/// store is [closed](KeyStore::close), unless somebody else holds it.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
    /// The settings' deadlines, or shorter ones.
    limit: Duration,
}

/// What a cache has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys served from the cache, stale ones included.
    pub hits: u64,
    /// Keys served after their deadline, because the store was out.
    pub stale_hits: u64,
    /// Keys asked for that were not cached.
    pub misses: u64,
    /// Reads of the store that yielded a key.
    pub fetches: u64,
    /// Reads of the store that failed; an absent key is not a failure.
    pub fetch_failures: u64,
    /// Entries dropped because of a deadline.
    pub expired: u64,
    /// Entries dropped because there were too many.
    pub evicted: u64,
    /// Keys held now.
    pub entries: usize,
    /// Time since the oldest fetch of a key held now.
    pub oldest: Option<Duration>,
    /// Whether the last three calls or more did not reach the store.
    pub offline: bool,
    /// Time since the first of the failures of an outage that is going on.
    pub outage: Option<Duration>,
}

/// What all handles share.
struct Shared {
    settings: Settings,
    rules: Rules,
    /// Times are nanoseconds since this instant.
    origin: Instant,
    runtime: Handle,
    calls: Calls,
    entries: Entries,
    flights: Flights,
    mutations: Mutations,
    /// Bounds how many re-reads run in the background at once.
    background: Arc<Semaphore>,
    misses: AtomicU64,
    fetches: AtomicU64,
    fetch_failures: AtomicU64,
    tasks: OnceLock<[AbortHandle; 4]>,
}

/// How many re-reads may run in the background at once.
const BACKGROUND_READS: usize = 16;

impl Cache {
    /// An empty cache over a store.
    ///
    /// # Panics
    /// Outside a tokio runtime with timers, which must outlive the cache.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>, settings: Settings) -> Self {
        let rules = Rules::new(&settings);
        let shared = Arc::new(Shared {
            rules,
            origin: Instant::now(),
            runtime: Handle::current(),
            calls: Calls::new(store),
            entries: Entries::default(),
            flights: Flights::default(),
            mutations: Mutations::default(),
            background: Arc::new(Semaphore::new(BACKGROUND_READS)),
            misses: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            fetch_failures: AtomicU64::new(0),
            tasks: OnceLock::new(),
            settings,
        });
        let started = shared.tasks.set(background::start(&shared));
        debug_assert!(started.is_ok(), "the cell is new");
        Self { shared, limit: Duration::MAX }
    }

    /// A handle whose calls wait at most this long, if the settings do not say less: a second below the timeout of the
    /// request they serve.
    #[must_use]
    pub fn limited(&self, limit: Duration) -> Self {
        Self { shared: self.shared.clone(), limit: limit.min(self.limit) }
    }

    /// The key, if it is cached and may be served; counts as a use. Never waits: the hot path.
    #[must_use]
    pub fn hit(&self, name: &str) -> Option<Arc<KeyVersion>> {
        let shared = &self.shared;
        let now = shared.now();
        match shared.entries.lookup(name, now, &shared.rules) {
            Lookup::Fresh(key) => Some(key),
            Lookup::Absent => None,
            Lookup::Stale => shared.hit_stale(name, now),
        }
    }

    /// The key, from the cache or the store. All who wait for a name share one fetch and its outcome; it has the
    /// settings' deadline and is given up when the last of them goes away.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Damaged`] if the stored value is no key; else as the store's.
    pub async fn get(&self, name: &KeyName) -> Result<Arc<KeyVersion>, Error> {
        if let Some(key) = self.hit(name.as_str()) {
            return Ok(key);
        }
        let shared = &self.shared;
        shared.misses.fetch_add(1, Relaxed);
        let fetch = match shared.join(name) {
            Joined::Landed(key) => return Ok(key),
            Joined::Flying(receiver) => flights::wait(receiver),
        };
        // Who is patient leaves the deadline to the fetch, which then counts as a failure of the store.
        let fetched = if self.limit >= shared.settings.read_deadline {
            fetch.await
        } else {
            match timeout(self.limit, fetch).await {
                Ok(fetched) => fetched,
                Err(_) => Err(shared.calls.timed_out(Operation::Get, self.limit)),
            }
        };
        let now = shared.now();
        match fetched {
            Ok(key) => {
                shared.entries.touch(name.as_str(), now);
                Ok(key)
            }
            Err(error) if error.kind().is_outage() && shared.may_serve_stale(now) => {
                shared.entries.stale(name.as_str(), now).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores a new key. The cache is not filled. If the store may report success without having stored the key, the
    /// key is read back and compared first. Goes on when the caller goes away.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::NotStored`]; else as the store's.
    pub async fn create(&self, name: &KeyName, key: KeyVersion) -> Result<(), Error> {
        let limit = self.limit.min(self.shared.settings.write_deadline);
        let name = name.clone();
        self.detached(Operation::Create, move |shared| async move { shared.create(&name, &key, limit).await }).await
    }

    /// Removes a key from the store and from the cache. Goes on when the caller goes away.
    ///
    /// # Errors
    /// [`Error::NotFound`], unless the store cannot tell; else as the store's.
    pub async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        let limit = self.limit.min(self.shared.settings.write_deadline);
        let name = name.clone();
        self.detached(Operation::Delete, move |shared| async move { shared.delete(&name, limit).await }).await
    }

    /// A page of names, straight from the store: see [`KeyStore::list`].
    ///
    /// # Errors
    /// As the store's.
    pub async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        let calls = &self.shared.calls;
        let deadline = self.limit.min(self.shared.settings.read_deadline);
        calls.measure(&self.shared, Operation::List, deadline, calls.store.list(prefix, from, limit)).await
    }

    /// The store's status; at once [`Error::Unreachable`] while the offline flag is set.
    ///
    /// # Errors
    /// As the store's.
    pub async fn status(&self) -> Result<Status, Error> {
        if let Some(error) = self.shared.calls.offline_error() {
            return Err(error);
        }
        self.shared.status(self.limit).await
    }

    /// Whether requests can be served: the store's status, and a seal and open in memory with a throw-away key. No key
    /// of the store is touched.
    ///
    /// # Errors
    /// As the store's; [`Error::Failed`] if the cryptography does not work on this machine.
    pub async fn ready(&self) -> Result<Status, Error> {
        let status = self.status().await?;
        let failed = |source| Error::Failed {
            entry: "self-test".to_owned(),
            operation: Operation::Status,
            remedy: "this machine cannot encrypt and decrypt",
            source: Some(Arc::new(source)),
        };
        self_test().map_err(failed)?;
        Ok(status)
    }

    /// Waits until no create or delete is under way any more: at shutdown.
    pub async fn settled(&self) {
        self.shared.mutations.settled().await;
    }

    /// Closes the store, at shutdown: a cache that is merely dropped closes it in the background.
    pub async fn close(&self) {
        self.shared.calls.close().await;
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn KeyStore> {
        &self.shared.calls.store
    }

    /// How this cache was set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What the cache has done and holds. Walks all entries.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let now = shared.now();
        let mut stats = shared.entries.stats(now);
        stats.misses = shared.misses.load(Relaxed);
        stats.fetches = shared.fetches.load(Relaxed);
        stats.fetch_failures = shared.fetch_failures.load(Relaxed);
        stats.offline = shared.calls.health.is_offline();
        stats.outage = shared.calls.health.outage(now).map(Duration::from_nanos);
        stats
    }

    /// Number, outcome and duration of the calls of the store, for each operation in the order of [`Operation::ALL`].
    #[must_use]
    pub fn calls(&self) -> [CallStats; Operation::ALL.len()] {
        self.shared.calls.stats()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({})", self.store().describe())
    }
}

impl Shared {
    fn now(&self) -> u64 {
        // 584 years.
        self.origin.elapsed().as_nanos() as u64
    }

    fn may_serve_stale(&self, now: u64) -> bool {
        match (self.rules.offline, self.calls.health.outage(now)) {
            (Some(offline), Some(outage)) => outage < offline,
            _ => false,
        }
    }

    /// An entry past its deadline: served at once if the store is known to be out.
    #[cold]
    fn hit_stale(self: &Arc<Self>, name: &str, now: u64) -> Option<Arc<KeyVersion>> {
        if !self.calls.health.is_offline() || !self.may_serve_stale(now) {
            return None;
        }
        let key = self.entries.stale(name, now)?;
        if self.entries.claim(name, now) {
            background::reread(self, KeyName::parse(name).expect("only key names are cached"));
        }
        Some(key)
    }

    /// Reads and parses a key.
    async fn fetch(&self, name: &KeyName) -> Result<Arc<KeyVersion>, Error> {
        let deadline = self.settings.read_deadline;
        let stored = self.calls.measure(self, Operation::Get, deadline, self.calls.store.get(name)).await;
        let fetched = stored.and_then(|value| match KeyVersion::parse(value.expose()) {
            Ok(key) => Ok(Arc::new(key)),
            Err(why) => Err(Error::Damaged {
                entry: self.calls.entry(name),
                problem: "the stored value is no readable key",
                source: Some(Arc::new(why)),
            }),
        });
        match &fetched {
            Ok(_) => self.fetches.fetch_add(1, Relaxed),
            Err(Error::NotFound) => 0,
            Err(_) => self.fetch_failures.fetch_add(1, Relaxed),
        };
        fetched
    }

    async fn create(&self, name: &KeyName, key: &KeyVersion, limit: Duration) -> Result<(), Error> {
        let started = Instant::now();
        let record = key.encode().map_err(|why| Error::Failed {
            entry: self.calls.entry(name),
            operation: Operation::Create,
            remedy: "the key has no form in which it could be stored",
            source: Some(Arc::new(why)),
        })?;
        let store = &self.calls.store;
        let created = self.calls.measure(self, Operation::Create, limit, store.create(name, record.expose())).await;
        if matches!(created, Err(Error::Exists)) {
            // What is there may be another key than the one that is cached.
            self.forget(name);
        }
        created?;
        if let Kept::No(_) = store.promises().honest_create {
            let rest = limit.saturating_sub(started.elapsed()).min(self.settings.read_deadline);
            let stored = self.calls.measure(self, Operation::Get, rest, store.get(name)).await;
            self.check_read_back(name, record.expose(), stored)?;
        }
        // A key of that name deleted behind our back may still be cached, and a fetch may have seen the name absent.
        self.forget(name);
        Ok(())
    }

    fn check_read_back(&self, name: &KeyName, written: &[u8], stored: Result<Value, Error>) -> Result<(), Error> {
        match stored {
            Ok(value) if value.expose() == written => Ok(()),
            // Somebody else's create won.
            Ok(_) => Err(Error::Exists),
            Err(Error::NotFound) => Err(Error::NotStored { entry: self.calls.entry(name) }),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, name: &KeyName, limit: Duration) -> Result<(), Error> {
        let deleted = self.calls.measure(self, Operation::Delete, limit, self.calls.store.delete(name)).await;
        if let Ok(()) | Err(Error::NotFound) = deleted {
            self.forget(name);
        }
        deleted
    }

    async fn status(&self, limit: Duration) -> Result<Status, Error> {
        let deadline = limit.min(self.settings.status_deadline);
        self.calls.measure(self, Operation::Status, deadline, self.calls.store.status()).await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in self.tasks.get().into_iter().flatten() {
            task.abort();
        }
        self.calls.retire(&self.runtime);
    }
}

/// Seals and opens with a throw-away key of each cipher.
fn self_test() -> Result<(), kes_crypto::Error> {
    for key_type in [KeyType::Aes256, KeyType::ChaCha20] {
        let key = SecretKey::generate(key_type)?;
        let sealed = key.seal(b"self-test", b"ready")?;
        if key.open(&sealed, b"ready")?.expose() != b"self-test" {
            return Err(kes_crypto::Error::NotAuthentic);
        }
    }
    Ok(())
}
