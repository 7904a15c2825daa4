//! How events look.

use kes_client::wire::{AuditEvent, ErrorEvent};
use serde::Serialize;

use crate::output::{self, Output};

/// An event that can be shown.
pub(super) trait Event: Serialize {
    /// What stands above the rows; empty for nothing.
    fn header() -> &'static str;

    /// The row without its newline.
    fn row(&self, output: &Output) -> String;
}

/// One JSON object, as the server sent it, on a line of its own.
pub(super) fn json(event: &impl Event) -> String {
    output::json(event) + "\n"
}

impl Event for AuditEvent {
    fn header() -> &'static str {
        "Time        Status    Identity                IP                 API                               Latency"
    }

    fn row(&self, output: &Output) -> String {
        let time = self.time.to_offset(time::UtcOffset::UTC);
        let code = format!("{:<10}", self.response.code);
        // Padded first: escape codes have no width.
        let code = if self.response.code == 200 { output.green(&code) } else { output.red(&code) };
        let identity = if self.request.identity.is_empty() { "-" } else { &self.request.identity };
        let ip = if self.request.ip.is_empty() { "<unknown>" } else { &self.request.ip };
        format!(
            "{:02}:{:02}:{:02}    {code}{:<24}{:<19}{:<34}{}",
            time.hour(),
            time.minute(),
            time.second(),
            printable(identity).chars().take(20).collect::<String>(),
            printable(ip),
            printable(&self.request.path) + " ",
            latency(self.response.time)
        )
    }
}

impl Event for ErrorEvent {
    fn header() -> &'static str {
        ""
    }

    fn row(&self, _: &Output) -> String {
        printable(&self.message)
    }
}

/// Nothing that a request brings moves the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// Nanoseconds, with about three digits.
fn latency(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..999_500 => format!("{:.0}µs", value / 1e3),
        999_500..999_950_000 => format!("{:.1}ms", value / 1e6),
        _ => format!("{:.2}s", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn plain() -> Output {
        Output::new(&Cli::try_parse_from(["kes", "log", "--color", "never"]).unwrap().global)
    }

    fn event(json: &str) -> AuditEvent {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_row_stands_below_its_header() {
        let full = event(
            r#"{"time":"2026-11-21T09:58:48.606123456+02:00","request":{"ip":"127.0.0.1","path":"/v1/key/create/a","identity":"3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22"},"response":{"code":200,"time":950701}}"#,
        );
        assert_eq!(
            format!("{}\n{}", AuditEvent::header(), full.row(&plain())),
            "Time        Status    Identity                IP                 API                               Latency\n\
             07:58:48    200       3ecfcdf38fcbe141ae26    127.0.0.1          /v1/key/create/a                  951µs"
        );
        let bare = event(
            r#"{"time":"2026-11-21T07:58:48Z","request":{"path":"/v1/\u001b[2J"},"response":{"code":404,"time":1}}"#,
        );
        assert_eq!(
            bare.row(&plain()),
            "07:58:48    404       -                       <unknown>          /v1/?[2J                          1ns"
        );
    }

    #[test]
    fn json_keeps_nanoseconds_and_what_only_we_send() {
        let line = r#"{"time":"2026-11-21T07:58:48.606123456Z","request":{"path":"/v1/a\u003cb","method":"GET","rule":"none"},"response":{"code":403,"time":950701}}"#;
        assert_eq!(json(&event(line)), format!("{line}\n"));
    }

    #[test]
    fn latencies_are_short() {
        assert_eq!(
            [999, 1_000, 950_701, 999_499, 999_500, 1_600_000, 2_345_000_000].map(latency),
            ["999ns", "1µs", "951µs", "999µs", "1.0ms", "1.6ms", "2.35s"]
        );
    }
}
