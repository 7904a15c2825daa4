//! Keys of a transit engine that never leave it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use kes_crypto::{DataKey, Plaintext, base64};
use kes_keystore::{Description, Engine, Error, Kept, KeyName, KeyStore, Operation, Page, Promises, Status, Value};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use vaultrs::api::transit::requests::{ListKeysRequest, ReadKeyRequest};
use zeroize::Zeroizing;

use crate::check::{self, Need};
use crate::config::EngineConfig;
use crate::session::Session;
use crate::transit::TransitKey;

const NEVER_LEAVES: &str = "its keys never leave the transit engine";

/// What a policy must grant, for errors.
const KEYS: &str = "grant create, read, update and delete on <engine>/keys/*, and list on <engine>/keys";

/// A transit engine of a Vault: keys are used in there, and nothing of them is ever here.
pub struct TransitEngine {
    session: Arc<Session>,
    engine: String,
    /// With a hyphen at its end, or empty.
    prefix: String,
    notices: Vec<String>,
    /// Names that have been seen here and not been deleted by us.
    known: Mutex<HashSet<KeyName>>,
}

/// How many names are remembered.
const MAX_KNOWN: usize = 100_000;

/// A key as transit describes it.
#[derive(Deserialize)]
struct Key {
    r#type: String,
    /// When each version was made, in seconds since the epoch.
    keys: BTreeMap<String, serde_json::Value>,
}

impl TransitEngine {
    pub(crate) async fn connect(config: EngineConfig) -> Result<Self, Error> {
        let session = Session::open(config.server).await?;
        let engine = config.engine.trim_matches('/').to_owned();
        let prefix = config.prefix.trim_matches('/').replace('/', "-");
        let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}-") };
        let need = |path: &str, capabilities| Need { path: format!("{engine}/{path}"), capabilities };
        let needs = [
            need(&format!("keys/{prefix}x"), &["create", "read", "update", "delete"][..]),
            need("keys", &["list"]),
            need(&format!("encrypt/{prefix}x"), &["update"]),
            need(&format!("decrypt/{prefix}x"), &["update"]),
            need(&format!("hmac/{prefix}x"), &["update"]),
        ];
        let mut notices = check::missing_capabilities(&session, &needs).await;
        if check::is_granted(&session, &format!("{engine}/encrypt/{prefix}x"), "create").await {
            notices.push(format!(
                "Vault permits to 'create' on {engine}/encrypt/*: with that a key which somebody deletes comes back as \
                 another key of the same name; grant 'update' alone"
            ));
        }
        Ok(Self { session, engine, prefix, notices, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, HashSet<KeyName>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to encrypt with a key that is not there: Vault would make one, if the policy lets it.
    async fn must_exist(&self, name: &KeyName) -> Result<(), Error> {
        if self.known().contains(name) {
            return Ok(());
        }
        self.look_up(Operation::Encrypt, name).await?.ok_or(Error::NotFound)?;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name.clone());
        Ok(())
    }

    fn name(&self, name: &KeyName) -> String {
        format!("{}{name}", self.prefix)
    }

    fn entry(&self, name: &KeyName) -> String {
        format!("transit key '{}/{}'", self.engine, self.name(name))
    }

    fn denied(&self, operation: Operation) -> Error {
        Error::Denied { store: self.describe(), operation, remedy: NEVER_LEAVES }
    }

    async fn look_up(&self, operation: Operation, name: &KeyName) -> Result<Option<Key>, Error> {
        let (mount, key) = (&self.engine, self.name(name));
        let answer = self.session.call(|| ReadKeyRequest { mount: mount.clone(), name: key.clone() }).await?;
        match (answer.status, answer.data::<Key>()) {
            (200, Ok(Some(key))) => Ok(Some(key)),
            (404, _) => Ok(None),
            _ => Err(check::refused(&self.session, &self.entry(name), operation, &answer, KEYS)),
        }
    }

    /// What became of a call that transit refused: it says 400 also for a key that is not there.
    async fn or_missing<T>(&self, operation: Operation, name: &KeyName, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(error @ (Error::Failed { .. } | Error::NotAuthentic | Error::Unauthorized { .. })) => {
                match self.look_up(operation, name).await {
                    Ok(None) => Err(Error::NotFound),
                    _ => Err(error),
                }
            }
            result => result,
        }
    }

    async fn set(
        &self,
        operation: Operation,
        name: &KeyName,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(), Error> {
        let path = format!("{}/keys/{}{path}", self.engine, self.name(name));
        let answer = self.session.call_json(http::Method::POST, &path, Some(body)).await?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(check::refused(&self.session, &self.entry(name), operation, &answer, KEYS)),
        }
    }
}

#[async_trait]
impl KeyStore for TransitEngine {
    fn describe(&self) -> String {
        format!("{} (keys stay in transit engine '{}')", self.session.describe(), self.engine)
    }

    fn promises(&self) -> Promises {
        Promises {
            atomic_create: Kept::No("of two who make a key at once both succeed, with the same key"),
            ..Promises::ALL
        }
    }

    async fn status(&self) -> Result<Status, Error> {
        let started = Instant::now();
        self.session.look().await?;
        Ok(Status { latency: started.elapsed() })
    }

    async fn create(&self, _: &KeyName, _: &[u8]) -> Result<(), Error> {
        Err(self.denied(Operation::Create))
    }

    async fn get(&self, _: &KeyName) -> Result<Value, Error> {
        Err(self.denied(Operation::Get))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.known().remove(name);
        if self.look_up(Operation::Delete, name).await?.is_none() {
            return Err(Error::NotFound);
        }
        self.set(Operation::Delete, name, "/config", &json!({"deletion_allowed": true})).await?;
        let path = format!("{}/keys/{}", self.engine, self.name(name));
        let answer = self.session.call_json(http::Method::DELETE, &path, None).await?;
        match answer.status {
            200 | 204 | 404 => Ok(()),
            _ => Err(check::refused(&self.session, &self.entry(name), Operation::Delete, &answer, KEYS)),
        }
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            keys: Vec<String>,
        }
        let answer = self.session.call(|| ListKeysRequest { mount: self.engine.clone() }).await?;
        let names = match (answer.status, answer.data::<Names>()) {
            (404, _) => Vec::new(),
            (200, Ok(names)) => names.map(|names| names.keys).unwrap_or_default(),
            _ => {
                let what = format!("transit engine '{}'", self.engine);
                return Err(check::refused(&self.session, &what, Operation::List, &answer, KEYS));
            }
        };
        let ours = names.iter().filter_map(|name| name.strip_prefix(&self.prefix));
        Ok(Page::select(ours.filter_map(|name| KeyName::parse(name).ok()), prefix, from, limit))
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    async fn close(&self) {
        self.session.close().await;
    }
}

#[async_trait]
impl Engine for TransitEngine {
    async fn create_key(&self, name: &KeyName) -> Result<(), Error> {
        if self.look_up(Operation::Create, name).await?.is_some() {
            return Err(Error::Exists);
        }
        self.set(Operation::Create, name, "", &json!({"type": "aes256-gcm96"})).await
    }

    async fn describe_key(&self, name: &KeyName) -> Result<Description, Error> {
        let key = self.look_up(Operation::Get, name).await?.ok_or(Error::NotFound)?;
        let algorithm = match key.r#type.as_str() {
            "aes256-gcm96" => "AES256",
            "chacha20-poly1305" | "xchacha20-poly1305" => "ChaCha20",
            _ => {
                let entry = format!("{}: {}", self.session.describe(), self.entry(name));
                let remedy = "the key is of a type that cannot seal; use aes256-gcm96";
                return Err(Error::Failed { entry, operation: Operation::Get, remedy, source: None });
            }
        };
        // The first version's time, while it is there.
        let created = key.keys.values().filter_map(serde_json::Value::as_i64).min().unwrap_or(0);
        let created_at = OffsetDateTime::from_unix_timestamp(created).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Ok(Description { algorithm, created_at })
    }

    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        kes_crypto::random(&mut *bytes).map_err(|why| Error::Failed {
            entry: self.entry(name),
            operation: Operation::Generate,
            remedy: "this machine has no random bytes",
            source: Some(Arc::new(why)),
        })?;
        let ciphertext = self.encrypt(name, &*bytes, context).await?;
        Ok(DataKey { plaintext: Plaintext::new(bytes.to_vec()), ciphertext })
    }

    async fn encrypt(&self, name: &KeyName, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        self.must_exist(name).await?;
        let key = self.name(name);
        let transit = TransitKey { session: &self.session, engine: &self.engine, key: &key };
        let sealed = transit.encrypt(Operation::Encrypt, plaintext, context).await;
        Ok(self.or_missing(Operation::Encrypt, name, sealed).await?.into_bytes())
    }

    async fn decrypt(&self, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
        let key = self.name(name);
        let transit = TransitKey { session: &self.session, engine: &self.engine, key: &key };
        let text = std::str::from_utf8(ciphertext).ok().filter(|text| crate::transit::is_ciphertext(text));
        let opened = match text {
            Some(text) => transit.decrypt(Operation::Decrypt, text, context).await,
            None => Err(Error::NotAuthentic),
        };
        let opened = self.or_missing(Operation::Decrypt, name, opened).await?;
        Ok(Plaintext::new(opened.to_vec()))
    }

    async fn mac(&self, name: &KeyName, message: &[u8]) -> Result<[u8; 32], Error> {
        #[derive(Deserialize)]
        struct Mac {
            hmac: Zeroizing<String>,
        }
        let path = format!("{}/hmac/{}/sha2-256", self.engine, self.name(name));
        // The first version, whatever came later: the sum must always be the same.
        let body = json!({"input": base64::encode(message), "key_version": 1});
        let answer = self.session.call_json(http::Method::POST, &path, Some(&body)).await?;
        let sum = answer.data::<Mac>().ok().flatten().and_then(|mac| {
            let sum = Zeroizing::new(base64::decode(mac.hmac.strip_prefix("vault:v1:")?.as_bytes()).ok()?);
            <[u8; 32]>::try_from(sum.as_slice()).ok()
        });
        let remedy = "grant 'update' on <engine>/hmac/*";
        let result =
            sum.ok_or_else(|| check::refused(&self.session, &self.entry(name), Operation::Mac, &answer, remedy));
        self.or_missing(Operation::Mac, name, result).await
    }
}
