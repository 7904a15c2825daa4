use rustix::io::Errno;

use super::faulty::{Faulty, Step};
use super::*;

async fn store() -> (TempDir, Faulty, Store) {
    let directory = tempfile::tempdir().unwrap();
    let files = Faulty::new();
    let store = Store::open_on(Box::new(files.clone()), directory.path().to_owned()).await.unwrap();
    store.create(&name("key"), b"old").await.unwrap();
    (directory, files, store)
}

#[tokio::test]
async fn a_value_is_replaced_if_it_is_the_expected_one() {
    let (directory, _files, store) = store().await;
    store.replace(&name("key"), b"old", b"new").await.unwrap();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"new");
    assert_eq!(store.replace(&name("key"), b"old", b"newer").await.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(store.replace(&name("other"), b"old", b"new").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(entries(directory.path()), ["key"]);
    assert_eq!(mode(&directory.path().join("key")), 0o600);
}

/// As over NFS, which cannot exchange files.
#[tokio::test]
async fn without_exchange_it_is_renamed() {
    let (directory, files, store) = store().await;
    files.plan(|_, step| if step == Step::Exchange { Err(Errno::INVAL.into()) } else { Ok(()) });
    store.replace(&name("key"), b"old", b"new").await.unwrap();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"new");
    let path = directory.path().join("key");
    files.plan(move |_, step| {
        if step == Step::Exchange {
            fs::remove_file(&path).unwrap();
            return Err(Errno::INVAL.into());
        }
        Ok(())
    });
    assert_eq!(store.replace(&name("key"), b"new", b"newer").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(entries(directory.path()).is_empty());
}

/// Between the look at the value and its replacement, another process deletes the key, or deletes it and makes another.
#[tokio::test]
async fn a_key_that_was_deleted_meanwhile_does_not_come_back() {
    let (directory, files, store) = store().await;
    let path = directory.path().join("key");
    files.plan(move |_, step| {
        if step == Step::Exchange {
            fs::remove_file(&path).unwrap();
        }
        Ok(())
    });
    assert_eq!(store.replace(&name("key"), b"old", b"new").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(entries(directory.path()).is_empty());

    files.plan(|_, _| Ok(()));
    store.create(&name("key"), b"old").await.unwrap();
    let path = directory.path().join("key");
    let first = std::sync::atomic::AtomicBool::new(true);
    files.plan(move |_, step| {
        if step == Step::Exchange && first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "theirs").unwrap();
        }
        Ok(())
    });
    assert_eq!(store.replace(&name("key"), b"old", b"new").await.unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"theirs");
    assert_eq!(entries(directory.path()), ["key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_replacements_at_once_each_sees_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [Store::open(directory.path()).await.unwrap(), Store::open(directory.path()).await.unwrap()];
    stores[0].create(&name("count"), b"0").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = stores[task % 2].clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let old = store.get(&name("count")).await.unwrap();
                let count: usize = std::str::from_utf8(old.expose()).unwrap().parse().unwrap();
                match store.replace(&name("count"), old.expose(), (count + 1).to_string().as_bytes()).await {
                    Ok(()) => done += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Exists),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(stores[0].get(&name("count")).await.unwrap().expose(), b"80");
    assert_eq!(entries(directory.path()), ["count"]);
}

/// A tool run by root must leave files that the server can read.
#[tokio::test]
async fn what_root_makes_belongs_to_the_owner() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (directory, _files, store) = store().await;
    chown(directory.path(), Some(4711), Some(4712)).unwrap();
    chown(directory.path().join("key"), Some(4713), Some(4714)).unwrap();
    store.replace(&name("key"), b"old", b"new").await.unwrap();
    store.create(&name("new"), b"new").await.unwrap();
    let owner = |file: &str| fs::metadata(directory.path().join(file)).map(|file| (file.uid(), file.gid())).unwrap();
    assert_eq!((owner("key"), owner("new")), ((4713, 4714), (4711, 4712)));
}

#[tokio::test]
async fn a_link_is_not_replaced() {
    let (directory, _files, store) = store().await;
    symlink("key", directory.path().join("link")).unwrap();
    let error = store.replace(&name("link"), b"old", b"new").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("it is a symbolic link, and only a file can be replaced"), "{error}");
    assert_eq!(entries(directory.path()), ["key", "link"]);
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"old");
}
