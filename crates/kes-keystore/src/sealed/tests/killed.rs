//! Every operation, ended by `kill -9` before every step. The test binary runs itself as the process to be killed.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process};

use super::script::{Act, check, finish, perform, prepare};
use crate::fs::tests::STARTING;
use crate::fs::tests::faulty::Faulty;
use crate::{KeyStore, fs};

const FOLDER: &str = "KES_TEST_KILLED_FOLDER";
const ACT: &str = "KES_TEST_KILLED_ACT";
const STEP: &str = "KES_TEST_KILLED_STEP";

/// What the process to be killed does; nothing when run as an ordinary test.
#[tokio::test]
async fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let backup = std::fs::read(folder.join("backup")).unwrap();
    let files = Faulty::new();
    let store = fs::Store::open_on(Box::new(files.clone()), folder.join("keys")).await.unwrap();
    let last: usize = env::var(STEP).unwrap().parse().unwrap();
    files.plan(move |number, _| {
        if number == last {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        Ok(())
    });
    let store: Arc<dyn KeyStore> = Arc::new(store);
    perform(Act::parse(&env::var(ACT).unwrap()), &store, &backup).await.unwrap();
}

/// Whether the process was killed; else it had no such step.
async fn kill(act: Act, step: usize) -> bool {
    let label = format!("{act:?}, killed at step {step}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(&path).await.unwrap());
    let world = prepare(act, &store).await;
    drop(store);
    std::fs::write(folder.path().join("backup"), &world.backup).unwrap();

    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "sealed::tests::killed::child", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder.path()).env(ACT, format!("{act:?}")).env(STEP, step.to_string());
    let starting = STARTING.write().await;
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(starting);
    let output = child.wait_with_output().unwrap();
    let was_killed = output.status.signal() == Some(Signal::KILL.as_raw());
    assert!(was_killed || output.status.success(), "{label}: {}", String::from_utf8_lossy(&output.stderr));

    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(&path).await.unwrap());
    check(&world, &store, !was_killed, &label).await;
    finish(&world, &store, &label).await;
    was_killed
}

#[tokio::test]
async fn no_kill_loses_or_brings_back_a_key() {
    let mut total = 0;
    for act in Act::ALL {
        let mut step = 0;
        while kill(act, step).await {
            step += 1;
        }
        println!("{:<16}{step:>8}", format!("{act:?}"));
        total += step;
    }
    println!("{total} kills, nothing lost, nothing back");
    assert!(total > 200, "{total}");
}
