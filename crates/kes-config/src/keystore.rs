//! `keystore`: where keys live. One block for each kind of store, of which exactly one may stand there.
//!
//! Every block is read and judged whether or not this release can open such a store, so that a file can be checked
//! anywhere, and so that a mistake is named before the missing support is.

mod aws;
mod azure;
#[cfg(feature = "aws")]
mod connect_aws;
#[cfg(feature = "azure")]
mod connect_azure;
#[cfg(feature = "vault")]
mod connect_vault;
mod gcp;
mod remote;
mod seal;
mod simple;
mod unseal;
mod vault;

pub use aws::{AwsCredentials, AwsKms, AwsSecretsManager, SealAws};
pub use azure::{AzureKeyVault, AzureLogin, AzureNames};
pub use gcp::{GcpCredentials, GcpSecretManager};
pub use remote::{Entrust, Fortanix, Gemalto, Generic, Kes};
pub use seal::{Seal, SealAzure, SealVault};
pub use simple::{Fs, Static};
pub use unseal::Look;
pub use vault::{Jwt, Transit, Vault, VaultAuth, VaultLogin, VaultMode, VaultToken, VaultVersion};

use crate::error::{Error, ErrorKind, Place, io_words};
use crate::known::STORES;
use crate::nearest::nearest;
use crate::secret::Secret;
use crate::section::{Refused, Section};
use kes_keystore::{KeyStore, fs, static_store};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The stores that can be opened here, by the names of their blocks.
const SUPPORTED: &[&str] = &[
    "fs",
    "static",
    #[cfg(feature = "vault")]
    "vault",
    #[cfg(feature = "aws")]
    "aws",
    #[cfg(feature = "azure")]
    "azure",
];

/// Why a store is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To serve from it: what is not permitted should come out now.
    Serving,
    /// To look at it, or to do one thing.
    Visiting,
}

/// The key store of a file.
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    seal: Option<Seal>,
    place: Place,
    /// Where `keystore.seal` stands, then its keys.
    seal_places: Vec<Place>,
    fingerprint: u64,
}

/// The kinds of key stores. The memory store is none of them: it is lost with the process, so no file can name it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Backend {
    /// `keystore.fs`: files in a directory.
    Fs(Fs),
    /// `keystore.static`: MinIO's single key.
    Static(Static),
    /// `keystore.vault`: HashiCorp Vault or OpenBao.
    Vault(Box<Vault>),
    /// `keystore.aws.secretsmanager`.
    AwsSecretsManager(AwsSecretsManager),
    /// `keystore.aws.kms`.
    AwsKms(AwsKms),
    /// `keystore.azure.keyvault`.
    Azure(AzureKeyVault),
    /// `keystore.gcp.secretmanager`.
    Gcp(GcpSecretManager),
    /// `keystore.fortanix.sdkms`.
    Fortanix(Fortanix),
    /// `keystore.gemalto.keysecure`: Thales CipherTrust Manager.
    Gemalto(Gemalto),
    /// `keystore.entrust.keycontrol`.
    Entrust(Entrust),
    /// `keystore.generic`: the REST plug-in of v0.14 to 2023-02-15.
    Generic(Generic),
    /// `keystore.kes`: another KES server, 2023-02-15 to 2023-10-27.
    Kes(Kes),
}

impl Backend {
    /// The name of the block directly below `keystore`, which is also the name of the support for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fs(_) => "fs",
            Self::Static(_) => "static",
            Self::Vault(_) => "vault",
            Self::AwsSecretsManager(_) | Self::AwsKms(_) => "aws",
            Self::Azure(_) => "azure",
            Self::Gcp(_) => "gcp",
            Self::Fortanix(_) => "fortanix",
            Self::Gemalto(_) => "gemalto",
            Self::Entrust(_) => "entrust",
            Self::Generic(_) => "generic",
            Self::Kes(_) => "kes",
        }
    }
}

impl fmt::Display for Backend {
    /// As the banner shows it (config.md 7): `Filesystem: ./keys`. No secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fs(fs) => write!(f, "Filesystem: {}", fs.path.display()),
            Self::Static(_) => f.write_str("Static Key"),
            Self::Vault(vault) => write!(f, "Hashicorp Vault: {}", vault.endpoint),
            Self::AwsSecretsManager(aws) => write!(f, "AWS SecretsManager: {}", aws.endpoint),
            Self::AwsKms(aws) => write!(f, "AWS KMS: {}", aws.key),
            Self::Azure(azure) => write!(f, "Azure KeyVault: {}", azure.endpoint),
            Self::Gcp(gcp) => write!(f, "GCP SecretManager: Project={}", gcp.project_id),
            Self::Fortanix(fortanix) => write!(f, "Fortanix SDKMS: {}", fortanix.endpoint),
            Self::Gemalto(gemalto) => write!(f, "Gemalto KeySecure: {}", gemalto.endpoint),
            Self::Entrust(entrust) => write!(f, "Entrust KeyControl: {}", entrust.endpoint),
            Self::Generic(generic) => write!(f, "Generic: {}", generic.endpoint),
            Self::Kes(kes) => {
                let endpoints: Vec<_> = kes.endpoints.iter().map(ToString::to_string).collect();
                write!(f, "KES: {}", endpoints.join(", "))
            }
        }
    }
}

impl Store {
    /// Which store it is, with its settings.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// What seals the store's values, if anything does: `keystore.seal`.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// Whether both sections say the same, environment variables included: a reload then keeps the store and its cache.
    /// Compares keyed hashes, so that no copy of a credential is kept for it; meaningful within one process.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Whether this release can open such a store at all. Opens nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`].
    pub fn supported(&self) -> Result<(), Error> {
        if let Some(seal) = &self.seal {
            self.supported_seal(seal)?;
        }
        match &self.backend {
            Backend::Fs(_) | Backend::Static(_) => Ok(()),
            #[cfg(feature = "vault")]
            Backend::Vault(_) => Ok(()),
            #[cfg(feature = "aws")]
            Backend::AwsSecretsManager(_) | Backend::AwsKms(_) => Ok(()),
            #[cfg(feature = "azure")]
            Backend::Azure(_) => Ok(()),
            other => {
                let text = format!("this release has no '{}' support", other.name());
                let error = Error::new(ErrorKind::Unsupported, text).at(self.place.clone());
                Err(error.hint(format!("the stores of this release are: {}", SUPPORTED.join(", "))))
            }
        }
    }

    /// Opens the store, through its seal if there is one. A store that is to be sealed and is not yet is sealed now, and one
    /// that is sealed is not opened without `keystore.seal`: see [`kes_keystore::sealed`].
    ///
    /// # Errors
    /// As [`Store::supported`]; [`ErrorKind::Store`] if it cannot be opened, with the [`kes_keystore::Error`] or
    /// [`kes_keystore::sealed::Error`] as source.
    pub async fn open(&self) -> Result<Arc<dyn KeyStore>, Error> {
        match &self.seal {
            Some(seal) => Ok(Arc::new(self.open_sealed(seal).await?)),
            None => self.open_unsealed().await,
        }
    }

    /// Opens the store beneath the seal, where values are as they are stored.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_beneath(&self) -> Result<Arc<dyn KeyStore>, Error> {
        self.open_for(Purpose::Visiting).await
    }

    #[cfg_attr(
        not(any(feature = "aws", feature = "azure")),
        expect(unused_variables, reason = "the others find out without changing anything")
    )]
    async fn open_for(&self, purpose: Purpose) -> Result<Arc<dyn KeyStore>, Error> {
        self.supported()?;
        match &self.backend {
            Backend::Fs(fs) => self.open_directory(fs).await,
            Backend::Static(Static { key, .. }) => self.open_static(key),
            #[cfg(feature = "vault")]
            Backend::Vault(vault) => connect_vault::store(vault).await.map_err(|cause| self.not_connected(cause)),
            #[cfg(feature = "aws")]
            Backend::AwsSecretsManager(aws) => connect_aws::secrets_manager(aws, purpose == Purpose::Serving)
                .await
                .map_err(|cause| self.not_connected(cause)),
            #[cfg(feature = "aws")]
            Backend::AwsKms(aws) => {
                let opened = connect_aws::kms(aws, purpose == Purpose::Serving).await;
                opened.map_err(|cause| self.not_connected(cause))
            }
            #[cfg(feature = "azure")]
            Backend::Azure(azure) => {
                let opened = connect_azure::store(azure, purpose == Purpose::Serving).await;
                opened.map_err(|cause| self.not_connected(cause))
            }
            _ => unreachable!("the others are not supported"),
        }
    }

    /// A store elsewhere that could not be opened: its own words and those beneath.
    #[cfg(any(feature = "aws", feature = "azure", feature = "vault"))]
    fn not_connected(&self, cause: kes_keystore::Error) -> Error {
        Error::new(ErrorKind::Store, chain(&cause)).at(self.place.clone()).because(cause)
    }

    fn open_static(&self, key: &Secret) -> Result<Arc<dyn KeyStore>, Error> {
        match static_store::Store::parse(key.expose()) {
            Ok(store) => Ok(Arc::new(store)),
            Err(cause) => {
                let text = format!("kesconf: invalid static keystore: {cause}");
                let error = Error::new(ErrorKind::Store, text).at(self.place.clone()).because(cause);
                Err(error.hint("write the value of MINIO_KMS_SECRET_KEY as MinIO had it, such as my-key:<base64>"))
            }
        }
    }

    async fn open_directory(&self, Fs { path }: &Fs) -> Result<Arc<dyn KeyStore>, Error> {
        match fs::Store::open(path).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(cause) => {
                let place = Place { key: format!("{}.path", self.place.key), ..self.place.clone() };
                let error = Error::new(ErrorKind::Store, directory_fault(path).unwrap_or_else(|| cause.to_string()));
                let hint = "name a directory that the server may write to, or one that it can make";
                Err(error.at(place).hint(hint).because(cause))
            }
        }
    }
}

/// An error and what lies beneath it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The old server's text for a directory that cannot be used or made.
fn directory_fault(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => Some(format!("fs: '{}' is not a directory", path.display())),
        Ok(_) => None,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            let missing = |part: &&Path| !part.as_os_str().is_empty() && !part.exists();
            let missing = path.ancestors().take_while(missing).last()?;
            let cause = std::fs::create_dir(missing).err()?;
            Some(format!("mkdir {}: {}", missing.display(), io_words(&cause)))
        }
        Err(cause) => Some(format!("stat {}: {}", path.display(), io_words(&cause))),
    }
}

/// A URL or host name. It may hold a user name and password (`https://user:password@host`), which neither `Debug` nor
/// `Display` shows.
pub struct Endpoint(String);

impl Endpoint {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// With a scheme, if it was written without one.
    // Departs from upstream: there the missing scheme is noticed on use only, or by the health probe.
    fn with_scheme(text: &str) -> Self {
        if text.contains("://") { Self::new(text) } else { Self(format!("https://{text}")) }
    }

    /// The text, with whatever it holds.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").map_or(("", self.0.as_str()), |(scheme, rest)| (scheme, rest));
        let host = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
        let shown = host.rfind('@').map_or(rest, |at| &rest[at + 1..]);
        if scheme.is_empty() { f.write_str(shown) } else { write!(f, "{scheme}://{shown}") }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// How we show ourselves to a store over TLS, and whom we trust: the `tls` block of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTls {
    /// The PEM file with our private key.
    pub key: Option<PathBuf>,
    /// The PEM file with our certificate chain.
    pub cert: Option<PathBuf>,
    /// A file or directory with roots to trust. Default: the system's.
    pub ca: Option<PathBuf>,
}

impl ClientTls {
    fn read(section: &Section<'_>) -> Self {
        let path = |key| section.filled_string(key).map(PathBuf::from);
        Self { key: path("key"), cert: path("cert"), ca: path("ca") }
    }

    fn roots_only(section: &Section<'_>) -> Self {
        Self { ca: section.filled_string("ca").map(PathBuf::from), ..Self::default() }
    }
}

/// Words for "`{what}` is missing here", in the form that the old server has for a store.
struct Missing<'a> {
    section: &'a Section<'a>,
    prefix: &'static str,
}

impl Missing<'_> {
    /// The value, or the refusal `<prefix>: <text>` with the place of the missing key.
    fn need<T>(&self, value: Option<T>, key: &str, text: &str) -> Result<T, Refused> {
        value.ok_or_else(|| self.refuse(key, text))
    }

    fn refuse(&self, key: &str, text: &str) -> Refused {
        let error = self.error(key, text);
        let path = error.place().map(|place| place.key.clone()).unwrap_or_default();
        self.section.refuse(error.hint(format!("write a value for '{path}'")))
    }

    fn error(&self, key: &str, text: &str) -> Error {
        self.section.error(key, format!("{}: {text}", self.prefix))
    }
}

type Read = Result<Backend, Refused>;
type Reader = fn(&Section<'_>) -> Read;

/// Step 13 of config.md 3: exactly one store, and that one complete.
pub(crate) fn read(root: &Section<'_>) -> Result<Store, Refused> {
    let section = root.section("keystore");
    let (aws, azure, gcp) = (section.block("aws"), section.block("azure"), section.block("gcp"));
    let stores: [(Section<'_>, Reader); 12] = [
        (section.block("fs"), simple::read_fs),
        (section.block("static"), simple::read_static),
        (section.block("vault"), vault::read),
        (aws.block("secretsmanager"), aws::read_secretsmanager),
        (aws.block("kms"), aws::read_kms),
        (azure.block("keyvault"), azure::read),
        (gcp.block("secretmanager"), gcp::read),
        (section.block("fortanix").block("sdkms"), remote::read_fortanix),
        (section.block("gemalto").block("keysecure"), remote::read_gemalto),
        (section.block("entrust").block("keycontrol"), remote::read_entrust),
        (section.block("generic"), remote::read_generic),
        (section.block("kes"), remote::read_kes),
    ];
    let found: Vec<_> = stores.into_iter().filter(|(block, _)| block.is_present()).collect();
    let misplaced: Vec<_> = root.keys().filter(|key| STORES.contains(key)).collect();
    match (found.as_slice(), misplaced.first()) {
        ([], _) => {
            root.refuse(nothing(&section, &misplaced, root));
        }
        (_, Some(name)) => {
            // Departs from upstream: it ignores the key, and with it where its author wanted the keys to be.
            let text = format!("kesconf: invalid keystore config: '{name}' stands outside of 'keystore'");
            let hint = format!("move it below 'keystore', or remove it: 'keystore.{name}'");
            root.refuse(root.error(name, text).hint(hint));
        }
        ([_, (second, _), ..], None) => {
            let names: Vec<_> = found.iter().map(|(block, _)| block.here().key).collect();
            let text = "kesconf: invalid keystore config: more than once keystore specified";
            let error = Error::new(ErrorKind::Invalid, text).at(second.here());
            root.refuse(error.hint(format!("keep one of {}", names.join(", "))));
        }
        ([_], None) => {}
    }
    // Every block is read whatever was said of them, so that all mistakes come to light.
    let backends: Vec<_> = found.iter().map(|(block, read)| (block, read(block))).collect();
    let seal = seal::read(&section.block("seal"));
    let Some((block, backend)) = backends.into_iter().next() else { return Err(Refused) };
    let backend = backend?;
    // A key file may have changed where the file that names it has not.
    let content = match &backend {
        Backend::Static(Static { key, .. }) => key.expose(),
        _ => "",
    };
    let fingerprint = section.fingerprint(content);
    let seal_section = section.section("seal");
    let mut seal_places = vec![seal_section.here()];
    seal_places.extend(seal_section.keys().map(|key| seal_section.place(key)));
    Ok(Store { backend, seal: seal?, place: block.here(), seal_places, fingerprint })
}

/// No store. The memory store, which releases up to 2023-02-15 took instead, loses every key at the next start.
fn nothing(section: &Section<'_>, misplaced: &[&str], root: &Section<'_>) -> Error {
    const TEXT: &str = "kesconf: no keystore specified";
    if let Some(name) = misplaced.first() {
        let hint = format!(
            "stores stand below 'keystore': write a line 'keystore:' above '{name}:', and indent '{name}' by two"
        );
        return root.error(name, TEXT).hint(hint);
    }
    let error = |key: &str| Error::new(ErrorKind::Invalid, TEXT).at(section.place(key));
    let Some(key) = section.keys().find(|key| *key != "seal") else {
        let error = Error::new(ErrorKind::Invalid, TEXT).at(section.here());
        return error.hint("write 'keystore: {fs: {path: <directory>}}', or another store");
    };
    match nearest(key, STORES.iter().copied()) {
        Some(name) if name == key => error(key).hint(format!("nothing is filled in below 'keystore.{key}'")),
        Some(name) => error(key).hint(format!("did you mean 'keystore.{name}'?")),
        None => error(key).hint(format!("there is no store '{key}'; the stores are {}", STORES.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_shown_without_passwords() {
        let cases = [
            ("https://user:pass@vault.internal:8200/x", "https://vault.internal:8200/x"),
            ("user:p@ss@host", "host"),
            ("https://vault.internal:8200", "https://vault.internal:8200"),
            ("secretsmanager.eu-central-1.amazonaws.com", "secretsmanager.eu-central-1.amazonaws.com"),
            ("https://host/path@x", "https://host/path@x"),
        ];
        for (text, shown) in cases {
            let endpoint = Endpoint::new(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(format!("{endpoint:?}"), format!("{shown:?}"));
            assert_eq!(endpoint.expose(), text);
        }
        assert_eq!(
            Endpoint::with_scheme("secretmanager.googleapis.com:443").expose(),
            "https://secretmanager.googleapis.com:443"
        );
    }
}
