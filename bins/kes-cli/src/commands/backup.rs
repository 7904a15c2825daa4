//! `kes backup` and `kes restore`: a whole store in one authenticated file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kes_crypto::rfc3339;
use kes_keystore::sealed::backup::{self, Comparison};
use kes_keystore::sealed::{Error, NewSlot, Report, SealingKey, TableInfo, Unlocked};
use kes_keystore::{KeyName, KeyStore};
use serde_json::json;
use time::OffsetDateTime;

use super::seal::access::{Place, key, keys, passphrase, refused};
use super::seal::arguments::{Backup, Restore};
use crate::failure::{Failure, Outcome, Status};
use crate::input::reason;
use crate::offline;
use crate::output::{self, Output};

pub(crate) fn backup(output: &Output, arguments: &Backup) -> Outcome {
    let mut place = Place::find(&arguments.access, "kes backup")?;
    let to = match &arguments.to {
        Some(to) => to.as_str(),
        None if arguments.dry_run => "",
        None => return Err(Failure::usage("no file for the backup specified", "kes backup").hint("add -o FILE")),
    };
    if to != "-" && !arguments.dry_run && Path::new(to).symlink_metadata().is_ok() {
        let failure = Failure::new(format!("{to} is there already: no backup is overwritten"));
        return Err(Failure { status: Status::Exists, ..failure });
    }
    let asked = arguments.passphrase.as_deref().map(passphrase).transpose()?;
    offline(async {
        let (content, report, at_hand) = take(&mut place, asked).await?;
        let unreadable: Vec<_> = report.left.iter().filter(|(_, problem)| problem != "it is no key").collect();
        if let (Some((name, problem)), false) = (unreadable.first(), arguments.skip_unreadable) {
            let failure = Failure::new(format!("{} cannot be read: '{name}': {problem}", keys(unreadable.len())));
            return Err(failure.hint("nothing was written; --skip-unreadable leaves them out"));
        }
        if arguments.dry_run {
            return finish(output, &report, "would be backed up", to);
        }
        if to == "-" {
            return output::print(&content);
        }
        write(Path::new(to), &content)?;
        if arguments.verify {
            verify(&place, to, &at_hand).await?;
        }
        let done = if arguments.verify { "backed up and verified" } else { "backed up" };
        finish(output, &report, done, to)
    })
}

/// The content of the file, and keys that open it.
async fn take(place: &mut Place, asked: Option<SealingKey>) -> Outcome<(Vec<u8>, Report, Vec<SealingKey>)> {
    let inner = place.config.store.open_beneath().await.map_err(|error| refused(&error))?;
    let now = OffsetDateTime::now_utc();
    let time = rfc3339::format(now.replace_nanosecond(0).unwrap_or(now));
    if TableInfo::read(inner.as_ref()).await.map_err(|error| place.failed(error))?.is_some() {
        let (unlocked, keys): (Unlocked, _) = place.unlock().await?;
        let (content, report) = backup::take(&unlocked, &time).await.map_err(|error| place.failed(error))?;
        return Ok((content, report, keys));
    }
    let Some(asked) = asked else {
        let failure = Failure::new(format!("{} is not sealed: its backup needs a passphrase", inner.describe()));
        return Err(failure.hint("add --passphrase @FILE, --passphrase - or --passphrase env:NAME"));
    };
    let slots = [NewSlot::of(asked)];
    let taken = backup::take_unsealed(inner.as_ref(), &slots, &time).await;
    let (content, report) = taken.map_err(|error| place.failed(error))?;
    Ok((content, report, slots.into_iter().map(|slot| slot.key).collect()))
}

/// Whole or not at all: under a temporary name first, synced, and only then under its own, which is not overwritten.
fn write(to: &Path, content: &[u8]) -> Outcome {
    let failed = |error: &io::Error| Failure::new(format!("write {}: {}", to.display(), reason(error)));
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&temporary);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::hard_link(temporary, to).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            // A file system without hard links.
            _ if to.symlink_metadata().is_err() => fs::rename(temporary, to),
            _ => Err(io::ErrorKind::AlreadyExists.into()),
        })?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        // Some network file systems cannot sync a directory, and need not.
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
        Ok(())
    })();
    let _ = fs::remove_file(temporary);
    written.map_err(|error: io::Error| failed(&error))
}

async fn verify(place: &Place, file: &str, keys: &[SealingKey]) -> Outcome {
    let content = read(file)?;
    let backup = backup::Backup::open(&content, keys).await.map_err(|error| place.failed(error))?;
    let store = target(place).await?;
    let comparison = backup.compare(store.as_ref()).await.map_err(|error| place.failed(error))?;
    match (comparison.different.first(), comparison.missing.first()) {
        (None, None) => Ok(()),
        // Deleted since it was read, which is no fault of the backup.
        (None, Some(_)) => Ok(()),
        (Some(name), _) => Err(Failure::new(format!("the backup does not hold what the store has: '{name}'"))),
    }
}

async fn target(place: &Place) -> Outcome<std::sync::Arc<dyn KeyStore>> {
    place.config.open_store().await.map_err(|error| refused(&error))
}

fn read(file: &str) -> Outcome<Vec<u8>> {
    let mut content = Vec::new();
    let read = match file {
        "-" => io::stdin().lock().read_to_end(&mut content),
        _ => File::open(file).and_then(|mut file| file.read_to_end(&mut content)),
    };
    match read {
        Ok(_) => Ok(content),
        Err(error) => Err(Failure::new(format!("open {file}: {}", reason(&error)))),
    }
}

fn finish(output: &Output, report: &Report, done: &str, to: &str) -> Outcome {
    let left: Vec<_> =
        report.left.iter().map(|(name, problem)| json!({"name": name.as_str(), "problem": problem})).collect();
    let mut text = format!("{} {done}\n", keys(report.changed));
    for (name, problem) in &report.left {
        text += &format!("left out: '{name}': {problem}\n");
    }
    let document = json!({"keys": report.changed, "left": left, "file": to});
    output::print(output.document(&document)?.unwrap_or(text))
}

pub(crate) fn restore(output: &Output, arguments: &Restore) -> Outcome {
    let mut place = Place::find(&arguments.access, "kes restore")?;
    let Some(file) = &arguments.file else {
        return Err(Failure::usage("no backup specified", "kes restore"));
    };
    let mut more = Vec::new();
    more.extend(arguments.passphrase.as_deref().map(passphrase).transpose()?);
    more.extend(arguments.key.as_deref().map(key).transpose()?);
    let content = read(file)?;
    offline(async {
        let mut at_hand = place.keys().await?;
        at_hand.extend(more);
        let backup = open(&place, &content, &at_hand).await?;
        let is_sealed = place.config.store.seal().is_some();
        if backup.header().sealed && !is_sealed && !arguments.unsealed {
            let failure = Failure::new("the backup is of a sealed store, and the configuration has no seal");
            return Err(failure.hint("add 'keystore.seal', or --unsealed to store these keys as they are"));
        }
        let inner = place.config.store.open_beneath().await.map_err(|error| refused(&error))?;
        let table = TableInfo::read(inner.as_ref()).await.map_err(|error| place.failed(error))?;
        let is_fresh = table.is_none() && inner.list("", None, 1).await.is_ok_and(|page| page.names.is_empty());
        let writes = !arguments.verify && !arguments.dry_run;
        // A store that is to be sealed and is not yet has nothing that could differ, and is not made for a look.
        let comparison = match (is_fresh, writes) {
            (true, false) => Comparison::of_nothing(&backup),
            (fresh, _) => {
                if fresh && is_sealed {
                    adopt(&place, &backup, &inner).await?;
                }
                let store = target(&place).await?;
                let comparison = backup.compare(store.as_ref()).await.map_err(|error| place.failed(error))?;
                if writes {
                    let report = backup.restore(store.as_ref(), &mut |_| {}).await;
                    let report = report.map_err(|error| conflict(&place, error, &comparison))?;
                    return restored(output, &backup, &report);
                }
                comparison
            }
        };
        show(output, &backup, &comparison, arguments.verify)
    })
}

/// Opens the file by the keys at hand, or by the store that they open: it may still have the root key of the backup,
/// though its slots have changed since.
async fn open(place: &Place, content: &[u8], keys: &[SealingKey]) -> Outcome<backup::Backup> {
    let error = match backup::Backup::open(content, keys).await {
        Err(error @ Error::WrongKey { .. }) => error,
        opened => return opened.map_err(|error| place.failed(error)),
    };
    if let Ok(inner) = place.config.store.open_beneath().await
        && let Ok(store) = Unlocked::open(inner, keys).await
        && let Ok(backup) = backup::Backup::open_by(content, &store)
    {
        return Ok(backup);
    }
    let hint = "give a key of the store at the time of the backup: --recovery-key, --passphrase or --key";
    Err(Failure::of(&error).hint(hint))
}

/// An empty store gets the slots of the one that was lost, so that all its keys open it, and the configured ones too.
async fn adopt(place: &Place, backup: &backup::Backup, inner: &std::sync::Arc<dyn KeyStore>) -> Outcome {
    place.check_id(&backup.table().store)?;
    let configured = place.config.store.sealing_keys().await.map_err(|error| refused(&error))?;
    backup.adopt(inner, &configured).await.map_err(|error| place.failed(error))
}

fn conflict(place: &Place, error: Error, comparison: &Comparison) -> Failure {
    let names: Vec<_> = comparison.different.iter().map(KeyName::as_str).collect();
    match error {
        error @ Error::Conflict { .. } => {
            place.failed(error).hint(format!("nothing was written; look at these first: {}", names.join(", ")))
        }
        error => place.failed(error),
    }
}

fn restored(output: &Output, backup: &backup::Backup, report: &Report) -> Outcome {
    let header = backup.header();
    let text = format!(
        "{} restored and read back, {} there already\nfrom a backup of {}, made at {}\n",
        keys(report.changed),
        report.unchanged,
        header.source,
        header.time
    );
    let document =
        json!({"restored": report.changed, "same": report.unchanged, "source": header.source, "time": header.time});
    output::print(output.document(&document)?.unwrap_or(text))
}

/// What a restore would do; with `verify`, a difference is a failure.
fn show(output: &Output, backup: &backup::Backup, comparison: &Comparison, verify: bool) -> Outcome {
    let header = backup.header();
    let names = |names: &[KeyName]| names.iter().map(KeyName::as_str).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "The backup is whole and authentic: {} of {}, made at {}\n\
         the same in the store: {}, missing there: {}, different there: {}\n",
        keys(header.keys),
        header.source,
        header.time,
        comparison.same.len(),
        comparison.missing.len(),
        comparison.different.len(),
    );
    for (what, list) in [("missing", &comparison.missing), ("different", &comparison.different)] {
        if !list.is_empty() {
            text += &format!("{what}: {}\n", names(list));
        }
    }
    if !comparison.newer.is_empty() {
        text += &format!("in the store only: {}\n", names(&comparison.newer));
    }
    let list = |names: &[KeyName]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let document = json!({
        "keys": header.keys, "source": header.source, "time": header.time,
        "same": list(&comparison.same), "missing": list(&comparison.missing),
        "different": list(&comparison.different), "newer": list(&comparison.newer),
    });
    output::print(output.document(&document)?.unwrap_or(text))?;
    let differ = !comparison.different.is_empty();
    match (verify, differ || !comparison.missing.is_empty()) {
        (true, true) => Err(Failure::new("the store does not have what the backup has")),
        (false, _) if differ => {
            let failure = Failure::new("a restore would be refused: no key is overwritten");
            Err(Failure { status: Status::Exists, ..failure })
        }
        _ => Ok(()),
    }
}
