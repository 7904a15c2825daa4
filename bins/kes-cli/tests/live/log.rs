//! `kes log`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{Running, Server};
use crate::terminal::Terminal;

const HEADER: &str =
    "Time        Status    Identity                IP                 API                               Latency\n";

#[test]
fn every_request_is_a_row_below_the_header_and_ctrl_c_ends_it() {
    let server = Server::start();
    let running = Running::start(server.kes(&["log"]));
    running.stdout.expect("/v1/log/audit"); // the stream itself
    server.ask(&["key", "create", "my-key"]);
    running.stdout.expect("/v1/key/create/my-key");
    server.ask(&["key", "info", "nobody"]);
    running.stdout.expect("/v1/key/describe/nobody");
    running.signal(Signal::INT);
    let (status, stdout, stderr) = running.end();
    assert_eq!((status.code(), stderr.as_str()), (Some(130), ""));
    let rows: Vec<&str> = stdout.strip_prefix(HEADER).unwrap().lines().collect();
    assert_eq!(rows.len(), 3, "{stdout}");
    for (row, (status, path)) in rows.iter().zip([
        ("200", "/v1/log/audit"),
        ("200", "/v1/key/create/my-key"),
        ("404", "/v1/key/describe/nobody"),
    ]) {
        assert_eq!(row[12..15], *status, "{row}");
        assert_eq!(row[22..42], *"339e2ff917630507b6a4", "{row}");
        assert_eq!(row[46..55], *"127.0.0.1", "{row}");
        assert!(row[65..].starts_with(path), "{row}");
    }
}

#[test]
fn json_is_one_object_a_line_with_nanoseconds() {
    let server = Server::start();
    let running = Running::start(server.kes(&["log", "--json", "--path", "/v1/key/", "--status", "4xx"]));
    // The filter hides the stream's own line, so this is repeated until it is seen.
    while !running.stdout.text().contains('\n') {
        server.ask(&["key", "info", "nobody"]);
    }
    running.signal(Signal::INT);
    let (_, stdout, _) = running.end();
    let event: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!(event["request"]["path"], "/v1/key/describe/nobody");
    assert_eq!(event["request"]["identity"], "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23");
    assert_eq!((&event["response"]["code"], &event["request"]["ip"]), (&404.into(), &"127.0.0.1".into()));
    let nanos = event["response"]["time"].as_u64().unwrap();
    assert!((1_000..60_000_000_000).contains(&nanos), "{nanos}");
}

#[test]
fn the_error_log_is_what_operators_read() {
    let server = Server::start();
    fs::write(server.keys().join("torn"), "no key").unwrap();
    for json in [false, true] {
        let running = Running::start(server.kes(&["log", "--error", if json { "--json" } else { "--audit=false" }]));
        while !running.stdout.text().contains('\n') {
            server.ask(&["key", "info", "torn"]);
        }
        running.signal(Signal::INT);
        let (_, stdout, _) = running.end();
        let line = stdout.lines().next().unwrap();
        let message = if json {
            serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
        } else {
            line.to_owned()
        };
        assert!(
            message.starts_with("time=20") && message.contains("level=ERROR") && message.contains("torn"),
            "{line}"
        );
    }
}

#[test]
fn a_server_that_comes_back_is_followed_again() {
    let mut server = Server::start();
    let running = Running::start(server.kes(&["log"]));
    let at = running.stdout.expect("/v1/log/audit");
    server.stop();
    running.stderr.expect("Warning: lost https://127.0.0.1");
    server.restart();
    running.stderr.expect("Connected again to https://127.0.0.1");
    server.ask(&["key", "create", "later"]);
    running.stdout.expect_after(at, "/v1/key/create/later");
    running.signal(Signal::INT);
    let (status, stdout, stderr) = running.end();
    assert_eq!(status.code(), Some(130));
    assert_eq!(stdout.matches("Time  ").count(), 1, "one header");
    assert_eq!(stderr.matches("lost").count(), 1, "one warning for one outage\n{stderr}");
}

#[test]
fn all_named_servers_are_followed() {
    let (one, two) = (Server::start(), Server::start());
    let mut command = one.kes(&["log", "--json"]);
    command.env("KES_SERVER", format!("{},{}", one.address, two.address));
    let running = Running::start(command);
    while running.stdout.text().matches("/v1/log/audit").count() < 2 {
        std::thread::yield_now();
    }
    one.ask(&["key", "create", "at-one"]);
    two.ask(&["key", "create", "at-two"]);
    running.stdout.expect("/v1/key/create/at-one");
    running.stdout.expect("/v1/key/create/at-two");
}

#[test]
fn who_may_not_is_told_so() {
    let mut server = Server::start();
    let key = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/api-key.txt")).unwrap();
    for (arguments, which) in [(&["log"][..], "audit"), (&["log", "--error"], "error")] {
        let output = server.kes(arguments).env("KES_API_KEY", key.trim()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(5), 0), "no header without a log\n{stderr}");
        let text = format!("Error: failed to connect to {which} log: not authorized: insufficient permissions\n");
        assert!(stderr.starts_with(&text), "{stderr}");
    }
    server.stop();
    let (status, stderr) = server.ask(&["log"]);
    assert_eq!(status, 6);
    assert!(stderr.starts_with("Error: failed to connect to audit log: kes: connection error: Get "), "{stderr}");
}

#[test]
fn it_ends_when_nobody_reads() {
    let server = Server::start();
    let mut child = server.kes(&["log", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    while child.try_wait().unwrap().is_none() {
        server.ask(&["status", "--short"]);
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_terminal_shows_the_same_table_in_colors() {
    let server = Server::start();
    let mut terminal = Terminal::start(server.kes(&["log"]), 120, 24);
    terminal.shown.expect("/v1/log/audit");
    terminal.press("\x03");
    let (status, shown) = terminal.end();
    assert_eq!(status, 130);
    assert!(shown.replace('\r', "").starts_with(HEADER), "{shown:?}");
    assert!(
        shown.contains("\x1b[1;32m200       \x1b[0m339e2ff917630507b6a4"),
        "padded before it is painted\n{shown:?}"
    );
}
