//! What the process says to its operator on the console: text, or with `log.format: json` one object for each line, all
//! of them on standard error then, so that standard output carries audit records alone.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use kes_api::server::State;
use kes_config::{Config, Format, Level, Warning};
use kes_crypto::rfc3339;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::process;

/// How long to wait for whoever takes our lines.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What a pipe that is ready takes at once, and in one piece (`PIPE_BUF`).
const PIPE: usize = 4096;

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on lines look like this.
pub(crate) fn speak(format: Format) {
    IS_JSON.store(format == Format::Json, Ordering::Relaxed);
}

fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// What the banner shows of a configuration.
pub(crate) struct Facts {
    admin: String,
    api_key: Option<String>,
    error_level: Level,
    audit_level: Level,
    audit_file: Option<String>,
    probes: Option<SocketAddr>,
}

impl Facts {
    pub(crate) fn of(config: &Config, probes: Option<SocketAddr>) -> Self {
        Self {
            admin: config.admin.to_string(),
            api_key: None,
            error_level: config.log.error,
            audit_level: config.log.audit,
            audit_file: config.log.audit_file.as_ref().map(|file| file.path.display().to_string()),
            probes,
        }
    }

    pub(crate) fn of_dev(api_key: &kes_identity::ApiKey) -> Self {
        Self {
            admin: api_key.identity().to_string(),
            api_key: Some(api_key.to_text().expose().to_owned()),
            error_level: Level::INFO,
            audit_level: Level::INFO,
            audit_file: None,
            probes: None,
        }
    }
}

/// Prints the banner. The socket is bound by now.
pub(crate) fn show(facts: &Facts, state: &State, address: SocketAddr, last_line: &str) {
    if is_json() {
        return show_json(facts, state, address, last_line);
    }
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<12}{value}");
    };
    line("Version", &format!("{:<24}commit={}", env!("CARGO_PKG_VERSION"), env!("KES_COMMIT")));
    line("License", "Apache-2.0");
    line("", "");
    line("KMS", &state.keys().store().describe());
    for (at, ip) in reachable(address.ip()).into_iter().enumerate() {
        let label = if at == 0 { "API" } else { "" };
        line(label, &format!("· https://{}", SocketAddr::new(ip, address.port())));
    }
    if let Some(probes) = facts.probes {
        line("Probes", &format!("· http://{probes}"));
    }
    line("", "");
    if let Some(api_key) = &facts.api_key {
        line("API Key", api_key);
    }
    line("Admin", &facts.admin);
    line("Logs", &format!("error=stderr level={}", facts.error_level));
    if facts.audit_level <= Level::INFO {
        line("", &format!("audit=stdout level={}", facts.audit_level));
    }
    if let Some(path) = &facts.audit_file {
        line("", &format!("audit={path}"));
    }
    if process::memory_is_locked() {
        line("MLock", "enabled");
    }
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    say(&format!("{text}\n=> {last_line}\n"));
}

fn show_json(facts: &Facts, state: &State, address: SocketAddr, last_line: &str) {
    let fields = [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("commit", json!(env!("KES_COMMIT"))),
        ("kms", json!(state.keys().store().describe())),
        ("address", json!(address.to_string())),
        ("probe_address", json!(facts.probes.map(|probes| probes.to_string()))),
        ("admin", json!(facts.admin)),
        ("error_level", json!(facts.error_level.to_string())),
        ("audit_level", json!(facts.audit_level.to_string())),
        ("audit_file", json!(facts.audit_file)),
        ("memory_locked", json!(process::memory_is_locked())),
    ];
    write(&object("INFO", last_line, &fields));
}

/// One line, its members in the order of those of the error log.
fn object(level: &str, text: &str, fields: &[(&str, Value)]) -> String {
    let first =
        [("time", json!(rfc3339::format(OffsetDateTime::now_utc()))), ("level", json!(level)), ("msg", json!(text))];
    let members = first.iter().chain(fields).filter(|(_, value)| !value.is_null());
    let members: Vec<String> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The addresses at which a socket bound to `ip` can be reached: every IPv4 address of this machine if it is bound to
/// all of them, or the IPv6 ones if there are no others. Link-local ones are left out.
pub(crate) fn reachable(ip: IpAddr) -> Vec<IpAddr> {
    if !ip.is_unspecified() {
        return vec![ip];
    }
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let ips: Vec<IpAddr> = interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        })
        .collect();
    let any_v4 = ips.iter().any(IpAddr::is_ipv4);
    ips.into_iter().filter(|ip| ip.is_ipv4() == any_v4).collect()
}

/// A line for stdout. Nobody reads it if that is closed, which is no reason to stop.
pub(crate) fn say(text: &str) {
    if is_json() {
        return line("INFO", text.trim().trim_start_matches("=> "));
    }
    send(std::io::stdout().as_fd(), text);
}

/// A text that is shown once. If it cannot be shown, that counts.
pub(crate) fn show_secret(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush())
}

/// A line for stderr.
pub(crate) fn tell(text: &str) {
    if is_json() { line("INFO", text) } else { write(text) }
}

pub(crate) fn warn(text: &str) {
    if is_json() { line("WARN", text) } else { write(&format!("WARNING: {text}")) }
}

/// Something that failed while the server goes on.
pub(crate) fn complain(text: &str) {
    if is_json() { line("ERROR", text) } else { write(text) }
}

/// One object.
fn line(level: &str, text: &str) {
    write(&object(level, text, &[]));
}

fn write(text: &str) {
    send(std::io::stderr().as_fd(), text);
}

/// Writes a line, unless whoever should take it does not: a stalled pipe must hold up neither a reload nor the end.
/// Past the standard library's lock, which the writer of a log may hold in that case.
fn send(to: BorrowedFd<'_>, text: &str) {
    let line = format!("{text}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        let mut descriptors = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
        if !matches!(poll(&mut descriptors, Some(&PATIENCE)), Ok(1)) {
            return;
        }
        match rustix::io::write(to, &rest[..rest.len().min(PIPE)]) {
            Ok(written) => rest = &rest[written..],
            Err(_) => return,
        }
    }
}

pub(crate) fn warnings(warnings: &[Warning]) {
    for warning in warnings {
        warn(&warning.to_string());
    }
}

/// Why the server does not run: one error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    write(&format!("Error: {error:#}"));
}
