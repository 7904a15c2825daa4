//! Several server processes on one directory. The test binary runs itself as two more servers.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::support::{key, listed, name, open, read, slot};
use crate::fs::tests::STARTING;
use crate::sealed::Unlocked;
use crate::{ErrorKind, KeyStore, fs};

const FOLDER: &str = "KES_TEST_NEIGHBOUR_FOLDER";
const ID: &str = "KES_TEST_NEIGHBOUR_ID";
const ROUNDS: usize = 60;

/// What a neighbour does; nothing when run as an ordinary test. It prints which shared names it won.
#[tokio::test]
async fn child() {
    let (Ok(folder), Ok(id)) = (env::var(FOLDER), env::var(ID)) else { return };
    let beneath: Arc<dyn KeyStore> = Arc::new(fs::Store::open(folder).await.unwrap());
    let server = open(&beneath, key(1)).await;
    let mut own = BTreeSet::new();
    for round in 0..ROUNDS {
        match server.create(&name(&format!("shared-{round}")), format!("{id} {round}").as_bytes()).await {
            Ok(()) => println!("won shared-{round} {id}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Exists),
        }
        let mine = format!("own-{id}-{round}");
        server.create(&name(&mine), mine.as_bytes()).await.unwrap();
        own.insert(mine);
        if round % 3 == 2 {
            let gone = format!("own-{id}-{}", round - 1);
            server.delete(&name(&gone)).await.unwrap();
            assert_eq!(server.get(&name(&gone)).await.unwrap_err().kind(), ErrorKind::NotFound);
            own.remove(&gone);
        }
        let there = listed(&server).await;
        let mine: BTreeSet<_> = there.iter().filter(|key| key.starts_with(&format!("own-{id}-"))).cloned().collect();
        assert_eq!(mine, own, "what exists throughout is listed, what is deleted is not");
        for key in there.iter().filter(|key| key.starts_with("own-")) {
            match server.get(&name(key)).await {
                Ok(value) => assert_eq!(value.expose(), key.as_bytes(), "never half written"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "deleted meanwhile"),
            }
        }
    }
}

#[tokio::test]
async fn servers_on_one_directory_agree() {
    let folder = tempfile::tempdir().unwrap();
    let beneath: Arc<dyn KeyStore> = Arc::new(fs::Store::open(folder.path()).await.unwrap());
    Unlocked::init(beneath.clone(), vec![slot(key(1))]).await.unwrap();
    let starting = STARTING.write().await;
    let start = |id: &str| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "sealed::tests::neighbours::child", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, folder.path()).env(ID, id).stdout(Stdio::piped()).spawn().unwrap()
    };
    let children = [start("one"), start("two")];
    drop(starting);
    let mut winners = BTreeMap::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}");
        // The harness has begun its line when the child writes its first.
        for line in printed.lines().filter_map(|line| line.split("won ").nth(1)) {
            let (key, id) = line.split_once(' ').unwrap();
            assert_eq!(winners.insert(key.to_owned(), id.to_owned()), None, "{key} has one winner");
        }
    }
    assert_eq!(winners.len(), ROUNDS);
    let server = open(&beneath, key(1)).await;
    for (key, id) in &winners {
        let expected = format!("{id} {}", key.trim_start_matches("shared-"));
        assert_eq!(read(&server, key).await, expected.as_bytes(), "the winner's value is what everyone reads");
    }
    assert_eq!(listed(&server).await.len(), ROUNDS + 2 * (ROUNDS - ROUNDS / 3));
}
