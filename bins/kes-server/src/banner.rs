//! What the process says to its operator on the console.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use kes_api::server::State;
use kes_config::{Config, Level, Warning};

use crate::process;

/// What the banner shows of a configuration.
pub(crate) struct Facts {
    admin: String,
    api_key: Option<String>,
    error_level: Level,
    audit_level: Level,
}

impl Facts {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            admin: config.admin.to_string(),
            api_key: None,
            error_level: config.log.error,
            audit_level: config.log.audit,
        }
    }

    pub(crate) fn of_dev(api_key: &kes_identity::ApiKey) -> Self {
        Self {
            admin: api_key.identity().to_string(),
            api_key: Some(api_key.to_text().expose().to_owned()),
            error_level: Level::INFO,
            audit_level: Level::INFO,
        }
    }
}

/// Prints the banner. The socket is bound by now.
pub(crate) fn show(facts: &Facts, state: &State, address: SocketAddr, last_line: &str) {
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
    line("", "");
    if let Some(api_key) = &facts.api_key {
        line("API Key", api_key);
    }
    line("Admin", &facts.admin);
    line("Logs", &format!("error=stderr level={}", facts.error_level));
    if facts.audit_level <= Level::INFO {
        line("", &format!("audit=stdout level={}", facts.audit_level));
    }
    if process::memory_is_locked() {
        line("MLock", "enabled");
    }
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    say(&format!("{text}\n=> {last_line}\n"));
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
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// A text that is shown once. If it cannot be shown, that counts.
pub(crate) fn show_secret(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush())
}

/// A line for stderr.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

pub(crate) fn warn(text: &str) {
    tell(&format!("WARNING: {text}"));
}

pub(crate) fn warnings(warnings: &[Warning]) {
    for warning in warnings {
        warn(&warning.to_string());
    }
}

/// Why the server does not run: one error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    tell(&format!("Error: {error:#}"));
}
