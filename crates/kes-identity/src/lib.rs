//! Who is calling: identities, API keys, certificates, and the verification of client certificates.
//!
//! **What it is.** Everyone who talks to a kes server is known by an [`Identity`]: the SHA-256 of the public key that the
//! TLS handshake proved possession of. An [`ApiKey`] is the short text form of such a key pair. This crate converts between
//! the two, makes and loads the certificates that carry them, and decides which certificate a server lets in
//! ([`client_verifier`]) and whose it is ([`peer_identity`]).
//!
//! **What it is not.** It knows no policies, no HTTP and no async runtime. It opens files only in [`Certificate::from_files`]
//! and [`pem::ca_path`], because the texts of their errors belong to the format.
//!
//! # Example
//!
//! ```
//! use kes_identity::{ApiKey, Identity, peer_identity};
//! use time::OffsetDateTime;
//!
//! // A client keeps the key, a server's policy file names the identity.
//! let key: ApiKey = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse()?;
//! let identity: Identity = "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23".parse()?;
//! assert_eq!(key.identity(), &identity);
//!
//! // The client shows a certificate made from the key; the server finds the identity again.
//! let certificate = key.certificate(OffsetDateTime::now_utc())?;
//! assert_eq!(peer_identity(certificate.chain())?, identity);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why it is shaped so
//!
//! - An identity belongs to a *key*, never to a certificate: renewing a certificate keeps it, and a certificate that somebody
//!   shows without its key gives nothing. TLS proves the key of the **first** certificate only, so [`peer_identity`] looks at
//!   no other.
//! - Client certificates are self-signed and often expired; a verifier that asks for more must be wanted ([`Verification`]).
//!   What is always checked is the signature of the handshake, over the raw public key.
//! - A refusal is decided once, as a [`Refusal`], and from there becomes the alert that old clients know and the sentence
//!   that an operator can act on ([`Refusal::of`]).

mod api_key;
mod authority;
mod certificate;
mod error;
mod identity;
mod peer;
pub mod pem;
mod refusal;
mod roots;
mod secret;
mod signer;
mod verifier;
mod x509;

pub use api_key::ApiKey;
pub use authority::Authority;
pub use certificate::{Certificate, KeyKind, Template, Usage};
pub use error::Error;
pub use identity::Identity;
pub use peer::{PeerError, peer_identity};
pub use refusal::Refusal;
pub use roots::{system_roots, trust};
pub use secret::{PrivateKey, SecretText};
pub use verifier::{Verification, client_verifier, still_valid};
