//! A key of Key Vault or of a Managed HSM as seal: it wraps the root key of a sealed store that lies elsewhere.
//!
//! Key Vault wraps keys and takes nothing beside them that could bind the label of the store. So it wraps a key of ours that
//! is made for it alone, and that key seals the root key together with the label. What comes out is JSON:
//! `{"algorithm","version","wrapped","sealed"}`, the last two in Base64.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{
    EncryptionAlgorithm, KeyClientGetKeyOptions, KeyClientWrapKeyOptions, KeyOperationParameters, KeyType,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use kes_crypto::base64;
use kes_crypto::sealing::SealKey;
use kes_keystore::{Error, Operation, Seal};
use serde::{Deserialize, Serialize};

use crate::account::{Account, call, unusable};
use crate::config::SealConfig;
use crate::failure::{Failure, Refusal};

/// What our key seals the root key for.
const PURPOSE: &str = "azure-seal";

/// What the description begins with.
const LABEL: &str = "Azure KeyVault";

/// A key of Key Vault or Managed HSM that wraps root keys, with RSA-OAEP-256 or A256KW, whichever fits it. The version that
/// has wrapped a root key unwraps it: the key may be rotated.
pub struct KeyVaultSeal {
    account: Account,
    keys: KeyClient,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Slot {
    algorithm: String,
    version: String,
    wrapped: String,
    sealed: String,
}

impl KeyVaultSeal {
    pub(crate) fn connect(config: SealConfig) -> Result<Self, Error> {
        let SealConfig { vault, key } = config;
        let account = Account::open(vault, LABEL)?;
        let options = KeyClientOptions {
            client_options: account.wire.options(),
            verify_challenge_resource: Some(account.verifies()),
            ..KeyClientOptions::default()
        };
        let key = key.trim().to_owned();
        let entry = format!("{LABEL}: {}: key '{key}'", account.endpoint.shown);
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(unusable(entry, "'key' is the name of a key: letters, digits and '-'", None));
        }
        let keys =
            KeyClient::new(account.endpoint.url.as_str(), account.identity.clone(), Some(options)).map_err(|why| {
                unusable(entry, "write the endpoint as https://<name>.vault.azure.net", Some(Arc::new(why)))
            })?;
        Ok(Self { account, keys, key })
    }

    fn error(&self, operation: Operation, failure: Failure) -> Error {
        let store = format!("{LABEL}: {}", self.account.endpoint.shown);
        failure.into_error(&store, |refusal| self.judge(operation, refusal))
    }

    fn judge(&self, operation: Operation, refusal: Refusal) -> Error {
        let source = Some(Arc::new(refusal.clone()) as _);
        let entry = self.describe();
        let failed = |remedy| Error::Failed { entry: self.describe(), operation, remedy, source: source.clone() };
        match refusal.status {
            401 => crate::store::judge(entry, operation, refusal),
            404 => failed("there is no such key in this vault: make one with 'az keyvault key create'"),
            403 if refusal.is("KeyDisabled") || refusal.says("disabled") => {
                failed("the key is disabled: 'az keyvault key set-attributes --enabled true' enables it")
            }
            403 if refusal.is("KeyExpired") || refusal.is("KeyNotYetValid") => {
                failed("the key has expired or is not valid yet: change its dates, or rotate it")
            }
            403 if refusal.is("KeyOperationForbidden") => {
                failed("the key is not one for this: its operations have to include wrapKey and unwrapKey")
            }
            403 if refusal.is("ForbiddenByFirewall") || refusal.is("ForbiddenByConnection") => {
                crate::store::judge(entry, operation, refusal)
            }
            403 => Error::Unauthorized {
                entry,
                remedy: "Azure does not permit this: grant the key permissions Get, Wrap Key and Unwrap Key, or the role \
                         'Key Vault Crypto Service Encryption User'",
                source,
            },
            _ => failed("Key Vault refuses this: its words say why, and the key has to be RSA, or AES of 256 bits"),
        }
    }

    fn damaged(&self, problem: &'static str) -> Error {
        Error::Damaged { entry: self.describe(), problem, source: None }
    }

    /// How the key wraps, and its present version.
    async fn look(&self) -> Result<(EncryptionAlgorithm, Option<String>), Failure> {
        let found =
            call(|| async { self.keys.get_key(&self.key, None::<KeyClientGetKeyOptions<'_>>).await?.into_model() });
        let key = found.await?.key.unwrap_or_default();
        let algorithm = match key.kty {
            Some(KeyType::Oct | KeyType::OctHsm) => EncryptionAlgorithm::A256Kw,
            _ => EncryptionAlgorithm::RsaOaep256,
        };
        Ok((algorithm, key.kid.as_deref().and_then(version)))
    }
}

/// The last part of an identifier: `https://<vault>/keys/<name>/<version>`.
fn version(id: &str) -> Option<String> {
    id.split('/').nth(5).filter(|version| !version.is_empty()).map(ToOwned::to_owned)
}

fn parameters(
    algorithm: &EncryptionAlgorithm,
    value: &[u8],
) -> azure_core::Result<RequestContent<KeyOperationParameters>> {
    let (algorithm, value) = (Some(algorithm.clone()), Some(value.to_vec()));
    KeyOperationParameters { algorithm, value, ..Default::default() }.try_into()
}

#[async_trait]
impl Seal for KeyVaultSeal {
    fn kind(&self) -> &'static str {
        "azure"
    }

    fn describe(&self) -> String {
        format!("{LABEL}: {}: key '{}'", self.account.endpoint.shown, self.key)
    }

    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error> {
        let error = |failure| self.error(Operation::Encrypt, failure);
        let random = |why| unusable(self.describe(), "this machine has no random bytes", Some(Arc::new(why)));
        let between = SealKey::generate().map_err(random)?;
        let sealed = between.seal(PURPOSE, label.as_bytes(), root.expose()).map_err(random)?;
        let (algorithm, present) = self.look().await.map_err(error)?;
        let wrapped = call(|| async {
            let asked = parameters(&algorithm, between.expose())?;
            let options = KeyClientWrapKeyOptions { key_version: present.clone(), ..Default::default() };
            self.keys.wrap_key(&self.key, asked, Some(options)).await?.into_model()
        });
        let wrapped = wrapped.await.map_err(error)?;
        let (Some(version), Some(value)) = (wrapped.kid.as_deref().and_then(version), wrapped.result) else {
            return Err(unusable(self.describe(), "Key Vault has answered without a wrapped key", None));
        };
        let slot = Slot {
            algorithm: algorithm.to_string(),
            version,
            wrapped: base64::encode(&value),
            sealed: base64::encode(&sealed),
        };
        Ok(serde_json::to_vec(&slot).expect("it is all text"))
    }

    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error> {
        let nothing = || self.damaged("the slot holds nothing that Key Vault has wrapped");
        let slot: Slot = serde_json::from_slice(wrapped).map_err(|_| nothing())?;
        let value = base64::decode(&slot.wrapped).map_err(|_| nothing())?;
        let sealed = base64::decode(&slot.sealed).map_err(|_| nothing())?;
        let algorithm: EncryptionAlgorithm = slot.algorithm.parse().map_err(|_| nothing())?;
        if !slot.version.bytes().all(|byte| byte.is_ascii_alphanumeric()) || slot.version.is_empty() {
            return Err(nothing());
        }
        let between = call(|| async {
            let asked = parameters(&algorithm, &value)?;
            self.keys.unwrap_key(&self.key, &slot.version, asked, None).await?.into_model()
        });
        let between = match between.await {
            Ok(between) => zeroize::Zeroizing::new(between.result.unwrap_or_default()),
            // Another key, or none of this version.
            Err(Failure::Refused(refusal)) if matches!(refusal.status, 400 | 404) => {
                return Err(self.damaged("it was not wrapped by this key"));
            }
            Err(failure) => return Err(self.error(Operation::Decrypt, failure)),
        };
        let between = SealKey::from_bytes(&between).map_err(|_| self.damaged("what Key Vault unwrapped is no key"))?;
        let root = between.open(PURPOSE, label.as_bytes(), &sealed);
        let root = root.map_err(|_| self.damaged("it was wrapped for another store"))?;
        SealKey::from_bytes(root.expose()).map_err(|_| self.damaged("what it holds is no root key"))
    }
}
