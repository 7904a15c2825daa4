//! MinIO's single static key as a store of one key that never changes.
//!
//! Listing shows the key; creating it answers that it exists, which is what MinIO wants to hear at its start; any other
//! change is denied.

use std::time::Duration;

use async_trait::async_trait;
use kes_crypto::KeyVersion;
use kes_crypto::static_key::{InvalidStaticKey, StaticKey};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::{Error, InvalidKeyName, Kept, KeyName, KeyStore, Operation, Page, Promises, Status, Value};

/// A store of one fixed key.
#[derive(Debug)]
pub struct Store {
    name: KeyName,
    record: Value,
}

const PROMISES: Promises = Promises { durable: Kept::No("lives in the server's configuration"), ..Promises::ALL };

const REMEDY: &str = "it serves one fixed key; configure another key store for more";

/// The text is not MinIO's spelling of a key, or names no key that this server could serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Not `name:hex` or `name:base64` of 32 bytes.
    #[error("the key is neither '<name>:<64 hex digits>' nor '<name>:<base64 of 32 bytes>'")]
    Spelling(#[source] InvalidStaticKey),
    /// The name could not be asked for over the API.
    #[error("the key's name cannot be used over the API")]
    Name(#[source] InvalidKeyName),
}

impl Store {
    /// The store of the key that a MinIO had in `MINIO_KMS_SECRET_KEY`: `name:base64`, or `name:hex` as its older
    /// releases wrote it. Its HMAC key is the key itself, as in MinIO, whose root credentials may hang on it.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let key = StaticKey::parse(text).map_err(Invalid::Spelling)?;
        let name = KeyName::parse(key.name()).map_err(Invalid::Name)?;
        // When and by whom it was made nobody wrote down.
        const UNKNOWN: OffsetDateTime = datetime!(0001-01-01 00:00 UTC);
        let version = key.to_key_version(UNKNOWN, "");
        Ok(Self::new(name, &version).expect("a static key is its own HMAC key"))
    }

    /// A store that has only this key; make the key by [`KeyVersion::from_static_key`].
    ///
    /// # Errors
    /// [`kes_crypto::Error::NoHmacKey`] if the key has no HMAC key and therefore no stored form.
    pub fn new(name: KeyName, key: &KeyVersion) -> Result<Self, kes_crypto::Error> {
        let record = Value::new(key.encode()?.expose().to_vec());
        Ok(Self { name, record })
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Whether two texts spell the same key under the same name, one perhaps in hex and the other in base64.
    #[must_use]
    pub fn is_same_key(one: &str, other: &str) -> bool {
        matches!((StaticKey::parse(one), StaticKey::parse(other)), (Ok(one), Ok(other)) if one.is_same_as(&other))
    }

    fn denied(&self, operation: Operation) -> Error {
        Error::Denied { store: self.describe(), operation, remedy: REMEDY }
    }
}

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        format!("Static Key: {}", self.name)
    }

    fn promises(&self) -> Promises {
        PROMISES
    }

    async fn status(&self) -> Result<Status, Error> {
        Ok(Status { latency: Duration::from_millis(1) })
    }

    async fn create(&self, name: &KeyName, _: &[u8]) -> Result<(), Error> {
        Err(if *name == self.name { Error::Exists } else { self.denied(Operation::Create) })
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        if *name != self.name {
            return Err(Error::NotFound);
        }
        Ok(Value::new(self.record.expose().to_vec()))
    }

    async fn delete(&self, _: &KeyName) -> Result<(), Error> {
        Err(self.denied(Operation::Delete))
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        Ok(Page::select([self.name.clone()], prefix, from, limit))
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn minios_spellings_are_read_and_the_key_is_its_own_hmac_key() {
        let texts = [
            "my-key:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "my-key:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        ];
        for text in texts {
            let store = Store::parse(text).unwrap();
            assert_eq!(store.describe(), "Static Key: my-key");
            let key = KeyVersion::parse(store.get(store.name()).await.unwrap().expose()).unwrap();
            assert_eq!(key.hmac_key().unwrap().expose(), key.key().expose());
        }
        let other = "your-key:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert!(Store::is_same_key(texts[0], texts[1]) && !Store::is_same_key(texts[0], other));
        assert!(matches!(Store::parse("my-key:AAEC"), Err(Invalid::Spelling(_))));
        assert!(matches!(Store::parse("my.key:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), Err(Invalid::Name(_))));
    }

    use kes_crypto::KeyType;
    use time::macros::datetime;

    use super::*;
    use crate::ErrorKind;

    const KEY: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    fn store() -> Store {
        let key = KeyVersion::from_static_key(&KEY, datetime!(2026-01-02 03:04:05 UTC), "").unwrap();
        Store::new(name("minio-key"), &key).unwrap()
    }

    #[tokio::test]
    async fn the_key_reads_as_one_of_either_cipher_and_its_own_hmac_key() {
        let value = store().get(&name("minio-key")).await.unwrap();
        let key = KeyVersion::parse(value.expose()).unwrap();
        assert_eq!(key.key().key_type(), KeyType::Legacy);
        assert_eq!(key.key().expose(), &KEY);
        assert_eq!(key.hmac_key().unwrap().expose(), &KEY);
    }

    #[tokio::test]
    async fn nothing_can_be_changed() {
        let store = store();
        assert_eq!(store.create(&name("minio-key"), b"x").await.unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(store.create(&name("other"), b"x").await.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(store.delete(&name("minio-key")).await.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(store.delete(&name("other")).await.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(store.get(&name("other")).await.unwrap_err().kind(), ErrorKind::NotFound);
        let error = store.delete(&name("minio-key")).await.unwrap_err().to_string();
        assert!(error.starts_with("Static Key: minio-key does not permit to delete keys: "), "{error}");
    }

    #[tokio::test]
    async fn the_list_shows_the_one_key() {
        let store = store();
        assert_eq!(store.list("", None, 10).await.unwrap().names, [name("minio-key")]);
        assert_eq!(store.list("minio", None, 10).await.unwrap().names, [name("minio-key")]);
        assert_eq!(store.list("other", None, 10).await.unwrap(), Page::default());
    }

    #[test]
    fn the_key_is_not_shown() {
        let shown = format!("{:?}", store());
        assert!(!shown.contains("0123456789") && shown.contains("minio-key"), "{shown}");
    }
}
