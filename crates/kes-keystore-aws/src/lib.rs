//! AWS as a place for keys.
//!
//! What it is: a [`KeyStore`](kes_keystore::KeyStore) over Secrets Manager ([`connect`]); a [`Seal`](kes_keystore::Seal) by a
//! key of AWS KMS, for a sealed store somewhere else ([`connect_seal`]); and an [`Engine`](kes_keystore::Engine) over such a
//! key, which never leaves KMS ([`connect_engine`]). What it is not: a general client of AWS.
//!
//! ```no_run
//! use kes_keystore::KeyStore;
//! use kes_keystore_aws::{Config, Service};
//!
//! # async fn run() -> Result<(), kes_keystore::Error> {
//! let endpoint = Some("secretsmanager.eu-central-1.amazonaws.com".to_owned());
//! let service = Service { endpoint, ..Service::default() }; // credentials: those of the machine, the pod or the profile
//! let config = Config { service, prefix: "kes/".to_owned(), ..Config::default() };
//! let store = kes_keystore_aws::connect(config).await?;
//! println!("{:?}", store.list("", None, 100).await?.names);
//! # Ok(())
//! # }
//! ```
//!
//! Why shaped so: one account, shared by all three faces, knows where a service is, who we are there and what is tried
//! again; above it every call is a few lines of AWS's own SDK. Secrets are named and filled as MinIO KES does it, so that
//! both can work in one account.

mod account;
mod check;
mod config;
mod endpoint;
mod engine;
mod failure;
mod kms;
mod lack;
mod seal;
mod session;
mod state;
mod store;
mod wire;

pub use config::{Config, Credentials, EngineConfig, SealConfig, Secret, Service};
pub use engine::KmsEngine;
pub use seal::KmsSeal;
pub use store::Store;

use std::sync::Arc;

use kes_keystore::{Error, Operation};

/// Finds credentials and opens Secrets Manager as key store. Needs a tokio runtime that outlives the store.
///
/// # Errors
/// [`Error::Unreachable`] if the service cannot be reached; [`Error::Unauthorized`] if there are no credentials;
/// [`Error::Failed`] if the set-up cannot work: an endpoint and a region that differ, a KMS key that does not exist.
pub async fn connect(config: Config) -> Result<Store, Error> {
    Store::connect(config).await
}

/// Finds credentials and takes a KMS key to wrap the root key of a [sealed store](kes_keystore::sealed) with.
///
/// # Errors
/// As [`connect`]. The key is not asked for: that happens with the first slot.
pub async fn connect_seal(config: SealConfig) -> Result<KmsSeal, Error> {
    KmsSeal::connect(config).await
}

/// Finds credentials and opens a KMS key that never leaves KMS, for all keys. Needs a tokio runtime that outlives it.
///
/// # Errors
/// As [`connect`], also if the KMS key is disabled.
pub async fn connect_engine(config: EngineConfig) -> Result<KmsEngine, Error> {
    KmsEngine::connect(config).await
}

/// A token that makes a request recognisable when it is sent again: a random UUID.
///
/// # Errors
/// [`Error::Failed`] if the machine has no random bytes.
fn token(entry: &str, operation: Operation) -> Result<String, Error> {
    let mut bytes = [0; 16];
    kes_crypto::random(&mut bytes).map_err(|why| Error::Failed {
        entry: entry.to_owned(),
        operation,
        remedy: "this machine has no random bytes",
        source: Some(Arc::new(why)),
    })?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}
