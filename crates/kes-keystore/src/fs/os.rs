//! The handful of file operations the store is made of, as a trait so that tests can make each of them fail.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::Value;

/// Blocking file operations.
pub(crate) trait FileSystem: Send + Sync {
    /// Makes a directory and its missing parents, mode 0755, and makes them outlive a power failure. No error if the
    /// directory is there already.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Whether the path is a directory, through symbolic links.
    fn is_directory(&self, path: &Path) -> io::Result<bool>;

    /// Whether there is anything under a path, be it a dangling symbolic link.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The names of everything in the directory, in any order.
    fn entries(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// What there is under a path, through symbolic links.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Content>;

    /// A new file, mode 0600, locked against [`FileSystem::remove_abandoned`] until it is dropped. Made by root, it gets
    /// the owner of `like`: a tool run by root must not leave files that the server cannot read.
    fn create(&self, path: &Path, like: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Opens and locks a file, so that nobody else replaces it until what is returned is dropped. `None` if it was
    /// replaced while we waited.
    fn lock(&self, path: &Path) -> io::Result<Option<File>>;

    /// Removes a file made by [`FileSystem::create`] if nobody holds its lock any more.
    fn remove_abandoned(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a new name without replacing anything; the old name may go or stay.
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives two files each other's names, in one step; an error if either does not exist.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Renames a file over another, in one step, where files cannot be exchanged.
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what happened to names in the directory outlive a power failure.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file being written.
pub(crate) trait NewFile {
    /// Writes a beginning of `bytes` and says how long it was.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes what was written outlive a power failure.
    fn sync(&mut self) -> io::Result<()>;
}

/// What there is under a path.
pub(crate) enum Content {
    /// A file of at most the allowed length.
    File(Value),
    /// A longer one.
    TooLong,
    /// Something else: a directory, a pipe, a dangling link.
    NoFile,
}

/// The operating system's.
pub(super) struct Os;

/// How old a file must be to count as abandoned where files cannot be locked.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

impl FileSystem for Os {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        // An empty path is the working directory.
        let missing: Vec<&Path> =
            path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
        for made in missing {
            let parent =
                made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
            // Some parents may be searched but not opened; the directory itself is synced with each key anyway.
            let _ = self.sync_directory(parent);
        }
        Ok(())
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.is_dir())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Content> {
        // Opening a pipe would wait for its writer, for ever.
        let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(cause) => {
                let is_entry = fs::symlink_metadata(path).is_ok_and(|entry| !entry.is_file());
                return if is_entry { Ok(Content::NoFile) } else { Err(cause) };
            }
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Content::NoFile);
        }
        // One allocation of the right size, so that no copy of the secret is left behind by a growing buffer.
        let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(limit);
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(expected + 2));
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Ok(Content::TooLong);
        }
        Ok(Content::File(Value::new(std::mem::take(&mut *bytes))))
    }

    fn create(&self, path: &Path, like: &Path) -> io::Result<Box<dyn NewFile>> {
        // Whoever sweeps may lock and remove the file in the instant before our own lock; then it has no name any more.
        loop {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            // Where files cannot be locked, age decides what is abandoned.
            let _ = file.lock();
            if file.metadata()?.nlink() > 0 {
                own_like(&file, like);
                return Ok(Box::new(file));
            }
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(path)?;
        // Where files cannot be locked, whoever changes them has to be alone; docs/sealed-store.md says so.
        let _ = file.lock();
        let (ours, there) = (file.metadata()?, fs::metadata(path)?);
        Ok(((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(file))
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        let locked = file.try_lock();
        let metadata = file.metadata()?;
        let is_abandoned = match locked {
            // If another sweep was quicker, the name may by now be that of a new file.
            Ok(()) => metadata.nlink() > 0,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => {
                SystemTime::now().duration_since(metadata.modified()?).is_ok_and(|age| age > ABANDONED_AFTER)
            }
        };
        // The lock is held until the name is gone.
        if is_abandoned { fs::remove_file(path) } else { Ok(()) }
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            // A network file system may repeat a request that had succeeded: two names say that it was ours.
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(from)?.nlink() > 1 {
                    Ok(())
                } else {
                    Err(cause)
                }
            }
            Err(cause) if lacks_links(&cause) => rename_new(from, to),
            Err(cause) => Err(cause),
        }
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        match File::open(directory)?.sync_all() {
            // Some network and FUSE file systems cannot sync a directory, and need not.
            Err(cause) if matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }
}

/// For root only, and best effort: a network file system may have other ideas of owners.
fn own_like(file: &File, like: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let Some(like) = fs::metadata(like).ok().filter(|like| like.uid() != 0) {
        let _ = std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()));
    }
}

/// How file systems answer that cannot exchange files.
pub(super) fn lacks_exchange(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// How a link is refused that must not be followed.
pub(super) fn is_link(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// How file systems without hard links answer.
fn lacks_links(cause: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(cause.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// Renames without replacing.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
