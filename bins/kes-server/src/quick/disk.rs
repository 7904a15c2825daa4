//! The few changes to the disk that the making of a folder consists of. Tests stop it before each of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Makes changes, one after the other.
pub(super) struct Disk<'d> {
    /// Asked before each change; an error is the death of the process, as far as the disk can tell.
    gate: Option<&'d (dyn Fn() -> io::Result<()> + Sync)>,
}

impl<'d> Disk<'d> {
    pub(super) fn new() -> Self {
        Self { gate: None }
    }

    #[cfg(test)]
    pub(super) fn with_gate(gate: &'d (dyn Fn() -> io::Result<()> + Sync)) -> Self {
        Self { gate: Some(gate) }
    }

    pub(super) fn step(&self) -> io::Result<()> {
        self.gate.map_or(Ok(()), |gate| gate())
    }

    /// A folder for its owner alone, with its parents, unless it exists.
    pub(super) fn folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// A new file that survives a crash.
    pub(super) fn file(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        self.step()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        self.step()?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Moves; never over something else.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        // Whoever makes holds the lock, so nobody of ours comes in between.
        if fs::symlink_metadata(to).is_ok() {
            let text = format!("'{}' is in the way", to.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        fs::rename(from, to)
    }

    /// Removes a folder with all that is in it, if it is there.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// Makes the names in a folder survive a crash.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Waits for the folder's lock, which the file holds.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    match flock(&file, FlockOperation::LockExclusive) {
        // Some network file systems have no locks; two who make the same folder at once are refused by its names.
        Ok(()) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS | rustix::io::Errno::BADF) => Ok(file),
        Err(error) => Err(error.into()),
    }
}

/// The names in a folder, sorted.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The system's text without Rust's "(os error 2)", in lower case.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
