//! `kes migrate`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{Folder, Running};
use crate::terminal::Terminal;

/// A configuration `NAME.yml` whose keys are in the folder `NAME`. There are no TLS files.
pub(crate) fn config(folder: &Folder, name: &str) {
    config_of(folder, name, name);
}

fn config_of(folder: &Folder, name: &str, path: &str) {
    let text = format!(
        "version: v1\nadmin: {{identity: disabled}}\ntls: {{key: no.key, cert: no.crt}}\nkeystore:\n  fs: {{path: {path}}}\n"
    );
    fs::write(folder.join(&format!("{name}.yml")), text).unwrap();
}

/// A stored key as releases up to v0.19 wrote it.
pub(crate) fn random_key() -> String {
    let output = std::process::Command::new("head").args(["-c", "32", "/dev/urandom"]).output().unwrap();
    stored(&output.stdout)
}

fn stored(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().chain(&[0, 0]).take(3).fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        for place in 0..4 {
            text.push(if place <= chunk.len() { ALPHABET[number >> (18 - 6 * place) & 63].into() } else { '=' });
        }
    }
    format!(r#"{{"bytes":"{text}"}}"#)
}

/// The stored key of a number: no two are alike.
fn numbered(number: usize) -> String {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    stored(&bytes)
}

/// Stores `a`, with so many keys, and `b`, with none.
fn two_stores(keys: usize) -> Folder {
    let folder = Folder::new();
    for name in ["a", "b"] {
        fs::create_dir(folder.join(name)).unwrap();
        config(&folder, name);
    }
    for number in 0..keys {
        fs::write(folder.join(&format!("a/key-{number:05}")), numbered(number)).unwrap();
    }
    folder
}

fn store(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let keys = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    keys.filter(|(name, _)| !name.starts_with('.')).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

fn migrate<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["migrate", "--from", "a.yml", "--to", "b.yml"], more].concat()
}

fn run(folder: &Folder, more: &[&str]) -> (i32, String, String) {
    let output = folder.kes(&migrate(more)).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn document(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap()
}

#[test]
fn five_thousand_keys_arrive_byte_for_byte() {
    let folder = two_stores(5000);
    // Names of every length, and such that begin like others.
    for length in 1..=80 {
        fs::write(folder.join(&format!("a/{}", "k".repeat(length))), numbered(10_000 + length)).unwrap();
    }
    fs::write(folder.join("a/.hidden"), "not a key").unwrap();
    fs::write(folder.join("a/no.key"), "not a key").unwrap();
    let (status, stdout, stderr) = run(&folder, &[]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("Starting key migration:\n\n"), "{stdout}");
    assert!(stdout.ends_with("\n5080 keys: 5080 copied\nMigrated   5080 keys successfully!\n"));
    let mut source = store(&folder.join("a"));
    source.remove("no.key");
    assert!(source == store(&folder.join("b")));
    assert!(!folder.join("b.yml.migrate-state").exists());
    let (status, stdout, _) = run(&folder, &["--json"]);
    let again = document(&stdout);
    assert_eq!((status, &again["outcome"], &again["summary"]["same"]), (0, &"complete".into(), &5080.into()));
    let keys = again["keys"].as_array().unwrap();
    assert!(keys.is_sorted_by_key(|key| key["name"].as_str().unwrap()) && keys.len() == 5080);
    // A fingerprint is the beginning of what sha256sum prints.
    let sum = std::process::Command::new("sha256sum").arg(folder.join("a/key-00000")).output().unwrap().stdout;
    let first = keys.iter().find(|key| key["name"] == "key-00000").unwrap();
    assert_eq!(first["fingerprint"].as_str().unwrap().as_bytes(), &sum[..16]);
}

/// Waits until so many keys are at the target, or the run has ended.
fn until(folder: &Folder, running: &mut Running, keys: usize) {
    while fs::read_dir(folder.join("b")).unwrap().count() < keys && running.child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn killed_at_any_instant_nothing_is_lost_and_nothing_differs() {
    for more in [&[][..], &["--resume"], &["--merge"]] {
        let folder = two_stores(1500);
        let source = store(&folder.join("a"));
        for keys in [0, 1, 2, 37, 150, 400, 401, 700, 1100, 1499] {
            let mut running = Running::start(folder.kes(&migrate(more)));
            until(&folder, &mut running, keys);
            running.signal(Signal::KILL);
            let (status, _, stderr) = running.end();
            assert!(status.code().is_none_or(|code| code == 0), "{stderr}");
            for (name, value) in store(&folder.join("b")) {
                assert_eq!(source.get(&name), Some(&value), "{name}");
            }
        }
        let (status, stdout, stderr) = run(&folder, more);
        assert_eq!(status, 0, "{stdout}{stderr}");
        assert!(source == store(&folder.join("b")), "{more:?}");
        assert!(source == store(&folder.join("a")), "the source is only read");
    }
}

#[test]
fn killed_while_replacing_the_next_run_completes_it() {
    let folder = two_stores(300);
    let source = store(&folder.join("a"));
    for number in 0..300 {
        fs::write(folder.join(&format!("b/key-{number:05}")), numbered(50_000 + number)).unwrap();
    }
    // A key that is being replaced is not there for a moment.
    let is_new =
        |name: &str, value: &Vec<u8>| fs::read(folder.join(&format!("b/{name}"))).is_ok_and(|new| new == *value);
    let replaced = || source.iter().filter(|(name, value)| is_new(name, value)).count();
    for count in [0, 1, 20, 90, 180, 250] {
        let mut running = Running::start(folder.kes(&migrate(&["--force"])));
        while replaced() < count && running.child.try_wait().unwrap().is_none() {}
        running.signal(Signal::KILL);
        running.end();
        for (name, value) in store(&folder.join("b")) {
            let number: usize = name["key-".len()..].parse().unwrap();
            let old = numbered(50_000 + number).into_bytes();
            assert!(source[&name] == value || old == value, "{name} is one of the two");
        }
    }
    let (status, stdout, stderr) = run(&folder, &["--force"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(source == store(&folder.join("b")));
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_resume_reads_nothing_twice() {
    let folder = two_stores(3000);
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::start(folder.kes(&migrate(&["--resume"])));
        let there = fs::read_dir(folder.join("b")).unwrap().count();
        until(&folder, &mut running, there + 100);
        running.signal(signal);
        let (status, stdout, stderr) = running.end();
        assert_eq!(status.code(), Some(130), "{stderr}");
        assert!(stdout.trim_end().ends_with(" not reached"), "{stdout}");
        assert!(
            stderr.starts_with("Error: migration interrupted\nhint: run the same command again with --resume"),
            "{stderr}"
        );
    }
    // What is done is not looked at again, on neither side: nobody notices that it is gone.
    let done = store(&folder.join("b"));
    assert!((200..3000).contains(&done.len()), "{}", done.len());
    for name in done.keys() {
        fs::write(folder.join(&format!("a/{name}")), "torn").unwrap();
        fs::remove_file(folder.join(&format!("b/{name}"))).unwrap();
    }
    let (status, stdout, stderr) = run(&folder, &["--resume", "--json"]);
    assert_eq!(status, 0, "{stderr}");
    let summary = &document(&stdout)["summary"];
    assert_eq!((&summary["done_before"], &summary["total"]), (&done.len().into(), &3000.into()));
    assert_eq!(summary["copied"], 3000 - done.len());
    assert!(!folder.join("b.yml.migrate-state").exists());
    // Without a state it begins at the beginning, and then the damage shows.
    let (status, _, stderr) = run(&folder, &["--resume"]);
    assert_eq!(status, 1);
    assert!(stderr.starts_with("Error: failed to migrate \"key-00000\": the value is no key: "), "{stderr}");
}

#[test]
fn it_stops_at_the_first_key_that_differs_or_tells_all() {
    let folder = two_stores(40);
    fs::write(folder.join("b/key-00017"), numbered(99)).unwrap();
    fs::write(folder.join("b/key-00030"), "whatever").unwrap();
    fs::write(folder.join("a/key-00020"), "").unwrap();
    fs::remove_file(folder.join("a/key-00025")).unwrap();
    fs::create_dir(folder.join("a/key-00025")).unwrap();
    let (status, stdout, stderr) = run(&folder, &[]);
    assert_eq!(status, 1);
    assert!(
        stderr.starts_with("Error: failed to migrate \"key-00017\": key already exists with another value "),
        "{stderr}"
    );
    assert!(stdout.ends_with("\n40 keys: 17 copied, 1 differs, 22 not reached\n"), "{stdout}");
    assert_eq!(store(&folder.join("b")).len(), 19, "exactly the keys before it");

    let (status, stdout, stderr) = run(&folder, &["--continue-on-error", "--json"]);
    assert_eq!(status, 1);
    assert!(stderr.starts_with("Error: 4 keys were not migrated: 2 differs, 2 unreadable\n"), "{stderr}");
    let all = document(&stdout);
    assert_eq!(all["outcome"], "incomplete");
    let bad: Vec<_> = all["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["verdict"] != "same" && key["verdict"] != "copied")
        .collect();
    let bad: Vec<_> = bad.iter().map(|key| (key["name"].as_str().unwrap(), key["verdict"].as_str().unwrap())).collect();
    assert_eq!(
        bad,
        [("key-00017", "differs"), ("key-00020", "unreadable"), ("key-00025", "unreadable"), ("key-00030", "differs")]
    );
    assert_eq!(fs::read_to_string(folder.join("b/key-00030")).unwrap(), "whatever", "nothing is overwritten unasked");

    // Once it is mended, only what was not good is looked at again.
    fs::write(folder.join("a/key-00020"), numbered(20)).unwrap();
    fs::remove_dir(folder.join("a/key-00025")).unwrap();
    fs::write(folder.join("a/key-00025"), numbered(25)).unwrap();
    let (status, stdout, _) = run(&folder, &["--resume", "--force", "--json"]);
    let summary = &document(&stdout)["summary"];
    assert_eq!(status, 0);
    assert_eq!((&summary["done_before"], &summary["copied"], &summary["replaced"]), (&36.into(), &2.into(), &2.into()));
    assert!(store(&folder.join("a")) == store(&folder.join("b")));
}

#[test]
fn a_dry_run_tells_everything_and_changes_nothing() {
    let folder = two_stores(5);
    fs::remove_dir(folder.join("b")).unwrap();
    let (status, stdout, _) = run(&folder, &["--dry-run"]);
    assert!(status == 0 && stdout.ends_with("\n5 keys: 5 copied\nDry run: 5 keys would be migrated.\n"), "{stdout}");
    assert!(!folder.join("b").exists() && !folder.join("b.yml.migrate-state").exists());
    fs::create_dir(folder.join("b")).unwrap();
    fs::write(folder.join("b/key-00001"), numbered(9)).unwrap();
    fs::write(folder.join("b/key-00003"), numbered(9)).unwrap();
    let (status, stdout, stderr) = run(&folder, &["--dry-run"]);
    assert!(status == 1 && stdout.ends_with("\n5 keys: 3 copied, 2 differs\n"), "{stdout}");
    assert!(stderr.starts_with("Error: 2 keys were not migrated: 2 differs\n"), "{stderr}");
    let (status, stdout, _) = run(&folder, &["--dry-run", "--force"]);
    assert!(status == 0 && stdout.ends_with("\n5 keys: 3 copied, 2 replaced\nDry run: 5 keys would be migrated.\n"));
    assert_eq!(store(&folder.join("b")).len(), 2);
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let folder = two_stores(2000);
    let mut first = Running::start(folder.kes(&migrate(&[])));
    until(&folder, &mut first, 50);
    let (status, _, stderr) = run(&folder, &[]);
    assert!(
        status == 1 && stderr.starts_with("Error: another migration is at work: it holds b.yml.migrate-state\n"),
        "{stderr}"
    );
    let (status, stdout, stderr) = run(&folder, &["--state", "other.state"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert_eq!(first.end().0.code(), Some(0));
    assert!(store(&folder.join("a")) == store(&folder.join("b")));
}

#[test]
fn a_state_that_cannot_be_written_is_no_reason_not_to_migrate() {
    let folder = two_stores(3);
    fs::create_dir(folder.join("b.yml.migrate-state")).unwrap();
    let (status, stdout, stderr) = run(&folder, &[]);
    assert!(status == 0 && stdout.ends_with("Migrated      3 keys successfully!\n"), "{stdout}");
    assert!(stderr.starts_with("Warning: state file b.yml.migrate-state: is a directory; "), "{stderr}");
    assert_eq!(run(&folder, &["--resume"]).0, 1);
}

#[test]
fn the_same_store_on_both_sides_is_refused_whatever_it_is_called() {
    let folder = two_stores(1);
    std::os::unix::fs::symlink("a", folder.join("link")).unwrap();
    config(&folder, "link");
    config_of(&folder, "around", "./b/../a");
    for to in ["a.yml", "link.yml", "around.yml"] {
        let output = folder.kes(&["migrate", "--force", "--from", "a.yml", "--to", to]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr.starts_with("Error: source and target are the same key store: Filesystem: a\n"), "{stderr}");
    }
}

#[test]
fn a_terminal_shows_a_bar_that_keeps_to_its_line() {
    let folder = two_stores(2000);
    fs::write(folder.join("b/key-00500"), numbered(7)).unwrap();
    for (columns, color) in [(100, false), (45, true)] {
        let mut command = folder.kes(&migrate(&["--merge"]));
        if !color {
            command.env("NO_COLOR", "1");
        }
        let (status, shown) = Terminal::start(command, columns, 24).end();
        assert_eq!(status, 0, "{shown}");
        let redraws: Vec<&str> = shown.split("\r\x1b[K").skip(1).collect();
        for line in &redraws {
            let line = line.lines().next().unwrap_or_default();
            assert!(line.chars().count() < usize::from(columns) || line.contains("skipped"), "{line:?}");
        }
        assert!(redraws.iter().any(|line| line.contains("/2000  ") && line.contains("/s  ")), "{shown:?}");
        assert!(shown.contains("key-00500  (the target has "), "what needs a look has a line of its own\n{shown:?}");
        assert!(!shown.contains("key-00499"), "what does not has none");
        assert_eq!(shown.replace("\x1b[K", "").contains("\x1b["), color && shown.contains("\x1b[1;3"), "{shown:?}");
        assert!(shown.contains("2000 keys: "), "{shown:?}");
        assert!(
            shown.trim_end().ends_with(if color { "No keys migrated." } else { "keys successfully!" }),
            "{shown:?}"
        );
    }
}

#[test]
fn quiet_prints_errors_only() {
    let folder = two_stores(2);
    assert_eq!(run(&folder, &["-q"]), (0, String::new(), String::new()));
    fs::write(folder.join("b/key-00001"), numbered(9)).unwrap();
    let (status, stdout, stderr) = run(&folder, &["--quiet"]);
    assert!(status == 1 && stdout.is_empty() && stderr.contains("key-00001"), "{stdout}{stderr}");
}
