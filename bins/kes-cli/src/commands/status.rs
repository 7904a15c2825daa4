//! `kes status`.

use std::time::{Duration, Instant};

use kes_client::wire::{ApiInfo, Status as Facts};

use crate::args::{Global, Status};
use crate::failure::Outcome;
use crate::online;
use crate::output::{self, Output};

pub(crate) fn run(global: &Global, output: &Output, status: &Status) -> Outcome {
    if let Some(url) = &status.probe {
        return super::probe::run(global, output, url);
    }
    online(global, async |client| {
        let routes = if status.api { Some(client.apis().await?) } else { None };
        if let Some(routes) = &routes
            && let Some(document) = output.document(routes)?
        {
            return output::print(document);
        }
        let started = Instant::now();
        let facts = client.status().await?;
        let latency = started.elapsed();
        if let Some(document) = output.document(&facts)? {
            return output::print(document);
        }
        let endpoint = client.endpoints().next().unwrap_or_default().to_owned();
        let mut text = heading(output, &endpoint, &facts);
        if !status.short {
            text += &details(output, &facts, latency);
            text += &routes.map(|routes| table(output, &routes)).unwrap_or_default();
        }
        output::print(text)
    })
}

fn heading(output: &Output, endpoint: &str, facts: &Facts) -> String {
    let host = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    let dot = if store(facts).is_some() { output.red("●") } else { output.green("●") };
    format!("{dot} {}\n", output.bold(host))
}

fn details(output: &Output, facts: &Facts, latency: Duration) -> String {
    let line = |label: &str, value: &str| format!("{} {value}\n", output.faint(&format!("  {label:<8}")));
    let mut text = line("Version", &facts.version)
        + &line("Uptime", &uptime(facts.uptime))
        + &line("Latency", &format!("{}ms", (latency.as_secs_f64() * 1000.0).round()))
        + &line("OS", &facts.os)
        + &line("CPUs", &format!("{} {}", facts.num_cpu_used, facts.arch));
    if let Some(state) = store(facts) {
        text += &line("Store", state);
    }
    if let Some(at) = facts.reload_failed_at {
        text += &line("Config", &format!("old: the last reload failed at {}", kes_client::wire::rfc3339::format(at)));
    }
    text + &format!("{}\n", output.faint("  Memory  "))
        + &line("· Heap", &size(facts.mem_heap_used))
        + &line("· Stack", &size(facts.mem_stack_used))
}

/// What is wrong with the key store, if anything. A server of late 2023 and after says only that it is unreachable.
fn store(facts: &Facts) -> Option<&'static str> {
    match (facts.keystore_unreachable, facts.keystore_unavailable) {
        (true, _) => Some("unreachable"),
        (false, true) => Some("unavailable"),
        (false, false) => None,
    }
}

fn table(output: &Output, routes: &[ApiInfo]) -> String {
    let row = |method: &str, path: &str, timeout: &str| format!("  {method:<6}  {path:<27}  {timeout}");
    let mut routes: Vec<_> = routes.iter().collect();
    routes.sort_by(|a, b| a.path.cmp(&b.path));
    let head = output.faint(&row("Method", "API", "Timeout"));
    let rows = routes.iter().map(|route| row(&route.method, &route.path, &timeout(route.timeout)) + "\n");
    format!("\n{head}\n{}", rows.collect::<String>())
}

fn timeout(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, 0) => "Inf".into(),
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

fn uptime(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let rounded = |unit| (seconds as f64 / unit as f64).round();
    match seconds {
        above if above > DAY => format!("{} days {} hours", above / DAY, above % DAY / HOUR),
        above if above > HOUR => format!("{} hours", rounded(HOUR)),
        above if above > MINUTE => format!("{} minutes", rounded(MINUTE)),
        seconds => format!("{seconds} seconds"),
    }
}

/// Decimal units, one digit, as the old command showed them.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.1}{unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1}TB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn plain() -> Output {
        let cli = Cli::try_parse_from(["kes", "status", "--color", "never"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Status(_))));
        Output::new(&cli.global)
    }

    #[test]
    fn sizes_and_times_are_shown_as_before() {
        assert_eq!([4_232_488, 917_504, 512, 3_000_000_000].map(size), ["4.2MB", "917.5KB", "512B", "3.0GB"]);
        assert_eq!(
            [1, 60, 90, 7300, 90_000].map(uptime),
            ["1 seconds", "60 seconds", "2 minutes", "2 hours", "1 days 1 hours"]
        );
        assert_eq!([0, 15, 90].map(timeout), ["Inf", "15s", "1m30s"]);
    }

    #[test]
    fn the_text_is_the_old_one() {
        let facts = Facts {
            version: "v1".into(),
            os: "linux".into(),
            arch: "amd64".into(),
            uptime: 32,
            num_cpu: 2,
            num_cpu_used: 2,
            mem_heap_used: 3_000_000,
            mem_stack_used: 491_520,
            ..Facts::default()
        };
        let output = plain();
        let text =
            heading(&output, "https://127.0.0.1:7373", &facts) + &details(&output, &facts, Duration::from_micros(1600));
        assert_eq!(
            text,
            "● 127.0.0.1:7373\n  Version  v1\n  Uptime   32 seconds\n  Latency  2ms\n  OS       linux\n  CPUs     2 amd64\n  \
             Memory  \n  · Heap   3.0MB\n  · Stack  491.5KB\n"
        );
    }

    #[test]
    fn a_store_that_is_down_is_shown() {
        let facts = Facts { keystore_unreachable: true, ..Facts::default() };
        assert!(details(&plain(), &facts, Duration::ZERO).contains("  Store    unreachable\n"));
    }

    #[test]
    fn a_configuration_that_could_not_be_reloaded_is_shown() {
        let facts = Facts { reload_failed_at: Some(time::OffsetDateTime::UNIX_EPOCH), ..Facts::default() };
        let text = details(&plain(), &facts, Duration::ZERO);
        assert!(text.contains("  Config   old: the last reload failed at 1970-01-01T00:00:00Z\n"), "{text}");
    }

    #[test]
    fn routes_are_sorted() {
        let route = |path: &str| ApiInfo { method: "GET".into(), path: path.into(), max_body: 0, timeout: 15 };
        let text = table(&plain(), &[route("/version"), route("/v1/status")]);
        assert_eq!(
            text,
            "\n  Method  API                          Timeout\n  GET     /v1/status                   15s\n  GET     /version                     15s\n"
        );
    }
}
