//! No secret leaves the process but in the answer that carries it: not in logs, streams, metrics or a core dump.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::{Client, Connection, Credential, Home, Kind, Recipe, Request, Response, Server};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What must not be found, in each of the spellings in which it could be.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, what: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        let base64 = STANDARD.encode(bytes);
        for (spelling, text) in [
            ("raw", bytes.to_vec()),
            ("in hex", hex.clone().into_bytes()),
            ("in HEX", hex.to_uppercase().into_bytes()),
            // The end of a base64 text depends on what follows; its beginning does not.
            ("in base64", base64.as_bytes()[..base64.len() / 4 * 4 - 4].to_vec()),
            ("as a list of numbers", list.join(", ").into_bytes()),
        ] {
            self.0.push((format!("{what} {spelling}"), text));
        }
    }

    fn found_in(&self, text: &[u8]) -> Vec<&str> {
        let found = self.0.iter().filter(|(_, secret)| text.windows(secret.len()).any(|window| window == secret));
        found.map(|(what, _)| what.as_str()).collect()
    }
}

#[test]
fn the_search_itself_finds_what_it_looks_for() {
    let mut secrets = Secrets::default();
    secrets.add("a key", &[0xAB; 32]);
    assert_eq!(secrets.found_in(format!("x={}", STANDARD.encode([0xAB; 32])).as_bytes()), ["a key in base64"]);
    assert_eq!(secrets.found_in(format!("{:?}", [0xABu8; 32]).as_bytes()), ["a key as a list of numbers"]);
    assert!(secrets.found_in(b"nothing").is_empty());
}

#[test]
fn secrets_are_in_no_log_stream_or_metric() {
    let home = Home::new();
    let (admin, member, stranger) =
        (Credential::from_seed(0xA1), Credential::from_seed(0xA2), Credential::from_seed(0xA3));
    let mut secrets = Secrets::default();
    for seed in [0xA1u8, 0xA2, 0xA3] {
        secrets.add("an API key's seed", &[seed; 32]);
    }
    let server_key = std::fs::read_to_string(home.path().join("server.key")).expect("the server's key");
    let lines: Vec<&str> = server_key.lines().filter(|line| !line.starts_with('-')).collect();
    secrets.0.push(("the server's private key".into(), lines[0].as_bytes()[48..].to_vec()));
    let config = format!(
        "admin: {{identity: {}}}\npolicy: {{app: {{allow: [/v1/key/describe/*], identities: [{}]}}}}\nlog: {{error: debug, audit: on}}",
        admin.identity(),
        member.identity()
    );
    let server = Server::start(Kind::Ours, &home, &home.config(&config));
    let (admin, member, stranger) = (Client::new(&admin), Client::new(&member), Client::new(&stranger));
    let ask = |client: &Client, request: &Request| -> Response {
        Connection::open(server.address(), client).expect("the server answers").exchange(request).expect("a response")
    };
    let stream = |path: &str| {
        let mut connection = Connection::open(server.address(), &admin).expect("the server answers");
        connection.send(&Request::get(path).bytes("a", "HTTP/1.1")).expect("sent");
        assert_eq!(connection.read_head().expect("headers at once").status, 200);
        connection
    };
    let mut streams = [stream("/v1/log/audit"), stream("/v1/log/error")];

    // Secrets in every place where a request can carry one; by those who may, who may not and who are unknown; well and badly formed.
    let (key, plaintext, context) = ([0xC1; 32], [0xC2; 48], [0xC3; 48]);
    secrets.add("an imported key", &key);
    secrets.add("a plaintext", &plaintext);
    secrets.add("a context", &context);
    let import = json!({"key": STANDARD.encode(key), "cipher": "AES256"}).to_string();
    let encrypt = json!({"plaintext": STANDARD.encode(plaintext), "context": STANDARD.encode(context)}).to_string();
    for client in [&admin, &member, &stranger] {
        for body in [
            import.clone(),
            format!("{import}]"),
            import.replace("AES256", "DES"),
            import[..import.len() - 20].to_owned(),
        ] {
            ask(client, &Request::put("/v1/key/import/imported", body));
        }
        ask(client, &Request::put("/v1/key/import/a%20b", import.clone()));
        for body in [encrypt.clone(), encrypt[..encrypt.len() - 10].to_owned(), encrypt.replace('"', "'")] {
            for operation in ["encrypt", "decrypt", "generate", "hmac"] {
                ask(client, &Request::put(&format!("/v1/key/{operation}/imported"), body.clone()));
                ask(client, &Request::put(&format!("/v1/key/{operation}/missing"), body.clone()));
            }
        }
        let mut request = Request::get("/v1/status");
        request.headers.push(("Authorization".into(), format!("Bearer {}", Credential::api_key(0xA3))));
        request.headers.push(("X-Secret".into(), STANDARD.encode(key)));
        ask(client, &request);
        ask(client, &Request::get(&format!("/v1/status?key={}", STANDARD.encode(key))));
    }
    let generated = ask(
        &admin,
        &Request::put("/v1/key/generate/imported", json!({"context": STANDARD.encode(context)}).to_string()),
    );
    secrets.add("a data key", &STANDARD.decode(generated.member("plaintext")).expect("base64"));
    let opened = json!({"ciphertext": generated.member("ciphertext"), "context": STANDARD.encode(context)}).to_string();
    assert_eq!(ask(&admin, &Request::put("/v1/key/decrypt/imported", opened.clone())).status, 200);
    assert_eq!(ask(&admin, &Request::put("/v1/key/decrypt/imported", opened.replace("context", "x"))).status, 400);
    let mac =
        ask(&admin, &Request::put("/v1/key/hmac/imported", json!({"message": STANDARD.encode(plaintext)}).to_string()));
    secrets.add("a MAC", &STANDARD.decode(mac.member("hmac")).expect("base64"));
    assert_eq!(ask(&admin, &Request::new("PUT", "/v1/key/create/last")).status, 200);
    let stored = std::fs::read(home.path().join("keys/imported")).expect("the stored key");
    secrets.add("the stored key", &STANDARD.decode(&stored).expect("base64")[42..74]); // its HMAC key
    // A torn file: its bytes are the store's secret too.
    home.write("keys/torn", &stored[..stored.len() / 2]);
    assert_eq!(ask(&admin, &Request::get("/v1/key/describe/torn")).status, 502);

    server.expect_stdout("/v1/key/create/last");
    let mut everything = server.stdout().into_bytes();
    everything.extend(server.stderr().into_bytes());
    for (connection, last) in streams.iter_mut().zip(["/v1/key/create/last", "torn"]) {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(last) {
            text.extend(
                connection
                    .patience(Duration::from_secs(5))
                    .read_chunk()
                    .expect("the stream delivers")
                    .expect("the stream goes on"),
            );
        }
        everything.extend(text);
    }
    for target in
        ["/v1/metrics", "/v1/metrics?view=full", "/v1/status", "/v1/key/describe/imported", "/v1/policy/read/app"]
    {
        let answer = ask(&admin, &Request::get(target));
        assert_eq!(answer.status, 200, "{target}");
        everything.extend(answer.body);
    }
    let found = secrets.found_in(&everything);
    assert!(found.is_empty(), "{found:?} in\n{}", String::from_utf8_lossy(&everything));
}

#[test]
fn secrets_of_the_configuration_are_in_no_error() {
    let home = Home::new();
    // An encrypted server key with a wrong password; the password is a secret, also a wrong one.
    let password = "correct-horse-battery";
    home.write("server.key", include_str!("../vectors/tls/encrypted.key"));
    let certificate = Recipe::new("localhost").names(&["localhost"]).self_signed();
    home.write("server.crt", certificate.certificate_pem());
    let config = home
        .config("admin: {identity: disabled}")
        .replace("server.key\n", &format!("server.key\n  password: {password}\n"));
    home.write("config.yml", config.replace("{{address}}", "127.0.0.1:0"));
    let output = Command::new(kes_tests::Binary::KesServer.path())
        .arg("--config")
        .arg(home.path().join("config.yml"))
        .stdin(Stdio::null())
        .output()
        .expect("started");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("decryption password incorrect"), "{text}");
    assert!(!text.contains(password), "{text}");
}

/// A process that may be dumped owns the files of its `/proc` entry; those of one that may not belong to root. Root owns everything anyway,
/// so as root the server runs under another user, and `cat` shows that the difference can be seen.
#[test]
fn the_process_cannot_be_dumped() {
    let home = Home::new();
    let me = std::fs::metadata("/proc/self").expect("proc is mounted").uid();
    let user = if me == 0 { 65534 } else { me };
    let program = home.path().join("kes-server");
    std::fs::copy(kes_tests::Binary::KesServer.path(), &program).expect("a copy that the other user can run");
    for folder in [home.path().to_path_buf(), home.path().join("keys")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("our own folder");
        if me == 0 {
            chown(&folder, Some(user), Some(user)).expect("root may");
        }
    }
    if me == 0 {
        for file in ["server.key", "server.crt"] {
            chown(home.path().join(file), Some(user), Some(user)).expect("root may");
        }
    }
    let owner = |pid: u32| std::fs::metadata(format!("/proc/{pid}/mem")).expect("a living process").uid();
    let as_user = |command: &mut Command| {
        if me == 0 {
            command.uid(user).gid(user);
        }
    };

    let mut cat = Command::new("cat");
    as_user(&mut cat);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat");
    let seen = owner(cat.id());
    drop(cat.stdin.take());
    cat.wait().expect("cat ends with its input");
    assert_eq!(seen, user, "an ordinary process owns its memory file");

    let config = home.config("admin: {identity: disabled}");
    let server = Server::start_with(Kind::Ours, &home, &config, |command| {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        *command = Command::new(&program);
        command.args(arguments);
        as_user(command);
    });
    assert_eq!(owner(server.pid()), 0, "PR_SET_DUMPABLE is off");
}
