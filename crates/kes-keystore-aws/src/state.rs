//! The state of a KMS key, and the sentence that each deserves.

use aws_sdk_kms::Client;
use aws_sdk_kms::types::{KeyMetadata, KeyState, KeyUsageType};

use crate::failure::{Failure, Refusal};

/// What is the matter with a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Denied,
    Disabled,
    Missing,
    PendingDeletion,
    PendingImport,
    Unavailable,
    WrongUse,
}

impl Fault {
    /// What to do, as the remedy of an error.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Denied => {
                "access to the KMS key is denied: grant kms:GenerateDataKey, kms:Encrypt, kms:Decrypt and kms:DescribeKey on \
                 it, in the IAM policy or in the key's own"
            }
            Self::Disabled => "the KMS key is disabled: 'aws kms enable-key' enables it",
            Self::Missing => {
                "the KMS key does not exist in this region: write its ID, its ARN or 'alias/<name>', and check the region"
            }
            Self::PendingDeletion => {
                "the KMS key is scheduled for deletion, after which nothing that is encrypted under it can be read: \
                 'aws kms cancel-key-deletion', then 'aws kms enable-key'"
            }
            Self::PendingImport => "the KMS key has no key material: import it with 'aws kms import-key-material'",
            Self::Unavailable => "the KMS key is in a key store that is disconnected, or is only being made",
            Self::WrongUse => "the KMS key is not one for this: it has to be a symmetric one for encryption",
        }
    }

    /// What KMS says of a key, itself or through Secrets Manager, if it says what the matter is.
    pub(crate) fn told(refusal: &Refusal) -> Option<Self> {
        match refusal.code.as_str() {
            "DisabledException" => return Some(Self::Disabled),
            "NotFoundException" => return Some(Self::Missing),
            "InvalidKeyUsageException" | "UnsupportedOperationException" => return Some(Self::WrongUse),
            "InvalidArnException" | "InvalidAliasNameException" => return Some(Self::Missing),
            "AccessDeniedException" if refusal.says("kms") => return Some(Self::Denied),
            _ => {}
        }
        let about_key = match refusal.code.as_str() {
            "KMSInvalidStateException" | "EncryptionFailure" | "DecryptionFailure" => true,
            "InvalidRequestException" => refusal.says("kms"),
            _ => false,
        };
        if !about_key {
            return None;
        }
        for (words, fault) in [
            ("pending deletion", Self::PendingDeletion),
            ("pendingdeletion", Self::PendingDeletion),
            ("pending import", Self::PendingImport),
            ("pendingimport", Self::PendingImport),
            ("is disabled", Self::Disabled),
            ("unavailable", Self::Unavailable),
        ] {
            if refusal.says(words) {
                return Some(fault);
            }
        }
        None
    }
}

/// Asks KMS what a key is.
pub(crate) async fn describe(kms: &Client, store: &str, key: &str) -> Result<Option<KeyMetadata>, Failure> {
    let described = kms.describe_key().key_id(key).send().await;
    described.map(|answer| answer.key_metadata).map_err(|why| Failure::of(store, &why))
}

/// What is the matter with a key that is to encrypt and decrypt.
pub(crate) fn fault_of(key: &KeyMetadata) -> Option<Fault> {
    match key.key_state.as_ref()? {
        KeyState::Enabled => {
            let fits = key.key_usage.as_ref().is_none_or(|usage| *usage == KeyUsageType::EncryptDecrypt);
            let spec = key.key_spec.as_ref().is_none_or(|spec| spec.as_str() == "SYMMETRIC_DEFAULT");
            (!fits || !spec).then_some(Fault::WrongUse)
        }
        KeyState::Disabled => Some(Fault::Disabled),
        KeyState::PendingDeletion | KeyState::PendingReplicaDeletion => Some(Fault::PendingDeletion),
        KeyState::PendingImport => Some(Fault::PendingImport),
        KeyState::Updating => None,
        _ => Some(Fault::Unavailable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_is_told_has_a_sentence_of_its_own() {
        let told = |code: &str, message: &str| Fault::told(&Refusal { code: code.into(), message: message.into() });
        let arn = "arn:aws:kms:us-east-1:111122223333:key/0f1e";
        assert_eq!(
            told("KMSInvalidStateException", &format!("{arn} is pending deletion.")),
            Some(Fault::PendingDeletion)
        );
        assert_eq!(told("KMSInvalidStateException", &format!("{arn} is pending import.")), Some(Fault::PendingImport));
        assert_eq!(told("DisabledException", &format!("{arn} is disabled.")), Some(Fault::Disabled));
        assert_eq!(told("EncryptionFailure", "The KMS key is disabled."), Some(Fault::Disabled));
        assert_eq!(told("AccessDeniedException", "Access to KMS is not allowed"), Some(Fault::Denied));
        assert_eq!(told("AccessDeniedException", "User: x is not authorized to perform: y:Z"), None);
        assert_eq!(told("DecryptionFailure", "cannot decrypt"), None);
        let all = [
            Fault::Denied,
            Fault::Disabled,
            Fault::Missing,
            Fault::PendingDeletion,
            Fault::PendingImport,
            Fault::Unavailable,
            Fault::WrongUse,
        ];
        let sentences: std::collections::BTreeSet<_> = all.map(Fault::remedy).into();
        assert_eq!(sentences.len(), all.len());
    }
}
