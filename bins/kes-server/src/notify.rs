//! What a service manager is told: systemd's `sd_notify` protocol, datagrams of `NAME=value` lines (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent. The variable stays there, but this process starts no
//! others that could inherit it.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often a start or reload that takes long says that it goes on.
const EXTEND: Duration = Duration::from_secs(5);

/// The way to the service manager.
#[derive(Debug)]
pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// The service manager that started this process, if there is one.
    pub(crate) fn from_environment() -> Self {
        Self::new(std::env::var("NOTIFY_SOCKET").ok().as_deref())
    }

    fn new(socket: Option<&str>) -> Self {
        let connect = |name: &str| {
            let socket = UnixDatagram::unbound().ok()?;
            // A manager that does not read must not hold us up.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address(name)?))
        };
        Self(socket.filter(|name| !name.is_empty()).and_then(connect))
    }

    /// The server answers requests, after a start or a reload, be it one that failed.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A reload has begun. The time tells the manager that this is an answer to its own signal.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reloading the configuration"));
    }

    /// The server stops, and may take so long.
    pub(crate) fn stopping(&self, at_most: Duration) {
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=Finishing requests in flight",
            at_most.as_micros()
        ));
    }

    pub(crate) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Does work that may take long, and says from time to time that it goes on.
    pub(crate) async fn extending<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(EXTEND, work.as_mut()).await {
                Ok(done) => return done,
                Err(_) => self.send(&format!("EXTEND_TIMEOUT_USEC={}", (EXTEND * 3).as_micros())),
            }
        }
    }

    /// Tells the watchdog, every `period`, that the server is alive, but only if it has just answered.
    pub(crate) async fn watchdog<F>(&self, period: Duration, answers: impl Fn(Duration) -> F)
    where
        F: Future<Output = bool>,
    {
        let mut ticker = tokio::time::interval(period);
        loop {
            ticker.tick().await;
            if answers(period / 2).await {
                self.send("WATCHDOG=1");
            }
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0 {
            // Nobody to tell that nobody listens.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// How often the watchdog wants to hear of this process: twice in the time after which it acts.
pub(crate) fn watchdog_period() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    period(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn period(micros: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_for_us = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 1)?;
    is_for_us.then(|| Duration::from_micros(micros) / 2)
}

/// A path, or `@` and a name in Linux's abstract namespace.
fn address(name: &str) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).ok();
    }
    // Other kinds, such as the `vsock:` of virtual machines, are not for processes inside them.
    name.starts_with('/').then(|| SocketAddr::from_pathname(name).ok()).flatten()
}

/// A status is one line.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn listen() -> (UnixDatagram, Notifier, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        (manager, Notifier::new(path.to_str()), dir)
    }

    fn next(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn a_status_is_one_line() {
        let (manager, notifier, _dir) = listen();
        notifier.ready("Failed: a\tb\nREADY=1");
        assert_eq!(next(&manager).unwrap(), "READY=1\nSTATUS=Failed: a b");
    }

    #[test]
    fn nobody_listens() {
        for socket in [None, Some(""), Some("/nowhere/at/all"), Some("vsock:2:1"), Some("relative")] {
            Notifier::new(socket).ready("Serving");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_only_of_a_server_that_answers() {
        let (manager, notifier, _dir) = listen();
        let asked = Cell::new(0);
        let answers = |within: Duration| {
            assert_eq!(within, Duration::from_secs(5), "before the next time");
            asked.set(asked.get() + 1);
            std::future::ready(asked.get() % 2 == 1)
        };
        let period = Duration::from_secs(10);
        let _ = tokio::time::timeout(period * 4 - Duration::from_secs(1), notifier.watchdog(period, answers)).await;
        assert_eq!(asked.get(), 4);
        assert_eq!((next(&manager).as_deref(), next(&manager).as_deref()), (Some("WATCHDOG=1"), Some("WATCHDOG=1")));
        assert_eq!(next(&manager), None);
    }

    #[test]
    fn half_of_the_time_if_it_is_for_this_process() {
        assert_eq!(period(Some("30000000"), None, 7), Some(Duration::from_secs(15)));
        assert_eq!(period(Some("30000000"), Some("7"), 7), Some(Duration::from_secs(15)));
        for (micros, pid) in [(None, None), (Some("30000000"), Some("8")), (Some("0"), None), (Some("x"), None)] {
            assert_eq!(period(micros, pid, 7), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_work_asks_for_more_time() {
        let (manager, notifier, _dir) = listen();
        notifier.extending(tokio::time::sleep(Duration::from_secs(12))).await;
        for _ in 0..2 {
            assert_eq!(next(&manager).as_deref(), Some("EXTEND_TIMEOUT_USEC=15000000"));
        }
        assert_eq!(next(&manager), None);
    }
}
