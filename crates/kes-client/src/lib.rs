//! A client of kes, for Rust services that keep their data keys there.
//!
//! It authenticates by an API key or a certificate, knows several endpoints and goes on when one fails, and gives every
//! operation of the HTTP interface as a typed call. It speaks to MinIO KES servers as well.
//!
//! Not here: encryption of data (a service encrypts with the data keys itself), policies, the command line.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use kes_client::Client;
//!
//! let client = Client::builder()
//!     .endpoint("https://127.0.0.1:7373")
//!     .api_key("kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse()?)
//!     .ca_path("server.crt")
//!     .build()?;
//!
//! match client.create_key("my-key").await {
//!     Err(error) if error.is_key_exists() => {} // fine: somebody was here before
//!     result => result?,
//! }
//! let data_key = client.generate_key("my-key", b"bucket/object").await?;
//! // Encrypt with `data_key.plaintext`, store `data_key.ciphertext` beside the data, and later:
//! let plaintext = client.decrypt("my-key", &data_key.ciphertext, b"bucket/object").await?;
//! assert_eq!(plaintext.expose(), data_key.plaintext.expose());
//! # Ok(())
//! # }
//! ```
//!
//! # Why it is shaped so
//!
//! * **It runs nothing in the background.** A certificate that is due is renewed, changed files are read, by the request
//!   that comes next; a client that is dropped leaves nothing behind.
//! * **Every try sends the same body**, also to the next endpoint. (The official Go client sends an empty one there.)
//! * **Writes are not repeated behind the caller's back**, unless they certainly reached no server: a repeated create
//!   would report `key already exists` for the caller's own key. [`Builder::repeat_writes`] changes that.
//! * **Refusals are values**: [`ServerError`] compares by status and text, as all KES clients do, and [`Reason`] names
//!   those that have a name.
//! * **No default TLS provider is needed**: the crate brings ring and tells rustls so. An embedder with another provider
//!   is not disturbed.
//!
//! # What is wiped
//!
//! Plaintexts, data keys, messages and sums are [`SecretBytes`](wire::SecretBytes), and request and answer bodies are
//! wiped as well. The buffers inside TLS and HTTP/2 are not: their libraries offer no way.

mod builder;
mod client;
mod credentials;
mod endpoint;
mod error;
mod log;
mod metrics;
mod name;
mod pages;
mod raw;
mod retry;
mod tls;
mod transport;

pub use builder::{BuildError, Builder};
pub use client::{Client, Look};
pub use error::{Cause, Error, Reason, ServerError};
pub use kes_api::wire::{self, KeyType};
pub use kes_identity::{ApiKey, Certificate, Identity};
pub use log::LogStream;
pub use metrics::Metrics;
pub use pages::Names;
pub use tls::{Shown, TlsError, TlsProblem};
