//! Keys as secrets of Secrets Manager.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::operation::list_secrets::ListSecretsOutput;
use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, Tag};
use kes_crypto::KeyVersion;
use kes_keystore::{Cause, Error, Kept, KeyName, KeyStore, Listings, Operation, Page, Promises, Status, Value};
use tokio::time::Instant;

use crate::account::{Account, unusable};
use crate::config::Config;
use crate::failure::{Failure, Refusal};
use crate::state::{self, Fault};
use crate::wire::{self, KEY_REFUSED, Once};

/// Longest value of a secret, in bytes.
const MAX_VALUE_LEN: usize = 64 << 10;

/// By what a secret of ours is known, if its value does not tell.
pub(crate) const DESCRIPTION: &str = "A key of kes";

/// The KMS key of secrets that name none.
const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

/// Longest name of a secret, and longest name of an entry of ours.
const MAX_SECRET_NAME: usize = 512;
const MAX_ENTRY_NAME: usize = 91;

/// How long a create is tried: as long as the deadline of a write leaves time to look at what has come of it. A name whose
/// secret was deleted may take as long to be free.
const CREATE: Duration = Duration::from_secs(9);

/// How often it is looked whether a name is free, and when it is asked whether it ever will be.
const REUSE_PAUSE: Duration = Duration::from_millis(300);
const REUSE_DOUBT: u32 = 3;

/// Names on one page of a list: as many as AWS gives.
const PAGE: i32 = 100;

/// Secrets Manager as key store.
pub struct Store {
    pub(crate) account: Account,
    pub(crate) secrets: Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) kmskey: Option<String>,
    pub(crate) prefix: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) notices: Vec<String>,
    listings: Listings,
}

/// Whose a secret is.
enum Owner {
    Nobody,
    Ours(Mark),
    Others,
}

/// By what a secret is told from a later one of the same name. What stands in for AWS may give both the same ARN.
struct Mark {
    arn: Option<String>,
    version: Option<String>,
}

impl Mark {
    fn read(found: GetSecretValueOutput) -> Self {
        Self { arn: found.arn, version: found.version_id }
    }

    fn described(secret: DescribeSecretOutput) -> Self {
        let versions = secret.version_ids_to_stages.unwrap_or_default();
        let is_current = |stages: &Vec<String>| stages.iter().any(|stage| stage == "AWSCURRENT");
        let current = versions.into_iter().find(|(_, stages)| is_current(stages));
        Self { arn: secret.arn, version: current.map(|(version, _)| version) }
    }

    fn is_of(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        same(&self.arn, &other.arn) && same(&self.version, &other.version)
    }
}

impl Store {
    pub(crate) async fn connect(config: Config) -> Result<Self, Error> {
        let Config { service, kmskey, prefix, tags, check } = config;
        let kmskey = kmskey.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let keys: Vec<&str> = kmskey.iter().map(String::as_str).collect();
        let account = Account::open(service, "secretsmanager", LABEL, &keys).await?;
        let secrets = account.secrets_manager();
        let kms = account.kms_beside();
        let mut store =
            Self { account, secrets, kms, kmskey, prefix, tags, notices: Vec::new(), listings: Listings::default() };
        store.check_names()?;
        store.status().await?;
        store.notices = crate::check::key_of(&store).await?;
        if check {
            crate::check::secrets_manager(&mut store).await?;
        }
        Ok(store)
    }

    fn check_names(&self) -> Result<(), Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
        if !self.prefix.bytes().all(allowed) || self.prefix.len() > MAX_SECRET_NAME - MAX_ENTRY_NAME {
            let remedy = "'prefix' is what names of secrets begin with: at most 421 letters, digits and /_+=.@-";
            return Err(unusable(self.describe(), remedy, None));
        }
        let fits = |(key, value): (&String, &String)| (1..=128).contains(&key.len()) && value.len() <= 256;
        if self.tags.len() > 50 || !self.tags.iter().all(fits) {
            let remedy = "'tags' are at most 50, with names of 1 to 128 and values of up to 256 characters";
            return Err(unusable(self.describe(), remedy, None));
        }
        Ok(())
    }

    fn id(&self, name: &KeyName) -> String {
        format!("{}{name}", self.prefix)
    }

    /// How an entry is named in errors.
    fn entry(&self, name: &KeyName) -> String {
        format!("{}: secret '{}'", self.describe(), self.id(name))
    }

    fn failure<E>(&self, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Failure::of(&self.describe(), error)
    }

    /// The error for what AWS has said to one of our calls about a secret.
    async fn refused(&self, operation: Operation, name: &KeyName, failure: Failure) -> Error {
        let fault = match &failure {
            Failure::Refused(refusal) => self.key_fault(operation, name, refusal).await,
            _ => None,
        };
        let entry = self.entry(name);
        failure.into_error(&self.describe(), |refusal| match fault {
            Some(Fault::Denied) => {
                Error::Unauthorized { entry, remedy: Fault::Denied.remedy(), source: Some(Arc::new(refusal)) }
            }
            Some(fault) => Error::Failed { entry, operation, remedy: fault.remedy(), source: Some(Arc::new(refusal)) },
            None => judge(entry, operation, refusal),
        })
    }

    /// What is the matter with the KMS key, if that is why a call was refused.
    async fn key_fault(&self, operation: Operation, name: &KeyName, refusal: &Refusal) -> Option<Fault> {
        if let Some(fault) = Fault::told(refusal).filter(|_| !refusal.is("InvalidRequestException")) {
            return Some(fault);
        }
        let about_key = matches!(refusal.code.as_str(), "EncryptionFailure" | "DecryptionFailure");
        if !about_key {
            return Fault::told(refusal);
        }
        let key = match operation {
            Operation::Create => self.kmskey.clone(),
            _ => self.describe_secret(&self.id(name)).await.ok().and_then(|secret| secret.kms_key_id),
        };
        let key = key.unwrap_or_else(|| DEFAULT_KEY.to_owned());
        match state::describe(&self.kms, &self.describe(), &key).await {
            Ok(Some(key)) => state::fault_of(&key),
            Err(Failure::Refused(refusal)) if refusal.is_denied() => Some(Fault::Denied),
            Err(Failure::Refused(refusal)) => Fault::told(&refusal),
            _ => None,
        }
    }

    pub(crate) async fn read(&self, id: &str) -> Result<GetSecretValueOutput, Failure> {
        let read = self.secrets.get_secret_value().secret_id(id).send().await;
        read.map_err(|why| self.failure(&why))
    }

    pub(crate) async fn describe_secret(&self, id: &str) -> Result<DescribeSecretOutput, Failure> {
        let described = self.secrets.describe_secret().secret_id(id).send().await;
        described.map_err(|why| self.failure(&why))
    }

    pub(crate) async fn write(&self, id: &str, value: &[u8], token: &str) -> Result<(), Failure> {
        let mut create = self
            .secrets
            .create_secret()
            .name(id)
            .client_request_token(token)
            .description(DESCRIPTION)
            .set_kms_key_id(self.kmskey.clone());
        for (key, value) in &self.tags {
            create = create.tags(Tag::builder().key(key).value(value).build());
        }
        let create = match std::str::from_utf8(value) {
            Ok(text) => create.secret_string(text),
            Err(_) => create.secret_binary(Blob::new(value)),
        };
        create.send().await.map(drop).map_err(|why| self.failure(&why))
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<(), Failure> {
        let remove = self.secrets.delete_secret().secret_id(id).force_delete_without_recovery(true);
        remove.send().await.map(drop).map_err(|why| self.failure(&why))
    }

    /// The same, not sent again if it may have been done: by then the name may be that of another secret.
    async fn remove_once(&self, id: &str) -> Result<(), Failure> {
        let remove = self.secrets.delete_secret().secret_id(id).force_delete_without_recovery(true);
        let once = aws_sdk_secretsmanager::config::Builder::new().retry_classifier(Once);
        remove.customize().config_override(once).send().await.map(drop).map_err(|why| self.failure(&why))
    }

    /// A page of the secrets whose names begin with ours and this.
    pub(crate) async fn page(&self, prefix: &str, token: Option<String>) -> Result<ListSecretsOutput, Failure> {
        let begin = format!("{}{prefix}", self.prefix);
        let mut list = self.secrets.list_secrets().max_results(PAGE).set_next_token(token);
        // A leading '!' would turn the filter round; no name of a key has one.
        if !begin.is_empty() && !begin.starts_with('!') {
            list = list.filters(Filter::builder().key(FilterNameStringType::Name).values(begin).build());
        }
        list.send().await.map_err(|why| self.failure(&why))
    }

    /// Whether somebody has scheduled a secret for deletion: what we delete is gone at once but for its name.
    async fn is_scheduled(&self, id: &str) -> bool {
        self.describe_secret(id).await.is_ok_and(|secret| secret.deleted_date().is_some())
    }

    /// What a create has come to that was not plainly accepted. Its answer may have been lost, and it be what is there.
    async fn settle(&self, name: &KeyName, token: &str, failure: Failure) -> Result<(), Error> {
        match &failure {
            Failure::Refused(refusal) if refusal.is("ResourceExistsException") => {}
            Failure::Unreachable { .. } => {}
            _ => return Err(self.refused(Operation::Create, name, failure).await),
        }
        match self.read(&self.id(name)).await {
            Ok(found) if found.version_id.as_deref() == Some(token) => Ok(()),
            Ok(_) => Err(Error::Exists),
            Err(Failure::Refused(refusal)) if is_being_deleted(&refusal) => {
                Err(judge(self.entry(name), Operation::Create, refusal))
            }
            Err(_) => Err(self.refused(Operation::Create, name, failure).await),
        }
    }

    /// Whose a secret is: of those who made it so by our tags, or else by our description or by a key in it.
    async fn owner(&self, name: &KeyName) -> Result<Owner, Error> {
        if self.tags.is_empty() {
            match self.read(&self.id(name)).await {
                Ok(found) if holds_a_key(&found) => return Ok(Owner::Ours(Mark::read(found))),
                Err(failure) if failure.is("ResourceNotFoundException") => return Ok(Owner::Nobody),
                // Unreadable, or scheduled for deletion: its description tells.
                Ok(_) | Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(self.refused(Operation::Delete, name, failure).await),
            }
        }
        match self.describe_secret(&self.id(name)).await {
            Ok(secret) if self.is_ours(&secret) => Ok(Owner::Ours(Mark::described(secret))),
            Ok(_) => Ok(Owner::Others),
            Err(failure) if failure.is("ResourceNotFoundException") => Ok(Owner::Nobody),
            Err(failure) => Err(self.refused(Operation::Delete, name, failure).await),
        }
    }

    fn is_ours(&self, secret: &DescribeSecretOutput) -> bool {
        match self.tags.is_empty() {
            true => secret.description.as_deref() == Some(DESCRIPTION),
            false => self.has_our_tags(secret.tags()),
        }
    }

    fn foreign(&self, name: &KeyName) -> Error {
        let remedy = match self.tags.is_empty() {
            true => "the secret holds no key and was not made by kes: whose it is deletes it in AWS",
            false => "the secret does not carry the configured 'tags': whose it is deletes it in AWS",
        };
        Error::Failed { entry: self.entry(name), operation: Operation::Delete, remedy, source: None }
    }

    fn has_our_tags(&self, tags: &[Tag]) -> bool {
        let has = |(key, value): (&String, &String)| {
            tags.iter().any(|tag| tag.key() == Some(key.as_str()) && tag.value() == Some(value.as_str()))
        };
        self.tags.iter().all(has)
    }
}

/// What the banner begins with.
const LABEL: &str = "AWS SecretsManager";

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        match &self.account.endpoint {
            Some(endpoint) => format!("{LABEL}: {}", endpoint.written),
            None => format!("{LABEL}: {}", self.account.region),
        }
    }

    fn promises(&self) -> Promises {
        Promises {
            delete_tells_missing: Kept::No("AWS answers a forced deletion of nothing as any other"),
            max_value_len: MAX_VALUE_LEN,
            ..Promises::ALL
        }
    }

    async fn status(&self) -> Result<Status, Error> {
        let started = Instant::now();
        self.account.probe(&self.describe()).await?;
        Ok(Status { latency: started.elapsed() })
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.listings.clear();
        if value.len() > MAX_VALUE_LEN {
            return Err(Error::TooLarge { entry: self.entry(name), len: value.len(), limit: MAX_VALUE_LEN });
        }
        let id = self.id(name);
        let token = crate::token(&self.entry(name), Operation::Create)?;
        let deadline = Instant::now() + CREATE;
        for attempt in 1.. {
            let written = tokio::time::timeout_at(deadline, self.write(&id, value, &token)).await;
            let failure = match written.unwrap_or_else(|_| Err(Failure::no_answer("a create was not answered"))) {
                Ok(()) => break,
                Err(failure) => failure,
            };
            let waits = matches!(&failure, Failure::Refused(refusal) if is_being_deleted(refusal));
            let in_vain = attempt == REUSE_DOUBT && waits && self.is_scheduled(&id).await;
            if !waits || in_vain || Instant::now() + REUSE_PAUSE >= deadline {
                return self.settle(name, &token, failure).await;
            }
            tokio::time::sleep(REUSE_PAUSE).await;
        }
        Ok(())
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let id = self.id(name);
        let read = self.read(&id);
        let (found, ours) = match self.tags.is_empty() {
            true => (read.await, Ok(true)),
            false => {
                let (found, secret) = tokio::join!(read, self.describe_secret(&id));
                (found, secret.map(|secret| self.is_ours(&secret)))
            }
        };
        let found = match (found, ours) {
            (Ok(found), Ok(true)) => found,
            (Ok(_), Ok(false)) => return Err(Error::NotFound),
            (Err(failure), _) | (_, Err(failure)) => return Err(self.refused(Operation::Get, name, failure).await),
        };
        content(found).ok_or_else(|| Error::Damaged {
            entry: self.entry(name),
            problem: "the secret has no value",
            source: None,
        })
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.listings.clear();
        let ours = match self.owner(name).await? {
            Owner::Nobody => return Ok(()),
            Owner::Others => return Err(self.foreign(name)),
            Owner::Ours(mark) => mark,
        };
        let mut attempts = 0;
        loop {
            let failure = match self.remove_once(&self.id(name)).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is("ResourceNotFoundException") => return Ok(()),
                Err(failure) => failure,
            };
            attempts += 1;
            let pause = wire::pause(attempts).filter(|_| matches!(failure, Failure::Unreachable { .. }));
            let Some(pause) = pause else { return Err(self.refused(Operation::Delete, name, failure).await) };
            tokio::time::sleep(pause).await;
            // It may be done: what is there now may be a key that another server has made since.
            match self.owner(name).await? {
                Owner::Ours(mark) if mark.is_of(&ours) => {}
                _ => return Ok(()),
            }
        }
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        if let Some(page) = self.listings.resume(prefix, from, limit) {
            return Ok(page);
        }
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.page(prefix, token.clone()).await.map_err(|failure| {
                failure.into_error(&self.describe(), |refusal| judge(self.describe(), Operation::List, refusal))
            })?;
            for secret in page.secret_list() {
                let ours = secret.deleted_date().is_none() && self.has_our_tags(secret.tags());
                let name = secret.name().filter(|_| ours).and_then(|name| name.strip_prefix(&self.prefix));
                names.extend(name.and_then(|name| KeyName::parse(name).ok()));
            }
            let next = page.next_token.filter(|next| !next.is_empty());
            if next.is_none() || next == token {
                return Ok(self.listings.select(names, prefix, from, limit));
            }
            token = next;
        }
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    fn throttled(&self) -> u64 {
        self.account.judge.throttled()
    }
}

/// The value of a secret, as the bytes that were stored.
fn content(found: GetSecretValueOutput) -> Option<Value> {
    let binary = found.secret_binary.map(Blob::into_inner);
    found.secret_string.map(String::into_bytes).or(binary).map(Value::new)
}

/// Whether a secret holds a key, as we or the old server store it.
fn holds_a_key(found: &GetSecretValueOutput) -> bool {
    let binary = found.secret_binary().map(AsRef::as_ref);
    let bytes = found.secret_string().map(str::as_bytes).or(binary);
    bytes.is_some_and(|bytes| KeyVersion::parse(bytes).is_ok())
}

/// Whether a secret is gone but for its name, or will be.
fn is_being_deleted(refusal: &Refusal) -> bool {
    refusal.is("InvalidRequestException") && (refusal.says("deletion") || refusal.says("deleted"))
}

/// What AWS has said, by meaning.
pub(crate) fn judge(entry: String, operation: Operation, refusal: Refusal) -> Error {
    let failed = |remedy| (remedy, false);
    let (remedy, ours) = match refusal.code.as_str() {
        "ResourceExistsException" => return Error::Exists,
        "ResourceNotFoundException" => return Error::NotFound,
        _ if refusal.is_denied() => (
            match operation {
                Operation::Create => "grant secretsmanager:CreateSecret, and secretsmanager:TagResource for 'tags'",
                Operation::Delete => "grant secretsmanager:DeleteSecret and secretsmanager:DescribeSecret",
                Operation::List => "grant secretsmanager:ListSecrets on all resources ('*')",
                _ => "grant secretsmanager:GetSecretValue, and secretsmanager:DescribeSecret if there are 'tags'",
            },
            true,
        ),
        code if KEY_REFUSED.contains(&code) => (
            "AWS does not accept the access key: it has ended or was deleted, its secret is wrong, or the clock is",
            true,
        ),
        _ if is_being_deleted(&refusal) => failed(
            "the secret is scheduled for deletion: 'aws secretsmanager restore-secret' brings it back, and \
             'aws secretsmanager delete-secret --force-delete-without-recovery' frees its name",
        ),
        "LimitExceededException" => {
            failed("the account has as many secrets as it may have: ask AWS for a higher quota")
        }
        "DecryptionFailure" | "EncryptionFailure" => failed("cannot access the KMS key of the secret"),
        _ => failed("this is what AWS says about it"),
    };
    let source = Some(Arc::new(refusal) as Cause);
    match ours {
        true => Error::Unauthorized { entry, remedy, source },
        false => Error::Failed { entry, operation, remedy, source },
    }
}
