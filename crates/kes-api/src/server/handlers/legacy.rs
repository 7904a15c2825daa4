//! Routes of older releases that clients still in use call (http-api 9).

use bytes::Bytes;
use http::StatusCode;
use kes_keystore::KeyName;

use super::keys;
use crate::server::call::Call;
use crate::server::failure::Failure;
use crate::server::reply::Reply;
use crate::wire::{self, text};

/// Ciphertexts in one bulk request.
const MAX_BULK: usize = 1000;

/// MinIO of 2022-03 to 2023-08 decrypts the ETags of a listing in bulk. One that does not open fails all.
pub(super) async fn bulk_decrypt(call: &Call, name: &KeyName, body: &Bytes) -> Result<Reply, Failure> {
    let key = keys::key(call, name).await?;
    let requests = wire::BulkDecryptRequest::decode(body).map_err(|_| Failure::bad_request(text::INVALID_BODY))?.0;
    if requests.len() > MAX_BULK {
        return Err(Failure::bad_request(text::TOO_MANY_CIPHERTEXTS));
    }
    let mut answers = Vec::with_capacity(requests.len());
    for request in &requests {
        let plaintext = keys::open(call, &key, name, &request.ciphertext, &request.context).await?;
        answers.push(wire::DecryptResponse { plaintext: plaintext.expose().to_vec().into() });
    }
    Ok(Reply::secret(&wire::BulkDecryptResponse(answers)))
}

/// Enclaves, secrets and seals belonged to another server; policies come from the configuration file alone with
/// `compat.ephemeral_policies: off`.
pub(super) fn retired() -> Failure {
    Failure::text(StatusCode::NOT_IMPLEMENTED, text::NOT_IMPLEMENTED)
}
