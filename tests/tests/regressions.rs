//! What an independent comparison with the old server found once, kept from coming back.

use kes_tests::{Body, Client, Connection, Credential, Home, Kind, Request, Response, Server, Versions, h2};

const VERSION: &[u8] = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n";

struct Rig {
    _home: Home,
    server: Server,
    admin: Client,
    /// Known to the server, allowed nothing.
    stranger: Client,
}

impl Rig {
    fn start() -> Self {
        let admin = Credential::from_seed(0);
        let home = Home::new();
        let config = home.config(&format!("admin: {{identity: {}}}", admin.identity()));
        let server = Server::start(Kind::Ours, &home, &config);
        Self { _home: home, server, admin: Client::new(&admin), stranger: Client::new(&Credential::from_seed(1)) }
    }

    fn open(&self, client: &Client) -> Connection {
        Connection::open(self.server.address(), client).expect("a connection")
    }

    fn admin(&self, request: &Request) -> Response {
        self.open(&self.admin).exchange(request).expect("a response")
    }

    /// The answer to these bytes, and whether the connection goes on after it.
    fn raw(&self, client: &Client, bytes: &[u8]) -> (Response, bool) {
        let mut connection = self.open(client);
        // The server may answer and close before it has read everything.
        let _ = connection.send(bytes);
        let answer = connection.read(false).expect("a response");
        let goes_on = connection.send(VERSION).is_ok() && connection.read(false).is_ok_and(|next| next.status == 200);
        (answer, goes_on)
    }
}

fn sized(target: &str, length: usize) -> Vec<u8> {
    Request::new("PUT", target).body(Body::Sized(vec![b'x'; length])).bytes("x", "HTTP/1.1")
}

/// A client that pools its connections must be told that this one ends, not find out with its next request.
#[test]
fn a_connection_never_ends_behind_a_client_that_declared_its_body() {
    let rig = Rig::start();
    rig.admin(&Request::new("PUT", "/v1/key/create/k1"));
    for (length, expected) in [(1000, true), (262_144, true), (262_145, false), (900_000, false), (3_000_000, false)] {
        for (client, target, status) in [
            (&rig.stranger, "/v1/key/encrypt/k1", 403),
            (&rig.admin, "/v1/key/encrypt/k.1", 400),
            (&rig.admin, "/v1/status", 405),
            (&rig.admin, "/nowhere", 404),
        ] {
            let (answer, goes_on) = rig.raw(client, &sized(target, length));
            assert_eq!(answer.status, status, "{target} {length}");
            let announced = answer.header("connection") != Some("close");
            assert_eq!((announced, goes_on), (expected, expected), "{target} {length}");
        }
    }
}

#[test]
fn a_body_beyond_the_limit_ends_its_connection_and_one_within_does_not() {
    let rig = Rig::start();
    rig.admin(&Request::new("PUT", "/v1/key/create/k1"));
    let padded = |length: usize| {
        let mut body = b"{\"plaintext\":\"QUFB\"}".to_vec();
        body.resize(length, b' ');
        body
    };
    for (length, expected) in [(20, true), (999_999, true), (1_000_000, true), (1_000_001, false), (1_200_000, false)] {
        for body in [Body::Sized(padded(length)), Body::Unsized(padded(length))] {
            let is_sized = matches!(body, Body::Sized(_));
            let request = Request::new("PUT", "/v1/key/encrypt/k1").body(body).bytes("x", "HTTP/1.1");
            let (answer, goes_on) = rig.raw(&rig.admin, &request);
            assert_eq!((answer.status, goes_on), (200, expected), "{length}, declared: {is_sized}");
            assert_eq!(answer.header("connection"), (!expected).then_some("close"), "{length}, declared: {is_sized}");
        }
    }
}

#[test]
fn an_empty_expectation_expects_nothing() {
    let rig = Rig::start();
    for (value, status) in [("", 200), ("100-continue", 200), ("foo", 417)] {
        let request = format!("GET /version HTTP/1.1\r\nHost: x\r\nExpect: {value}\r\n\r\n");
        assert_eq!(rig.raw(&rig.admin, request.as_bytes()).0.status, status, "{value}");
    }
}

/// A coding that is not undone, or a second `chunked`, means that somebody in between may see another body.
#[test]
fn only_plain_chunked_is_a_transfer_coding() {
    let rig = Rig::start();
    rig.admin(&Request::new("PUT", "/v1/key/create/k1"));
    for (coding, status) in [
        ("chunked", 200),
        ("Chunked", 200),
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("chunked, chunked", 501),
        ("chunked\r\nTransfer-Encoding: chunked", 501),
    ] {
        let request = format!(
            "PUT /v1/key/generate/k1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        );
        let (answer, goes_on) = rig.raw(&rig.admin, request.as_bytes());
        assert_eq!((answer.status, goes_on), (status, status == 200), "{coding}");
    }
}

/// On HTTP/2 only a body of unknown length may be a lost one (http-api 3.9).
#[test]
fn a_body_that_was_declared_empty_is_no_body() {
    let rig = Rig::start();
    rig.admin(&Request::new("PUT", "/v1/key/create/k1"));
    let admin = Client::with(Some(&Credential::from_seed(0)), &["h2"], Versions::Both);
    let mut request = Request::new("PUT", "/v1/key/generate/k1").body(Body::Unsized(Vec::new()));
    assert_eq!(h2(rig.server.address(), &admin, &request).expect("a response").status, 400);
    request.headers.push(("content-length".into(), "0".into()));
    assert_eq!(h2(rig.server.address(), &admin, &request).expect("a response").status, 200);
}
