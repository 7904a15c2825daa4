//! The old server as oracle: what it wrote we read, what we wrote it reads, and what it answers we answer.
//!
//! Needs the Go KES (`peers/peers.sh install kes`); run with `cargo test -p kes-tests --test oracle -- --ignored`. A missing oracle fails
//! these tests. What can be installed is v0.24.0, 12 commits older than the HEAD that we are compatible with; its own differences carry
//! the reason "older" in `vectors/oracle/differences.json`.

mod corpus;
mod differences;
mod generations;
mod interop;
mod lists;
mod outcome;

use corpus::{Entry, Wire};
use differences::Differences;
use kes_tests::{
    Authority, Client, Connection, Credential, Fault, Home, Kind, Recipe, Request, Response, Server, Versions, h2,
};
use outcome::Outcome;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn requests_are_answered_alike() {
    let world = World::new();
    let entries = corpus::entries();
    let ours = world.servers(Kind::Ours);
    let theirs = world.servers(Kind::GoKes);
    assert!(entries.len() >= 400, "only {} requests", entries.len());

    let mut differences = Differences::read();
    let mut wrong = Vec::new();
    for entry in &entries {
        let (our, their) = (world.ask(&ours[entry.server], entry), world.ask(&theirs[entry.server], entry));
        if let Some(fault) = differences.judge(&entry.id, &our, &their) {
            wrong.push(fault);
        }
    }
    let names = |servers: &BTreeMap<&str, (Home, Server)>| servers["main"].0.stored();
    println!(
        "{} requests, {} answered alike, {} as the list of differences says",
        entries.len(),
        differences.alike(),
        differences.listed()
    );
    assert!(wrong.is_empty(), "{} of {} requests:\n{}", wrong.len(), entries.len(), wrong.join("\n"));
    let stale = differences.unused();
    assert!(stale.is_empty(), "differences that no request shows any more: {stale:#?}");
    assert_eq!(differences.without_ours_alone(names(&ours)), names(&theirs), "the same requests leave the same keys");
}

/// The clients and configurations of the corpus, the same for both servers.
struct World {
    clients: BTreeMap<&'static str, Credential>,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let authority = Authority::root("a root");
        let admin = Credential::from_seed(0);
        let own = Recipe::new("an authority").authority().self_signed();
        let leaf = || Recipe::new("a leaf").self_signed();
        let clients = BTreeMap::from([
            ("app", Credential::from_seed(1)),
            ("rules", Credential::from_seed(2)),
            ("unknown", Credential::from_seed(4)),
            ("expired", Recipe::new("expired").expired().self_signed()),
            ("two", leaf().followed_by(leaf().chain())),
            ("authority", own.clone()),
            ("leaf-and-authority", leaf().followed_by([authority.certificate()])),
            ("authority-first", own.followed_by(admin.chain())),
            ("signed", Recipe::new("signed").signed_by(&authority)),
            ("signed-expired", Recipe::new("signed, expired").expired().signed_by(&authority)),
            ("admin", admin),
        ]);
        Self { clients, authority }
    }

    fn servers(&self, kind: Kind) -> BTreeMap<&'static str, (Home, Server)> {
        let skip = json!({"/v1/ready": {"skip_auth": true}, "/v1/status": {"skip_auth": true, "timeout": "7500ms"}});
        [("main", "off", json!({})), ("skip", "off", skip), ("verify", "on", json!({}))]
            .map(|(name, auth, api)| (name, self.server(kind, auth, &api)))
            .into()
    }

    fn server(&self, kind: Kind, auth: &str, api: &Value) -> (Home, Server) {
        let home = Home::new();
        home.write_credential("ca", self.authority.credential());
        let identity = |name: &str| self.clients[name].identity().to_owned();
        let own = json!([
            "/v1/key/create/*",
            "/v1/key/generate/*",
            "/v1/key/decrypt/*",
            "/v1/key/encrypt/*",
            "/v1/key/import/*",
            "/v1/key/describe/*",
            "/v1/key/delete/*",
            "/v1/key/hmac/*",
            "/v1/key/list/*",
            "/v1/status",
            "/v1/ready"
        ]);
        let config = json!({
            "version": "v1", "address": "{{address}}", "admin": {"identity": identity("admin")}, "api": api,
            "tls": {"key": home.path().join("server.key"), "cert": home.path().join("server.crt"), "auth": auth, "ca": home.path().join("ca.crt")},
            "policy": {
                "app": {"allow": own, "identities": [identity("app"), identity("expired"), identity("signed"), identity("leaf-and-authority")]},
                "rules": {"allow": ["/v1/key/generate/my-*", "/v1/key/describe/*", "/v1/key/list/my*", "/v1/policy/*"],
                          "deny": ["/v1/key/describe/secret*", "/v1/policy/read/*"], "identities": [identity("rules")]},
                "empty": {},
            },
            "log": {"error": "off", "audit": "off"},
            "keystore": {"fs": {"path": home.path().join("keys")}},
        });
        for (name, content) in corpus::stored_keys() {
            home.write(&format!("keys/{name}"), content);
        }
        let server = Server::start(kind, &home, &config.to_string());
        (home, server)
    }

    fn client(&self, name: &str, protocol: &str) -> Client {
        let credential = (name != "none").then(|| &self.clients[name]);
        Client::with(credential, &[protocol], Versions::Both)
    }

    fn ask(&self, (_home, server): &(Home, Server), entry: &Entry) -> Outcome {
        let address = server.address();
        let there = |request: &Request| Request {
            target: request.target.replace("{{authority}}", &address.to_string()),
            ..request.clone()
        };
        let answer: Result<Response, Fault> = match &entry.wire {
            Wire::Http2(request) => h2(address, &self.client(entry.client, "h2"), request),
            Wire::Http1(request, version) => Connection::open(address, &self.client(entry.client, "http/1.1"))
                .and_then(|mut connection| connection.exchange_as(&there(request), version)),
            Wire::Stream(request) => {
                Connection::open(address, &self.client(entry.client, "http/1.1")).and_then(|mut connection| {
                    connection.patience(Duration::from_millis(700)).send(&request.bytes("localhost", "HTTP/1.1"))?;
                    let mut response = connection.read_head()?;
                    if response.status != 200 {
                        let length =
                            response.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
                        response.body = connection.read_exactly(length)?;
                    }
                    Ok(response)
                })
            }
            Wire::Raw(bytes) => {
                let answer =
                    Connection::open(address, &self.client(entry.client, "http/1.1")).and_then(|mut connection| {
                        connection.send(bytes)?;
                        let head = connection.read_head()?;
                        let closed =
                            head.closes() || connection.patience(Duration::from_millis(300)).read_to_end().is_ok();
                        Ok((head.status, closed))
                    });
                return Outcome::of_raw(answer);
            }
        };
        Outcome::of(entry, answer)
    }
}
