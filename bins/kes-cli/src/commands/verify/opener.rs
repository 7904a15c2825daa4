//! Who opens the sealed keys: a server, or the keys of a store read directly.

use std::collections::HashMap;
use std::sync::Arc;

use kes_client::{Client, KeyType, Reason};
use kes_config::keystore::Backend;
use kes_config::{ErrorKind, File};
use kes_crypto::{Error as CryptoError, Form, KeyVersion, Layout};
use kes_keystore::{ErrorKind as StoreErrorKind, KeyName, KeyStore};

use super::sealed::Sealed;
use crate::failure::{Failure, Outcome, Status, chain};
use crate::policies;

/// What became of one sealed key.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// The cipher that seals it, if that is known.
    pub(super) cipher: Option<&'static str>,
    /// Why it does not open.
    pub(super) problem: Option<Problem>,
}

/// Why a sealed key does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// For programs: `no-such-key`, `not-authentic`, `other-key`, `wrong-context`, `not-authorized`, `malformed`,
    /// `not-of-kes`, `unreadable-key`, `no-connection`, `store-unavailable`, `failed`.
    pub(super) code: &'static str,
    /// A sentence.
    pub(super) text: String,
    /// The exit status if all failures are of this kind.
    pub(super) status: Status,
    /// Whether there is no point in going on.
    pub(super) is_final: bool,
}

impl Problem {
    fn new(code: &'static str, text: impl Into<String>, status: Status) -> Self {
        Self { code, text: text.into(), status, is_final: false }
    }

    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::new("malformed", text, Status::General)
    }
}

/// A running server.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
}

impl Server {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The cipher of a key, if one may ask.
    pub(super) async fn cipher(&self, key: &str) -> Option<&'static str> {
        let info = self.client.describe_key(key).await.ok()?;
        KeyType::parse_import(&info.algorithm).map(KeyType::algorithm)
    }

    /// Opens one; the plaintext is dropped, which wipes it.
    pub(super) async fn open(&self, sealed: &Sealed) -> Option<Problem> {
        let Err(error) = self.client.decrypt(&sealed.key, &sealed.ciphertext, &sealed.context).await else {
            return None;
        };
        if error.reason() == Some(Reason::Decrypt) {
            let without = async || self.client.decrypt(&sealed.key, &sealed.ciphertext, b"").await.is_ok();
            let is_context = !sealed.context.is_empty() && without().await;
            return Some(not_opened(sealed, is_context, None));
        }
        let failure = Failure::from(error);
        let code = match failure.status {
            Status::NotFound => return Some(no_such_key(&sealed.key)),
            Status::NotAuthorized => "not-authorized",
            Status::Connection => "no-connection",
            Status::StoreUnavailable => "store-unavailable",
            _ => "failed",
        };
        let is_final = failure.status == Status::Connection;
        Some(Problem { is_final, ..Problem::new(code, failure.text, failure.status) })
    }
}

/// The keys of a store, each read once.
pub(super) struct Store {
    store: Arc<dyn KeyStore>,
    keys: HashMap<String, Result<KeyVersion, Problem>>,
}

impl Store {
    /// Opens the store of a configuration. Nothing is written, and a folder that is not there is not made.
    pub(super) async fn open(config: &str) -> Outcome<Self> {
        let refused = |error: &kes_config::Error| {
            let status = if error.kind() == ErrorKind::Store { Status::StoreUnavailable } else { Status::General };
            Failure { status, ..policies::refused(error) }
        };
        let loaded = File::read(config).and_then(|file| file.load()).map_err(|error| refused(&error))?;
        if let Backend::Fs(fs) = loaded.config.store.backend()
            && !fs.path.is_dir()
        {
            let failure = Failure::new(format!("the store's folder {} is not there", fs.path.display()));
            return Err(Failure { status: Status::StoreUnavailable, ..failure }
                .hint("a relative path is taken from the current folder"));
        }
        let store = loaded.config.open_store_unchanged().await.map_err(|error| refused(&error))?;
        Ok(Self { store, keys: HashMap::new() })
    }

    /// Opens one; the plaintext is dropped, which wipes it.
    pub(super) async fn open_sealed(&mut self, sealed: &Sealed, form: &Form) -> Opened {
        if !self.keys.contains_key(&sealed.key) {
            let key = self.fetch(&sealed.key).await;
            self.keys.insert(sealed.key.clone(), key);
        }
        let key = match &self.keys[&sealed.key] {
            Ok(version) => version.key(),
            Err(problem) => {
                return Opened { cipher: form.label.map(KeyType::algorithm), problem: Some(problem.clone()) };
            }
        };
        // The label counts for keys that have no cipher of their own.
        let cipher = match (key.key_type(), form.label) {
            (KeyType::Legacy, Some(label)) => label.algorithm(),
            (own, _) => own.algorithm(),
        };
        let problem = match key.open(&sealed.ciphertext, &sealed.context) {
            Ok(_) => None,
            Err(CryptoError::NotAuthentic) => {
                let is_context = !sealed.context.is_empty() && key.open(&sealed.ciphertext, b"").is_ok();
                Some(not_opened(sealed, is_context, Some(&Form::key_id(key))))
            }
            Err(error) => Some(Problem::new("failed", chain(&error), Status::General)),
        };
        Opened { cipher: Some(cipher), problem }
    }

    async fn fetch(&self, key: &str) -> Result<KeyVersion, Problem> {
        let name = KeyName::parse(key).map_err(|error| Problem::malformed(error.to_string()))?;
        let value = self.store.get(&name).await.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound => no_such_key(key),
            StoreErrorKind::Damaged => Problem::new("unreadable-key", chain(&error), Status::General),
            _ => Problem::new("store-unavailable", chain(&error), Status::StoreUnavailable),
        })?;
        KeyVersion::parse(value.expose()).map_err(|error| {
            let text = format!("the key '{key}' is there, but cannot be read: {}", chain(&error));
            Problem::new("unreadable-key", text, Status::General)
        })
    }
}

fn no_such_key(key: &str) -> Problem {
    Problem::new("no-such-key", format!("there is no key '{key}'"), Status::NotFound)
}

/// Why a ciphertext is not authentic, as far as it can be told. `held` is the id of the key that is there.
fn not_opened(sealed: &Sealed, is_context: bool, held: Option<&str>) -> Problem {
    let form = Form::of(&sealed.ciphertext);
    let key = &sealed.key;
    let (code, text) = match (form.layout, &form.key_id, held) {
        _ if is_context => {
            ("wrong-context", "it opens without a context: the context is not the one it was sealed with".to_owned())
        }
        (Layout::Dare, ..) => {
            ("not-of-kes", "MinIO before 2021-05-11 sealed it with its own master key, without KES".to_owned())
        }
        (Layout::VaultTransit, ..) => {
            ("not-of-kes", "Vault sealed it for a MinIO of before 2021, without KES".to_owned())
        }
        (_, Some(made_by), Some(held)) if made_by != held => {
            ("other-key", format!("another key of the name '{key}' sealed it: it has id {made_by}, here is {held}"))
        }
        (_, Some(made_by), None) => {
            ("not-authentic", format!("it is not authentic: the key with id {made_by} sealed it; is that '{key}'?"))
        }
        _ => ("not-authentic", format!("it is not authentic: another key than '{key}', another context, or damage")),
    };
    Problem::new(code, text, Status::General)
}
