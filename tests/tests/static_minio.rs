//! The key that a MinIO had built in, served by kes: its ciphertexts of every age, its MACs, and a real MinIO that moves over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::{
    Binary, Client, Connection, Credential, Home, Kind, Program, Request, Response, Server, checkout, free_address,
    peer,
};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const NAME: &str = "my-minio-key";
const HEX: &str = "6368616e676520746869732070617373776f726420746f206120736563726574";
const BASE64: &str = "Y2hhbmdlIHRoaXMgcGFzc3dvcmQgdG8gYSBzZWNyZXQ=";

/// A server for the administrator of seed 0 and the client of seed 1, which may do what MinIO needs.
fn config(home: &Home, keystore: &str) -> String {
    let folder = home.path().display();
    format!(
        "address: {{{{address}}}}\ntls: {{key: {folder}/server.key, cert: {folder}/server.crt}}\nadmin: {{identity: {}}}\n\
         policy:\n  minio:\n    allow: [/v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/describe/*, \
         /v1/key/list/*, /v1/key/hmac/*, /v1/status, /v1/metrics, /v1/api]\n    identities: [{}]\n\
         log: {{error: on, audit: off}}\nkeystore:\n{keystore}\n",
        Credential::from_seed(0).identity(),
        Credential::from_seed(1).identity(),
    )
}

fn ask(server: &Server, request: &Request) -> Response {
    let client = Client::new(&Credential::from_seed(0));
    Connection::open(server.address(), &client).expect("a connection").exchange(request).expect("a response")
}

fn vectors() -> Value {
    let path = checkout().join("crates/kes-crypto/tests/vectors/minio-static-key.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// MinIO's canonical context for maps without special characters.
fn context(map: &Value) -> Vec<u8> {
    serde_json::to_vec(map).unwrap()
}

/// Every data key and MAC that MinIO's own implementation made opens and agrees.
fn assert_serves_minios_key(server: &Server) {
    let vectors = vectors();
    let sealed = |list: &str, member: &'static str| {
        let list: Vec<Value> =
            vectors[list].as_array().unwrap().iter().filter(|one| one["name"] == NAME).cloned().collect();
        list.into_iter().map(move |one| (one.clone(), one[member].as_str().unwrap().to_owned()))
    };
    let mut opened = 0;
    for (vector, ciphertext) in sealed("dek", "ciphertext").chain(sealed("legacy_dare", "sealed")) {
        let body = json!({"ciphertext": ciphertext, "context": STANDARD.encode(context(&vector["context"]))});
        let decrypt = Request::put(&format!("/v1/key/decrypt/{NAME}"), body.to_string());
        let answer = ask(server, &decrypt);
        assert_eq!(answer.status, 200, "{}: {}", vector["id"], answer.text());
        assert_eq!(STANDARD.decode(answer.member("plaintext")).unwrap(), hex(&vector["plaintext"]), "{}", vector["id"]);
        opened += 1;

        let other = json!({"ciphertext": ciphertext, "context": STANDARD.encode(b"{\"another\":\"context\"}")});
        let answer = ask(server, &Request::put(&format!("/v1/key/decrypt/{NAME}"), other.to_string()));
        let refused = (answer.status, answer.member("message"));
        assert_eq!(refused, (400, "decryption failed: ciphertext is not authentic".to_owned()));
    }
    assert_eq!(opened, 6, "raw, JSON of both ciphers, DARE of both ciphers");
    for vector in vectors["mac"].as_array().unwrap() {
        let body = json!({"message": STANDARD.encode(hex(&vector["message"]))}).to_string();
        let answer = ask(server, &Request::put(&format!("/v1/key/hmac/{NAME}"), body));
        assert_eq!(STANDARD.decode(answer.member("hmac")).unwrap(), hex(&vector["sum"]), "{}", vector["id"]);
    }
}

/// No file below the folder holds the key, in any spelling.
fn assert_not_on_disk(folder: &Path) {
    let raw = STANDARD.decode(BASE64).unwrap();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            assert_not_on_disk(&entry);
            continue;
        }
        let content = fs::read(&entry).unwrap();
        let decoded = STANDARD.decode(content.trim_ascii()).unwrap_or_default();
        for part in [HEX.as_bytes(), BASE64.as_bytes(), &raw] {
            let found = [&content, &decoded].iter().any(|text| text.windows(part.len()).any(|window| window == part));
            assert!(!found, "{}", entry.display());
        }
    }
}

#[test]
fn a_key_from_the_environment_is_served_as_minio_would_and_never_written() {
    for (variable, value) in
        [("MINIO_SSE_MASTER_KEY", format!("{NAME}:{HEX}")), ("MINIO_KMS_SECRET_KEY", format!("{NAME}:{BASE64}"))]
    {
        let home = Home::new();
        let config = config(&home, &format!("  static: {{key: '${{{variable}}}'}}"));
        let server = Server::start_with(Kind::Ours, &home, &config, |command| {
            command.env(variable, &value);
        });
        server.expect_stdout(&format!("Static Key: {NAME}"));
        assert_serves_minios_key(&server);
        // Decision 6: what MinIO's own KMS does for one key.
        for (method, path, status, text) in [
            ("PUT", format!("create/{NAME}"), 400, "key already exists"),
            ("PUT", "create/another".to_owned(), 403, "not authorized: insufficient permissions"),
            ("DELETE", format!("delete/{NAME}"), 403, "not authorized: insufficient permissions"),
            ("DELETE", "delete/another".to_owned(), 403, "not authorized: insufficient permissions"),
        ] {
            let answer = ask(&server, &Request::new(method, &format!("/v1/key/{path}")));
            assert_eq!((answer.status, answer.member("message")), (status, text.to_owned()), "{path}");
        }
        let import = json!({"key": BASE64, "cipher": "AES256"}).to_string();
        assert_eq!(ask(&server, &Request::put("/v1/key/import/another", import)).status, 403);
        assert_eq!(ask(&server, &Request::get("/v1/key/list/")).json()["names"], json!([NAME]));
        server.expect_stderr("does not permit");
        assert_not_on_disk(home.path());
    }
}

#[test]
fn a_key_from_a_secret_file_is_served() {
    for text in [format!("{NAME}:{HEX}\n"), format!("{NAME}:{BASE64}\r\n")] {
        let home = Home::new();
        home.write("secret", &text);
        let config = config(&home, "  static: {file: '${MINIO_SSE_MASTER_KEY_FILE}'}");
        let file = home.path().join("secret");
        let server = Server::start_with(Kind::Ours, &home, &config, |command| {
            command.env("MINIO_SSE_MASTER_KEY_FILE", &file);
        });
        assert_serves_minios_key(&server);
    }
}

#[test]
fn two_sources_may_be_spelled_differently_but_must_agree() {
    let home = Home::new();
    let other = HEX.replace("63", "64");
    for (file, starts) in
        [(format!("{NAME}:{BASE64}"), true), (format!("{NAME}:{other}"), false), (format!("x:{HEX}"), false)]
    {
        home.write("secret", &file);
        let path = home.path().join("secret");
        let text = config(&home, &format!("  static: {{key: '{NAME}:{HEX}', file: {}}}", path.display()));
        home.write("config.yml", text.replace("{{address}}", &free_address().to_string()));
        let mut server =
            Program::start(Command::new(Binary::KesServer.path()).arg("--config").arg(home.path().join("config.yml")));
        if starts {
            server.expect_stdout("Server is up");
        } else {
            assert_eq!(server.wait().code(), Some(1));
            assert!(server.stderr().contains("'key' and 'file' hold different keys"), "{}", server.stderr());
            assert!(!server.stderr().contains(HEX), "{}", server.stderr());
        }
    }
}

/// Runs `kes key import --minio-static` with this on its standard input.
fn import(arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(Binary::Kes.path());
    command.args(["key", "import", "--minio-static"]).args(arguments).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_imported_key_serves_from_any_store_and_stays_the_same() {
    for sealed in [false, true] {
        let home = Home::new();
        let folder = home.path().display().to_string();
        let mut keystore = format!("  fs: {{path: {folder}/keys}}");
        if sealed {
            // The folder of `kes init` brings a sealed store along.
            let made = Command::new(Binary::Kes.path()).arg("init").arg(home.path().join("made")).output().unwrap();
            assert!(made.status.success(), "{}", said(&made));
            keystore = format!("  fs: {{path: {folder}/made/keys}}\n  seal: {{key_file: {folder}/made/sealing.key}}");
        }
        let text = config(&home, &keystore);
        home.write("import.yml", text.replace("{{address}}", "127.0.0.1:0"));
        let file = home.path().join("import.yml").display().to_string();
        let arguments = ["-", "--config", &file];
        let first = import(&arguments, &format!("{NAME}:{BASE64}\n"), &[]);
        assert!(first.status.success(), "{}", said(&first));
        assert_eq!(said(&first).contains("not sealed"), !sealed, "{}", said(&first));
        assert!(!said(&first).contains("sealed from now on"), "the folder brings its seal along: {}", said(&first));
        // Again is no harm; another key under the name is.
        let again = import(&["--config", &file], "", &[("MINIO_SSE_MASTER_KEY", &format!("{NAME}:{HEX}"))]);
        assert!(again.status.success(), "{}", said(&again));
        let other = import(&arguments, &format!("{NAME}:{}", HEX.replace("63", "64")), &[]);
        assert_eq!(other.status.code(), Some(4), "{}", said(&other));
        assert!(said(&other).contains("key already exists") || said(&other).contains("exists"), "{}", said(&other));

        let server = Server::start(Kind::Ours, &home, &text);
        assert_serves_minios_key(&server);
        assert_eq!(ask(&server, &Request::new("PUT", "/v1/key/create/another")).status, 200, "an ordinary store");
        if sealed {
            assert_not_on_disk(home.path());
        }
    }
}

#[test]
fn an_import_never_takes_the_key_from_its_arguments_and_names_what_it_needs() {
    let home = Home::new();
    home.write("config.yml", config(&home, &format!("  fs: {{path: {}/keys}}", home.path().display())));
    let file = home.path().join("config.yml").display().to_string();
    let secret = format!("{NAME}:{BASE64}");
    let output = import(&[&secret, "--config", &file], "", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("must not stand on the command line") && !said(&output).contains(BASE64),
        "{}",
        said(&output)
    );
    let output = import(&["-"], &secret, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("the API would give it another HMAC key"), "{}", said(&output));
    let output = import(&["-", "--config", &file], &format!("my.key:{BASE64}"), &[]);
    assert!(!output.status.success() && said(&output).contains("name"), "{}", said(&output));
    assert!(home.stored().is_empty());
}

/// A real MinIO in a folder of its own.
struct MinIo {
    home: Home,
    port: u16,
}

impl MinIo {
    fn new() -> Self {
        let port = free_address().port();
        Self { home: Home::new(), port }
    }

    fn drive(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts a release on the drives, and waits until its clients are served.
    fn start(&self, program: &str, drives: &str, variables: &[(&str, &str)]) -> Program {
        let mut command = Command::new(peer(program));
        command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{}", self.port)]);
        command.arg(format!("{}{drives}", self.drive().display()));
        command.env_remove("MINIO_KMS_SECRET_KEY").env_remove("MINIO_KMS_KES_ENDPOINT");
        for (name, value) in [
            ("MINIO_ROOT_USER", "rootuser"),
            ("MINIO_ROOT_PASSWORD", "rootpass12"),
            ("MINIO_BROWSER", "off"),
            ("MINIO_UPDATE", "off"),
            ("MINIO_CI_CD", "1"),
        ] {
            command.env(name, value);
        }
        command.envs(variables.iter().copied());
        let mut running = Program::start(&mut command);
        let address = format!("http://127.0.0.1:{}", self.port);
        running.until("serving", || {
            self.try_mc(&["alias", "set", "s", &address, "rootuser", "rootpass12"]).status.success()
        });
        if program == "minio-2021" {
            // It serves before it has read its KMS settings.
            let said = |running: &Program| running.stdout() + &running.stderr();
            while !said(&running).contains("IAM initialization complete") {
                running.until("done with IAM", || true);
                std::thread::yield_now();
                assert!(running.runs(), "{}", said(&running));
            }
        }
        running
    }

    fn try_mc(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(peer("mc"));
        command.args(["--config-dir"]).arg(self.home.path().join("mc")).args(["--quiet", "--no-color"]).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn mc(&self, arguments: &[&str]) -> String {
        let output = self.try_mc(arguments);
        assert!(output.status.success(), "mc {arguments:?}: {}", said(&output));
        said(&output)
    }

    fn put(&self, flags: &[&str], object: &str) {
        let file = self.home.path().join("file");
        fs::write(&file, format!("content of {object}")).unwrap();
        let mut arguments = vec!["cp"];
        arguments.extend(flags);
        let (file, target) = (file.display().to_string(), format!("s/{object}"));
        arguments.extend([file.as_str(), &target]);
        self.mc(&arguments);
    }

    fn assert_reads(&self, object: &str, encryption: &str) {
        assert_eq!(self.mc(&["cat", &format!("s/{object}")]), format!("content of {object}"));
        let stat = self.mc(&["stat", &format!("s/{object}")]);
        assert!(stat.contains(encryption), "{object}: {stat}");
    }
}

/// What a MinIO that asks a kes has to know.
fn kes_settings<'s>(endpoint: &'s str, ca: &'s str, api_key: &'s str) -> [(&'s str, &'s str); 4] {
    [
        ("MINIO_KMS_KES_ENDPOINT", endpoint),
        ("MINIO_KMS_KES_KEY_NAME", NAME),
        ("MINIO_KMS_KES_API_KEY", api_key),
        ("MINIO_KMS_KES_CAPATH", ca),
    ]
}

#[test]
#[ignore = "needs MinIO and mc: peers/peers.sh install minio mc"]
fn a_minio_moves_from_its_built_in_key_to_kes() {
    for imported in [false, true] {
        let minio = MinIo::new();
        let built_in = format!("{NAME}:{BASE64}");
        let running = minio.start("minio", "", &[("MINIO_KMS_SECRET_KEY", &built_in)]);
        minio.mc(&["mb", "s/bucket"]);
        minio.put(&["--enc-s3", "s/bucket"], "bucket/old-s3");
        minio.put(&["--enc-kms", &format!("s/bucket={NAME}")], "bucket/old-kms");
        minio.mc(&["admin", "user", "add", "s", "old-user", "old-user-secret"]);
        minio.mc(&["admin", "config", "set", "s", "region", "name=eu-old-1"]);
        running.stop();

        // kes on the key from the environment, or on a sealed store it was imported into.
        let home = Home::new();
        let folder = home.path().display().to_string();
        let keystore = if imported {
            let made = Command::new(Binary::Kes.path()).arg("init").arg(home.path().join("made")).output().unwrap();
            assert!(made.status.success(), "{}", said(&made));
            let config = home.path().join("made/config.yml").display().to_string();
            let output = import(&["--config", &config], "", &[("MINIO_KMS_SECRET_KEY", &built_in)]);
            assert!(output.status.success(), "{}", said(&output));
            format!("  fs: {{path: {folder}/made/keys}}\n  seal: {{key_file: {folder}/made/sealing.key}}")
        } else {
            "  static: {key: '${MINIO_KMS_SECRET_KEY}'}".to_owned()
        };
        let server = Server::start_with(Kind::Ours, &home, &config(&home, &keystore), |command| {
            command.env("MINIO_KMS_SECRET_KEY", &built_in);
        });
        let (endpoint, ca) = (format!("https://{}", server.address()), format!("{folder}/server.crt"));
        let api_key = Credential::api_key(1);
        let settings = kes_settings(&endpoint, &ca, &api_key);
        for round in 0..2 {
            let running = minio.start("minio", "", &settings);
            assert!(minio.mc(&["admin", "kms", "key", "status", "s"]).contains(NAME));
            minio.assert_reads("bucket/old-s3", "SSE-S3");
            minio.assert_reads("bucket/old-kms", "SSE-KMS");
            assert!(minio.mc(&["admin", "user", "list", "s"]).contains("old-user"), "users are sealed by the key, too");
            assert!(minio.mc(&["admin", "config", "get", "s", "region"]).contains("eu-old-1"), "and so are settings");
            if round == 0 {
                minio.put(&["--enc-s3", "s/bucket"], "bucket/new-s3");
                minio.put(&["--enc-kms", &format!("s/bucket={NAME}")], "bucket/new-kms");
                minio.mc(&["admin", "user", "add", "s", "new-user", "new-user-secret"]);
            }
            minio.assert_reads("bucket/new-s3", "SSE-S3");
            minio.assert_reads("bucket/new-kms", "SSE-KMS");
            assert!(minio.mc(&["admin", "user", "list", "s"]).contains("new-user"));
            running.stop();
        }
        // And back again: what kes sealed, MinIO's own key opens.
        let running = minio.start("minio", "", &[("MINIO_KMS_SECRET_KEY", &built_in)]);
        minio.assert_reads("bucket/new-s3", "SSE-S3");
        minio.assert_reads("bucket/new-kms", "SSE-KMS");
        running.stop();
    }
}

/// The oldest form: the MinIO of April 2021 seals with `MINIO_SSE_MASTER_KEY`, then asks kes, then is replaced by today's.
#[test]
#[ignore = "needs MinIO, mc and the MinIO of 2021: peers/peers.sh install minio mc minio-2021"]
fn a_minio_of_2021_moves_from_its_master_key_to_kes_and_to_today() {
    for variable in ["MINIO_SSE_MASTER_KEY", "MINIO_KMS_MASTER_KEY"] {
        let minio = MinIo::new();
        let built_in = format!("{NAME}:{HEX}");
        let drives = "/{1...4}"; // one drive would have its old format, which today's MinIO no longer reads
        let running = minio.start("minio-2021", drives, &[(variable, &built_in)]);
        minio.mc(&["mb", "s/bucket"]);
        minio.mc(&["encrypt", "set", "sse-s3", "s/bucket"]);
        minio.put(&[], "bucket/oldest");
        minio.assert_reads("bucket/oldest", "SSE-S3");
        minio.mc(&["admin", "user", "add", "s", "old-user", "old-user-secret"]);
        running.stop();

        let home = Home::new();
        home.write_credential("minio", &Credential::from_seed(1));
        let folder = home.path().display().to_string();
        let config = config(&home, &format!("  static: {{key: '${{{variable}}}'}}"));
        let server = Server::start_with(Kind::Ours, &home, &config, |command| {
            command.env(variable, &built_in);
        });
        let (endpoint, ca) = (format!("https://{}", server.address()), format!("{folder}/server.crt"));
        let (certificate, key) = (format!("{folder}/minio.crt"), format!("{folder}/minio.key"));
        let old_settings = [
            ("MINIO_KMS_KES_ENDPOINT", endpoint.as_str()),
            ("MINIO_KMS_KES_KEY_NAME", NAME),
            ("MINIO_KMS_KES_CERT_FILE", &certificate),
            ("MINIO_KMS_KES_KEY_FILE", &key),
            ("MINIO_KMS_KES_CA_PATH", &ca), // its own spelling
        ];
        let running = minio.start("minio-2021", drives, &old_settings);
        minio.assert_reads("bucket/oldest", "SSE-S3");
        minio.put(&[], "bucket/old");
        minio.assert_reads("bucket/old", "SSE-S3");
        running.stop();

        let api_key = Credential::api_key(1);
        for _ in 0..2 {
            let running = minio.start("minio", drives, &kes_settings(&endpoint, &ca, &api_key));
            minio.assert_reads("bucket/oldest", "SSE-S3");
            minio.assert_reads("bucket/old", "SSE-S3");
            minio.put(&["--enc-s3", "s/bucket"], "bucket/new");
            minio.assert_reads("bucket/new", "SSE-S3");
            assert!(minio.mc(&["admin", "user", "list", "s"]).contains("old-user"));
            running.stop();
        }
    }
}

/// `kes connect` tells a MinIO that kes can take over from one that it cannot, on the drives of real ones.
#[test]
#[ignore = "needs MinIO, mc and the MinIO of 2021: peers/peers.sh install minio mc minio-2021"]
fn connect_looks_at_the_drives_of_a_real_minio() {
    for (program, drives) in [("minio", ""), ("minio", "/{1...4}"), ("minio-2021", ""), ("minio-2021", "/{1...4}")] {
        let minio = MinIo::new();
        let (variable, built_in) = match program {
            "minio" => ("MINIO_KMS_SECRET_KEY", format!("{NAME}:{BASE64}")),
            _ => ("MINIO_SSE_MASTER_KEY", format!("{NAME}:{HEX}")),
        };
        let running = minio.start(program, drives, &[(variable, &built_in)]);
        minio.mc(&["mb", "s/bucket"]);
        minio.mc(&["encrypt", "set", "sse-s3", "s/bucket"]);
        minio.put(&[], "bucket/object");
        running.stop();

        let home = Home::new();
        let (folder, address) = (home.path().join("made"), free_address().to_string());
        let kes = |arguments: &[&str]| {
            let mut command = Command::new(Binary::Kes.path());
            command.args(arguments);
            command
        };
        let _server = Program::start(kes(&["server", "--quick"]).arg(&folder).args(["--addr", &address]));
        let connect = || {
            let data = format!("{}{drives}", minio.drive().display());
            kes(&["connect", "minio"]).arg(&folder).args(["--minio-data", &data]).output().unwrap()
        };
        let refused = connect();
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(refused.stdout.is_empty() && said(&refused).contains(NAME), "{}", said(&refused));

        let config = folder.join("config.yml").display().to_string();
        let output = import(&["--config", &config], "", &[(variable, &built_in)]);
        assert!(output.status.success(), "{}", said(&output));
        let accepted = connect();
        assert!(accepted.status.success(), "{}", said(&accepted));
        let text = String::from_utf8(accepted.stdout).unwrap();
        let settings: Vec<_> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
        assert!(settings.contains(&("MINIO_KMS_KES_KEY_NAME", NAME)), "the key that the data names: {settings:?}");
        if (program, drives) == ("minio-2021", "") {
            continue; // one drive has the format of then, which today's MinIO no longer reads, and that of then no API keys
        }
        let running = minio.start("minio", drives, &settings);
        minio.assert_reads("bucket/object", "SSE-S3");
        running.stop();
    }
}
