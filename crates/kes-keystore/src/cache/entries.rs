//! The keys held: maps that readers share without writing to them, and that writers replace.
//!
//! On a server with a runtime for each core, every core asks for the same few keys all the time. A lock, even one for
//! readers, is a word that all of them write; here the only one is the reference count of the key they take along.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use kes_crypto::KeyVersion;

use super::{Settings, Stats};
use crate::KeyName;

/// A change copies one shard, of some 400 entries if 100 000 keys are cached.
const SHARDS: usize = 256;

/// Counters that a thread is likely to have for itself.
const STRIPES: usize = 32;

/// A use this soon after the last one need not be noted: readers of one key then share its memory without writing.
const USE_GRAIN: u64 = 10_000_000;

/// Time between two re-reads of one entry in the background.
const REREAD_GRAIN: u64 = 1_000_000_000;

/// The deadlines, in nanoseconds; `u64::MAX` for never.
pub(super) struct Rules {
    any: u64,
    unused: u64,
    refresh: u64,
    pub(super) offline: Option<u64>,
}

/// All keys held.
pub(super) struct Entries {
    shards: Box<[Shard]>,
    len: AtomicUsize,
    hits: Box<[Stripe]>,
    stale_hits: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
}

type Map = HashMap<KeyName, Arc<Entry>>;

#[derive(Default)]
struct Shard {
    map: ArcSwap<Map>,
    /// Held by whoever replaces the map.
    writer: Mutex<()>,
}

/// Apart from its neighbours in memory.
#[repr(align(128))]
#[derive(Default)]
struct Stripe(AtomicU64);

/// A key and its times, in nanoseconds since the cache was made.
struct Entry {
    key: Arc<KeyVersion>,
    fetched: u64,
    used: AtomicU64,
    /// Not to be re-read in the background before.
    reread: AtomicU64,
}

/// What is held of a name.
pub(super) enum Lookup {
    Fresh(Arc<KeyVersion>),
    /// Past its deadline.
    Stale,
    Absent,
}

impl Rules {
    pub(super) fn new(settings: &Settings) -> Self {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let any = settings.any.map_or(u64::MAX, nanoseconds);
        Self {
            any,
            unused: settings.unused.map_or(u64::MAX, nanoseconds),
            refresh: if any == u64::MAX { any } else { any / 5 * 4 },
            offline: settings.offline.map(nanoseconds),
        }
    }
}

impl Entry {
    /// The time from which on it may not be served.
    fn deadline(&self, rules: &Rules) -> u64 {
        let used = self.used.load(Relaxed);
        self.fetched.saturating_add(rules.any).min(used.saturating_add(rules.unused))
    }

    fn touch(&self, now: u64) {
        if now.saturating_sub(self.used.load(Relaxed)) > USE_GRAIN {
            self.used.store(now, Relaxed);
        }
    }

    /// Whether the caller may re-read it now; says so to one caller only.
    fn claim(&self, now: u64) -> bool {
        let due = self.reread.load(Relaxed);
        now >= due && self.reread.compare_exchange(due, now + REREAD_GRAIN, Relaxed, Relaxed).is_ok()
    }
}

impl Shard {
    /// Replaces the map by a changed copy.
    fn change<T>(&self, change: impl FnOnce(&mut Map) -> T) -> T {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = Map::clone(&self.map.load());
        let result = change(&mut map);
        self.map.store(Arc::new(map));
        result
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            len: AtomicUsize::new(0),
            hits: (0..STRIPES).map(|_| Stripe::default()).collect(),
            stale_hits: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }
}

impl Entries {
    fn shard(&self, name: &str) -> &Shard {
        // The end of a name differs more often than its beginning.
        let tail = name.as_bytes().iter().rev().take(8).fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        &self.shards[(tail.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % SHARDS]
    }

    /// The hot path: a hash, a comparison, a reference count.
    pub(super) fn lookup(&self, name: &str, now: u64, rules: &Rules) -> Lookup {
        let map = self.shard(name).map.load();
        let Some(entry) = map.get(name) else { return Lookup::Absent };
        if now >= entry.deadline(rules) {
            return Lookup::Stale;
        }
        self.count_hit();
        entry.touch(now);
        Lookup::Fresh(entry.key.clone())
    }

    fn count_hit(&self) {
        self.hits[stripe()].0.fetch_add(1, Relaxed);
    }

    /// The key whatever its deadline.
    pub(super) fn stale(&self, name: &str, now: u64) -> Option<Arc<KeyVersion>> {
        let map = self.shard(name).map.load();
        let entry = map.get(name)?;
        entry.touch(now);
        self.count_hit();
        self.stale_hits.fetch_add(1, Relaxed);
        Some(entry.key.clone())
    }

    pub(super) fn claim(&self, name: &str, now: u64) -> bool {
        self.shard(name).map.load().get(name).is_some_and(|entry| entry.claim(now))
    }

    pub(super) fn touch(&self, name: &str, now: u64) {
        if let Some(entry) = self.shard(name).map.load().get(name) {
            entry.touch(now);
        }
    }

    /// Takes in a key just fetched. One held already keeps its time of last use.
    pub(super) fn insert(&self, name: &KeyName, key: &Arc<KeyVersion>, now: u64) {
        let is_new = self.shard(name.as_str()).change(|map| {
            let used = map.get(name).map_or(now, |entry| entry.used.load(Relaxed));
            let (used, reread) = (AtomicU64::new(used), AtomicU64::new(now));
            let entry = Entry { key: key.clone(), fetched: now, used, reread };
            map.insert(name.clone(), Arc::new(entry)).is_none()
        });
        if is_new {
            self.len.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn remove(&self, name: &KeyName) {
        let shard = self.shard(name.as_str());
        if shard.map.load().contains_key(name) && shard.change(|map| map.remove(name).is_some()) {
            self.len.fetch_sub(1, Relaxed);
        }
    }

    /// Drops entries that reached their deadline `grace` ago.
    pub(super) fn sweep(&self, now: u64, rules: &Rules, grace: u64) {
        let is_over = |entry: &Entry| now >= entry.deadline(rules).saturating_add(grace);
        let dropped = self.retain(|entry| !is_over(entry));
        self.expired.fetch_add(dropped, Relaxed);
    }

    /// If there are more than `max` entries (0: any number), drops those used longest ago. A hundredth goes at once, so
    /// that finding them costs little for each.
    pub(super) fn shrink(&self, max: usize) {
        let len = self.len.load(Relaxed);
        if max == 0 || len <= max {
            return;
        }
        let goes = (len - max).max(max / 100);
        let mut used: Vec<u64> = Vec::with_capacity(len);
        for shard in &self.shards {
            used.extend(shard.map.load().values().map(|entry| entry.used.load(Relaxed)));
        }
        let Some(last) = goes.checked_sub(1).filter(|last| *last < used.len()) else { return };
        let threshold = *used.select_nth_unstable(last).1;
        // Of those last used in the same instant as the last to go, only as many go as are too many.
        let mut older = used.iter().filter(|used| **used < threshold).count();
        let mut equal = goes - older;
        let dropped = self.retain(|entry| {
            let used = entry.used.load(Relaxed);
            let rest = if used < threshold { &mut older } else { &mut equal };
            if used > threshold || *rest == 0 {
                return true;
            }
            *rest -= 1;
            false
        });
        self.evicted.fetch_add(dropped, Relaxed);
    }

    /// Drops entries; says how many. A shard is copied only if something in it goes.
    fn retain(&self, mut keep: impl FnMut(&Entry) -> bool) -> u64 {
        let mut dropped = 0;
        for shard in &self.shards {
            let map = shard.map.load();
            let goes: Vec<(&KeyName, &Arc<Entry>)> = map.iter().filter(|(_, entry)| !keep(entry)).collect();
            if goes.is_empty() {
                continue;
            }
            // An entry that was replaced in the meantime stays.
            let is_same = |map: &Map, name: &KeyName, entry| map.get(name).is_some_and(|now| Arc::ptr_eq(now, entry));
            dropped += shard.change(|map| {
                goes.iter().filter(|(name, entry)| is_same(map, name, entry) && map.remove(*name).is_some()).count()
            });
        }
        self.len.fetch_sub(dropped, Relaxed);
        dropped as u64
    }

    /// Claims the entries to be re-read now: used since their fetch, and past 80 % of `any`.
    pub(super) fn due(&self, now: u64, rules: &Rules) -> Vec<KeyName> {
        let is_due = |entry: &Arc<Entry>| {
            entry.used.load(Relaxed) > entry.fetched
                && now >= entry.fetched.saturating_add(rules.refresh)
                && now < entry.deadline(rules)
                && entry.claim(now)
        };
        let mut due = Vec::new();
        for shard in &self.shards {
            due.extend(shard.map.load().iter().filter(|(_, entry)| is_due(entry)).map(|(name, _)| name.clone()));
        }
        due
    }

    /// What is known here of the cache's statistics.
    pub(super) fn stats(&self, now: u64) -> Stats {
        let oldest_of = |shard: &Shard| shard.map.load().values().map(|entry| entry.fetched).min();
        let oldest = self.shards.iter().filter_map(oldest_of).min();
        Stats {
            hits: self.hits.iter().map(|stripe| stripe.0.load(Relaxed)).sum(),
            stale_hits: self.stale_hits.load(Relaxed),
            expired: self.expired.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            entries: self.len.load(Relaxed),
            oldest: oldest.map(|fetched| Duration::from_nanos(now.saturating_sub(fetched))),
            ..Stats::default()
        }
    }
}

/// The counter of this thread.
fn stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) });
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(THREADS.fetch_add(1, Relaxed) % STRIPES);
        }
        stripe.get()
    })
}
