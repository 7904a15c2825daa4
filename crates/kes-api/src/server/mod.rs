//! The HTTP service: sockets, TLS, routes, policies, limits, audit and metrics over a key cache.
//!
//! A [`Server`] owns the socket and its threads, a [`State`] is one consistent view of the configuration, and a
//! [`Handle`] swaps the one inside the other while requests go on.
//!
//! # Why it is shaped so
//!
//! A decrypt is a microsecond of work inside ten of socket and TLS, so structure matters more than tricks. There is one
//! single-threaded runtime for each core and one acceptor that gives each connection to the least busy; a request never
//! changes threads, and what it counts and logs goes into memory of its own core. Store misses and changes leave that
//! path: they run on the runtime that the key cache was made on.

mod accept;
mod access;
mod audit;
mod body;
mod call;
mod connection;
mod console;
mod ephemeral;
mod failure;
mod finish;
mod guard;
mod handlers;
mod lists;
mod log;
mod metrics;
mod moment;
mod operations;
mod pace;
mod path;
mod probe;
mod quota;
mod reloads;
mod reply;
mod request_id;
mod routes;
mod service;
mod shared;
mod state;
mod stream;
mod system;
mod tls;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::audit::Audit;
use self::console::{Console, Reporter};
use self::metrics::Metrics;
use self::reloads::Reloads;
use self::shared::{Shared, Worker};

pub use self::audit::{Events, OnFull};
pub use self::console::{Sync, Target};
pub use self::ephemeral::Dropped;
pub use self::log::{Field, Format, Level, Log};
pub use self::probe::ProbeListener;
pub use self::shared::{Build, Limits};
pub use self::state::{Logs, Proxy, RequestLimits, Settings, State};

/// Longest wait for changes to the store at a shutdown. They have deadlines of their own.
const DETACHED: Duration = Duration::from_secs(15);

/// Longest wait for the last log lines to be written at a shutdown: a pipe that nobody reads must not stop the exit.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How a server runs, apart from what it serves.
pub struct Options {
    /// Version and build, as told to clients.
    pub build: Build,
    /// Threads that serve; `None` (default): as many as the process may use cores.
    pub threads: Option<usize>,
    /// Where the error log goes. Default standard error.
    pub error_log: Target,
    /// Where audit records go, as far as [`Logs::audit`] lets them. Default standard output.
    pub audit_log: Target,
    /// Where all audit records go besides; [`Handle::redirect_audit`] changes it. Default nowhere.
    pub audit_file: Option<Target>,
}

impl Options {
    /// Defaults, for a build.
    #[must_use]
    pub fn new(build: Build) -> Self {
        Self { build, threads: None, error_log: Target::Stderr, audit_log: Target::Stdout, audit_file: None }
    }
}

/// A server whose socket is bound.
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    console: Console,
}

/// A running server, as its owner sees it. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Server {
    /// Binds the socket. Nothing is accepted before [`Self::serve`].
    ///
    /// # Errors
    /// The operating system's: address in use or not ours, no threads.
    pub fn bind(address: SocketAddr, state: State, options: Options) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let threads = threads.max(1);
        let logs = state.settings.logs;
        let mut console = Console::default();
        let (_, mut lines) = console.open(Some(options.error_log), 1, None)?;
        let log = Arc::new(Log::new(lines.remove(0), logs.error, logs.format));
        let reporter = |name| Some(Reporter { log: Arc::clone(&log), name });
        let (_, audit_lines) = console.open(Some(options.audit_log), threads, reporter("audit log of the console"))?;
        let has_file = options.audit_file.is_some();
        let (outlet, file_lines) = console.open(options.audit_file, threads, reporter("audit file"))?;
        let shared = Arc::new(Shared {
            state: ArcSwap::from_pointee(state),
            changing: std::sync::Mutex::new(()),
            audit: Audit::new(audit_lines, file_lines, outlet, has_file),
            log,
            workers: (0..threads).map(worker).collect(),
            build: options.build,
            process: request_id::process(),
            started: Instant::now(),
            created_at: OffsetDateTime::now_utc(),
            reported: access::Reported::default(),
            continuations: lists::Continuations::default(),
            quotas: quota::Quotas::default(),
            shutdown: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
            detached: watch::Sender::new(0),
            status: shared::StatusAnswer::default(),
            reloads: Reloads::new(OffsetDateTime::now_utc()),
            probes: probe::Probes::default(),
            turned_away: log::Seldom::default(),
        });
        shared.configure_logs(logs);
        Ok(Self { shared, listener, console })
    }

    /// The address that was bound, with the port that the system chose if it was asked to.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// For swapping the state, logging and shutting down.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::shutdown`], then until requests in flight are answered, changes to the store are done and the
    /// store is closed.
    ///
    /// # Errors
    /// The operating system's, if threads cannot be started.
    pub async fn serve(self) -> io::Result<()> {
        let Self { shared, listener, console } = self;
        let workers = worker::start(&shared, listener)?;
        for finished in workers {
            // A worker that panicked has dropped its sender; the others are still to be waited for.
            let _ = finished.await;
        }
        let mut detached = shared.detached.subscribe();
        let _ = tokio::time::timeout(DETACHED, detached.wait_for(|count| *count == 0)).await;
        // A create whose client was answered "timeout" goes on in the cache.
        let keys = Arc::clone(&shared.state.load().keys);
        let _ = tokio::time::timeout(DETACHED, keys.settled()).await;
        keys.close().await;
        // The last lines are written before anybody may exit, unless nobody takes them.
        let (done, written) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("kes-log-end".to_owned()).spawn(move || {
            drop(console);
            let _ = done.send(());
        })?;
        let _ = tokio::time::timeout(LAST_LINES, written).await;
        Ok(())
    }
}

fn worker(index: usize) -> Arc<Worker> {
    Arc::new(Worker {
        index,
        metrics: Metrics::default(),
        load: AtomicUsize::new(0),
        idle: Notify::new(),
        requests: AtomicU64::new(0),
        runtime: OnceLock::new(),
    })
}

impl Handle {
    /// The state that new requests are judged by.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.0.state.load_full()
    }

    /// The error log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// Swaps the whole state. Requests in flight end on the old one, whose store is closed then, if it is another; log streams end, so that their readers connect anew
    /// under the new rules. Changes of policies over the API end too; they are returned, and the log names them.
    pub fn reload(&self, state: State) -> Dropped {
        let logs = state.settings.logs;
        let dropped = self.0.replace(state);
        self.0.configure_logs(logs);
        self.0.reported.forget();
        self.0.audit.stream.close();
        self.0.log.stream.close();
        self.0.reloads.succeeded(OffsetDateTime::now_utc());
        self.0.status.forget();
        for line in dropped.lines() {
            self.0.log.write(Level::Warn, line, &[]);
        }
        dropped
    }

    /// Swaps the certificate and what clients must show, for new connections.
    pub fn reload_tls(&self, state: State) {
        // Only this: policies may have changed since `state` was made.
        let swapped = self.0.change(|now| Ok::<_, std::convert::Infallible>(now.with_tls_of(&state)));
        swapped.unwrap_or_else(|never| match never {});
        self.0.reloads.tls_succeeded(OffsetDateTime::now_utc());
        self.0.status.forget();
    }

    /// Counts a reload that failed and left everything as it was.
    pub fn reload_failed(&self) {
        self.0.reloads.failed(OffsetDateTime::now_utc());
        self.0.status.forget();
    }

    /// As [`Self::reload_failed`], for the TLS files alone.
    pub fn reload_tls_failed(&self) {
        self.0.reloads.tls_failed(OffsetDateTime::now_utc());
        self.0.status.forget();
    }

    /// Exchanges the audit file, or takes it away. Records made before still go to the old one.
    pub fn redirect_audit(&self, file: Option<Target>) {
        self.0.audit.redirect(file);
    }

    /// Whether every thread that serves requests does what it is asked within this time; for watchdogs. No store is
    /// touched. False before [`Server::serve`] and after the shutdown.
    pub async fn answers(&self, within: Duration) -> bool {
        self.0.answers(within).await
    }

    /// Stops accepting, ends log streams, and lets [`Server::serve`] return once the rest is done.
    pub fn shutdown(&self) {
        self.0.stopping.store(true, std::sync::atomic::Ordering::Release);
        self.0.shutdown.send_replace(true);
        self.0.audit.stream.close();
        self.0.log.stream.close();
    }
}

impl Shared {
    fn configure_logs(&self, logs: Logs) {
        self.log.configure(logs.error, logs.format);
        self.audit.configure(logs.audit, logs.format == Format::Json, logs.events, logs.on_full);
    }
}
