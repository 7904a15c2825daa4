//! Keys as values of a key/value engine.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use kes_keystore::{Error, Kept, KeyName, KeyStore, Operation, Page, Promises, Status, Value};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use vaultrs::api::{kv1, kv2};
use zeroize::Zeroizing;

use crate::check;
use crate::config::{Config, Transit, Version};
use crate::session::Session;
use crate::transit::{self, TransitKey};
use crate::wire::Answer;

/// Longest value: Vault's integrated storage takes entries of 1 MiB, and transit makes a value a third longer.
const MAX_VALUE_LEN: usize = 512 << 10;

/// A key/value engine of a Vault as key store.
pub struct Store {
    session: Arc<Session>,
    engine: String,
    version: Version,
    /// With a slash at its end, or empty.
    folder: String,
    transit: Option<Transit>,
    notices: Vec<String>,
}

/// What stands under a name.
enum Found {
    Nothing,
    /// A version that was deleted and can be brought back.
    Deleted,
    Value(Zeroizing<String>),
    /// An entry without the member that would be the key.
    Foreign,
}

impl Store {
    pub(crate) async fn connect(config: Config) -> Result<Self, Error> {
        let trim = |path: &str| path.trim_matches('/').to_owned();
        let session = Session::open(config.server).await?;
        let prefix = trim(&config.prefix);
        let mut store = Self {
            session,
            engine: trim(&config.engine),
            version: config.version,
            folder: if prefix.is_empty() { prefix } else { format!("{prefix}/") },
            transit: config.transit.map(|transit| Transit { engine: trim(&transit.engine), key: transit.key }),
            notices: Vec::new(),
        };
        check::version(&store.session, &store.engine, store.version).await?;
        store.notices = check::missing_capabilities(&store.session, &store.needs()).await;
        Ok(store)
    }

    /// The paths that it uses, each with what it must be allowed there.
    fn needs(&self) -> Vec<check::Need> {
        let (engine, folder) = (&self.engine, &self.folder);
        let need = |path: String, capabilities: &'static [&'static str]| check::Need { path, capabilities };
        let mut needs = match self.version {
            Version::V1 => vec![
                need(format!("{engine}/{folder}x"), &["create", "read", "delete"]),
                need(format!("{engine}/{folder}"), &["list"]),
            ],
            Version::V2 => vec![
                need(format!("{engine}/data/{folder}x"), &["create", "read"]),
                need(format!("{engine}/metadata/{folder}x"), &["delete"]),
                need(format!("{engine}/metadata/{folder}"), &["list"]),
            ],
        };
        if let Some(Transit { engine, key }) = &self.transit {
            needs.push(need(format!("{engine}/encrypt/{key}"), &["update"]));
            needs.push(need(format!("{engine}/decrypt/{key}"), &["update"]));
        }
        needs
    }

    fn path(&self, name: &KeyName) -> String {
        format!("{}{name}", self.folder)
    }

    /// How an entry is named in errors.
    fn entry(&self, name: &KeyName) -> String {
        format!("{}: entry '{}/{}'", self.session.describe(), self.engine, self.path(name))
    }

    fn failed(&self, entry: String, operation: Operation, answer: &Answer) -> Error {
        let source = Some(Arc::new(answer.refusal()) as _);
        match answer.status {
            403 => {
                let remedy = match self.version {
                    Version::V1 => {
                        "grant create, read and delete on <engine>/<prefix>/*, and list on <engine>/<prefix>"
                    }
                    Version::V2 => {
                        "grant create and read on <engine>/data/<prefix>/*, delete and list on <engine>/metadata/<prefix>/*"
                    }
                };
                Error::Unauthorized { entry, remedy, source }
            }
            _ => {
                let remedy = "check the mount path, the version and the state of the K/V engine";
                Error::Failed { entry, operation, remedy, source }
            }
        }
    }

    fn transit(&self) -> Option<TransitKey<'_>> {
        let Transit { engine, key } = self.transit.as_ref()?;
        Some(TransitKey { session: &self.session, engine, key })
    }

    async fn find(&self, operation: Operation, name: &KeyName) -> Result<Found, Error> {
        let (mount, path) = (&self.engine, self.path(name));
        let (answer, data) = match self.version {
            Version::V1 => {
                let read = || kv1::requests::GetSecretRequest { mount: mount.clone(), path: path.clone() };
                let answer = self.session.call(read).await?;
                let data = answer.data::<Secrets>().map(|data| data.map(|data| data.0));
                (answer, data)
            }
            // Always the first version: a key never has another value.
            Version::V2 => {
                let read =
                    || kv2::requests::ReadSecretRequest { mount: mount.clone(), path: path.clone(), version: Some(1) };
                let answer = self.session.call(read).await?;
                let data = answer.data::<Versioned>().map(|data| match data {
                    Some(Versioned { data: Some(data), .. }) => Some(data.0),
                    Some(Versioned { data: None, .. }) => Some(Vec::new()),
                    None => None,
                });
                (answer, data)
            }
        };
        match (answer.status, data) {
            // 404 with data: there is an entry, and its version was deleted or destroyed.
            (404, Ok(Some(_))) if self.version == Version::V2 => Ok(Found::Deleted),
            (404, _) => Ok(Found::Nothing),
            (200, Ok(Some(members))) => {
                let member = members.into_iter().find(|(member, _)| member == name.as_str());
                Ok(member.map_or(Found::Foreign, |(_, value)| Found::Value(value)))
            }
            (200, Ok(None)) => Ok(Found::Foreign),
            _ => Err(self.failed(self.entry(name), operation, &answer)),
        }
    }

    fn damaged(&self, name: &KeyName, problem: &'static str) -> Error {
        Error::Damaged { entry: self.entry(name), problem, source: None }
    }

    fn soft_deleted(&self, name: &KeyName) -> Error {
        Error::Failed {
            entry: self.entry(name),
            operation: Operation::Create,
            remedy: "the entry was deleted and can be brought back: run 'vault kv undelete -versions=1', or give it up \
                     with 'vault kv metadata delete'",
            source: None,
        }
    }

    async fn write(&self, name: &KeyName, text: &str) -> Result<Answer, Error> {
        let (mount, path) = (&self.engine, self.path(name));
        match self.version {
            Version::V1 => {
                let body = Zeroizing::new(json!({ name.as_str(): text }).to_string().into_bytes());
                let write = || kv1::requests::SetSecretRequest {
                    mount: mount.clone(),
                    path: path.clone(),
                    data: body.to_vec(),
                };
                self.session.call(write).await
            }
            Version::V2 => {
                let write = || kv2::requests::SetSecretRequest {
                    mount: mount.clone(),
                    path: path.clone(),
                    data: json!({ name.as_str(): text }),
                    options: Some(kv2::requests::SetSecretRequestOptions { cas: 0 }),
                };
                self.session.call(write).await
            }
        }
    }

    /// What a write that was not plainly accepted has come to. An answer may have been lost, and the write been repeated.
    async fn settle(&self, name: &KeyName, text: &str, answer: &Answer) -> Result<(), Error> {
        match self.find(Operation::Create, name).await? {
            Found::Value(stored) if *stored == *text => Ok(()),
            Found::Value(_) | Found::Foreign => Err(Error::Exists),
            Found::Deleted => Err(self.soft_deleted(name)),
            Found::Nothing => Err(self.failed(self.entry(name), Operation::Create, answer)),
        }
    }
}

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        self.session.describe()
    }

    fn promises(&self) -> Promises {
        const TEXT: Kept = Kept::No("Vault keeps JSON text");
        const BLIND: Kept = Kept::No("Vault answers a deletion of nothing as any other");
        let all =
            Promises { any_bytes: TEXT, delete_tells_missing: BLIND, max_value_len: MAX_VALUE_LEN, ..Promises::ALL };
        match self.version {
            Version::V1 => Promises {
                atomic_create: Kept::No("K/V v1 has no check-and-set: the policy must not grant 'update'"),
                honest_create: Kept::No("of two who create at once the second overwrites the first"),
                ..all
            },
            Version::V2 => all,
        }
    }

    async fn status(&self) -> Result<Status, Error> {
        let started = Instant::now();
        self.session.look().await?;
        Ok(Status { latency: started.elapsed() })
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        if value.len() > MAX_VALUE_LEN {
            return Err(Error::TooLarge { entry: self.entry(name), len: value.len(), limit: MAX_VALUE_LEN });
        }
        match self.find(Operation::Create, name).await? {
            Found::Nothing => {}
            Found::Deleted => return Err(self.soft_deleted(name)),
            Found::Value(_) | Found::Foreign => return Err(Error::Exists),
        }
        let text = match self.transit() {
            Some(transit) => Zeroizing::new(transit.encrypt(Operation::Create, value, b"").await?),
            None => match std::str::from_utf8(value) {
                Ok(text) => Zeroizing::new(text.to_owned()),
                Err(_) => return Err(self.damaged(name, "the value is no text")),
            },
        };
        let answer = self.write(name, &text).await?;
        // Success is these two and nothing else: a key that may not be there must not be used.
        if answer.is_success() {
            return Ok(());
        }
        self.settle(name, &text, &answer).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let text = match self.find(Operation::Get, name).await? {
            Found::Value(text) => text,
            Found::Nothing | Found::Deleted => return Err(Error::NotFound),
            Found::Foreign => return Err(self.damaged(name, "it has no member of its own name")),
        };
        // Values from before transit was switched on are plain, and stay readable.
        if !transit::is_ciphertext(&text) {
            return Ok(Value::new(text.as_bytes().to_vec()));
        }
        let Some(transit) = self.transit() else {
            return Err(Error::Failed {
                entry: self.entry(name),
                operation: Operation::Get,
                remedy: "the value is encrypted by a transit engine: configure 'keystore.vault.transit'",
                source: None,
            });
        };
        match transit.decrypt(Operation::Get, &text, b"").await {
            Ok(value) => Ok(Value::new(value.to_vec())),
            Err(Error::NotAuthentic) => Err(self.damaged(name, "its transit key does not open the value")),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        let (mount, path) = (&self.engine, self.path(name));
        let answer = match self.version {
            Version::V1 => {
                let delete = || kv1::requests::DeleteSecretRequest { mount: mount.clone(), path: path.clone() };
                self.session.call(delete).await?
            }
            Version::V2 => {
                let delete = || kv2::requests::DeleteSecretMetadataRequest { mount: mount.clone(), path: path.clone() };
                self.session.call(delete).await?
            }
        };
        match answer.status {
            200 | 204 | 404 => Ok(()),
            _ => Err(self.failed(self.entry(name), Operation::Delete, &answer)),
        }
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        let (mount, path) = (&self.engine, self.folder.trim_end_matches('/'));
        let (mount, path) = (|| mount.clone(), || path.to_owned());
        let answer = match self.version {
            Version::V1 => {
                self.session.call(|| kv1::requests::ListSecretRequest { mount: mount(), path: path() }).await?
            }
            Version::V2 => {
                self.session.call(|| kv2::requests::ListSecretsRequest { mount: mount(), path: path() }).await?
            }
        };
        // Departs from upstream: an empty folder is answered 404, which is a list of nothing and no error.
        let names = match (answer.status, answer.data::<Names>()) {
            (404, _) => Vec::new(),
            (200, Ok(names)) => names.map(|names| names.keys).unwrap_or_default(),
            _ => return Err(self.failed(self.describe(), Operation::List, &answer)),
        };
        // Names of folders end in a slash, and no key name does.
        let names = names.iter().filter_map(|name| KeyName::parse(name).ok());
        Ok(Page::select(names, prefix, from, limit))
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    async fn close(&self) {
        self.session.close().await;
    }
}

#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Versioned {
    data: Option<Secrets>,
}

/// The members of an entry that are text; they are secret.
struct Secrets(Vec<(String, Zeroizing<String>)>);

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?.into_iter();
        let texts = members.filter_map(|(member, value)| match value {
            Json::String(text) => Some((member, Zeroizing::new(text))),
            _ => None,
        });
        Ok(Self(texts.collect()))
    }
}
