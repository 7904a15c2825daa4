//! Files and folders, with the error texts of the old server.

use std::fs;
use std::io;
use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::{Error, certificates};

/// Reads a whole file.
///
/// # Errors
/// [`Error::File`].
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = fs::File::open(path).map_err(|error| failed("open", path, &error))?;
    let mut bytes = Vec::with_capacity(capacity(&file));
    io::Read::read_to_end(&mut file, &mut bytes).map_err(|error| failed("read", path, &error))?;
    Ok(bytes)
}

/// The certificates of a file, or of every file of a folder in the order of their names: what `tls.ca` names.
///
/// Every file must be pure `CERTIFICATE` PEM. Folders inside are skipped; an empty folder is fine.
///
/// # Errors
/// [`Error::File`], [`Error::NoAuthority`], [`Error::NotPem`] and [`Error::ForeignBlock`], the latter two in an
/// [`Error::InFolder`] if `path` is a folder.
pub fn ca_path(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    if !fs::metadata(path).map_err(|error| failed("stat", path, &error))?.is_dir() {
        return authorities(path);
    }
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut files = entries.map_err(|error| failed("open", path, &error))?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for file in files.iter().map(fs::DirEntry::path) {
        // Departs from upstream: a link to a folder is skipped as a folder is. A Kubernetes volume has one, `..data`.
        if !fs::metadata(&file).is_ok_and(|file| file.is_dir()) {
            found.extend(authorities(&file).map_err(|error| match error {
                error @ (Error::File { .. } | Error::NoAuthority(_)) => error,
                error => Error::InFolder { path: file, error: Box::new(error) },
            })?);
        }
    }
    Ok(found)
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates(&read(path)?).map_err(|error| match error {
        Error::Empty | Error::MalformedCertificate => Error::NoAuthority(path.to_owned()),
        error => error,
    })
}

/// Enough to read the file without growing: a buffer that grows leaves copies of private keys behind.
fn capacity(file: &fs::File) -> usize {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    usize::try_from(length).map_or(0, |length| length.min(1 << 20) + 1)
}

fn failed(operation: &'static str, path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => error.to_string(),
    };
    Error::File { operation, path: path.to_owned(), reason, kind: error.kind() }
}
