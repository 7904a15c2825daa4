//! A transit key as seal: it wraps the root key of a sealed store that lies elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use kes_crypto::sealing::SealKey;
use kes_keystore::{Error, Operation, Seal};

use crate::config::{SealConfig, Transit};
use crate::session::Session;
use crate::transit::{TransitKey, is_ciphertext};

/// A transit key of a Vault that wraps root keys. What it makes is `vault:v<version>:<base64>`, bound to the label of the
/// store by the associated data; all versions of the key that Vault still has open it.
pub struct TransitSeal {
    session: Arc<Session>,
    key: Transit,
}

impl TransitSeal {
    pub(crate) async fn connect(config: SealConfig) -> Result<Self, Error> {
        let session = Session::open(config.server).await?;
        let engine = config.key.engine.trim_matches('/').to_owned();
        Ok(Self { session, key: Transit { engine, key: config.key.key } })
    }

    fn transit(&self) -> TransitKey<'_> {
        TransitKey { session: &self.session, engine: &self.key.engine, key: &self.key.key }
    }
}

impl Drop for TransitSeal {
    fn drop(&mut self) {
        // Outside of a runtime the login ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let session = Arc::clone(&self.session);
            runtime.spawn(async move { session.close().await });
        }
    }
}

#[async_trait]
impl Seal for TransitSeal {
    fn kind(&self) -> &'static str {
        "vault"
    }

    fn describe(&self) -> String {
        format!("{}: transit key '{}/{}'", self.session.describe(), self.key.engine, self.key.key)
    }

    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error> {
        let text = self.transit().encrypt(Operation::Encrypt, root.expose(), label.as_bytes()).await?;
        Ok(text.into_bytes())
    }

    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error> {
        let damaged = |problem| Error::Damaged { entry: self.describe(), problem, source: None };
        let text = std::str::from_utf8(wrapped).ok().filter(|text| is_ciphertext(text));
        let text = text.ok_or_else(|| damaged("the slot holds nothing that Vault has wrapped"))?;
        match self.transit().decrypt(Operation::Decrypt, text, label.as_bytes()).await {
            Ok(bytes) => SealKey::from_bytes(&bytes).map_err(|_| damaged("what Vault unwrapped is no root key")),
            Err(Error::NotAuthentic) => Err(damaged("the slot was not wrapped by this key for this store")),
            Err(error) => Err(error),
        }
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
