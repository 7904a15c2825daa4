//! Who we are: an API key, certificate files that may change, or a certificate in memory.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use kes_identity::{ApiKey, Certificate, Identity, pem};
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::BuildError;

/// Certificates made from an API key are replaced when this much of their life is left (they live 90 days).
const RENEW_BEFORE: Duration = Duration::days(30);

/// What a client shows to servers.
#[derive(Default)]
pub(crate) enum Credentials {
    /// No certificate: enough for routes with `skip_auth`.
    #[default]
    None,
    /// A certificate made from the key, renewed before it expires.
    ApiKey(Box<ApiKey>),
    /// PEM files, read again when they change.
    Files { certificate: PathBuf, key: PathBuf, password: Option<Zeroizing<String>> },
    /// Read or made by the embedder.
    Certificate(Box<Certificate>),
}

/// The certificate in use, and what tells that it is due.
#[derive(Default)]
pub(crate) struct Loaded {
    certified: Option<Arc<CertifiedKey>>,
    identity: Option<Identity>,
    renew: Option<OffsetDateTime>,
    stamps: Option<[Stamp; 2]>,
}

/// A file's state; a change of the target of a symlink changes it too.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Credentials {
    /// Reads the files, or makes the certificate.
    pub(crate) fn load(&self, now: OffsetDateTime) -> Result<Loaded, BuildError> {
        match self {
            Self::None => Ok(Loaded::default()),
            Self::Certificate(certificate) => Ok(Loaded::of(certificate)),
            Self::ApiKey(key) => {
                let certificate = key.certificate(now).map_err(BuildError::ApiKey)?;
                let renew = certificate.facts().not_after - RENEW_BEFORE;
                Ok(Loaded { renew: Some(renew), ..Loaded::of(&certificate) })
            }
            Self::Files { certificate, key, password } => {
                // The stamps are taken first: a change while reading is then seen at the next look.
                let stamps = Some([Stamp::of(certificate), Stamp::of(key)]);
                let certificate = read_files(certificate, key, password.as_ref().map(|text| text.as_str()))?;
                Ok(Loaded { stamps, ..Loaded::of(&certificate) })
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::ApiKey(_) => "ApiKey",
            Self::Files { .. } => "Files",
            Self::Certificate(_) => "Certificate",
        })
    }
}

impl Loaded {
    fn of(certificate: &Certificate) -> Self {
        let (certified, identity) = (certificate.certified_key(), certificate.identity());
        Self { certified: Some(certified), identity: Some(identity), renew: None, stamps: None }
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn resolver(&self) -> Option<Arc<dyn ResolvesClientCert>> {
        let certified = self.certified.as_ref()?;
        Some(Arc::new(SingleCertAndKey::from(Arc::clone(certified))))
    }

    /// Whether a new certificate should be made, or the files be read again.
    pub(crate) fn is_due(&self, credentials: &Credentials, now: OffsetDateTime) -> bool {
        let expires = self.renew.is_some_and(|renew| renew <= now);
        let changed = match (credentials, &self.stamps) {
            (Credentials::Files { certificate, key, .. }, Some(stamps)) => {
                *stamps != [Stamp::of(certificate), Stamp::of(key)]
            }
            _ => false,
        };
        expires || changed
    }
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let Ok(metadata) = std::fs::metadata(path) else { return Self { modified: None, length: 0, inode: 0 } };
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode }
    }
}

fn read_files(certificate: &Path, key: &Path, password: Option<&str>) -> Result<Certificate, BuildError> {
    let chain = read("certificate", certificate, pem::certificates)?;
    let private = read("private key", key, |text| pem::private_key(text, password))?;
    Certificate::new(chain, private).map_err(BuildError::Certificate)
}

fn read<T>(
    what: &'static str,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, BuildError> {
    let text = pem::read(path).map(Zeroizing::new).map_err(|source| BuildError::Read { what, source })?;
    parse(&text).map_err(|source| BuildError::Pem { what, path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
