//! `keystore.fs` and `keystore.static`: stores without a network.

use super::{Backend, Missing};
use crate::error::{Error, ErrorKind, io_words};
use crate::secret::Secret;
use crate::section::Section;
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

pub(super) fn read_fs(section: &Section<'_>) -> Result<Backend, Error> {
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
}

/// Where Docker and Podman put secrets.
const SECRETS: &str = "/run/secrets";

pub(super) fn read_static(section: &Section<'_>) -> Result<Backend, Error> {
    let (key, file) = (section.secret("key"), section.filled("file"));
    let from_file = file.map(|file| read_key_file(file.as_str()).map_err(|message| file.error(message))).transpose();
    let from_file = from_file.map_err(|error| error.hint("name a readable file, or a secret of the container"))?;
    match (key, from_file) {
        (Some(key), Some(file))
            if key.expose().trim() != file.expose()
                && !static_store::Store::is_same_key(key.expose(), file.expose()) =>
        {
            let text = "kesconf: invalid static keystore: 'key' and 'file' hold different keys";
            let error = Error::new(ErrorKind::Invalid, text).at(section.place("file"));
            Err(error.hint("keep the one that MinIO used"))
        }
        (Some(key), _) | (None, Some(key)) => Ok(Backend::Static(Static { key })),
        (None, None) => {
            let missing = Missing { section, prefix: "kesconf: invalid static keystore" };
            Err(missing.refuse("key", "no key specified"))
        }
    }
}

fn read_key_file(name: &str) -> Result<Secret, String> {
    let path = Path::new(name);
    let path = if name.contains('/') || path.exists() { path.to_owned() } else { Path::new(SECRETS).join(path) };
    let text = std::fs::read_to_string(&path).map(Zeroizing::new).map_err(|cause| {
        format!("kesconf: failed to read static key from '{}': {}", path.display(), io_words(&cause))
    })?;
    Ok(Secret::new(Zeroizing::new(text.trim().to_owned())))
}
