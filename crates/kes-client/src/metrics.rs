//! The families of the old server, out of Prometheus's text format (version 0.0.4).

use std::time::Duration;

/// What a server has counted since its start.
///
/// Departs from upstream: families that it does not know are skipped; the official client refuses an answer in which
/// one has several samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Requests answered 200.
    pub requests_ok: u64,
    /// Requests answered 4xx.
    pub requests_error: u64,
    /// Requests answered 5xx.
    pub requests_failure: u64,
    /// Requests in progress.
    pub requests_active: u64,
    /// Audit events produced.
    pub audit_events: u64,
    /// Error events produced.
    pub error_events: u64,
    /// How many requests took at most so long: cumulative, from 10 ms to 10 s.
    pub response_time: Vec<(Duration, u64)>,
    /// Since the start.
    pub up_time: Duration,
    /// Logical CPUs of the machine.
    pub num_cpu: u64,
    /// CPUs that the server may use.
    pub num_cpu_used: u64,
    /// Threads or tasks.
    pub num_threads: u64,
    /// Bytes.
    pub mem_heap_used: u64,
    /// Live allocations.
    pub mem_heap_objects: u64,
    /// Bytes.
    pub mem_stack_used: u64,
}

impl Metrics {
    /// Reads the text form.
    ///
    /// # Errors
    /// What is wrong, if a line is not in that form.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut metrics = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let sample = Sample::parse(line).ok_or_else(|| format!("not a metric: '{line}'"))?;
            metrics.take(&sample);
        }
        Ok(metrics)
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let count = sample.count();
        match sample.name {
            // These three have one sample per status.
            "kes_http_request_success" => self.requests_ok += count,
            "kes_http_request_error" => self.requests_error += count,
            "kes_http_request_failure" => self.requests_failure += count,
            "kes_http_request_active" => self.requests_active = count,
            "kes_http_response_time_bucket" => {
                if let Some(limit) = sample.bucket() {
                    self.response_time.push((limit, count));
                }
            }
            "kes_log_audit_events" => self.audit_events = count,
            "kes_log_error_events" => self.error_events = count,
            "kes_system_up_time" => self.up_time = Duration::try_from_secs_f64(sample.value).unwrap_or_default(),
            "kes_system_num_cpu" => self.num_cpu = count,
            "kes_system_num_cpu_used" => self.num_cpu_used = count,
            "kes_system_num_threads" => self.num_threads = count,
            "kes_system_mem_heap_used" => self.mem_heap_used = count,
            "kes_system_mem_heap_objects" => self.mem_heap_objects = count,
            "kes_system_mem_stack_used" => self.mem_stack_used = count,
            _ => {}
        }
    }
}

/// `name{label="value",…} value [time]`
struct Sample<'t> {
    name: &'t str,
    labels: &'t str,
    value: f64,
}

impl<'t> Sample<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let (head, rest) = match line.rfind('}') {
            Some(end) => (&line[..end], &line[end + 1..]),
            None => line.split_once([' ', '\t'])?,
        };
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.trim(), labels, value })
    }

    /// Counters and gauges of these families are whole numbers, written like `6.767536e+06`; `as` cuts off what is not.
    fn count(&self) -> u64 {
        self.value as u64
    }

    /// The upper limit of a bucket; `None` for the last one, which has none.
    fn bucket(&self) -> Option<Duration> {
        let (_, rest) = self.labels.split_once("le=\"")?;
        let (limit, _) = rest.split_once('"')?;
        Duration::try_from_secs_f64(limit.parse().ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP kes_http_request_active Number of active requests that are not finished, yet.
# TYPE kes_http_request_active gauge
kes_http_request_active 1
kes_http_request_error{code="400"} 3
kes_http_request_error{code="403"} 4
kes_http_request_success{code="200"} 12
kes_http_response_time_bucket{le="0.01"} 18
kes_http_response_time_bucket{le="1.5"} 19
kes_http_response_time_bucket{le="+Inf"} 19
kes_http_response_time_sum 0.027
kes_http_response_time_count 19
kes_log_audit_events 19
kes_system_mem_heap_used 6.767536e+06
kes_system_num_cpu 2
kes_system_up_time 39.5
kes_new{route="/a b}",x="y"} 1 1700000000
kes_new{route="/c"} 2
"#;

    #[test]
    fn labels_are_summed_and_unknown_families_skipped() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!((metrics.requests_ok, metrics.requests_error, metrics.requests_failure), (12, 7, 0));
        assert_eq!(metrics.response_time, [(Duration::from_millis(10), 18), (Duration::from_millis(1500), 19)]);
        assert_eq!((metrics.mem_heap_used, metrics.num_cpu, metrics.audit_events), (6_767_536, 2, 19));
        assert_eq!(metrics.up_time, Duration::from_millis(39_500));
    }

    #[test]
    fn what_is_no_metric_is_named() {
        assert_eq!(Metrics::parse("<html>").unwrap_err(), "not a metric: '<html>'");
        assert!(Metrics::parse("a{b=\"c\"} many").is_err());
    }
}
