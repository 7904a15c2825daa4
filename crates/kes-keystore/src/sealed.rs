//! Sealing: a store whose values are encrypted, authenticated and bound to their names, over any other store.
//!
//! What lies in the store beneath is worthless without a sealing key and cannot be exchanged unnoticed: neither a
//! directory that was copied nor a cloud's secret store needs to be trusted. `docs/sealed-store.md` describes every
//! byte; this module is where they are made.
//!
//! * Each value is an entry under the name of its key, in a box under the store's **root key** (`entry`).
//! * The root key is wrapped once for each **slot**: a passphrase, a key, a recovery key, a key held
//!   [elsewhere](crate::Seal). Any slot opens the store. All slots stand in one entry, the **slot table** (`table`).
//! * [`Store`] is the decorator that a server uses. [`Unlocked`] is the same store for those who change slots or move
//!   entries into the seal and out of it; every one of its calls can be killed at any instant and made again.
//!
//! ```
//! use std::sync::Arc;
//! use kes_keystore::{KeyName, KeyStore, memory, sealed};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let beneath: Arc<dyn KeyStore> = Arc::new(memory::Store::default());
//! let key = || sealed::SealingKey::key_from("seal.key", b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY=\n");
//! let recovery = sealed::RecoveryKey::generate()?; // show `recovery.to_text()` once: it opens the store as well
//! let slots = vec![sealed::NewSlot::of(key()?), sealed::NewSlot::of(sealed::SealingKey::recovery("paper", recovery))];
//! sealed::Unlocked::init(Arc::clone(&beneath), slots).await?;
//!
//! let store = sealed::Store::open(Arc::clone(&beneath), vec![key()?]).await?;
//! let name = KeyName::parse("my-key")?;
//! store.create(&name, b"value").await?;
//! assert_eq!(store.get(&name).await?.expose(), b"value");
//! assert!(beneath.get(&name).await?.expose().starts_with(b"kes-sealed:1:"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Why shaped so: a root key of its own, so that a passphrase can be changed without touching a key, and several slots
//! can open one store. Changes in place need a store that can [replace](crate::InPlace) a value; for others there is a
//! detour over a journal (`swap`).

pub mod backup;
mod entry;
mod error;
mod keyring;
mod recovery;
mod sealing_key;
mod slots;
mod store;
mod survey;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod transfer;

pub use error::Error;
pub use recovery::{InvalidRecoveryKey, RecoveryKey};
pub use sealing_key::{InvalidSealingKey, SealingKey};
pub use slots::{NewSlot, Unlocked};
pub use store::Store;
pub use survey::{Form, Survey};
pub use table::{Entries, SlotInfo, TableInfo};
pub use transfer::{Progress, Report};

pub use kes_crypto::sealing::{Argon2Costs, SealKey};
