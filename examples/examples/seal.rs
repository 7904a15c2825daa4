//! A data key in five lines, for a service that seals its own data and needs no KMS beside it.
//!
//! `cargo run -p kes-examples --example seal`
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use kes_crypto::{Error, KeyType, KeyVersion, SecretKey, base64};
use time::OffsetDateTime;

fn main() -> Result<(), Error> {
    // The five lines. The context names what the key is for; opening needs the same one.
    let key = SecretKey::generate(KeyType::preferred())?;
    let data_key = key.generate_data_key(b"invoices/2031-04")?;
    // … encrypt with data_key.plaintext, keep data_key.ciphertext beside the data, and later:
    let plaintext = key.open(&data_key.ciphertext, b"invoices/2031-04")?;
    assert_eq!(plaintext.expose(), data_key.plaintext.expose());
    println!("sealed data key: {}", base64::encode(&data_key.ciphertext));

    // Another context, another key or one changed bit: the same error, whatever the cause.
    let refused = key.open(&data_key.ciphertext, b"invoices/2031-05");
    println!("with another context: {}", refused.expect_err("the context is bound"));

    // To keep a key, store its record. A KES server, old or new, serves the file as it is.
    let version = KeyVersion::generate(KeyType::preferred(), OffsetDateTime::now_utc(), "invoices")?;
    let stored = version.encode()?;
    let again = KeyVersion::parse(stored.expose())?;
    assert_eq!(again.key().expose(), version.key().expose());
    println!("a stored {} key has {} characters", again.key().key_type().algorithm(), stored.expose().len());
    Ok(())
}
