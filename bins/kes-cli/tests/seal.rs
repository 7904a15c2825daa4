//! `kes seal`, `kes backup` and `kes restore`, as an operator runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Keys as MinIO KES 0.6 to 0.16 stored them.
const OLD: [(&str, &str); 3] = [
    ("a", r#"{"bytes":"8tysrjJZlW9q0hYPd368L61hiUCm4ju+UMyFItw71SY="}"#),
    ("b", r#"{"bytes":"IIjWKQBRhCKBuHkLYpQgyy1UsZa1MuMyPHlYQXZtbwA="}"#),
    ("c", r#"{"bytes":"W9kgY3xqWQVjzp2WfXRJcBzQ5Vv5x8mZ1gUj7iWk0lE="}"#),
];
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY=";

/// A folder with a configuration, a sealing key and some keys of the old server.
struct World(TempDir);

/// What a command did.
struct Done {
    status: i32,
    stdout: String,
    stderr: String,
}

impl World {
    fn new(seal: &str) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.write("seal.key", KEY);
        world.write("words", "open sesame\n");
        world.configure(seal);
        fs::create_dir(world.path("keys")).unwrap();
        world
    }

    fn with_old_keys(seal: &str) -> Self {
        let world = Self::new(seal);
        for (name, value) in OLD {
            world.write(&format!("keys/{name}"), value);
        }
        world
    }

    fn configure(&self, seal: &str) {
        let seal = if seal.is_empty() { String::new() } else { format!("\n  seal: {{{seal}}}") };
        self.write(
            "config.yml",
            &format!(
                "admin: {{identity: disabled}}\ntls: {{key: k, cert: c}}\nkeystore:\n  fs: {{path: keys}}{seal}\n"
            ),
        );
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command.current_dir(self.0.path()).env_clear().env("KES_CONFIG", "config.yml").stdin(Stdio::null());
        command.args(line.split(' '));
        command
    }

    fn run(&self, line: &str) -> Done {
        Done::of(self.command(line).output().unwrap())
    }

    /// What it prints if it succeeds.
    fn prints(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{line}\n{}", done.stdout);
        done.stdout
    }

    fn document(&self, line: &str) -> Value {
        serde_json::from_str(&self.prints(&format!("{line} --json"))).unwrap()
    }

    /// Its first line on stderr if it fails.
    fn fails(&self, line: &str, status: i32) -> String {
        let done = self.run(line);
        assert_eq!(done.status, status, "{line}\n{}{}", done.stdout, done.stderr);
        done.stderr.lines().next().unwrap().to_owned()
    }

    fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.path("keys")).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect()
    }
}

impl Done {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn recovery_key(printed: &str) -> String {
    let is_key = |line: &&str| line.len() == 47 && line.split('-').all(|group| group.len() == 5);
    printed.lines().map(str::trim).find(is_key).unwrap_or_else(|| panic!("no recovery key in\n{printed}")).to_owned()
}

fn kinds(document: &Value) -> Vec<(u64, &str)> {
    let slots = document["slots"].as_array().unwrap().iter();
    slots.map(|slot| (slot["slot"].as_u64().unwrap(), slot["kind"].as_str().unwrap())).collect()
}

#[test]
fn an_old_directory_is_sealed_and_unsealed_byte_for_byte() {
    let world = World::with_old_keys("key_file: seal.key");
    let before = world.files();
    assert_eq!(world.prints("seal status"), "Store    Filesystem: keys\nSeal     none\nKeys     3 not sealed\n");
    let printed = world.prints("seal init");
    assert!(printed.starts_with("Recovery key, shown this once."), "{printed}");
    assert!(
        printed.ends_with(
            "Sealed Filesystem: keys\n  1  key         seal.key\n  2  recovery    recovery key\n\
             3 keys from before served unsealed: 'kes seal migrate' seals what is there\n"
        ),
        "{printed}"
    );
    assert_eq!(
        world.prints("seal migrate"),
        "3 keys sealed and verified\n\
         Their copies are kept as '-kes-plain-NAME': 'kes seal finish' removes them, 'kes seal undo' turns back\n"
    );
    assert_eq!(world.prints("seal migrate"), "0 keys sealed and verified\n3 keys sealed before\n");
    let status = world.document("seal status");
    assert_eq!(
        (&status["entries"], &status["keys"]["sealed"], &status["keys"]["plain"]),
        (&json!("mixed"), &json!(3), &json!(0))
    );
    assert_eq!(status["opened_by"], json!({"key": "seal.key", "slot": 1}));
    assert_eq!(
        world.prints("seal finish"),
        "3 keys compared with their copies, which are gone now\nThe store takes sealed keys only\n"
    );
    assert_eq!(world.files().keys().collect::<Vec<_>>(), ["-kes-seal", "a", "b", "c"]);
    assert!(world.files().iter().skip(1).all(|(_, value)| value.starts_with("kes-sealed:1:")));
    assert!(world.prints("seal undo").starts_with("3 keys stored as MinIO KES does, and verified\n"));
    assert_eq!(world.files(), before);
    assert_eq!(world.fails("seal undo", 1), "Error: Filesystem: keys is not sealed");
}

/// Nobody has started a server with a seal, or made one by `kes seal init`.
#[test]
fn one_command_seals_an_old_directory() {
    let world = World::with_old_keys("passphrase_file: words");
    let before = world.files();
    let printed = world.prints("seal migrate");
    world.write("paper", &recovery_key(&printed));
    assert!(
        printed.ends_with(
            "Sealed Filesystem: keys\n  1  passphrase  words (Argon2id, 64 MiB, 3 passes)\n  2  recovery    recovery key\n\
             3 keys sealed and verified\n\
             Their copies are kept as '-kes-plain-NAME': 'kes seal finish' removes them, 'kes seal undo' turns back\n"
        ),
        "{printed}"
    );
    world.prints("seal status --recovery-key @paper");
    world.prints("seal undo");
    assert_eq!(world.files(), before);

    let document = world.document("seal migrate");
    assert_eq!((&document["changed"], document["seal"]["recovery_key"].is_string()), (&json!(3), true));
    world.prints("seal undo");
    let document = world.document("seal migrate --no-recovery");
    assert_eq!((document["seal"].get("recovery_key"), kinds(&document["seal"])), (None, vec![(1, "passphrase")]));
    world.prints("seal undo");

    // A key that cannot be read, and a folder that is not the one that should be mounted there: nothing is sealed.
    fs::remove_file(world.path("words")).unwrap();
    let done = world.run("seal migrate");
    assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{}", done.stderr);
    world.configure(&format!("key_file: seal.key, store: {}", "0".repeat(32)));
    for command in ["seal migrate", "seal init"] {
        let done = world.run(command);
        assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{command}");
        assert!(done.stderr.contains("that was expected: it is not sealed"), "{}", done.stderr);
    }
    assert_eq!(world.files(), before);
}

/// The line of the documentation, as it stands there.
#[test]
fn before_the_end_the_copies_are_the_keys_though_all_sealing_keys_are_lost() {
    let world = World::with_old_keys("key_file: seal.key");
    let before = world.files();
    world.prints("seal migrate");
    let page = include_str!("../../../docs/sealed-store.md");
    let line = page.lines().find_map(|line| line.trim().strip_prefix("`cd keys && ")).unwrap();
    let line = format!("cd keys && {}", line.trim_end_matches('`'));
    let status = Command::new("sh").args(["-c", &line]).current_dir(world.0.path()).status().unwrap();
    assert!(status.success(), "{line}");
    assert_eq!(world.files(), before);
}

#[test]
fn slots_come_and_go_and_the_last_one_stays() {
    let world = World::new("passphrase: one");
    world.prints("seal init --no-recovery");
    world.prints("seal add --passphrase @words --label spare --memory 1 --passes 1");
    let status = world.document("seal status");
    assert_eq!(kinds(&status), [(1, "passphrase"), (2, "passphrase")]);
    assert_eq!(status["slots"][1]["label"], "spare");
    assert_eq!(status["slots"][1]["argon2id"], json!({"memory_kib": 1024, "passes": 1, "lanes": 1}));
    assert_eq!(status["slots"][0]["argon2id"], json!({"memory_kib": 65536, "passes": 3, "lanes": 1}));

    world.prints("seal change 1 --key @seal.key");
    world.configure("key_file: seal.key");
    assert_eq!(kinds(&world.document("seal status")), [(1, "key"), (2, "passphrase")]);
    assert_eq!(world.fails("seal add --key @seal.key", 4), "Error: slot 1 opens with that key already");
    world.prints("seal rm 2");
    assert_eq!(
        world.fails("seal rm 1", 1),
        "Error: slot 1 is the last one: without it nothing opens the store any more"
    );
    assert_eq!(world.fails("seal rm 7", 3), "Error: there is no slot 7");
    assert_eq!(world.fails("seal init", 4), "Error: Filesystem: keys is sealed already");

    world.configure("key_file: seal.key, passphrase: two");
    assert!(world.prints("seal add --configured").starts_with("Added slot 2\n"));
    assert!(world.prints("seal add --configured").starts_with("Every key that the configuration names opens a slot"));
}

#[test]
fn the_recovery_key_opens_what_nothing_else_does() {
    let world = World::new("key_file: seal.key");
    let document = world.document("seal init");
    world.write("paper", &document["recovery_key"].as_str().unwrap().to_lowercase().replace('-', " "));
    fs::remove_file(world.path("seal.key")).unwrap();
    let error = "Error: the sealing key cannot be read from /run/secrets/seal.key: no such file or directory";
    assert_eq!(world.fails("seal status", 1), error);
    let done = world.run("seal status");
    assert!(
        done.stdout.contains("Opens    with nothing that the configuration names\nKeys     none\nSlots\n  1  key"),
        "which slots there are is what one wants to know now: {}",
        done.stdout
    );
    // Nothing to recover to yet.
    assert_eq!(world.fails("seal recover --recovery-key @paper", 1), error);

    world.configure("passphrase: new");
    assert!(world.fails("seal migrate", 1).ends_with("no slot opens with keystore.seal.passphrase"));
    let printed = world.prints("seal recover --recovery-key @paper --drop-others");
    assert!(printed.starts_with("Added slot 3\nRemoved slot 1\n"), "{printed}");
    assert_eq!(kinds(&world.document("seal status")), [(2, "recovery"), (3, "passphrase")]);
    world.write("paper", "000G4-0R40M-30E20-9185G-R38E1-W8124-GKF20-6830F");
    assert_eq!(
        world.fails("seal status --recovery-key @paper", 1),
        "Error: the recovery key is mistyped: its checksum does not fit"
    );
}

#[test]
fn a_rotation_needs_all_keys_and_shows_a_new_recovery_key() {
    let world = World::with_old_keys("key_file: seal.key");
    let first = recovery_key(&world.prints("seal init"));
    world.prints("seal add --passphrase @words --memory 1 --passes 1");
    world.prints("seal migrate");
    let done = world.run("seal rotate");
    assert_eq!((done.status, done.stdout.as_str()), (1, ""), "no recovery key is shown for nothing");
    assert!(done.stderr.starts_with("Error: the sealing keys of some slots are not at hand: 3 (passphrase, words)\n"));
    let before = world.document("seal status");

    let printed = world.prints("seal rotate --passphrase @words");
    let second = recovery_key(&printed);
    assert_ne!(first, second);
    assert!(
        printed.contains("3 keys sealed under the new root key\nThe old root key is kept until 'kes seal finish'\n")
    );
    let printed = world.prints("seal rotate");
    assert!(printed.starts_with("Went on with the rotation that was interrupted\n0 keys"), "{printed}");
    world.prints("seal finish");
    let after = world.document("seal status");
    assert_ne!(before["root"], after["root"]);
    assert_eq!((&before["id"], kinds(&before)), (&after["id"], kinds(&after)));
    assert_eq!((&after["retired_roots"], &after["keys"]["sealed"]), (&json!(0), &json!(3)));

    // With all keys at hand and nothing left from before, it is done in one go.
    world.write("paper", &second);
    let printed = world.prints("seal rotate --drop 3 --recovery-key @paper");
    assert!(printed.ends_with("Backups from before still open with the keys from before\n"), "{printed}");
    assert!(!printed.contains("Recovery key"), "{printed}");
    world.write("paper", &first);
    world.configure("passphrase: lost");
    assert!(world.fails("seal recover --recovery-key @paper", 1).contains("no slot opens with paper"));
}

#[test]
fn secrets_never_stand_on_the_command_line() {
    let world = World::new("key_file: seal.key");
    world.prints("seal init --no-recovery");
    assert_eq!(
        world.fails("seal add --passphrase hunter2", 2),
        "Error: a passphrase must not stand on the command line"
    );
    assert_eq!(world.fails(&format!("seal add --key {KEY}"), 2), "Error: a key must not stand on the command line");
    assert_eq!(world.fails("seal add --passphrase", 1), "Error: there is no terminal to ask on");
    assert_eq!(world.fails("seal add --passphrase env:NOTHING", 1), "Error: the variable NOTHING is not set");
    let done = Done::of(
        world.command("seal add --passphrase env:WORDS").env("WORDS", "from the environment").output().unwrap(),
    );
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert!(done.stdout.contains("env:WORDS (Argon2id, 64 MiB, 3 passes)"), "{}", done.stdout);
    let mut command = world.command("seal add --key -");
    command.stdin(fs::File::open(world.path("words")).unwrap());
    let done = Done::of(command.output().unwrap());
    assert_eq!(
        done.stderr.lines().next(),
        Some("Error: key holds no sealing key: 32 random bytes, as they are, in base64 or in hex")
    );
}

#[test]
fn what_is_missing_is_said() {
    let world = World::new("");
    assert_eq!(world.fails("seal init", 1), "Error: there is nothing to seal the store with");
    assert_eq!(world.fails("seal migrate", 1), "Error: Filesystem: keys is not sealed");
    assert_eq!(world.fails("seal", 2), "Seal a key store: slots, recovery key, migration of an old directory");
    let done = Done::of(world.command("seal status").env_remove("KES_CONFIG").output().unwrap());
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (
            2,
            "Error: no configuration file specified. See 'kes seal status --help'\n\
             hint: add --config FILE of the server, or set KES_CONFIG\n"
        )
    );
}

#[test]
fn damage_is_told_from_a_wrong_key() {
    let world = World::with_old_keys("key_file: seal.key");
    world.prints("seal init --no-recovery");
    world.prints("seal migrate");
    world.prints("seal finish");
    let table = world.files()["-kes-seal"].clone();
    fs::rename(world.path("keys/a"), world.path("keys/b")).unwrap();
    let done = world.run("seal status");
    assert_eq!(done.status, 0);
    assert!(done.stdout.contains("Keys     1 sealed, 1 unreadable\n"), "{}", done.stdout);
    assert!(done.stdout.ends_with("Unreadable 'b': it is sealed for another name\n"), "{}", done.stdout);
    assert_eq!(world.fails("seal migrate", 1), "Error: 1 key cannot be read");

    world.write("keys/-kes-seal", &table[..table.len() - 1]);
    assert_eq!(
        world.fails("seal status", 1),
        "Error: the slot table '-kes-seal' of Filesystem: keys is damaged: its checksum does not fit; restore it from a \
         backup, and do not delete it"
    );
    fs::remove_file(world.path("keys/-kes-seal")).unwrap();
    assert_eq!(
        world.fails("seal init", 1),
        "Error: Filesystem: keys has sealed keys but no entry '-kes-seal' any more: restore that from a backup"
    );
}

#[test]
fn a_backup_brings_back_a_lost_store_with_the_recovery_key_alone() {
    let world = World::with_old_keys("key_file: seal.key");
    let old = world.files();
    world.write("paper", &recovery_key(&world.prints("seal init")));
    world.prints("seal migrate");
    assert_eq!(world.prints("backup -o kes.backup --verify"), "3 keys backed up and verified\n");
    assert_eq!(world.fails("backup -o kes.backup", 4), "Error: kes.backup is there already: no backup is overwritten");
    assert_eq!(world.fails("backup", 2), "Error: no file for the backup specified. See 'kes backup --help'");
    assert_eq!(world.prints("backup --dry-run"), "3 keys would be backed up\n");
    assert_eq!(mode(&world.path("kes.backup")), 0o600);

    fs::remove_dir_all(world.path("keys")).unwrap();
    fs::remove_file(world.path("seal.key")).unwrap();
    world.configure("passphrase: new");
    assert!(
        world
            .fails("restore kes.backup", 1)
            .starts_with("Error: the backup of Filesystem: keys is sealed under another key")
    );
    let plan = world.prints("restore kes.backup --dry-run --recovery-key @paper");
    assert!(
        plan.ends_with("the same in the store: 0, missing there: 3, different there: 0\nmissing: a, b, c\n"),
        "{plan}"
    );
    assert!(world.files().is_empty());
    let printed = world.prints("restore kes.backup --recovery-key @paper");
    assert!(
        printed.starts_with("3 keys restored and read back, 0 there already\nfrom a backup of Filesystem: keys"),
        "{printed}"
    );
    assert_eq!(kinds(&world.document("seal status")), [(1, "key"), (2, "recovery"), (3, "passphrase")]);
    // The new passphrase opens the store; the backup opens with what opened the store when it was made.
    assert_eq!(world.document("restore kes.backup --recovery-key @paper")["same"], 3);
    world.prints("restore kes.backup --verify --recovery-key @paper");
    world.prints("seal undo");
    assert_eq!(world.files(), old);
}

#[test]
fn a_restore_overwrites_nothing_and_takes_nothing_that_was_changed() {
    let world = World::with_old_keys("");
    assert!(world.fails("backup -o b", 1).ends_with("is not sealed: its backup needs a passphrase"));
    world.prints("backup -o b --passphrase @words");
    world.write("keys/b", OLD[0].1);
    fs::remove_file(world.path("keys/c")).unwrap();
    let before = world.files();
    assert_eq!(
        world.fails("restore b --passphrase @words", 4),
        "Error: the store has other keys under names of the backup: 1, 'b' among them; none is overwritten"
    );
    let done = world.run("restore b --passphrase @words --dry-run");
    assert_eq!(done.status, 4);
    assert!(done.stdout.ends_with("missing: c\ndifferent: b\n"), "{}", done.stdout);
    assert_eq!(
        world.fails("restore b --passphrase @words --verify", 1),
        "Error: the store does not have what the backup has"
    );

    let whole = fs::read(world.path("b")).unwrap();
    for at in [0, 20, whole.len() / 2, whole.len() - 9] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(world.path("changed"), &changed).unwrap();
        assert!(
            world.fails("restore changed --passphrase @words", 1).starts_with("Error: the backup cannot be used: ")
        );
        fs::write(world.path("cut"), &whole[..at]).unwrap();
        assert!(world.fails("restore cut --passphrase @words", 1).starts_with("Error: the backup cannot be used: "));
    }
    assert_eq!(world.files(), before);
    fs::remove_file(world.path("keys/b")).unwrap();
    world.prints("restore b --passphrase @words");
    assert_eq!(world.files().into_values().collect::<Vec<_>>(), OLD.map(|(_, value)| value));
}

#[test]
fn keys_of_a_sealed_store_are_not_unsealed_by_accident() {
    let world = World::with_old_keys("passphrase_file: words");
    world.prints("seal init --no-recovery");
    world.prints("backup -o b");
    world.prints("seal undo");
    world.configure("");
    for name in ["a", "b", "c"] {
        fs::remove_file(world.path("keys").join(name)).unwrap();
    }
    assert_eq!(
        world.fails("restore b --passphrase @words", 1),
        "Error: the backup is of a sealed store, and the configuration has no seal"
    );
    world.prints("restore b --passphrase @words --unsealed");
    assert_eq!(world.files().into_values().collect::<Vec<_>>(), OLD.map(|(_, value)| value));
}

#[test]
fn a_backup_without_its_damaged_keys_has_to_be_asked_for() {
    let world = World::with_old_keys("key_file: seal.key");
    world.prints("seal init --no-recovery");
    world.prints("seal migrate");
    world.prints("seal finish");
    fs::copy(world.path("keys/a"), world.path("keys/b")).unwrap();
    assert_eq!(world.fails("backup -o b", 1), "Error: 1 key cannot be read: 'b': it is sealed for another name");
    assert!(!world.path("b").exists());
    assert_eq!(
        world.prints("backup -o b --skip-unreadable"),
        "2 keys backed up\nleft out: 'b': it is sealed for another name\n"
    );
}

#[test]
fn a_configuration_that_names_a_store_changes_no_other() {
    let world = World::new("key_file: seal.key");
    let id = world.document("seal init --no-recovery")["id"].as_str().unwrap().to_owned();
    world.configure(&format!("key_file: seal.key, store: {id}"));
    world.prints("seal status");
    fs::rename(world.path("keys"), world.path("old")).unwrap();
    world.configure("key_file: seal.key");
    world.prints("seal init --no-recovery");
    world.configure(&format!("key_file: seal.key, store: {id}"));
    assert!(world.fails("seal rm 1", 1).contains("is not the sealed store"));
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
