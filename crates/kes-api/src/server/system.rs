//! Facts about the process and its machine, for status and metrics.

use std::fmt::Write as _;
use std::time::Duration;

use kes_keystore::ErrorKind;
use kes_keystore::cache::BUCKETS;

use super::metrics::Gauges;
use super::shared::Shared;
use super::state::State;

/// In Go's spelling, as clients know it.
pub(super) const OS: &str = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };

/// In Go's spelling.
pub(super) const ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    "ppc64le"
} else {
    std::env::consts::ARCH
};

/// Memory of the process in bytes. There is no garbage-collected heap to report: this is what lies in memory that
/// belongs to the process alone, and the stack of its first thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) heap: u64,
    pub(super) stack: u64,
    pub(super) threads: u64,
}

/// Zeros where the system does not tell.
pub(super) fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    Memory { heap: number("RssAnon") * 1024, stack: number("VmStk") * 1024, threads: number("Threads") }
}

/// Processors of the machine.
pub(super) fn cpus() -> u64 {
    // The kernel lists every processor; what the process may use is what `available_parallelism` says.
    let listed = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let count = listed.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    if count > 0 { count as u64 } else { std::thread::available_parallelism().map_or(1, |count| count.get() as u64) }
}

pub(super) fn gauges(shared: &Shared, state: &State, full: bool) -> Gauges {
    let memory = memory();
    let mut store = String::new();
    if full {
        write_cache(state, &mut store);
    }
    Gauges {
        audit_events: shared.audit.events(),
        error_events: shared.log.events(),
        audit_dropped: shared.audit.dropped(),
        audit_file_dropped: shared.audit.dropped_by_file(),
        error_dropped: shared.log.dropped(),
        stream_lagged: shared.audit.stream.lagged() + shared.log.stream.lagged(),
        stream_subscribers: (shared.audit.stream.subscribers() + shared.log.stream.subscribers()) as u64,
        heap_bytes: memory.heap,
        stack_bytes: memory.stack,
        cpus: cpus(),
        cpus_used: shared.workers.len() as u64,
        threads: memory.threads,
        uptime: shared.started.elapsed().as_secs_f64(),
        certificate_expiry: Some(state.tls.facts.not_after.unix_timestamp()),
        reloads: Some(shared.reloads.tally()),
        connections_limit: shared.limits().connections.unwrap_or_default() as u64,
        probes: shared.probes.counts().to_vec(),
        store,
    }
}

/// Families of the key cache and of the calls of its store.
fn write_cache(state: &State, out: &mut String) {
    let stats = state.keys.stats();
    let seconds = |duration: Option<Duration>| duration.map_or(0.0, |duration| duration.as_secs_f64());
    for (name, kind, help, value) in [
        ("kes_cache_hits_total", "counter", "Keys served from the cache.", stats.hits as f64),
        (
            "kes_cache_stale_hits_total",
            "counter",
            "Keys served past their deadline during an outage of the store.",
            stats.stale_hits as f64,
        ),
        ("kes_cache_misses_total", "counter", "Keys that were not cached when asked for.", stats.misses as f64),
        ("kes_cache_fetches_total", "counter", "Reads of the store that yielded a key.", stats.fetches as f64),
        (
            "kes_cache_fetch_failures_total",
            "counter",
            "Reads of the store that failed; an absent key is no failure.",
            stats.fetch_failures as f64,
        ),
        ("kes_cache_expired_total", "counter", "Keys dropped because of a deadline.", stats.expired as f64),
        ("kes_cache_evicted_total", "counter", "Keys dropped because there were too many.", stats.evicted as f64),
        ("kes_cache_entries", "gauge", "Keys in the cache.", stats.entries as f64),
        ("kes_cache_oldest_seconds", "gauge", "Age of the oldest key in the cache.", seconds(stats.oldest)),
        (
            "kes_store_offline",
            "gauge",
            "1 while the last three calls or more did not reach the store.",
            f64::from(u8::from(stats.offline)),
        ),
        (
            "kes_store_outage_seconds",
            "gauge",
            "Time since the first failure of an outage that is going on.",
            seconds(stats.outage),
        ),
        (
            "kes_store_throttled_total",
            "counter",
            "Requests that the service behind the key store answered to be too many.",
            state.keys.store().throttled() as f64,
        ),
    ] {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    write_store_calls(state, out);
}

fn write_store_calls(state: &State, out: &mut String) {
    let calls = state.keys.calls();
    let _ = out.write_str("# HELP kes_store_errors_total Calls of the key store that failed, by operation and kind.\n# TYPE kes_store_errors_total counter\n");
    for call in &calls {
        for (kind, count) in ErrorKind::ALL.iter().zip(call.errors).filter(|(_, count)| *count > 0) {
            let (operation, kind) = (call.operation.as_str(), kind.as_str());
            let _ = writeln!(out, "kes_store_errors_total{{operation=\"{operation}\",kind=\"{kind}\"}} {count}");
        }
    }
    let _ = out.write_str("# HELP kes_store_seconds Duration of calls of the key store, by operation.\n# TYPE kes_store_seconds histogram\n");
    for call in calls.iter().filter(|call| call.count > 0) {
        let operation = call.operation.as_str();
        let mut below = 0;
        for (index, count) in call.buckets.iter().enumerate() {
            below += count;
            let bound = BUCKETS.get(index).map_or_else(|| "+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            let _ = writeln!(out, "kes_store_seconds_bucket{{operation=\"{operation}\",le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "kes_store_seconds_sum{{operation=\"{operation}\"}} {}", call.total.as_secs_f64());
        let _ = writeln!(out, "kes_store_seconds_count{{operation=\"{operation}\"}} {}", call.count);
    }
}
