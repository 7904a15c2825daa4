//! A key of KMS that never leaves it, and stands for all keys of kes.
//!
//! The name of a key is an alias of the one KMS key, `alias/<prefix><name>`, and part of the encryption context of all that
//! is sealed under it. So KMS itself knows which names there are, tells them apart, and one call to it does everything:
//! whether the name exists, is allowed and fits the ciphertext.
//!
//! A ciphertext is one byte and what KMS made: `1` before a ciphertext of KMS alone, which holds up to 4 KiB; `2` before the
//! length (two bytes, big endian) and the ciphertext of a data key, and what that has sealed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::MacAlgorithmSpec;
use kes_crypto::sealing::digest;
use kes_crypto::{DataKey, KeyType, Plaintext, SecretKey, base64};
use kes_keystore::{Description, Engine, Error, Kept, KeyName, KeyStore, Operation, Page, Promises, Status, Value};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::account::unusable;
use crate::config::EngineConfig;
use crate::failure::Failure;
use crate::kms::{Context, Kms, Sealed};
use crate::state::fault_of;

const NEVER_LEAVES: &str = "its key never leaves AWS KMS";

const NO_MAC: &str =
    "KMS needs a key of its own for that: make one with '--key-spec HMAC_256' and name it as 'mac_key'";

/// Before a ciphertext of KMS, and before one of a data key.
const DIRECT: u8 = 1;
const ENVELOPE: u8 = 2;

/// Longest plaintext that KMS encrypts itself.
const MAX_DIRECT_LEN: usize = 4096;

/// How long KMS may take to know an alias everywhere. Meanwhile the key is asked for by its own name.
const SPREAD: Duration = Duration::from_secs(300);

/// How often the making of an alias is tried. It has no token: the SDK could not tell its own success from another's.
const CREATE_ATTEMPTS: u32 = 4;

/// How often it is looked whose an alias is that exists and is not known yet.
const LOOKS: u32 = 3;
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Aliases on one page of a list.
const PAGE: i32 = 100;

/// A key of AWS KMS: it is used in there, and nothing of it is ever here.
pub struct KmsEngine {
    pub(crate) kms: Kms,
    /// The ARN of the key.
    pub(crate) arn: String,
    pub(crate) mac_key: Option<String>,
    pub(crate) prefix: String,
    notices: Vec<String>,
    /// Names that were made here not long ago.
    young: Mutex<HashMap<KeyName, Instant>>,
}

impl KmsEngine {
    pub(crate) async fn connect(config: EngineConfig) -> Result<Self, Error> {
        let EngineConfig { service, key, mac_key, prefix, check } = config;
        let mac_key = mac_key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let others: Vec<&str> = mac_key.iter().map(String::as_str).collect();
        let kms = Kms::open(service, &key, &others).await?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
        if !prefix.bytes().all(allowed) || prefix.starts_with("aws/") || prefix.len() > 128 {
            let remedy =
                "'prefix' is what names of aliases begin with: at most 128 letters, digits and /_-, not 'aws/'";
            return Err(unusable(kms.describe(), remedy, None));
        }
        kms.account.probe(&kms.describe()).await?;
        let found = kms.look_up(&kms.key).await;
        let found = found.map_err(|failure| kms.error(kms.describe(), Operation::Status, failure))?;
        if let Some(fault) = fault_of(&found) {
            return Err(unusable(kms.describe(), fault.remedy(), None));
        }
        let Some(arn) = found.arn else {
            return Err(unusable(kms.describe(), "KMS does not tell the ARN of the key", None));
        };
        let mut engine = Self { kms, arn, mac_key, prefix, notices: Vec::new(), young: Mutex::default() };
        if check {
            engine.notices = crate::check::engine(&engine).await?;
        }
        Ok(engine)
    }

    fn young(&self) -> MutexGuard<'_, HashMap<KeyName, Instant>> {
        self.young.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alias(&self, name: &str) -> String {
        format!("alias/{}{name}", self.prefix)
    }

    /// What KMS is asked for: the alias, which it may not know yet if it has just been made.
    fn key_id(&self, name: &KeyName) -> String {
        let mut young = self.young();
        young.retain(|_, made| made.elapsed() < SPREAD);
        if young.contains_key(name) { self.arn.clone() } else { self.alias(name.as_str()) }
    }

    /// What is bound into a ciphertext. The context of the request only as its hash: AWS logs it.
    pub(crate) fn context(&self, name: &str, context: &[u8]) -> Context {
        let hash = base64::encode(&digest(context));
        Context::from([("kes:key".to_owned(), format!("{}{name}", self.prefix)), ("kes:context".to_owned(), hash)])
    }

    fn entry(&self, name: &KeyName) -> String {
        format!("{}: '{}'", self.describe(), self.alias(name.as_str()))
    }

    fn error(&self, operation: Operation, name: &KeyName, failure: Failure) -> Error {
        match failure.is("NotFoundException") {
            true => Error::NotFound,
            false => self.kms.error(self.entry(name), operation, failure),
        }
    }

    /// Refuses what another key has done: the alias of somebody else is none of our names.
    fn must_be_ours(&self, operation: Operation, name: &KeyName, key: &str) -> Result<(), Error> {
        if key == self.arn {
            return Ok(());
        }
        let remedy =
            "the alias belongs to another KMS key than the configured one: choose another name, or another 'prefix'";
        Err(Error::Failed { entry: self.entry(name), operation, remedy, source: None })
    }

    fn denied(&self, operation: Operation, remedy: &'static str) -> Error {
        Error::Denied { store: self.describe(), operation, remedy }
    }

    async fn data_key(
        &self,
        operation: Operation,
        name: &KeyName,
        context: &[u8],
    ) -> Result<(zeroize::Zeroizing<Vec<u8>>, Vec<u8>), Error> {
        let made = self.kms.data_key(&self.key_id(name), self.context(name.as_str(), context)).await;
        let (key, Sealed { blob, by }) = made.map_err(|failure| self.error(operation, name, failure))?;
        self.must_be_ours(operation, name, &by)?;
        Ok((key, blob))
    }

    async fn open(&self, name: &KeyName, blob: &[u8], context: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
        let opened = self.kms.decrypt(&self.key_id(name), blob, self.context(name.as_str(), context)).await;
        match opened.map_err(|failure| self.error(Operation::Decrypt, name, failure))? {
            Some((plaintext, by)) => self.must_be_ours(Operation::Decrypt, name, &by).map(|()| plaintext),
            None => Err(Error::NotAuthentic),
        }
    }

    /// Refuses an alias that exists and is somebody else's.
    async fn look_whose(&self, name: &KeyName) -> Result<(), Error> {
        for attempt in 1..=LOOKS {
            match self.kms.look_up(&self.alias(name.as_str())).await {
                Ok(found) => return self.must_be_ours(Operation::Create, name, found.arn().unwrap_or_default()),
                Err(failure) if failure.is("NotFoundException") => tokio::time::sleep(LOOK_PAUSE * attempt).await,
                Err(failure) => return Err(self.error(Operation::Create, name, failure)),
            }
        }
        // KMS has it and does not know it everywhere yet: it was made just now, and that was us.
        Ok(())
    }

    /// Makes an alias, once.
    pub(crate) async fn make_alias(&self, name: &str) -> Result<(), Failure> {
        let once = aws_sdk_kms::config::Builder::new().retry_config(RetryConfig::disabled());
        let make = self.kms.client.create_alias().alias_name(self.alias(name)).target_key_id(&self.arn);
        let made = make.customize().config_override(once).send().await;
        made.map(drop).map_err(|why| self.kms.failure(&why))
    }

    pub(crate) async fn remove_alias(&self, name: &str) -> Result<(), Failure> {
        let removed = self.kms.client.delete_alias().alias_name(self.alias(name)).send().await;
        removed.map(drop).map_err(|why| self.kms.failure(&why))
    }

    /// HMAC under the key for that.
    pub(crate) async fn sum(&self, message: Vec<u8>) -> Result<[u8; 32], Failure> {
        let make = self.kms.client.generate_mac().mac_algorithm(MacAlgorithmSpec::HmacSha256);
        let make = make.set_key_id(self.mac_key.clone()).message(Blob::new(message));
        let made = make.send().await.map_err(|why| self.kms.failure(&why))?;
        let sum = made.mac().and_then(|mac| <[u8; 32]>::try_from(mac.as_ref()).ok());
        sum.ok_or_else(|| self.kms.nothing("KMS made no HMAC of 32 bytes"))
    }

    /// Names that the key has as aliases, from one page to the next.
    pub(crate) async fn aliases(&self, marker: Option<String>) -> Result<(Vec<String>, Option<String>), Failure> {
        let list = self.kms.client.list_aliases().key_id(&self.arn).limit(PAGE).set_marker(marker);
        let page = list.send().await.map_err(|why| self.kms.failure(&why))?;
        let names = page.aliases().iter().filter_map(|alias| alias.alias_name()).map(ToOwned::to_owned).collect();
        Ok((names, page.next_marker.filter(|marker| !marker.is_empty())))
    }
}

#[async_trait]
impl KeyStore for KmsEngine {
    fn describe(&self) -> String {
        self.kms.describe()
    }

    fn promises(&self) -> Promises {
        Promises {
            atomic_create: Kept::No("of two who make a key at once both may succeed, with the same key"),
            ..Promises::ALL
        }
    }

    async fn status(&self) -> Result<Status, Error> {
        let started = Instant::now();
        self.kms.account.probe(&self.describe()).await?;
        Ok(Status { latency: started.elapsed() })
    }

    async fn create(&self, _: &KeyName, _: &[u8]) -> Result<(), Error> {
        Err(self.denied(Operation::Create, NEVER_LEAVES))
    }

    async fn get(&self, _: &KeyName) -> Result<Value, Error> {
        Err(self.denied(Operation::Get, NEVER_LEAVES))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        let found = self.kms.look_up(&self.key_id(name)).await;
        let found = found.map_err(|failure| self.error(Operation::Delete, name, failure))?;
        self.must_be_ours(Operation::Delete, name, found.arn().unwrap_or_default())?;
        let removed = self.remove_alias(name.as_str()).await;
        self.young().remove(name);
        match removed {
            // It was there: this is the second try of one whose answer was lost.
            Err(failure) if failure.is("NotFoundException") => Ok(()),
            removed => removed.map_err(|failure| self.error(Operation::Delete, name, failure)),
        }
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        let (mut names, mut marker) = (Vec::new(), None);
        let begin = self.alias("");
        loop {
            let page = self.aliases(marker.clone()).await;
            let (found, next) = page.map_err(|failure| self.kms.error(self.describe(), Operation::List, failure))?;
            let ours = found.iter().filter_map(|alias| alias.strip_prefix(&begin));
            names.extend(ours.filter_map(|name| KeyName::parse(name).ok()));
            if next.is_none() || next == marker {
                names.extend(self.young().keys().cloned());
                return Ok(Page::select(names, prefix, from, limit));
            }
            marker = next;
        }
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    fn throttled(&self) -> u64 {
        self.kms.account.judge.throttled()
    }
}

#[async_trait]
impl Engine for KmsEngine {
    async fn create_key(&self, name: &KeyName) -> Result<(), Error> {
        let mut lost = false;
        for attempt in 1.. {
            let failure = match self.make_alias(name.as_str()).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            match &failure {
                // Ours, if an answer was lost on the way; of two who are at it at once either may think so.
                Failure::Refused(refusal) if refusal.is("AlreadyExistsException") && lost => {
                    self.look_whose(name).await?;
                    break;
                }
                Failure::Refused(refusal) if refusal.is("AlreadyExistsException") => return Err(Error::Exists),
                Failure::Unreachable { .. } if attempt < CREATE_ATTEMPTS => {
                    lost = true;
                    tokio::time::sleep(Duration::from_millis(200) * attempt).await;
                }
                _ => return Err(self.kms.error(self.entry(name), Operation::Create, failure)),
            }
        }
        self.young().insert(name.clone(), Instant::now());
        Ok(())
    }

    async fn describe_key(&self, name: &KeyName) -> Result<Description, Error> {
        let found = self.kms.look_up(&self.key_id(name)).await;
        let found = found.map_err(|failure| self.error(Operation::Get, name, failure))?;
        self.must_be_ours(Operation::Get, name, found.arn().unwrap_or_default())?;
        if let Some(fault) = fault_of(&found) {
            let (entry, remedy) = (self.entry(name), fault.remedy());
            return Err(Error::Failed { entry, operation: Operation::Get, remedy, source: None });
        }
        let made = found.creation_date().and_then(|made| OffsetDateTime::from_unix_timestamp(made.secs()).ok());
        Ok(Description { algorithm: "AES256", created_at: made.unwrap_or(OffsetDateTime::UNIX_EPOCH) })
    }

    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, Error> {
        let (key, blob) = self.data_key(Operation::Generate, name, context).await?;
        let ciphertext = [&[DIRECT][..], &blob].concat();
        Ok(DataKey { plaintext: Plaintext::new(key.to_vec()), ciphertext })
    }

    async fn encrypt(&self, name: &KeyName, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        if (1..=MAX_DIRECT_LEN).contains(&plaintext.len()) {
            let sealed = self.kms.encrypt(&self.key_id(name), plaintext, self.context(name.as_str(), context)).await;
            let Sealed { blob, by } = sealed.map_err(|failure| self.error(Operation::Encrypt, name, failure))?;
            self.must_be_ours(Operation::Encrypt, name, &by)?;
            return Ok([&[DIRECT][..], &blob].concat());
        }
        let (key, blob) = self.data_key(Operation::Encrypt, name, context).await?;
        let failed = |why| Error::Failed {
            entry: self.entry(name),
            operation: Operation::Encrypt,
            remedy: "this machine cannot encrypt",
            source: Some(std::sync::Arc::new(why)),
        };
        let key = SecretKey::from_bytes(KeyType::Aes256, &key).map_err(failed)?;
        let sealed = key.seal(plaintext, context).map_err(failed)?;
        let len = u16::try_from(blob.len()).map_err(|_| {
            let failure = self.kms.nothing("the ciphertext of a data key is longer than KMS makes them");
            self.error(Operation::Encrypt, name, failure)
        })?;
        Ok([&[ENVELOPE][..], &len.to_be_bytes(), &blob, &sealed].concat())
    }

    async fn decrypt(&self, name: &KeyName, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
        match ciphertext.split_first() {
            Some((&DIRECT, blob)) => Ok(Plaintext::new(self.open(name, blob, context).await?.to_vec())),
            Some((&ENVELOPE, rest)) => {
                let (blob, sealed) = split(rest).ok_or(Error::NotAuthentic)?;
                let key = self.open(name, blob, context).await?;
                let key = SecretKey::from_bytes(KeyType::Aes256, &key).map_err(|_| Error::NotAuthentic)?;
                key.open(sealed, context).map_err(|_| Error::NotAuthentic)
            }
            // Not from here. Whether there is such a key is said all the same.
            _ => match self.describe_key(name).await {
                Err(Error::NotFound) => Err(Error::NotFound),
                _ => Err(Error::NotAuthentic),
            },
        }
    }

    async fn mac(&self, name: &KeyName, message: &[u8]) -> Result<[u8; 32], Error> {
        if self.mac_key.is_none() {
            return Err(self.denied(Operation::Mac, NO_MAC));
        }
        self.describe_key(name).await?;
        // KMS takes 4 KiB, and has one key for all names.
        let message = [self.alias(name.as_str()).as_bytes(), &[0], &digest(message)].concat();
        self.sum(message).await.map_err(|failure| self.kms.error(self.entry(name), Operation::Mac, failure))
    }
}

/// The ciphertext of a data key, and what the data key has sealed.
fn split(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = rest.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}
