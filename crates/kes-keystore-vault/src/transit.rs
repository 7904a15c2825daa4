//! Calls of a transit engine: encryption by a key that is in there.

use std::sync::Arc;

use kes_crypto::base64;
use kes_keystore::{Error, Operation};
use serde::Deserialize;
use vaultrs::api::transit::requests::{DecryptDataRequest, EncryptDataRequest};
use zeroize::Zeroizing;

use crate::session::Session;
use crate::wire::Answer;

/// A key of a transit engine.
pub(crate) struct TransitKey<'a> {
    pub(crate) session: &'a Session,
    pub(crate) engine: &'a str,
    pub(crate) key: &'a str,
}

/// `vault:v<version>:` and base64: what transit makes of a plaintext, in every release of Vault and OpenBao.
pub(crate) fn is_ciphertext(text: &str) -> bool {
    let version = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')).map(|(version, _)| version);
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: Zeroizing<String>,
}

impl TransitKey<'_> {
    /// Seals `plaintext`, bound to `associated` if that is not empty.
    pub(crate) async fn encrypt(
        &self,
        operation: Operation,
        plaintext: &[u8],
        associated: &[u8],
    ) -> Result<String, Error> {
        let answer = self
            .session
            .call(|| EncryptDataRequest {
                mount: self.engine.to_owned(),
                name: self.key.to_owned(),
                plaintext: base64::encode(plaintext),
                associated_data: bound(associated),
                ..EncryptDataRequest::default()
            })
            .await?;
        match answer.data::<Encrypted>() {
            Ok(Some(Encrypted { ciphertext })) if answer.is_success() && is_ciphertext(&ciphertext) => Ok(ciphertext),
            _ => Err(self.failed(operation, &answer)),
        }
    }

    /// Opens what [`TransitKey::encrypt`] sealed under the same associated data.
    pub(crate) async fn decrypt(
        &self,
        operation: Operation,
        text: &str,
        associated: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let answer = self
            .session
            .call(|| DecryptDataRequest {
                mount: self.engine.to_owned(),
                name: self.key.to_owned(),
                ciphertext: text.to_owned(),
                associated_data: bound(associated),
                ..DecryptDataRequest::default()
            })
            .await?;
        if !answer.is_success() {
            // 400 is the ciphertext's fault, or that of a key which is not there: only the words tell.
            let is_missing = answer.says("not found") || answer.status == 404;
            return Err(match answer.status {
                400 if !is_missing => Error::NotAuthentic,
                _ => self.failed(operation, &answer),
            });
        }
        let opened = answer.data::<Decrypted>().ok().flatten();
        let opened = opened.and_then(|opened| base64::decode(opened.plaintext.as_bytes()).ok());
        opened.map(Zeroizing::new).ok_or_else(|| self.failed(operation, &answer))
    }

    pub(crate) fn failed(&self, operation: Operation, answer: &Answer) -> Error {
        let entry = format!("{}: transit key '{}/{}'", self.session.describe(), self.engine, self.key);
        let source = Some(Arc::new(answer.refusal()) as _);
        match answer.status {
            403 => {
                let remedy = "grant 'update' on <transit>/encrypt/<key> and <transit>/decrypt/<key>";
                Error::Unauthorized { entry, remedy, source }
            }
            _ => {
                let remedy = "check that the transit engine and its key exist";
                Error::Failed { entry, operation, remedy, source }
            }
        }
    }
}

/// Transit takes no empty associated data.
fn bound(associated: &[u8]) -> Option<String> {
    (!associated.is_empty()).then(|| base64::encode(associated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_key_is_known_by_its_ciphertexts() {
        for text in ["vault:v1:AAAA", "vault:v2:", "vault:v10:AAAA"] {
            assert!(is_ciphertext(text), "{text}");
        }
        for text in ["vault:v:AAAA", "vault:vx:AAAA", "vault:v1", "CiQKIP", "", "vault:1:A"] {
            assert!(!is_ciphertext(text), "{text}");
        }
    }
}
