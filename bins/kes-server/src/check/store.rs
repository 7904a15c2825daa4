//! The key store: whether this release has it, whether it keeps keys in plain text, and with `--connect` whether it opens.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use kes_config::Inspection;
use kes_config::keystore::{Backend, Seal, Store};

use super::files::is_writable;
use super::report::Report;
use crate::assemble;

/// How long a store may take to open and to answer.
const DEADLINE: Duration = Duration::from_secs(15);

pub(super) fn check(report: &mut Report, file: &Inspection) {
    let Some(store) = &file.sections.store else { return };
    if let Err(error) = store.supported() {
        report.error(&error);
    }
    // Nothing has to be reached for it.
    if matches!(store.backend(), Backend::Static(_)) && store.seal().is_none() {
        look(report, file, store);
    }
    if let (Backend::Fs(fs), None) = (store.backend(), store.seal()) {
        report.warn(
            file.place("keystore.fs.path"),
            format!(
                "the keys in {} are stored in plain text: who can read the folder or a backup of it has them",
                fs.path.display()
            ),
            "write 'keystore.seal' beside it, and `kes seal migrate` seals what is there; or keep the folder and its backups \
             on encrypted disks",
        );
    }
}

/// What keeps the seal from being used: as the text tells it, and with `files` as files tell it.
pub(super) fn check_seal(report: &mut Report, file: &Inspection, files: bool) {
    let Some(store) = &file.sections.store else { return };
    let is_outside = is_outside_unit(store);
    for error in store.seal_faults() {
        let key = error.place().map_or("", |place| place.key.as_str());
        let in_text = ["keystore.seal", "keystore.seal.passphrase", "keystore.seal.key"].contains(&key);
        if !files && !in_text {
            continue;
        }
        if is_outside && key == "keystore.seal.credential" {
            let hint =
                "only the service has it: in its unit, 'ExecStartPre=kes-server check --connect …' checks with it";
            report.warn(error.place().cloned(), error.message(), hint);
        } else {
            report.error(&error);
        }
    }
}

/// Whether the store's key is with systemd, which hands it to the service alone.
fn is_outside_unit(store: &Store) -> bool {
    store.seal().is_some_and(Seal::lacks_credentials)
}

/// Looks at the store and tries the addresses. Leaves nothing behind: a folder that is missing is not made, and a store
/// that is not sealed is not sealed.
pub(super) fn connect(report: &mut Report, file: &Inspection) {
    if let Some(store) = file.sections.store.as_ref().filter(|store| store.supported().is_ok()) {
        // A static key and faults of the seal are told already.
        let is_judged = matches!(store.backend(), Backend::Static(_)) || !store.seal_faults().is_empty();
        if !is_judged {
            look(report, file, store);
        }
    }
    if let Some(address) = &file.sections.address {
        bind(report, file, "address", address.socket_addr());
    }
    if let Some(address) = file.sections.probe.as_ref().and_then(|probe| probe.address.as_ref()) {
        bind(report, file, "probe.address", address.socket_addr());
    }
}

fn missing_folder(report: &mut Report, file: &Inspection, store: &Store, path: &Path) {
    let place = file.place("keystore.fs.path");
    let existing = path.ancestors().skip(1).find(|folder| folder.exists() || folder.as_os_str().is_empty());
    if let Some(other) = existing.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        let text = format!("mkdir {}: {} is not a directory", path.display(), other.display());
        let hint = "name a directory that the server may write to, or one that it can make";
        report.error(&file.refuse("keystore.fs.path", text, hint));
    } else if let Some(id) = store.seal().and_then(|seal| seal.store.as_ref()) {
        let text = format!("{} does not exist, and 'keystore.seal.store' expects the store {id} there", path.display());
        let hint = "check the path, and that everything is mounted; else correct 'keystore.seal.store'";
        report.error(&file.refuse("keystore.fs.path", text, hint));
    } else {
        report.note(place, format!("{} does not exist yet: the server makes it when it starts", path.display()), "");
    }
}

fn look(report: &mut Report, file: &Inspection, store: &Store) {
    let key = match store.backend() {
        Backend::Fs(_) => "keystore.fs.path",
        _ => "keystore",
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report.warn(None, format!("the key store was not opened: {error}"), "");
            return;
        }
    };
    let looked = runtime.block_on(async {
        tokio::time::timeout(DEADLINE, async {
            let Some(look) = store.look().await? else { return Ok(None) };
            let silence = look.store.status().await.err();
            let seen = (look.is_to_be_sealed, look.store.notices(), silence);
            look.store.close().await;
            Ok::<_, kes_config::Error>(Some(seen))
        })
        .await
    });
    // A file system that hangs must not hold the report.
    runtime.shutdown_background();
    match (looked, store.backend()) {
        (Ok(Ok(Some((is_to_be_sealed, notices, silence)))), backend) => {
            if is_to_be_sealed {
                let text = "the key store is not sealed yet: the server seals it when it starts";
                report.note(file.place("keystore.seal"), text, "");
            }
            match silence {
                // The notices say no more than that.
                Some(error) => silent(report, file, key, &error),
                None => notices.into_iter().for_each(|notice| report.warn(file.place("keystore"), notice, "")),
            }
            if let Backend::Fs(fs) = backend
                && !is_writable(&fs.path)
            {
                let text = format!("{} cannot be written to: keys can be read, but not created", fs.path.display());
                report.warn(file.place(key), text, "give the directory to the user that runs the server");
            }
        }
        (Ok(Ok(None)), Backend::Fs(fs)) => missing_folder(report, file, store, &fs.path),
        (Ok(Ok(None)), _) => {}
        (Ok(Err(error)), _) => report.error(&error),
        (Err(_), _) => {
            let text = format!("the key store did not answer within {} seconds", DEADLINE.as_secs());
            report.error(&file.refuse(key, text, "is it reachable from this machine?"));
        }
    }
}

/// A store that was opened, as one that was there before, and does not answer now.
fn silent(report: &mut Report, file: &Inspection, key: &str, error: &kes_keystore::Error) {
    let text = format!("the key store does not answer: {error}");
    if file.sections.keys.is_empty() {
        report.warn(file.place(key), text, "a server starts with it, and serves keys when it answers");
    } else {
        report.error(&file.refuse(
            key,
            text,
            "the server makes the keys of 'keys' when it starts: it cannot do without it",
        ));
    }
}

/// Whether the server could listen there.
fn bind(report: &mut Report, file: &Inspection, key: &str, address: SocketAddr) {
    let Err(error) = TcpListener::bind(address) else { return };
    let text = format!("listen tcp {address}: bind: {}", assemble::words(&error));
    match error.kind() {
        ErrorKind::AddrNotAvailable => {
            let hint =
                "no interface of this machine has that address; 0.0.0.0, or nothing before the colon, is all of them";
            report.error(&file.refuse(key, text, hint));
        }
        ErrorKind::AddrInUse => report.warn(
            file.place(key),
            text,
            "if that is the server that runs with this file, all is well; else choose another address",
        ),
        _ => report.warn(file.place(key), text, "the user that runs the server must be allowed to listen there"),
    }
}
