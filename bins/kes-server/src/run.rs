//! The life of the process: start, signals, reloads, stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use kes_api::server::{Handle, Level, Options, Server, State};
use kes_config::{Config, File};
use kes_crypto::rfc3339;
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::Arguments;
use crate::banner::{self, Facts};
use crate::watch::Fingerprint;
use crate::{assemble, dev, quick, renew, tls_files};

/// How often files are looked at.
const WATCH: Duration = Duration::from_secs(5);

/// Runs the server until it is told to stop.
///
/// The runtime of this thread is the one for slow work: store calls, timers, reloads. Requests are served by threads of
/// the server's own.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    for warning in arguments.deprecated() {
        banner::warn(&warning);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        match (&arguments.quick, &arguments.config) {
            (Some(folder), _) => serve_quick(folder, arguments, signals).await,
            (None, Some(path)) => serve_config(path.clone(), arguments, signals).await,
            (None, None) => serve_dev(arguments, signals).await,
        }
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot handle signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// The next signal that the server acts on.
    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await == Wanted::Reload {}
    }
}

/// Why the configuration is read again.
#[derive(Clone, Copy)]
enum Reason {
    Signal,
    Changed,
}

/// What the operator wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Stop,
    Reload,
}

async fn serve_dev(arguments: &Arguments, mut signals: Signals) -> anyhow::Result<()> {
    let dev = dev::assemble(arguments.addr.as_deref())?;
    let server = bind(dev.address, dev.state, Options::new(assemble::build()))
        .map_err(|(text, hint)| anyhow!("{text}\nhint: {hint}"))?;
    let handle = server.handle();
    let address = server.local_addr()?;
    banner::warn("development mode: keys are in memory only, and gone when the server stops");
    banner::show(&Facts::of_dev(&dev.api_key), &handle.state(), address, "Server is up and running...");
    let serving = tokio::spawn(server.serve());
    while signals.next().await == Wanted::Reload {
        banner::tell("SIGHUP signal received. There is no configuration to reload in development mode.");
    }
    stop(&handle, serving, signals).await
}

/// The first start makes the folder, every start serves what lies in it.
async fn serve_quick(path: &Path, arguments: &Arguments, signals: Signals) -> anyhow::Result<()> {
    let folder = quick::Folder::new(path)?;
    let mut names = arguments.dns.clone();
    names.extend(arguments.ip.iter().map(ToString::to_string));
    let plan = quick::Plan {
        backend: quick::Backend::Fs,
        address: arguments.addr.clone().unwrap_or_else(|| quick::ADDRESS.to_owned()),
        names: names.clone(),
    };
    let outcome = quick::make(&folder, &plan, banner::show_secret).await?;
    quick::moved(&folder)?;
    let reloader = Reloader { path: folder.config(), addr: arguments.addr.clone(), root: None };
    let config = reloader.read()?;
    if let Some(addr) = &arguments.addr {
        names.extend(quick::of_address(addr)?.iter().map(ToString::to_string));
    }
    renew::with_names(&config, &names, OffsetDateTime::now_utc())?;
    banner::say(&quick::started(&folder, &config, outcome));
    serve_config(folder.config(), arguments, signals).await
}

async fn serve_config(path: PathBuf, arguments: &Arguments, mut signals: Signals) -> anyhow::Result<()> {
    let reloader = Reloader { path, addr: arguments.addr.clone(), root: arguments.root.clone() };
    let starting = async {
        let mut config = reloader.read()?;
        if let Err(error) = renew::if_due(&config, OffsetDateTime::now_utc()) {
            banner::warn(&format!("{error:#}"));
        }
        let options = assemble::options(&config)?;
        let state = assemble::state(&mut config, None).await?;
        anyhow::Ok((config, options, state))
    };
    // A store that does not answer must not keep the process from being stopped.
    let (mut config, options, state) = tokio::select! {
        started = starting => started?,
        () = signals.stop() => return Ok(()),
    };
    let server = bind(assemble::address(&config), state, options)
        .map_err(|(text, hint)| anyhow!("{}", config.refuse("address", text, hint)))?;
    let handle = server.handle();
    let address = server.local_addr()?;
    let mut config_file = Fingerprint::of_config(&reloader.path);
    let mut tls_files = Fingerprint::of_tls(&config);
    let mut renewal = renew::Schedule::of(&config);
    warn_about_expiry(&handle);
    banner::show(&Facts::of(&config), &handle.state(), address, "Server is up and running...");
    let serving = tokio::spawn(server.serve());
    let mut watch = tokio::time::interval(WATCH);
    loop {
        let reason = tokio::select! {
            wanted = signals.next() => match wanted {
                Wanted::Stop => break,
                Wanted::Reload => Some(Reason::Signal),
            },
            _ = watch.tick() => {
                let now = Fingerprint::of_config(&reloader.path);
                (now != config_file).then_some(Reason::Changed)
            }
        };
        if let Some(reason) = reason {
            // Looked at before it is read: a change in between is then seen at the next look.
            config_file = Fingerprint::of_config(&reloader.path);
            reloader.reload(reason, &handle, &mut config, address).await;
            tls_files = Fingerprint::of_tls(&config);
            renewal = renew::Schedule::of(&config);
        } else if Fingerprint::of_tls(&config) != tls_files {
            tls_files = Fingerprint::of_tls(&config);
            reload_tls(&handle, &config);
            renewal = renew::Schedule::of(&config);
        }
        // What it writes is taken up at the next look.
        renew_if_due(&handle, &config, &mut renewal);
    }
    stop(&handle, serving, signals).await
}

/// The error is the old text and what to do about it.
fn bind(address: SocketAddr, state: State, options: Options) -> Result<Server, (String, &'static str)> {
    Server::bind(address, state, options).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process listens there; choose another address or stop it",
            std::io::ErrorKind::AddrNotAvailable => {
                "no interface of this machine has that address; 0.0.0.0, or nothing before the colon, is all of them"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; the usual port of kes is 7373"
            }
            _ => "choose another address",
        };
        let text = error.to_string();
        let words = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        (format!("listen tcp {address}: bind: {words}"), hint)
    })
}

struct Reloader {
    path: PathBuf,
    addr: Option<String>,
    root: Option<String>,
}

impl Reloader {
    fn read(&self) -> anyhow::Result<Config> {
        let mut file = File::read(&self.path).map_err(|error| anyhow!("{error}"))?;
        if let Some(addr) = &self.addr {
            file = file.address(addr.clone());
        }
        if let Some(root) = &self.root {
            file = file.root(root.clone());
        }
        let loaded = file.load().map_err(|error| anyhow!("{error}"))?;
        banner::warnings(&loaded.warnings);
        warn_about_missing(&loaded.config);
        Ok(loaded.config)
    }

    /// All or nothing: after an error the running state stays as it was.
    async fn reload(&self, reason: Reason, handle: &Handle, config: &mut Config, address: SocketAddr) {
        let (first_line, last_line) = match reason {
            Reason::Signal => ("SIGHUP signal received.", "Reloading configuration after SIGHUP signal completed."),
            Reason::Changed => {
                ("The configuration file has changed.", "Reloading the changed configuration completed.")
            }
        };
        banner::tell(&format!("{first_line} Reloading configuration..."));
        match self.try_reload(handle, config).await {
            Ok(new) => {
                if new.address != config.address {
                    banner::warn(&format!(
                        "'address' changed to {}: the old one stays until a restart",
                        new.address.as_str()
                    ));
                }
                warn_about_restart(config, &new);
                *config = new;
                warn_about_expiry(handle);
                banner::show(&Facts::of(config), &handle.state(), address, last_line);
            }
            Err(error) => {
                handle.reload_failed();
                let text = format!("{error:#}");
                banner::tell(&format!("Failed to {}: {text}", failed_step(&text)));
                handle.log().write(Level::Error, "the configuration could not be reloaded; the old one stays", &[]);
            }
        }
    }

    async fn try_reload(&self, handle: &Handle, config: &Config) -> anyhow::Result<Config> {
        let mut new = self.read()?;
        let running = handle.state();
        let state = assemble::state(&mut new, Some((&running, config))).await?;
        handle.reload(state);
        Ok(new)
    }
}

/// Compat: the old server had other words for what it noticed after the file was read and the store connected: names in
/// policies, and keys that cannot be created. Those texts begin so.
fn failed_step(text: &str) -> &'static str {
    let late = text.starts_with("kes: ") || text.starts_with("failed to create key ");
    if late { "update server configuration" } else { "reload server config" }
}

/// New connections get the new certificate and trust; nothing else changes.
fn reload_tls(handle: &Handle, config: &Config) {
    let swapped =
        tls_files::read(config).and_then(|tls| Ok(handle.state().with_tls(&tls.certificate, tls.verification)?));
    match swapped {
        Ok(state) => {
            handle.reload_tls(state);
            handle.log().write(Level::Info, "TLS files changed: new connections get the new certificate", &[]);
            warn_about_expiry(handle);
        }
        Err(error) => {
            handle.reload_failed();
            banner::tell(&format!("Failed to reload TLS configuration: {error:#}"));
        }
    }
}

/// A failure is told and tried again later: there is half of the certificate's life left for it.
fn renew_if_due(handle: &Handle, config: &Config, schedule: &mut renew::Schedule) {
    let now = OffsetDateTime::now_utc();
    if !schedule.is_due(now) {
        return;
    }
    schedule.rest(now);
    match renew::if_due(config, now) {
        Ok(true) => handle.log().write(Level::Info, "the server's certificate was renewed", &[]),
        Ok(false) => *schedule = renew::Schedule::of(config),
        Err(error) => handle.log().write(
            Level::Error,
            "the server's certificate could not be renewed",
            &[("error", &format!("{error:#}"))],
        ),
    }
}

/// What a file may ask for and this release does not have. None of it changes where keys live or who may use them.
fn warn_about_missing(config: &Config) {
    if config.probe.address.is_some() {
        banner::warn("this release has no 'probe.address' support: use api./v1/ready.skip_auth for probes");
    }
    if config.compat.legacy_messages {
        banner::warn("this release has no 'compat.legacy_messages' support: error texts are those of 2025");
    }
}

/// What a reload does not change besides the address.
fn warn_about_restart(old: &Config, new: &Config) {
    let connections = |config: &Config| {
        let limits = &config.limits;
        (limits.connections, limits.handshake, limits.header, limits.idle, limits.drain)
    };
    if connections(old) != connections(new) {
        banner::warn("'limits' changed: those of connections stay until a restart, 'rate' and 'concurrency' are new");
    }
    if old.log.audit_file != new.log.audit_file {
        banner::warn("'log.audit_file' changed: the old one stays until a restart");
    }
}

/// Clients refuse an expired certificate, and then everything stops at once.
fn warn_about_expiry(handle: &Handle) {
    let expires = handle.state().certificate_expires();
    let left = expires - OffsetDateTime::now_utc();
    if left.is_negative() {
        handle.log().write(
            Level::Error,
            "the server's certificate has expired: clients will refuse it",
            &[("expired", &rfc3339::format(expires))],
        );
    } else if left < time::Duration::days(30) {
        let text = format!("the server's certificate expires in {} days", left.whole_days());
        handle.log().write(Level::Warn, text, &[("expires", &rfc3339::format(expires))]);
    }
}

/// Lets requests in flight finish; a second signal ends the process at once.
async fn stop(
    handle: &Handle,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    mut signals: Signals,
) -> anyhow::Result<()> {
    handle.shutdown();
    banner::say("\n=> Stopping server... Goodbye.");
    tokio::select! {
        served = serving => Ok(served??),
        () = signals.stop() => std::process::exit(1),
    }
}
