//! Keys that never leave another system: it seals and opens for us.

use async_trait::async_trait;
use kes_crypto::{DataKey, Plaintext};
use time::OffsetDateTime;

use crate::{Error, KeyName};

/// A system that holds keys and uses them on request, such as Vault's transit engine or AWS KMS.
///
/// It stands beside [`KeyStore`](crate::KeyStore): a store whose keys cannot be read says so by
/// [`KeyStore::engine`](crate::KeyStore::engine). Its names, status and deletion are those of the store; to make a key, to
/// look at one and to use one is the engine's. Every call is a round trip, nothing is cached, and without the system
/// nothing opens: that is the price of a root key that is never here.
///
/// The context is to be bound into the ciphertext: what was sealed under one context must not open under another. It is
/// at most 1 MiB long and often empty. What a ciphertext looks like is the system's affair.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Makes a key under a name that is free.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Denied`] if names are not made here; else any error.
    async fn create_key(&self, name: &KeyName) -> Result<(), Error>;

    /// What is known of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; else any error.
    async fn describe_key(&self, name: &KeyName) -> Result<Description, Error>;

    /// A new data key of 32 bytes, plain and sealed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; else any error.
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, Error>;

    /// Seals a plaintext of at most 1 MiB.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::TooLarge`] if the system takes less; else any error.
    async fn encrypt(&self, name: &KeyName, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error>;

    /// Opens what [`Engine::generate`] or [`Engine::encrypt`] sealed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotAuthentic`] if key, context or ciphertext are not those of sealing; else any error.
    async fn decrypt(&self, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error>;

    /// HMAC-SHA-256 of a message under a key that belongs to the name; always the same for the same message.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] if the system has no such thing; else any error.
    async fn mac(&self, name: &KeyName, message: &[u8]) -> Result<[u8; 32], Error>;
}

/// What an [`Engine`] knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The cipher, in the words of the wire: `AES256` or `ChaCha20`.
    pub algorithm: &'static str,
    /// When the key was made. The Unix epoch if the system does not tell.
    pub created_at: OffsetDateTime,
}
