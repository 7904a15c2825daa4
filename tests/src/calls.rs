//! The calls that most suites make: an administrator who makes keys, seals and opens.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::{Client, Connection, Credential, Request, Response, Server};

/// An administrator: the line of the configuration, and the client.
#[must_use]
pub fn admin() -> (String, Client) {
    let admin = Credential::from_seed(0);
    (format!("admin: {{identity: {}}}", admin.identity()), Client::new(&admin))
}

/// Asks on a connection of its own.
///
/// # Panics
/// If there is no response.
pub fn ask(server: &Server, client: &Client, request: &Request) -> Response {
    let mut connection = Connection::open(server.address(), client).expect("the server answers");
    connection.exchange(request).expect("a response")
}

/// [`ask`], which must succeed.
///
/// # Panics
/// If it does not.
pub fn ok(server: &Server, client: &Client, request: &Request) -> Response {
    let response = ask(server, client, request);
    assert_eq!(response.status, 200, "{} {}: {}", request.method, request.target, response.text());
    response
}

/// Makes a key.
#[must_use]
pub fn create(key: &str) -> Request {
    Request::new("PUT", &format!("/v1/key/create/{key}"))
}

/// Deletes a key.
#[must_use]
pub fn delete(key: &str) -> Request {
    Request::new("DELETE", &format!("/v1/key/delete/{key}"))
}

/// Makes a data key for a context.
#[must_use]
pub fn generate(key: &str, context: &str) -> Request {
    Request::put(&format!("/v1/key/generate/{key}"), json!({"context": STANDARD.encode(context)}).to_string())
}

/// Opens a sealed data key, in base64.
#[must_use]
pub fn decrypt(key: &str, ciphertext: &str, context: &str) -> Request {
    let body = json!({"ciphertext": ciphertext, "context": STANDARD.encode(context)});
    Request::put(&format!("/v1/key/decrypt/{key}"), body.to_string())
}
