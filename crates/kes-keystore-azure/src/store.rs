//! Keys as secrets of a Key Vault.
//!
//! The value of a key is that of the oldest version of its secret, as with the old server: who adds a version changes
//! nothing. Key Vault cannot create a secret only if there is none: what is set there is one more version. So a create looks,
//! sets, and looks again who was first, and everybody finds the same: the version of the earliest second, among those the
//! one with the least identifier. Between the two looks lies a whole second, after which no version can come into the second
//! of ours any more. Who reads a key so soon after it was made that another version could still come before it waits as well.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::RequestContent;
use azure_core::http::headers::HeaderName;
use azure_core::time::{OffsetDateTime, parse_rfc7231};
use azure_security_keyvault_secrets::models::{
    ListSecretPropertiesResult, SecretClientGetSecretOptions, SecretProperties, SetSecretParameters,
};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures_core::Stream;
use kes_keystore::{Error, Kept, KeyName, KeyStore, Listings, Operation, Page, Promises, Status, Value};
use tokio::time::Instant;

use crate::account::{Account, call, unusable};
use crate::config::{Config, Names};
use crate::failure::{Failure, Refusal};

/// Longest value of a secret, in bytes.
const MAX_VALUE_LEN: usize = 25 << 10;

/// What the banner begins with.
const LABEL: &str = "Azure KeyVault";

/// How long the second look comes after a version was made: Key Vault counts in seconds.
const SECOND: Duration = Duration::from_millis(1050);

/// How much later than a version was made a look has to be, by Key Vault's clock, for nothing to come before it any more: the
/// rest of its second, and one more for clocks that differ.
const SETTLED: Duration = Duration::from_secs(2);

/// How long a name may take to be free after its secret was deleted, and how often that is looked at.
const REUSE: Duration = Duration::from_secs(9);
const REUSE_PAUSE: Duration = Duration::from_millis(300);

/// How long it is remembered that a version is known to be first. It shows by itself before that.
const REMEMBERED: Duration = Duration::from_secs(30);

/// How often something is made or deleted of which it is not known whether it was.
const TRIES: u32 = 4;

/// A Key Vault as key store.
pub struct Store {
    pub(crate) account: Account,
    pub(crate) secrets: SecretClient,
    names: Names,
    purge: bool,
    notices: Vec<String>,
    /// Versions that are known to be first, and since when: until it shows from the time at which they were made.
    settled: Mutex<HashMap<String, Instant>>,
    listings: Listings,
}

/// The versions of a secret, the one that counts first. None if there is no secret.
struct Look {
    versions: Vec<Version>,
    /// When it was, or before that, by Key Vault's clock.
    at: Option<OffsetDateTime>,
}

impl Look {
    /// Whether another version could still come before the first.
    fn is_early(&self) -> bool {
        let Some(first) = self.versions.first() else { return false };
        match (first.created, self.at) {
            (Some(created), Some(at)) => at < created.saturating_add(SETTLED.try_into().expect("seconds")),
            _ => true,
        }
    }
}

/// A version of a secret.
struct Version {
    /// The name of the secret as it was written when it was made.
    secret: String,
    id: String,
    created: Option<OffsetDateTime>,
    not_before: Option<OffsetDateTime>,
    expires: Option<OffsetDateTime>,
    is_enabled: bool,
}

impl Version {
    fn of(properties: SecretProperties) -> Option<Self> {
        let (secret, id) = split(properties.id.as_deref()?)?;
        let attributes = properties.attributes.unwrap_or_default();
        Some(Self {
            secret: secret.to_owned(),
            id: id?.to_owned(),
            created: attributes.created,
            not_before: attributes.not_before,
            expires: attributes.expires,
            is_enabled: attributes.enabled.unwrap_or(true),
        })
    }

    /// Why it cannot be read, if that can be told.
    fn fault(&self, now: OffsetDateTime) -> Option<&'static str> {
        if !self.is_enabled {
            return Some("its secret is disabled: 'az keyvault secret set-attributes --enabled true' enables it");
        }
        if self.not_before.is_some_and(|time| now < time) {
            return Some("its secret is not valid yet: change its activation date");
        }
        self.expires.is_some_and(|time| time <= now).then_some("its secret has expired: change its expiration date")
    }
}

/// What has become of a name.
enum Deleted {
    Nothing,
    /// Deleted, and not purged; as it was written.
    Recoverable(String),
}

impl Store {
    pub(crate) async fn connect(config: Config) -> Result<Self, Error> {
        let Config { vault, names, purge, check } = config;
        let account = Account::open(vault, LABEL)?;
        let options = SecretClientOptions {
            client_options: account.wire.options(),
            verify_challenge_resource: Some(account.verifies()),
            ..SecretClientOptions::default()
        };
        let describe = || format!("{LABEL}: {}", account.endpoint.shown);
        let secrets = SecretClient::new(account.endpoint.url.as_str(), account.identity.clone(), Some(options))
            .map_err(|why| {
                unusable(describe(), "write the endpoint as https://<name>.vault.azure.net", Some(Arc::new(why)))
            })?;
        let mut store = Self {
            account,
            secrets,
            names,
            purge,
            notices: Vec::new(),
            settled: Mutex::default(),
            listings: Listings::default(),
        };
        match store.status().await {
            Ok(_) if check => store.notices = crate::check::permissions(&store).await?,
            Ok(_) => {}
            // The keys can be used as soon as it is back.
            Err(error) => store.notices.push(format!("{error}. Keys can be used when it answers again")),
        }
        Ok(store)
    }

    /// How an entry is named in errors.
    fn entry(&self, secret: &str) -> String {
        format!("{}: secret '{secret}'", self.describe())
    }

    fn refused(&self, operation: Operation, secret: &str, failure: Failure) -> Error {
        failure.into_error(&self.describe(), |refusal| judge(self.entry(secret), operation, refusal))
    }

    fn failed(&self, operation: Operation, secret: &str, remedy: &'static str) -> Error {
        Error::Failed { entry: self.entry(secret), operation, remedy, source: None }
    }

    async fn look(&self, secret: &str) -> Result<Look, Failure> {
        let found = call(|| async {
            let begun = Instant::now();
            let mut pages = self.secrets.list_secret_properties_versions(secret, None)?.into_pages();
            let (mut versions, mut at) = (Vec::new(), None);
            while let Some(page) = next(&mut pages).await {
                let page = page?;
                // Dated when it was sent. What it tells may be as old as the request.
                let date = page.headers().get_optional_str(&HeaderName::from_static("date"));
                let date = date.and_then(|date| parse_rfc7231(date).ok());
                at = at.or_else(|| date?.checked_sub(begun.elapsed().try_into().ok()?));
                let page: ListSecretPropertiesResult = page.into_model()?;
                versions.extend(page.value.into_iter().filter_map(Version::of));
            }
            Ok(Look { versions, at })
        });
        match found.await {
            Ok(mut look) => {
                look.versions.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
                Ok(look)
            }
            Err(failure) if failure.is_not_found() => Ok(Look { versions: Vec::new(), at: None }),
            Err(failure) => Err(failure),
        }
    }

    async fn versions(&self, secret: &str) -> Result<Vec<Version>, Failure> {
        self.look(secret).await.map(|look| look.versions)
    }

    /// The versions of a secret when it is certain which is first: after a second look, if the first one came too early.
    async fn certain(&self, secret: &str, mut look: Look) -> Result<Vec<Version>, Failure> {
        let mut waited = None;
        while look.is_early() && !look.versions.first().is_none_or(|first| self.is_settled(&first.id)) {
            // In vain, if it was deleted and made again meanwhile.
            let second = look.versions.first().map(|first| first.created);
            if waited == second {
                break;
            }
            waited = second;
            tokio::time::sleep(SECOND).await;
            look = self.look(secret).await?;
        }
        if look.is_early()
            && let Some(first) = look.versions.first()
        {
            self.remember(&first.id);
        }
        Ok(look.versions)
    }

    fn is_settled(&self, version: &str) -> bool {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains_key(version)
    }

    fn remember(&self, version: &str) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.retain(|_, since| since.elapsed() < REMEMBERED);
        settled.insert(version.to_owned(), Instant::now());
    }

    async fn value(&self, secret: &str, version: &str) -> Result<Option<String>, Failure> {
        let read = call(|| async {
            let options =
                SecretClientGetSecretOptions { secret_version: Some(version.to_owned()), ..Default::default() };
            self.secrets.get_secret(secret, Some(options)).await?.into_model()
        });
        read.await.map(|secret| secret.value)
    }

    /// Makes a version; its identifier.
    async fn set(&self, secret: &str, value: &str) -> Result<Option<String>, Failure> {
        let set = call(|| async {
            let parameters = SetSecretParameters { value: Some(value.to_owned()), ..Default::default() };
            self.secrets.set_secret(secret, RequestContent::try_from(parameters)?, None).await?.into_model()
        });
        let made = set.await?;
        Ok(made.id.as_deref().and_then(split).and_then(|(_, version)| version).map(ToOwned::to_owned))
    }

    pub(crate) async fn remove(&self, secret: &str) -> Result<(), Failure> {
        call(|| async { self.secrets.delete_secret(secret, None).await.map(drop) }).await
    }

    pub(crate) async fn purge(&self, secret: &str) -> Result<(), Failure> {
        call(|| async { self.secrets.purge_deleted_secret(secret, None).await.map(drop) }).await
    }

    async fn deleted(&self, secret: &str) -> Result<Deleted, Failure> {
        let found = call(|| async { self.secrets.get_deleted_secret(secret, None).await?.into_model() });
        match found.await {
            Ok(found) => {
                let written = found.id.as_deref().and_then(split).map_or(secret, |(written, _)| written);
                Ok(Deleted::Recoverable(written.to_owned()))
            }
            Err(failure) if failure.is_not_found() => Ok(Deleted::Nothing),
            Err(failure) => Err(failure),
        }
    }

    /// The secret of a key, where there is one: mapped, or as the old server has named it.
    async fn locate(&self, name: &KeyName) -> Result<Option<(String, Look)>, Failure> {
        for secret in self.names.secret(name).into_iter().chain(self.names.verbatim(name)) {
            let look = self.look(&secret).await?;
            // Key Vault finds 'My-Key' for 'my-key'.
            if look.versions.first().is_some_and(|version| version.secret == secret) {
                return Ok(Some((secret, look)));
            }
        }
        Ok(None)
    }

    /// Whether a name is taken, also by a secret that is spelled otherwise. Who is told so may use the key at once.
    async fn is_taken(&self, name: &KeyName, secret: &str) -> Result<bool, Failure> {
        let look = self.look(secret).await?;
        if !self.certain(secret, look).await?.is_empty() {
            return Ok(true);
        }
        let Some(verbatim) = self.names.verbatim(name) else { return Ok(false) };
        let look = self.look(&verbatim).await?;
        Ok(self.certain(&verbatim, look).await?.first().is_some_and(|version| version.secret == verbatim))
    }

    /// Makes a first version; its identifier, if that is known.
    async fn make(&self, secret: &str, value: &str) -> Result<Option<String>, Error> {
        let error = |failure| self.refused(Operation::Create, secret, failure);
        let (started, mut tries) = (Instant::now(), 0);
        loop {
            let failure = match self.set(secret, value).await {
                Ok(version) => return Ok(version),
                Err(failure) => failure,
            };
            match &failure {
                Failure::Refused(refusal) if refusal.status == 409 => {
                    self.make_way(secret, refusal.clone(), started).await?;
                }
                Failure::Unreachable { .. } => {
                    tries += 1;
                    // Whether it was made is told by what is there.
                    match self.versions(secret).await {
                        Ok(versions) if !versions.is_empty() => return Ok(None),
                        Ok(_) if tries < TRIES => tokio::time::sleep(REUSE_PAUSE).await,
                        _ => return Err(error(failure)),
                    }
                }
                _ => return Err(error(failure)),
            }
        }
    }

    /// Waits until a name that Key Vault keeps back may be free, or tells what keeps it.
    async fn make_way(&self, secret: &str, refusal: Refusal, started: Instant) -> Result<(), Error> {
        let error = |failure| self.refused(Operation::Create, secret, failure);
        let passes = refusal.is("ObjectIsBeingDeleted") || refusal.is("ObjectIsBeingRecovered");
        let deleted = if passes { Deleted::Nothing } else { self.deleted(secret).await.map_err(error)? };
        let is_kept = !passes && refusal.is("ObjectIsDeletedButRecoverable");
        let is_ours = match &deleted {
            Deleted::Recoverable(written) => written == secret,
            Deleted::Nothing => true,
        };
        let is_deleted = is_kept || matches!(deleted, Deleted::Recoverable(_));
        if is_deleted && !(self.purge && is_ours) {
            let remedy = if is_ours {
                "a deleted secret of this name is kept: 'az keyvault secret recover' brings the key back, \
                 'az keyvault secret purge' frees the name for good, 'keystore.azure.keyvault.purge: on' lets kes do so"
            } else {
                "a deleted secret is kept whose name differs in capitals only, and may be another key: 'az keyvault secret \
                 recover' brings it back, 'az keyvault secret purge' frees the name for good"
            };
            let source = Some(Arc::new(refusal) as _);
            return Err(Error::Failed { entry: self.entry(secret), operation: Operation::Create, remedy, source });
        }
        if started.elapsed() > REUSE || !(passes || is_deleted) {
            return Err(error(Failure::Refused(refusal)));
        }
        // What is not found any more is on its way.
        if matches!(deleted, Deleted::Recoverable(_)) {
            self.purge_for_good(Operation::Create, secret).await?;
        }
        tokio::time::sleep(REUSE_PAUSE).await;
        Ok(())
    }

    /// Purges what was deleted, when the deletion is over. What Key Vault is still busy with it will do.
    async fn purge_for_good(&self, operation: Operation, secret: &str) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            match self.purge(secret).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is_not_found() => return Ok(()),
                Err(Failure::Refused(refusal)) if refusal.is("ObjectIsBeingDeleted") => {
                    if started.elapsed() > REUSE {
                        return Ok(());
                    }
                    tokio::time::sleep(REUSE_PAUSE).await;
                }
                Err(Failure::Refused(refusal)) if refusal.says("purge protection") => {
                    let remedy = "the vault has purge protection: the key is deleted, but can be recovered until the \
                                  retention period is over, and its name is not free before";
                    let source = Some(Arc::new(refusal) as _);
                    return Err(Error::Failed { entry: self.entry(secret), operation, remedy, source });
                }
                Err(Failure::Refused(refusal)) if refusal.status == 403 => {
                    let remedy =
                        "the key is deleted, but can be recovered, because Azure does not permit secrets/purge";
                    return Err(Error::Unauthorized {
                        entry: self.entry(secret),
                        remedy,
                        source: Some(Arc::new(refusal)),
                    });
                }
                Err(failure) => return Err(self.refused(operation, secret, failure)),
            }
        }
    }

    /// Whether what we have made is what everybody reads.
    async fn settle(&self, secret: &str, value: &str, made: Option<&str>) -> Result<(), Error> {
        let error = |failure| self.refused(Operation::Create, secret, failure);
        let versions = self.versions(secret).await.map_err(error)?;
        let first = match versions.first() {
            // It was made, and somebody has deleted it since.
            None => return Ok(()),
            Some(first) if Some(first.id.as_str()) == made => {
                self.remember(&first.id);
                return Ok(());
            }
            Some(first) if first.secret != secret => return Err(Error::Exists),
            Some(first) => first,
        };
        // Ours may be there twice, when an answer was lost: the same value is the same key.
        match self.value(secret, &first.id).await {
            Ok(found) if found.as_deref() == Some(value) => Ok(()),
            Ok(_) | Err(Failure::Refused(_)) => Err(Error::Exists),
            Err(failure) => Err(error(failure)),
        }
    }
}

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        format!("{LABEL}: {}", self.account.endpoint.shown)
    }

    fn promises(&self) -> Promises {
        let any_name = match self.names {
            Names::Strict => Kept::No("Key Vault has no '_' in names and ignores case: 'names: map' maps them"),
            Names::Map => Kept::Yes,
        };
        Promises {
            atomic_create: Kept::No(
                "Key Vault cannot create only if absent: who was first is told by its clock, to the second",
            ),
            delete_tells_missing: Kept::No("deleting nothing succeeds, as with the old server"),
            any_name,
            any_bytes: Kept::No("Key Vault keeps text"),
            max_value_len: MAX_VALUE_LEN,
            ..Promises::ALL
        }
    }

    async fn status(&self) -> Result<Status, Error> {
        let started = Instant::now();
        let probed = self.account.probe().await;
        probed.map_err(|failure| failure.into_error(&self.describe(), |_| unreachable!("any answer will do")))?;
        Ok(Status { latency: started.elapsed() })
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        self.listings.clear();
        let Some(secret) = self.names.secret(name) else {
            let problem = "Azure Key Vault cannot hold a key name with '_'";
            return Err(Error::UnfitName { store: self.describe(), problem });
        };
        if value.len() > MAX_VALUE_LEN {
            return Err(Error::TooLarge { entry: self.entry(&secret), len: value.len(), limit: MAX_VALUE_LEN });
        }
        let Ok(value) = std::str::from_utf8(value) else {
            return Err(self.failed(Operation::Create, &secret, "Key Vault keeps text only, and this is none"));
        };
        let taken = self.is_taken(name, &secret).await;
        if taken.map_err(|failure| self.refused(Operation::Create, &secret, failure))? {
            return Err(Error::Exists);
        }
        let made = self.make(&secret, value).await?;
        tokio::time::sleep(SECOND).await;
        self.settle(&secret, value, made.as_deref()).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let shown = self.names.secret(name).unwrap_or_else(|| name.to_string());
        let error = |failure| self.refused(Operation::Get, &shown, failure);
        let Some((secret, look)) = self.locate(name).await.map_err(error)? else { return Err(Error::NotFound) };
        let versions = self.certain(&secret, look).await.map_err(error)?;
        let Some(first) = versions.first().filter(|first| first.secret == secret) else { return Err(Error::NotFound) };
        match self.value(&secret, &first.id).await {
            Ok(Some(value)) => Ok(Value::new(value.into_bytes())),
            Ok(None) => {
                let problem = "the secret has no value";
                Err(Error::Damaged { entry: self.entry(&secret), problem, source: None })
            }
            Err(failure) if failure.is_not_found() => Err(Error::NotFound),
            Err(failure) => match (first.fault(OffsetDateTime::now_utc()), failure) {
                (Some(remedy), Failure::Refused(refusal)) => {
                    let source = Some(Arc::new(refusal) as _);
                    Err(Error::Failed { entry: self.entry(&secret), operation: Operation::Get, remedy, source })
                }
                (_, failure) => Err(error(failure)),
            },
        }
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        self.listings.clear();
        let Some(mapped) = self.names.secret(name) else { return Err(Error::NotFound) };
        let error = |failure| self.refused(Operation::Delete, &mapped, failure);
        let Some((secret, look)) = self.locate(name).await.map_err(error)? else {
            // What an interrupted deletion has left behind.
            for secret in [mapped.clone()].into_iter().chain(self.names.verbatim(name)) {
                if matches!(self.deleted(&secret).await.map_err(error)?, Deleted::Recoverable(written) if written == secret)
                {
                    self.purge_for_good(Operation::Delete, &secret).await?;
                }
            }
            return Ok(());
        };
        let first = look.versions.first().expect("those that are there have one");
        let (started, mut tries) = (Instant::now(), 0);
        loop {
            match self.remove(&secret).await {
                Ok(()) => break,
                Err(failure) if failure.is_not_found() => break,
                Err(failure @ Failure::Unreachable { .. }) => {
                    tries += 1;
                    // Whether it was deleted is told by what is there.
                    let Ok(versions) = self.versions(&secret).await else { return Err(error(failure)) };
                    match versions.first() {
                        None => break,
                        // It was, and somebody has made another key of this name since.
                        Some(present) if present.id != first.id => return Ok(()),
                        Some(_) if tries < TRIES => tokio::time::sleep(REUSE_PAUSE).await,
                        Some(_) => return Err(error(failure)),
                    }
                }
                Err(Failure::Refused(refusal)) if refusal.is("ObjectIsBeingDeleted") => break,
                Err(Failure::Refused(refusal))
                    if refusal.is("ObjectIsBeingRecovered") && started.elapsed() <= REUSE =>
                {
                    tokio::time::sleep(REUSE_PAUSE).await;
                }
                Err(failure) => return Err(error(failure)),
            }
        }
        self.purge_for_good(Operation::Delete, &secret).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        if let Some(page) = self.listings.resume(prefix, from, limit) {
            return Ok(page);
        }
        let found = call(|| async {
            let mut pages = self.secrets.list_secret_properties(None)?.into_pages();
            let mut found = Vec::new();
            while let Some(page) = next(&mut pages).await {
                let page: ListSecretPropertiesResult = page?.into_model()?;
                found.extend(page.value.into_iter().filter_map(|secret| self.key_of(&secret)));
            }
            Ok(found)
        });
        let found = found.await.map_err(|failure| {
            failure.into_error(&self.describe(), |refusal| judge(self.describe(), Operation::List, refusal))
        })?;
        Ok(self.listings.select(found, prefix, from, limit))
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    fn throttled(&self) -> u64 {
        self.account.wire.throttled()
    }
}

impl Store {
    /// The name of the key that a secret holds; the secrets of certificates are none.
    fn key_of(&self, secret: &SecretProperties) -> Option<KeyName> {
        let (name, _) = split(secret.id.as_deref()?)?;
        if secret.managed == Some(true) { None } else { self.names.key(name) }
    }
}

/// Name and version of an identifier: `https://<vault>/secrets/<name>/<version>`.
fn split(id: &str) -> Option<(&str, Option<&str>)> {
    let (_, path) = id.split_once("://")?;
    let mut parts = path.split('/').skip(2);
    let name = parts.next().filter(|name| !name.is_empty())?;
    Some((name, parts.next().filter(|version| !version.is_empty())))
}

pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// The error for what Key Vault has said to a call about a secret or the vault.
pub(crate) fn judge(entry: String, operation: Operation, refusal: Refusal) -> Error {
    let remedy = match refusal.status {
        401 => {
            "Key Vault does not accept the token: check that the login belongs to the tenant of the vault, and the clocks of \
             this machine and of the login"
        }
        403 if refusal.is("ForbiddenByFirewall") || refusal.is("ForbiddenByConnection") => {
            "the network rules of the vault keep this machine out: permit its address or its network, or use the private \
             endpoint"
        }
        403 if refusal.action().is_some() || refusal.is("ForbiddenByRbac") => {
            "the role of the identity does not permit this: 'Key Vault Secrets Officer' permits all that kes needs"
        }
        403 => {
            "the access policy of the vault does not permit this: kes needs the secret permissions Get, List, Set, Delete and \
             Purge"
        }
        _ => "Key Vault refuses this: its words say why",
    };
    let source = Some(Arc::new(refusal.clone()) as _);
    match refusal.status {
        404 => Error::NotFound,
        401 | 403 => Error::Unauthorized { entry, remedy, source },
        _ => Error::Failed { entry, operation, remedy, source },
    }
}
