//! Azure Key Vault as a place for keys.
//!
//! What it is: a [`KeyStore`](kes_keystore::KeyStore) over the secrets of a Key Vault ([`connect`]), and a
//! [`Seal`](kes_keystore::Seal) by a key of Key Vault or of a Managed HSM, for a sealed store somewhere else
//! ([`connect_seal`]). What it is not: a general client of Azure.
//!
//! ```no_run
//! use kes_keystore::KeyStore;
//! use kes_keystore_azure::{Config, Vault};
//!
//! # async fn run() -> Result<(), kes_keystore::Error> {
//! let endpoint = "https://kes-prod-7.vault.azure.net".to_owned();
//! let vault = Vault { endpoint, ..Vault::default() }; // who we are: the identity of the machine, the pod or the app
//! let store = kes_keystore_azure::connect(Config { vault, ..Config::default() }).await?;
//! println!("{:?}", store.list("", None, 100).await?.names);
//! # Ok(())
//! # }
//! ```
//!
//! Why shaped so: one account, shared by both faces, knows where the vault is, who we are there and what is tried again;
//! above it every call is a few lines of Azure's own SDK. Secrets are named and filled as MinIO KES does it, so that both can
//! work on one vault.

mod account;
mod check;
mod config;
mod endpoint;
mod failure;
mod login;
mod managed;
mod names;
mod seal;
mod session;
mod store;
mod wire;

pub use config::{Config, Login, Names, SealConfig, Secret, Vault};
pub use seal::KeyVaultSeal;
pub use store::Store;

use kes_keystore::Error;

/// Opens a Key Vault as key store. Needs a tokio runtime that outlives the store. A vault that cannot be reached now is told
/// by the store's notices.
///
/// # Errors
/// [`Error::Failed`] if the set-up cannot work; with [`Config::check`] also [`Error::Unauthorized`] if there is no way to log
/// in, or it is refused.
pub async fn connect(config: Config) -> Result<Store, Error> {
    Store::connect(config).await
}

/// Takes a key of Key Vault or of a Managed HSM to wrap the root key of a [sealed store](kes_keystore::sealed) with.
///
/// # Errors
/// [`Error::Failed`] if the set-up cannot work. Nothing is asked for yet: that happens with the first slot.
pub async fn connect_seal(config: SealConfig) -> Result<KeyVaultSeal, Error> {
    KeyVaultSeal::connect(config)
}
