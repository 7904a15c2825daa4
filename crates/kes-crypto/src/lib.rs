//! Keys of kes: the records that stores hold, the data-key envelope, and the MACs.
//!
//! A key is 32 random bytes with a cipher type. [`SecretKey::seal`] and [`SecretKey::open`] are the whole envelope;
//! a [`KeyVersion`] is what a store keeps under one name: the secret key, an [`HmacKey`], when it was made and by whom.
//!
//! Not here: names, stores, caches, permissions, files, async. Nothing in this crate blocks on anything but the
//! operating system's random source.
//!
//! ```
//! use kes_crypto::{KeyType, SecretKey};
//!
//! let key = SecretKey::generate(KeyType::preferred())?;
//! let data_key = key.generate_data_key(b"my-bucket/my-object")?;
//! // Encrypt the object with `data_key.plaintext`, store `data_key.ciphertext` beside it, and later:
//! let plaintext = key.open(&data_key.ciphertext, b"my-bucket/my-object")?;
//! assert_eq!(plaintext.expose(), data_key.plaintext.expose());
//! # Ok::<(), kes_crypto::Error>(())
//! ```
//!
//! # Why it is shaped so
//!
//! * **One form is written, all are read.** Releases since v0.1.0 left five kinds of ciphertext and six stored forms of keys.
//!   The reader decides by content alone, so that a directory copied from a MinIO KES server simply works. What is
//!   written is byte for byte what MinIO KES (2024-02-29 and later) writes.
//! * **A key without a recorded cipher stays one.** [`KeyType::Legacy`] remembers that the stored form named no cipher,
//!   so that ciphertexts of either cipher open again.
//! * **Readers are written by hand.** Four protobuf fields and a five-element message-pack array need no library; the
//!   code that meets damaged or hostile bytes is short enough to read in one sitting, and holds no panic.
//! * **The ready HMAC state lives in the key**, so that a seal or an open costs one HMAC, one AEAD and one allocation.
//!
//! # What is wiped
//!
//! Key bytes, plaintexts and encoded records are wiped when dropped, and no type prints its content. The expanded
//! states inside `ring` (an HMAC key's two hash states, an AEAD key schedule on the stack) are not: `ring` offers no way.

pub mod base64;
pub mod rfc3339;
pub mod sealing;
pub mod static_key;

mod envelope;
mod error;
mod fingerprint;
mod form;
mod hmac_key;
mod json;
mod key_type;
mod key_version;
mod message_key;
mod protobuf;
mod secret;
mod secret_key;

pub use error::{Error, Unreadable};
pub use fingerprint::Fingerprint;
pub use form::{Form, Layout};
pub use hmac_key::HmacKey;
pub use key_type::KeyType;
pub use key_version::{Encoded, KeyVersion};
pub use secret::{Plaintext, random};
pub use secret_key::{DataKey, SecretKey};
