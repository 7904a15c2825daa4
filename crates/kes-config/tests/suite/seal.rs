//! `keystore.seal`: where sealing keys come from, and what opening a store does with them.

use crate::support::{file_with, load};
use kes_config::{ErrorKind, Store};
use kes_keystore::sealed::{RecoveryKey, TableInfo};
use kes_keystore::{KeyName, KeyStore};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY=";
/// A key as MinIO KES 0.6 to 0.16 stored it.
const OLD: &str = r#"{"bytes":"8tysrjJZlW9q0hYPd368L61hiUCm4ju+UMyFItw71SY="}"#;

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn store(folder: &Path, seal: &str, variables: &[(&str, &str)]) -> Store {
    let keys = folder.join("keys");
    let text = file_with(&[&format!("keystore: {{fs: {{path: {}}}, seal: {{{seal}}}}}", keys.display())]);
    load(&text, variables).unwrap().config.store
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn refusal(store: &Store) -> String {
    store.open().await.map(|store| store.describe()).unwrap_err().to_string()
}

async fn works(store: Arc<dyn KeyStore>) {
    let key = name(&format!("key-{}", store.list("", None, 100).await.unwrap().names.len()));
    store.create(&key, b"value").await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().expose(), b"value");
}

#[tokio::test]
async fn every_source_of_a_key_seals_and_opens() {
    let folder = folder();
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).display().to_string()
    };
    let raw = write("raw", &[200; 32]);
    let base64 = write("base64", format!("{KEY}\n").as_bytes());
    let hex = write("hex", "ab".repeat(32).as_bytes());
    let passphrase = write("passphrase", b"open sesame\n");
    let credentials = folder.path().display().to_string();
    let variables = [("SEAL", KEY), ("CREDENTIALS_DIRECTORY", credentials.as_str())];
    let variables = variables.as_slice();
    for seal in [
        "passphrase: open sesame".to_owned(),
        format!("passphrase_file: {passphrase}"),
        format!("key: {KEY}"),
        "key: '${SEAL}'".to_owned(),
        format!("key_file: {raw}"),
        format!("key_file: {base64}"),
        format!("key_file: {hex}"),
        "credential: base64".to_owned(),
    ] {
        let place = tempfile::tempdir().unwrap();
        let config = store(place.path(), &seal, variables);
        works(config.open().await.unwrap()).await;
        works(store(place.path(), &seal, variables).open().await.unwrap()).await;
        let file = std::fs::read(place.path().join("keys/key-0")).unwrap();
        assert!(file.starts_with(b"kes-sealed:1:"), "{seal}");
    }
}

#[tokio::test]
async fn any_one_of_several_keys_is_enough() {
    let folder = folder();
    store(folder.path(), &format!("passphrase: one, key: {KEY}"), &[]).open().await.unwrap();
    for seal in ["passphrase: one".to_owned(), format!("key: {KEY}"), format!("passphrase: two, key: {KEY}")] {
        store(folder.path(), &seal, &[]).open().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_key_stops_with_one_sentence_and_touches_nothing() {
    let folder = folder();
    store(folder.path(), "passphrase: right", &[]).open().await.unwrap();
    let table = folder.path().join("keys/-kes-seal");
    let before = std::fs::read(&table).unwrap();
    let keys = folder.path().join("keys");
    assert_eq!(
        refusal(&store(folder.path(), "passphrase: wrong", &[])).await,
        format!(
            "Filesystem: {} is sealed under another key: no slot opens with keystore.seal.passphrase\n \
             --> kes.yml:4: keystore.seal\n\
             hint: give the key that the store was sealed with; 'kes seal status --config FILE' lists the slots, and \
             'kes seal recover --config FILE' opens it with the recovery key",
            keys.display()
        )
    );
    assert_eq!(std::fs::read(&table).unwrap(), before);
    assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_named_and_nothing_is_made() {
    let folder = folder();
    let short = folder.path().join("short");
    std::fs::write(&short, "c2hvcnQ=").unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let (short, empty) = (short.display().to_string(), empty.display().to_string());
    for (seal, text, key) in [
        (
            "key_file: no-such-secret".to_owned(),
            "the sealing key cannot be read from /run/secrets/no-such-secret: no such file or directory".to_owned(),
            "key_file",
        ),
        (
            "passphrase_file: /no/such".to_owned(),
            "the sealing key cannot be read from /no/such: no such file or directory".to_owned(),
            "passphrase_file",
        ),
        (
            format!("key_file: {short}"),
            format!("{short} holds no sealing key: 32 random bytes, as they are, in base64 or in hex"),
            "key_file",
        ),
        (format!("passphrase_file: {empty}"), format!("{empty} is empty"), "passphrase_file"),
        (
            "key: c2hvcnQ=".to_owned(),
            "keystore.seal.key holds no sealing key: 32 random bytes, as they are, in base64 or in hex".to_owned(),
            "key",
        ),
        (
            "credential: kes".to_owned(),
            "there is no credential 'kes': CREDENTIALS_DIRECTORY is not set".to_owned(),
            "credential",
        ),
    ] {
        let error = store(folder.path(), &seal, &[]).open().await.map(|_| ()).unwrap_err();
        assert_eq!((error.message(), error.kind()), (text.as_str(), ErrorKind::Store));
        assert_eq!(error.place().unwrap().key, format!("keystore.seal.{key}"));
        assert!(!folder.path().join("keys").exists(), "{seal}");
    }
    let text = file_with(&["keystore: {fs: {path: p}, seal: {credential: ../kes}}"]);
    let error = load(&text, &[]).unwrap_err();
    assert_eq!(error.message(), "kesconf: invalid keystore seal: a credential has a name, not a path");
}

#[tokio::test]
async fn an_old_directory_is_served_as_it_is() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(folder.path().join("keys/old"), OLD).unwrap();
    let opened = store(folder.path(), "passphrase: p", &[]).open().await.unwrap();
    assert_eq!(opened.get(&name("old")).await.unwrap().expose(), OLD.as_bytes());
    assert_eq!(std::fs::read(folder.path().join("keys/old")).unwrap(), OLD.as_bytes());
    let notices = opened.notices();
    assert!(notices[0].starts_with("the key store is sealed from now on; its id is "), "{notices:?}");
    assert!(notices[1].contains("'kes seal migrate --config FILE' seals them"), "{notices:?}");
    let again = store(folder.path(), "passphrase: p", &[]).open().await.unwrap().notices();
    assert_eq!(again, notices[1..], "the first sentence is for the first time");
}

/// Somebody has lost a line of the configuration: keys must not lie there in clear from then on.
#[tokio::test]
async fn a_sealed_store_is_not_opened_without_its_seal() {
    let folder = folder();
    works(store(folder.path(), "passphrase: p", &[]).open().await.unwrap()).await;
    let keys = folder.path().join("keys");
    let text = file_with(&[&format!("keystore: {{fs: {{path: {}}}}}", keys.display())]);
    let plain = load(&text, &[]).unwrap().config.store;
    for error in [refusal(&plain).await, plain.open_unchanged().await.map(|_| ()).unwrap_err().to_string()] {
        let expected =
            format!("Filesystem: {} is sealed, and the configuration has no 'keystore.seal'\n", keys.display());
        assert!(error.starts_with(&expected), "{error}");
    }
    std::fs::write(keys.join("-kes-seal"), "damaged").unwrap();
    assert!(refusal(&plain).await.contains("has no 'keystore.seal'"));
    std::fs::remove_file(keys.join("-kes-seal")).unwrap();
    plain.open().await.unwrap();
}

/// `check --connect`, `verify` and the source of `migrate` only look.
#[tokio::test]
async fn who_only_looks_seals_nothing() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(folder.path().join("keys/old"), OLD).unwrap();
    let recovery = folder.path().join("recovery.txt");
    let config = store(folder.path(), &format!("passphrase: p, recovery: {}", recovery.display()), &[]);
    let opened = config.open_unchanged().await.unwrap();
    assert_eq!(opened.get(&name("old")).await.unwrap().expose(), OLD.as_bytes());
    assert!(!recovery.exists());
    assert_eq!(std::fs::read_dir(folder.path().join("keys")).unwrap().count(), 1);

    works(config.open().await.unwrap()).await;
    let opened = config.open_unchanged().await.unwrap();
    assert_eq!(opened.get(&name("key-1")).await.unwrap().expose(), b"value", "through the seal that is there");
    let error = store(folder.path(), "passphrase: wrong", &[]).open_unchanged().await.map(|_| ()).unwrap_err();
    assert!(error.message().contains("is sealed under another key"), "{error}");
    let pinned = format!("passphrase: p, store: {}", "0".repeat(32));
    let error = store(folder.path(), &pinned, &[]).open_unchanged().await.map(|_| ()).unwrap_err();
    assert!(error.message().contains("is not the sealed store 0000"), "{error}");
}

#[tokio::test]
async fn the_recovery_key_is_written_once_and_opens() {
    let folder = folder();
    let paper = folder.path().join("recovery.txt");
    let seal = format!("passphrase: lost, recovery: {}", paper.display());
    let opened = store(folder.path(), &seal, &[]).open().await.unwrap();
    assert!(opened.notices().iter().all(|notice| !notice.contains("one slot")), "{:?}", opened.notices());
    let text = std::fs::read_to_string(&paper).unwrap();
    assert!(RecoveryKey::parse(&text).is_ok(), "{text}");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&paper).unwrap().permissions()) & 0o777,
        0o600
    );
    works(opened).await;

    let forgotten = format!("passphrase: forgotten, recovery: {}", paper.display());
    let opened = store(folder.path(), &forgotten, &[]).open().await.unwrap();
    assert!(opened.notices()[0].starts_with("the store was opened with the recovery key"), "{:?}", opened.notices());
    works(opened).await;
    assert_eq!(std::fs::read_to_string(&paper).unwrap(), text);
    let first = text.chars().next().unwrap();
    std::fs::write(&paper, text.replace(first, if first == '7' { "8" } else { "7" })).unwrap();
    let error = refusal(&store(folder.path(), &forgotten, &[])).await;
    assert!(error.contains("the recovery key is mistyped: its checksum does not fit"), "{error}");
}

/// A store that is not mounted must not be taken for a new one.
#[tokio::test]
async fn only_the_named_store_is_opened() {
    let (one, two) = (folder(), folder());
    store(one.path(), "passphrase: p", &[]).open().await.unwrap();
    store(two.path(), "passphrase: p", &[]).open().await.unwrap();
    let beneath = store(one.path(), "passphrase: p", &[]).open_beneath().await.unwrap();
    let id = TableInfo::read(beneath.as_ref()).await.unwrap().unwrap().store;
    let seal = format!("passphrase: p, store: {id}");
    store(one.path(), &seal, &[]).open().await.unwrap();
    let error = refusal(&store(two.path(), &seal, &[])).await;
    assert!(error.contains(&format!("is not the sealed store {id} that was expected: it is the store ")), "{error}");
    let empty = folder();
    let error = refusal(&store(empty.path(), &seal, &[])).await;
    assert!(error.contains("that was expected: it is not sealed"), "{error}");
    assert_eq!(std::fs::read_dir(empty.path().join("keys")).unwrap().count(), 0);
}

#[tokio::test]
async fn sealed_keys_whose_table_is_gone_are_not_sealed_anew() {
    let folder = folder();
    works(store(folder.path(), "passphrase: p", &[]).open().await.unwrap()).await;
    std::fs::remove_file(folder.path().join("keys/-kes-seal")).unwrap();
    let error = refusal(&store(folder.path(), "passphrase: p", &[])).await;
    assert!(error.contains("has sealed keys but no entry '-kes-seal' any more: restore that from a backup"), "{error}");
    assert!(!folder.path().join("keys/-kes-seal").exists());
}

#[tokio::test]
async fn of_servers_that_start_at_once_one_seals() {
    let folder = folder();
    let stores: Vec<_> = (0..8).map(|_| store(folder.path(), &format!("key: {KEY}"), &[])).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores {
        tasks.spawn(async move { store.open().await.unwrap() });
    }
    let mut opened = Vec::new();
    while let Some(store) = tasks.join_next().await {
        opened.push(store.unwrap());
    }
    opened[0].create(&name("key"), b"value").await.unwrap();
    for store in &opened {
        assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
    }
    let sealed = opened.iter().filter(|store| store.notices()[0].contains("sealed from now on")).count();
    assert_eq!(sealed, 1);
}

#[tokio::test]
async fn a_static_key_has_nothing_to_seal() {
    let text = file_with(&[&format!("keystore: {{static: {{key: 'k:{KEY}'}}, seal: {{passphrase: p}}}}")]);
    let error = load(&text, &[]).unwrap().config.store.open().await.map(|_| ()).unwrap_err();
    assert!(error.message().starts_with("there is nothing to seal"), "{error}");
}

#[tokio::test]
async fn no_secret_is_shown() {
    let folder = folder();
    let store = store(folder.path(), "passphrase: s3cr3t-words", &[]);
    let keys = store.sealing_keys().await.unwrap();
    let opened = store.open().await.unwrap();
    let shown = format!("{store:?} {keys:?} {} {:?}", opened.describe(), opened.notices());
    assert!(!shown.contains("s3cr3t"), "{shown}");
    let unlocked = kes_keystore::sealed::Unlocked::open(store.open_beneath().await.unwrap(), &keys).await.unwrap();
    assert!(!format!("{unlocked:?} {:?}", unlocked.table()).contains("s3cr3t"));
}

/// `path: content` of everything below.
fn listing(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap_or_default())).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_look_changes_nothing() {
    let folder = folder();
    let paper = folder.path().join("recovery.txt");
    let config = store(folder.path(), &format!("passphrase: p, recovery: {}", paper.display()), &[]);
    assert!(config.look().await.unwrap().is_none(), "there is no directory");
    assert_eq!(listing(folder.path()), []);

    let keys = folder.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("old"), OLD).unwrap();
    std::fs::write(keys.join(".kes-create-0123456789abcdef.tmp"), "of a killed server").unwrap();
    let before = listing(&keys);
    let look = config.look().await.unwrap().unwrap();
    assert!(look.is_to_be_sealed);
    look.store.status().await.unwrap();
    assert_eq!((listing(&keys), paper.exists()), (before, false), "not sealed because somebody looked");

    config.open().await.unwrap();
    let sealed = listing(&keys);
    let look = config.look().await.unwrap().unwrap();
    assert!(!look.is_to_be_sealed);
    assert!(
        look.store.notices()[0].contains("'kes seal migrate --config FILE' seals them"),
        "{:?}",
        look.store.notices()
    );
    for (seal, text) in [
        ("passphrase: other", "is sealed under another key"),
        ("passphrase: p, store: 00000000000000000000000000000000", "is not the sealed store"),
        ("key_file: /no/such", "the sealing key cannot be read"),
    ] {
        let error = store(folder.path(), seal, &[]).look().await.map(|_| ()).unwrap_err();
        assert!(error.message().contains(text), "{error}");
    }
    assert_eq!(listing(&keys), sealed);
}

#[test]
fn everything_that_keeps_a_seal_from_opening_is_told_at_once() {
    let folder = folder();
    let short = folder.path().join("short");
    std::fs::write(&short, "c2hvcnQ=").unwrap();
    let seal = format!(
        "passphrase: fine, passphrase_file: /no/such, key: c2hvcnQ=, key_file: {short}, credential: kes, recovery: {short}",
        short = short.display()
    );
    let faults = store(folder.path(), &seal, &[]).seal_faults();
    let keys: Vec<_> = faults.iter().map(|error| error.place().unwrap().key.as_str()).collect();
    let expected = ["passphrase_file", "key", "key_file", "credential", "recovery"];
    assert_eq!(keys, expected.map(|key| format!("keystore.seal.{key}")));
    assert!(store(folder.path(), "passphrase: fine", &[]).seal_faults().is_empty());
    let text = file_with(&[&format!("keystore: {{static: {{key: 'k:{KEY}'}}, seal: {{passphrase: p}}}}")]);
    let faults = load(&text, &[]).unwrap().config.store.seal_faults();
    assert!(faults[0].message().starts_with("there is nothing to seal"), "{faults:?}");
}
