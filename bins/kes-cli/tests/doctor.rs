//! `kes doctor` against a real server, as its users see it: `doctor/*.txt`.
//!
//! A line `$ kes …` runs the program; a line `@ NAME …` starts the server again with a configuration of that name. What
//! differs from run to run is `<SERVER>`, `<MINIO>`, `<DATE>` and `<CLOSED>`. `UPDATE_TRANSCRIPTS=1` writes the files anew.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kes_identity::{ApiKey, Authority, Certificate, KeyKind, Template};
use time::{Duration, OffsetDateTime};

/// A server that is killed with its test.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(home: &Path, config: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command.args(["server", "--config", config, "--addr", "127.0.0.1:0"]).current_dir(home).env_clear();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut address = String::new();
        for line in lines {
            if let Some((_, url)) = line.split_once("· https://") {
                address = url.to_owned();
            }
            if line.starts_with("=> Server is up") {
                break;
            }
        }
        assert!(!address.is_empty(), "the server has not started with {config}");
        Self(child, address)
    }
}

const KEY: &str = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct Home {
    folder: tempfile::TempDir,
    closed: String,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::generate("Test CA", now - Duration::DAY, now + Duration::days(365)).unwrap();
        write("ca.crt", &authority.to_pem());
        write("empty", "");
        let issue = |name: &str, names: &[&str], from: Duration, to: Duration| {
            let mut template = Template::new(name, now + from, now + to);
            template.dns = names.iter().map(|name| (*name).to_owned()).collect();
            template.ips = if names == ["localhost"] { vec![[127, 0, 0, 1].into()] } else { Vec::new() };
            let certificate = authority.issue(KeyKind::EcdsaP256, &template).unwrap();
            write(&format!("{name}.crt"), &certificate.to_pem());
            write(&format!("{name}.key"), certificate.key_to_pem().expose());
        };
        let day = Duration::DAY;
        issue("server", &["localhost"], -day, day * 300);
        issue("soon", &["localhost"], -day, day * 10 + Duration::HOUR);
        issue("expired", &["localhost"], -day * 9, -day);
        issue("elsewhere", &["kes.example.net"], -day, day * 300);
        let client =
            Certificate::self_signed(KeyKind::Ed25519, &Template::new("minio", now - day * 9, now - day)).unwrap();
        write("client.crt", &client.to_pem());
        write("client.key", client.key_to_pem().expose());
        let minio = KEY.parse::<ApiKey>().unwrap().identity().to_string();
        let rules = "[/v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/describe/*, /v1/key/list/*, /v1/status, /v1/metrics]";
        let config = |name: &str, tls: &str, admin: &str, policy: &str| {
            let policy = policy.replace("MINIO", &minio).replace("RULES", rules);
            write(
                &format!("{name}.yml"),
                &format!(
                    "admin: {{identity: {admin}}}\ntls: {tls}\nkeystore: {{fs: {{path: ./keys}}}}\npolicy: {policy}\n"
                ),
            );
        };
        let tls = "{key: server.key, cert: server.crt}";
        let policy = "{minio: {allow: RULES, identities: [MINIO]}}";
        config("good", tls, "disabled", policy);
        config("soon", "{key: soon.key, cert: soon.crt}", "disabled", policy);
        config("expired", "{key: expired.key, cert: expired.crt}", "disabled", policy);
        config("elsewhere", "{key: elsewhere.key, cert: elsewhere.crt}", "disabled", policy);
        config("verified", "{key: server.key, cert: server.crt, auth: on, ca: ca.crt}", "disabled", policy);
        config("admin", tls, &minio, "{}");
        config("unknown", tls, "disabled", "{minio: {allow: RULES, identities: [somebody-else]}}");
        config("narrow", tls, "disabled", "{minio: {allow: [/v1/key/generate/*, /v1/status], identities: [MINIO]}}");
        config(
            "denied",
            tls,
            "disabled",
            "{minio: {allow: ['/v1/*'], deny: [/v1/key/decrypt/*], identities: [MINIO]}}",
        );
        config("useless", tls, "disabled", "{minio: {allow: [/v1/log/error], identities: [MINIO]}}");
        // A port that nobody listens on: 1 is that of a service of 1988.
        let closed = "127.0.0.1:1".to_owned();
        Self { folder, closed }
    }

    /// Runs a command line of a transcript.
    fn run(&self, line: &str, server: &str) -> String {
        let port = server.rsplit_once(':').map_or("", |(_, port)| port);
        let fill = |text: &str| {
            text.replace("<SERVER>", server)
                .replace("<PORT>", port)
                .replace("<CLOSED>", &self.closed)
                .replace("<KEY>", KEY)
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command.current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path()).stdin(Stdio::null());
        for word in line.split(' ').filter(|word| *word != "kes") {
            match word
                .split_once('=')
                .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
            {
                Some((name, value)) => drop(command.env(name, fill(value))),
                None => drop(command.arg(fill(word))),
            }
        }
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "env") {
                let text = fill(&fs::read_to_string(&path).unwrap());
                fs::write(self.folder.path().join(path.file_name().unwrap()), text).unwrap();
            }
        }
        let output = command.output().unwrap();
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(!(stdout.clone() + &stderr).contains(&KEY[7..]), "a secret is shown:\n{stdout}{stderr}");
        let minio = KEY.parse::<ApiKey>().unwrap().identity().to_string();
        let mask = |text: &str| {
            let text = text.replace(server, "<SERVER>").replace(&self.closed, "<CLOSED>").replace(&minio, "<MINIO>");
            let text = if port.is_empty() { text } else { text.replace(port, "<PORT>") };
            // Why, is said in the words of the machine's resolver.
            let unresolved = "its name cannot be resolved: ";
            let lines = text.split_inclusive('\n').map(|line| match line.split_once(unresolved) {
                Some((mark, _)) => format!("{mark}{unresolved}<REASON>\n"),
                None => line.to_owned(),
            });
            masked(&lines.collect::<String>())
        };
        let mut text = mask(&stdout);
        if !stderr.is_empty() {
            write!(text, "[stderr]\n{}", mask(&stderr)).unwrap();
        }
        text + &format!("[{}]\n", output.status.code().unwrap())
    }
}

/// Dates, and identities that are made in each run.
fn masked(text: &str) -> String {
    let ends = |c: char| matches!(c, ' ' | '\n' | '"' | ',' | ';' | ')' | '(' | '\'');
    let mask = |word: &str| -> String {
        let bare = word.trim_matches(ends);
        if bare.len() >= 20 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T' {
            word.replace(bare, "<DATE>")
        } else if bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            word.replace(bare, "<CLIENT>")
        } else {
            word.replace(concat!("kes ", env!("CARGO_PKG_VERSION")), "kes <VERSION>")
        }
    };
    let text = text.replace(concat!("kes ", env!("CARGO_PKG_VERSION")), "kes <VERSION>");
    text.split_inclusive(ends).map(mask).collect()
}

/// Which words it has for this depends on whether the client reads the alert before it sees the closed connection.
#[test]
fn an_api_key_does_not_go_with_verified_clients() {
    let home = Home::new();
    let server = Server::start(home.folder.path(), "verified.yml");
    let text = home.run("kes doctor --minio-env minio.env", &server.1);
    assert!(text.contains("(`tls.auth: on`)") && text.contains("1 problem, 0 warnings\n[1]"), "{text}");
}

#[test]
fn the_doctor_says_what_the_transcripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap();
        let home = Home::new();
        let mut server: Option<Server> = None;
        let mut text = String::new();
        for line in expected.lines() {
            if line.starts_with("# Keys in the store") {
                continue; // told anew below
            }
            if line.starts_with('#') {
                writeln!(text, "{}{line}", if text.is_empty() { "" } else { "\n" }).unwrap();
            } else if let Some(config) = line.strip_prefix("@ ") {
                drop(server.take());
                server = Some(Server::start(home.folder.path(), &format!("{config}.yml")));
                write!(text, "\n{line}\n").unwrap();
            } else if let Some(command) = line.strip_prefix("$ ") {
                let address = server.as_ref().map_or("<NONE>", |server| server.1.as_str());
                write!(text, "\n{line}\n{}", home.run(command, address)).unwrap();
            }
        }
        let keys = fs::read_dir(home.folder.path().join("keys")).map_or(0, Iterator::count);
        writeln!(text, "\n# Keys in the store at the end: {keys}").unwrap();
        let text = text.replace("\n\n\n", "\n\n");
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            fs::write(&path, text).unwrap();
        } else {
            assert_eq!(text, expected, "{}", path.display());
        }
    }
}
