//! Keys that are held elsewhere and wrap the root key of a sealed store: AWS KMS, Azure Key Vault, Vault's transit.

use async_trait::async_trait;
use kes_crypto::sealing::SealKey;

use crate::Error;

/// A key outside of this process that wraps 32 bytes and unwraps them again.
///
/// A backend crate that can do so exposes `connect_seal()`, which yields an `Arc<dyn Seal>`; [`SealingKey::external`]
/// makes a sealing key of it. One call is one round trip, made when a sealed store is opened or its slots are changed,
/// never for a key. Nothing here assumes a network: a PKCS#11 token or a TPM fits as well. Deadlines are the caller's.
///
/// A slot of the [slot table](crate::sealed) keeps three things of such a key, and that is all there will ever be of it: the
/// [kind](Seal::kind), the [description](Seal::describe) of the day the slot was made, for people, and what
/// [wrap](Seal::wrap) returned. So whatever unwrapping needs beside the configuration, such as the version of the key,
/// belongs into those bytes.
///
/// ```
/// use async_trait::async_trait;
/// use kes_crypto::sealing::SealKey;
/// use kes_keystore::{Error, Seal};
///
/// /// A token that holds one key, stood in for by the key itself.
/// struct Token {
///     key: SealKey,
/// }
///
/// #[async_trait]
/// impl Seal for Token {
///     fn kind(&self) -> &'static str {
///         "my-token"
///     }
///
///     fn describe(&self) -> String {
///         "Token: slot 0".to_owned()
///     }
///
///     async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error> {
///         // The label is bound in: what was wrapped for one store does not open another.
///         Ok(self.key.seal("my-token", label.as_bytes(), root.expose()).expect("random bytes"))
///     }
///
///     async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error> {
///         let damaged = || Error::Damaged { entry: self.describe(), problem: "not wrapped by it", source: None };
///         let root = self.key.open("my-token", label.as_bytes(), wrapped).map_err(|_| damaged())?;
///         SealKey::from_bytes(root.expose()).map_err(|_| damaged())
///     }
/// }
/// # use std::sync::Arc;
/// # use kes_keystore::{KeyStore, memory, sealed::{NewSlot, SealingKey, Store, Unlocked}};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// # let store: Arc<dyn KeyStore> = Arc::new(memory::Store::default());
/// # let token = || SealingKey::external("config", Arc::new(Token { key: SealKey::from_bytes(&[7; 32]).unwrap() }));
/// # Unlocked::init(store.clone(), vec![NewSlot::of(token())]).await.unwrap();
/// # Store::open(store, vec![token()]).await.unwrap();
/// # });
/// ```
///
/// [`SealingKey::external`]: crate::sealed::SealingKey::external
#[async_trait]
pub trait Seal: Send + Sync + 'static {
    /// The word under which its slots stand in the slot table: `aws`, `azure`, `vault`, … Always the same, and none of
    /// `passphrase`, `key` and `recovery`. Only slots of this word are tried with it.
    fn kind(&self) -> &'static str;

    /// Which key it is, in one line without secrets; stored in the slot table and shown to operators.
    fn describe(&self) -> String;

    /// Wraps the root key. The label, `kes-seal:` and 32 hex digits, names the store that it is for; where the service
    /// takes associated data (an encryption context), the label is to be bound in. What comes back may be any bytes, up
    /// to 1 KiB: all slots together must fit into an entry of the smallest store.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Unauthorized`] or another that says what to do.
    async fn wrap(&self, label: &str, root: &SealKey) -> Result<Vec<u8>, Error>;

    /// Unwraps what [`Seal::wrap`] made for the same label. It is called for every slot of its [kind](Seal::kind), those of
    /// other keys of that kind among them.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it was not wrapped by this key for this label: another slot is tried then. Any other error
    /// leaves open whether it was; if no other slot opens either, it is what the operator is told.
    async fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<SealKey, Error>;

    /// Gives back what it holds elsewhere, such as a login. Called once, when the store that was opened with it is
    /// [closed](crate::KeyStore::close).
    async fn close(&self) {}
}
