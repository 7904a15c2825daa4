//! `kill -9` in the middle of a create. The test binary runs itself as the process to be killed.

use std::env;
use std::hint::spin_loop;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, getpid, kill_process};

use super::faulty::Faulty;
use super::*;

const DIRECTORY: &str = "KES_TEST_CRASH_DIRECTORY";
const STEP: &str = "KES_TEST_CRASH_STEP";
const VALUE: [u8; 208] = [b'v'; 208];

/// What the process to be killed does; nothing when run as an ordinary test.
#[test]
fn child() {
    let Ok(directory) = env::var(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let files = Faulty::new();
        let store = Store::open_on(Box::new(files.clone()), directory.into()).await.unwrap();
        if let Ok(last) = env::var(STEP) {
            let last: usize = last.parse().unwrap();
            files.plan(move |number, _| {
                if number == last {
                    kill_process(getpid(), Signal::KILL).unwrap();
                }
                Ok(())
            });
            store.create(&name("key"), &VALUE).await.unwrap();
            return;
        }
        files.limit_writes(20);
        for number in 0.. {
            store.create(&name(&format!("key-{number}")), &VALUE).await.unwrap();
            println!("{number}");
        }
    });
}

async fn start(directory: &Path, step: Option<usize>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "fs::tests::crash::child", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped());
    if let Some(step) = step {
        command.env(STEP, step.to_string());
    }
    let _alone = STARTING.write().await;
    command.spawn().unwrap()
}

/// Every file is whole or absent; a new server removes the remains and can use every name.
async fn check(directory: &Path) -> usize {
    let _nobody_starts = STARTING.read().await;
    for entry in entries(directory) {
        if KeyName::is_valid(&entry) {
            assert_eq!(fs::read(directory.join(&entry)).unwrap(), VALUE, "{entry}");
        } else {
            assert!(is_temporary(OsStr::new(&entry)), "{entry}");
        }
    }
    let store = Store::open(directory).await.unwrap();
    let names = store.list("", None, usize::MAX).await.unwrap().names;
    assert_eq!(entries(directory).len(), names.len(), "nothing but keys is left");
    for name in &names {
        assert_eq!(store.get(name).await.unwrap().expose(), VALUE);
    }
    names.len()
}

#[tokio::test]
async fn a_create_killed_at_any_step_leaves_the_whole_key_or_none() {
    let mut killed = 0;
    let mut kept = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let status = start(directory.path(), Some(killed)).await.wait_with_output().unwrap().status;
        let keys = check(directory.path()).await;
        if status.success() {
            assert_eq!(keys, 1);
            break;
        }
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        killed += 1;
        kept += keys;
        let store = Store::open(directory.path()).await.unwrap();
        let again = store.create(&name("key"), &VALUE).await;
        assert_eq!(again.is_ok(), keys == 0, "{again:?}");
    }
    // Before: exists, create, write, sync, publish. After: remove, sync of the directory.
    assert_eq!((killed, kept), (7, 2));
}

#[tokio::test]
async fn creates_killed_at_random_instants_leave_whole_keys_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut seed: u32 = std::process::id();
    for _ in 0..12 {
        let round = tempfile::tempdir_in(directory.path()).unwrap();
        let mut child = start(round.path(), None).await;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let created = (seed >> 24) as usize % 20;
        // The lines of the test harness come first.
        lines.by_ref().map(Result::unwrap).filter(|line| line.parse::<usize>().is_ok()).nth(created).unwrap();
        for _ in 0..(seed >> 8) % 200_000 {
            spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(check(round.path()).await > created);
    }
}
