//! What a run has done, for the run that goes on behind it.
//!
//! One JSON object per line: first the migration, then each key with its verdict as soon as it is known. A line that was
//! cut off by a crash counts as not written. Nothing here is secret; names and fingerprints are for the owner only all the
//! same.
//!
//! The file is a short cut, never the truth: without it a run compares every key again and finds the same.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kes_keystore::KeyName;
use serde::{Deserialize, Serialize};

use super::copy::OnConflict;
use super::verdict::{Record, Verdict};
use crate::failure::{Failure, Outcome};
use crate::input::reason;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Migration {
    kes_migrate: u32,
    from: String,
    to: String,
}

impl Migration {
    pub(super) fn new(from: &str, to: &str) -> Self {
        Self { kes_migrate: 1, from: from.to_owned(), to: to.to_owned() }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

/// An open journal; locked, so that no two runs write into one.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

/// What an earlier run has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    names: HashSet<String>,
}

impl Done {
    pub(super) fn contains(&self, name: &KeyName) -> bool {
        self.names.contains(name.as_str())
    }
}

/// The journal beside the target's configuration, if nobody names another.
pub(super) fn default_path(to: &Path) -> PathBuf {
    let mut path = to.as_os_str().to_owned();
    path.push(".migrate-state");
    path.into()
}

/// Reads what an earlier run has done; nothing if there was none.
///
/// # Errors
/// If the file cannot be read, or is of another migration.
pub(super) fn read(path: &Path, migration: &Migration, on_conflict: OnConflict) -> Outcome<Done> {
    match File::open(path) {
        Ok(mut file) => Ok(parse(&content(&mut file, path)?, path, migration, on_conflict)?.0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Done::default()),
        Err(error) => Err(failed(path, &error)),
    }
}

fn content(file: &mut File, path: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What was done, and the length of what can be understood. A key that was left alone for `--merge` is done only for
/// another run with `--merge`.
fn parse(text: &str, path: &Path, migration: &Migration, on_conflict: OnConflict) -> Outcome<(Done, usize)> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let Some(first) = lines.next() else { return Ok((Done::default(), 0)) };
    match serde_json::from_str::<Migration>(first) {
        Ok(found) if found == *migration => {}
        Ok(found) => {
            let text = format!("{} is of another migration: from {} to {}", path.display(), found.from, found.to);
            return Err(Failure::new(text).hint("name another file with --state, or run without --resume"));
        }
        Err(_) => {
            let text = format!("{} is not the state of a migration", path.display());
            return Err(Failure::new(text).hint("name another file with --state"));
        }
    }
    let (mut done, mut length) = (Done::default(), first.len());
    for line in lines {
        let Ok(Line { name, verdict, .. }) = serde_json::from_str(line) else { break };
        length += line.len();
        let verdict = Verdict::parse(&verdict).filter(|verdict| verdict.is_good());
        if verdict.is_some_and(|verdict| verdict != Verdict::Skipped || on_conflict == OnConflict::Merge) {
            done.names.insert(name);
        }
    }
    Ok((done, length))
}

impl Journal {
    /// Opens the journal: behind what an earlier run has done with `resume`, else from the beginning.
    ///
    /// # Errors
    /// If the file cannot be opened, is no journal or in use.
    pub(super) fn open(
        path: PathBuf,
        migration: &Migration,
        on_conflict: OnConflict,
        resume: bool,
    ) -> Outcome<(Self, Done)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let text = format!("another migration is at work: it holds {}", path.display());
                return Err(Failure::new(text).hint("wait for its end; two migrations at once need two --state files"));
            }
            // Where files cannot be locked, nobody is kept out.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let text = content(&mut file, &path)?;
        let (done, length) = match parse(&text, &path, migration, on_conflict) {
            Ok(found) if resume => found,
            // Whatever the file is, it is overwritten only if it is a journal.
            Err(failure) if resume || !is_journal(&text) => return Err(failure),
            _ => (Done::default(), 0),
        };
        let mut journal = Self { file, path };
        let cut = journal.file.set_len(length as u64).and_then(|()| journal.file.seek(SeekFrom::End(0)));
        cut.map_err(|error| failed(&journal.path, &error))?;
        if length == 0 {
            journal.line(migration)?;
        }
        Ok((journal, done))
    }

    /// Writes down a verdict.
    pub(super) fn add(&mut self, record: &Record) -> Outcome {
        self.line(&Line {
            name: record.name.to_string(),
            verdict: record.verdict.as_str().to_owned(),
            fingerprint: record.fingerprint.map(|fingerprint| fingerprint.to_string()),
        })
    }

    fn line(&mut self, value: &impl Serialize) -> Outcome {
        let text = serde_json::to_string(value).expect("texts and numbers always serialise") + "\n";
        self.file.write_all(text.as_bytes()).map_err(|error| failed(&self.path, &error))
    }

    /// Removes the file: there is nothing to go on with.
    pub(super) fn remove(self) -> Outcome {
        std::fs::remove_file(&self.path).map_err(|error| failed(&self.path, &error))
    }
}

fn is_journal(text: &str) -> bool {
    text.split_inclusive('\n').next().is_none_or(|first| serde_json::from_str::<Migration>(first).is_ok())
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("state file {}: {}", path.display(), reason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, verdict: Verdict) -> Record {
        Record::new(KeyName::parse(name).unwrap(), verdict)
    }

    fn migration() -> Migration {
        Migration::new("a", "b")
    }

    fn names(done: &Done) -> Vec<&str> {
        let mut names: Vec<_> = done.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn good_keys_are_done_and_a_cut_line_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut journal, done) = Journal::open(path.clone(), &migration(), OnConflict::Stop, true).unwrap();
        assert_eq!(done, Done::default());
        for (name, verdict) in Verdict::ALL.iter().enumerate() {
            journal.add(&record(&format!("k{name}"), *verdict)).unwrap();
        }
        journal.file.write_all(b"{\"name\":\"cut\",\"verd").unwrap();
        drop(journal);
        assert_eq!(names(&read(&path, &migration(), OnConflict::Stop).unwrap()), ["k0", "k1", "k2"]);
        let (mut journal, done) = Journal::open(path.clone(), &migration(), OnConflict::Merge, true).unwrap();
        assert_eq!(names(&done), ["k0", "k1", "k2", "k3"]);
        journal.add(&record("cut", Verdict::Same)).unwrap();
        drop(journal);
        assert!(read(&path, &migration(), OnConflict::Stop).unwrap().contains(&KeyName::parse("cut").unwrap()));
    }

    #[test]
    fn a_file_of_something_else_is_neither_believed_nor_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let open = |migration: &Migration, resume| Journal::open(path.clone(), migration, OnConflict::Stop, resume);
        drop(open(&migration(), false).unwrap());
        let other = Migration::new("a", "c");
        assert!(open(&other, true).unwrap_err().text.ends_with("is of another migration: from a to b"));
        assert!(read(&path, &other, OnConflict::Stop).is_err());
        drop(open(&other, false).unwrap());
        std::fs::write(&path, "keystore: {}\n").unwrap();
        for resume in [true, false] {
            assert!(open(&other, resume).unwrap_err().text.ends_with("is not the state of a migration"));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "keystore: {}\n");
    }

    #[test]
    fn only_one_run_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = Journal::open(path.clone(), &migration(), OnConflict::Stop, false).unwrap();
        let text = Journal::open(path.clone(), &migration(), OnConflict::Stop, false).unwrap_err().text;
        assert!(text.starts_with("another migration is at work"), "{text}");
        first.0.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn it_lies_beside_the_targets_configuration() {
        assert_eq!(default_path(Path::new("/etc/kes/to.yml")), Path::new("/etc/kes/to.yml.migrate-state"));
    }
}
