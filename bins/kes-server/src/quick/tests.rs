//! A making that dies at any instant is brought to its end by the next one, and nothing is ever replaced.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use kes_keystore::sealed::{RecoveryKey, SealingKey, Store};
use kes_keystore::{KeyName, KeyStore};

use super::*;

fn plan() -> Plan {
    Plan { backend: Backend::Fs, address: "127.0.0.1:7373".to_owned(), names: vec!["kes.example.net".to_owned()] }
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.append(&mut files(&entry));
        } else {
            found.insert(entry.clone(), fs::read(&entry).unwrap());
        }
    }
    found
}

/// Makes the folder, letting `steps` changes through, and keeps what was told.
async fn make_until(folder: &Folder, steps: u32, told: &Mutex<Vec<String>>) -> anyhow::Result<Outcome> {
    let done = AtomicU32::new(0);
    let gate = || match done.fetch_add(1, Ordering::Relaxed) {
        before if before < steps => Ok(()),
        _ => Err(io::Error::other("killed")),
    };
    let tell = |text: &str| {
        told.lock().unwrap().push(text.to_owned());
        Ok(())
    };
    make_with(folder, &plan(), tell, &Disk::with_gate(&gate)).await
}

/// The recovery key in what was told last.
fn recovery(told: &Mutex<Vec<String>>) -> RecoveryKey {
    let told = told.lock().unwrap();
    let text = told.last().expect("a recovery key was told");
    text.split_whitespace().find_map(|word| RecoveryKey::parse(word).ok()).unwrap_or_else(|| {
        let line = text.lines().find(|line| line.starts_with("    ")).expect("its line");
        RecoveryKey::parse(line.trim()).expect("a recovery key")
    })
}

/// The configuration loads, the certificate is good, and both keys open the store.
async fn assert_works(folder: &Folder, told: &Mutex<Vec<String>>) {
    let config = kes_config::File::read(folder.config()).unwrap().load().unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    crate::tls_files::read(&config.config).unwrap();
    let store = config.config.open_store().await.unwrap();
    let name = KeyName::parse("a-key").unwrap();
    store.create(&name, b"value").await.unwrap();
    let beneath: Arc<dyn KeyStore> = Arc::new(kes_keystore::fs::Store::open(folder.path().join(KEYS)).await.unwrap());
    let recovered = Store::open(beneath, vec![SealingKey::recovery("paper", recovery(told))]).await.unwrap();
    assert_eq!(recovered.get(&name).await.unwrap().expose(), b"value");
}

#[tokio::test]
async fn a_making_that_dies_anywhere_is_finished_by_the_next() {
    for steps in 0.. {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("kes")).unwrap();
        let told = Mutex::new(Vec::new());
        let first = make_until(&folder, steps, &told).await;
        if let Ok(outcome) = first {
            assert_eq!(outcome, Outcome::Made);
            assert!(steps > 20, "{steps}: every change is a step");
            assert_works(&folder, &told).await;
            break;
        }
        // What was used is what the second start must keep.
        let before = if folder.is_ready() { files(folder.path()) } else { BTreeMap::new() };
        let outcome = make_until(&folder, u32::MAX, &told).await.unwrap_or_else(|error| panic!("{steps}: {error:#}"));
        for (path, content) in &before {
            assert_eq!(&fs::read(path).unwrap(), content, "{steps}: {}", path.display());
        }
        assert_eq!(outcome == Outcome::Found, !before.is_empty(), "{steps}");
        let names: Vec<_> = disk::entries(folder.path()).unwrap();
        assert_eq!(names.len(), 9, "{steps}: {names:?}");
        assert_works(&folder, &told).await;
        assert_eq!(make_until(&folder, u32::MAX, &told).await.unwrap(), Outcome::Found);
    }
}

#[tokio::test]
async fn a_second_death_does_no_harm_either() {
    for (first, second) in (0..40).step_by(7).flat_map(|first| (0..40).step_by(5).map(move |second| (first, second))) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("kes")).unwrap();
        let told = Mutex::new(Vec::new());
        let _ = make_until(&folder, first, &told).await;
        let _ = make_until(&folder, second, &told).await;
        make_until(&folder, u32::MAX, &told).await.unwrap_or_else(|error| panic!("{first} {second}: {error:#}"));
        assert_works(&folder, &told).await;
    }
}

#[tokio::test]
async fn nothing_of_others_is_touched() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("notes.txt"), "mine").unwrap();
    let folder = Folder::new(home.path()).unwrap();
    let error = make(&folder, &plan(), |_| Ok(())).await.unwrap_err().to_string();
    assert!(error.contains("is not empty and has no config.yml: it holds 'notes.txt'\nhint: "), "{error}");
    assert_eq!(disk::entries(home.path()).unwrap(), ["notes.txt"]);

    let file = Folder::new(&home.path().join("notes.txt")).unwrap();
    let error = make(&file, &plan(), |_| Ok(())).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot use folder '"), "{error}");
    assert_eq!(fs::read(home.path().join("notes.txt")).unwrap(), b"mine");
}

#[tokio::test]
async fn an_empty_folder_and_a_new_file_system_will_do() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(LOST_AND_FOUND)).unwrap();
    let folder = Folder::new(home.path()).unwrap();
    assert_eq!(make(&folder, &plan(), |_| Ok(())).await.unwrap(), Outcome::Made);
}

#[tokio::test]
async fn what_cannot_be_shown_is_not_made() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("kes")).unwrap();
    let error = make(&folder, &plan(), |_| Err(io::Error::other("closed"))).await.unwrap_err().to_string();
    assert_eq!(error, "cannot show the recovery key");
    assert!(!folder.is_ready());
    assert_eq!(make(&folder, &plan(), |_| Ok(())).await.unwrap(), Outcome::Made);
}

#[tokio::test]
async fn two_who_make_it_at_once_make_it_once() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("kes");
    // Threads, since the lock is waited for by the thread.
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let make = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(make(&Folder::new(&path).unwrap(), &plan(), |_| Ok(()))).unwrap()
        };
        let both = [scope.spawn(make), scope.spawn(make)];
        both.map(|one| one.join().unwrap()).to_vec()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Made).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Found).count(), 1, "{outcomes:?}");
}

/// A store that is gone, say not mounted, is no reason to begin a new one.
#[tokio::test]
async fn the_store_of_the_folder_and_no_other_is_served() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("kes")).unwrap();
    make(&folder, &plan(), |_| Ok(())).await.unwrap();
    fs::rename(folder.path().join(KEYS), home.path().join("elsewhere")).unwrap();
    let config = kes_config::File::read(folder.config()).unwrap().load().unwrap().config;
    let error = config.open_store().await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("keystore.seal.store"), "{error}");
}

#[tokio::test]
async fn a_store_elsewhere_gets_its_keys_before_it_is_sealed() {
    for backend in [Backend::Vault, Backend::Aws, Backend::Azure] {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("kes")).unwrap();
        let told = Mutex::new(Vec::new());
        let tell = |text: &str| {
            told.lock().unwrap().push(text.to_owned());
            Ok(())
        };
        make(&folder, &Plan { backend, ..plan() }, tell).await.unwrap();
        let file = fs::read_to_string(folder.path().join(RECOVERY_KEY)).unwrap();
        assert_eq!(file.trim(), recovery(&told).to_text().as_str());
        let config = kes_config::File::read(folder.config()).unwrap().load().unwrap().config;
        assert_eq!(config.store.sealing_keys().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn secrets_are_their_owners_alone() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("kes")).unwrap();
    make(&folder, &plan(), |_| Ok(())).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    for name in [ADMIN, MINIO, CA_KEY, PRIVATE_KEY, SEALING_KEY] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    for (path, content) in files(folder.path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let has_secret = content.windows(7).any(|bytes| bytes == b"kes:v1:");
        assert_eq!(has_secret, [ADMIN, MINIO].contains(&name.as_str()), "{name}");
    }
}

#[tokio::test]
async fn a_folder_that_was_moved_says_how_to_mend_it() {
    let home = tempfile::tempdir().unwrap();
    let old = Folder::new(&home.path().join("old")).unwrap();
    make(&old, &plan(), |_| Ok(())).await.unwrap();
    moved(&old).unwrap();
    let new = Folder::new(&home.path().join("the new one")).unwrap();
    fs::rename(old.path(), new.path()).unwrap();
    let error = moved(&new).unwrap_err().to_string();
    let line = error.split_once("hint: ").unwrap().1;
    assert!(std::process::Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
    moved(&new).unwrap();
    let config = kes_config::File::read(new.config()).unwrap().load().unwrap().config;
    crate::tls_files::read(&config).unwrap();
    config.open_store().await.unwrap();
}
