//! Keys on the disk, and in front of them the cache that every reader goes through: a KMS in a process of one's own.
//!
//! `cargo run -p kes-examples --example keystore`
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::sync::Arc;

use kes_crypto::{KeyType, KeyVersion};
use kes_keystore::{Cache, ErrorKind, KeyName, KeyStore, cache, fs};
use time::OffsetDateTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // One file for each key, in the format of MinIO KES. Any other store is five methods: see the trait.
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(folder.path()).await?);
    let keys = Cache::new(Arc::clone(&store), cache::Settings::default());

    let name = KeyName::parse("invoices")?;
    let key = KeyVersion::generate(KeyType::preferred(), OffsetDateTime::now_utc(), "example")?;
    keys.create(&name, key).await?;

    // Create is create-if-absent: nobody can replace a key, and with it lose what was sealed.
    let again = KeyVersion::generate(KeyType::preferred(), OffsetDateTime::now_utc(), "example")?;
    let refused = keys.create(&name, again).await.expect_err("the first key stays");
    assert_eq!(refused.kind(), ErrorKind::Exists);
    println!("a second create: {refused}");

    let sealed = keys.get(&name).await?.key().seal(b"42 EUR", b"invoices/7")?;
    // Cached by now: no await, no allocation.
    let key = keys.hit("invoices").expect("it was just read");
    assert_eq!(key.key().open(&sealed, b"invoices/7")?.expose(), b"42 EUR");

    for name in store.list("", None, 100).await?.names {
        println!("stored: {name}");
    }
    println!("in {}", store.describe());
    Ok(())
}
