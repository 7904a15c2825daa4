//! `kes-server check`, as its users see it.
//!
//! `check/files.txt` is a transcript: a line `$ kes-server …` runs the program in a folder with the files of `check/files` and
//! certificates of several kinds; what follows is what it printed. `check/suite` has the same for every configuration file
//! of `kes-config`'s suite. What differs from run to run is `<DATE>`, `<BUSY>` and `<IDENTITY>`.
//!
//! `KES_BLESS=1 cargo test -p kes-server --test check` writes the files anew; look at the difference.
#![expect(clippy::unwrap_used, reason = "also the helpers of tests may fail by panicking")]

use std::fmt::Write;
use std::fs;
use std::io::BufRead;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kes_config::File;
use kes_identity::{Authority, Certificate, KeyKind, Template, Usage};
use time::{Duration, OffsetDateTime};

const STATIC_KEY: &str = "my-key:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check").join(path)
}

fn check_golden(path: &Path, printed: &str) {
    if std::env::var_os("KES_BLESS").is_some() {
        fs::write(path, printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(path).unwrap_or_default(), "{}", path.display());
}

/// What a command printed, and its status.
fn transcript(command: &mut Command, mask: impl Fn(&str) -> String) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mut text = mask(&stdout);
    if !stderr.is_empty() {
        write!(text, "[stderr]\n{}", mask(&stderr)).unwrap();
    }
    text + &format!("[{}]\n", output.status.code().unwrap())
}

/// `2030-01-01T00:00:00Z` differs from run to run.
fn masked_dates(text: &str) -> String {
    let date = |word: &str| word.len() >= 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let words = text.split_inclusive([' ', '\n', '"', ',']);
    let masked = words.map(|word| match word.trim_end_matches([' ', '\n', '"', ',']) {
        bare if date(bare) => word.replace(bare, "<DATE>"),
        _ => word.to_owned(),
    });
    masked.collect()
}

/// A folder with configuration files, certificates and keys.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(data("files")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), home.path().join(entry.file_name())).unwrap();
        fs::set_permissions(home.path().join(entry.file_name()), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let write = |name: &str, text: &str, mode: u32| {
        fs::write(home.path().join(name), text).unwrap();
        fs::set_permissions(home.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let now = OffsetDateTime::now_utc();
    let template = |name: &str, from: Duration, to: Duration| {
        let mut template = Template::new(name, now + from, now + to);
        template.dns = vec!["kes.example.net".to_owned()];
        template
    };
    let (day, hour) = (Duration::DAY, Duration::HOUR);
    let make = |name: &str, template: &Template| {
        let certificate = Certificate::self_signed(KeyKind::EcdsaP256, template).unwrap();
        write(&format!("{name}.crt"), &certificate.to_pem(), 0o644);
        write(&format!("{name}.key"), certificate.key_to_pem().expose(), 0o600);
        certificate
    };
    let server = make("server", &template("kes", -day, day * 365));
    make("expired", &template("kes", -day * 60, -day));
    make("soon", &template("kes", -day, day * 10 + hour));
    make("later", &template("kes", day, day * 365));
    let mut no_names = template("kes", -day, day * 365);
    no_names.dns.clear();
    make("no-names", &no_names);
    let mut client_only = template("app", -day, day * 365);
    client_only.usages = vec![Usage::ClientAuth];
    let client = make("client-only", &client_only);
    let authority = Authority::generate("Test CA", now - day, now + day * 20 + hour).unwrap();
    write("ca.crt", &authority.to_pem(), 0o644);
    write("chain.crt", &(server.to_pem() + &authority.to_pem()), 0o644);
    write("world.key", server.key_to_pem().expose(), 0o644);
    write("static.key", STATIC_KEY, 0o640);
    // As Kubernetes mounts a volume: files are links into a folder that is a link itself.
    fs::create_dir_all(home.path().join("CAs/..2025")).unwrap();
    std::os::unix::fs::symlink("..2025", home.path().join("CAs/..data")).unwrap();
    write("CAs/..2025/ca.crt", &authority.to_pem(), 0o644);
    write("CAs/..2025/client.crt", &client.to_pem(), 0o644);
    for name in ["ca.crt", "client.crt"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), home.path().join("CAs").join(name)).unwrap();
    }
    fs::create_dir(home.path().join("keys")).unwrap();
    let ours = Authority::generate("Our CA", now - day * 100, now + day * 20 + hour).unwrap();
    write("ours.crt", &ours.to_pem(), 0o644);
    write("ours.key", ours.as_certificate().unwrap().key_to_pem().expose(), 0o644);
    let mut aged = template("kes", -day * 89, day);
    aged.usages = vec![Usage::ServerAuth];
    let aged = ours.issue(KeyKind::EcdsaP256, &aged).unwrap();
    write("aged.crt", &aged.to_pem(), 0o644);
    write("aged.key", aged.key_to_pem().expose(), 0o600);
    write("seal.key", &"ab".repeat(32), 0o600);
    write("world.pass", "open sesame", 0o644);
    seal(home.path());
    home
}

/// `sealed` is a store sealed by `seal.key`.
fn seal(home: &Path) {
    let text = format!(
        "admin: {{identity: disabled}}\ntls: {{key: k, cert: c}}\n\
         keystore: {{fs: {{path: {home}/sealed}}, seal: {{key_file: {home}/seal.key}}}}\n",
        home = home.display()
    );
    let store = File::from_text("seal", &text).load().unwrap().config.store;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.open()).unwrap();
}

#[test]
fn a_check_prints_what_the_transcript_says() {
    let home = home();
    let before = listing(home.path());
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let path = data("files.txt");
    let expected = fs::read_to_string(&path).unwrap();
    let mut text = String::new();
    for line in expected.lines() {
        if line.starts_with('#')
            && !line.contains(" as kes reads it")
            && !line.trim_start_matches('#').starts_with(" was")
        {
            writeln!(text, "{}{line}", if text.is_empty() { "" } else { "\n" }).unwrap();
        }
        let Some(words) = line.strip_prefix("$ ") else { continue };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes-server"));
        command
            .current_dir(home.path())
            .env_clear()
            .env("STATIC_KEY", STATIC_KEY)
            .env("MINIO_IDENTITY", "b".repeat(64));
        for word in words.split(' ') {
            match word
                .split_once('=')
                .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
            {
                Some((name, value)) => drop(command.env(name, value.replace("<BUSY>", &busy))),
                None if word == "kes-server" => {}
                None => drop(command.arg(word)),
            }
        }
        let mask = |text: &str| {
            masked_dates(
                &text
                    .replace(&busy, "<BUSY>")
                    .replace(&*home.path().canonicalize().unwrap().to_string_lossy(), "<HOME>"),
            )
        };
        write!(text, "\n{line}\n{}", transcript(&mut command, mask)).unwrap();
    }
    check_golden(&path, &text);
    assert_eq!(listing(home.path()), before, "a check changes nothing");
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            paths.extend(listing(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

fn suite() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/kes-config/tests/configs");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml" || extension == "toml"))
        .collect();
    files.sort();
    files
}

/// The variables that a file refers to, with the values that `kes-config`'s suite gives them.
fn environment(text: &str) -> Vec<(String, String)> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next()).map(str::trim);
    let value = |name: &str| match name {
        "KES_ADMIN_IDENTITY" | "ROOT_IDENTITY" => "a".repeat(64),
        "OBJECT_STORE_IDENTITY" | "MINIO_IDENTITY" | "MINIO_KES_IDENTITY" => "b".repeat(64),
        "STATIC_KEY" => STATIC_KEY.to_owned(),
        _ => format!("value-of-{name}"),
    };
    let set = |name: &&str| !name.is_empty() && !name.starts_with("UNSET") && !name.contains(['=', '\0']);
    names.filter(set).map(|name| (name.to_owned(), value(name))).collect()
}

#[test]
fn every_file_of_the_suite_has_the_written_outcome() {
    let files = suite();
    assert!(files.len() >= 60, "{}", files.len());
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let variables = environment(&fs::read_to_string(&path).unwrap());
        let command = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kes-server"));
            command.current_dir(path.parent().unwrap()).env_clear().envs(variables.iter().cloned());
            command.args(["check", "--no-files", "--config", name]).args(arguments);
            command
        };
        let printed = transcript(&mut command(&[]), str::to_owned);
        check_golden(&data(&format!("suite/{name}.txt")), &printed);
        // What is printed is the file that the library's suite reads back.
        let modern = String::from_utf8(command(&["--print"]).output().unwrap().stdout).unwrap();
        assert_eq!(modern, fs::read_to_string(path.with_extension("modern")).unwrap(), "{name}");
    }
}

/// The start tells one of the mistakes that the check tells.
#[test]
fn the_start_s_mistake_is_one_of_those_that_the_check_names() {
    for path in suite() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let variables = environment(&fs::read_to_string(&path).unwrap());
        let run = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kes-server"));
            command.current_dir(path.parent().unwrap()).env_clear().envs(variables.iter().cloned());
            command.args(arguments).args(["--config", name]).stdin(Stdio::null()).output().unwrap()
        };
        let (check, start) = (run(&["check"]), run(&[]));
        assert_eq!((check.status.code(), start.status.code()), (Some(1), Some(1)), "{name}: no certificates there");
        let (check, start) = (String::from_utf8(check.stdout).unwrap(), String::from_utf8(start.stderr).unwrap());
        let error = &start[start.find("Error: ").unwrap()..];
        let place = error.lines().find(|line| line.starts_with(" --> ")).unwrap();
        let told = check.lines().any(|line| line == place);
        // A duplicate key or a wrong kind stands for the first of several.
        assert!(told, "{name}: {error}\n{check}");
    }
}

/// What the check finds good does start, with certificates made for it; what it does not find good does not.
#[test]
fn what_passes_the_check_starts() {
    let (mut started, mut refused) = (0, 0);
    for path in suite() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let mut variables = environment(&text);
        // No store elsewhere answers, and nobody is asked.
        variables.push(("HTTPS_PROXY".to_owned(), "http://127.0.0.1:1".to_owned()));
        let lookup = variables.clone();
        let file = File::from_text(name, text.as_str());
        let file = file
            .environment(move |name| lookup.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()));
        let Ok(loaded) = file.load() else { continue };
        let tls = &loaded.config.tls;
        if loaded.config.store.supported().is_err() || tls.key.is_absolute() {
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(name), &text).unwrap();
        let now = OffsetDateTime::now_utc();
        let mut template = Template::new("kes", now - Duration::DAY, now + Duration::days(90));
        template.dns = vec!["localhost".to_owned()];
        let certificate = Certificate::self_signed(KeyKind::EcdsaP256, &template).unwrap();
        fs::write(home.path().join(&tls.cert), certificate.to_pem()).unwrap();
        fs::write(home.path().join(&tls.key), certificate.key_to_pem().expose()).unwrap();
        if let Some(ca) = &tls.ca {
            fs::create_dir(home.path().join(ca)).unwrap();
        }
        let config = format!("--config={name}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_kes-server"));
        check.args(["check", "--connect", &config, "--addr", "127.0.0.1:0"]).current_dir(home.path()).env_clear();
        let check = check.envs(variables.iter().cloned()).output().unwrap();
        // The documented container command, whose `--auth` must not swallow what follows it.
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes-server"));
        command.args(["--auth", &config, "--addr", "127.0.0.1:0"]).current_dir(home.path()).env_clear();
        let mut server = command.envs(variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let banner = std::io::BufReader::new(server.stdout.take().unwrap());
        let is_up = banner.lines().map_while(Result::ok).any(|line| line.starts_with("=> Server is up"));
        server.kill().unwrap();
        let output = server.wait_with_output().unwrap();
        let (told, said) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(check.status.success(), is_up, "{name}: {told}\n{said}");
        *if is_up { &mut started } else { &mut refused } += 1;
    }
    // Others name an audit file in a folder that is not there, or a Vault that does not answer.
    assert!(started >= 10 && refused > 0, "{started} {refused}");
}
