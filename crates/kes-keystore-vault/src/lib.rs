//! HashiCorp Vault and OpenBao as a place for keys.
//!
//! What it is: a [`KeyStore`](kes_keystore::KeyStore) over a key/value engine of version 1 or 2 ([`connect`]), with its values
//! encrypted by a transit engine if that is wanted; and an [`Engine`](kes_keystore::Engine) over a transit engine, whose keys
//! never leave it ([`connect_engine`]); and a [`Seal`](kes_keystore::Seal) by a transit key ([`connect_seal`]). What it is
//! not: a general client of Vault.
//!
//! ```no_run
//! use kes_keystore::KeyStore;
//! use kes_keystore_vault::{Config, Login, Method, Secret, Server, Version};
//! use std::time::Duration;
//!
//! # async fn run() -> Result<(), kes_keystore::Error> {
//! let method = Method::AppRole { engine: "approle".into(), id: "…".into(), secret: Secret::new("…".into()) };
//! let server = Server {
//!     endpoint: "https://vault.internal:8200".into(),
//!     namespace: None,
//!     login: Login { namespace: None, method },
//!     tls: Default::default(),
//!     ping: Duration::from_secs(15),
//! };
//! let config = Config { server, engine: "kv".into(), version: Version::V2, prefix: "kes".into(), transit: None };
//! let store = kes_keystore_vault::connect(config).await?;
//! println!("{:?}", store.list("", None, 100).await?.names);
//! # Ok(())
//! # }
//! ```
//!
//! Why shaped so: one session, shared by both faces, knows how to log in, to keep a token alive and to tell a refused
//! token from a refused request; above it every call is a few lines. Values are laid out as MinIO KES lays them out, so that
//! both can work on one Vault: an entry `<engine>/<prefix>/<name>` with one member `<name>`.

mod check;
mod config;
mod engine;
mod seal;
mod session;
mod store;
mod transit;
mod wire;

pub use config::{Config, EngineConfig, Login, Method, SealConfig, Secret, Server, Source, Transit, Version};
pub use engine::TransitEngine;
pub use kes_keystore::http::Tls;
pub use seal::TransitSeal;
pub use store::Store;

use kes_keystore::Error;

/// Logs in and opens a key/value engine as key store. Needs a tokio runtime that outlives the store.
///
/// # Errors
/// [`Error::Unreachable`] if the server cannot be reached, is sealed or not initialised; [`Error::Unauthorized`] if it
/// refuses the login; [`Error::Failed`] if the set-up cannot work: TLS files, a wrong version of the engine.
pub async fn connect(config: Config) -> Result<Store, Error> {
    Store::connect(config).await
}

/// Logs in and opens a transit engine whose keys never leave it. Needs a tokio runtime that outlives it.
///
/// # Errors
/// As [`connect`].
pub async fn connect_engine(config: EngineConfig) -> Result<TransitEngine, Error> {
    TransitEngine::connect(config).await
}

/// Logs in and takes a transit key to wrap the root key of a [sealed store](kes_keystore::sealed) with. Needs a tokio
/// runtime that outlives it. The login is given back when it is dropped.
///
/// # Errors
/// As [`connect`].
pub async fn connect_seal(config: SealConfig) -> Result<TransitSeal, Error> {
    TransitSeal::connect(config).await
}
