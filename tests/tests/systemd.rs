//! What systemd is told, by a socket that a test holds in its place.

use kes_tests::{Credential, Home, Kind, Server};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

struct Manager(UnixDatagram);

impl Manager {
    /// The next message, as its lines.
    fn next(&self) -> Vec<String> {
        self.0.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit above zero");
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a message within 20 seconds");
        String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
    }

    /// The next message that has this line; others may only be about time and the watchdog.
    fn expect(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|other| other == line) {
                return message;
            }
            let passing = |line: &String| {
                ["STATUS=", "EXTEND_TIMEOUT_USEC=", "WATCHDOG=1"].iter().any(|start| line.starts_with(start))
            };
            assert!(message.iter().all(passing), "{message:?} before {line}");
        }
    }
}

fn config(home: &Home) -> String {
    home.config(&format!("admin: {{identity: {}}}", Credential::from_seed(0).identity()))
}

fn start(home: &Home, socket: &str, variables: &[(&str, &str)]) -> Server {
    Server::start_with(Kind::Ours, home, &config(home), |command| {
        command.env("NOTIFY_SOCKET", socket).envs(variables.iter().copied());
    })
}

fn status(message: &[String]) -> &str {
    message.iter().find_map(|line| line.strip_prefix("STATUS=")).expect("a status")
}

fn monotonic() -> u128 {
    let now = clock_gettime(ClockId::Monotonic);
    u128::try_from(now.tv_sec).expect("since the boot") * 1_000_000 + u128::try_from(now.tv_nsec).expect("ns") / 1000
}

#[test]
fn start_reload_failure_and_stop_are_told() {
    let home = Home::new();
    let path = home.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).expect("a socket"));
    let mut server = start(&home, path.to_str().expect("text"), &[]);
    let ready = manager.expect("READY=1");
    assert_eq!(status(&ready), format!("Serving on {}", server.address()), "it accepts by then");

    let before = monotonic();
    server.signal(Signal::HUP);
    let reloading = manager.expect("RELOADING=1");
    let since: u128 = reloading
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
        .and_then(|time| time.parse().ok())
        .expect("systemd matches it with its own signal");
    assert!((before..=monotonic()).contains(&since), "{since}");
    manager.expect("READY=1");

    server.rewrite_config(Kind::Ours, &home, "nonsense");
    server.signal(Signal::HUP);
    manager.expect("RELOADING=1");
    let ready = manager.expect("READY=1");
    assert!(status(&ready).contains("old configuration: Failed to reload server config: "), "{ready:?}");

    server.signal(Signal::TERM);
    let stopping = manager.expect("STOPPING=1");
    assert!(stopping.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{stopping:?}");
    assert!(server.wait(Duration::from_secs(20)).success());
}

#[test]
fn abstract_sockets_and_the_watchdog_are_served() {
    let home = Home::new();
    let name = format!("kes-tests-{}", std::process::id());
    let socket = SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = Manager(UnixDatagram::bind_addr(&socket).expect("a socket"));
    let server = start(&home, &format!("@{name}"), &[("WATCHDOG_USEC", "400000")]);
    manager.expect("READY=1");
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }
    drop(server);
}

#[test]
fn a_server_without_manager_or_with_one_that_is_gone_starts_all_the_same() {
    for socket in ["", "/nowhere/notify", "vsock:2:1234"] {
        let home = Home::new();
        let server = start(&home, socket, &[("WATCHDOG_USEC", "400000")]);
        server.expect_stdout("=> Server is up and running...");
    }
}

/// A unit file that systemd does not understand is noticed when it is needed.
#[test]
fn the_unit_file_says_what_the_server_does() {
    let unit = include_str!("../../examples/kes.service");
    let settings: Vec<(&str, &str)> = unit
        .lines()
        .filter(|line| !line.starts_with(['#', '[']) && !line.is_empty())
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}")))
        .collect();
    let value = |name: &str| settings.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    assert_eq!(value("Type"), Some("notify-reload"));
    assert_eq!(value("ExecStart"), Some("/usr/local/bin/kes server --config=/etc/kes/config.yaml"));
    assert_eq!(value("ExecReload"), Some("/bin/kill -HUP $MAINPID"));
    assert!(value("WatchdogSec").is_some() && value("NotifyAccess") == Some("main"));
}
