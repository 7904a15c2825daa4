//! `kes metric`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::bench::{Running, Server};
use crate::terminal::Terminal;

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The text of the last whole frame, without escapes.
fn last_frame(shown: &str) -> String {
    let frame = shown.rsplit("\x1b[H").find(|frame| frame.contains("\x1b[J")).unwrap();
    frame.replace("\x1b[K", "").replace("\x1b[J", "").replace('\r', "")
}

#[test]
fn the_live_view_shows_traffic_and_q_leaves_the_terminal_as_it_was() {
    let server = Server::start();
    server.ask(&["key", "create", "my-key"]);
    let mut command = server.kes(&["metric", "--rate", "200ms"]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command, 80, 24);
    let before = terminal.modes();
    let at = terminal.shown.expect(ENTER);
    terminal.shown.expect_after(at, "since its start");
    assert!(!terminal.modes().local_modes.contains(LocalModes::ECHO), "keys are not shown");
    server.ask(&["key", "dek", "my-key"]);
    let at = terminal.shown.expect_after(at, "/v1/key/generate/");
    terminal.shown.expect_after(at, "█");
    terminal.press("xq");
    let (status, shown, after) = terminal.end_with_modes();
    assert_eq!((status, after.local_modes), (0, before.local_modes));
    assert!(shown.ends_with(LEAVE), "{shown:?}");
    assert!(!shown.contains("\x1b[1m") && !shown.contains("\x1b[2m"), "NO_COLOR");
    for label in ["Requests", "  ok", "  4xx", "  5xx", "Latency", "Cache", "Store", "Memory", "System", "Log"] {
        assert!(last_frame(&shown).contains(&format!("\n{label}")), "{label}\n{}", last_frame(&shown));
    }
}

#[test]
fn ctrl_c_and_a_kill_leave_the_terminal_as_it_was() {
    let server = Server::start();
    for key in ["\x03", ""] {
        let mut terminal = Terminal::start(server.kes(&["metric"]), 80, 24);
        let before = terminal.modes();
        terminal.shown.expect("q quits");
        if key.is_empty() {
            terminal.terminate();
        } else {
            terminal.press(key);
        }
        let (status, shown, after) = terminal.end_with_modes();
        assert!(shown.ends_with(LEAVE), "{shown:?}");
        assert_eq!((status, after.local_modes), (130, before.local_modes));
    }
}

#[test]
fn frames_follow_the_size_of_the_terminal() {
    let server = Server::start();
    let mut terminal = Terminal::start(server.kes(&["metric", "--rate", "1h", "--color", "never"]), 100, 30);
    terminal.shown.expect("\x1b[30;1H");
    terminal.resize(30, 6);
    terminal.shown.expect("\x1b[6;1H");
    terminal.press("q");
    let (_, shown) = terminal.end();
    let frame = last_frame(&shown);
    let (body, footer) = frame.split_once("\x1b[6;1H").unwrap();
    assert!(body.lines().all(|line| line.chars().count() < 30) && body.lines().count() == 5, "{body}");
    assert!(footer.starts_with("every 1h00m   q quits"), "{footer}");
}

#[test]
fn an_outage_is_shown_and_survived() {
    let mut server = Server::start();
    let mut terminal = Terminal::start(server.kes(&["metric", "--rate", "100ms", "--color", "never"]), 120, 24);
    let at = terminal.shown.expect("last 0.1s");
    server.stop();
    let at = terminal.shown.expect_after(at, "unreachable since 20");
    let at = terminal.shown.expect_after(at, "connection refused");
    server.restart();
    terminal.shown.expect_after(at, "last ");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn q_leaves_during_an_outage_too() {
    let mut server = Server::start();
    let mut terminal = Terminal::start(server.kes(&["metric", "--rate", "100ms"]), 80, 24);
    terminal.shown.expect("Requests");
    server.stop();
    terminal.shown.expect("unreachable since");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_pipe_gets_one_json_object_for_each_look_until_nobody_reads() {
    let server = Server::start();
    let mut child = server.kes(&["metric", "--rate", "50ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        let names: Vec<&str> = line.split('"').filter(|part| part.starts_with("kes_")).collect();
        assert_eq!(
            names,
            [
                "kes_http_request_success",
                "kes_http_request_error",
                "kes_http_request_failure",
                "kes_http_request_active",
                "kes_log_audit_events",
                "kes_log_error_events",
                "kes_http_response_time",
                "kes_system_up_time",
                "kes_system_num_cpu",
                "kes_system_num_cpu_used",
                "kes_system_num_threads",
                "kes_system_mem_heap_used",
                "kes_system_mem_heap_objects",
                "kes_system_mem_stack_used"
            ]
        );
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(
            object["kes_http_response_time"]["1500000000"].is_u64() && object["kes_system_up_time"].as_u64() > Some(0)
        );
    }
    drop(lines);
    assert!(child.wait().unwrap().success());
}

#[test]
fn once_is_once_in_every_form() {
    let server = Server::start();
    let print = |arguments: &[&str]| {
        let output = server.kes(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(print(&["metric", "--once"]).lines().count(), 1);
    assert!(print(&["metric", "--once", "-o", "yaml"]).starts_with("---\nkes_http_request_success: "));
    let text = print(&["metric", "--once", "-o", "text"]);
    assert!(text.starts_with("kes metric  https://127.0.0.1") && !text.contains('\x1b'), "{text}");
    let prometheus = print(&["metric", "-o", "prometheus"]);
    assert!(
        prometheus.starts_with("# HELP kes_http_request_active ") && prometheus.contains("\nkes_cache_hits_total ")
    );
}

#[test]
fn a_first_look_that_fails_is_told_at_once() {
    let mut server = Server::start();
    server.stop();
    let (status, stderr) = server.ask(&["metric"]);
    assert_eq!(status, 6);
    assert!(stderr.starts_with("Error: failed to fetch metrics: kes: connection error: Get "), "{stderr}");
    let (status, shown) = Terminal::start(server.kes(&["metric"]), 80, 24).end();
    assert!(status == 6 && shown.contains("failed to fetch metrics") && !shown.contains(ENTER), "{shown}");
}

#[test]
fn an_interrupt_ends_the_pipe_form() {
    let server = Server::start();
    let running = Running::start(server.kes(&["metric", "--rate", "1h"]));
    running.stdout.expect("}\n");
    running.signal(Signal::INT);
    let (status, _, stderr) = running.end();
    assert_eq!((status.code(), stderr.as_str()), (Some(130), ""));
}
