//! What the operator wrote: the YAML file, environment values, defaults.
//!
//! **What it is.** [`File`] reads a configuration file of MinIO KES, of any release, and judges it in the order and with
//! the texts of the last one, so that scripts and people that know these texts are served as before. The result is a
//! [`Config`]: typed sections with every default applied, and the warnings that the file deserves.
//!
//! **What it is not.** It does not serve, opens no socket and no TLS file, and takes nothing from the command line by
//! itself. The memory store cannot be reached from here: a typing error must not decide that keys are lost at the next
//! start.
//!
//! ```
//! use kes_config::File;
//!
//! let text = "
//! admin: {identity: disabled}
//! tls: {key: server.key, cert: server.crt}
//! keystore:
//!   fs: {path: '${KEY_DIR}'}
//! ";
//! let file = File::from_text("config.yml", text).environment(|name| (name == "KEY_DIR").then(|| "./keys".into()));
//! let loaded = file.load()?;
//! assert_eq!(loaded.config.store.backend().to_string(), "Filesystem: ./keys");
//! assert!(loaded.warnings.is_empty());
//!
//! let error = file.environment(|_| None).load().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "kesconf: referenced env. variable 'KEY_DIR' in line '5' not found\n \
//!      --> config.yml:5: keystore.fs.path\n\
//!      hint: set the variable for the server's process (an empty one counts as set): export KEY_DIR=..."
//! );
//! # Ok::<(), kes_config::Error>(())
//! ```
//!
//! # Why it is shaped so
//!
//! Operators debug this file with nothing but a message, so every refusal and warning has a line, a key and what to
//! write instead. That needs positions, and the leniency of the decoder these files were written for (which switches are
//! words of YAML 1.1, which keys are ignored) needs the text of each scalar; so the file is read into a tree of our own
//! and each section takes its values from there, key by key. All keys there are stand in one table, which also tells
//! what is unknown.
//!
//! Environment variables are looked up through a function, so no test depends on the process it runs in.

mod address;
mod api;
mod compat;
mod config;
mod error;
mod file;
mod inspection;
pub mod keystore;
mod known;
mod legacy;
mod level;
mod limits;
mod log;
mod modern;
mod nearest;
mod policy;
mod policy_file;
mod scalar;
mod secret;
mod section;
mod tls;
mod yaml;

pub use address::Address;
pub use api::Route;
pub use compat::Compat;
pub use config::{Config, Sections};
pub use error::{Error, ErrorKind, Place, Warning};
pub use file::{File, Loaded};
pub use inspection::Inspection;
pub use keystore::Store;
pub use level::Level;
pub use limits::{Limits, Probe};
pub use log::{AuditEvents, AuditFile, Format, Log, OnFull, Sync};
pub use policy::{IdentitySource, PolicySource};
pub use policy_file::{Pattern, PolicyFile};
pub use secret::Secret;
pub use tls::{Admin, ClientAuth, Proxy, Renew, Tls};
