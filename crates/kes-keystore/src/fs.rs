//! Keys as files in one directory, readable both ways with MinIO KES: the file `<directory>/<name>` holds the value and
//! nothing else.
//!
//! What a crash or a full disk can do is decided by the order of steps in a create:
//!
//! 1. a temporary file `.kes-create-<16 hex digits>.tmp` is made with mode 0600 and locked; its dots keep it from ever
//!    being a key name;
//! 2. the value is written and synced;
//! 3. the file is linked to its final name, which fails if that exists (where the file system has no hard links, it is
//!    renamed instead, also without replacing);
//! 4. the temporary name is removed, and the directory is synced.
//!
//! So under its name a key is complete or absent at any instant, for any reader on any host, and a create that reports
//! success survives a power failure. A process killed on the way leaves at most a temporary file. Its lock is gone with
//! it, by which the next process to open the directory tells it from the file of a living neighbour, and removes it.
//!
//! A value is replaced (which only tools do that change a seal) the same way, but for step 3: the temporary file and the
//! final one are exchanged, which fails if the final one is gone, and what was there is compared with what was expected.
//! Where the file system cannot exchange files the temporary one is renamed over the final one, after the comparison.
//!
//! Other things may lie in the directory. They are in no list unless their names are key names, and reading such a one
//! says which file it is and what is wrong with it.

mod os;
#[cfg(test)]
pub(crate) mod tests;
mod turns;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use self::os::{Content, FileSystem, Os};
use self::turns::Turns;
use crate::{Cause, Error, InPlace, KeyName, KeyStore, MAX_VALUE_LEN, Operation, Page, Status, Value};

/// A directory of keys.
///
/// Any number of stores, in any number of processes, may use one directory at once. Each call is one blocking piece of
/// work on tokio's pool for such; a call that is dropped finishes there.
#[derive(Clone)]
pub struct Store {
    directory: Arc<Directory>,
    /// Bounds the threads that a hanging file system can hold: who finds none waits, and can give up.
    threads: Arc<Semaphore>,
}

/// Calls that may be at work in the file system at once.
const THREADS: usize = 64;

struct Directory {
    path: PathBuf,
    files: Box<dyn FileSystem>,
    /// One at a time for each name, so that nobody in this process reads a key whose create may yet be withdrawn.
    turns: Turns,
}

const TEMP_PREFIX: &str = ".kes-create-";
const TEMP_SUFFIX: &str = ".tmp";

impl Store {
    /// Opens the directory, making it (mode 0755) and its parents if they are missing, and removes temporary files of
    /// processes that were killed. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it cannot be made or is no directory, [`Error::Unauthorized`] if that is not permitted.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_on(Box::new(Os), path.into()).await
    }

    /// As [`Store::open`], for a directory that is there, and without changing anything.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it is missing or no directory.
    pub async fn look(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = Self::over(Box::new(Os), path.into());
        store.status().await?;
        Ok(store)
    }

    pub(crate) async fn open_on(files: Box<dyn FileSystem>, path: PathBuf) -> Result<Self, Error> {
        let store = Self::over(files, path);
        store.run(Operation::Status, Directory::open).await?;
        Ok(store)
    }

    fn over(files: Box<dyn FileSystem>, path: PathBuf) -> Self {
        let directory = Arc::new(Directory { path, files, turns: Turns::default() });
        Self { directory, threads: Arc::new(Semaphore::new(THREADS)) }
    }

    /// Runs blocking work off the runtime's own threads.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Directory) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let directory = self.directory.clone();
        let thread = self.threads.clone().acquire_owned().await.expect("never closed");
        let work = move || {
            let _thread = thread;
            work(&directory)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(stopped) => Err(Error::Failed {
                entry: self.describe(),
                operation,
                remedy: "the server is shutting down",
                source: Some(Arc::new(stopped)),
            }),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.describe())
    }
}

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        self.directory.describe()
    }

    async fn status(&self) -> Result<Status, Error> {
        self.run(Operation::Status, Directory::status).await
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        let (name, value) = (name.clone(), Value::new(value.to_vec()));
        self.run(Operation::Create, move |directory| directory.create(&name, value.expose())).await
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let name = name.clone();
        self.run(Operation::Get, move |directory| directory.get(&name)).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        let name = name.clone();
        self.run(Operation::Delete, move |directory| directory.delete(&name)).await
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        let (prefix, from) = (prefix.to_owned(), from.map(str::to_owned));
        self.run(Operation::List, move |directory| directory.list(&prefix, from.as_deref(), limit)).await
    }

    fn in_place(&self) -> Option<&dyn InPlace> {
        Some(self)
    }
}

#[async_trait]
impl InPlace for Store {
    async fn replace(&self, name: &KeyName, old: &[u8], new: &[u8]) -> Result<(), Error> {
        let (name, old, new) = (name.clone(), Value::new(old.to_vec()), Value::new(new.to_vec()));
        self.run(Operation::Create, move |directory| directory.replace(&name, old.expose(), new.expose())).await
    }
}

impl Directory {
    fn describe(&self) -> String {
        format!("Filesystem: {}", self.path.display())
    }

    fn open(&self) -> Result<(), Error> {
        self.files.create_directory(&self.path).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                self.unreachable("it is not a directory", cause)
            }
            _ => self.failure(Operation::Status, &self.path, cause),
        })?;
        self.status()?;
        self.sweep();
        Ok(())
    }

    fn status(&self) -> Result<Status, Error> {
        let start = Instant::now();
        match self.files.is_directory(&self.path) {
            Ok(true) => Ok(Status { latency: start.elapsed() }),
            Ok(false) => Err(self.unreachable("it is not a directory", io::ErrorKind::NotADirectory.into())),
            Err(cause) => Err(self.unreachable("check that the directory exists and is mounted", cause)),
        }
    }

    /// Removes temporary files whose process is dead. What cannot be removed now stays for the next opening: it is in
    /// nobody's way.
    fn sweep(&self) {
        for entry in self.files.entries(&self.path).unwrap_or_default() {
            if is_temporary(&entry) {
                let _ = self.files.remove_abandoned(&self.path.join(&entry));
            }
        }
    }

    fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        let target = self.file(name);
        let fail = |cause| self.failure(Operation::Create, &target, cause);
        if value.len() > MAX_VALUE_LEN {
            let entry = target.display().to_string();
            return Err(Error::TooLarge { entry, len: value.len(), limit: MAX_VALUE_LEN });
        }
        let _turn = self.turns.take(name);
        if self.files.exists(&target).map_err(fail)? {
            return Err(Error::Exists);
        }
        let temporary = self.temporary()?;
        let created = self
            .write(&temporary, value, &self.path)
            .map_err(fail)
            .and_then(|_locked| self.publish(&temporary, &target));
        if created.is_err() {
            let _ = self.files.remove(&temporary);
        }
        created
    }

    /// Gives a complete file its name. A name that cannot be made to last is withdrawn, before anyone in this process
    /// could have read it.
    fn publish(&self, temporary: &Path, target: &Path) -> Result<(), Error> {
        self.files.publish(temporary, target).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists,
            _ => self.failure(Operation::Create, target, cause),
        })?;
        // Gone already if it was renamed. If it cannot be removed it does no harm, and the next opening will.
        let _ = self.files.remove(temporary);
        self.files.sync_directory(&self.path).map_err(|cause| {
            let _ = self.files.remove(target);
            self.failure(Operation::Create, target, cause)
        })
    }

    /// A new, complete, synced and locked file; the lock lasts as long as what is returned.
    fn write(&self, path: &Path, value: &[u8], like: &Path) -> io::Result<Box<dyn os::NewFile>> {
        let mut file = self.files.create(path, like)?;
        let mut rest = value;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        file.sync()?;
        Ok(file)
    }

    fn replace(&self, name: &KeyName, old: &[u8], new: &[u8]) -> Result<(), Error> {
        let _turn = self.turns.take(name);
        let target = self.file(name);
        let fail = |cause: io::Error| match os::is_link(&cause) {
            true => Error::Damaged {
                entry: target.display().to_string(),
                problem: "it is a symbolic link, and only a file can be replaced: put the file itself in its place",
                source: None,
            },
            false => self.failure(Operation::Get, &target, cause),
        };
        // Held to the end: the lock moves with the file when both are exchanged, and keeps it from being swept away.
        let _locked = self.files.lock(&target).map_err(fail)?.ok_or(Error::Exists)?;
        if !self.holds(&target, old).map_err(fail)? {
            return Err(Error::Exists);
        }
        let temporary = self.temporary()?;
        let fail = |cause| self.failure(Operation::Create, &target, cause);
        let replaced = self
            .write(&temporary, new, &target)
            .map_err(fail)
            .and_then(|_locked| self.exchange(&temporary, &target, old));
        let _ = self.files.remove(&temporary);
        replaced
    }

    /// Gives the complete new file the name of the old one. A key that was deleted meanwhile does not come back.
    fn exchange(&self, temporary: &Path, target: &Path, old: &[u8]) -> Result<(), Error> {
        let fail = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => self.failure(Operation::Get, target, cause),
            _ => self.failure(Operation::Create, target, cause),
        };
        match self.files.exchange(temporary, target) {
            Ok(()) if self.holds(temporary, old).unwrap_or(true) => {}
            Ok(()) => {
                self.files.exchange(temporary, target).map_err(fail)?;
                return Err(Error::Exists);
            }
            Err(cause) if os::lacks_exchange(&cause) => {
                if !self.files.exists(target).map_err(fail)? {
                    return Err(Error::NotFound);
                }
                self.files.rename_over(temporary, target).map_err(fail)?;
            }
            Err(cause) => return Err(fail(cause)),
        }
        self.files.sync_directory(&self.path).map_err(fail)
    }

    fn holds(&self, path: &Path, expected: &[u8]) -> io::Result<bool> {
        let content = self.files.read(path, MAX_VALUE_LEN)?;
        Ok(matches!(content, Content::File(value) if value.expose() == expected))
    }

    fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let _turn = self.turns.take(name);
        let path = self.file(name);
        let damaged = |problem| Err(Error::Damaged { entry: path.display().to_string(), problem, source: None });
        match self.files.read(&path, MAX_VALUE_LEN) {
            Ok(Content::File(value)) if value.expose().is_empty() => damaged("the file is empty"),
            Ok(Content::File(value)) => Ok(value),
            Ok(Content::TooLong) => damaged("the file is longer than 1 MiB and no key"),
            Ok(Content::NoFile) => damaged("it is not a regular file and no key"),
            Err(cause) => Err(self.failure(Operation::Get, &path, cause)),
        }
    }

    fn delete(&self, name: &KeyName) -> Result<(), Error> {
        let _turn = self.turns.take(name);
        let path = self.file(name);
        self.files
            .remove(&path)
            .and_then(|()| self.files.sync_directory(&self.path))
            .map_err(|cause| self.failure(Operation::Delete, &path, cause))
    }

    fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        let entries =
            self.files.entries(&self.path).map_err(|cause| self.failure(Operation::List, &self.path, cause))?;
        let names = entries.iter().filter_map(|entry| KeyName::parse(entry.to_str()?).ok());
        Ok(Page::select(names, prefix, from, limit))
    }

    fn file(&self, name: &KeyName) -> PathBuf {
        self.path.join(name.as_str())
    }

    fn temporary(&self) -> Result<PathBuf, Error> {
        let mut random = [0; 8];
        kes_crypto::random(&mut random).map_err(|cause| Error::Failed {
            entry: self.describe(),
            operation: Operation::Create,
            remedy: "the operating system's random generator fails",
            source: Some(Arc::new(cause)),
        })?;
        let random = u64::from_ne_bytes(random);
        Ok(self.path.join(format!("{TEMP_PREFIX}{random:016x}{TEMP_SUFFIX}")))
    }

    fn unreachable(&self, remedy: &'static str, cause: io::Error) -> Error {
        Error::Unreachable { store: self.describe(), remedy, source: Some(Arc::new(cause)) }
    }

    /// What an error of the operating system means.
    fn failure(&self, operation: Operation, path: &Path, cause: io::Error) -> Error {
        use io::ErrorKind as Kind;
        let entry = path.display().to_string();
        match cause.kind() {
            Kind::NotFound if !matches!(self.files.is_directory(&self.path), Ok(true)) => {
                self.unreachable("check that the directory exists and is mounted", cause)
            }
            Kind::NotFound if matches!(operation, Operation::Get | Operation::Delete) => Error::NotFound,
            Kind::NotADirectory => self.unreachable("it is not a directory", cause),
            Kind::StaleNetworkFileHandle
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown => self.unreachable("check the network file system", cause),
            Kind::PermissionDenied => {
                let remedy = "give the server's user read and write access to the directory and its files";
                Error::Unauthorized { entry, remedy, source: Some(Arc::new(cause)) }
            }
            Kind::ReadOnlyFilesystem => {
                let remedy = "the file system is mounted read-only";
                Error::Unauthorized { entry, remedy, source: Some(Arc::new(cause)) }
            }
            Kind::IsADirectory => {
                let source: Option<Cause> = Some(Arc::new(cause));
                Error::Damaged { entry, problem: "it is not a regular file and no key", source }
            }
            kind => {
                let remedy = match kind {
                    Kind::StorageFull | Kind::QuotaExceeded | Kind::WriteZero => "free space on the file system",
                    _ => "check the disk and the system log",
                };
                Error::Failed { entry, operation, remedy, source: Some(Arc::new(cause)) }
            }
        }
    }
}

fn is_temporary(entry: &OsStr) -> bool {
    let random = entry.to_str().and_then(|name| name.strip_prefix(TEMP_PREFIX)?.strip_suffix(TEMP_SUFFIX));
    random.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
