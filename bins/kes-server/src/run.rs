//! The life of the process: start, signals, reloads, stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use kes_api::server::{Handle, Options, Server, State};
use time::OffsetDateTime;

use crate::arguments::Arguments;
use crate::banner::{self, Facts};
use crate::notify::{self, Notifier};
use crate::reload::{Prepared, Reason, Running, Source};
use crate::signals::{Signals, Wanted};
use crate::{assemble, dev, quick, renew};

/// How often files are looked at.
const WATCH: Duration = Duration::from_secs(5);

/// Longest time that the end takes besides the drain: changes to the store, closing it, the last log lines, and some slack.
const END: Duration = Duration::from_secs(30);

/// Runs the server until it is told to stop.
///
/// The runtime of this thread is the one for slow work: store calls, timers, reloads, probes. Requests are served by
/// threads of the server's own.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    for warning in arguments.deprecated() {
        banner::warn(&warning);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let notifier = Arc::new(Notifier::from_environment());
        match (&arguments.quick, &arguments.config) {
            (Some(folder), _) => serve_quick(folder, arguments, signals, notifier).await,
            (None, Some(path)) => serve_config(path.clone(), arguments, signals, notifier).await,
            (None, None) => serve_dev(arguments, signals, notifier).await,
        }
    })
}

async fn serve_dev(arguments: &Arguments, mut signals: Signals, notifier: Arc<Notifier>) -> anyhow::Result<()> {
    let dev = dev::assemble(arguments.addr.as_deref())?;
    let server = bind(dev.address, dev.state, Options::new(assemble::build()))
        .map_err(|(text, hint)| anyhow!("{text}\nhint: {hint}"))?;
    let handle = server.handle();
    let address = server.local_addr()?;
    banner::warn("development mode: keys are in memory only, and gone when the server stops");
    banner::show(&Facts::of_dev(&dev.api_key), &handle.state(), address, "Server is up and running...");
    let serving = tokio::spawn(server.serve());
    guard(&handle, &notifier);
    notifier.ready(&format!("Serving on {address}, in development mode"));
    loop {
        match signals.next().await {
            Wanted::Stop => break,
            Wanted::Reload => {
                banner::tell("SIGHUP signal received. There is no configuration to reload in development mode.");
            }
            Wanted::Reopen => banner::tell("SIGUSR1 signal received. There is no audit file to open again."),
        }
    }
    notifier.stopping(Duration::from_secs(10) + END);
    stop(&handle, serving, signals).await
}

/// The first start makes the folder, every start serves what lies in it.
async fn serve_quick(
    path: &Path,
    arguments: &Arguments,
    signals: Signals,
    notifier: Arc<Notifier>,
) -> anyhow::Result<()> {
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
    let source = Source { path: folder.config(), addr: arguments.addr.clone(), root: None };
    let config = source.read(true)?;
    if let Some(addr) = &arguments.addr {
        names.extend(quick::of_address(addr)?.iter().map(ToString::to_string));
    }
    renew::with_names(&config, &names, OffsetDateTime::now_utc())?;
    banner::say(&quick::started(&folder, &config, outcome));
    serve_config(folder.config(), arguments, signals, notifier).await
}

async fn serve_config(
    path: PathBuf,
    arguments: &Arguments,
    mut signals: Signals,
    notifier: Arc<Notifier>,
) -> anyhow::Result<()> {
    let source = Source { path, addr: arguments.addr.clone(), root: arguments.root.clone() };
    notifier.status("Reading the configuration, opening the key store");
    // Looked at before it is read: a change in between is then seen at the first look.
    let config_file = source.content();
    // A store that does not answer must not keep the process from being stopped.
    let prepared = tokio::select! {
        prepared = notifier.extending(source.prepare(None)) => prepared?,
        () = signals.stop() => return Ok(()),
    };
    let Prepared { config, state, audit_file, files } = prepared;
    let options = Options { audit_file, ..Options::new(assemble::build()) };
    let server = bind(assemble::address(&config), state, options)
        .map_err(|(text, hint)| anyhow!("{}", config.refuse("address", text, hint)))?;
    let address = server.local_addr()?;
    let probe_socket = assemble::probe_socket(&config)?;
    let handle = server.handle();
    {
        // Not for longer: the store of a state that is held is never closed.
        let state = handle.state();
        tokio::select! {
            made = notifier.extending(assemble::predefine(&config, &state)) => made?,
            () = signals.stop() => return Ok(()),
        }
    }
    // First, so that a probe finds it alive.
    let serving = tokio::spawn(server.serve());
    let mut running = Running::new(handle, source, config, address, probe_socket, (config_file, files))?;
    running.show("Server is up and running...");
    guard(&running.handle, &notifier);
    notifier.ready(&running.status());
    let mut watch = tokio::time::interval(WATCH);
    loop {
        let wanted = tokio::select! {
            wanted = signals.next() => Some(wanted),
            _ = watch.tick() => None,
        };
        if wanted == Some(Wanted::Stop) {
            break;
        }
        let work = async {
            match wanted {
                Some(Wanted::Reload) => running.reload(Reason::Signal, &notifier).await,
                Some(Wanted::Reopen) => running.reopen_audit_file(),
                Some(Wanted::Stop) | None => running.look(&notifier).await,
            }
        };
        // A new store that does not answer must not keep the process from being stopped either.
        tokio::select! {
            biased;
            () = work => {}
            () = signals.stop() => break,
        }
    }
    notifier.stopping(running.drain() + END);
    stop(&running.handle, serving, signals).await
}

/// Keeps the service manager's watchdog from acting for as long as every thread does what it is asked: the server's, and
/// this one, on which the watching is done.
fn guard(handle: &Handle, notifier: &Arc<Notifier>) {
    if let Some(period) = notify::watchdog_period() {
        let (handle, notifier) = (handle.clone(), Arc::clone(notifier));
        let answers = move |within| {
            let handle = handle.clone();
            async move { handle.answers(within).await }
        };
        tokio::spawn(async move { notifier.watchdog(period, answers).await });
    }
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
        (format!("listen tcp {address}: bind: {}", assemble::words(&error)), hint)
    })
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
