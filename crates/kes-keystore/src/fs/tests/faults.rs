use std::error::Error as _;
use std::sync::mpsc;

use rustix::io::Errno;

use super::faulty::{Faulty, Step};
use super::*;

async fn faulty() -> (TempDir, Faulty, Store) {
    let directory = tempfile::tempdir().unwrap();
    let files = Faulty::new();
    let store = Store::open_on(Box::new(files.clone()), directory.path().to_owned()).await.unwrap();
    (directory, files, store)
}

/// Fails whenever it comes to a step.
fn fail(at: Step, errno: Errno) -> impl Fn(usize, Step) -> io::Result<()> + Send + Sync {
    move |_, step| if step == at { Err(errno.into()) } else { Ok(()) }
}

#[tokio::test]
async fn a_failed_create_says_why_and_leaves_nothing_behind() {
    let (directory, files, store) = faulty().await;
    for at in [Step::Exists, Step::Create, Step::Write, Step::Sync, Step::Publish, Step::SyncDirectory] {
        for (errno, kind, remedy) in [
            (Errno::NOSPC, ErrorKind::Failed, "free space on the file system"),
            (Errno::DQUOT, ErrorKind::Failed, "free space on the file system"),
            (Errno::IO, ErrorKind::Failed, "check the disk and the system log"),
            (Errno::MFILE, ErrorKind::Failed, "check the disk and the system log"),
            (Errno::ROFS, ErrorKind::Unauthorized, "the file system is mounted read-only"),
            (Errno::ACCESS, ErrorKind::Unauthorized, "give the server's user read and write access"),
            (Errno::STALE, ErrorKind::Unreachable, "check the network file system"),
        ] {
            files.plan(fail(at, errno));
            let error = store.create(&name("key"), b"value").await.unwrap_err();
            assert_eq!(error.kind(), kind, "{at:?} {errno:?}");
            assert!(error.to_string().contains(remedy), "{error}");
            assert_eq!(error.source().unwrap().to_string(), io::Error::from(errno).to_string());
            assert!(entries(directory.path()).is_empty(), "{at:?} {errno:?}");
        }
    }
    files.plan(|_, _| Ok(()));
    store.create(&name("key"), b"value").await.unwrap();
    assert_eq!(entries(directory.path()), ["key"]);
}

#[tokio::test]
async fn an_existing_key_is_said_to_exist_on_a_full_disk_too() {
    let (_directory, files, store) = faulty().await;
    store.create(&name("key"), b"value").await.unwrap();
    files.plan(fail(Step::Create, Errno::NOSPC));
    assert_eq!(store.create(&name("key"), b"other").await.unwrap_err().kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn short_writes_go_on_where_they_stopped() {
    let (directory, files, store) = faulty().await;
    files.limit_writes(7);
    store.create(&name("key"), &[b'x'; 208]).await.unwrap();
    assert_eq!(fs::read(directory.path().join("key")).unwrap(), [b'x'; 208]);

    files.limit_writes(0);
    let error = store.create(&name("other"), b"value").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(entries(directory.path()), ["key"]);
}

#[tokio::test]
async fn an_interrupted_write_is_repeated() {
    let (_directory, files, store) = faulty().await;
    files.plan(|number, step| if step == Step::Write && number < 4 { Err(Errno::INTR.into()) } else { Ok(()) });
    store.create(&name("key"), b"value").await.unwrap();
    assert_eq!(store.get(&name("key")).await.unwrap().expose(), b"value");
}

#[tokio::test]
async fn a_temporary_file_that_cannot_be_removed_is_swept_later() {
    let _nobody_starts = STARTING.read().await;
    let (directory, files, store) = faulty().await;
    files.plan(fail(Step::Remove, Errno::IO));
    store.create(&name("key"), b"value").await.unwrap();
    assert_eq!(entries(directory.path()).len(), 2);
    assert_eq!(store.list("", None, 9).await.unwrap().names, [name("key")]);
    Store::open(directory.path()).await.unwrap();
    assert_eq!(entries(directory.path()), ["key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_a_key_whose_create_is_withdrawn() {
    let (directory, files, store) = faulty().await;
    let (arrived, at_sync) = mpsc::sync_channel::<()>(0);
    let (release, released) = mpsc::sync_channel::<()>(0);
    let released = std::sync::Mutex::new(released);
    files.plan(move |_, step| {
        if step != Step::SyncDirectory {
            return Ok(());
        }
        arrived.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Err(Errno::IO.into())
    });
    let creator = tokio::spawn({
        let store = store.clone();
        async move { store.create(&name("key"), b"value").await }
    });
    tokio::task::block_in_place(|| at_sync.recv().unwrap());
    assert_eq!(entries(directory.path()), ["key"], "published");
    let (key, other) = (name("key"), name("other"));
    let mut reader = std::pin::pin!(store.get(&key));
    std::future::poll_fn(|context| {
        assert!(reader.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    assert_eq!(store.get(&other).await.unwrap_err().kind(), ErrorKind::NotFound, "others need not wait");
    release.send(()).unwrap();
    assert_eq!(creator.await.unwrap().unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(reader.await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn errors_of_reading_deleting_and_listing_keep_their_meaning() {
    let (directory, files, store) = faulty().await;
    store.create(&name("key"), b"value").await.unwrap();
    let file = directory.path().join("key").display().to_string();

    files.plan(fail(Step::Read, Errno::IO));
    let error = store.get(&name("key")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{file}: cannot read the key: check the disk and the system log"));
    files.plan(fail(Step::Read, Errno::ACCESS));
    assert_eq!(store.get(&name("key")).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    files.plan(fail(Step::Remove, Errno::ROFS));
    assert_eq!(store.delete(&name("key")).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    files.plan(fail(Step::Entries, Errno::STALE));
    assert_eq!(store.list("", None, 9).await.unwrap_err().kind(), ErrorKind::Unreachable);
    files.plan(fail(Step::IsDirectory, Errno::IO));
    assert_eq!(store.status().await.unwrap_err().kind(), ErrorKind::Unreachable);
    files.plan(fail(Step::SyncDirectory, Errno::IO));
    assert_eq!(store.delete(&name("key")).await.unwrap_err().kind(), ErrorKind::Failed);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let files = Faulty::new();
    files.plan(fail(Step::CreateDirectory, Errno::ACCESS));
    let error = Store::open_on(Box::new(files), "/keys".into()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().starts_with("/keys: access refused: "), "{error}");
}

/// A hanging disk holds a bounded number of threads, and those who wait can give up.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_disk_does_not_eat_all_threads() {
    let (_directory, files, store) = faulty().await;
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    files.plan(move |_, _| {
        let _ = released.lock().unwrap().recv();
        Ok(())
    });
    let mut calls = Vec::new();
    for _ in 0..3 * THREADS {
        let store = store.clone();
        calls.push(tokio::spawn(async move { store.status().await }));
    }
    while store.threads.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let mut late = std::pin::pin!(store.status());
    std::future::poll_fn(|context| {
        assert!(late.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    assert!(files.steps() <= THREADS + 3);
    drop(release);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    late.await.unwrap();
}
