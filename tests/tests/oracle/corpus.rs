//! The corpus: requests generated from routes, callers, names, bodies, methods and HTTP versions.

use crate::lists::{BODIES, IMPORTS, METHODS, NAMES, RAW, TARGETS};
use kes_tests::{Body, Request};
use serde_json::Value;
use std::collections::BTreeSet;

/// How a request travels.
pub(crate) enum Wire {
    /// HTTP/1 with this version in its request line.
    Http1(Request, &'static str),
    /// HTTP/2.
    Http2(Request),
    /// HTTP/1.1, of which only the head and an error are read: the answer may never end.
    Stream(Request),
    /// These bytes; only the status and whether the connection closes are compared.
    Raw(Vec<u8>),
}

/// One request of the corpus.
pub(crate) struct Entry {
    /// Unique, and what the list of differences refers to: `server client METHOD target [body] [version]`.
    pub(crate) id: String,
    /// `main`, `skip` or `verify`.
    pub(crate) server: &'static str,
    /// Who asks: a name of `World::clients`, or `none`.
    pub(crate) client: &'static str,
    /// The request.
    pub(crate) wire: Wire,
}

/// A route: its method, its path up to the name, and what its name is.
struct Route {
    method: &'static str,
    path: &'static str,
    /// A name that succeeds; `None` for routes without name.
    good: Option<&'static str>,
    /// For routes with a body: the member whose value is bytes, and a body that succeeds.
    body: Option<(&'static str, &'static str)>,
}

const fn plain(path: &'static str) -> Route {
    Route { method: "GET", path, good: None, body: None }
}
const fn named(method: &'static str, path: &'static str, good: &'static str) -> Route {
    Route { method, path, good: Some(good), body: None }
}
const fn bodied(path: &'static str, member: &'static str, body: &'static str) -> Route {
    Route { method: "PUT", path, good: Some("pbkey"), body: Some((member, body)) }
}

/// A ciphertext of the stored key `pbkey`, under the empty context, made by the old server.
const CIPHERTEXT: &str = "{{ciphertext}}";
const IMPORT: &str = r#"{"key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","cipher":"AES256"}"#;

const ROUTES: &[Route] = &[
    plain("/version"),
    plain("/v1/ready"),
    plain("/v1/status"),
    plain("/v1/metrics"),
    plain("/v1/api"),
    named("PUT", "/v1/key/create/", "pbkey"),
    bodied("/v1/key/import/", "key", IMPORT),
    named("GET", "/v1/key/describe/", "pbkey"),
    named("GET", "/v1/key/list/", "pb"),
    named("DELETE", "/v1/key/delete/", "absent"),
    bodied("/v1/key/generate/", "context", r#"{"context":"e30="}"#),
    bodied("/v1/key/encrypt/", "plaintext", r#"{"plaintext":"aGVsbG8="}"#),
    bodied("/v1/key/decrypt/", "ciphertext", CIPHERTEXT),
    bodied("/v1/key/hmac/", "message", r#"{"message":"aGVsbG8="}"#),
    named("GET", "/v1/policy/describe/", "app"),
    named("GET", "/v1/policy/read/", "rules"),
    named("GET", "/v1/policy/list/", "a"),
    named("GET", "/v1/identity/describe/", "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23"),
    named("GET", "/v1/identity/list/", "339e"),
    plain("/v1/identity/self/describe"),
];
const STREAMS: &[&str] = &["/v1/log/error", "/v1/log/audit"];

/// Files that lie in the store before the servers start.
pub(crate) fn stored_keys() -> Vec<(String, String)> {
    let http: Value = serde_json::from_str(include_str!("../../vectors/http/http.json")).expect("the vectors are JSON");
    let keys: Value = serde_json::from_str(include_str!("../../../crates/kes-crypto/tests/vectors/key-versions.json"))
        .expect("the vectors are JSON");
    let chacha = keys["vectors"]
        .as_array()
        .expect("vectors")
        .iter()
        .find(|vector| vector["id"] == "pb-chacha")
        .expect("a ChaCha20 key");
    let mut files: Vec<(String, String)> = http["servers"]["main"]["store_files"]
        .as_object()
        .expect("store files")
        .iter()
        .map(|(name, content)| (name.clone(), content.as_str().expect("a text").to_owned()))
        .collect();
    let pbkey = files.iter().find(|(name, _)| name == "pbkey").expect("pbkey").1.clone();
    files.push(("chacha".into(), chacha["encoded"].as_str().expect("a text").to_owned()));
    files.push(("empty".into(), String::new()));
    files.push(("torn".into(), pbkey[..100].to_owned()));
    files.push(("secret1".into(), pbkey.clone()));
    files.extend((1..=3).map(|i| (format!("my-{i}"), pbkey.clone())));
    files.extend((0..90).map(|i| (format!("doomed-{i}"), pbkey.clone())));
    files
}

/// All requests, in the order in which both servers get them.
pub(crate) fn entries() -> Vec<Entry> {
    let mut list = List::default();
    list.callers();
    list.methods();
    list.names();
    list.bodies();
    list.targets();
    list.versions();
    for (what, bytes) in RAW {
        list.push("main", "admin", what, Wire::Raw(bytes.as_bytes().to_vec()));
    }
    let mut many = String::from("GET /version HTTP/1.1\r\nHost: a\r\n");
    (0..120).for_each(|i| many += &format!("X-{i}: {i}\r\n"));
    list.push("main", "admin", "120 headers", Wire::Raw(format!("{many}\r\n").into_bytes()));
    let large = format!("GET /version HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1_060_000));
    list.push("main", "admin", "a header of 1 MiB and more", Wire::Raw(large.into_bytes()));
    let long = format!("GET /version?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(60_000));
    list.push("main", "admin", "a target of 60 kB", Wire::Raw(long.into_bytes()));
    let longer = format!("GET /version?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    list.push("main", "admin", "a target of 70 kB", Wire::Raw(longer.into_bytes()));
    let mut ids = BTreeSet::new();
    list.entries.iter().for_each(|entry| assert!(ids.insert(&entry.id), "{} stands twice in the corpus", entry.id));
    list.entries
}

#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    doomed: usize,
}

impl List {
    fn push(&mut self, server: &'static str, client: &'static str, what: &str, wire: Wire) {
        let id = format!("{server} {client} {what}");
        self.entries.push(Entry { id, server, client, wire });
    }

    fn request(&mut self, server: &'static str, client: &'static str, request: Request, note: &str) {
        let what = format!("{} {}{note}", request.method, request.target);
        self.push(server, client, what.trim_end(), Wire::Http1(request, "HTTP/1.1"));
    }

    /// Every route for every kind of caller.
    fn callers(&mut self) {
        let main = [
            "none",
            "admin",
            "app",
            "rules",
            "unknown",
            "expired",
            "two",
            "authority",
            "leaf-and-authority",
            "authority-first",
        ];
        let kinds = main.map(|client| ("main", client)).into_iter();
        let kinds = kinds.chain(["none", "unknown", "two", "authority", "app"].map(|client| ("skip", client)));
        let kinds =
            kinds.chain(["none", "admin", "unknown", "signed", "signed-expired"].map(|client| ("verify", client)));
        for (server, client) in kinds {
            for route in ROUTES {
                self.request(server, client, good(route), "");
            }
            for target in STREAMS {
                self.push(server, client, &format!("GET {target}"), Wire::Stream(Request::get(target)));
            }
        }
        for target in [
            "/v1/key/describe/secret1",
            "/v1/key/describe/my-1",
            "/v1/key/list/my",
            "/v1/key/list/my-*",
            "/v1/key/list/m",
            "/v1/policy/read/app",
            "/v1/policy/describe/app",
        ] {
            self.request("main", "rules", Request::get(target), " by rule");
        }
        self.request("main", "rules", Request::put("/v1/key/generate/my-1", "{}"), " by rule");
        self.request("main", "rules", Request::put("/v1/key/generate/my-%2e%2e", "{}"), " by rule");
    }

    /// Every route with every method, for somebody who may and somebody who may not.
    fn methods(&mut self) {
        for route in ROUTES {
            for method in METHODS {
                let mut request = good(route);
                (request.method, request.body) = ((*method).to_owned(), Body::None);
                self.request("main", "admin", request, " by method");
            }
            let mut request = good(route);
            request.method = "PATCH".into();
            self.request("main", "unknown", request, " by method");
        }
        for target in STREAMS {
            for method in METHODS.iter().filter(|method| **method != "GET") {
                self.request("main", "admin", Request::new(method, target), " by method");
            }
        }
    }

    /// Every route with a name, with every name.
    fn names(&mut self) {
        for route in ROUTES.iter().filter(|route| route.good.is_some()) {
            for name in NAMES {
                let name = match (route.path, *name) {
                    // What is deleted must not be missed by what follows: other keys stand in for those that it needs.
                    ("/v1/key/delete/", "pbkey" | "pbkey?" | "pbkey?x=y" | "%70bkey") => {
                        name.replace("pbkey", &self.doom()).replace("%70bkey", &self.doom())
                    }
                    ("/v1/key/delete/", "legacy" | "legacych" | "chacha" | "broken") => continue,
                    _ => (*name).to_owned(),
                };
                let mut request = good(route);
                request.target = format!("{}{name}", route.path);
                self.request("main", "admin", request, " by name");
            }
            for name in ["nokey", "a%20b", "pbkey", ""] {
                let mut request = good(route);
                request.target = format!("{}{name}", route.path);
                self.request("main", "unknown", request, " by name");
            }
        }
        for name in ["fresh-1", "fresh-2"] {
            for _again in 0..2 {
                let count = self.entries.len();
                self.request(
                    "main",
                    "app",
                    Request::new("POST", &format!("/v1/key/create/{name}")),
                    &format!(" #{count}"),
                );
            }
            self.request("main", "app", Request::get(&format!("/v1/key/describe/{name}")), " after create");
            self.request("main", "app", Request::new("DELETE", &format!("/v1/key/delete/{name}")), " after create");
            self.request("main", "app", Request::get(&format!("/v1/key/describe/{name}")), " after delete");
        }
    }

    /// Every route with a body, with every body; each over HTTP/1.1 with length and chunked, and over HTTP/2.
    fn bodies(&mut self) {
        for route in ROUTES {
            let Some((member, _)) = route.body else { continue };
            let own = IMPORTS.iter().filter(|_| member == "key").map(ToString::to_string);
            let filled = |body: &&str| body.replace('M', member).replace('U', &member.to_uppercase());
            for (number, body) in own.chain(BODIES.iter().map(filled)).enumerate() {
                let shown = body.replace('\n', "⏎");
                let forms =
                    [("sized", Body::Sized(body.clone().into())), ("chunked", Body::Unsized(body.clone().into()))];
                for (form, body) in forms {
                    for version in ["HTTP/1.1", "HTTP/2"] {
                        let name = if member == "key" {
                            format!("i{number}-{form}-{}", version.len())
                        } else {
                            "pbkey".to_owned()
                        };
                        let request = Request::new("PUT", &format!("{}{name}", route.path)).body(body.clone());
                        let what = format!("PUT {}{name} {version} {form} {shown}", route.path);
                        let wire =
                            if version == "HTTP/2" { Wire::Http2(request) } else { Wire::Http1(request, version) };
                        self.push("main", "admin", &what, wire);
                    }
                }
            }
            for name in ["legacy", "legacych", "chacha", "broken", &format!("absent-{member}")] {
                let mut request = good(route);
                request.target = format!("{}{name}", route.path);
                self.request("main", "app", request, " with body");
            }
        }
        for (what, size) in [("249996 groups", 249_996), ("249997 groups", 249_997), ("300000 groups", 300_000)] {
            let body = format!("{{\"plaintext\":\"{}\"}}", "AAAA".repeat(size));
            self.request("main", "admin", Request::put("/v1/key/encrypt/pbkey", body), &format!(" of {what}"));
        }
        // A body where none belongs: small ones only, larger ones break the old server's connection.
        for (method, path) in [
            ("GET", "/version"),
            ("GET", "/v1/key/describe/pbkey"),
            ("PUT", "/v1/key/create/with-body"),
            ("GET", "/foo"),
            ("PATCH", "/version"),
        ] {
            self.request(
                "main",
                "admin",
                Request::new(method, path).body(Body::Sized(b"hello".to_vec())),
                " with a body",
            );
        }
    }

    fn targets(&mut self) {
        for target in TARGETS {
            for (client, method) in [("admin", "GET"), ("unknown", "GET"), ("admin", "POST"), ("admin", "DELETE")] {
                self.request("main", client, Request::new(method, target), " by target");
            }
        }
    }

    /// Every route over HTTP/2 and HTTP/1.0, and with headers that must not matter.
    fn versions(&mut self) {
        for route in ROUTES {
            for client in ["admin", "unknown", "none"] {
                let what = format!("{} {}{} HTTP/2", route.method, route.path, route.good.unwrap_or_default());
                self.push("main", client, &what, Wire::Http2(good(route)));
                self.push("main", client, &what.replace("HTTP/2", "HTTP/1.0"), Wire::Http1(good(route), "HTTP/1.0"));
            }
            for (name, value) in [
                ("Content-Type", "text/plain"),
                ("Content-Encoding", "gzip"),
                ("Accept", "application/x-nothing"),
                ("Accept-Encoding", "gzip"),
                ("Kes-Enclave", "other"),
                ("Host", "evil.example:1"),
                ("Authorization", "Bearer x"),
                ("X-Tls-Client-Cert", "nonsense"),
                ("X-Forwarded-For", "192.0.2.1"),
                ("Connection", "close"),
            ] {
                let mut request = good(route);
                request.headers.push((name.into(), value.into()));
                self.request("main", "admin", request, &format!(" with {name}"));
            }
        }
    }

    fn doom(&mut self) -> String {
        self.doomed += 1;
        format!("doomed-{}", self.doomed)
    }
}

/// The request that succeeds for the administrator.
fn good(route: &Route) -> Request {
    let request = Request::new(route.method, &format!("{}{}", route.path, route.good.unwrap_or_default()));
    match route.body {
        None => request,
        Some((_, body)) => request.body(Body::Sized(body.replace(CIPHERTEXT, &ciphertext()).into())),
    }
}

/// A request body with a ciphertext that decrypts under the stored key `pbkey`.
fn ciphertext() -> String {
    include_str!("../../vectors/oracle/decrypt-pbkey.json").trim().to_owned()
}
