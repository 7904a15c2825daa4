//! What happens when something breaks: the server is killed, told to stop or to reload, and clients hang up, stall and misbehave.

use kes_tests::{Body, Client, Connection, Credential, Fault, Home, Kind, Recipe, Request, Server};
use rustix::process::Signal;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const IMPORT: &str = r#"{"key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","cipher":"AES256"}"#;

struct World {
    home: Home,
    admin: Credential,
}

impl World {
    fn new() -> Self {
        Self { home: Home::new(), admin: Credential::from_seed(0) }
    }
    fn config(&self, more: &str) -> String {
        self.home.config(&format!("admin: {{identity: {}}}\n{more}", self.admin.identity()))
    }
    fn start(&self, more: &str) -> Server {
        Server::start(Kind::Ours, &self.home, &self.config(more))
    }
    fn client(&self) -> Client {
        Client::new(&self.admin)
    }
    fn connect(&self, server: &Server) -> Connection {
        Connection::open(server.address(), &self.client()).expect("the server answers")
    }
}

fn status(connection: &mut Connection, request: &Request) -> u16 {
    connection.exchange(request).expect("a response").status
}

/// Whatever the instant of the kill: what was acknowledged is there, and what is there is whole.
#[test]
fn kill_nine_during_creates_loses_no_acknowledged_key_and_leaves_no_torn_one() {
    let world = World::new();
    let client = world.client();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    for round in 0..5 {
        let mut server = world.start("log: {error: off, audit: off}");
        let address = server.address();
        let (events, happened) = mpsc::channel();
        thread::scope(|scope| {
            for worker in 0..4 {
                let (events, client) = (events.clone(), &client);
                scope.spawn(move || {
                    let mut connection = Connection::open(address, client).expect("the server answers");
                    for number in 0.. {
                        let name = format!("r{round}-w{worker}-{number}");
                        let create = if number % 2 == 0 {
                            Request::new("PUT", &format!("/v1/key/create/{name}"))
                        } else {
                            Request::put(&format!("/v1/key/import/{name}"), IMPORT)
                        };
                        events.send((name.clone(), false)).expect("the test listens");
                        match connection.exchange(&create) {
                            Ok(response) => assert_eq!(response.status, 200, "{}", response.text()),
                            Err(_killed) => return,
                        }
                        events.send((name, true)).expect("the test listens");
                    }
                });
            }
            drop(events);
            let mut before = 0;
            for (name, done) in happened {
                if done {
                    acknowledged.push(name);
                    before += 1;
                } else {
                    asked.push(name);
                }
                if before == 20 + 7 * round {
                    server.signal(Signal::KILL);
                }
            }
        });
        server.wait(Duration::from_secs(5));
    }

    let server = world.start("log: {error: off, audit: off}");
    let mut connection = world.connect(&server);
    let listed: Vec<String> = serde_json::from_value(
        connection.exchange(&Request::get("/v1/key/list/")).expect("a list").json()["names"].clone(),
    )
    .expect("names");
    for name in &acknowledged {
        assert!(listed.contains(name), "{name} was acknowledged and is lost");
    }
    for name in &listed {
        assert!(asked.contains(name), "{name} was never asked for");
        let generated =
            connection.exchange(&Request::put(&format!("/v1/key/generate/{name}"), "{}")).expect("a response");
        assert_eq!(generated.status, 200, "{name} is torn: {}", generated.text());
    }
    for name in asked.iter().filter(|name| !listed.contains(name)) {
        assert_eq!(
            status(&mut connection, &Request::new("PUT", &format!("/v1/key/create/{name}"))),
            200,
            "what is not there can be made"
        );
    }
    assert!(acknowledged.len() >= 5 * 20);
}

#[test]
fn a_client_that_hangs_up_during_a_create_leaves_a_whole_key_or_none() {
    let world = World::new();
    let server = world.start("log: {error: off, audit: on}");
    let address = server.address().to_string();
    for number in 0..30 {
        let mut connection = world.connect(&server);
        connection
            .send(&Request::new("PUT", &format!("/v1/key/create/gone-{number}")).bytes(&address, "HTTP/1.1"))
            .expect("sent");
        connection.hang_up();
        let mut connection = world.connect(&server);
        let import = Request::put(&format!("/v1/key/import/half-{number}"), IMPORT).bytes(&address, "HTTP/1.1");
        connection.send(&import[..import.len() - 5]).expect("sent");
        connection.hang_up();
    }
    // Requests behind them show that the server has seen all of them.
    let mut connection = world.connect(&server);
    for number in 0..30 {
        assert_eq!(
            status(&mut connection, &Request::get(&format!("/v1/key/describe/half-{number}"))),
            404,
            "an unfinished body is no key"
        );
        let gone = Request::put(&format!("/v1/key/generate/gone-{number}"), "{}");
        let found = status(&mut connection, &gone);
        assert!(found == 200 || found == 404, "gone-{number}: {found}");
        if found == 200 {
            server.expect_stdout(&format!("/v1/key/create/gone-{number} ")); // nobody read the answer, but the audit log has it
        }
    }
    assert!(world.home.stored().iter().all(|name| name.starts_with("gone-")), "{:?}", world.home.stored());
}

#[test]
fn sigterm_finishes_what_is_under_way_and_ends_streams_cleanly() {
    let world = World::new();
    let mut server = world.start("log: {error: off, audit: off}");
    let address = server.address().to_string();
    let mut stream = world.connect(&server);
    stream.send(&Request::get("/v1/log/audit").bytes(&address, "HTTP/1.1")).expect("sent");
    assert_eq!(stream.read_head().expect("headers at once").status, 200);
    let mut idle = world.connect(&server);
    assert_eq!(status(&mut idle, &Request::get("/version")), 200);
    let mut under_way = world.connect(&server);
    let import = Request::put("/v1/key/import/late", IMPORT).bytes(&address, "HTTP/1.1");
    under_way.send(&import[..import.len() - 5]).expect("sent");
    // The server has read the head once it has answered somebody who came later.
    assert_eq!(status(&mut world.connect(&server), &Request::get("/version")), 200);

    server.signal(Signal::TERM);
    let refused = within(Duration::from_secs(5), || Connection::open(server.address(), &world.client()).is_err());
    assert!(refused, "a server that stops accepts nobody");
    while stream.read_chunk().expect("a clean end, not a cut").is_some() {}
    under_way.send(&import[import.len() - 5..]).expect("sent");
    assert_eq!(under_way.read(false).expect("a response").status, 200);
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    assert_eq!(world.home.stored(), ["late"]);
}

#[test]
fn sigint_ends_an_idle_server_at_once() {
    let world = World::new();
    let mut server = world.start("");
    let mut idle = world.connect(&server);
    assert_eq!(status(&mut idle, &Request::get("/version")), 200);
    let start = Instant::now();
    server.signal(Signal::INT);
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_reload_is_all_or_nothing_and_drops_no_request() {
    let world = World::new();
    let member = Credential::from_seed(1);
    let policy = |path: &str| {
        format!("policy: {{app: {{allow: [{path}], identities: [{}]}}}}\nkeys: [{{name: steady}}]", member.identity())
    };
    let server = world.start(&policy("/v1/status"));
    let may = |path: &str| {
        status(
            &mut Connection::open(server.address(), &Client::new(&member)).expect("the server answers"),
            &Request::get(path),
        )
    };
    assert_eq!((may("/v1/status"), may("/v1/ready")), (200, 403));

    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _worker in 0..3 {
            scope.spawn(|| {
                let mut connection = world.connect(&server);
                while !done.load(Ordering::Relaxed) {
                    let request = Request::put("/v1/key/generate/steady", "{}");
                    assert_eq!(connection.exchange(&request).expect("no request is dropped").status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = OnDrop(&done);
        let first = world.connect(&server).server_certificate();

        // A file with a mistake at its end: nothing of it is taken, not even the policy that is fine.
        server.rewrite_config(
            Kind::Ours,
            &world.home,
            &world.config(&format!("{}\ncache: {{expiry: {{any: -5m}}}}", policy("/v1/ready"))),
        );
        server.signal(Signal::HUP);
        server.expect_stderr("Failed to reload server config");
        assert_eq!((may("/v1/status"), may("/v1/ready")), (200, 403));

        // A good one, with another certificate: everything of it is taken.
        let certificate = Recipe::new("localhost").for_servers().names(&["localhost", "127.0.0.1"]).self_signed();
        world.home.write_credential("server", &certificate);
        server.rewrite_config(Kind::Ours, &world.home, &world.config(&policy("/v1/ready")));
        server.signal(Signal::HUP);
        server.expect_stdout("Reloading configuration after SIGHUP signal completed");
        assert_eq!((may("/v1/status"), may("/v1/ready")), (403, 200));
        let second = world.connect(&server).server_certificate();
        assert_ne!(first, second);
        assert_eq!(second.as_deref(), Some(certificate.chain()[0].as_ref()));

        // And many in a row.
        let before = served.load(Ordering::Relaxed);
        for _again in 0..20 {
            server.signal(Signal::HUP);
        }
        assert!(
            within(Duration::from_secs(10), || served.load(Ordering::Relaxed) > before + 200),
            "requests are served meanwhile"
        );
    });
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_body_that_stalls_is_answered_408() {
    let world = World::new();
    let server = world.start("api: {/v1/key/encrypt/: {timeout: 400ms}}\nkeys: [{name: k}]");
    let mut connection = world.connect(&server);
    let request = Request::put("/v1/key/encrypt/k", "{}").bytes("a", "HTTP/1.1");
    let stalled = String::from_utf8(request).expect("text").replace("Content-Length: 2", "Content-Length: 100");
    connection.send(stalled.as_bytes()).expect("sent");
    let answer = connection.read(false).expect("a response");
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.closes()),
        (408, "{\"message\":\"request timeout\"\n}", true)
    );
    assert_eq!(connection.read_to_end(), Ok(Vec::new()));
}

/// The old server took the bytes of an unread body for further requests, under the identity of the connection.
#[test]
fn an_unread_body_is_never_taken_for_a_request() {
    let world = World::new();
    let server = world.start("");
    let inner = "PUT /v1/key/create/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (method, target, expected) in [
        ("GET", "/version", 200),
        ("GET", "/foo", 404),
        ("PATCH", "/version", 405),
        ("PUT", "/v1/key/create/a%20b", 400),
    ] {
        // Larger than what is drained: answered, then closed.
        let mut connection = world.connect(&server);
        let large = Request::new(method, target).body(Body::Sized(inner.repeat(8_000).into()));
        let answer = connection.exchange(&large).expect("a response");
        assert_eq!((answer.status, answer.closes()), (expected, true), "{method} {target}");
        let rest = connection.read_to_end().unwrap_or_default();
        assert!(rest.is_empty(), "{method} {target}: more than one answer: {}", String::from_utf8_lossy(&rest));

        // Small: drained, and the connection lives.
        for body in [
            Body::Sized(inner.repeat(3).into()),
            Body::Unsized(inner.repeat(3).into()),
            Body::Sized(vec![b'x'; 200_000]),
        ] {
            let mut connection = world.connect(&server);
            assert_eq!(
                status(&mut connection, &Request::new(method, target).body(body)),
                expected,
                "{method} {target}"
            );
            let next = connection.exchange(&Request::get("/v1/ready")).expect("the connection lives");
            assert_eq!((next.status, next.body.len()), (200, 0), "{method} {target}");
        }
    }
    assert_eq!(world.home.stored(), Vec::<String>::new());
}

#[test]
fn a_client_that_waits_for_100_is_not_left_waiting() {
    let world = World::new();
    let server = world.start("keys: [{name: k}]");
    let mut connection = world.connect(&server);
    let head = "PUT /v1/key/encrypt/k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    connection.send(head.as_bytes()).expect("sent");
    assert_eq!(connection.read_head().expect("an interim response").status, 100);
    connection.send(b"{}").expect("sent");
    assert_eq!(connection.read(false).expect("a response").status, 200);
    // A refusal comes at once, instead of the 100.
    let mut connection = world.connect(&server);
    connection.send(head.replace("/k ", "/a%20b ").as_bytes()).expect("sent");
    let answer = connection.read_head().expect("a response");
    assert!(answer.status == 400 || answer.status == 100, "{answer:?}");
}

/// Silent and slow clients are closed after their time, and serving others does not suffer from them.
#[test]
fn slow_clients_are_closed_and_harm_nobody() {
    let world = World::new();
    let server = world.start("limits: {handshake: 1s, header: 1s, idle: 1500ms}\nlog: {error: off, audit: off}");
    let silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(server.address()).expect("the server accepts")).collect();
    let mut trickling = world.connect(&server);
    trickling.send(b"GET /version HT").expect("sent");
    let mut second = world.connect(&server);
    assert_eq!(status(&mut second, &Request::get("/version")), 200);
    second.send(b"GET /ver").expect("sent");
    let mut idle = world.connect(&server);
    assert_eq!(status(&mut idle, &Request::get("/version")), 200);
    let mut unused = world.connect(&server);

    let start = Instant::now();
    assert_eq!(status(&mut world.connect(&server), &Request::get("/version")), 200);
    assert!(start.elapsed() < Duration::from_secs(2), "others are served: {:?}", start.elapsed());
    for (what, connection) in [
        ("a half request line", &mut trickling),
        ("a half second request", &mut second),
        ("idle", &mut idle),
        ("nothing sent", &mut unused),
    ] {
        let rest = connection.patience(Duration::from_secs(5)).read_to_end();
        assert_eq!(rest, Ok(Vec::new()), "{what}: closed without a word");
    }
    for mut socket in silent {
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit above zero");
        assert!(matches!(socket.read(&mut [0; 16]), Ok(0)), "no handshake: closed without a word");
    }
}

/// One byte at a time within a header: the time runs from its beginning, not from the last byte.
#[test]
fn a_header_in_drops_is_closed_too() {
    let world = World::new();
    let server = world.start("limits: {header: 800ms}\nlog: {error: off, audit: off}");
    let mut connection = world.connect(&server);
    connection.send(b"GET /version HTTP/1.1\r\nHost: a\r\nX: ").expect("sent");
    connection.patience(Duration::from_millis(50));
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < Duration::from_secs(5), "still open after {:?}", start.elapsed());
        if connection.send(b"x").is_err() {
            return;
        }
        match connection.read_to_end() {
            Err(Fault::Timeout) => {} // the pace of the drops
            _ => return,
        }
    }
}

/// Garbage of all kinds on the port: the server goes on.
#[test]
fn garbage_on_the_port_leaves_the_server_alive() {
    let world = World::new();
    let server = world.start("log: {error: on, audit: off}");
    let record = |kind: u8, body: &[u8]| [&[kind, 3, 3, 0, body.len() as u8], body].concat();
    let pieces: Vec<Vec<u8>> = vec![
        vec![0; 100],
        vec![0xff; 3000],
        vec![0x16],
        record(0x16, &[1, 0, 0, 200]),
        record(0x16, &[0xff; 60]),
        record(0x15, &[2, 40]),
        record(0x17, &[1; 30]),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\xff\xff".to_vec(),
    ];
    for bytes in &pieces {
        raw(server.address(), bytes);
    }
    // And the same inside TLS, for both protocols.
    for protocol in ["h2", "http/1.1"] {
        for bytes in &pieces {
            let client = Client::with(Some(&world.admin), &[protocol], kes_tests::Versions::Both);
            let mut connection = Connection::open(server.address(), &client).expect("the server answers");
            connection.send(bytes).expect("sent");
            connection.hang_up();
        }
    }
    assert_eq!(status(&mut world.connect(&server), &Request::get("/v1/status")), 200);
    assert!(!server.stderr().contains("panic"), "{}", server.stderr());
}

/// A stored file that is no key, a folder and a name that is none hide no other key from the list.
#[test]
fn foreign_files_in_the_store_block_nothing() {
    let world = World::new();
    let server = world.start("log: {error: on, audit: off}\nkeys: [{name: good}]");
    world.home.write("keys/torn", "CiQKIN");
    world.home.write("keys/empty", "");
    world.home.write("keys/.hidden", "x");
    world.home.write("keys/with.dot", "x");
    std::fs::create_dir(world.home.path().join("keys/folder")).expect("a folder");
    let mut connection = world.connect(&server);
    let names = connection.exchange(&Request::get("/v1/key/list/")).expect("a list").json()["names"].clone();
    let names: Vec<String> = serde_json::from_value(names).expect("names");
    assert!(names.contains(&"good".into()) && !names.iter().any(|name| name.contains('.')), "{names:?}");
    for name in ["torn", "empty"] {
        let answer = connection.exchange(&Request::get(&format!("/v1/key/describe/{name}"))).expect("a response");
        assert_eq!((answer.status, answer.member("message").as_str()), (502, "failed to read key"));
        server.expect_stderr(name); // the operator learns which file it is
    }
    assert_eq!(json!(status(&mut connection, &Request::get("/v1/key/describe/good"))), json!(200));
}

fn raw(address: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit above zero");
    // The server may close at any byte.
    let _ = socket.write_all(bytes);
    let _ = socket.read(&mut [0; 256]);
}

/// Tries until it is so, for at most that long.
fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if condition() {
            return true;
        }
        thread::yield_now();
    }
    false
}
