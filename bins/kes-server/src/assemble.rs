//! From a configuration to what the server runs on.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use http::HeaderName;
use kes_api::server::{
    Build, Events, Format, Limits, Logs, OnFull, Proxy, RequestLimits, Settings, State, Sync, Target,
};
use kes_config::{AuditEvents, Config};
use kes_crypto::{KeyType, KeyVersion};
use kes_keystore::{Cache, ErrorKind};
use time::OffsetDateTime;

use crate::watch::Fingerprint;
use crate::{banner, tls_files};

/// A time limit that is switched off.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub(crate) fn build() -> Build {
    Build { version: env!("CARGO_PKG_VERSION").to_owned(), commit: env!("KES_COMMIT").to_owned() }
}

/// What the configuration says about requests.
pub(crate) fn settings(config: &Config) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    settings.legacy_routes = config.compat.legacy_routes;
    settings.legacy_messages = config.compat.legacy_messages;
    settings.ephemeral_policies = config.compat.ephemeral_policies;
    settings.policy_match = config.compat.policy_match;
    settings.logs = logs(config);
    for (path, route) in &config.api {
        if route.skip_auth {
            settings.skip_auth(path);
        }
        if let Some(timeout) = route.timeout {
            settings.timeout(path, timeout);
        }
    }
    let limits = &config.limits;
    settings.connections = Limits {
        connections: limits.connections.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        handshake: limits.handshake.unwrap_or(NEVER),
        header: limits.header.unwrap_or(NEVER),
        idle: limits.idle.unwrap_or(NEVER),
        drain: limits.drain,
    };
    let count = |limit: Option<u64>| limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    settings.limits = RequestLimits { rate: count(config.limits.rate), concurrency: count(config.limits.concurrency) };
    if !config.tls.proxy.identities.is_empty() {
        let header = config.tls.proxy.header_cert.as_deref().unwrap_or("X-Tls-Client-Cert");
        settings.proxy = Some(Proxy {
            identities: config.tls.proxy.identities.iter().cloned().collect::<HashSet<_>>(),
            header: HeaderName::try_from(header).map_err(|_| {
                let text = format!("kesconf: invalid tls proxy: '{header}' is not the name of a header");
                anyhow!("{}", config.refuse("tls.proxy.header.cert", text, "the usual name is X-Tls-Client-Cert"))
            })?,
            admin: config.tls.proxy.admin,
        });
    }
    Ok(settings)
}

fn logs(config: &Config) -> Logs {
    let level = |level: kes_config::Level| i32::try_from(level.0).unwrap_or(i32::MAX);
    let on_full = match (config.log.audit_on_full, &config.log.audit_file) {
        (Some(kes_config::OnFull::Wait), _) | (None, Some(_)) => OnFull::Wait,
        _ => OnFull::Drop,
    };
    Logs {
        error: level(config.log.error),
        audit: level(config.log.audit),
        format: match config.log.format {
            kes_config::Format::Text => Format::Text,
            kes_config::Format::Json => Format::Json,
        },
        events: match config.log.audit_events {
            AuditEvents::All => Events::All,
            AuditEvents::Mutations => Events::Mutations,
        },
        on_full,
    }
}

/// The file for audit records, opened anew: the path may lead to another file than before.
pub(crate) fn audit_file(config: &Config) -> anyhow::Result<Option<Target>> {
    let Some(audit) = &config.log.audit_file else { return Ok(None) };
    let file = open_log(&audit.path).map_err(|error| {
        let text = format!("cannot open the audit log {}: {}", audit.path.display(), words(&error));
        let hint = "name a file in a folder that the server may write to";
        anyhow!("{}", config.refuse("log.audit_file.path", text, hint))
    })?;
    let sync = match audit.sync {
        kes_config::Sync::Off => Sync::Off,
        kes_config::Sync::Interval => Sync::Interval,
        kes_config::Sync::Always => Sync::Always,
    };
    Ok(Some(Target::File { file, sync }))
}

/// The socket for probes, bound.
pub(crate) fn probe_socket(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = &config.probe.address else { return Ok(None) };
    let address = address.socket_addr();
    let socket = TcpListener::bind(address).map_err(|error| {
        let hint =
            "choose another address; it must not be the server's own, nor overlap the one that is to be replaced";
        let text = format!("listen tcp {address}: bind: {}", words(&error));
        anyhow!("{}", config.refuse("probe.address", text, hint))
    })?;
    Ok(Some(socket))
}

/// The operating system's words, without its number.
pub(crate) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// A whole state: TLS files read, store connected. With `running`, store and cache are taken over from it if their
/// sections have not changed, nor the files by which the store was opened.
pub(crate) async fn state(
    config: &mut Config,
    store_files: &Fingerprint,
    running: Option<(&State, &Config, &Fingerprint)>,
) -> anyhow::Result<State> {
    let tls = tls_files::read(config)?;
    let settings = settings(config)?;
    let policies = std::mem::take(&mut config.policies);
    let admin = config.admin.as_str();
    let same_store = running.filter(|(_, old, files)| old.store.same_as(&config.store) && *files == store_files);
    Ok(match same_store {
        Some((state, old, _)) if old.cache == config.cache => {
            state.with_configuration(admin, policies, &tls.certificate, tls.verification, settings)?
        }
        other => {
            let store = match other {
                Some((state, ..)) => Arc::clone(state.keys().store()),
                None => {
                    let store = config.open_store().await.map_err(|error| anyhow!("{error}"))?;
                    store.notices().iter().for_each(|notice| banner::warn(notice));
                    store
                }
            };
            let keys = Cache::new(store, config.cache.clone());
            State::new(admin, policies, keys, &tls.certificate, tls.verification, settings)?
        }
    })
}

/// Creates the keys of the `keys` section that do not exist yet: last, when nothing else can fail any more.
pub(crate) async fn predefine(config: &Config, state: &State) -> anyhow::Result<()> {
    for name in &config.keys {
        let keys = state.keys();
        let made = match keys.engine() {
            Some(engine) => engine.create(name).await,
            None => {
                let admin = config.admin.as_str();
                keys.create(name, KeyVersion::generate(KeyType::preferred(), OffsetDateTime::now_utc(), admin)?).await
            }
        };
        match made {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Exists => {}
            Err(error) => {
                let text = format!("failed to create key '{name}': {error:#}", error = anyhow!(error));
                return Err(anyhow!("{}", config.refuse("keys", text, "the log of the key store says more")));
            }
        }
    }
    Ok(())
}

/// Where to bind.
pub(crate) fn address(config: &Config) -> SocketAddr {
    config.address.socket_addr()
}
