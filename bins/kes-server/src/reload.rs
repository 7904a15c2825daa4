//! Reading the configuration, at the start and while the server runs: all of it takes effect, or nothing.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use kes_api::server::{Handle, Level, ProbeListener, State, Target};
use kes_config::{Config, File};
use time::OffsetDateTime;

use crate::banner::{self, Facts};
use crate::expiry::Expiry;
use crate::notify::Notifier;
use crate::watch::{Content, Fingerprint};
use crate::{assemble, renew, tls_files};

/// A changed file is read when two looks so far apart have shown the same: not while it is being written.
const SETTLE: Duration = Duration::from_millis(250);
/// Looks at a file that goes on changing.
const LOOKS: u32 = 8;

/// Where the configuration comes from.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) addr: Option<String>,
    pub(crate) root: Option<String>,
}

/// Everything that a configuration makes, ready to take effect.
pub(crate) struct Prepared {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) audit_file: Option<Target>,
    /// The looks that were taken at files before they were read.
    pub(crate) files: Files,
}

/// What files of the configuration were when they were last read.
pub(crate) struct Files {
    tls: Fingerprint,
    /// Those by which the key store is opened.
    store: Fingerprint,
}

/// Why the configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Signal,
    Changed,
}

/// A server that runs, and what it runs on.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    source: Source,
    config: Config,
    address: SocketAddr,
    probes: Option<ProbeListener>,
    config_file: Content,
    files: Files,
    expiry: Expiry,
    renewal: renew::Schedule,
}

impl Source {
    pub(crate) fn content(&self) -> Content {
        Content::of(&self.path)
    }

    /// Reads the file and makes everything of it; takes over from the running server what has not changed.
    pub(crate) async fn prepare(&self, running: Option<(&State, &Config, &Fingerprint)>) -> anyhow::Result<Prepared> {
        let is_start = running.is_none();
        let mut config = self.read(is_start)?;
        if is_start && let Err(error) = renew::if_due(&config, OffsetDateTime::now_utc()) {
            banner::warn(&format!("{error:#}"));
        }
        let audit_file = assemble::audit_file(&config)?;
        // Looked at before they are read: a change in between is then seen at the next look.
        let files = Files { tls: Fingerprint::of_tls(&config), store: Fingerprint::of_store(&config.store) };
        let state = assemble::state(&mut config, &files.store, running).await?;
        Ok(Prepared { config, state, audit_file, files })
    }

    pub(crate) fn read(&self, is_start: bool) -> anyhow::Result<Config> {
        let mut file = File::read(&self.path).map_err(|error| anyhow!("{error}"))?;
        if let Some(addr) = &self.addr {
            file = file.address(addr.clone());
        }
        if let Some(root) = &self.root {
            file = file.root(root.clone());
        }
        let loaded = file.load().map_err(|error| anyhow!("{error}"))?;
        if is_start {
            banner::speak(loaded.config.log.format);
        }
        banner::warnings(&loaded.warnings);
        Ok(loaded.config)
    }
}

impl Running {
    /// The server has been bound. `config_file` is the look that was taken before the file was read.
    pub(crate) fn new(
        handle: Handle,
        source: Source,
        config: Config,
        address: SocketAddr,
        probe_socket: Option<TcpListener>,
        (config_file, files): (Content, Files),
    ) -> anyhow::Result<Self> {
        let probes = probe_socket.map(|socket| handle.probes(socket)).transpose()?;
        let (expiry, renewal) = (Expiry::default(), renew::Schedule::of(&config));
        let mut running = Self { handle, source, config, address, probes, config_file, files, expiry, renewal };
        running.warn_about_expiry();
        Ok(running)
    }

    pub(crate) fn show(&self, last_line: &str) {
        let facts = Facts::of(&self.config, self.probes.as_ref().map(ProbeListener::address));
        banner::show(&facts, &self.handle.state(), self.address, last_line);
    }

    /// What a service manager shows.
    pub(crate) fn status(&self) -> String {
        format!("Serving on {}", self.address)
    }

    /// Looks at the files, and acts upon what has changed.
    pub(crate) async fn look(&mut self, notifier: &Notifier) {
        self.warn_about_expiry();
        if self.source.content() != self.config_file {
            self.settle().await;
            self.reload(Reason::Changed, notifier).await;
        } else if Fingerprint::of_tls(&self.config) != self.files.tls {
            self.reload_tls();
        }
        self.renew_if_due();
    }

    /// What it writes is taken up at the next look. A failure is told and tried again later: there is half of the
    /// certificate's life left for it.
    fn renew_if_due(&mut self) {
        let now = OffsetDateTime::now_utc();
        if !self.renewal.is_due(now) {
            return;
        }
        self.renewal.rest(now);
        let log = self.handle.log();
        match renew::if_due(&self.config, now) {
            Ok(true) => log.write(Level::Info, "the server's certificate was renewed", &[]),
            Ok(false) => self.renewal = renew::Schedule::of(&self.config),
            Err(error) => self.log_failure("the server's certificate could not be renewed", &format!("{error:#}")),
        }
    }

    /// Waits until nobody seems to be writing the configuration file.
    async fn settle(&self) {
        let mut last = self.source.content();
        for _ in 0..LOOKS {
            tokio::time::sleep(SETTLE).await;
            let now = self.source.content();
            if now == last {
                return;
            }
            last = now;
        }
    }

    /// After an error the running server stays as it was.
    pub(crate) async fn reload(&mut self, reason: Reason, notifier: &Notifier) {
        let (first_line, last_line) = match reason {
            Reason::Signal => ("SIGHUP signal received.", "Reloading configuration after SIGHUP signal completed."),
            Reason::Changed => {
                ("The configuration file has changed.", "Reloading the changed configuration completed.")
            }
        };
        notifier.reloading();
        banner::tell(&format!("{first_line} Reloading configuration..."));
        // Looked at before it is read: a change in between is then seen at the next look.
        self.config_file = self.source.content();
        match notifier.extending(self.try_reload()).await {
            Ok(()) => {
                self.warn_about_expiry();
                self.show(last_line);
                notifier.ready(&self.status());
            }
            Err(error) => {
                self.handle.reload_failed();
                let text = format!("{error:#}");
                let failure = format!("Failed to {}: {text}", failed_step(&text));
                banner::complain(&failure);
                self.log_failure("the configuration could not be reloaded; the old one stays", &text);
                notifier.ready(&format!("{}, old configuration: {failure}", self.status()));
            }
        }
    }

    async fn try_reload(&mut self) -> anyhow::Result<()> {
        let running = self.handle.state();
        let prepared = self.source.prepare(Some((&running, &self.config, &self.files.store))).await?;
        let Prepared { config, state, audit_file, files } = prepared;
        let same_probes = config.probe == self.config.probe;
        let socket = if same_probes { None } else { assemble::probe_socket(&config)? };
        assemble::predefine(&config, &state).await?;
        let probes = socket.map(|socket| self.handle.probes(socket)).transpose()?;
        // Nothing below can fail.
        self.handle.reload(state);
        self.handle.redirect_audit(audit_file);
        if !same_probes {
            self.probes = probes;
        }
        banner::speak(config.log.format);
        if config.address != self.config.address {
            let new = config.address.as_str();
            banner::warn(&format!("'address' changed to {new}: the old one stays until a restart"));
        }
        self.renewal = renew::Schedule::of(&config);
        (self.config, self.files) = (config, files);
        Ok(())
    }

    /// New connections get the new certificate and trust; nothing else changes.
    fn reload_tls(&mut self) {
        self.files.tls = Fingerprint::of_tls(&self.config);
        self.renewal = renew::Schedule::of(&self.config);
        let handle = &self.handle;
        let swapped = tls_files::read(&self.config)
            .and_then(|tls| Ok(handle.state().with_tls(&tls.certificate, tls.verification)?));
        match swapped {
            Ok(state) => {
                handle.reload_tls(state);
                handle.log().write(Level::Info, "TLS files changed: new connections get the new certificate", &[]);
                self.warn_about_expiry();
            }
            Err(error) => {
                handle.reload_tls_failed();
                let text = format!("{error:#}");
                banner::complain(&format!("Failed to reload TLS configuration: {text}"));
                self.log_failure("the changed TLS files cannot be used; the old certificate stays", &text);
            }
        }
    }

    fn log_failure(&self, message: &str, text: &str) {
        let why = text.lines().next().unwrap_or_default();
        self.handle.log().write(Level::Error, message, &[("error", &why)]);
    }

    /// Goes on in the file that the path of the audit log leads to now.
    pub(crate) fn reopen_audit_file(&self) {
        let log = self.handle.log();
        match assemble::audit_file(&self.config) {
            Ok(None) => banner::tell("SIGUSR1 signal received. There is no audit file to open again."),
            Ok(file) => {
                self.handle.redirect_audit(file);
                log.write(Level::Info, "the audit file was opened again", &[]);
            }
            Err(error) => self.log_failure("the audit file stays as it is", &format!("{error:#}")),
        }
    }

    fn warn_about_expiry(&mut self) {
        let expires = self.handle.state().certificate_expires();
        if let Some(remark) = self.expiry.look(expires, OffsetDateTime::now_utc()) {
            let expires = kes_crypto::rfc3339::format(expires);
            self.handle.log().write(remark.level, remark.text, &[("expires", &expires)]);
        }
    }

    /// Longest time that requests in flight get when the server stops.
    pub(crate) fn drain(&self) -> Duration {
        self.config.limits.drain
    }
}

/// Compat: the old server had other words for what it noticed after the file was read and the store connected: names in
/// policies, and keys that cannot be created. Those texts begin so.
fn failed_step(text: &str) -> &'static str {
    let late = text.starts_with("kes: ") || text.starts_with("failed to create key ");
    if late { "update server configuration" } else { "reload server config" }
}
