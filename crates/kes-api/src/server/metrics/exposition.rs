//! Prometheus text, version 0.0.4.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{CODES, HANDSHAKE_FAILURES, MICROS, Metrics, NO_ROUTE, SECONDS, load, route_name};
use crate::server::reloads::Tally;

/// Values that are read at the moment of the scrape.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Gauges {
    pub(in crate::server) audit_events: u64,
    pub(in crate::server) error_events: u64,
    pub(in crate::server) audit_dropped: u64,
    pub(in crate::server) audit_file_dropped: u64,
    pub(in crate::server) error_dropped: u64,
    pub(in crate::server) stream_lagged: u64,
    pub(in crate::server) stream_subscribers: u64,
    pub(in crate::server) heap_bytes: u64,
    pub(in crate::server) stack_bytes: u64,
    pub(in crate::server) cpus: u64,
    pub(in crate::server) cpus_used: u64,
    pub(in crate::server) threads: u64,
    pub(in crate::server) uptime: f64,
    pub(in crate::server) certificate_expiry: Option<i64>,
    pub(in crate::server) reloads: Option<Tally>,
    /// 0 if there is none.
    pub(in crate::server) connections_limit: u64,
    pub(in crate::server) probes: Vec<(&'static str, u64)>,
    /// Families of the key cache and its store, ready made.
    pub(in crate::server) store: String,
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }
}

fn sum<'a>(workers: &'a [&'a Metrics], counter: impl Fn(&'a Metrics) -> &'a AtomicU64) -> u64 {
    workers.iter().map(|worker| load(counter(worker))).sum()
}

/// The page. `full` adds the operator's families.
pub(in crate::server) fn render(workers: &[&Metrics], gauges: &Gauges, full: bool) -> String {
    let mut page = Page(String::with_capacity(if full { 16 << 10 } else { 4 << 10 }));
    // A gauge may read one less than nothing for an instant, as workers are read one after the other.
    let active = sum(workers, |worker| &worker.active);
    page.single(
        "kes_http_request_active",
        "gauge",
        "Number of active requests that are not finished, yet.",
        if active > i64::MAX as u64 { 0 } else { active },
    );
    requests(&mut page, workers);
    response_time(&mut page, workers);
    page.single(
        "kes_log_audit_events",
        "counter",
        "Number of audit log events written to the audit log targets.",
        gauges.audit_events,
    );
    page.single(
        "kes_log_error_events",
        "counter",
        "Number of error log events written to the error log targets.",
        gauges.error_events,
    );
    system(&mut page, gauges);
    if full {
        operator(&mut page, workers, gauges);
        page.0.push_str(&gauges.store);
    }
    page.0
}

fn requests(page: &mut Page, workers: &[&Metrics]) {
    let families = [
        ("kes_http_request_error", "Number of request that failed due to some error. (HTTP 4xx status code)", 400..500),
        (
            "kes_http_request_failure",
            "Number of request that failed due to some internal failure. (HTTP 5xx status code)",
            500..600,
        ),
        ("kes_http_request_success", "Number of requests that have been served successfully.", 200..300),
    ];
    for (name, help, class) in families {
        let samples: Vec<(u16, u64)> = CODES
            .iter()
            .enumerate()
            .filter(|(_, code)| class.contains(*code))
            .map(|(index, code)| (*code, sum(workers, |worker| &worker.codes[index])))
            .filter(|(code, count)| *count > 0 || *code == 200)
            .collect();
        if !samples.is_empty() {
            page.head(name, "counter", help);
            for (code, count) in samples {
                page.sample(name, &format!("code=\"{code}\""), count);
            }
        }
    }
}

fn response_time(page: &mut Page, workers: &[&Metrics]) {
    let name = "kes_http_response_time";
    page.head(name, "histogram", "Histogram of request response times spawning from 10ms to 10s.");
    let mut below = 0;
    for index in 0..=SECONDS.len() {
        below += sum(workers, |worker| &worker.seconds[index]);
        let bound = SECONDS.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
        page.sample("kes_http_response_time_bucket", &format!("le=\"{bound}\""), below);
    }
    let nanos = sum(workers, |worker| &worker.nanos);
    page.sample("kes_http_response_time_sum", "", nanos as f64 / 1e9);
    page.sample("kes_http_response_time_count", "", below);
}

fn system(page: &mut Page, gauges: &Gauges) {
    for (name, help, value) in [
        ("kes_system_mem_heap_objects", "The number of objects that are currently allocated on the heap memory.", 0),
        (
            "kes_system_mem_heap_used",
            "The number of bytes that are currently allocated on the heap memory.",
            gauges.heap_bytes,
        ),
        ("kes_system_mem_stack_used", "The bytes of stack memory obtained from the OS.", gauges.stack_bytes),
        (
            "kes_system_num_cpu",
            "The number of logical CPUs available on the system. It may be larger than the number of usable CPUs.",
            gauges.cpus,
        ),
        (
            "kes_system_num_cpu_used",
            "The number of logical CPUs usable by the server. It may be smaller than the number of available CPUs.",
            gauges.cpus_used,
        ),
        (
            "kes_system_num_threads",
            "The number of concurrent co-routines/threads that currently exists.",
            gauges.threads,
        ),
    ] {
        page.single(name, "gauge", help, value);
    }
    page.single(
        "kes_system_up_time",
        "gauge",
        "The time the server has been up and running in seconds.",
        gauges.uptime,
    );
}

/// What the old server does not tell.
fn operator(page: &mut Page, workers: &[&Metrics], gauges: &Gauges) {
    routes(page, workers);
    page.head("kes_tls_handshakes_total", "counter", "TLS handshakes that succeeded.");
    page.sample("kes_tls_handshakes_total", "resumed=\"false\"", sum(workers, |worker| &worker.handshakes));
    page.sample("kes_tls_handshakes_total", "resumed=\"true\"", sum(workers, |worker| &worker.handshakes_resumed));
    page.head(
        "kes_tls_handshake_failures_total",
        "counter",
        "Connections that ended before their first request, by reason.",
    );
    for (index, (_, reason)) in HANDSHAKE_FAILURES.iter().enumerate() {
        let count = sum(workers, |worker| &worker.handshake_failures[index]);
        page.sample("kes_tls_handshake_failures_total", &format!("reason=\"{reason}\""), count);
    }
    page.single("kes_connections", "gauge", "Open connections.", sum(workers, |worker| &worker.connections));
    page.single(
        "kes_connections_limit",
        "gauge",
        "Connections that may be open at once, 0 for no limit.",
        gauges.connections_limit,
    );
    if let Some(expiry) = gauges.certificate_expiry {
        page.single(
            "kes_tls_certificate_expiry_seconds",
            "gauge",
            "When the server's certificate expires, in seconds since 1970.",
            expiry,
        );
    }
    for (name, help, value) in [
        (
            "kes_handler_panics_total",
            "Requests whose handler panicked and that were answered 500.",
            sum(workers, |worker| &worker.panics),
        ),
        (
            "kes_tls_proxy_header_ignored_total",
            "Requests with a forwarded certificate from a peer that is no TLS proxy.",
            sum(workers, |worker| &worker.proxy_header_ignored),
        ),
        (
            "kes_log_audit_dropped_total",
            "Audit records that the console lost because its buffer was full or it could not be written.",
            gauges.audit_dropped,
        ),
        (
            "kes_log_audit_file_dropped_total",
            "Audit records that the audit file lost because its buffer was full or it could not be written.",
            gauges.audit_file_dropped,
        ),
        (
            "kes_log_error_dropped_total",
            "Error log lines lost because their buffer was full or their target failed.",
            gauges.error_dropped,
        ),
        (
            "kes_log_stream_lagged_total",
            "Log stream subscribers disconnected because they were too slow.",
            gauges.stream_lagged,
        ),
    ] {
        page.single(name, "counter", help, value);
    }
    if let Some(tally) = &gauges.reloads {
        reloads(page, tally);
    }
    page.head("kes_probe_requests_total", "counter", "Requests on probe.address, by what they asked for.");
    for (probe, count) in &gauges.probes {
        page.sample("kes_probe_requests_total", &format!("probe=\"{probe}\""), count);
    }
    page.single("kes_log_stream_subscribers", "gauge", "Log stream subscribers.", gauges.stream_subscribers);
}

fn reloads(page: &mut Page, tally: &Tally) {
    for (name, kind, help, value) in [
        (
            "kes_reloads_total",
            "counter",
            "Reloads of the configuration or the TLS files that took effect.",
            tally.succeeded.to_string(),
        ),
        (
            "kes_reload_failures_total",
            "counter",
            "Reloads of the configuration or the TLS files that failed and left the old state.",
            tally.failed.to_string(),
        ),
        (
            "kes_config_last_reload_successful",
            "gauge",
            "1 if what is in force is what the files say, 0 if their last reload failed.",
            u8::from(tally.failed_at().is_none()).to_string(),
        ),
        (
            "kes_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When the last reload took effect, or the server started, in seconds since 1970.",
            tally.last_success.unix_timestamp().to_string(),
        ),
    ] {
        page.single(name, kind, help, value);
    }
}

fn routes(page: &mut Page, workers: &[&Metrics]) {
    let used: Vec<usize> = (0..=NO_ROUTE)
        .filter(|route| (0..3).any(|class| sum(workers, |worker| &worker.routes[*route].classes[class]) > 0))
        .collect();
    page.head("kes_route_requests_total", "counter", "Requests by route and class of status.");
    for route in &used {
        for (class, name) in ["success", "error", "failure"].into_iter().enumerate() {
            let count = sum(workers, |worker| &worker.routes[*route].classes[class]);
            page.sample(
                "kes_route_requests_total",
                &format!("route=\"{}\",class=\"{name}\"", route_name(*route)),
                count,
            );
        }
    }
    page.head("kes_route_response_seconds", "histogram", "Time from the header of a request to its answer, by route.");
    for route in used {
        let label = route_name(route);
        let mut below = 0;
        for index in 0..=MICROS.len() {
            below += sum(workers, |worker| &worker.routes[route].micros[index]);
            let bound =
                MICROS.get(index).map_or_else(|| "+Inf".to_owned(), |micros| (*micros as f64 / 1e6).to_string());
            page.sample("kes_route_response_seconds_bucket", &format!("route=\"{label}\",le=\"{bound}\""), below);
        }
        let nanos = workers.iter().map(|worker| worker.routes[route].nanos.load(Ordering::Relaxed)).sum::<u64>();
        page.sample("kes_route_response_seconds_sum", &format!("route=\"{label}\""), nanos as f64 / 1e9);
        page.sample("kes_route_response_seconds_count", &format!("route=\"{label}\""), below);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    /// Families and the number of their samples.
    fn families(page: &str) -> BTreeMap<String, usize> {
        let mut families = BTreeMap::new();
        let mut current = String::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap().to_owned();
                families.insert(current.clone(), 0);
            } else if !line.starts_with('#') {
                *families.get_mut(&current).unwrap() += 1;
            }
        }
        families
    }

    #[test]
    fn the_default_view_has_the_old_families_only() {
        let worker = Metrics::default();
        for code in [200, 403, 404, 502] {
            worker.request_started();
            worker.request_finished(0, code, Duration::from_micros(30), true);
        }
        let page = render(&[&worker], &Gauges::default(), false);
        let families = families(&page);
        assert_eq!(families.len(), 14, "{page}");
        for (name, samples) in families {
            let several = ["kes_http_request_error", "kes_http_response_time"].contains(&&name[..]);
            assert!(several || samples == 1, "{name}: official clients reject {samples} samples");
        }
        assert!(page.contains("kes_http_request_error{code=\"403\"} 1\nkes_http_request_error{code=\"404\"} 1\n"));
        assert!(page.contains("kes_http_response_time_bucket{le=\"0.01\"} 4\n"));
        assert!(page.contains("kes_http_response_time_bucket{le=\"+Inf\"} 4\nkes_http_response_time_sum 0.00012\nkes_http_response_time_count 4\n"));
    }

    #[test]
    fn success_is_there_from_the_start_and_the_others_come_with_their_first_sample() {
        let worker = Metrics::default();
        let page = render(&[&worker], &Gauges::default(), false);
        assert!(
            page.contains("kes_http_request_success{code=\"200\"} 0\n") && !page.contains("kes_http_request_error")
        );
    }

    #[test]
    fn the_operators_view_has_microseconds_by_route() {
        let worker = Metrics::default();
        worker.request_started();
        worker.request_finished(5, 200, Duration::from_micros(30), true);
        let page = render(&[&worker], &Gauges::default(), true);
        assert!(
            page.contains("kes_route_response_seconds_bucket{route=\"/v1/key/decrypt/\",le=\"0.00005\"} 1\n"),
            "{page}"
        );
        assert!(page.contains("kes_route_response_seconds_bucket{route=\"/v1/key/decrypt/\",le=\"0.000025\"} 0\n"));
    }
}
