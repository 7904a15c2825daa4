//! Both servers on one key directory, and the old command line against both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::{Client, Connection, Credential, Home, Kind, Request, Response, Server, peer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn keys_and_ciphertexts_travel_both_ways() {
    let home = Home::new();
    let admin = Credential::from_seed(0);
    let client = Client::new(&admin);
    let config = home.config(&format!("admin: {{identity: {}}}", admin.identity()));
    let ours = Server::start(Kind::Ours, &home, &config);
    let old = Server::start(Kind::GoKes, &home, &config);
    let ask = |server: &Server, request: Request| -> Response {
        let mut connection = Connection::open(server.address(), &client).expect("the server answers");
        let response = connection.exchange(&request).expect("a response");
        assert_eq!(response.status, 200, "{} {}: {}", request.method, request.target, response.text());
        response
    };

    let contexts: [&[u8]; 4] = [b"", b"{}", b"{\"bucket\":\"bucket/object\"}", &[0xff; 300]];
    let plaintexts: [&[u8]; 3] = [b"", b"a secret of thirty-two bytes !!!", &[7; 70_000]];
    for (maker, reader, who) in [(&ours, &old, "ours"), (&old, &ours, "old")] {
        let imported = |cipher: &str| json!({"key": STANDARD.encode([9; 32]), "cipher": cipher}).to_string();
        ask(maker, Request::new("PUT", &format!("/v1/key/create/{who}-created")));
        ask(maker, Request::put(&format!("/v1/key/import/{who}-aes"), imported("AES256")));
        ask(maker, Request::put(&format!("/v1/key/import/{who}-chacha"), imported("ChaCha20")));
        for key in ["created", "aes", "chacha"].map(|kind| format!("{who}-{kind}")) {
            let describe = || Request::get(&format!("/v1/key/describe/{key}"));
            assert_eq!(ask(maker, describe()).json(), ask(reader, describe()).json(), "both describe {key} alike");
            let mac = || {
                Request::put(
                    &format!("/v1/key/hmac/{key}"),
                    json!({"message": STANDARD.encode(b"root access key")}).to_string(),
                )
            };
            assert_eq!(ask(maker, mac()).json(), ask(reader, mac()).json(), "both make the same MAC with {key}");
            for context in contexts {
                let context = STANDARD.encode(context);
                // Sealed by either, opened by either.
                for (sealer, opener) in [(maker, reader), (reader, maker)] {
                    let generated = ask(
                        sealer,
                        Request::put(&format!("/v1/key/generate/{key}"), json!({"context": context}).to_string()),
                    );
                    let opened = open(&ask, opener, &key, &generated, &context);
                    assert_eq!(opened, generated.member("plaintext"), "a data key of {key}");
                    for plaintext in plaintexts {
                        let plaintext = STANDARD.encode(plaintext);
                        let body = json!({"plaintext": plaintext, "context": context}).to_string();
                        let sealed = ask(sealer, Request::put(&format!("/v1/key/encrypt/{key}"), body));
                        assert_eq!(open(&ask, opener, &key, &sealed, &context), plaintext, "a ciphertext of {key}");
                    }
                }
            }
        }
    }
    let list = || Request::get("/v1/key/list/");
    assert_eq!(ask(&ours, list()).json(), ask(&old, list()).json());
    assert_eq!(home.stored().len(), 6, "nothing but keys remains in the directory: {:?}", home.stored());

    // A restart reads from disk what the caches may have hidden.
    drop((ours, old));
    let (ours, old) = (Server::start(Kind::Ours, &home, &config), Server::start(Kind::GoKes, &home, &config));
    for key in home.stored() {
        let generated = ask(&ours, Request::put(&format!("/v1/key/generate/{key}"), "{}"));
        assert_eq!(open(&ask, &old, &key, &generated, ""), generated.member("plaintext"));
    }
}

fn open(
    ask: &impl Fn(&Server, Request) -> Response,
    server: &Server,
    key: &str,
    sealed: &Response,
    context: &str,
) -> String {
    let body = json!({"ciphertext": sealed.member("ciphertext"), "context": context}).to_string();
    ask(server, Request::put(&format!("/v1/key/decrypt/{key}"), body)).member("plaintext")
}

/// The official command line is the official Go client with a terminal: each of its calls, against both servers.
#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn the_old_command_line_works_with_ours() {
    let admin = Credential::from_seed(0);
    let member = Credential::from_seed(1);
    let start = |kind| {
        let home = Home::new();
        let policy = json!({"app": {"allow": ["/v1/key/create/app*", "/v1/status"], "deny": ["/v1/key/create/app-x*"], "identities": [member.identity()]}});
        let config = home.config(&format!("admin: {{identity: {}}}\npolicy: {policy}", admin.identity()));
        let server = Server::start(kind, &home, &config);
        (home, server)
    };
    let (ours, old) = (start(Kind::Ours), start(Kind::GoKes));

    let (key, member_key) = (Credential::api_key(0), Credential::api_key(1));
    let plaintext = STANDARD.encode(b"hello");
    let import = STANDARD.encode([5; 32]);
    let commands: &[(&str, &[&str])] = &[
        (&key, &["key", "create", "-k", "a1", "a2"]),
        (&key, &["key", "create", "-k", "a1"]),
        (&key, &["key", "create", "-k", "a b"]),
        (&key, &["key", "import", "-k", "imported", &import]),
        (&key, &["key", "ls", "-k"]),
        (&key, &["key", "ls", "-k", "a"]),
        (&key, &["key", "ls", "-k", "--json"]),
        (&key, &["ls", "-k"]),
        (&key, &["ls", "-k", "-i"]),
        (&key, &["ls", "-k", "-p"]),
        (&key, &["key", "rm", "-k", "a2"]),
        (&key, &["key", "rm", "-k", "a2"]),
        (&key, &["key", "encrypt", "-k", "nokey", &plaintext]),
        (&key, &["policy", "ls", "-k"]),
        (&key, &["policy", "show", "-k", "app"]),
        (&key, &["policy", "show", "-k", "nosuch"]),
        (&key, &["identity", "ls", "-k"]),
        (&key, &["identity", "info", "-k", member.identity()]),
        (&key, &["status", "-k", "--api", "--json"]),
        (&member_key, &["key", "create", "-k", "app-1"]),
        (&member_key, &["key", "create", "-k", "app-x1"]),
        (&member_key, &["key", "ls", "-k"]),
    ];
    for (key, arguments) in commands {
        let (our, their) = (run(&ours.1, key, arguments), run(&old.1, key, arguments));
        assert_eq!(timeless(&our), timeless(&their), "kes {}", arguments.join(" "));
    }

    // Calls whose output is random or a moment's: they succeed, and what one says the next one takes.
    let sealed = run(&ours.1, &key, &["key", "encrypt", "-k", "a1", &plaintext]);
    assert_eq!(sealed.0, Some(0), "{sealed:?}");
    let sealed: Value = serde_json::from_str(&sealed.1).expect("JSON when the output is no terminal");
    let opened =
        run(&ours.1, &key, &["key", "decrypt", "-k", "a1", sealed["ciphertext"].as_str().expect("a ciphertext")]);
    assert!(opened.0 == Some(0) && opened.1.contains(&STANDARD.encode(&plaintext)), "{opened:?}");
    for arguments in [
        &["key", "dek", "-k", "a1"][..],
        &["key", "info", "-k", "a1"],
        &["policy", "info", "-k", "app"],
        &["status", "-k"],
        &["status", "-k", "--short"],
    ] {
        let (our, their) = (run(&ours.1, &key, arguments), run(&old.1, &key, arguments));
        assert_eq!(
            (our.0, our.1.lines().count()),
            (their.0, their.1.lines().count()),
            "kes {}: {our:?} {their:?}",
            arguments.join(" ")
        );
    }
    let own = run(&ours.1, &member_key, &["identity", "info", "-k"]);
    assert!(
        own.0 == Some(0) && own.1.contains("app"),
        "a member may look at itself, which failed with the old server: {own:?}"
    );
}

/// The old command line against a server, with an API key: exit status and what it says.
fn run(server: &Server, key: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(peer("kes"))
        .args(arguments)
        .env("KES_SERVER", format!("https://{}", server.address()))
        .env("KES_API_KEY", key)
        .env("NO_COLOR", "1")
        .output()
        .expect("the old command line starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&server.address().to_string(), "ADDRESS");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A policy from the old server's file, and the same made over the API here: official clients see no difference, and are not disturbed
/// by what our answers say about it besides.
#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn the_old_command_line_reads_policies_that_were_made_over_the_api() {
    let (admin, member, key) = (Credential::from_seed(0), Credential::from_seed(1), Credential::api_key(0));
    let rules = json!({"allow": ["/v1/key/create/app*", "/v1/status"], "deny": ["/v1/key/create/app-x*"]});
    let start = |kind, policies: &str| {
        let home = Home::new();
        let server =
            Server::start(kind, &home, &home.config(&format!("admin: {{identity: {}}}{policies}", admin.identity())));
        (home, server)
    };
    let mut from_file = rules.clone();
    from_file["identities"] = json!([member.identity()]);
    let old = start(Kind::GoKes, &format!("\npolicy: {}", json!({"app": from_file})));
    let ours = start(Kind::Ours, "");
    for (target, body) in
        [("/v1/policy/write/app", rules), ("/v1/policy/assign/app", json!({"identity": member.identity()}))]
    {
        let request = Request::new("POST", target).body(kes_tests::Body::Sized(body.to_string().into_bytes()));
        let mut connection = Connection::open(ours.1.address(), &Client::new(&admin)).expect("the server answers");
        assert_eq!(connection.exchange(&request).expect("a response").status, 200);
    }
    for arguments in [
        &["policy", "ls", "-k"][..],
        &["policy", "ls", "-k", "--json"],
        &["policy", "show", "-k", "app"],
        &["policy", "info", "-k", "app"],
        &["policy", "info", "-k", "--json", "app"],
        &["identity", "ls", "-k"],
        &["identity", "ls", "-k", "--json"],
        &["identity", "info", "-k", member.identity()],
        &["ls", "-k", "-p"],
        &["ls", "-k", "-i"],
    ] {
        let (our, their) = (run(&ours.1, &key, arguments), run(&old.1, &key, arguments));
        assert_eq!(our.0, Some(0), "kes {}: {our:?}", arguments.join(" "));
        assert_eq!(timeless(&our), timeless(&their), "kes {}", arguments.join(" "));
    }
    let member_key = Credential::api_key(1);
    for name in ["app-1", "app-x1", "other"] {
        let arguments = ["key", "create", "-k", name];
        assert_eq!(timeless(&run(&ours.1, &member_key, &arguments)), timeless(&run(&old.1, &member_key, &arguments)));
    }
}

/// The old server's streams delivered nothing; the old command line reads ours.
#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn the_old_command_line_follows_our_logs() {
    let admin = Credential::from_seed(0);
    let home = Home::new();
    let config = home.config(&format!("admin: {{identity: {}}}\nlog: {{error: off, audit: off}}", admin.identity()));
    let server = Server::start(Kind::Ours, &home, &config);
    home.write("keys/torn", "no key");
    for (stream, target) in [("--audit", "/v1/key/describe/absent"), ("--error", "/v1/key/describe/torn")] {
        let mut follower = Command::new(peer("kes"))
            .args(["log", "-k", "--json", stream])
            .env("KES_SERVER", format!("https://{}", server.address()))
            .env("KES_API_KEY", Credential::api_key(0))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the old command line starts");
        let output = BufReader::new(follower.stdout.take().expect("stdout is piped"));
        let (lines, printed) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        // It tells nobody when it has connected: events are made until it prints one.
        let line = (0..50).find_map(|_| {
            let mut connection = Connection::open(server.address(), &Client::new(&admin)).expect("the server answers");
            connection.exchange(&Request::get(target)).expect("a response");
            printed.recv_timeout(Duration::from_millis(200)).ok().filter(|line| line.contains(target))
        });
        follower.kill().and_then(|()| follower.wait()).expect("our own child ends");
        assert!(line.is_some(), "kes log {stream} prints nothing about {target}");
    }
}

/// Without times of day, and JSON as values with their volatile members emptied.
fn timeless((code, stdout, stderr): &(Option<i32>, String, String)) -> (Option<i32>, Vec<String>, String) {
    let time = regex_lite::Regex::new(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*").expect("a pattern");
    let lines = stdout.lines().map(|line| match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            for member in [
                "version",
                "uptime",
                "mem_heap_used",
                "mem_stack_used",
                "num_cpu_used",
                "keystore_latency",
                "created_at",
            ] {
                if value.get(member).is_some() {
                    value[member] = json!("");
                }
            }
            if let Some(routes) = value.as_array_mut() {
                routes.sort_by_key(ToString::to_string);
            }
            value.to_string()
        }
        Err(_) => time.replace_all(line, "<time>").trim_end().to_owned(),
    });
    (*code, lines.collect(), stderr.trim_end().to_owned())
}
