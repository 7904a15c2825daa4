//! Opening a store through its seal: where the sealing keys come from, and what is said when none fits.

use super::{Backend, Purpose, Seal, Store, VaultMode, chain};
use crate::error::{Error, ErrorKind, Place, io_words};
use kes_keystore::sealed::{self, InvalidSealingKey, NewSlot, RecoveryKey, SealingKey, Unlocked};
use kes_keystore::{KeyStore, fs};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where Docker, Podman and Kubernetes put secrets.
const SECRETS: &str = "/run/secrets";

/// More is no key and no passphrase.
const MAX_SECRET_LEN: u64 = 64 << 10;

impl Store {
    /// The sealing keys that `keystore.seal` names, those in files read now; the recovery key last, if its file is there.
    /// Empty without `keystore.seal`.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if a file cannot be read or holds no key, [`ErrorKind::Unsupported`] for a kind of key that
    /// this release has not.
    pub async fn sealing_keys(&self) -> Result<Vec<SealingKey>, Error> {
        let Some(seal) = &self.seal else { return Ok(Vec::new()) };
        match self.gather(seal).await? {
            (keys, Some(absent)) if keys.is_empty() => Err(absent),
            (keys, _) => Ok(keys),
        }
    }

    /// The keys to try, and why one in another system is not among them: another slot may open the store as well.
    async fn gather(&self, seal: &Seal) -> Result<(Vec<SealingKey>, Option<Error>), Error> {
        let mut keys = self.keys_here(seal)?;
        let (remote, absent) = self.remote_keys(seal).await;
        keys.extend(remote);
        keys.extend(self.recovery_key(seal)?);
        Ok((keys, absent))
    }

    /// All that keeps `keystore.seal` from being used, as far as that can be told without the store: files that cannot be
    /// read or hold no key, and a store that has nothing to seal.
    #[must_use]
    pub fn seal_faults(&self) -> Vec<Error> {
        let Some(seal) = &self.seal else { return Vec::new() };
        let keys = self.local_keys(seal).into_iter().filter_map(Result::err);
        self.nothing_to_seal().into_iter().chain(keys).chain(self.recovery_key(seal).err()).collect()
    }

    /// Opens the store as [`Store::open`] does, but changes nothing: a store that is not sealed yet stays so, and what a
    /// killed server has left behind is left there. `None` if the store's directory is not there.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn look(&self) -> Result<Option<Look>, Error> {
        let inner: Arc<dyn KeyStore> = match &self.backend {
            Backend::Fs(fs) if !fs.path.exists() => return Ok(None),
            Backend::Fs(fs) if fs.path.is_dir() => match fs::Store::look(&fs.path).await {
                Ok(store) => Arc::new(store),
                Err(_) => self.open_beneath().await?,
            },
            _ => self.open_beneath().await?,
        };
        let Some(seal) = &self.seal else {
            return Ok(Some(Look { store: self.unsealed(inner).await?, is_to_be_sealed: false }));
        };
        let looked = self.look_sealed(seal, &inner).await;
        if looked.is_err() {
            inner.close().await;
        }
        looked.map(Some)
    }

    /// What [`Store::look`] finds, for those who need a store.
    ///
    /// # Errors
    /// As [`Store::open`]; [`ErrorKind::Store`] if the store's directory is not there.
    pub async fn open_unchanged(&self) -> Result<Arc<dyn KeyStore>, Error> {
        match self.look().await? {
            Some(look) => Ok(look.store),
            None => Err(Error::new(ErrorKind::Store, format!("{}: there is no such folder", self.backend))
                .at(self.place.clone())),
        }
    }

    async fn look_sealed(&self, seal: &Seal, inner: &Arc<dyn KeyStore>) -> Result<Look, Error> {
        if let Some(error) = self.nothing_to_seal() {
            return Err(error);
        }
        match sealed::Store::open(Arc::clone(inner), self.sealing_keys().await?).await {
            Err(sealed::Error::NotSealed { .. }) if seal.store.is_none() => {
                Ok(Look { store: Arc::clone(inner), is_to_be_sealed: true })
            }
            opened => {
                let store = Arc::new(self.expected(seal, inner.as_ref(), opened)?);
                Ok(Look { store, is_to_be_sealed: false })
            }
        }
    }

    /// Seals the store beneath by the keys that `keystore.seal` names, and by the recovery key if one is given or
    /// `keystore.seal.recovery` names a file for it, which is then written. Keys that are there already are served as
    /// they are until they are migrated.
    ///
    /// # Errors
    /// [`ErrorKind::Store`], also if it is sealed already, or if `keystore.seal.store` names the store that must be there.
    pub async fn seal_now(&self, recovery: Option<RecoveryKey>) -> Result<Unlocked, Error> {
        let Some(seal) = &self.seal else {
            let error =
                Error::new(ErrorKind::Invalid, "there is nothing to seal the store with").at(self.place.clone());
            return Err(error.hint("write 'keystore.seal' with passphrase, key, key_file or credential"));
        };
        let inner = self.open_beneath().await?;
        if let Some(expected) = &seal.store {
            let (store, found) = (inner.describe(), "it is not sealed".to_owned());
            return Err(self.seal_error(sealed::Error::OtherStore { store, expected: expected.clone(), found }));
        }
        self.seal_by(seal, inner, recovery).await
    }

    /// The form that everything has that is said about the seal.
    #[must_use]
    pub fn seal_error(&self, error: sealed::Error) -> Error {
        let hint = hint(&error);
        let error = Error::new(ErrorKind::Store, chain(&error)).at(self.seal_place("")).because(error);
        if hint.is_empty() { error } else { error.hint(hint) }
    }

    fn nothing_to_seal(&self) -> Option<Error> {
        let why = match &self.backend {
            Backend::Static(_) => "'keystore.static' is one key from the configuration, stored nowhere",
            Backend::Vault(vault) if vault.mode == VaultMode::Engine => "with 'mode: engine' keys never leave Vault",
            Backend::AwsKms(_) => "with 'keystore.aws.kms' the key never leaves AWS KMS",
            _ => return None,
        };
        let text = format!("there is nothing to seal: {why}");
        Some(Error::new(ErrorKind::Invalid, text).at(self.seal_place("")).hint("remove 'keystore.seal'"))
    }

    pub(super) async fn open_unsealed(&self) -> Result<Arc<dyn KeyStore>, Error> {
        self.unsealed(self.open_for(Purpose::Serving).await?).await
    }

    /// A store without a seal. One that has a seal of which the configuration does not know would only fail later, and new
    /// keys would lie beside the sealed ones in clear.
    async fn unsealed(&self, store: Arc<dyn KeyStore>) -> Result<Arc<dyn KeyStore>, Error> {
        if matches!(self.backend, Backend::Static(_)) || store.engine().is_some() {
            return Ok(store);
        }
        match sealed::TableInfo::read(store.as_ref()).await {
            // A store that cannot be asked now is no business of the seal.
            Ok(None) | Err(sealed::Error::Store(_)) => Ok(store),
            Ok(Some(_)) | Err(_) => {
                let text = format!("{} is sealed, and the configuration has no 'keystore.seal'", store.describe());
                let error = Error::new(ErrorKind::Store, text).at(self.place.clone());
                Err(error.hint("write 'keystore.seal' with one of its sealing keys; 'kes seal status --config FILE' lists the slots"))
            }
        }
    }

    pub(super) async fn open_sealed(&self, seal: &Seal) -> Result<sealed::Store, Error> {
        if let Some(error) = self.nothing_to_seal() {
            return Err(error);
        }
        // The keys first: without them not even a folder is made.
        let (keys, absent) = self.gather(seal).await?;
        let absent = match absent {
            Some(absent) if keys.is_empty() => return Err(absent),
            absent => absent,
        };
        let inner = self.open_for(Purpose::Serving).await?;
        let opened = self.unseal(seal, &inner, (keys, absent)).await;
        if opened.is_err() {
            inner.close().await;
        }
        opened
    }

    /// `absent` tells why a key is not among those to try.
    async fn unseal(
        &self,
        seal: &Seal,
        inner: &Arc<dyn KeyStore>,
        (keys, absent): (Vec<SealingKey>, Option<Error>),
    ) -> Result<sealed::Store, Error> {
        let mut opened = sealed::Store::open(Arc::clone(inner), keys).await;
        if let (Err(sealed::Error::WrongKey { .. }), Some(absent)) = (&opened, absent) {
            return Err(absent);
        }
        if let (Err(sealed::Error::NotSealed { .. }), None) = (&opened, &seal.store) {
            let sealed = match self.seal_by(seal, Arc::clone(inner), None).await {
                Ok(unlocked) => Some(unlocked.table().store),
                // Another server was quicker.
                Err(error) if is_sealed_already(&error) => None,
                Err(error) => return Err(error),
            };
            opened = sealed::Store::open(Arc::clone(inner), self.sealing_keys().await?).await;
            opened = opened.map(|store| match sealed {
                Some(id) => store.with_notice(format!("the key store is sealed from now on; its id is {id}")),
                None => store,
            });
        }
        self.expected(seal, inner.as_ref(), opened)
    }

    /// The store, if it is the one that `keystore.seal.store` names.
    fn expected(
        &self,
        seal: &Seal,
        inner: &dyn KeyStore,
        opened: Result<sealed::Store, sealed::Error>,
    ) -> Result<sealed::Store, Error> {
        let found = match (&opened, &seal.store) {
            (Ok(store), Some(expected)) if store.id() != *expected => Some(format!("it is the store {}", store.id())),
            (Err(sealed::Error::NotSealed { .. }), Some(_)) => Some("it is not sealed".to_owned()),
            _ => None,
        };
        if let (Some(found), Some(expected)) = (found, &seal.store) {
            let (store, expected) = (inner.describe(), expected.clone());
            return Err(self.seal_error(sealed::Error::OtherStore { store, expected, found }));
        }
        opened.map_err(|error| self.seal_error(error))
    }

    async fn seal_by(
        &self,
        seal: &Seal,
        inner: Arc<dyn KeyStore>,
        recovery: Option<RecoveryKey>,
    ) -> Result<Unlocked, Error> {
        let mut slots: Vec<_> = self.configured_keys(seal).await?.into_iter().map(NewSlot::of).collect();
        let mut written = None;
        if let Some(recovery) = recovery {
            slots.push(recovery_slot(recovery));
        } else if let Some(path) = &seal.recovery {
            let recovery = match self.recovery_key(seal)? {
                Some(key) => NewSlot { label: "recovery key".to_owned(), ..NewSlot::of(key) },
                None => {
                    let recovery = self.new_recovery_key()?;
                    self.write_recovery(path, &recovery)?;
                    written = Some(path);
                    recovery_slot(recovery)
                }
            };
            slots.push(recovery);
        }
        let sealed = Unlocked::init(inner, slots).await;
        if let (Err(_), Some(path)) = (&sealed, written) {
            // It opens nothing.
            let _ = std::fs::remove_file(path);
        }
        sealed.map_err(|error| self.seal_error(error))
    }

    fn new_recovery_key(&self) -> Result<RecoveryKey, Error> {
        RecoveryKey::generate().map_err(|cause| {
            Error::new(ErrorKind::Store, "the operating system's random generator fails").because(cause)
        })
    }

    fn write_recovery(&self, path: &Path, key: &RecoveryKey) -> Result<(), Error> {
        let write = || {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(key.to_text().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(|cause: std::io::Error| {
            let text = format!("the recovery key cannot be written to {}: {}", path.display(), io_words(&cause));
            let error = Error::new(ErrorKind::Store, text).at(self.seal_place("recovery")).because(cause);
            error.hint("name a file in a folder that this user may write to")
        })
    }

    pub(super) fn supported_seal(&self, seal: &Seal) -> Result<(), Error> {
        for (name, there) in
            [("aws", seal.aws.is_some()), ("azure", seal.azure.is_some()), ("vault", seal.vault.is_some())]
        {
            let can = match name {
                "aws" => cfg!(feature = "aws"),
                "azure" => cfg!(feature = "azure"),
                _ => cfg!(feature = "vault"),
            };
            if there && !can {
                let error = Error::new(ErrorKind::Unsupported, format!("this release has no 'seal.{name}' support"));
                return Err(error
                    .at(self.seal_place(name))
                    .hint("use passphrase, key, key_file, credential, or a kind that this release has"));
            }
        }
        Ok(())
    }

    /// What a store is sealed with: every key that is named.
    async fn configured_keys(&self, seal: &Seal) -> Result<Vec<SealingKey>, Error> {
        let mut keys = self.keys_here(seal)?;
        let (remote, absent) = self.remote_keys(seal).await;
        keys.extend(remote);
        absent.map_or(Ok(keys), Err)
    }

    fn keys_here(&self, seal: &Seal) -> Result<Vec<SealingKey>, Error> {
        self.supported_seal(seal)?;
        self.local_keys(seal).into_iter().collect()
    }

    /// The keys that stand in the configuration or in files of this machine.
    fn local_keys(&self, seal: &Seal) -> Vec<Result<SealingKey, Error>> {
        let mut keys = Vec::new();
        if let Some(text) = &seal.passphrase {
            let key = SealingKey::passphrase("keystore.seal.passphrase", text.expose().as_bytes());
            keys.push(key.map_err(|invalid| self.invalid("passphrase", &invalid)));
        }
        if let Some(path) = &seal.passphrase_file {
            let path = secret_path(path);
            keys.push(self.read("passphrase_file", &path).and_then(|content| {
                let key = SealingKey::passphrase(path.display().to_string(), &content);
                key.map_err(|invalid| self.invalid("passphrase_file", &invalid))
            }));
        }
        if let Some(text) = &seal.key {
            let key = SealingKey::key_from("keystore.seal.key", text.expose().as_bytes());
            keys.push(key.map_err(|invalid| self.invalid("key", &invalid)));
        }
        if let Some(path) = &seal.key_file {
            keys.push(self.key_in("key_file", &secret_path(path)));
        }
        if let Some(name) = &seal.credential {
            keys.push(match &seal.credentials {
                Some(directory) => self.key_in("credential", &directory.join(name)),
                None => {
                    let text = format!("there is no credential '{name}': CREDENTIALS_DIRECTORY is not set");
                    let error = Error::new(ErrorKind::Store, text).at(self.seal_place("credential"));
                    Err(error.hint(format!("write 'LoadCredential={name}:<path>' in the systemd unit")))
                }
            });
        }
        keys
    }

    /// The keys that wrap in other systems, which are asked for them, and why the first of those that are absent is.
    #[cfg_attr(
        not(any(feature = "aws", feature = "azure", feature = "vault")),
        expect(unused_mut, unused_variables, clippy::unused_async, reason = "there is no such system then")
    )]
    async fn remote_keys(&self, seal: &Seal) -> (Vec<SealingKey>, Option<Error>) {
        let mut keys: Vec<Result<SealingKey, Error>> = Vec::new();
        #[cfg(feature = "aws")]
        if let Some(aws) = &seal.aws {
            keys.push(self.remote_key("aws", super::connect_aws::seal(aws).await));
        }
        #[cfg(feature = "azure")]
        if let Some(azure) = &seal.azure {
            keys.push(self.remote_key("azure", super::connect_azure::seal(azure).await));
        }
        #[cfg(feature = "vault")]
        if let Some(vault) = &seal.vault {
            keys.push(self.remote_key("vault", super::connect_vault::seal(vault).await));
        }
        let (there, absent): (Vec<_>, Vec<_>) = keys.into_iter().partition(Result::is_ok);
        (there.into_iter().flatten().collect(), absent.into_iter().find_map(Result::err))
    }

    #[cfg(any(feature = "aws", feature = "azure", feature = "vault"))]
    fn remote_key(
        &self,
        kind: &str,
        opened: Result<Arc<dyn kes_keystore::Seal>, kes_keystore::Error>,
    ) -> Result<SealingKey, Error> {
        let seal = opened.map_err(|cause| self.no_seal(kind, cause))?;
        Ok(SealingKey::external(format!("keystore.seal.{kind}"), seal))
    }

    #[cfg(any(feature = "aws", feature = "azure", feature = "vault"))]
    fn no_seal(&self, kind: &str, cause: kes_keystore::Error) -> Error {
        let hint = "nothing was changed; try again when it answers, or name another key that opens the store";
        Error::new(ErrorKind::Store, chain(&cause)).at(self.seal_place(kind)).because(cause).hint(hint)
    }

    fn recovery_key(&self, seal: &Seal) -> Result<Option<SealingKey>, Error> {
        let Some(path) = seal.recovery.as_ref().filter(|path| path.exists()) else { return Ok(None) };
        let content = self.read("recovery", path)?;
        let invalid = |text: String| {
            let error = Error::new(ErrorKind::Store, text).at(self.seal_place("recovery"));
            error.hint("name the file of the recovery key; to have it written anew, a file that is not there")
        };
        let text = std::str::from_utf8(&content).map_err(|_| invalid(format!("{} is no text", path.display())))?;
        let key = RecoveryKey::parse(text).map_err(|problem| invalid(format!("{}: {problem}", path.display())))?;
        Ok(Some(SealingKey::recovery(path.display().to_string(), key)))
    }

    fn key_in(&self, setting: &str, path: &Path) -> Result<SealingKey, Error> {
        let content = self.read(setting, path)?;
        SealingKey::key_from(path.display().to_string(), &content).map_err(|invalid| self.invalid(setting, &invalid))
    }

    fn read(&self, setting: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
        // One allocation for the longest: a buffer that grows leaves its old content behind.
        let mut content = Zeroizing::new(Vec::with_capacity(MAX_SECRET_LEN as usize + 1));
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_SECRET_LEN + 1).read_to_end(&mut content));
        let refuse = |words: &str| {
            let text = format!("the sealing key cannot be read from {}: {words}", path.display());
            let error = Error::new(ErrorKind::Store, text).at(self.seal_place(setting));
            error.hint("name a file that the user who runs the server can read")
        };
        match read {
            Ok(len) if len as u64 > MAX_SECRET_LEN => Err(refuse("the file is longer than 64 KiB")),
            Ok(_) => Ok(content),
            Err(cause) => Err(refuse(&io_words(&cause)).because(cause)),
        }
    }

    fn invalid(&self, setting: &str, invalid: &InvalidSealingKey) -> Error {
        let error = Error::new(ErrorKind::Store, invalid.to_string()).at(self.seal_place(setting));
        error.hint("this makes a key: head -c 32 /dev/urandom | base64")
    }

    fn seal_place(&self, setting: &str) -> Place {
        match self.seal_places.iter().find(|place| place.key.rsplit('.').next() == Some(setting)) {
            Some(place) if !setting.is_empty() => place.clone(),
            _ => self.seal_places.first().unwrap_or(&self.place).clone(),
        }
    }
}

/// What [`Store::look`] found.
#[non_exhaustive]
pub struct Look {
    /// The store; beneath the seal, if that is not there yet.
    pub store: Arc<dyn KeyStore>,
    /// Whether opening it would seal it.
    pub is_to_be_sealed: bool,
}

fn recovery_slot(key: RecoveryKey) -> NewSlot {
    NewSlot::of(SealingKey::recovery("recovery key", key))
}

/// A path, or the name of a secret of the container.
pub(super) fn secret_path(path: &Path) -> PathBuf {
    let is_name = path.components().count() == 1 && path.parent() == Some(Path::new(""));
    if is_name && !path.exists() { Path::new(SECRETS).join(path) } else { path.to_owned() }
}

fn is_sealed_already(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    matches!(source, Some(sealed::Error::AlreadySealed { .. }))
}

/// What to do about it.
fn hint(error: &sealed::Error) -> &'static str {
    match error {
        sealed::Error::WrongKey { .. } => {
            "give the key that the store was sealed with; 'kes seal status --config FILE' lists the slots, and \
             'kes seal recover --config FILE' opens it with the recovery key"
        }
        sealed::Error::NothingToSeal { .. } => "remove 'keystore.seal'",
        sealed::Error::NotSealed { .. } => "'kes seal init --config FILE' seals it",
        sealed::Error::OtherStore { .. } => {
            "check the path, and that everything is mounted; else correct 'keystore.seal.store'"
        }
        sealed::Error::External { .. } => "nothing was changed; try again when it answers",
        _ => "",
    }
}
