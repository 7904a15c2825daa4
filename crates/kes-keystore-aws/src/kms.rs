//! A key of KMS in use: what seal and engine share.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::operation::describe_key::DescribeKeyError;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, KeyMetadata};
use kes_keystore::{Cause, Error, Operation};
use zeroize::Zeroizing;

use crate::account::{Account, unusable};
use crate::config::Service;
use crate::failure::{Failure, Refusal};
use crate::state::Fault;
use crate::wire::KEY_REFUSED;

/// What the banner begins with.
const LABEL: &str = "AWS KMS";

/// Longest ciphertext that KMS takes.
const MAX_BLOB_LEN: usize = 6144;

/// What is bound into a ciphertext: plain text in the logs of AWS.
pub(crate) type Context = HashMap<String, String>;

/// KMS, and a key in it.
pub(crate) struct Kms {
    pub(crate) account: Account,
    pub(crate) client: Client,
    /// As it was written: ID, ARN or alias.
    pub(crate) key: String,
}

/// Something sealed by KMS, and by which key.
pub(crate) struct Sealed {
    pub(crate) blob: Vec<u8>,
    pub(crate) by: String,
}

impl Kms {
    pub(crate) async fn open(service: Service, key: &str, others: &[&str]) -> Result<Self, Error> {
        let key = key.trim().to_owned();
        if key.is_empty() {
            let remedy = "name the KMS key: its ID, its ARN or 'alias/<name>'";
            return Err(unusable(LABEL.to_owned(), remedy, None));
        }
        let mut keys = vec![key.as_str()];
        keys.extend(others);
        let account = Account::open(service, "kms", LABEL, &keys).await?;
        let client = account.kms();
        Ok(Self { account, client, key })
    }

    pub(crate) fn describe(&self) -> String {
        format!("{LABEL}: {}", self.key)
    }

    pub(crate) async fn look_up(&self, key: &str) -> Result<KeyMetadata, Failure> {
        let described = self.client.describe_key().key_id(key).send().await;
        let described = described.map_err(|why: SdkError<DescribeKeyError, _>| self.failure(&why))?;
        described.key_metadata.ok_or_else(|| self.nothing("KMS describes a key without saying anything"))
    }

    pub(crate) async fn data_key(&self, key: &str, context: Context) -> Result<(Zeroizing<Vec<u8>>, Sealed), Failure> {
        let made = self.client.generate_data_key().key_id(key).key_spec(DataKeySpec::Aes256);
        let made = made.set_encryption_context(Some(context)).send().await.map_err(|why| self.failure(&why))?;
        let (plaintext, blob) = (made.plaintext.map(Blob::into_inner), made.ciphertext_blob.map(Blob::into_inner));
        match (plaintext.map(Zeroizing::new).filter(|key| key.len() == 32), blob.filter(|blob| !blob.is_empty())) {
            (Some(key), Some(blob)) => Ok((key, Sealed { blob, by: made.key_id.unwrap_or_default() })),
            _ => Err(self.nothing("KMS made a data key and did not return it")),
        }
    }

    pub(crate) async fn encrypt(&self, key: &str, plaintext: &[u8], context: Context) -> Result<Sealed, Failure> {
        let made = self.client.encrypt().key_id(key).plaintext(Blob::new(plaintext));
        let made = made.set_encryption_context(Some(context)).send().await.map_err(|why| self.failure(&why))?;
        match made.ciphertext_blob.map(Blob::into_inner).filter(|blob| !blob.is_empty()) {
            Some(blob) => Ok(Sealed { blob, by: made.key_id.unwrap_or_default() }),
            None => Err(self.nothing("KMS encrypted and did not return what")),
        }
    }

    /// The plaintext and the key it was sealed by; `None` if it was sealed under something else.
    pub(crate) async fn decrypt(
        &self,
        key: &str,
        blob: &[u8],
        context: Context,
    ) -> Result<Option<(Zeroizing<Vec<u8>>, String)>, Failure> {
        if !(1..=MAX_BLOB_LEN).contains(&blob.len()) {
            return Ok(None);
        }
        let opened = self.client.decrypt().key_id(key).ciphertext_blob(Blob::new(blob));
        match opened.set_encryption_context(Some(context)).send().await {
            Ok(opened) => match opened.plaintext {
                Some(plaintext) => {
                    Ok(Some((Zeroizing::new(plaintext.into_inner()), opened.key_id.unwrap_or_default())))
                }
                None => Err(self.nothing("KMS decrypted and did not return what")),
            },
            Err(SdkError::ServiceError(answer))
                if matches!(
                    answer.err(),
                    DecryptError::InvalidCiphertextException(_) | DecryptError::IncorrectKeyException(_)
                ) =>
            {
                Ok(None)
            }
            Err(why) => Err(self.failure(&why)),
        }
    }

    pub(crate) fn failure<E>(&self, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Failure::of(&self.describe(), error)
    }

    pub(crate) fn nothing(&self, message: &str) -> Failure {
        Failure::Refused(Refusal { code: "an answer without content".to_owned(), message: message.to_owned() })
    }

    pub(crate) fn error(&self, entry: String, operation: Operation, failure: Failure) -> Error {
        failure.into_error(&self.describe(), |refusal| judge(entry, operation, refusal))
    }
}

/// What KMS has said, by meaning.
pub(crate) fn judge(entry: String, operation: Operation, refusal: Refusal) -> Error {
    let (remedy, unauthorized) = match (Fault::told(&refusal), refusal.code.as_str()) {
        (Some(Fault::Denied), _) => (Fault::Denied.remedy(), true),
        (Some(fault), _) => (fault.remedy(), false),
        (None, code) if KEY_REFUSED.contains(&code) => (
            "AWS does not accept the access key: it has ended or was deleted, its secret is wrong, or the clock is",
            true,
        ),
        (None, _) if refusal.is_denied() => (Fault::Denied.remedy(), true),
        (None, "LimitExceededException") => {
            ("a quota of KMS is reached, such as that of aliases for one key: ask AWS for a higher one", false)
        }
        _ => ("this is what AWS says about it", false),
    };
    let source = Some(Arc::new(refusal) as Cause);
    match unauthorized {
        true => Error::Unauthorized { entry, remedy, source },
        false => Error::Failed { entry, operation, remedy, source },
    }
}
