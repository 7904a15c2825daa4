//! An application that seals its data with keys of a kes server (or of MinIO KES).
//!
//! `cargo run -p kes-examples --example client`, with KES_SERVER, KES_API_KEY and KES_CA (a certificate file) set; the example
//! `server` prints a line to copy.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use kes_client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("set {name}; the example `server` prints how"));
    let client = Client::builder()
        .endpoint(variable("KES_SERVER")?) // several: call it again; one that fails is passed over
        .api_key(variable("KES_API_KEY")?.parse()?)
        .ca_path(variable("KES_CA")?)
        .build()?;

    match client.create_key("my-app").await {
        Ok(()) => println!("created the key my-app"),
        Err(error) if error.is_key_exists() => println!("the key my-app was there"),
        Err(error) => return Err(error.into()),
    }

    // A key for this object alone. Encrypt with its plaintext, keep its ciphertext beside the object.
    let object = b"bucket/object";
    let data_key = client.generate_key("my-app", object).await?;
    println!("sealed data key: {} bytes", data_key.ciphertext.len());

    // Only the server opens it again, and only for the same object.
    let plaintext = client.decrypt("my-app", &data_key.ciphertext, object).await?;
    assert_eq!(plaintext.expose(), data_key.plaintext.expose());
    let refused = client.decrypt("my-app", &data_key.ciphertext, b"bucket/other").await.expect_err("another object");
    println!("for another object: {refused}");
    Ok(())
}
