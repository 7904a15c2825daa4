//! `keystore.vault`: HashiCorp Vault and OpenBao.

use super::{Backend, ClientTls, Endpoint, Missing};
use crate::error::io_words;
use crate::secret::Secret;
use crate::section::{Refused, Section, Text};
use std::path::PathBuf;
use std::time::Duration;

/// `keystore.vault`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Vault {
    /// The server's URL.
    pub endpoint: Endpoint,
    /// The mount path of the K/V engine. Default `kv`.
    pub engine: String,
    /// The version of the K/V engine. Default v1.
    pub version: VaultVersion,
    /// The namespace of the engine; `None`: no namespace header is sent.
    pub namespace: Option<String>,
    /// The directory below the mount. Default empty.
    pub prefix: String,
    /// Encryption of values by a transit engine. Default none.
    pub transit: Option<Transit>,
    /// How the server logs in.
    pub login: VaultLogin,
    /// TLS towards the server; `key` and `cert` are both there or neither is.
    pub tls: ClientTls,
    /// How often the seal status is asked for. Default 15 s.
    pub ping: Duration,
    /// What the server is used for. Default store.
    pub mode: VaultMode,
}

/// The versions of the K/V engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultVersion {
    /// One value for each entry.
    V1,
    /// Entries have versions.
    V2,
}

/// What a Vault is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultMode {
    /// Keys are values in it.
    Store,
    /// Keys never leave it.
    Engine,
}

/// `keystore.vault.transit`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transit {
    /// The mount path. Default `transit`.
    pub engine: String,
    /// The name of the key. Always there, unless keys never leave the Vault: then each key has its own.
    pub key: Option<String>,
}

/// A way to log in, and where.
#[derive(Debug)]
#[non_exhaustive]
pub struct VaultLogin {
    /// The namespace of the login: the engine's unless it is written otherwise; `/` in the file is `None`, the root.
    pub namespace: Option<String>,
    /// The way.
    pub auth: VaultAuth,
}

/// The ways to log in, of which the file has exactly one.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultAuth {
    /// `approle`.
    AppRole {
        /// The mount path. Default `approle`.
        engine: String,
        /// The role's ID.
        id: String,
        /// The secret that goes with it.
        secret: Secret,
    },
    /// `kubernetes`.
    Kubernetes {
        /// The mount path. Default `kubernetes`.
        engine: String,
        /// The role. May be empty.
        role: String,
        /// The service account's token.
        jwt: Jwt,
    },
    /// `token`.
    Token(VaultToken),
    /// `cert`: by the client certificate of `tls`.
    Cert {
        /// The mount path. Default `cert`.
        engine: String,
        /// The role. May be empty.
        role: String,
    },
    /// `agent: on`: the endpoint is a local agent that adds a token.
    Agent,
}

/// A service account's token.
#[derive(Debug)]
pub enum Jwt {
    /// The token itself.
    Token(Secret),
    /// A file that is read again at each login.
    File(PathBuf),
}

/// A token of Vault's own.
#[derive(Debug)]
pub enum VaultToken {
    /// The token itself.
    Value(Secret),
    /// A file that is read again when the token has expired.
    File(PathBuf),
}

const PREFIX: &str = "kesconf: invalid vault keystore";

/// How often the seal status is asked for, unless `status.ping` says otherwise.
pub(super) const PING: Duration = Duration::from_secs(15);

pub(super) fn read(section: &Section<'_>) -> Result<Backend, Refused> {
    let text = |key, default: &str| section.filled_string(key).unwrap_or_else(|| default.to_owned());
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let (engine, prefix) = (text("engine", "kv"), section.string("prefix"));
    let version = section.filled("version");
    let namespace = section.filled_string("namespace");
    let tls = section.block("tls");
    let client_tls = ClientTls::read(&tls);
    let ping = section.section("status").duration("ping").and_then(|ping| ping.value.positive());
    let mode = section.choice("mode", &[("store", VaultMode::Store), ("engine", VaultMode::Engine)]);

    let missing = Missing { section, prefix: PREFIX };
    let endpoint = missing.need(endpoint, "endpoint", "no endpoint specified");
    let login = VaultLogin::read(section, namespace.as_deref(), PREFIX);
    let transit = Transit::read(section, mode.as_ref().is_ok_and(|mode| *mode == Some(VaultMode::Engine)));
    let pair = check_pair(&client_tls, &tls, PREFIX);
    let version = match version.as_ref().map(Text::as_str) {
        None | Some("v1") => VaultVersion::V1,
        Some("v2") => VaultVersion::V2,
        Some(other) => {
            let error = section.error("version", format!("vault: invalid engine API version '{other}'"));
            return Err(section.refuse(error.hint("write v1 or v2, the version of the K/V engine")));
        }
    };
    pair?;
    let (endpoint, login, transit) = (endpoint?, login?, transit?);
    let ping = ping.unwrap_or(PING);
    let mode = mode?.unwrap_or(VaultMode::Store);
    let vault = Vault { endpoint, engine, version, namespace, prefix, transit, login, tls: client_tls, ping, mode };
    Ok(Backend::Vault(Box::new(vault)))
}

impl Transit {
    fn read(vault: &Section<'_>, is_engine: bool) -> Result<Option<Self>, Refused> {
        let section = vault.block("transit");
        let engine = section.filled_string("engine").unwrap_or_else(|| "transit".to_owned());
        let key = section.filled_string("key");
        if !section.is_present() {
            return Ok(None);
        }
        let missing = Missing { section: &section, prefix: PREFIX };
        let key = match (key, is_engine) {
            (Some(key), true) => {
                let text = "'mode: engine' gives each key a transit key of its own; this one is not used";
                let hint = "remove it; 'keystore.vault.prefix' is what the names of keys begin with";
                section.context().warn(section.place("key"), text.to_owned(), Some(hint.to_owned()));
                Some(key)
            }
            (None, true) => None,
            (key, false) => Some(missing.need(key, "key", "invalid transit config: no key name specified")?),
        };
        Ok(Some(Self { engine, key }))
    }
}

impl VaultLogin {
    /// Reads whatever ways are written in a block that logs in to a Vault; there must be exactly one.
    pub(super) fn read(section: &Section<'_>, namespace: Option<&str>, prefix: &'static str) -> Result<Self, Refused> {
        let approle = section.block("approle");
        let kubernetes = section.block("kubernetes");
        let token = section.block("token");
        let cert = section.block("cert");
        let agent = section.switch("agent").is_some_and(|agent| agent.value);
        let written = [
            ("approle", approle.is_present()),
            ("kubernetes", kubernetes.is_present()),
            ("token", token.is_present()),
            ("cert", cert.is_present()),
            ("agent", agent),
        ];
        let written: Vec<_> = written.into_iter().filter(|(_, present)| *present).map(|(way, _)| way).collect();
        let namespaces = [&approle, &kubernetes].map(|section| match section.is_present() {
            true => section.filled_string("namespace"),
            false => None,
        });

        let missing = Missing { section, prefix };
        match written.as_slice() {
            [] => {
                let error = missing.error("approle", "no authentication method specified");
                let hint = "write one of the blocks approle, kubernetes, token or cert, or 'agent: on'";
                return Err(section.refuse(error.hint(hint)));
            }
            [_] => {}
            [_, second, ..] => {
                let error = missing.error(second, "more than one authentication method specified");
                section.refuse(error.hint("keep one of approle, kubernetes, token, cert and agent"));
            }
        }
        let read = |way: &&str| match *way {
            "approle" => read_approle(&approle, prefix),
            "kubernetes" => read_kubernetes(&kubernetes, prefix),
            "token" => read_token(&token, prefix),
            "cert" => Ok(read_cert(&cert)),
            _ => Ok(VaultAuth::Agent),
        };
        // All of them are read whatever was said, so that all mistakes come to light.
        let mut ways: Vec<_> = written.iter().map(read).collect();
        let namespace = match namespaces.into_iter().flatten().next().as_deref().or(namespace) {
            Some("/") | None => None,
            Some(namespace) => Some(namespace.to_owned()),
        };
        Ok(Self { namespace, auth: ways.swap_remove(0)? })
    }
}

fn read_approle(section: &Section<'_>, prefix: &'static str) -> Result<VaultAuth, Refused> {
    let engine = section.filled_string("engine").unwrap_or_else(|| "approle".to_owned());
    let (id, secret) = (section.filled_string("id"), section.secret("secret"));
    let missing = Missing { section, prefix };
    let id = missing.need(id, "id", "invalid approle config: no approle ID specified");
    let secret = missing.need(secret, "secret", "invalid approle config: no approle secret specified");
    Ok(VaultAuth::AppRole { engine, id: id?, secret: secret? })
}

fn read_kubernetes(section: &Section<'_>, prefix: &'static str) -> Result<VaultAuth, Refused> {
    let engine = section.filled_string("engine").unwrap_or_else(|| "kubernetes".to_owned());
    let (role, jwt) = (section.string("role"), section.filled("jwt"));
    let missing = Missing { section, prefix };
    let jwt = missing.need(jwt, "jwt", "invalid kubernetes config: no JWT specified")?;
    let jwt = match jwt.as_str().contains(['/', std::path::MAIN_SEPARATOR]) {
        true => Jwt::File(readable(section, &jwt)?),
        false => Jwt::Token(jwt.to_secret()),
    };
    Ok(VaultAuth::Kubernetes { engine, role, jwt })
}

/// The file of a token, which must be readable when the configuration is loaded.
fn readable(section: &Section<'_>, file: &Text) -> Result<PathBuf, Refused> {
    let path = PathBuf::from(file.as_str());
    match std::fs::read(&path).map(zeroize::Zeroizing::new) {
        Ok(_) => Ok(path),
        Err(cause) => {
            let what = match std::fs::File::open(&path) {
                Ok(_) => "read",
                Err(_) => "open",
            };
            let why = format!("{what} {}: {}", file.as_str(), io_words(&cause));
            let text = format!("kesconf: failed to read vault kubernetes JWT from '{}': {why}", file.as_str());
            let hint = "a value with a '/' is a path; mount the service account's token there";
            Err(section.refuse(file.error(text).hint(hint)))
        }
    }
}

fn read_token(section: &Section<'_>, prefix: &'static str) -> Result<VaultAuth, Refused> {
    let (value, file) = (section.secret("value"), section.filled_string("file").map(PathBuf::from));
    let missing = Missing { section, prefix };
    match (value, file) {
        (Some(_), Some(_)) => Err(missing.refuse("file", "invalid token config: more than one token specified")),
        (Some(value), None) => Ok(VaultAuth::Token(VaultToken::Value(value))),
        (None, Some(file)) => Ok(VaultAuth::Token(VaultToken::File(file))),
        (None, None) => Err(missing.refuse("value", "invalid token config: no token specified")),
    }
}

fn read_cert(section: &Section<'_>) -> VaultAuth {
    let engine = section.filled_string("engine").unwrap_or_else(|| "cert".to_owned());
    VaultAuth::Cert { engine, role: section.string("role") }
}

/// A private key needs a certificate, and the other way round.
pub(super) fn check_pair(tls: &ClientTls, section: &Section<'_>, prefix: &'static str) -> Result<(), Refused> {
    let missing = Missing { section, prefix };
    match (&tls.key, &tls.cert) {
        (Some(_), None) => Err(missing.refuse("cert", "invalid tls config: no TLS certificate provided")),
        (None, Some(_)) => Err(missing.refuse("key", "invalid tls config: no TLS private key provided")),
        _ => Ok(()),
    }
}
