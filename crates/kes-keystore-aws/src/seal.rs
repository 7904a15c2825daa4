//! A key of KMS as seal: it wraps the root key of a sealed store that lies elsewhere.

use async_trait::async_trait;
use kes_crypto::sealing::SealKey;
use kes_keystore::{Error, Operation, Seal};

use crate::config::SealConfig;
use crate::kms::{Context, Kms};

/// A key of AWS KMS that wraps root keys. What it makes is a ciphertext of KMS, bound to the label of the store by the
/// encryption context `kes:store`; what AWS has rotated the key to opens it as well.
pub struct KmsSeal(Kms);

impl KmsSeal {
    pub(crate) async fn connect(config: SealConfig) -> Result<Self, Error> {
        Ok(Self(Kms::open(config.service, &config.key, &[]).await?))
    }
}

fn context(label: &str) -> Context {
    Context::from([("kes:store".to_owned(), label.to_owned())])
}

#[async_trait]
impl Seal for KmsSeal {
    fn kind(&self) -> &'static str {
        "aws"
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error> {
        let sealed = self.0.encrypt(&self.0.key, root.expose(), context(label)).await;
        sealed.map(|sealed| sealed.blob).map_err(|failure| self.0.error(self.describe(), Operation::Encrypt, failure))
    }

    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error> {
        let damaged = |problem| Error::Damaged { entry: self.describe(), problem, source: None };
        match self.0.decrypt(&self.0.key, wrapped, context(label)).await {
            Ok(Some((root, _))) => SealKey::from_bytes(&root).map_err(|_| damaged("what KMS unwrapped is no root key")),
            Ok(None) => Err(damaged("the slot was not wrapped by this key for this store")),
            Err(failure) => Err(self.0.error(self.describe(), Operation::Decrypt, failure)),
        }
    }
}
