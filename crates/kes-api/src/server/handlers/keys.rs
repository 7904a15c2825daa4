//! The key routes.

use bytes::Bytes;
use kes_crypto::KeyVersion;
use kes_keystore::KeyName;
use std::sync::Arc;

use crate::server::call::{Call, Changed};
use crate::server::failure::{Doing, Failure};
use crate::server::operations;
use crate::server::reply::Reply;
use crate::wire::{self, text};

/// The key, from the cache at once, or else from the store within the route's time.
pub(super) async fn key(call: &Call, name: &KeyName) -> Result<Arc<KeyVersion>, Failure> {
    if let Some(key) = call.state.keys.hit(name.as_str()) {
        return Ok(key);
    }
    // Boxed, so that a miss does not make the future of every hit larger.
    Box::pin(async { call.within(call.keys().get(name)).await?.map_err(|error| Failure::store(Doing::Read, error)) })
        .await
}

fn invalid_body(_: wire::Malformed) -> Failure {
    Failure::bad_request(text::INVALID_BODY)
}

pub(super) async fn generate(call: &Call, name: &KeyName, body: &Bytes, has_body: bool) -> Result<Reply, Failure> {
    // An empty body is a request without context only if there plainly is none. A client library in wide use sends an
    // empty chunked body by mistake when it fails over; a data key under the wrong context would be the answer.
    let request: wire::GenerateRequest =
        if has_body { wire::decode(body).map_err(invalid_body)? } else { wire::GenerateRequest::default() };
    let key = key(call, name).await?;
    let data_key =
        operations::generate(&key, &request.context).map_err(|error| Failure::operation(Doing::Generate, error, ""))?;
    Ok(Reply::secret(&wire::GenerateAnswer {
        plaintext: data_key.plaintext.expose(),
        ciphertext: &data_key.ciphertext,
    }))
}

pub(super) async fn encrypt(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request: wire::EncryptRequest = wire::decode(body).map_err(invalid_body)?;
    let key = key(call, name).await?;
    let ciphertext = operations::encrypt(&key, request.plaintext.expose(), &request.context)
        .map_err(|error| Failure::operation(Doing::Encrypt, error, ""))?;
    Ok(Reply::json(&wire::EncryptResponse { ciphertext }))
}

pub(super) async fn decrypt(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request: wire::DecryptRequest = wire::decode(body).map_err(invalid_body)?;
    let key = key(call, name).await?;
    let plaintext = operations::decrypt(&key, name, &request.ciphertext, &request.context)
        .map_err(|error| Failure::operation(Doing::Decrypt, error, ""))?;
    Ok(Reply::secret(&wire::DecryptAnswer { plaintext: plaintext.expose() }))
}

pub(super) async fn hmac(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request: wire::HmacRequest = wire::decode(body).map_err(invalid_body)?;
    let key = key(call, name).await?;
    let sum =
        operations::hmac(&key, request.message.expose()).map_err(|error| Failure::operation(Doing::Read, error, ""))?;
    // The sum is the answer, and callers derive credentials from it: it stays in wiped memory.
    Ok(Reply::secret(&wire::HmacResponse { hmac: sum.to_vec().into() }))
}

pub(super) async fn describe(call: &Call, name: &KeyName) -> Result<Reply, Failure> {
    let key = key(call, name).await?;
    Ok(Reply::json(&wire::KeyInfo {
        name: name.as_str().to_owned(),
        algorithm: key.key().key_type().algorithm().to_owned(),
        created_at: key.created_at(),
        created_by: key.created_by().to_owned(),
    }))
}

pub(super) async fn create(call: &mut Call, name: &KeyName) -> Result<Reply, Failure> {
    let keys = call.keys();
    let made = operations::create(&keys, name, call.identity_text());
    call.within(made).await?.map_err(|error| Failure::operation(Doing::Create, error, ""))?;
    call.changed = Some(Changed::Created(name.as_str().to_owned()));
    Ok(Reply::Empty)
}

pub(super) async fn import(call: &mut Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request = wire::ImportRequest::decode(body).map_err(|_| Failure::bad_request(text::INVALID_IMPORT_BODY))?;
    let cipher = &request.cipher;
    let keys = call.keys();
    let made = operations::import(&keys, name, cipher, request.key.expose(), call.identity_text());
    call.within(made).await?.map_err(|error| Failure::operation(Doing::Create, error, cipher))?;
    call.changed = Some(Changed::Created(name.as_str().to_owned()));
    Ok(Reply::Empty)
}

pub(super) async fn delete(call: &mut Call, name: &KeyName) -> Result<Reply, Failure> {
    call.within(call.keys().delete(name)).await?.map_err(|error| Failure::store(Doing::Delete, error))?;
    call.changed = Some(Changed::Deleted(name.as_str().to_owned()));
    Ok(Reply::Empty)
}
