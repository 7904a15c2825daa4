//! The first minute: one command makes a server and the next start goes on, whatever happened in between.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use kes_tests::{Authority, Binary, Client, Connection, Credential, Program, Recipe, Request, Response, free_address};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use time::Duration;

const UP: &str = "=> Server is up and running...";

/// A folder that does not exist yet, and where its server is to listen.
struct Place {
    home: tempfile::TempDir,
    address: SocketAddr,
}

impl Place {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), address: free_address() }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("kes")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn command(&self) -> Command {
        let mut command = kes(&["server", "--quick"]);
        command.arg(self.folder()).args(["--addr", &self.address.to_string()]);
        command.env("XDG_CONFIG_HOME", self.home.path().join("settings"));
        command
    }

    /// Starts a server, and waits until it is up.
    fn start(&self) -> Program {
        let program = Program::start(&mut self.command());
        program.expect_stdout(UP);
        program
    }

    fn admin(&self, request: &Request) -> Response {
        let key = fs::read_to_string(self.file("admin.api-key")).unwrap();
        let client = Client::new(&Credential::from_api_key(key.trim()));
        Connection::open(self.address, &client).expect("a connection").exchange(request).expect("a response")
    }

    fn connect(&self, more: &[&str]) -> Output {
        kes(&["connect", "minio"]).arg(self.folder()).args(more).output().unwrap()
    }

    /// Every file of the folder but the keys themselves.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.is_file());
        files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())).collect()
    }
}

fn kes(arguments: &[&str]) -> Command {
    let mut command = Command::new(Binary::Kes.path());
    command.args(arguments);
    for variable in ["KES_SERVER", "KES_API_KEY", "KES_CONFIG", "MINIO_KMS_SECRET_KEY", "MINIO_KMS_KES_ENDPOINT"] {
        command.env_remove(variable);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn one_command_makes_a_server_and_the_second_start_goes_on() {
    let place = Place::new();
    let first = place.start();
    let said = first.stdout();
    assert_eq!(said.matches("Recovery key of ").count(), 1, "{said}");
    assert!(said.contains(&format!("API         · https://{}", place.address)) && said.contains("(sealed)"), "{said}");
    assert!(said.contains(&place.file("sealing.key").display().to_string()), "{said}");
    assert_eq!(place.admin(&Request::new("PUT", "/v1/key/create/a-key")).status, 200);
    let made = place.admin(&Request::get("/v1/key/describe/a-key")).text();
    assert!(first.stop().success());

    let files = place.files();
    let second = place.start();
    assert!(second.stdout().starts_with("Using ") && !second.stdout().contains("Recovery key"), "{}", second.stdout());
    assert_eq!(place.admin(&Request::get("/v1/key/describe/a-key")).text(), made);
    assert!(second.stop().success());
    assert_eq!(place.files(), files, "nothing was touched");

    // The file is an ordinary one.
    let mut command = Command::new(Binary::KesServer.path());
    let third = Program::start(command.arg("--config").arg(place.file("config.yml")).current_dir("/"));
    third.expect_stdout(UP);
    assert_eq!(place.admin(&Request::get("/v1/key/describe/a-key")).text(), made);
}

#[test]
fn what_is_secret_is_readable_for_its_owner_alone() {
    let place = Place::new();
    drop(place.start());
    for name in ["admin.api-key", "minio.env", "ca.key", "server.key", "sealing.key"] {
        assert_eq!(fs::metadata(place.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let stored = fs::read_dir(place.file("keys")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    assert!(stored.into_iter().all(|content| !content.starts_with(b"CiQKI")), "no key lies there in clear");
}

/// Whatever the first start had written when it was killed: the second one ends with a server, and keeps what was used.
#[test]
fn a_first_start_that_is_killed_is_finished_by_the_next() {
    for entries in 0..12 {
        let place = Place::new();
        let mut first = Program::start(&mut place.command());
        // Busy on purpose: the instants lie microseconds apart.
        let begin = Instant::now();
        let count = || fs::read_dir(place.folder()).into_iter().flatten().count() + staged(&place.folder());
        while count() < entries && first.runs() && begin.elapsed().as_secs() < 10 && !place.file("config.yml").exists()
        {
        }
        first.signal(Signal::KILL);
        first.wait();
        let before = if place.file("config.yml").exists() { Some(place.files()) } else { None };
        let second = place.start();
        assert!(before.is_none_or(|before| before == place.files()), "{entries}: what was there was replaced");
        assert_eq!(place.admin(&Request::new("PUT", "/v1/key/create/a-key")).status, 200, "{entries}");
        let recovery = first.stdout().contains("Recovery key of ") || second.stdout().contains("Recovery key of ");
        assert!(recovery, "{entries}: the recovery key was never shown");
        assert!(!place.file(".unfinished").exists(), "{entries}");
    }
}

/// Files in the folder where things are made first.
fn staged(folder: &Path) -> usize {
    fs::read_dir(folder.join(".unfinished")).into_iter().flatten().count()
}

#[test]
fn a_folder_of_others_is_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir(place.folder()).unwrap();
    fs::write(place.file("server.key"), "somebody's").unwrap();
    for command in [&mut place.command(), kes(&["init"]).arg(place.folder())] {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("is not empty and has no config.yml: it holds 'server.key'\nhint: "), "{said}");
    }
    assert_eq!(place.files(), BTreeMap::from([("server.key".to_owned(), b"somebody's".to_vec())]));
}

/// The line that is printed, run as it stands while the server runs: it takes the change up, and so does the next start.
#[test]
fn the_printed_line_moves_the_sealing_key_away() {
    let place = Place::new();
    let first = place.start();
    assert_eq!(place.admin(&Request::new("PUT", "/v1/key/create/before")).status, 200);
    let said = first.stdout();
    let line = said.lines().find(|line| line.contains("&& mv ")).unwrap_or_else(|| panic!("no line in {said}"));
    let status = Command::new("sh").arg("-c").arg(line.trim()).status().unwrap();
    assert!(status.success(), "{line}");
    assert!(!place.file("sealing.key").exists());
    first.expect_stdout("Reloading the changed configuration completed.");
    assert_eq!(place.admin(&Request::new("PUT", "/v1/key/create/after")).status, 200);
    assert!(first.stop().success());

    let second = place.start();
    assert!(!second.stdout().contains("moves it away"), "{}", second.stdout());
    for name in ["before", "after"] {
        let answer = place.admin(&Request::new("PUT", &format!("/v1/key/generate/{name}")));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(!place.file("sealing.key").exists(), "and none was made in its place");
}

/// Puts a certificate in place that has a day left of ninety, from an authority of the test.
fn age(place: &Place, authority: &Authority) -> Credential {
    let names = ["localhost", "127.0.0.1", "kes.example.net"];
    let old = Recipe::new("kes").for_servers().names(&names).valid(Duration::days(-89), Duration::days(1));
    let old = old.signed_by(authority);
    fs::write(place.file("server.key"), old.key_pem()).unwrap();
    fs::write(place.file("server.crt"), old.certificate_pem()).unwrap();
    old
}

fn shown(place: &Place) -> Option<Vec<u8>> {
    let key = fs::read_to_string(place.file("admin.api-key")).unwrap();
    Connection::open(place.address, &Client::new(&Credential::from_api_key(key.trim()))).ok()?.server_certificate()
}

#[test]
fn the_certificate_renews_itself_at_a_start_and_while_the_server_runs() {
    let place = Place::new();
    drop(place.start());
    let authority = Authority::root("an authority of ninety days ago");
    fs::write(place.file("ca.crt"), authority.credential().certificate_pem()).unwrap();
    fs::write(place.file("ca.key"), authority.credential().key_pem()).unwrap();

    let old = age(&place, &authority);
    let mut server = place.start();
    let renewed = shown(&place).unwrap();
    assert_ne!(renewed, old.chain()[0].as_ref(), "renewed before the first connection");
    assert!(place.connect(&[]).status.success(), "and trusted by those who trust the authority");

    let old = age(&place, &authority);
    server.until("renewed while running", || {
        shown(&place).is_some_and(|now| now != renewed && now != old.chain()[0].as_ref())
    });
    assert!(place.connect(&[]).status.success());
    assert_eq!(fs::read_to_string(place.file("server.key")).unwrap(), old.key_pem(), "its key stays");
    assert!(server.stop().success());
}

#[test]
fn names_can_be_added_at_any_start() {
    let place = Place::new();
    drop(place.start());
    let before = place.files();
    let server = Program::start(place.command().args(["--dns", "kes.example.net,localhost", "--ip", "10.9.8.7"]));
    server.expect_stdout(UP);
    let certificate = shown(&place).unwrap();
    let has = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
    assert!(has(b"kes.example.net") && has(&[10, 9, 8, 7]) && has(b"localhost"));
    let changed: Vec<_> = place.files().into_iter().filter(|(name, content)| before[name] != *content).collect();
    assert_eq!(changed.len(), 1, "the certificate alone");
    assert!(place.connect(&[]).status.success());
}

#[test]
fn connect_prints_what_minio_needs_and_proves_it() {
    let place = Place::new();
    let server = place.start();
    let output = place.connect(&[]);
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    let lines: BTreeMap<_, _> = out.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines["MINIO_KMS_KES_ENDPOINT"], format!("https://{}", place.address));
    assert_eq!(lines["MINIO_KMS_KES_KEY_NAME"], "minio-key");
    assert_eq!(lines["MINIO_KMS_KES_CAPATH"], place.file("ca.crt").display().to_string());
    assert!(said.starts_with("Proved with MinIO's identity at ") && said.contains("created"), "{said}");
    assert_eq!(place.admin(&Request::get("/v1/key/describe/minio-key")).status, 200);
    let again = place.connect(&["--key", "minio-key"]);
    assert!(again.status.success() && text(&again.stderr).contains("is there"));

    // Least privilege: what MinIO never does, its key cannot do.
    let minio = Client::new(&Credential::from_api_key(lines["MINIO_KMS_KES_API_KEY"]));
    for (method, path) in
        [("DELETE", "key/delete/minio-key"), ("PUT", "key/encrypt/minio-key"), ("GET", "policy/list/")]
    {
        let request = Request::new(method, &format!("/v1/{path}"));
        let answer = Connection::open(place.address, &minio).unwrap().exchange(&request).unwrap();
        assert_eq!(answer.status, 403, "{path}");
    }
    for path in ["/v1/status", "/v1/metrics", "/v1/api", "/v1/key/list/"] {
        let answer = Connection::open(place.address, &minio).unwrap().exchange(&Request::get(path)).unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }

    for form in ["--compose", "--k8s", "--systemd"] {
        let output = place.connect(&[form]);
        assert!(output.status.success(), "{form}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(&format!("https://{}", place.address)), "{form}");
    }
    assert_eq!(place.connect(&["-k"]).status.code(), Some(2), "the check of the certificate is never skipped");
    assert_eq!(place.connect(&["--compose", "--k8s"]).status.code(), Some(2));

    assert!(server.stop().success());
    let output = place.connect(&["--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("hint: is the server running? `kes server --quick "),
        "{}",
        text(&output.stderr)
    );
}

/// The port was taken by another server, or the address is none that the certificate has.
#[test]
fn connect_says_which_server_answers() {
    let (place, other) = (Place::new(), Place::new());
    let server = place.start();
    let at = |place: &Place, address: String| {
        let mut command = kes(&["server", "--quick"]);
        command.arg(place.folder()).args(["--addr", &address]);
        command
    };
    let output = at(&other, place.address.to_string()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let output = other.connect(&["--endpoint", &format!("https://{}", place.address)]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(
        said.contains("hint: another server answers there, not that of ") && !said.contains("--insecure"),
        "{said}"
    );

    assert!(server.stop().success());
    let port = place.address.port();
    let server = Program::start(&mut at(&place, format!("0.0.0.0:{port}")));
    server.expect_stdout(UP);
    let output = place.connect(&["--endpoint", &format!("https://127.0.0.2:{port}")]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(" --dns NAME (or --ip ADDRESS)"), "{said}");
}

/// MinIO's data names the key that sealed it. A key of another server must not be made under that name.
#[test]
fn connect_refuses_a_minio_that_was_sealed_under_another_key() {
    let place = Place::new();
    let _server = place.start();
    let drive = place.home.path().join("drive");
    let folder = drive.join(".minio.sys/config");
    fs::create_dir_all(&folder).unwrap();
    let write = |ciphertext: &str| {
        let line =
            format!(r#"{{"keyid":"minio-key","kmskey":"{ciphertext}","algorithm":"AES-256-GCM","nonce":"AAAA"}}"#);
        let length = u32::try_from(line.len()).unwrap().to_le_bytes();
        fs::write(folder.join("config.json"), [&[1], &length[..], line.as_bytes(), b"\xff\x00\x01"].concat()).unwrap();
    };
    let data = drive.display().to_string();
    write("YjOTiPY4pzvLJSxTnM9HHXR3EYVcz/5X/bIapuJrEbj431z7ERyYdSZs5OVgbZZ+DrmL/CoO8L3OCafjEV/7xcfhGo/tikAHLp13lg==");
    for known in [false, true] {
        let output = place.connect(&["--minio-data", &data]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty(), "nothing to paste");
        let why = if known {
            "another key 'minio-key' than the server's"
        } else {
            "a key 'minio-key' that the server does not have"
        };
        assert!(said.contains(why) && said.contains("--minio-static"), "{said}");
        let status = place.admin(&Request::get("/v1/key/describe/minio-key")).status;
        assert_eq!(status, if known { 200 } else { 404 }, "it made none");
        place.admin(&Request::new("PUT", "/v1/key/create/minio-key"));
    }
    let context = "eyIubWluaW8uc3lzIjoiLm1pbmlvLnN5cy9jb25maWcvY29uZmlnLmpzb24ifQ=="; // {".minio.sys":".minio.sys/config/config.json"}
    let body = format!(r#"{{"context":"{context}"}}"#);
    write(&place.admin(&Request::put("/v1/key/generate/minio-key", body)).member("ciphertext"));
    let output = place.connect(&["--minio-data", &data]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn init_makes_the_same_for_each_backend_and_never_twice() {
    for backend in ["fs", "vault", "aws", "azure"] {
        let place = Place::new();
        let init =
            || kes(&["init", "--backend", backend, "--dns", "kes.example.net"]).arg(place.folder()).output().unwrap();
        let output = init();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.contains("Recovery key of "), "{said}");
        let files = place.files();
        assert!(files.contains_key("sealing.key"));
        assert_eq!(files.contains_key("recovery.key"), backend != "fs", "until the first start has sealed the store");
        assert!(text(&files["config.yml"]).contains("\naddress: 0.0.0.0:7373\n"));
        let again = init();
        assert_eq!(again.status.code(), Some(4), "exists");
        assert_eq!(place.files(), files, "nothing was touched");

        let server = Program::start(
            kes(&["server", "--config"]).arg(place.file("config.yml")).args(["--addr", &place.address.to_string()]),
        );
        if backend == "fs" {
            server.expect_stdout(UP);
            let endpoint = format!("https://{}", place.address);
            let output = place.connect(&["--endpoint", &endpoint]);
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
    }
}
