//! `keystore.fs` and `keystore.static`: stores without a network.

use super::{Backend, Missing};
use crate::error::{Error, ErrorKind, io_words};
use crate::secret::Secret;
use crate::section::{Refused, Section, Text};
use kes_keystore::static_store;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `keystore.fs`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fs {
    /// The directory, made at the start with its parents if it is missing.
    pub path: PathBuf,
}

pub(super) fn read_fs(section: &Section<'_>) -> Result<Backend, Refused> {
    let missing = Missing { section, prefix: "kesconf: invalid fs keystore" };
    let path = missing.need(section.filled_string("path"), "path", "no path specified")?;
    Ok(Backend::Fs(Fs { path: path.into() }))
}

/// `keystore.static`: the one key that a MinIO had in `MINIO_KMS_SECRET_KEY`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Static {
    /// The key in either of MinIO's spellings, `name:hex` or `name:base64`. Not judged here.
    pub key: Secret,
    /// The file that it came from, if one is named.
    pub file: Option<PathBuf>,
}

/// Where Docker and Podman put secrets.
const SECRETS: &str = "/run/secrets";

pub(super) fn read_static(section: &Section<'_>) -> Result<Backend, Refused> {
    let (key, file) = (section.secret("key"), section.filled("file"));
    let path = file.as_ref().map(|file| key_file(file.as_str()));
    let read = |file: Text| read_key_file(&key_file(file.as_str())).map_err(|message| file.error(message));
    let from_file = file.map(read).transpose();
    let from_file =
        from_file.map_err(|error| section.refuse(error.hint("name a readable file, or a secret of the container")))?;
    match (key, from_file) {
        (Some(key), Some(file))
            if key.expose().trim() != file.expose()
                && !static_store::Store::is_same_key(key.expose(), file.expose()) =>
        {
            let text = "kesconf: invalid static keystore: 'key' and 'file' hold different keys";
            let error = Error::new(ErrorKind::Invalid, text).at(section.place("file"));
            Err(section.refuse(error.hint("keep the one that MinIO used")))
        }
        (Some(key), _) | (None, Some(key)) => Ok(Backend::Static(Static { key, file: path })),
        (None, None) => {
            let missing = Missing { section, prefix: "kesconf: invalid static keystore" };
            Err(missing.refuse("key", "no key specified"))
        }
    }
}

fn key_file(name: &str) -> PathBuf {
    let path = Path::new(name);
    if name.contains('/') || path.exists() { path.to_owned() } else { Path::new(SECRETS).join(path) }
}

fn read_key_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|cause| {
        format!("kesconf: failed to read static key from '{}': {}", path.display(), io_words(&cause))
    })?;
    Ok(Secret::new(Zeroizing::new(text.trim().to_owned())))
}
