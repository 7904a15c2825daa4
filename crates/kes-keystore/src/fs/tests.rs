mod crash;
mod faults;
pub(crate) mod faulty;
mod replace;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::os::{FileSystem, rename_new};
use super::*;
use crate::ErrorKind;
use crate::conformance::Subject;

/// Taken to start a process: for an instant it has our files open, and with them the locks that tell a living create from
/// one that was killed. Whoever looks at what is swept away takes it for reading.
pub(crate) static STARTING: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// A directory of keys in a temporary directory, as two servers have it open.
pub(crate) struct Directories {
    parent: TempDir,
    stores: [Store; 2],
}

#[async_trait]
impl Subject for Directories {
    fn store(&self) -> Arc<dyn KeyStore> {
        Arc::new(self.stores[0].clone())
    }

    fn neighbour(&self) -> Arc<dyn KeyStore> {
        Arc::new(self.stores[1].clone())
    }

    async fn stop(&self) -> bool {
        fs::rename(self.parent.path().join("keys"), self.parent.path().join("away")).unwrap();
        true
    }

    async fn start(&self) {
        fs::rename(self.parent.path().join("away"), self.parent.path().join("keys")).unwrap();
    }
}

pub(crate) async fn directory() -> Directories {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("keys");
    let stores = [Store::open(&path).await.unwrap(), Store::open(&path).await.unwrap()];
    Directories { parent, stores }
}

mod conformance {
    use super::directory;

    crate::conformance_tests!(directory);
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn entries(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_key_is_a_private_file_with_the_value_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/er/keys");
    let store = Store::open(&path).await.unwrap();
    store.create(&name("my-key"), b"CiQKI").await.unwrap();
    assert_eq!(entries(&path), ["my-key"]);
    assert_eq!(fs::read(path.join("my-key")).unwrap(), b"CiQKI");
    assert_eq!(mode(&path.join("my-key")), 0o600);
    // The umask may take more away.
    assert_eq!(mode(&path) & !0o755, 0);
    assert_eq!(mode(&path) & 0o700, 0o700);
}

#[tokio::test]
async fn a_file_of_the_old_server_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("old-key"), b"{\"bytes\":\"AAAA\"}\n").unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    assert_eq!(store.get(&name("old-key")).await.unwrap().expose(), b"{\"bytes\":\"AAAA\"}\n");
    assert_eq!(store.create(&name("old-key"), b"x").await.unwrap_err().kind(), ErrorKind::Exists);
    store.delete(&name("old-key")).await.unwrap();
    assert!(entries(directory.path()).is_empty());
}

#[tokio::test]
async fn the_path_is_described_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("./x/../keys/");
    fs::create_dir(directory.path().join("x")).unwrap();
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.describe(), format!("Filesystem: {}", path.display()));
}

#[tokio::test]
async fn a_file_in_place_of_the_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("keys")] {
        let error = Store::open(&path).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert_eq!(
            error.to_string(),
            format!("Filesystem: {} is not reachable: it is not a directory", path.display())
        );
    }
}

#[tokio::test]
async fn foreign_entries_block_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path).await.unwrap();
    store.create(&name("key"), b"value").await.unwrap();
    for stray in ["README.md", ".hidden", "a b", "-x", "key~", ".kes-create-0123456789abcdeg.tmp", "ä"] {
        fs::write(path.join(stray), "stray").unwrap();
    }
    fs::write(path.join(OsStr::from_bytes(b"\xff\xfe")), "stray").unwrap();
    fs::create_dir(path.join("lost+found")).unwrap();
    symlink("/nowhere", path.join("..data")).unwrap();
    assert_eq!(store.list("", None, 100).await.unwrap().names, [name("key")]);
    let before = entries(path);
    Store::open(path).await.unwrap();
    assert_eq!(entries(path), before, "what is not ours is left alone");
}

#[tokio::test]
async fn damaged_entries_are_listed_named_and_can_be_told_from_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("long"), vec![b'x'; MAX_VALUE_LEN + 1]).unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    symlink("/nowhere", path.join("dangling")).unwrap();
    symlink("looped", path.join("looped")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let store = Store::open(path).await.unwrap();
    store.create(&name("key"), b"value").await.unwrap();

    let listed = store.list("", None, 100).await.unwrap().names;
    assert_eq!(listed, ["dangling", "empty", "folder", "key", "long", "looped", "pipe"].map(name));
    for (entry, problem) in [
        ("empty", "the file is empty"),
        ("long", "the file is longer than 1 MiB and no key"),
        ("folder", "it is not a regular file and no key"),
        ("dangling", "it is not a regular file and no key"),
        ("looped", "it is not a regular file and no key"),
        ("pipe", "it is not a regular file and no key"),
    ] {
        let error = store.get(&name(entry)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{entry}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}: {problem}: ", path.join(entry).display())), "{text}");
        assert_eq!(store.create(&name(entry), b"x").await.unwrap_err().kind(), ErrorKind::Exists, "{entry}");
    }
    for entry in ["empty", "long", "dangling", "looped", "pipe"] {
        store.delete(&name(entry)).await.unwrap();
    }
    assert_eq!(store.delete(&name("folder")).await.unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
}

/// Kubernetes mounts secrets as links into `..data`.
#[tokio::test]
async fn a_symbolic_link_to_a_key_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("..2026")).unwrap();
    fs::write(path.join("..2026/key"), "value").unwrap();
    symlink("..2026", path.join("..data")).unwrap();
    symlink("..data/key", path.join("key")).unwrap();
    let store = Store::open(path).await.unwrap();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
    assert_eq!(store.list("", None, 100).await.unwrap().names, [name("key")]);
}

#[tokio::test]
async fn opening_sweeps_files_of_the_dead_and_spares_those_of_the_living() {
    let _nobody_starts = STARTING.read().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (dead, linked, alive) =
        (".kes-create-00000000000000de.tmp", ".kes-create-00000000000000ff.tmp", ".kes-create-00000000000000a1.tmp");
    fs::write(path.join(dead), "half a va").unwrap();
    // Killed between linking and removing: the key is complete.
    fs::write(path.join(linked), "value").unwrap();
    fs::hard_link(path.join(linked), path.join("key")).unwrap();
    let living = Os.create(&path.join(alive), path).unwrap();

    let store = Store::open(path).await.unwrap();
    assert_eq!(entries(path), [alive, "key"]);
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
    drop(living);
    Store::open(path).await.unwrap();
    assert_eq!(entries(path), ["key"]);
}

/// Servers start, and sweep, while others create.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sweep_never_disturbs_a_neighbours_create() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let path = directory.path().to_owned();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let sweeper = tokio::spawn(async move {
        while stopped.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty) {
            Store::open(&path).await.unwrap();
        }
    });
    for number in 0..200 {
        store.create(&name(&format!("key-{number}")), b"value").await.unwrap();
    }
    stop.send(()).unwrap();
    sweeper.await.unwrap();
    assert_eq!(entries(directory.path()).len(), 200);
}

#[test]
fn a_repeated_request_is_known_as_our_own() {
    let directory = tempfile::tempdir().unwrap();
    let (temporary, target) = (directory.path().join("t.tmp"), directory.path().join("key"));
    fs::write(&temporary, "value").unwrap();
    Os.publish(&temporary, &target).unwrap();
    // As over a network file system that has lost the answer to the first request.
    Os.publish(&temporary, &target).unwrap();
    let other = directory.path().join("other.tmp");
    fs::write(&other, "another").unwrap();
    assert_eq!(Os.publish(&other, &target).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"value");
}

#[test]
fn renaming_does_not_replace_either() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two, target) =
        (directory.path().join("1.tmp"), directory.path().join("2.tmp"), directory.path().join("key"));
    fs::write(&one, "1").unwrap();
    fs::write(&two, "2").unwrap();
    rename_new(&one, &target).unwrap();
    assert_eq!(rename_new(&two, &target).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"1");
    assert_eq!(entries(directory.path()), ["2.tmp", "key"]);
}
