//! `keystore.seal`: what wraps the values of whichever store stands beside it.

use super::unseal::secret_path;
use super::vault::check_pair;
use super::{AzureLogin, ClientTls, Endpoint, Missing, SealAws, VaultLogin};
use crate::secret::Secret;
use crate::section::{Refused, Section};
use std::path::PathBuf;

/// `keystore.seal`. At least one of the parts is there; each can open the store.
#[derive(Debug)]
#[non_exhaustive]
pub struct Seal {
    /// The id of the one store that may be opened. Default: any, and one that is not sealed yet is sealed.
    pub store: Option<String>,
    /// A passphrase, from which a key is derived.
    pub passphrase: Option<Secret>,
    /// A file that holds a passphrase; a name without `/` is that of a secret of the container.
    pub passphrase_file: Option<PathBuf>,
    /// A key as text.
    pub key: Option<Secret>,
    /// A file that holds a key; a name without `/` is that of a secret of the container.
    pub key_file: Option<PathBuf>,
    /// A credential that systemd hands over, by its name (`LoadCredential=`).
    pub credential: Option<String>,
    /// The file of the recovery key: written when the store is sealed, if it is not there; tried last, if it is.
    pub recovery: Option<PathBuf>,
    /// A key in AWS KMS.
    pub aws: Option<SealAws>,
    /// A key in Azure Key Vault.
    pub azure: Option<SealAzure>,
    /// A key in a Vault's transit engine.
    pub vault: Option<SealVault>,
    /// Where systemd puts credentials: `CREDENTIALS_DIRECTORY`.
    pub(super) credentials: Option<PathBuf>,
}

impl Seal {
    /// The files that hold keys and passphrases, by their settings; the recovery key is not among them.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let passphrase = self.passphrase_file.as_deref().map(|path| ("passphrase_file", secret_path(path)));
        let key = self.key_file.as_deref().map(|path| ("key_file", secret_path(path)));
        let credential = self.credential.as_ref().zip(self.credentials.as_ref());
        let credential = credential.map(|(name, folder)| ("credential", folder.join(name)));
        passphrase.into_iter().chain(key).chain(credential).collect()
    }

    /// Whether the credential that it names is out of reach, because this process is none of systemd's services.
    #[must_use]
    pub fn lacks_credentials(&self) -> bool {
        self.credential.is_some() && self.credentials.is_none()
    }
}

/// `keystore.seal.azure`.
#[derive(Debug)]
#[non_exhaustive]
pub struct SealAzure {
    /// `https://<name>.vault.azure.net`. The scheme is added if it was left out.
    pub endpoint: Endpoint,
    /// The name of the key.
    pub key: String,
    /// How the server logs in.
    pub login: AzureLogin,
    /// Only `ca`: whom to trust, at the login as well.
    pub tls: ClientTls,
}

/// `keystore.seal.vault`.
#[derive(Debug)]
#[non_exhaustive]
pub struct SealVault {
    /// The server's URL.
    pub endpoint: Endpoint,
    /// The namespace; `None`: no namespace header is sent.
    pub namespace: Option<String>,
    /// The mount path of the transit engine. Default `transit`.
    pub engine: String,
    /// The name of the key.
    pub key: String,
    /// How the server logs in.
    pub login: VaultLogin,
    /// TLS towards the server; `key` and `cert` are both there or neither is.
    pub tls: ClientTls,
}

pub(super) fn read(section: &Section<'_>) -> Result<Option<Seal>, Refused> {
    let (passphrase, key) = (section.secret("passphrase"), section.secret("key"));
    let path = |key| section.filled_string(key).map(PathBuf::from);
    let (passphrase_file, key_file, recovery) = (path("passphrase_file"), path("key_file"), path("recovery"));
    let (store, credential) = (section.filled_string("store"), section.filled_string("credential"));
    let credentials = section.context().variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let block = |key| Some(section.block(key)).filter(Section::is_present);
    let aws = block("aws").map(|aws| SealAws::read(&aws, "kesconf: invalid AWS seal"));
    let azure = block("azure").map(|azure| read_azure(&azure));
    let vault = block("vault").map(|vault| read_vault(&vault));
    if !section.is_present() {
        return Ok(None);
    }
    let (aws, azure, vault) = (aws.transpose()?, azure.transpose()?, vault.transpose()?);
    let in_files = passphrase_file.is_some() || key_file.is_some() || credential.is_some();
    let named = passphrase.is_some() || key.is_some() || in_files;
    if !named && aws.is_none() && azure.is_none() && vault.is_none() {
        let error = section.error("passphrase", "kesconf: invalid keystore seal: nothing to seal with specified");
        return Err(section.refuse(error.hint("write passphrase, key, key_file, credential, aws, azure or vault")));
    }
    if credential.as_ref().is_some_and(|name| name.contains('/') || name == "..") {
        let error = section.error("credential", "kesconf: invalid keystore seal: a credential has a name, not a path");
        let hint = "write the name from 'LoadCredential=<name>:<path>' of the systemd unit";
        return Err(section.refuse(error.hint(hint)));
    }
    Ok(Some(Seal {
        store,
        passphrase,
        passphrase_file,
        key,
        key_file,
        credential,
        recovery,
        aws,
        azure,
        vault,
        credentials,
    }))
}

fn read_azure(section: &Section<'_>) -> Result<SealAzure, Refused> {
    const PREFIX: &str = "kesconf: invalid Azure seal";
    let endpoint = section.filled("endpoint").map(|text| Endpoint::with_scheme(text.as_str()));
    let key = section.filled_string("key");
    let tls = ClientTls::roots_only(&section.section("tls"));

    let missing = Missing { section, prefix: PREFIX };
    let endpoint = missing.need(endpoint, "endpoint", "no endpoint specified");
    let key = missing.need(key, "key", "no key specified");
    let login = AzureLogin::read(section, PREFIX);
    Ok(SealAzure { endpoint: endpoint?, key: key?, login: login?, tls })
}

fn read_vault(section: &Section<'_>) -> Result<SealVault, Refused> {
    const PREFIX: &str = "kesconf: invalid vault seal";
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let namespace = section.filled_string("namespace");
    let engine = section.filled_string("engine").unwrap_or_else(|| "transit".to_owned());
    let key = section.filled_string("key");
    let tls_section = section.block("tls");
    let tls = ClientTls::read(&tls_section);

    let missing = Missing { section, prefix: PREFIX };
    let endpoint = missing.need(endpoint, "endpoint", "no endpoint specified");
    let key = missing.need(key, "key", "no key specified");
    let login = VaultLogin::read(section, namespace.as_deref(), PREFIX);
    check_pair(&tls, &tls_section, PREFIX)?;
    Ok(SealVault { endpoint: endpoint?, namespace, engine, key: key?, login: login?, tls })
}
