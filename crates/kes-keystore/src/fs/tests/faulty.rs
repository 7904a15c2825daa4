//! A file system that fails, or kills its process, at a chosen step.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::fs::os::{Content, FileSystem, NewFile, Os};

/// The steps that tests tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    CreateDirectory,
    IsDirectory,
    Exists,
    Entries,
    Read,
    Create,
    Write,
    Sync,
    Lock,
    Publish,
    Exchange,
    RenameOver,
    Remove,
    SyncDirectory,
}

/// Decides what happens at a step, given its number since the last reset.
type Plan = Box<dyn Fn(usize, Step) -> io::Result<()> + Send + Sync>;

/// The operating system's file system under a plan. A clone shares the plan.
#[derive(Clone)]
pub(crate) struct Faulty(Arc<Shared>);

struct Shared {
    steps: AtomicUsize,
    plan: Mutex<Arc<Plan>>,
    /// The most bytes that one write takes.
    write_limit: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        let plan: Plan = Box::new(|_, _| Ok(()));
        Self(Arc::new(Shared {
            steps: AtomicUsize::new(0),
            plan: Mutex::new(Arc::new(plan)),
            write_limit: AtomicUsize::new(usize::MAX),
        }))
    }

    /// Starts counting steps anew, under another plan.
    pub(crate) fn plan(&self, plan: impl Fn(usize, Step) -> io::Result<()> + Send + Sync + 'static) {
        *self.0.plan.lock().unwrap() = Arc::new(Box::new(plan));
        self.0.steps.store(0, SeqCst);
    }

    pub(crate) fn steps(&self) -> usize {
        self.0.steps.load(SeqCst)
    }

    pub(crate) fn limit_writes(&self, bytes: usize) {
        self.0.write_limit.store(bytes, SeqCst);
    }

    fn at(&self, step: Step) -> io::Result<()> {
        let plan = self.0.plan.lock().unwrap().clone();
        plan(self.0.steps.fetch_add(1, SeqCst), step)
    }
}

impl FileSystem for Faulty {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.at(Step::CreateDirectory)?;
        Os.create_directory(path)
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        self.at(Step::IsDirectory)?;
        Os.is_directory(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.at(Step::Exists)?;
        Os.exists(path)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.at(Step::Entries)?;
        Os.entries(directory)
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Content> {
        self.at(Step::Read)?;
        Os.read(path, limit)
    }

    fn create(&self, path: &Path, like: &Path) -> io::Result<Box<dyn NewFile>> {
        self.at(Step::Create)?;
        Ok(Box::new(FaultyFile { faulty: self.clone(), file: Os.create(path, like)? }))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        self.at(Step::Lock)?;
        Os.lock(path)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.at(Step::Exchange)?;
        Os.exchange(one, other)
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(Step::RenameOver)?;
        Os.rename_over(from, to)
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<()> {
        Os.remove_abandoned(path)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(Step::Publish)?;
        Os.publish(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(Step::Remove)?;
        Os.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.at(Step::SyncDirectory)?;
        Os.sync_directory(directory)
    }
}

struct FaultyFile {
    faulty: Faulty,
    file: Box<dyn NewFile>,
}

impl NewFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.faulty.at(Step::Write)?;
        let len = bytes.len().min(self.faulty.0.write_limit.load(SeqCst));
        if len == 0 { Ok(0) } else { self.file.write(&bytes[..len]) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faulty.at(Step::Sync)?;
        self.file.sync()
    }
}
