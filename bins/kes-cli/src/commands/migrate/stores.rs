//! Opening both sides.

use std::path::Path;
use std::sync::Arc;

use kes_config::keystore::{Backend, Endpoint};
use kes_config::{Config, Error, ErrorKind, File, Warning};
use kes_keystore::{KeyStore, memory};

use crate::failure::{Failure, Outcome, Status};

/// A configuration and its store.
pub(super) struct Side {
    config: Config,
    pub(super) store: Arc<dyn KeyStore>,
    /// Where its keys are, as long as they are there: what the state file knows it by.
    pub(super) place: String,
    pub(super) warnings: Vec<Warning>,
}

/// What a side is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Keys come from there.
    Source,
    /// Keys go there.
    Target,
    /// Keys would go there, but nothing may be changed.
    DryTarget,
}

impl Side {
    /// Reads a configuration and opens its store. The whole file must be in order; its TLS files are not opened.
    pub(super) async fn open(path: &Path, purpose: Purpose) -> Outcome<Self> {
        let file = File::read(path).map_err(|error| refused(&error))?;
        let loaded = file.load().map_err(|error| refused(&error))?;
        let (config, warnings) = (loaded.config, loaded.warnings);
        let warnings = warnings.into_iter().filter(|warning| warning.place.key.starts_with("keystore")).collect();
        let store = match missing_directory(&config) {
            Some(path) if purpose == Purpose::Source => return Err(no_source(path)),
            Some(_) if purpose == Purpose::DryTarget => Arc::new(memory::Store::default()),
            _ if purpose == Purpose::Target => config.open_store().await.map_err(|error| refused(&error))?,
            _ => config.open_store_unchanged().await.map_err(|error| refused(&error))?,
        };
        let place = place(&config);
        Ok(Self { config, store, place, warnings })
    }

    /// What the store is called in the report.
    pub(super) fn title(&self) -> String {
        // The stand-in for a folder that is not there does not know what it stands for.
        if missing_directory(&self.config).is_some() {
            self.config.store.backend().to_string()
        } else {
            self.store.describe()
        }
    }

    /// Whether both sides are one store, as far as their configurations tell.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.config.store.backend(), other.config.store.backend());
        // Their account hangs on the credentials: two of them are two stores, for all that is known here.
        let by_account = matches!(ours, Backend::Fortanix(_) | Backend::Static(_) | Backend::AwsKms(_));
        self.config.store.same_as(&other.config.store)
            || (!by_account && self.place == other.place)
            || matches!((ours, theirs), (Backend::Fs(ours), Backend::Fs(theirs)) if is_one_directory(&ours.path, &theirs.path))
    }
}

/// Opening a store of files makes its directory: for a target that is welcome, for a misspelt source it is not.
fn missing_directory(config: &Config) -> Option<&Path> {
    match config.store.backend() {
        Backend::Fs(fs) if !fs.path.exists() => Some(&fs.path),
        _ => None,
    }
}

/// Departs from upstream: there the directory was made, and the migration succeeded without a key.
fn no_source(path: &Path) -> Failure {
    let text = format!("the source's directory {} does not exist", path.display());
    Failure { status: Status::StoreUnavailable, ..Failure::new(text) }.hint("is it spelt and mounted as it should be?")
}

fn refused(error: &Error) -> Failure {
    let status = match error.kind() {
        ErrorKind::Store => Status::StoreUnavailable,
        _ => Status::General,
    };
    Failure { status, ..Failure::new(error.to_string()) }
}

/// Credentials are left out: one store may be reached by several.
fn place(config: &Config) -> String {
    let url = |endpoint: &Endpoint| endpoint.to_string().trim_end_matches('/').to_lowercase();
    let trimmed = |text: &str| text.trim_matches('/').to_owned();
    let backend = config.store.backend();
    let parts = match backend {
        Backend::Fs(fs) => {
            let absolute = || std::path::absolute(&fs.path).unwrap_or_else(|_| fs.path.clone());
            let path = std::fs::canonicalize(&fs.path).unwrap_or_else(|_| absolute());
            vec![path.display().to_string()]
        }
        Backend::Vault(vault) => {
            let namespace = vault.namespace.as_deref().unwrap_or_default();
            vec![url(&vault.endpoint), trimmed(namespace), trimmed(&vault.engine), trimmed(&vault.prefix)]
        }
        Backend::AwsSecretsManager(aws) => vec![url(&aws.endpoint), aws.region.clone(), aws.prefix.clone()],
        Backend::Azure(azure) => vec![url(&azure.endpoint)],
        Backend::Gemalto(gemalto) => vec![url(&gemalto.endpoint), gemalto.domain.clone().unwrap_or_default()],
        Backend::Entrust(entrust) => vec![url(&entrust.endpoint), entrust.vault_id.clone(), entrust.box_id.clone()],
        Backend::Kes(kes) => kes.endpoints.iter().map(url).chain([kes.enclave.clone()]).collect(),
        other => vec![other.to_string()],
    };
    format!("{} {}", backend.name(), parts.join(" "))
}

/// A directory may have several names, also by mounts, which no path tells.
fn is_one_directory(ours: &Path, theirs: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(ours), Ok(theirs)) = (std::fs::metadata(ours), std::fs::metadata(theirs)) {
        use std::os::unix::fs::MetadataExt;
        return (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
    }
    ours == theirs
}
