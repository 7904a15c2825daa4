//! The same commands against the old server in Go, and its command on our stores.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::bench::{Folder, Running};
use crate::migrate::{config, random_key};
use crate::terminal::Terminal;

/// The program of `peers/peers.sh install kes`.
fn old_kes() -> Command {
    let cache = std::env::var_os("KES_PEERS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or KES_PEERS names the folder of the peers"))
            .join(".cache/kes-peers")
    });
    let program = cache.join("bin/kes");
    assert!(program.is_file(), "{} is missing: run peers/peers.sh install kes", program.display());
    Command::new(program)
}

#[test]
#[ignore = "needs the old server: peers/peers.sh install kes"]
fn the_old_server_is_watched_as_far_as_it_tells() {
    let folder = Folder::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = old_kes();
    command.args(["server", "--dev", "--addr", &address]);
    let server = Running::start(command);
    server.stdout.expect("up and running");
    let banner = server.stdout.text();
    let key = banner.split_whitespace().find(|word| word.starts_with("kes:v1:")).unwrap().to_owned();
    let kes = |arguments: &[&str]| {
        let mut command = folder.kes(arguments);
        command.env("KES_SERVER", &address).env("KES_API_KEY", &key).arg("-k");
        command
    };

    let members = |output: Output| {
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.split('"').filter(|part| part.starts_with("kes_")).map(str::to_owned);
        names.collect::<Vec<String>>()
    };
    let ours = members(kes(&["metric", "--once"]).output().unwrap());
    let mut theirs = old_kes();
    theirs.args(["metric", "-k"]).env("MINIO_KES_SERVER", &address).env("MINIO_KES_API_KEY", &key);
    let theirs = Running::start(theirs);
    theirs.stdout.expect("}\n");
    let line = theirs.stdout.text();
    let names: Vec<String> =
        line.lines().next().unwrap().split('"').filter(|part| part.starts_with("kes_")).map(str::to_owned).collect();
    assert_eq!(ours, names);

    let mut terminal = Terminal::start(kes(&["metric", "--color", "never"]), 80, 24);
    terminal.shown.expect("Cache     not told by this server");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);

    // Its log connects with the first event and never delivers one: the header is there, and it can be left.
    let mut terminal = Terminal::start(kes(&["log"]), 120, 24);
    terminal.shown.expect("Time        Status");
    terminal.press("\x03");
    assert_eq!(terminal.end().0, 130);
}

#[test]
#[ignore = "needs the old server: peers/peers.sh install kes"]
fn both_commands_migrate_the_same() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        fs::create_dir(folder.join(name)).unwrap();
        config(&folder, name);
    }
    for number in 0..50 {
        fs::write(folder.join(&format!("a/key-{number}")), random_key()).unwrap();
    }
    let mut old = old_kes();
    let old = old.current_dir(folder.path()).args(["migrate", "--from", "a.yml", "--to", "b.yml"]).output().unwrap();
    let new = folder.kes(&["migrate", "--from", "a.yml", "--to", "c.yml"]).output().unwrap();
    assert!(old.status.success() && new.status.success());
    let last = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).trim_end().rsplit(['\n', '\r']).next().unwrap().trim().to_owned()
    };
    assert_eq!(last(&old).replace("\x1b[K", ""), last(&new));
    assert_eq!(last(&new), "Migrated     50 keys successfully!");
    for number in 0..50 {
        let read = |store: &str| fs::read(folder.join(&format!("{store}/key-{number}"))).unwrap();
        assert!(read("a") == read("b") && read("b") == read("c"));
    }
}
