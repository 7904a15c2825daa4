//! What an operator says about a Vault.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kes_keystore::http::Tls;
use zeroize::Zeroizing;

/// A Vault or OpenBao server and how to get in.
///
/// Paths of engines have no slash at their ends; the calls that take them remove it.
#[derive(Debug)]
pub struct Server {
    /// Its URL: `https://vault.internal:8200`.
    pub endpoint: String,
    /// The namespace of the engines. `None`: no header is sent, as community editions expect.
    pub namespace: Option<String>,
    /// How to log in.
    pub login: Login,
    /// TLS towards the server.
    pub tls: Tls,
    /// How often the seal status is asked for. Usually 15 s.
    pub ping: Duration,
}

/// A way to log in, and where.
#[derive(Debug)]
pub struct Login {
    /// The namespace of the login. `None`: the root.
    pub namespace: Option<String>,
    /// The way.
    pub method: Method,
}

/// The ways to log in.
#[derive(Debug)]
pub enum Method {
    /// `auth/<engine>/login` with a role's ID and secret.
    AppRole {
        /// The mount path, usually `approle`.
        engine: String,
        /// The role's ID.
        id: String,
        /// The secret that goes with it.
        secret: Secret,
    },
    /// `auth/<engine>/login` with a service account's token.
    Kubernetes {
        /// The mount path, usually `kubernetes`.
        engine: String,
        /// The role. May be empty.
        role: String,
        /// The token.
        jwt: Source,
    },
    /// A token that somebody else made, and renews or replaces in its file.
    Token(Source),
    /// `auth/<engine>/login` by the client certificate of [`Server::tls`].
    Certificate {
        /// The mount path, usually `cert`.
        engine: String,
        /// The role. May be empty: any that fits.
        role: String,
    },
    /// The endpoint is a Vault Agent or Proxy that adds a token of its own.
    Agent,
}

/// A credential, or the file that holds it and is read again at each login.
#[derive(Debug)]
pub enum Source {
    /// The credential itself.
    Value(Secret),
    /// Its file. White space at both ends does not count.
    File(PathBuf),
}

/// A credential. Wiped on drop; `Debug` shows nothing of it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a credential.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The credential itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A key/value engine with keys in it.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub server: Server,
    /// The mount path of the engine, usually `kv`.
    pub engine: String,
    /// The version of the engine.
    pub version: Version,
    /// The folder below the mount. May be empty.
    pub prefix: String,
    /// Encryption of the values by a transit engine.
    pub transit: Option<Transit>,
}

/// The versions of the key/value engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One value for each entry.
    V1,
    /// Entries have versions; creation is atomic.
    V2,
}

/// A key of a transit engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transit {
    /// The mount path, usually `transit`.
    pub engine: String,
    /// The name of the key.
    pub key: String,
}

/// A transit engine whose keys are the keys of kes and never leave it.
#[derive(Debug)]
pub struct EngineConfig {
    /// The server.
    pub server: Server,
    /// The mount path of the transit engine, usually `transit`.
    pub engine: String,
    /// What the names of keys begin with in there: `<prefix>-<name>`. May be empty: the names themselves.
    pub prefix: String,
}

/// A transit key that wraps the root key of a sealed store.
#[derive(Debug)]
pub struct SealConfig {
    /// The server.
    pub server: Server,
    /// The key. Of a type that takes associated data, such as `aes256-gcm96`, the usual one.
    pub key: Transit,
}
