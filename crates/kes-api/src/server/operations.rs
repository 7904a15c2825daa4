//! What the server does, without HTTP: operations over a key cache, with typed input and output.
//!
//! The handlers translate between these and HTTP; another dialect would call the same functions.

use std::sync::Arc;

use kes_crypto::{DataKey, KeyType, KeyVersion, Plaintext, static_key};
use kes_keystore::cache::Remote;
use kes_keystore::{Cache, KeyName};
use time::OffsetDateTime;

/// Why an operation did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The store: also "exists" and "not found".
    #[error(transparent)]
    Store(kes_keystore::Error),
    /// The ciphertext does not open, for whatever reason.
    #[error("ciphertext is not authentic")]
    NotAuthentic,
    /// The stored key has no HMAC key.
    #[error("the stored key has no HMAC key: it was made before 2024-02-29")]
    NoHmacKey,
    /// Import: unknown cipher.
    #[error("unsupported algorithm")]
    UnsupportedAlgorithm,
    /// Import: not 32 bytes.
    #[error("invalid key size")]
    InvalidKeySize,
    /// No randomness, or a cipher that failed.
    #[error(transparent)]
    Crypto(kes_crypto::Error),
}

impl From<kes_keystore::Error> for Error {
    fn from(error: kes_keystore::Error) -> Self {
        match error {
            kes_keystore::Error::NotAuthentic => Self::NotAuthentic,
            error => Self::Store(error),
        }
    }
}

/// A key to work with.
pub(super) enum Key {
    /// It is here.
    Held(Arc<KeyVersion>),
    /// It never is: an engine works with it for us.
    Remote(Remote),
}

/// Makes a key with fresh random material, or has the engine make one.
pub(super) async fn create(keys: &Cache, name: &KeyName, caller: &str) -> Result<(), Error> {
    if let Some(engine) = keys.engine() {
        return Ok(engine.create(name).await?);
    }
    let key = KeyVersion::generate(KeyType::preferred(), OffsetDateTime::now_utc(), caller).map_err(Error::Crypto)?;
    Ok(keys.create(name, key).await?)
}

/// Makes a key of given material; its HMAC key is random.
pub(super) async fn import(keys: &Cache, name: &KeyName, cipher: &str, key: &[u8], caller: &str) -> Result<(), Error> {
    let key_type = KeyType::parse_import(cipher).ok_or(Error::UnsupportedAlgorithm)?;
    let key = KeyVersion::import(key_type, key, OffsetDateTime::now_utc(), caller).map_err(|error| match error {
        kes_crypto::Error::InvalidKeyLength => Error::InvalidKeySize,
        other => Error::Crypto(other),
    })?;
    Ok(keys.create(name, key).await?)
}

pub(super) fn generate(key: &KeyVersion, context: &[u8]) -> Result<DataKey, Error> {
    key.key().generate_data_key(context).map_err(Error::Crypto)
}

pub(super) fn encrypt(key: &KeyVersion, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
    key.key().seal(plaintext, context).map_err(Error::Crypto)
}

/// Opens what any release of MinIO KES sealed, or MinIO itself with its static key; its oldest form binds the key's name.
pub(super) fn decrypt(key: &KeyVersion, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
    static_key::open(key.key(), name.as_str(), ciphertext, context).map_err(|error| match error {
        kes_crypto::Error::NotAuthentic => Error::NotAuthentic,
        other => Error::Crypto(other),
    })
}

pub(super) fn hmac(key: &KeyVersion, message: &[u8]) -> Result<[u8; 32], Error> {
    Ok(key.hmac_key().ok_or(Error::NoHmacKey)?.mac(message))
}
