//! Every operation, interrupted at every step by every fault.
//!
//! `cargo test -p kes-keystore --lib faults -- --nocapture` prints the counts.

use std::sync::Arc;

use rustix::io::Errno;

use super::script::{Act, check, finish, perform, prepare};
use super::support::{Cloud, Fault};
use crate::fs::tests::STARTING;
use crate::fs::tests::faulty::{Faulty, Step};
use crate::{KeyStore, fs};

/// What happens to the file system at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// This step fails once: the disk is full.
    Full,
    /// This step fails once: the disk cannot write, or cannot sync.
    Broken,
    /// Writes take 100 bytes each, and this step finds the disk full: a file is left half written.
    Short,
    /// This step and all after it fail, those that tidy up among them: the disk is gone, or so is the process.
    Gone,
    /// The same on a file system that cannot exchange two files, such as NFS.
    GoneNfs,
}

#[tokio::test]
async fn no_fault_of_the_file_system_loses_or_brings_back_a_key() {
    let mut total = 0;
    println!("{:<16}{:>8}{:>8}{:>8}{:>8}{:>8}", "operation", "ENOSPC", "EIO", "short", "gone", "on NFS");
    for act in Act::ALL {
        let mut counts = Vec::new();
        for trouble in [Trouble::Full, Trouble::Broken, Trouble::Short, Trouble::Gone, Trouble::GoneNfs] {
            let mut at = 0;
            while strike(act, trouble, at).await {
                at += 1;
            }
            counts.push(at);
        }
        total += counts.iter().sum::<usize>();
        let cells: String = counts.iter().map(|count| format!("{count:>8}")).collect();
        println!("{:<16}{cells}", format!("{act:?}"));
    }
    println!("{total} faults, nothing lost, nothing back");
    assert!(total > 1000, "{total}");
}

/// Whether there was such a step.
async fn strike(act: Act, trouble: Trouble, at: usize) -> bool {
    let label = format!("{act:?}, {trouble:?} at step {at}");
    let _nobody_starts = STARTING.read().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let files = Faulty::new();
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open_on(Box::new(files.clone()), path.clone()).await.unwrap());
    let world = prepare(act, &store).await;
    if trouble == Trouble::Short {
        files.limit_writes(100);
    }
    files.plan(move |number, step| match trouble {
        Trouble::Full | Trouble::Short if number == at => Err(Errno::NOSPC.into()),
        Trouble::Broken if number == at => Err(Errno::IO.into()),
        Trouble::Gone | Trouble::GoneNfs if number >= at => Err(Errno::IO.into()),
        Trouble::GoneNfs if step == Step::Exchange => Err(Errno::INVAL.into()),
        _ => Ok(()),
    });
    let done = perform(act, &store, &world.backup).await.is_ok();
    let struck = files.steps() > at;
    drop(store);
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(&path).await.unwrap());
    check(&world, &store, done, &label).await;
    finish(&world, &store, &label).await;
    let left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{label}: {left:?}");
    struck
}

#[tokio::test]
async fn no_fault_of_a_cloud_loses_or_brings_back_a_key() {
    let mut total = 0;
    println!("{:<16}{:>8}{:>8}{:>8}{:>8}", "operation", "before", "after", "killed", "after");
    for act in Act::ALL {
        let mut counts = Vec::new();
        for fault in [Fault::Before, Fault::After, Fault::Killed, Fault::KilledAfter] {
            let mut at = 0;
            while strike_cloud(act, fault, at).await {
                at += 1;
            }
            counts.push(at);
        }
        total += counts.iter().sum::<usize>();
        let cells: String = counts.iter().map(|count| format!("{count:>8}")).collect();
        println!("{:<16}{cells}", format!("{act:?}"));
    }
    println!("{total} faults, nothing lost, nothing back");
    assert!(total > 500, "{total}");
}

async fn strike_cloud(act: Act, fault: Fault, at: usize) -> bool {
    let label = format!("{act:?}, {fault:?} at call {at}");
    let cloud = Cloud::new();
    let store: Arc<dyn KeyStore> = Arc::new(cloud.clone());
    let world = prepare(act, &store).await;
    cloud.fail(at, fault);
    let done = perform(act, &store, &world.backup).await.is_ok();
    let struck = cloud.calls() > at;
    cloud.heal();
    check(&world, &store, done, &label).await;
    finish(&world, &store, &label).await;
    struck
}
