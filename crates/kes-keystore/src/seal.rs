//! Keys that are held elsewhere and wrap the root key of a sealed store: AWS KMS, Azure Key Vault, Vault's transit.

use async_trait::async_trait;
use kes_crypto::sealing::SealKey;

use crate::Error;

/// A key outside of this process that wraps 32 bytes and unwraps them again.
///
/// A backend crate that can do so exposes `connect_seal()`, which yields an `Arc<dyn Seal>`. One call is one round trip,
/// made when a sealed store is opened or its slots are changed, never for a key. Nothing here assumes a network: a
/// PKCS#11 token or a TPM fits as well.
#[async_trait]
pub trait Seal: Send + Sync + 'static {
    /// The word under which its slots stand in the slot table: `aws`, `azure`, `vault`, … Always the same.
    fn kind(&self) -> &'static str;

    /// Which key it is, in one line without secrets; stored in the slot table and shown to operators.
    fn describe(&self) -> String;

    /// Wraps the root key. The label names the store that it is for; where the service takes associated data (an
    /// encryption context), the label is to be bound in. What comes back may be any bytes, up to 8 KiB.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Unauthorized`] or another that says what to do.
    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error>;

    /// Unwraps what [`Seal::wrap`] made for the same label.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it was not wrapped by this key for this label; else as [`Seal::wrap`].
    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error>;
}
