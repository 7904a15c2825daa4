//! The key routes.

use bytes::Bytes;
use kes_crypto::Plaintext;
use kes_keystore::KeyName;

use crate::server::call::{Call, Changed};
use crate::server::failure::{Doing, Failure};
use crate::server::operations::{self, Key};
use crate::server::reply::Reply;
use crate::wire::{self, text};

/// The key, from the cache at once, or else from the store within the route's time; or who works with it.
pub(super) async fn key(call: &Call, name: &KeyName) -> Result<Key, Failure> {
    if let Some(key) = call.state.keys.hit(name.as_str()) {
        return Ok(Key::Held(key));
    }
    // Boxed, so that a miss does not make the future of every hit larger.
    let missed = async {
        let keys = call.keys();
        if let Some(engine) = keys.engine() {
            return Ok(Key::Remote(engine));
        }
        let key = call.within(keys.get(name)).await?.map_err(|error| Failure::store(Doing::Read, error))?;
        Ok(Key::Held(key))
    };
    Box::pin(missed).await
}

/// Has an engine work, within the route's time.
pub(super) async fn remotely<T>(
    call: &Call,
    doing: Doing,
    work: impl Future<Output = Result<T, kes_keystore::Error>>,
) -> Result<T, Failure> {
    Box::pin(call.within(work)).await?.map_err(|error| Failure::operation(doing, error.into(), ""))
}

fn invalid_body(_: wire::Malformed) -> Failure {
    Failure::bad_request(text::INVALID_BODY)
}

pub(super) async fn generate(call: &Call, name: &KeyName, body: &Bytes, has_body: bool) -> Result<Reply, Failure> {
    // An empty body is a request without context only if there plainly is none. A client library in wide use sends an
    // empty chunked body by mistake when it fails over; a data key under the wrong context would be the answer.
    let request: wire::GenerateRequest =
        if has_body { wire::decode(body).map_err(invalid_body)? } else { wire::GenerateRequest::default() };
    let data_key = match key(call, name).await? {
        Key::Held(key) => operations::generate(&key, &request.context)
            .map_err(|error| Failure::operation(Doing::Generate, error, ""))?,
        Key::Remote(engine) => remotely(call, Doing::Generate, engine.generate(name, &request.context)).await?,
    };
    Ok(Reply::secret(&wire::GenerateAnswer {
        plaintext: data_key.plaintext.expose(),
        ciphertext: &data_key.ciphertext,
    }))
}

pub(super) async fn encrypt(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request: wire::EncryptRequest = wire::decode(body).map_err(invalid_body)?;
    let (plaintext, context) = (request.plaintext.expose(), &request.context);
    let ciphertext = match key(call, name).await? {
        Key::Held(key) => operations::encrypt(&key, plaintext, context)
            .map_err(|error| Failure::operation(Doing::Encrypt, error, ""))?,
        Key::Remote(engine) => remotely(call, Doing::Encrypt, engine.encrypt(name, plaintext, context)).await?,
    };
    Ok(Reply::json(&wire::EncryptResponse { ciphertext }))
}

pub(super) async fn decrypt(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request: wire::DecryptRequest = wire::decode(body).map_err(invalid_body)?;
    let key = key(call, name).await?;
    let plaintext = open(call, &key, name, &request.ciphertext, &request.context).await?;
    Ok(Reply::secret(&wire::DecryptAnswer { plaintext: plaintext.expose() }))
}

/// Opens a ciphertext with the key.
pub(super) async fn open(
    call: &Call,
    key: &Key,
    name: &KeyName,
    ciphertext: &[u8],
    context: &[u8],
) -> Result<Plaintext, Failure> {
    match key {
        Key::Held(key) => operations::decrypt(key, name, ciphertext, context)
            .map_err(|error| Failure::operation(Doing::Decrypt, error, "")),
        Key::Remote(engine) => remotely(call, Doing::Decrypt, engine.decrypt(name, ciphertext, context)).await,
    }
}

pub(super) async fn hmac(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let request: wire::HmacRequest = wire::decode(body).map_err(invalid_body)?;
    let message = request.message.expose();
    let sum = match key(call, name).await? {
        Key::Held(key) => {
            operations::hmac(&key, message).map_err(|error| Failure::operation(Doing::Read, error, ""))?
        }
        Key::Remote(engine) => remotely(call, Doing::Read, engine.mac(name, message)).await?,
    };
    // The sum is the answer, and callers derive credentials from it: it stays in wiped memory.
    Ok(Reply::secret(&wire::HmacResponse { hmac: sum.to_vec().into() }))
}

pub(super) async fn describe(call: &Call, name: &KeyName) -> Result<Reply, Failure> {
    let (algorithm, created_at, created_by) = match key(call, name).await? {
        Key::Held(key) => (key.key().key_type().algorithm(), key.created_at(), key.created_by().to_owned()),
        // Who made it is not kept there.
        Key::Remote(engine) => {
            let found = remotely(call, Doing::Read, engine.describe(name)).await?;
            (found.algorithm, found.created_at, String::new())
        }
    };
    let name = name.as_str().to_owned();
    Ok(Reply::json(&wire::KeyInfo { name, algorithm: algorithm.to_owned(), created_at, created_by }))
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
