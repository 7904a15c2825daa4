//! The key store: whether this release has it, whether it keeps keys in plain text, and with `--connect` whether it opens.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use kes_config::Inspection;
use kes_config::keystore::{Backend, Store};

use super::report::Report;

/// How long a store may take to open and to answer.
const DEADLINE: Duration = Duration::from_secs(15);

pub(super) fn check(report: &mut Report, file: &Inspection) {
    let Some(store) = &file.sections.store else { return };
    if let Err(error) = store.supported() {
        report.error(&error);
    }
    if let (Backend::Fs(fs), None) = (store.backend(), store.seal()) {
        report.warn(
            file.place("keystore.fs.path"),
            format!(
                "the keys in {} are stored in plain text: who can read the folder or a backup of it has them",
                fs.path.display()
            ),
            "keep the folder on an encrypted file system, and encrypt its backups",
        );
    }
}

/// Opens the store and tries the address. Leaves nothing behind: a folder that is missing is not made.
pub(super) fn connect(report: &mut Report, file: &Inspection) {
    if let Some(store) = file.sections.store.as_ref().filter(|store| store.supported().is_ok()) {
        match store.backend() {
            Backend::Fs(fs) if !fs.path.exists() => missing_folder(report, file, &fs.path),
            _ => open(report, file, store),
        }
    }
    address(report, file);
}

fn missing_folder(report: &mut Report, file: &Inspection, path: &Path) {
    let place = file.place("keystore.fs.path");
    let existing = path.ancestors().skip(1).find(|folder| folder.exists() || folder.as_os_str().is_empty());
    match existing.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(other) => {
            let text = format!("mkdir {}: {} is not a directory", path.display(), other.display());
            let hint = "name a directory that the server may write to, or one that it can make";
            report.error(&file.refuse("keystore.fs.path", text, hint));
        }
        None => {
            report.note(place, format!("{} does not exist yet: the server makes it when it starts", path.display()), "")
        }
    }
}

fn open(report: &mut Report, file: &Inspection, store: &Store) {
    let key = match store.backend() {
        Backend::Fs(_) => "keystore.fs.path",
        _ => "keystore",
    };
    let late = || {
        let text = format!("the key store did not answer within {} seconds", DEADLINE.as_secs());
        file.refuse(key, text, "is it reachable from this machine?")
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report.warn(None, format!("the key store was not opened: {error}"), "");
            return;
        }
    };
    let opened = runtime.block_on(async {
        tokio::time::timeout(DEADLINE, async {
            let opened = store.open_unchanged().await?;
            let answered = opened.status().await;
            answered.map_err(|error| {
                let text = format!("the key store does not answer: {error}");
                file.refuse(key, text, "look into the key store's own log")
            })
        })
        .await
    });
    // A file system that hangs must not hold the report.
    runtime.shutdown_background();
    match opened {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => report.error(&error),
        Err(_) => report.error(&late()),
    }
}

fn address(report: &mut Report, file: &Inspection) {
    let Some(address) = &file.sections.address else { return };
    let Err(error) = TcpListener::bind(address.socket_addr()) else { return };
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    let text = format!("listen tcp {}: bind: {words}", address.socket_addr());
    match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => {
            let hint =
                "no interface of this machine has that address; 0.0.0.0, or nothing before the colon, is all of them";
            report.error(&file.refuse("address", text, hint));
        }
        std::io::ErrorKind::AddrInUse => report.warn(
            file.place("address"),
            text,
            "if that is the server that runs with this file, all is well; else choose another address",
        ),
        _ => report.warn(file.place("address"), text, "the user that runs the server must be allowed to listen there"),
    }
}
