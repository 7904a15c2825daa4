//! What one scrape tells.

use std::collections::BTreeMap;

use kes_client::Metrics;
use serde::Serialize;

use super::exposition::Exposition;
use super::histogram::Histogram;

/// The numbers of one scrape. Those of the operator's view are absent from servers that have none.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Answered 200, 4xx, 5xx since the start of the server.
    pub(super) requests: [f64; 3],
    pub(super) active: f64,
    pub(super) latency: Histogram,
    pub(super) cache: Option<Cache>,
    pub(super) store: Option<Store>,
    pub(super) heap: f64,
    pub(super) stack: f64,
    pub(super) up_time: f64,
    pub(super) cpus: f64,
    pub(super) cpus_used: f64,
    pub(super) threads: f64,
    pub(super) connections: Option<f64>,
    pub(super) audit_events: f64,
    pub(super) error_events: f64,
    /// Requests by route.
    pub(super) routes: BTreeMap<String, Route>,
}

/// The key cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    pub(super) hits: f64,
    pub(super) misses: f64,
    pub(super) entries: f64,
    pub(super) oldest: f64,
}

/// The key store, as the server sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) calls: Histogram,
    pub(super) errors: f64,
    pub(super) offline: bool,
    pub(super) outage: f64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    pub(super) requests: f64,
    pub(super) latency: Histogram,
}

/// Our own scrapes are no load to look at.
const SCRAPE: &str = "/v1/metrics";

impl Snapshot {
    pub(super) fn read(text: &str) -> Self {
        let page = Exposition::parse(text);
        let one = |name| page.one(name).unwrap_or_default();
        let route = "kes_route_response_seconds";
        let by_route = Histogram::read(&page, route, |sample| sample.label("route") != Some(SCRAPE));
        let is_full = page.one("kes_route_response_seconds_count").is_some();
        Self {
            requests: ["kes_http_request_success", "kes_http_request_error", "kes_http_request_failure"]
                .map(|name| page.sum(name)),
            active: one("kes_http_request_active"),
            latency: if is_full { by_route } else { Histogram::read(&page, "kes_http_response_time", |_| true) },
            cache: cache(&page),
            store: store(&page),
            heap: one("kes_system_mem_heap_used"),
            stack: one("kes_system_mem_stack_used"),
            up_time: one("kes_system_up_time"),
            cpus: one("kes_system_num_cpu"),
            cpus_used: one("kes_system_num_cpu_used"),
            threads: one("kes_system_num_threads"),
            connections: page.one("kes_connections"),
            audit_events: one("kes_log_audit_events"),
            error_events: one("kes_log_error_events"),
            routes: routes(&page),
        }
    }

    /// Whether the server has started anew since.
    pub(super) fn is_restart_of(&self, before: &Self) -> bool {
        self.up_time < before.up_time
    }
}

fn cache(page: &Exposition<'_>) -> Option<Cache> {
    let hits = page.one("kes_cache_hits_total")?;
    Some(Cache {
        hits,
        misses: page.one("kes_cache_misses_total").unwrap_or_default(),
        entries: page.one("kes_cache_entries").unwrap_or_default(),
        oldest: page.one("kes_cache_oldest_seconds").unwrap_or_default(),
    })
}

fn store(page: &Exposition<'_>) -> Option<Store> {
    let offline = page.one("kes_store_offline")?;
    // Whoever asks for a key that is not there is no trouble of the store.
    let callers = |kind| matches!(kind, Some("not_found" | "exists" | "denied" | "unfit_name"));
    let errors = page.all("kes_store_errors_total").filter(|sample| !callers(sample.label("kind")));
    Some(Store {
        calls: Histogram::read(page, "kes_store_seconds", |_| true),
        errors: errors.fold(0.0, |sum, sample| sum + sample.value),
        offline: offline > 0.0,
        outage: page.one("kes_store_outage_seconds").unwrap_or_default(),
    })
}

fn routes(page: &Exposition<'_>) -> BTreeMap<String, Route> {
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for sample in page.all("kes_route_requests_total") {
        if let Some(route) = sample.label("route").filter(|route| *route != SCRAPE) {
            routes.entry(route.to_owned()).or_default().requests += sample.value;
        }
    }
    for (name, route) in &mut routes {
        let is_its = |sample: &super::exposition::Sample<'_>| sample.label("route") == Some(name.as_str());
        route.latency = Histogram::read(page, "kes_route_response_seconds", is_its);
    }
    routes
}

/// One scrape for programs. Compat: names, order and units are those of the old command.
#[derive(Serialize)]
pub(super) struct Document {
    kes_http_request_success: u64,
    kes_http_request_error: u64,
    kes_http_request_failure: u64,
    kes_http_request_active: u64,
    kes_log_audit_events: u64,
    kes_log_error_events: u64,
    /// By upper bound in nanoseconds, sorted as text.
    kes_http_response_time: BTreeMap<String, u64>,
    /// In nanoseconds.
    kes_system_up_time: u128,
    kes_system_num_cpu: u64,
    kes_system_num_cpu_used: u64,
    kes_system_num_threads: u64,
    kes_system_mem_heap_used: u64,
    kes_system_mem_heap_objects: u64,
    kes_system_mem_stack_used: u64,
}

impl From<&Metrics> for Document {
    fn from(metrics: &Metrics) -> Self {
        let buckets = metrics.response_time.iter();
        Self {
            kes_http_request_success: metrics.requests_ok,
            kes_http_request_error: metrics.requests_error,
            kes_http_request_failure: metrics.requests_failure,
            kes_http_request_active: metrics.requests_active,
            kes_log_audit_events: metrics.audit_events,
            kes_log_error_events: metrics.error_events,
            kes_http_response_time: buckets.map(|(bound, count)| (bound.as_nanos().to_string(), *count)).collect(),
            kes_system_up_time: metrics.up_time.as_nanos(),
            kes_system_num_cpu: metrics.num_cpu,
            kes_system_num_cpu_used: metrics.num_cpu_used,
            kes_system_num_threads: metrics.num_threads,
            kes_system_mem_heap_used: metrics.mem_heap_used,
            kes_system_mem_heap_objects: metrics.mem_heap_objects,
            kes_system_mem_stack_used: metrics.mem_stack_used,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_document_is_the_old_one() {
        let metrics = Metrics {
            requests_ok: 31,
            requests_error: 13,
            error_events: 2,
            response_time: [10, 50, 1500, 10_000].map(|ms| (Duration::from_millis(ms), 44)).to_vec(),
            up_time: Duration::from_secs(39),
            num_cpu: 2,
            num_cpu_used: 2,
            num_threads: 10,
            mem_heap_used: 933_456,
            mem_heap_objects: 7495,
            mem_stack_used: 524_288,
            ..Metrics::default()
        };
        assert_eq!(
            crate::output::json(&Document::from(&metrics)),
            r#"{"kes_http_request_success":31,"kes_http_request_error":13,"kes_http_request_failure":0,"kes_http_request_active":0,"kes_log_audit_events":0,"kes_log_error_events":2,"kes_http_response_time":{"10000000":44,"10000000000":44,"1500000000":44,"50000000":44},"kes_system_up_time":39000000000,"kes_system_num_cpu":2,"kes_system_num_cpu_used":2,"kes_system_num_threads":10,"kes_system_mem_heap_used":933456,"kes_system_mem_heap_objects":7495,"kes_system_mem_stack_used":524288}"#
        );
    }

    #[test]
    fn a_key_that_is_not_there_is_no_trouble_of_the_store() {
        let page = "kes_store_offline 0\nkes_store_errors_total{operation=\"get\",kind=\"not_found\"} 7\n\
                    kes_store_errors_total{operation=\"create\",kind=\"exists\"} 5\n\
                    kes_store_errors_total{operation=\"get\",kind=\"timeout\"} 3\n";
        assert_eq!(Snapshot::read(page).store.unwrap().errors, 3.0);
    }

    #[test]
    fn an_old_servers_page_has_no_cache_and_no_store() {
        let old = "kes_http_request_success{code=\"200\"} 12\nkes_http_request_error{code=\"400\"} 1\nkes_http_request_error{code=\"404\"} 2\n\
                   kes_http_response_time_bucket{le=\"0.01\"} 15\nkes_http_response_time_bucket{le=\"+Inf\"} 15\nkes_http_response_time_sum 0.1\n";
        let old = Snapshot::read(old);
        assert_eq!((old.requests, old.latency.count()), ([12.0, 3.0, 0.0], 15.0));
        assert!(old.cache.is_none() && old.store.is_none() && old.connections.is_none() && old.routes.is_empty());
    }
}
