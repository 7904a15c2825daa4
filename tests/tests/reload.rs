//! Reloads of a running server: by SIGHUP, by a changed file, by a swapped link; all of it or nothing, and no request lost.

use kes_tests::{
    Binary, Client, Connection, Credential, Home, Http2, Kind, Recipe, Request, Response, Server, Versions,
    free_address,
};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const BY_SIGNAL: &str = "=> Reloading configuration after SIGHUP signal completed.";
const BY_CHANGE: &str = "=> Reloading the changed configuration completed.";

fn admin() -> Credential {
    Credential::from_seed(0)
}

fn member() -> Credential {
    Credential::from_seed(1)
}

fn ask(server: &Server, client: &Client, target: &str) -> Response {
    let mut connection = Connection::open(server.address(), client).expect("the server answers");
    connection.exchange(&Request::get(target)).expect("a response")
}

fn create(server: &Server, name: &str) {
    let mut connection = Connection::open(server.address(), &Client::new(&admin())).expect("the server answers");
    let answer = connection.exchange(&Request::new("PUT", &format!("/v1/key/create/{name}"))).expect("a response");
    assert_eq!(answer.status, 200);
}

/// The value of a metric without labels in the operator's view.
fn metric(server: &Server, name: &str) -> u64 {
    let page = ask(server, &Client::new(&admin()), "/v1/metrics?view=full").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().expect("a whole number")
}

/// One of two configurations that differ in everything that a request can notice: admin, policy, store.
fn side(home: &Home, left: bool) -> String {
    let folder = home.path().display();
    let (policy, keys, rule) =
        if left { ("left", "left-keys", "/v1/key/describe/*") } else { ("right", "right-keys", "/v1/key/*") };
    format!(
        "version: v1\naddress: {{{{address}}}}\nadmin: {{identity: {admin}}}\ntls: {{key: {folder}/server.key, cert: {folder}/server.crt}}\n\
         keystore: {{fs: {{path: {folder}/{keys}}}}}\npolicy: {{{policy}: {{allow: [{rule}], identities: [{member}]}}}}\n\
         log: {{audit: off}}\nkeys: [{{name: in-{policy}}}]\n",
        admin = admin().identity(),
        member = member().identity(),
    )
}

/// Answers that are all of one side, whichever.
fn check(responses: &[Response]) {
    for response in responses {
        assert_eq!(response.status, 200, "{}", response.text());
        let text = response.text();
        if text.contains("\"policy\"") {
            let (left, right) = (text.contains("\"policy\":\"left\""), text.contains("\"policy\":\"right\""));
            let rule = text.contains("\"allow\":{\"/v1/key/describe/*\":{}}");
            assert!(left != right && left == rule, "two states in one answer: {text}");
        }
    }
}

#[test]
fn no_request_is_lost_or_answered_from_two_states_under_load() {
    let home = Home::new();
    let server = Server::start(Kind::Ours, &home, &side(&home, true));
    create(&server, "shared");
    // The same key is in both stores, as after a move from one to the other.
    fs::create_dir_all(home.path().join("right-keys")).expect("a folder");
    fs::copy(home.path().join("left-keys/shared"), home.path().join("right-keys/shared")).expect("a copied key");

    let requests = || [Request::get("/v1/identity/self/describe"), Request::get("/v1/key/describe/shared")];
    let done = AtomicBool::new(false);
    let (served, address) = (AtomicUsize::new(0), server.address());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(address, &Client::new(&member())).expect("a connection");
                while !done.load(Ordering::Relaxed) {
                    for request in requests() {
                        check(&[connection.exchange(&request).expect("a response on the same connection")]);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let client = Client::with(Some(&member()), &["h2"], Versions::Both);
                let connection = Http2::open(address, &client).expect("a connection");
                let batch: Vec<Request> = (0..4).flat_map(|_| requests()).collect();
                while !done.load(Ordering::Relaxed) {
                    check(&connection.exchange(&batch).expect("responses on the same connection"));
                    served.fetch_add(batch.len(), Ordering::Relaxed);
                }
            });
        }
        // New connections all the while.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut connection = Connection::open(address, &Client::new(&member())).expect("a connection");
                check(&[connection.exchange(&requests()[1]).expect("a response")]);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let finish = OnDrop(&done);
        for round in 1..=20 {
            let before = served.load(Ordering::Relaxed);
            server.rewrite_config(Kind::Ours, &home, &side(&home, round % 2 == 0));
            server.signal(Signal::HUP);
            server.expect_stdout_times(BY_SIGNAL, round);
            while served.load(Ordering::Relaxed) < before + 20 {
                std::thread::yield_now();
            }
        }
        server.rewrite_config(Kind::Ours, &home, &side(&home, false));
        server.expect_stdout_times(BY_CHANGE, 1);
        drop(finish);
    });
    assert!(served.load(Ordering::Relaxed) > 400);
    assert_eq!(metric(&server, "kes_reload_failures_total"), 0);
    assert_eq!(
        home_names(&home, "left-keys"),
        ["in-left", "shared"],
        "keys of the file are made in the store of the file"
    );
    assert_eq!(home_names(&home, "right-keys"), ["in-right", "shared"]);
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn home_names(home: &Home, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(home.path().join(folder)).expect("the folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_section_is_taken_up() {
    let home = Home::new();
    let server = Server::start(Kind::Ours, &home, &side(&home, true));
    let probes = free_address();
    let certificate = Recipe::new("localhost").for_servers().names(&["localhost", "127.0.0.1"]).self_signed();
    home.write_credential("second", &certificate);
    let folder = home.path().display();
    let config = format!(
        "version: v1\naddress: 127.0.0.1:1\nadmin: {{identity: {}}}\ntls: {{key: {folder}/second.key, cert: {folder}/second.crt}}\n\
         keystore: {{fs: {{path: {folder}/elsewhere}}}}\npolicy: {{}}\nkeys: [{{name: another}}]\n\
         api: {{/v1/ready: {{skip_auth: on}}, /v1/status: {{timeout: 7s}}}}\ncache: {{expiry: {{any: 1m}}}}\n\
         limits: {{connections: 5, rate: 1000}}\nprobe: {{address: '{probes}'}}\n\
         log: {{format: json, error: debug, audit: off, audit_file: {{path: {folder}/audit.log, sync: always}}}}\n",
        Credential::from_seed(2).identity()
    );
    server.rewrite_config(Kind::Ours, &home, &config);
    server.signal(Signal::HUP);
    server.expect_stderr("Reloading configuration after SIGHUP signal completed.");
    server.expect_stderr("'address' changed to 127.0.0.1:1: the old one stays until a restart");

    let new_admin = Client::new(&Credential::from_seed(2));
    let status = |client: &Client, target: &str| ask(&server, client, target).status;
    assert_eq!(status(&Client::new(&admin()), "/v1/status"), 403, "admin");
    assert_eq!(status(&new_admin, "/v1/key/describe/another"), 200, "keys, keystore");
    assert_eq!(status(&new_admin, "/v1/key/describe/in-left"), 404, "keystore");
    assert_eq!(status(&Client::new(&member()), "/v1/key/describe/another"), 403, "policy");
    assert_eq!(status(&Client::anonymous(), "/v1/ready"), 200, "api and the handshake");
    assert!(
        ask(&server, &new_admin, "/v1/api").text().contains("\"path\":\"/v1/status\",\"max_body\":0,\"timeout\":7")
    );
    let shown = Connection::open(server.address(), &new_admin).expect("a connection").server_certificate();
    assert_eq!(shown.as_deref(), Some(certificate.chain()[0].as_ref()), "tls");
    let page = ask(&server, &new_admin, "/v1/metrics?view=full").text();
    assert!(page.contains("\nkes_connections_limit 5\n"), "{page}");
    let mut probe = std::net::TcpStream::connect(probes).expect("probe.address");
    std::io::Write::write_all(&mut probe, b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let answer = std::io::read_to_string(&mut probe).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // The last request is in the file, as JSON, when the server has ended.
    let mut server = server;
    server.signal(Signal::TERM);
    assert!(server.wait(std::time::Duration::from_secs(20)).success());
    let audit = fs::read_to_string(home.path().join("audit.log")).expect("the audit file");
    let records: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).expect("a JSON record")).collect();
    assert_eq!(records.len(), 7, "{audit}");
    assert!(records.iter().any(|record| record["request"]["path"] == "/v1/ready" && record["response"]["code"] == 200));
    let stderr = server.stderr();
    let since = stderr.find("\"msg\":\"Reloading configuration after SIGHUP").expect("the banner, as JSON");
    for line in stderr[since..].lines().skip(1) {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    }
}

/// From a plain directory to a sealed one, and on to another sealing key in the same file, as an operator who moves a key does.
#[test]
fn a_seal_and_a_new_sealing_key_are_taken_up() {
    let home = Home::new();
    let plain = home.config(&format!("admin: {{identity: {}}}", admin().identity()));
    let server = Server::start(Kind::Ours, &home, &plain);
    create(&server, "before");
    home.write("seal.key", "ab".repeat(32));
    home.write("next.key", "cd".repeat(32));
    let folder = home.path().display();
    let sealed = plain.replace("keystore:", &format!("keystore:\n  seal: {{key_file: {folder}/seal.key}}"));
    let reload = |times| {
        server.rewrite_config(Kind::Ours, &home, &sealed);
        server.signal(Signal::HUP);
        server.expect_stdout_times(BY_SIGNAL, times);
    };
    reload(1);
    server.expect_stderr("the key store is sealed from now on");
    create(&server, "sealed");
    let stored = fs::read_to_string(home.path().join("keys/sealed")).expect("a key");
    assert!(stored.starts_with("kes-sealed:1:"), "{stored}");

    let kes = |arguments: &str| {
        let mut command = Command::new(Binary::Kes.path());
        command.args(arguments.split(' ')).args(["--config", "config.yml"]).current_dir(home.path());
        let output = command.output().expect("the command line starts");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    kes("seal add --key @next.key");
    fs::rename(home.path().join("next.key"), home.path().join("seal.key")).expect("exchanged");
    kes("seal rm 1");
    reload(2);
    create(&server, "after");
    for name in ["before", "sealed", "after"] {
        assert_eq!(ask(&server, &Client::new(&admin()), &format!("/v1/key/describe/{name}")).status, 200, "{name}");
    }
}

#[test]
fn a_reload_that_fails_changes_nothing_and_is_seen() {
    let home = Home::new();
    let server = Server::start(Kind::Ours, &home, &side(&home, true));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let good = side(&home, false);
    let folder = home.path().display().to_string();
    home.write("a-file", "");
    let broken = [
        ("not a configuration", "yaml".to_owned()),
        (&*good.replace("allow:", "alow:"), "alow".to_owned()),
        (&good.replace("server.crt", "none.crt"), format!("open {folder}/none.crt: no such file or directory")),
        (&good.replace("right-keys", "a-file"), "is not a directory".to_owned()),
        (&good.replace("in-right", "no.name"), "key name 'no.name'".to_owned()),
        (&good.replace("audit: off", "audit_file: {path: /nowhere/a.log}"), "cannot open the audit log".to_owned()),
        (
            &format!("{good}probe: {{address: '{}'}}", taken.local_addr().expect("bound")),
            "bind: address already in use".to_owned(),
        ),
    ]
    .map(|(text, why)| (text.to_owned(), why));
    let failures = broken.len() as u64;
    for (config, why) in broken {
        server.rewrite_config(Kind::Ours, &home, &config);
        server.signal(Signal::HUP);
        server.expect_stderr(&why);
        let answer = ask(&server, &Client::new(&member()), "/v1/identity/self/describe");
        assert_eq!(answer.member("policy"), "left", "nothing of it");
        assert_eq!(ask(&server, &Client::new(&member()), "/v1/key/describe/in-left").status, 200);
    }
    // The server may have looked at a file before it got the signal: then it has failed twice with that one.
    assert!(metric(&server, "kes_reload_failures_total") >= failures);
    assert_eq!(metric(&server, "kes_config_last_reload_successful"), 0);
    let status = ask(&server, &Client::new(&admin()), "/v1/status").json();
    assert!(status["reload_failures"].as_u64() >= Some(failures), "{status}");
    assert!(status["reload_failed_at"].is_string(), "{status}");

    server.rewrite_config(Kind::Ours, &home, &good);
    server.signal(Signal::HUP);
    server.expect_stdout(BY_SIGNAL);
    assert_eq!(metric(&server, "kes_config_last_reload_successful"), 1);
    let status = ask(&server, &Client::new(&admin()), "/v1/status").json();
    assert!(status["reload_failed_at"].is_null(), "{status}");
}

/// What Kubernetes does with a volume: files are links through `..data`, which is exchanged at once.
#[test]
fn a_swapped_link_is_a_changed_file() {
    let home = Home::new();
    let data = |version: &str| home.path().join(format!("..{version}"));
    fs::create_dir(data("v1")).expect("a folder");
    fs::write(data("v1").join("config.yml"), "").expect("a file");
    symlink("..v1", home.path().join("..data")).expect("a link");
    symlink("..data/config.yml", home.path().join("config.yml")).expect("a link");
    for name in ["server.crt", "server.key"] {
        fs::rename(home.path().join(name), data("v1").join(name)).expect("moved");
        symlink(format!("..data/{name}"), home.path().join(name)).expect("a link");
    }
    let server = Server::start(Kind::Ours, &home, &side(&home, true));
    let swap = |from: &str, to: &str| {
        symlink(format!("..{to}"), home.path().join("..data_tmp")).expect("a link");
        fs::rename(home.path().join("..data_tmp"), home.path().join("..data")).expect("swapped");
        fs::remove_dir_all(data(from)).expect("the old version goes");
    };
    let copy = |from: &str, to: &str| {
        fs::create_dir(data(to)).expect("a folder");
        for name in ["config.yml", "server.crt", "server.key"] {
            fs::copy(data(from).join(name), data(to).join(name)).expect("a copy");
        }
    };

    copy("v1", "v2");
    let config = side(&home, false).replace("{{address}}", &server.address().to_string());
    fs::write(data("v2").join("config.yml"), config).expect("a file");
    swap("v1", "v2");
    server.expect_stdout(BY_CHANGE);
    assert_eq!(ask(&server, &Client::new(&member()), "/v1/identity/self/describe").member("policy"), "right");

    copy("v2", "v3");
    let certificate = Recipe::new("localhost").for_servers().names(&["localhost"]).self_signed();
    fs::write(data("v3").join("server.crt"), certificate.certificate_pem()).expect("a file");
    fs::write(data("v3").join("server.key"), certificate.key_pem()).expect("a file");
    // Same inode numbers, lengths and times would be needed to miss it; the new configuration is a copy, so it counts.
    swap("v2", "v3");
    server.expect_stdout_times(BY_CHANGE, 2);
    let shown = Connection::open(server.address(), &Client::new(&admin())).expect("a connection").server_certificate();
    assert_eq!(shown.as_deref(), Some(certificate.chain()[0].as_ref()));
}

/// Certificates are renewed by tools that know nothing of the server, one file after the other.
#[test]
fn changed_certificate_files_change_nothing_else() {
    let home = Home::new();
    let server = Server::start(Kind::Ours, &home, &side(&home, true));
    let client = Client::new(&admin());
    let mut kept = Connection::open(server.address(), &client).expect("a connection");
    assert_eq!(kept.exchange(&Request::get("/v1/status")).expect("a response").status, 200);
    let certificate = Recipe::new("localhost").for_servers().names(&["localhost"]).self_signed();
    home.write("server.crt", certificate.certificate_pem());
    server.expect_stderr("Failed to reload TLS configuration: ");
    assert_eq!(metric(&server, "kes_config_last_reload_successful"), 0);
    home.write("server.key", certificate.key_pem());
    server.expect_stderr("TLS files changed: new connections get the new certificate");
    assert_eq!(metric(&server, "kes_config_last_reload_successful"), 1);
    let shown = Connection::open(server.address(), &client).expect("a connection").server_certificate();
    assert_eq!(shown.as_deref(), Some(certificate.chain()[0].as_ref()));
    assert_eq!(kept.exchange(&Request::get("/v1/status")).expect("the same connection goes on").status, 200);
    assert!(!server.stdout().contains(BY_CHANGE) && !server.stdout().contains(BY_SIGNAL));
}

#[test]
fn two_hundred_reloads_leave_nothing_behind() {
    let home = Home::new();
    let server = Server::start(Kind::Ours, &home, &side(&home, true));
    let mut reloads = 0;
    let mut reload = |times: usize| {
        for _ in 0..times {
            reloads += 1;
            let folder = home.path().display();
            let more = format!("audit: off, audit_file: {{path: {folder}/audit-{}.log}}", reloads % 2);
            let config = side(&home, reloads % 2 == 0).replace("audit: off", &more);
            server.rewrite_config(Kind::Ours, &home, &config);
            server.signal(Signal::HUP);
            server.expect_stdout_times(BY_SIGNAL, reloads);
            let name = if reloads % 2 == 0 { "in-left" } else { "in-right" };
            assert_eq!(ask(&server, &Client::new(&member()), &format!("/v1/key/describe/{name}")).status, 200);
        }
    };
    reload(40);
    let before = Usage::of(&server);
    reload(200);
    let after = Usage::of(&server);
    println!("200 reloads: {before:?} -> {after:?}");
    // The pool for file access comes and goes, and so do connections that are closing; a leak of one of anything for each
    // reload would be 200.
    assert!(after.files <= before.files + 50, "{before:?} -> {after:?}");
    assert!(after.threads <= before.threads + 8, "{before:?} -> {after:?}");
    // Under 5 KiB for each reload: less than a policy, a TLS configuration or a cache.
    assert!(after.kib <= before.kib + 1000, "{before:?} -> {after:?}");
}

#[derive(Debug)]
struct Usage {
    files: usize,
    threads: usize,
    kib: usize,
}

impl Usage {
    fn of(server: &Server) -> Self {
        let process = format!("/proc/{}", server.pid());
        let count = |name: &str| fs::read_dir(format!("{process}/{name}")).expect("our own child").count();
        let status = fs::read_to_string(format!("{process}/status")).expect("our own child");
        let rss = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it");
        let kib = rss.trim().trim_end_matches(" kB").parse().expect("a number");
        Self { files: count("fd"), threads: count("task"), kib }
    }
}
