//! Files that may change under a running server: looked at every few seconds, through symbolic links.
//!
//! Kubernetes replaces a volume's files by swapping one link, editors by renaming; neither can be missed by looking at
//! what the paths lead to.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kes_config::Config;
use kes_config::keystore::{Seal, Store};

use crate::tls_files;

/// What a set of paths led to when it was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Option<Seen>)>);

/// What the file of the configuration said when it was looked at, and which one it was behind all links: other files change
/// with a swapped volume. One that was only touched, or written anew as it was, is no change: reading it again would drop
/// the policies that were made through the API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content(Option<(PathBuf, u64)>);

impl Content {
    pub(crate) fn of(path: &Path) -> Self {
        let content = std::fs::canonicalize(path).and_then(|file| Ok((std::fs::read(&file)?, file)));
        Self(content.ok().map(|(content, file)| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&content);
            (file, hasher.finish())
        }))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Fingerprint {
    fn take(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(paths.into_iter().map(|path| (path.clone(), look(&path))).collect())
    }

    pub(crate) fn of_tls(config: &Config) -> Self {
        let mut paths = vec![config.tls.cert.clone(), config.tls.key.clone()];
        paths.extend(config.tls.ca.iter().flat_map(|ca| with_entries(ca)));
        Self::take(paths)
    }

    /// The files by which the key store is opened: the keys of its seal, the certificates towards it.
    pub(crate) fn of_store(store: &Store) -> Self {
        let mut paths: Vec<PathBuf> =
            store.seal().map(Seal::files).unwrap_or_default().into_iter().map(|(_, path)| path).collect();
        for (_, tls) in tls_files::of_store(store) {
            paths.extend(tls.key.iter().chain(&tls.cert).cloned());
            paths.extend(tls.ca.iter().flat_map(|ca| with_entries(ca)));
        }
        Self::take(paths)
    }
}

/// The path, and what is in it if it is a folder.
fn with_entries(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    inside.sort();
    inside.insert(0, path.to_owned());
    inside
}

fn look(path: &Path) -> Option<Seen> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Seen {
        modified: metadata.modified().ok(),
        length: metadata.len(),
        #[cfg(unix)]
        inode: std::os::unix::fs::MetadataExt::ino(&metadata),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_link_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("config.yml"), "the same").unwrap();
        }
        let (data, file) = (dir.path().join("..data"), dir.path().join("..data/config.yml"));
        std::os::unix::fs::symlink("one", &data).unwrap();
        let look = || (Content::of(&file), Fingerprint::take([file.clone()]));
        let before = look();
        assert_eq!(before, look());
        std::os::unix::fs::symlink("two", dir.path().join("..new")).unwrap();
        std::fs::rename(dir.path().join("..new"), &data).unwrap();
        let after = look();
        assert_ne!(before.0, after.0);
        assert_ne!(before.1, after.1);
        std::fs::remove_file(&data).unwrap();
        assert_ne!(after.0, look().0, "and so is one that is gone");
        assert_ne!(after.1, look().1);
    }

    #[test]
    fn a_configuration_written_anew_as_it_was_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yml");
        std::fs::write(&file, "version: v1").unwrap();
        let before = Content::of(&file);
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "version: v1").unwrap();
        assert_eq!(before, Content::of(&file));
        std::fs::write(&file, "version: v2").unwrap();
        assert_ne!(before, Content::of(&file), "of the same length");
    }
}
