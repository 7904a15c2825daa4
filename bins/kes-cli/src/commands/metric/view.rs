//! The live view: what has been seen, and the lines that show it. Knows no terminal and no clock.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;

use super::histogram::{Histogram, duration};
use super::snapshot::{Cache, Route, Snapshot, Store};
use super::spark;

/// Scrapes that are remembered; no terminal is wider.
const MEMORY: usize = 240;
/// Columns of labels and numbers; graphs stand behind them.
const TEXT: usize = 50;
/// A graph that is shorter shows nothing.
const SHORTEST_GRAPH: usize = 8;

/// How a part of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Faint,
    Red,
}

/// A line: parts one behind the other.
pub(super) type Line = Vec<(Style, String)>;

/// What has been seen of a server.
#[derive(Debug)]
pub(super) struct View {
    endpoint: String,
    rate: Duration,
    unicode: bool,
    last: Option<Seen>,
    history: VecDeque<Point>,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Seen {
    snapshot: Snapshot,
    change: Change,
    at: OffsetDateTime,
}

#[derive(Debug)]
struct Outage {
    since: OffsetDateTime,
    why: String,
    pause: Duration,
}

/// What happened between two scrapes, or since the start of the server.
#[derive(Debug, Default)]
struct Change {
    seconds: f64,
    /// Answered 200, 4xx, 5xx.
    requests: [f64; 3],
    latency: Histogram,
    /// Hits and misses.
    cache: Option<(f64, f64)>,
    store: Option<Histogram>,
    store_errors: f64,
    /// Route, requests, latency; the busiest first.
    routes: Vec<(String, f64, Histogram)>,
}

/// What the graphs show of one scrape; all gaps for one that failed.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    requests: Option<f64>,
    errors: Option<f64>,
    latency: Option<f64>,
    hits: Option<f64>,
    store: Option<f64>,
    heap: Option<f64>,
}

impl View {
    pub(super) fn new(endpoint: &str, rate: Duration, unicode: bool) -> Self {
        let endpoint = endpoint.to_owned();
        Self { endpoint, rate, unicode, last: None, history: VecDeque::new(), outage: None }
    }

    /// A scrape has come, so long after the last one.
    pub(super) fn scraped(&mut self, snapshot: Snapshot, after: Duration, at: OffsetDateTime) {
        let before = self.last.as_ref().map(|seen| &seen.snapshot);
        let before = before.filter(|before| !snapshot.is_restart_of(before));
        let change = match before {
            Some(before) => Change::between(before, &snapshot, after.as_secs_f64()),
            None => Change::between(&Snapshot::default(), &snapshot, snapshot.up_time),
        };
        if before.is_some() {
            self.remember(change.point(&snapshot));
        }
        self.outage = None;
        self.last = Some(Seen { snapshot, change, at });
    }

    /// A scrape has failed; the next try comes after `pause`.
    pub(super) fn failed(&mut self, why: &str, pause: Duration, at: OffsetDateTime) {
        let since = self.outage.as_ref().map_or(at, |outage| outage.since);
        self.outage = Some(Outage { since, why: why.to_owned(), pause });
        self.remember(Point::default());
    }

    fn remember(&mut self, point: Point) {
        self.history.push_back(point);
        if self.history.len() > MEMORY {
            self.history.pop_front();
        }
    }

    /// The lines for so many columns; those at the end matter least.
    pub(super) fn lines(&self, columns: usize) -> Vec<Line> {
        let mut lines = vec![vec![bold("kes metric  "), plain(self.endpoint.clone())], self.state(), Line::new()];
        let Some(seen) = &self.last else { return lines };
        let row = |label: &str, text: String, graph: String| row(label, &text, graph);
        let graph = |value: fn(&Point) -> Option<f64>, top| self.graph(columns, value, top);
        let Seen { snapshot, change, .. } = seen;

        let in_progress = format!("{}   {:.0} in progress", per_second(change.all(), change.seconds), snapshot.active);
        lines.push(row("Requests", in_progress, graph(|point| point.requests, None)));
        for (class, label) in ["  ok", "  4xx", "  5xx"].into_iter().enumerate() {
            let errors = if class == 1 { graph(|point| point.errors, None) } else { String::new() };
            lines.push(row(label, change.class(class, snapshot), errors));
        }
        lines.push(row("Latency", latency(&change.latency), graph(|point| point.latency, None)));
        lines.push(row("Cache", change.cache_text(snapshot.cache.as_ref()), graph(|point| point.hits, Some(1.0))));
        let store = change.store_text(snapshot.store.as_ref());
        let style = if snapshot.store.as_ref().is_some_and(|store| store.offline) { Style::Red } else { Style::Plain };
        let mut line = row("Store", store, graph(|point| point.store, None));
        line[1].0 = style;
        lines.push(line);
        let memory = format!("heap {}   stack {}", size(snapshot.heap), size(snapshot.stack));
        lines.push(row("Memory", memory, graph(|point| point.heap, None)));
        lines.push(row("System", system(snapshot), String::new()));
        let log = format!("{} audit, {} error events", count(snapshot.audit_events), count(snapshot.error_events));
        lines.push(row("Log", log, String::new()));
        lines.extend(change.busiest());
        lines
    }

    fn state(&self) -> Line {
        if let Some(Outage { since, why, pause }) = &self.outage {
            let text = format!("unreachable since {}, trying again every {}: {why}", clock(*since), short(*pause));
            return vec![(Style::Red, text)];
        }
        match &self.last {
            None => vec![(Style::Faint, "asking".to_owned())],
            Some(seen) if self.history.is_empty() => {
                vec![(Style::Faint, format!("since its start; {} UTC", clock_only(seen.at)))]
            }
            Some(seen) => {
                let text = format!("last {}; {} UTC", short_seconds(seen.change.seconds), clock_only(seen.at));
                vec![(Style::Faint, text)]
            }
        }
    }

    /// How often it is redrawn, and how to leave.
    pub(super) fn footer(&self) -> Line {
        vec![(Style::Faint, format!("every {}   q quits", short(self.rate)))]
    }

    fn graph(&self, columns: usize, value: fn(&Point) -> Option<f64>, top: Option<f64>) -> String {
        let width = columns.saturating_sub(TEXT + 2);
        let values: Vec<_> = self.history.iter().map(value).collect();
        if width < SHORTEST_GRAPH { String::new() } else { spark::line(&values, width, top, self.unicode) }
    }
}

impl Change {
    fn between(before: &Snapshot, after: &Snapshot, seconds: f64) -> Self {
        let requests = [0, 1, 2].map(|class| (after.requests[class] - before.requests[class]).max(0.0));
        let cache = after.cache.as_ref().map(|cache| {
            let before = before.cache.clone().unwrap_or_default();
            ((cache.hits - before.hits).max(0.0), (cache.misses - before.misses).max(0.0))
        });
        let no_store = Store::default();
        let store_before = before.store.as_ref().unwrap_or(&no_store);
        let mut routes: Vec<_> = after.routes.iter().map(|(name, route)| of_route(before, name, route)).collect();
        routes.retain(|(_, requests, _)| *requests > 0.0);
        routes.sort_by(|(a_name, a, _), (b_name, b, _)| b.total_cmp(a).then_with(|| a_name.cmp(b_name)));
        Self {
            seconds,
            requests,
            latency: after.latency.since(&before.latency),
            cache,
            store: after.store.as_ref().map(|store| store.calls.since(&store_before.calls)),
            store_errors: after.store.as_ref().map_or(0.0, |store| (store.errors - store_before.errors).max(0.0)),
            routes,
        }
    }

    fn all(&self) -> f64 {
        self.requests.iter().sum()
    }

    fn point(&self, snapshot: &Snapshot) -> Point {
        let rate = |requests: f64| (self.seconds > 0.0).then(|| requests / self.seconds);
        Point {
            requests: rate(self.all()),
            errors: rate(self.requests[1] + self.requests[2]),
            latency: self.latency.quantile(0.99).map(super::histogram::Quantile::seconds),
            hits: self.cache.and_then(|(hits, misses)| share(hits, hits + misses)),
            store: self.store.as_ref().and_then(Histogram::mean),
            heap: Some(snapshot.heap),
        }
    }

    fn class(&self, class: usize, snapshot: &Snapshot) -> String {
        let percent = share(self.requests[class], self.all()).map_or_else(|| "-".into(), percent);
        let total = count(snapshot.requests[class]);
        format!("{}   {percent:>6}   {total} in all", per_second(self.requests[class], self.seconds))
    }

    fn cache_text(&self, cache: Option<&Cache>) -> String {
        let (Some(cache), Some((hits, misses))) = (cache, self.cache) else { return UNTOLD.into() };
        let rate = share(hits, hits + misses).map_or_else(|| "no reads".into(), |share| percent(share) + " hits");
        let oldest = short(Duration::from_secs_f64(cache.oldest.clamp(0.0, 1e9).round()));
        format!("{rate}   {} keys, oldest {oldest}", count(cache.entries))
    }

    fn store_text(&self, store: Option<&Store>) -> String {
        let (Some(store), Some(calls)) = (store, &self.store) else { return UNTOLD.into() };
        if store.offline {
            let outage = Duration::from_secs_f64(store.outage.clamp(0.0, 1e9).round());
            return format!("not reachable for {}", short(outage));
        }
        let errors = match self.store_errors {
            0.0 => "no errors".to_owned(),
            errors => format!("{} errors", count(errors)),
        };
        match (calls.mean(), calls.quantile(0.99)) {
            (Some(mean), Some(p99)) => format!("mean {}   p99 {p99}   {errors}", duration(mean)),
            _ => format!("no calls   {errors}"),
        }
    }

    /// The routes that are asked most.
    fn busiest(&self) -> Vec<Line> {
        if self.routes.is_empty() {
            return Vec::new();
        }
        let head = format!("{:<29}{:>10}   {:>8}   {:>8}", "Busiest routes", "rate", "p50", "p99");
        let mut lines = vec![Line::new(), vec![(Style::Faint, head)]];
        for (name, requests, latency) in self.routes.iter().take(6) {
            let quantile = |share| latency.quantile(share).map_or_else(|| "-".to_owned(), |found| found.to_string());
            let rate = per_second(*requests, self.seconds);
            lines.push(vec![plain(format!("  {name:<27}{rate}   {:>8}   {:>8}", quantile(0.5), quantile(0.99)))]);
        }
        lines
    }
}

const UNTOLD: &str = "not told by this server";

fn of_route(before: &Snapshot, name: &str, route: &Route) -> (String, f64, Histogram) {
    let (requests, latency) = match before.routes.get(name) {
        Some(before) => ((route.requests - before.requests).max(0.0), route.latency.since(&before.latency)),
        None => (route.requests, route.latency.clone()),
    };
    (name.to_owned(), requests, latency)
}

fn latency(histogram: &Histogram) -> String {
    let quantile = |share| histogram.quantile(share).map(|found| found.to_string());
    match (quantile(0.5), quantile(0.9), quantile(0.99)) {
        (Some(p50), Some(p90), Some(p99)) => format!("p50 {p50}   p90 {p90}   p99 {p99}"),
        _ => "no requests".to_owned(),
    }
}

fn system(snapshot: &Snapshot) -> String {
    let connections = match snapshot.connections {
        None => String::new(),
        Some(1.0) => ", 1 connection".to_owned(),
        Some(open) => format!(", {} connections", count(open)),
    };
    let up = short(Duration::from_secs_f64(snapshot.up_time.clamp(0.0, 1e10).floor()));
    let Snapshot { cpus, cpus_used, threads, .. } = snapshot;
    format!("up {up}, {cpus_used:.0} of {cpus:.0} CPUs, {threads:.0} threads{connections}")
}

fn row(label: &str, text: &str, graph: String) -> Line {
    let style = if label.starts_with(' ') { Style::Faint } else { Style::Bold };
    let width = TEXT - 10;
    vec![(style, format!("{label:<10}")), plain(format!("{text:<width$} ")), plain(graph)]
}

fn plain(text: String) -> (Style, String) {
    (Style::Plain, text)
}

fn bold(text: &str) -> (Style, String) {
    (Style::Bold, text.to_owned())
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Never rounded up to 100: a single miss shows.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let rounded = if percent < 100.0 { percent.min(99.9) } else { percent };
    if percent > 0.0 && percent < 0.05 { "<0.1%".to_owned() } else { format!("{rounded:.1}%") }
}

fn per_second(events: f64, seconds: f64) -> String {
    let rate = if seconds > 0.0 { events / seconds } else { 0.0 };
    let text = if rate < 1000.0 { format!("{rate:.1}/s") } else { format!("{}/s", count(rate)) };
    format!("{text:>10}")
}

/// Whole numbers as they are up to 99 999, then with a letter.
fn count(value: f64) -> String {
    match value {
        value if value < 99_999.5 => format!("{value:.0}"),
        value if value < 999_950.0 => format!("{:.1}k", value / 1e3),
        value if value < 999_950_000.0 => format!("{:.1}M", value / 1e6),
        value => format!("{:.1}G", value / 1e9),
    }
}

/// Decimal units, as `kes status` has them.
fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{bytes:.0}B"),
        bytes if bytes < 999_950.0 => format!("{:.1}KB", bytes / 1e3),
        bytes if bytes < 999_950_000.0 => format!("{:.1}MB", bytes / 1e6),
        bytes => format!("{:.1}GB", bytes / 1e9),
    }
}

/// `250ms`, `5s`, `4m12s`, `3h12m`, `2d3h`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 if duration.subsec_millis() > 0 => format!("{}s", duration.as_millis() as f64 / 1e3),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn short_seconds(seconds: f64) -> String {
    short(Duration::from_millis((seconds.clamp(0.0, 1e9) * 10.0).round() as u64 * 100))
}

fn clock(time: OffsetDateTime) -> String {
    format!("{:04}-{:02}-{:02} {} UTC", time.year(), u8::from(time.month()), time.day(), clock_only(time))
}

fn clock_only(time: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:03:44 UTC);

    fn page(requests: u64, up: u64) -> String {
        format!(
            r#"kes_http_request_active 3
kes_http_request_error{{code="403"}} {errors}
kes_http_request_success{{code="200"}} {requests}
kes_log_audit_events {requests}
kes_log_error_events 2
kes_system_mem_heap_used 4.2e+06
kes_system_mem_stack_used 491520
kes_system_num_cpu 2
kes_system_num_cpu_used 2
kes_system_num_threads 10
kes_system_up_time {up}
kes_route_requests_total{{route="/v1/key/decrypt/",class="success"}} {requests}
kes_route_requests_total{{route="/v1/metrics",class="success"}} 7
kes_route_response_seconds_bucket{{route="/v1/key/decrypt/",le="0.00005"}} {half}
kes_route_response_seconds_bucket{{route="/v1/key/decrypt/",le="0.0001"}} {requests}
kes_route_response_seconds_bucket{{route="/v1/key/decrypt/",le="+Inf"}} {requests}
kes_route_response_seconds_sum{{route="/v1/key/decrypt/"}} 1
kes_route_response_seconds_count{{route="/v1/key/decrypt/"}} {requests}
kes_connections 12
kes_cache_hits_total {hits}
kes_cache_misses_total {errors}
kes_cache_entries 1024
kes_cache_oldest_seconds 252.4
kes_store_offline 0
kes_store_outage_seconds 0
kes_store_seconds_bucket{{operation="get",le="0.001"}} 0
kes_store_seconds_bucket{{operation="get",le="0.01"}} {errors}
kes_store_seconds_bucket{{operation="get",le="+Inf"}} {errors}
kes_store_seconds_sum{{operation="get"}} {sum}
kes_store_seconds_count{{operation="get"}} {errors}
"#,
            errors = requests / 100,
            half = requests / 2,
            hits = requests - requests / 100,
            sum = (requests / 100) as f64 * 0.004,
        )
    }

    fn text(view: &View, columns: usize) -> String {
        let line = |line: Line| line.into_iter().map(|(_, text)| text).collect::<String>().trim_end().to_owned() + "\n";
        view.lines(columns).into_iter().map(line).collect()
    }

    fn after(scrapes: &[u64]) -> View {
        let mut view = View::new("https://127.0.0.1:7373", Duration::from_secs(5), true);
        for (at, requests) in scrapes.iter().enumerate() {
            let up = 11_520 + 5 * at as u64;
            view.scraped(Snapshot::read(&page(*requests, up)), Duration::from_secs(5), NOW);
        }
        view
    }

    #[test]
    fn a_full_view() {
        assert_eq!(
            text(&after(&[1000, 2000, 4000, 10_000]), 80),
            "\
kes metric  https://127.0.0.1:7373
last 5s; 12:03:44 UTC

Requests      1212/s   3 in progress               ▂▃█
  ok          1200/s    99.0%   10000 in all
  4xx         12.0/s     1.0%   100 in all         ▂▃█
  5xx          0.0/s     0.0%   0 in all
Latency   p50 <50.0µs   p90 90.0µs   p99 99.0µs    ███
Cache     99.0% hits   1024 keys, oldest 4m12s     ███
Store     mean 4.0ms   p99 9.9ms   no errors       ███
Memory    heap 4.2MB   stack 491.5KB               ███
System    up 3h12m, 2 of 2 CPUs, 10 threads, 12 connections
Log       10000 audit, 2 error events

Busiest routes                     rate        p50        p99
  /v1/key/decrypt/               1200/s    <50.0µs     99.0µs
"
        );
    }

    #[test]
    fn the_first_scrape_shows_averages_since_the_start_and_no_graph() {
        let first = text(&after(&[11_520]), 80);
        assert!(first.contains("since its start; 12:03:44 UTC\n"), "{first}");
        assert!(first.contains("  ok           1.0/s    99.0%   11520 in all\n"), "{first}");
    }

    #[test]
    fn an_old_server_is_shown_as_far_as_it_tells() {
        let mut view = View::new("https://old", Duration::from_secs(5), false);
        let old = "kes_http_request_success{code=\"200\"} 12\nkes_http_response_time_bucket{le=\"0.01\"} 12\n\
                   kes_http_response_time_bucket{le=\"+Inf\"} 12\nkes_system_up_time 10\n";
        view.scraped(Snapshot::read(old), Duration::ZERO, NOW);
        let shown = text(&view, 80);
        assert!(shown.contains("Latency   p50 <10.0ms   p90 <10.0ms   p99 <10.0ms"), "{shown}");
        assert!(shown.contains("Cache     not told by this server\nStore     not told by this server\n"), "{shown}");
        assert!(!shown.contains("Busiest"), "{shown}");
    }

    #[test]
    fn an_outage_is_a_gap_and_says_since_when() {
        let mut view = after(&[1000, 2000]);
        let why = "connection refused";
        view.failed(why, Duration::from_millis(500), NOW);
        view.failed(why, Duration::from_secs(1), NOW + Duration::from_secs(60));
        let shown = text(&view, 80);
        assert!(
            shown.contains("unreachable since 2026-11-21 12:03:44 UTC, trying again every 1s: connection refused\n"),
            "{shown}"
        );
        view.scraped(Snapshot::read(&page(3000, 12_000)), Duration::from_secs(65), NOW);
        let shown = text(&view, 80);
        assert!(shown.contains("last 1m05s;") && shown.contains("█  ▁"), "{shown}");
    }

    #[test]
    fn a_restart_begins_anew() {
        let mut view = after(&[100_000, 200_000]);
        view.scraped(Snapshot::read(&page(10, 5)), Duration::from_secs(5), NOW);
        assert!(text(&view, 80).contains("  ok           2.0/s"), "{}", text(&view, 80));
    }

    #[test]
    fn a_store_that_is_not_there_is_red() {
        let mut view = after(&[]);
        let page = page(100, 10).replace("kes_store_offline 0", "kes_store_offline 1");
        view.scraped(Snapshot::read(&page.replace("outage_seconds 0", "outage_seconds 75")), Duration::ZERO, NOW);
        let line = view
            .lines(80)
            .into_iter()
            .find(|line| line.first().is_some_and(|(_, text)| text.starts_with("Store")))
            .unwrap();
        assert!(line[1].0 == Style::Red && line[1].1.starts_with("not reachable for 1m15s"), "{line:?}");
    }

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!([0.0, 99_999.0, 123_456.0, 12_345_678.0, 5e9].map(count), ["0", "99999", "123.5k", "12.3M", "5.0G"]);
        assert_eq!([0.0, 0.0001, 0.5, 0.99999, 1.0].map(percent), ["0.0%", "<0.1%", "50.0%", "99.9%", "100.0%"]);
        let times = [250, 5000, 252_000, 11_520_000, 183_600_000].map(|ms| short(Duration::from_millis(ms)));
        assert_eq!(times, ["0.25s", "5s", "4m12s", "3h12m", "2d3h"]);
        assert_eq!([512.0, 491_520.0, 4.2e6, 3e9].map(size), ["512B", "491.5KB", "4.2MB", "3.0GB"]);
    }
}
