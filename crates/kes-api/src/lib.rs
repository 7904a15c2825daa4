//! What goes over the wire between kes and its clients.
//!
//! [`wire`] is the contract: every request, answer and frozen error text, as types that clients and the server share.
//! With the feature `server` the crate is also the HTTP service itself, for anyone who wants to embed it: sockets, TLS,
//! routes, limits, audit and metrics over a policy set and a key cache.
//!
//! Not here: reading configuration files, choosing a key store, signals, argv, the environment.
//!
//! ```
//! use kes_api::wire::{self, DecryptRequest};
//!
//! // What a client sends, and what the server makes of it.
//! let body = wire::encode(&DecryptRequest { ciphertext: b"sealed".to_vec(), context: b"bucket".to_vec() });
//! let request: DecryptRequest = wire::decode(&body)?;
//! assert_eq!(request.ciphertext, b"sealed");
//! # Ok::<(), wire::Malformed>(())
//! ```
//!
//! # Why it is shaped so
//!
//! Client and server meet in one file per direction, so that neither can drift; error **texts** are part of the
//! contract because the official SDKs compare status and text.

#[cfg(feature = "server")]
pub mod server;
pub mod wire;
