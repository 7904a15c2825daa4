//! Keys that are used where they are.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kes_crypto::{DataKey, Plaintext};
use time::OffsetDateTime;

use crate::cache::{Cache, Settings};
use crate::{Description, Engine, Error, ErrorKind, KeyName, KeyStore, Operation, Page, Status, Value, memory};

/// Seals by putting the context in front; the key named `slow` never answers.
struct Hsm(memory::Store);

#[async_trait]
impl KeyStore for Hsm {
    fn describe(&self) -> String {
        "HSM".to_owned()
    }

    async fn status(&self) -> Result<Status, Error> {
        self.0.status().await
    }

    async fn create(&self, _: &KeyName, _: &[u8]) -> Result<(), Error> {
        Err(denied(Operation::Create))
    }

    async fn get(&self, _: &KeyName) -> Result<Value, Error> {
        Err(denied(Operation::Get))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.0.delete(name).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        self.0.list(prefix, from, limit).await
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

fn denied(operation: Operation) -> Error {
    Error::Denied { store: "HSM".to_owned(), operation, remedy: "its keys never leave it" }
}

#[async_trait]
impl Engine for Hsm {
    async fn create_key(&self, name: &KeyName) -> Result<(), Error> {
        self.0.create(name, b"").await
    }

    async fn describe_key(&self, name: &KeyName) -> Result<Description, Error> {
        self.0.get(name).await?;
        Ok(Description { algorithm: "AES256", created_at: OffsetDateTime::UNIX_EPOCH })
    }

    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, Error> {
        let ciphertext = self.encrypt(name, &[7; 32], context).await?;
        Ok(DataKey { plaintext: Plaintext::new(vec![7; 32]), ciphertext })
    }

    async fn encrypt(&self, name: &KeyName, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        if name.as_str() == "slow" {
            std::future::pending::<()>().await;
        }
        self.0.get(name).await?;
        Ok([context, plaintext].concat())
    }

    async fn decrypt(&self, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
        self.0.get(name).await?;
        let plaintext = ciphertext.strip_prefix(context).ok_or(Error::NotAuthentic)?;
        Ok(Plaintext::new(plaintext.to_vec()))
    }

    async fn mac(&self, _: &KeyName, _: &[u8]) -> Result<[u8; 32], Error> {
        Err(denied(Operation::Mac))
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a key name")
}

fn cache() -> Cache {
    Cache::new(Arc::new(Hsm(memory::Store::default())), Settings::default())
}

#[tokio::test]
async fn a_key_is_made_used_and_removed_where_it_is() {
    let cache = cache();
    let engine = cache.engine().expect("the store has one");
    engine.create(&name("a")).await.unwrap();
    assert_eq!(engine.create(&name("a")).await.unwrap_err().kind(), ErrorKind::Exists);

    let data_key = engine.generate(&name("a"), b"context").await.unwrap();
    let opened = engine.decrypt(&name("a"), &data_key.ciphertext, b"context").await.unwrap();
    assert_eq!(opened.expose(), data_key.plaintext.expose());
    let wrong = engine.decrypt(&name("a"), &data_key.ciphertext, b"other").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::NotAuthentic);

    assert!(cache.hit("a").is_none(), "nothing of it is ever in this process");
    assert_eq!(cache.get(&name("a")).await.unwrap_err().kind(), ErrorKind::Denied);
    cache.delete(&name("a")).await.unwrap();
    assert_eq!(engine.describe(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn other_stores_have_no_engine() {
    assert!(Cache::new(Arc::new(memory::Store::default()), Settings::default()).engine().is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_have_the_deadline_of_a_read_and_are_counted() {
    let cache = cache().limited(Duration::from_secs(3));
    let engine = cache.engine().expect("the store has one");
    let started = tokio::time::Instant::now();
    let error = engine.encrypt(&name("slow"), b"x", b"").await.unwrap_err();
    assert_eq!((error.kind(), started.elapsed()), (ErrorKind::Timeout, Duration::from_secs(3)));
    let calls = cache.calls()[Operation::Encrypt as usize];
    assert_eq!((calls.count, calls.errors[ErrorKind::Timeout as usize]), (1, 1));
}
