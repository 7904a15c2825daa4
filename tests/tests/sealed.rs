//! The sealed store from outside: real servers on real directories, `kes seal` beside them, and a reader that shares nothing with us.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::{Binary, Client, Connection, Credential, Home, Kind, Request, Response, Server, checkout, peer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ADMIN: u8 = 0;
const PASSPHRASE: &str = "correct horse battery staple";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY=";

/// A folder with a configuration without a seal, `config.yml`, and one with a seal, `sealed.yml`.
struct World {
    home: Home,
}

impl World {
    fn new(seal: &str) -> Self {
        let world = Self { home: Home::new() };
        world.home.write("seal.key", KEY);
        world.home.write("sealed.yml", world.sealed(seal).replace("{{address}}", "127.0.0.1:0"));
        world
    }

    fn plain(&self) -> String {
        self.home
            .config(&format!("admin: {{identity: {}}}\nlog: {{audit: off}}", Credential::from_seed(ADMIN).identity()))
    }

    fn sealed(&self, seal: &str) -> String {
        self.plain().replace("keystore:\n", &format!("keystore:\n  seal: {{{seal}}}\n"))
    }

    fn start(&self, config: &str) -> Server {
        Server::start(Kind::Ours, &self.home, config)
    }

    fn by_key_file(&self) -> String {
        format!("key_file: {}", self.home.path().join("seal.key").display())
    }

    fn keys(&self) -> PathBuf {
        self.home.path().join("keys")
    }

    /// Runs `kes … --config sealed.yml`.
    fn kes(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(Binary::Kes.path());
        command.args(arguments).arg("--config").arg(self.home.path().join("sealed.yml"));
        command.current_dir(self.home.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn kes_prints(&self, arguments: &[&str]) -> String {
        let output = self.kes(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many keys are kept aside, also while somebody is at work there.
    fn copies(&self) -> usize {
        let names = fs::read_dir(self.keys()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("-kes-plain-")).count()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.keys()).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }
}

fn ask(server: &Server, request: &Request) -> Response {
    let client = Client::new(&Credential::from_seed(ADMIN));
    Connection::open(server.address(), &client).expect("a connection").exchange(request).expect("a response")
}

fn create(server: &Server, name: &str) {
    assert_eq!(ask(server, &Request::new("PUT", &format!("/v1/key/create/{name}"))).status, 200);
}

fn seal(server: &Server, name: &str) -> String {
    let body = json!({"plaintext": STANDARD.encode(name)}).to_string();
    let answer = ask(server, &Request::put(&format!("/v1/key/encrypt/{name}"), body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["ciphertext"].as_str().unwrap().to_owned()
}

/// A key still opens what it sealed.
fn assert_opens(server: &Server, name: &str, ciphertext: &str) {
    let body = json!({ "ciphertext": ciphertext }).to_string();
    let answer = ask(server, &Request::put(&format!("/v1/key/decrypt/{name}"), body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["plaintext"], STANDARD.encode(name), "{name}");
}

fn names(server: &Server) -> Vec<String> {
    serde_json::from_value(ask(server, &Request::get("/v1/key/list/")).json()["names"].clone()).unwrap()
}

#[test]
fn an_old_directory_is_served_sealed_by_one_command_and_given_back() {
    let world = World::new("");
    let config = world.sealed(&world.by_key_file());
    world.home.write("sealed.yml", config.replace("{{address}}", "127.0.0.1:0"));
    let server = world.start(&world.plain());
    create(&server, "old");
    let old = seal(&server, "old");
    drop(server);
    let before = world.files();

    let server = world.start(&config);
    assert!(server.stderr().contains("'kes seal migrate --config FILE' seals them"), "{}", server.stderr());
    assert_opens(&server, "old", &old);
    create(&server, "new");
    let new = seal(&server, "new");
    assert_eq!(world.files()["old"], before["old"], "served as it is");
    assert!(world.files()["new"].starts_with(b"kes-sealed:1:"), "new keys are sealed");
    assert_eq!(names(&server), ["new", "old"]);

    // Beside the running server.
    assert!(world.kes_prints(&["seal", "migrate"]).starts_with("1 key sealed and verified\n"));
    assert!(world.files()["old"].starts_with(b"kes-sealed:1:"));
    assert_eq!(world.files()["-kes-plain-old"], before["old"]);
    assert_opens(&server, "old", &old);
    drop(server);
    let server = world.start(&config);
    assert_opens(&server, "old", &old);
    assert_opens(&server, "new", &new);
    world.kes_prints(&["seal", "finish"]);
    assert!(!world.files().contains_key("-kes-plain-old"));
    assert_opens(&server, "old", &old);
    drop(server);

    world.kes_prints(&["seal", "undo"]);
    assert_eq!(world.files().keys().collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(world.files()["old"], before["old"], "byte for byte");
    let server = world.start(&world.plain());
    assert_opens(&server, "old", &old);
    assert_opens(&server, "new", &new);
}

#[test]
fn a_wrong_key_is_one_sentence_and_exit_1_and_nothing_is_touched() {
    let world = World::new("passphrase: right");
    drop(world.start(&world.sealed("passphrase: right")));
    let before = world.files();
    world.home.write("sealed.yml", world.sealed("passphrase: wrong").replace("{{address}}", "127.0.0.1:0"));
    for arguments in
        [&["server"][..], &["seal", "rm", "1"], &["seal", "migrate"], &["seal", "undo"], &["backup", "-o", "b"]]
    {
        let output = world.kes(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let expected = format!(
            "Error: Filesystem: {} is sealed under another key: no slot opens with keystore.seal.passphrase\n",
            world.keys().display()
        );
        assert!(stderr.starts_with(&expected), "{arguments:?}: {stderr}");
        assert_eq!(world.files(), before);
    }
}

/// A look at a directory that is to be sealed does not seal it: MinIO KES may still be running there.
#[test]
fn commands_that_only_look_seal_nothing() {
    let world = World::new("");
    let server = world.start(&world.plain());
    create(&server, "old");
    let sealed = seal(&server, "old");
    drop(server);
    let config = world.sealed(&world.by_key_file()).replace("{{address}}", "127.0.0.1:0");
    world.home.write("sealed.yml", &config);
    world.home.write("list.txt", format!("old {sealed}\n"));
    let other = world.home.path().join("other");
    world.home.write("other.yml", config.replace(&world.keys().display().to_string(), &other.display().to_string()));
    let before = world.files();
    world.kes_prints(&["server", "check", "--connect"]);
    world.kes_prints(&["verify", "list.txt"]);
    let file = |name: &str| world.home.path().join(name).display().to_string();
    let mut command = Command::new(Binary::Kes.path());
    command.args(["migrate", "--from", &file("sealed.yml"), "--to", &file("other.yml")]);
    let migrated = command.stdin(Stdio::null()).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert_eq!(world.files(), before);
    assert!(fs::read(other.join("old")).unwrap().starts_with(b"kes-sealed:1:"), "the target is sealed");
}

#[test]
fn swapped_files_are_refused_by_the_server() {
    let world = World::new("");
    let server = world.start(&world.sealed(&world.by_key_file()));
    create(&server, "one");
    create(&server, "two");
    fs::copy(world.keys().join("one"), world.keys().join("two")).unwrap();
    let answer = ask(&server, &Request::put("/v1/key/generate/two", "{}"));
    assert_eq!((answer.status, answer.member("message").as_str()), (502, "failed to read key"));
    server.expect_stderr("it is sealed for another name");
}

#[test]
fn servers_on_one_directory_share_a_sealed_store() {
    let world = World::new("");
    let config = world.sealed(&world.by_key_file());
    let one = world.start(&config);
    let two = world.start(&config);
    create(&one, "shared");
    let sealed = seal(&one, "shared");
    assert_opens(&two, "shared", &sealed);
    assert_eq!(ask(&two, &Request::new("PUT", "/v1/key/create/shared")).status, 400);
    create(&two, "second");
    assert_eq!(names(&one), ["second", "shared"]);
    assert_eq!(ask(&one, &Request::new("DELETE", "/v1/key/delete/second")).status, 200);
    assert_eq!(names(&two), ["shared"]);
}

/// `kill -9` of the command that moves keys, while a server uses them.
#[test]
fn kill_nine_during_a_migration_loses_no_key() {
    let world = World::new("");
    let config = world.sealed(&world.by_key_file());
    world.home.write("sealed.yml", config.replace("{{address}}", "127.0.0.1:0"));
    let mut sealed = BTreeMap::new();
    let server = world.start(&world.plain());
    for number in 0..40 {
        let name = format!("key-{number}");
        create(&server, &name);
        sealed.insert(name.clone(), seal(&server, &name));
    }
    drop(server);
    let server = world.start(&config);
    let all_open = || sealed.iter().for_each(|(name, ciphertext)| assert_opens(&server, name, ciphertext));
    for (round, command) in ["migrate", "migrate", "migrate", "rotate", "rotate"].into_iter().enumerate() {
        let table = fs::read(world.keys().join("-kes-seal")).unwrap();
        let touched = || match command {
            "migrate" => world.copies(),
            _ => usize::from(fs::read(world.keys().join("-kes-seal")).unwrap() != table),
        };
        let already = touched();
        let mut child = Command::new(Binary::Kes.path())
            .args(["seal", command, "--config"])
            .arg(world.home.path().join("sealed.yml"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while touched() < already + 1 + 5 * usize::from(command == "migrate") && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        all_open();
        let server = world.start(&config);
        assert_eq!(names(&server).len(), 40, "round {round}");
    }
    assert!(world.kes_prints(&["seal", "migrate"]).contains("keys sealed"));
    world.kes_prints(&["seal", "finish"]);
    all_open();
    let status: Value = serde_json::from_str(&world.kes_prints(&["seal", "status", "--json"])).unwrap();
    assert_eq!(
        (&status["keys"]["sealed"], &status["entries"], &status["retired_roots"]),
        (&json!(40), &json!("sealed"), &json!(0))
    );
    assert_eq!(world.files().len(), 41);
}

/// The script reads what the first release wrote, too.
#[test]
#[ignore = "needs peers/peers.sh install standins (Python with the package cryptography)"]
fn the_script_reads_the_vectors() {
    let script = checkout().join("examples/open-sealed-store.py");
    let vectors = checkout().join("crates/kes-keystore/tests/vectors/sealed-1");
    let sealed = vectors.join("sealed").display().to_string();
    for (kind, secret) in [("passphrase", "passphrase.txt"), ("key", "seal.key"), ("recovery", "recovery.txt")] {
        for name in ["of-2019", "Of_2025-1"] {
            let read = run_script(&script, &[&sealed, name, kind], &vectors.join(secret));
            assert_eq!(read.stdout, fs::read(vectors.join("plain").join(name)).unwrap(), "{kind}, {name}");
        }
    }
    let wrong = run_script(&script, &[&sealed, "of-2019", "key"], &vectors.join("plain/of-2019"));
    assert!(!wrong.status.success() && wrong.stdout.is_empty());
}

/// Nothing but the page about the format and this script is needed to read a key.
#[test]
#[ignore = "needs peers/peers.sh install standins (Python with the package cryptography)"]
fn a_script_of_thirty_lines_reads_every_key() {
    let script = checkout().join("examples/open-sealed-store.py");
    assert!(fs::read_to_string(&script).unwrap().lines().count() <= 30);
    let world = World::new("");
    world.home.write("words.txt", PASSPHRASE);
    let folder = world.home.path().display().to_string();
    let seal =
        format!("passphrase_file: {folder}/words.txt, key_file: {folder}/seal.key, recovery: {folder}/recovery.txt");
    let server = world.start(&world.plain());
    create(&server, "a");
    create(&server, "My_Key-2");
    drop(server);
    let before = world.files();
    world.home.write("sealed.yml", world.sealed(&seal).replace("{{address}}", "127.0.0.1:0"));
    world.kes_prints(&["seal", "init"]);
    world.kes_prints(&["seal", "migrate"]);
    for (kind, secret) in [("passphrase", "words.txt"), ("key", "seal.key"), ("recovery", "recovery.txt")] {
        for (name, value) in &before {
            let read = run_script(
                &script,
                &[&world.keys().display().to_string(), name, kind],
                &world.home.path().join(secret),
            );
            assert_eq!(&read.stdout, value, "{kind}, {name}: {}", String::from_utf8_lossy(&read.stderr));
        }
    }
    fs::copy(world.keys().join("a"), world.keys().join("My_Key-2")).unwrap();
    let keys = world.keys().display().to_string();
    let refused = run_script(&script, &[&keys, "My_Key-2", "key"], &world.home.path().join("seal.key"));
    assert!(!refused.status.success() && refused.stdout.is_empty());
}

fn run_script(script: &Path, arguments: &[&str], secret: &Path) -> Output {
    let python = peer("../venv/standins/bin/python");
    let mut command = Command::new(python);
    command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(secret).unwrap()).unwrap();
    child.wait_with_output().unwrap()
}
