//! The 33 TLS cases of `vectors/http/http.json` against real server processes, one for each `tls.auth` × `skip_auth`.
//!
//! The file says in words what a client presents and what the old server did; [`cases`] turns each into certificates and an expectation.
//! Where ours differs on purpose, the case carries both answers and the reason.

use kes_tests::{
    Authority, Client, Connection, Credential, Fault, Home, Kind, Recipe, Request, Response, Server, Versions,
};
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What a client sees, as far as the vectors tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// The handshake, or the first read after it, ended with this alert.
    Alert(u8),
    /// The handshake was fine; `/version` answered 200 and `/v1/status` this status and, if it is an error, this message.
    Answered(u16, String),
    /// The server chose this protocol.
    Protocol(Option<String>),
    /// These bytes came, then the end of the connection.
    Raw(String),
    /// Something the vectors never expect.
    Other(String),
}

struct Case {
    head: Seen,
    /// Our answer and its reason, where it is not the old server's.
    ours: Option<(Seen, &'static str)>,
    run: Box<dyn Fn(SocketAddr) -> Seen>,
}

impl Case {
    fn new(head: Seen, run: impl Fn(SocketAddr) -> Seen + 'static) -> Self {
        Self { head, ours: None, run: Box::new(run) }
    }
    fn departs(mut self, ours: Seen, reason: &'static str) -> Self {
        self.ours = Some((ours, reason));
        self
    }
    fn expected(&self) -> &Seen {
        let head = std::env::var("KES_EXPECT").is_ok_and(|value| value == "head");
        self.ours.as_ref().filter(|_| !head).map_or(&self.head, |(seen, _reason)| seen)
    }
}

#[test]
fn every_recorded_handshake_ends_as_recorded() {
    let file: Value = serde_json::from_str(include_str!("../vectors/http/http.json")).expect("the vectors are JSON");
    let world = World::new();
    let cases = world.cases();
    let servers: BTreeMap<(&str, bool), (Home, Server)> = [("off", false), ("off", true), ("on", false), ("on", true)]
        .map(|(auth, skip)| ((auth, skip), world.server(auth, skip)))
        .into();

    let vectors = file["tls"].as_array().expect("TLS cases");
    let mut wrong = Vec::new();
    for vector in vectors {
        let id = vector["id"].as_str().expect("an id");
        let place = (vector["auth"].as_str().expect("auth"), vector["skip_auth_configured"] == json!(true));
        let case = cases.get(id).unwrap_or_else(|| panic!("no case for {id}"));
        let recorded = match &case.head {
            Seen::Alert(_) => "alert",
            Seen::Raw(_) => "raw",
            _ => "ok",
        };
        assert_eq!(vector["result"], json!(recorded), "{id}: this test and the file disagree about the old server");
        if id == "rsa1024-off" && case.expected() == &case.head {
            continue; // see `weak_rsa`
        }
        let seen = (case.run)(servers[&place].1.address());
        if seen != *case.expected() {
            wrong.push(format!("{id}: {seen:?} instead of {:?}", case.expected()));
        }
    }
    assert_eq!((vectors.len(), cases.len()), (33, 33));
    if std::env::var("KES_EXPECT").is_err() {
        servers[&("off", false)].1.expect_stderr("unsupported key"); // the operator learns why the RSA key was refused
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// In TLS 1.2 the server looks at the certificate before it finishes: the client must learn the reason there too.
#[test]
fn tls_1_2_clients_learn_the_same() {
    let world = World::new();
    let (_home, server) = world.server("on", false);
    let seen = |credential: &Credential| {
        observe(server.address(), &Client::with(Some(credential), &["http/1.1"], Versions::Tls12))
    };
    assert_eq!(seen(&world.signed), Seen::Answered(200, String::new()));
    assert_eq!(seen(&world.self_signed), Seen::Alert(48));
    assert_eq!(seen(&world.signed_expired), Seen::Alert(45));
}

struct World {
    root: Authority,
    intermediate: Authority,
    self_signed: Credential,
    signed: Credential,
    signed_expired: Credential,
}

impl World {
    fn new() -> Self {
        let root = Authority::root("a root");
        Self {
            intermediate: root.intermediate("an intermediate"),
            self_signed: Recipe::new("self-signed").self_signed(),
            signed: Recipe::new("signed").signed_by(&root),
            signed_expired: Recipe::new("signed, expired").expired().signed_by(&root),
            root,
        }
    }

    /// A server whose administrator is `self_signed`; everybody else gets 403 on `/v1/status`, which still shows that they were identified.
    fn server(&self, auth: &str, skip: bool) -> (Home, Server) {
        let home = Home::new();
        home.write_credential("ca", self.root.credential());
        let tls = json!({"key": home.path().join("server.key"), "cert": home.path().join("server.crt"), "auth": auth, "ca": home.path().join("ca.crt")});
        let api = if skip { json!({"/v1/ready": {"skip_auth": true}}) } else { json!({}) };
        let config = json!({
            "address": "{{address}}", "admin": {"identity": self.self_signed.identity()}, "tls": tls, "api": api,
            "policy": {"status": {"allow": ["/v1/status"], "identities": [self.signed.identity()]}},
            "log": {"error": "on", "audit": "off"},
            "keystore": {"fs": {"path": home.path().join("keys")}},
        });
        let server = Server::start(Kind::Ours, &home, &config.to_string());
        (home, server)
    }

    fn cases(&self) -> BTreeMap<&'static str, Case> {
        let required = || Seen::Answered(400, "tls: client certificate is required".into());
        let several = || Seen::Answered(400, "tls: received more than one client certificate".into());
        let unknown = || Seen::Answered(403, "not authorized: insufficient permissions".into());
        let fine = || Seen::Answered(200, String::new());
        let show = |head: Seen, credential: Credential| {
            let client = Client::new(&credential);
            Case::new(head, move |address| observe(address, &client))
        };
        let nothing = |head: Seen| Case::new(head, |address| observe(address, &Client::anonymous()));
        let offer = |head: Seen, protocols: &'static [&'static str]| {
            let credential = self.self_signed.clone();
            Case::new(head, move |address| {
                protocol(address, &Client::with(Some(&credential), protocols, Versions::Both))
            })
        };
        let old = |version: u8| {
            Case::new(Seen::Alert(70), move |address| old_hello(address, version))
                .departs(Seen::Alert(40), "rustls answers a client without a common version so")
        };
        let leaf = || Recipe::new("leaf").self_signed();
        let below = Recipe::new("below the intermediate").signed_by(&self.intermediate);
        let stolen = || std::slice::from_ref(&self.self_signed.chain()[0]);
        BTreeMap::from([
            ("no-cert-off", nothing(Seen::Alert(116))),
            ("no-cert-off-skip", nothing(required())),
            ("no-cert-on", nothing(Seen::Alert(116))),
            ("no-cert-on-skip", nothing(required())),
            ("self-signed-off", show(fine(), self.self_signed.clone())),
            ("self-signed-on", show(Seen::Alert(48), self.self_signed.clone())),
            ("self-signed-on-skip", show(Seen::Alert(48), self.self_signed.clone())),
            ("expired-off", show(unknown(), Recipe::new("expired").expired().self_signed())),
            ("future-off", show(unknown(), Recipe::new("future").not_yet_valid().self_signed())),
            ("expired-on", show(Seen::Alert(45), self.signed_expired.clone())),
            ("expired-selfsigned-on", show(Seen::Alert(45), Recipe::new("expired").expired().self_signed())),
            ("future-selfsigned-on", show(Seen::Alert(45), Recipe::new("future").not_yet_valid().self_signed())),
            ("signed-on", show(fine(), self.signed.clone())),
            ("signed-on-no-eku", show(unknown(), Recipe::new("no usage").without_usage().signed_by(&self.root))),
            (
                "signed-on-server-eku",
                show(Seen::Alert(42), Recipe::new("a server").for_servers().signed_by(&self.root)),
            ),
            ("inter-on", show(Seen::Alert(48), below.clone())),
            (
                "inter-chain-on",
                show(unknown(), below.followed_by([self.intermediate.certificate(), self.root.certificate()])),
            ),
            ("no-eku-off", show(unknown(), Recipe::new("no usage").without_usage().self_signed())),
            ("server-eku-off", show(unknown(), Recipe::new("a server").for_servers().self_signed())),
            ("no-bc-off", show(unknown(), Recipe::new("no constraints").without_constraints().self_signed())),
            (
                "rsa1024-off",
                // Without a key of that size in our client nobody can see the old server accept it here; ours must not even verify.
                Case { head: unknown(), ours: None, run: Box::new(weak_rsa) }
                    .departs(Seen::Alert(46), "RSA keys below 2048 bits are beyond our TLS stack, and beyond use"),
            ),
            ("ca-cert-off", show(required(), Recipe::new("an authority").authority().self_signed())),
            ("leaf-plus-ca-off", show(unknown(), leaf().followed_by([self.root.certificate()]))),
            ("two-leaves-off", show(several(), leaf().followed_by(leaf().chain()))),
            ("leaf-twice-off", {
                let twice = leaf();
                let again = twice.clone();
                show(several(), twice.followed_by(again.chain()))
            }),
            (
                "ca-first-off",
                show(fine(), Recipe::new("thrown away").authority().self_signed().followed_by(stolen()))
                    .departs(required(), "only the first certificate's key is proven; whoever follows it is not there"),
            ),
            (
                "ca-first-on",
                show(fine(), self.intermediate.credential().clone().followed_by(stolen()))
                    .departs(Seen::Alert(42), "an authority is no client, and what follows it is not proven"),
            ),
            ("tls10", old(1)),
            ("tls11", old(2)),
            ("alpn-h2", offer(Seen::Protocol(Some("h2".into())), &["h2", "http/1.1"])),
            ("alpn-none", offer(Seen::Protocol(None), &[])),
            ("alpn-foreign", offer(Seen::Alert(120), &["foo", "http/1.0"])),
            (
                "plain-http",
                Case::new(
                    Seen::Raw(
                        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n".into(),
                    ),
                    plain_http,
                ),
            ),
        ])
    }
}

/// Asks for `/version` and `/v1/status` on connections of their own.
fn observe(address: SocketAddr, client: &Client) -> Seen {
    match (ask(address, client, "/version"), ask(address, client, "/v1/status")) {
        (Err(Fault::Alert(alert)), Err(Fault::Alert(again))) if alert == again => Seen::Alert(alert),
        (Ok(version), Ok(status)) if version.status == 200 && status.status == 200 => {
            Seen::Answered(200, String::new())
        }
        (Ok(version), Ok(status)) if version.status == 200 => Seen::Answered(status.status, status.member("message")),
        (version, status) => Seen::Other(format!("/version {version:?}, /v1/status {status:?}")),
    }
}

fn ask(address: SocketAddr, client: &Client, target: &str) -> Result<Response, Fault> {
    Connection::open(address, client)?.exchange(&Request::get(target))
}

fn protocol(address: SocketAddr, client: &Client) -> Seen {
    match Connection::open(address, client) {
        Err(Fault::Alert(alert)) => Seen::Alert(alert),
        Err(fault) => Seen::Other(format!("{fault:?}")),
        Ok(mut connection) => {
            let chosen = connection.protocol();
            // Without ALPN it must really be HTTP/1.1.
            match chosen.is_none().then(|| connection.exchange(&Request::get("/version"))) {
                None => Seen::Protocol(chosen),
                Some(Ok(response)) if response.status == 200 && response.version == "HTTP/1.1" => {
                    Seen::Protocol(chosen)
                }
                Some(other) => Seen::Other(format!("{other:?}")),
            }
        }
    }
}

/// A hand-written ClientHello of TLS 1.0 (`minor` 1) or 1.1 (2); answers the alert.
fn old_hello(address: SocketAddr, minor: u8) -> Seen {
    let mut body = vec![3, minor];
    body.extend_from_slice(&[7; 32]); // random
    body.push(0); // no session
    body.extend_from_slice(&[0, 4, 0xc0, 0x09, 0xc0, 0x13]); // ECDHE with AES-128-CBC-SHA, for ECDSA and RSA
    body.extend_from_slice(&[1, 0]); // no compression
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]; // P-256, uncompressed points
    body.extend_from_slice(&[0, extensions.len() as u8]);
    body.extend_from_slice(&extensions);
    let mut record = vec![22, 3, minor, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    record.extend_from_slice(&body);
    let answer = raw(address, &record);
    match answer[..] {
        [21, 3, _, 0, 2, 2, alert, ..] => Seen::Alert(alert),
        _ => Seen::Other(format!("{answer:?}")),
    }
}

fn plain_http(address: SocketAddr) -> Seen {
    Seen::Raw(String::from_utf8_lossy(&raw(address, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")).into_owned())
}

/// Sends bytes on a bare socket and reads until the server closes.
fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit above zero");
    socket.write_all(bytes).expect("a few bytes fit into the socket");
    let mut answer = Vec::new();
    // A reset after the answer is an end too; what came before it is compared.
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Presents an RSA certificate of 1024 bits. Our client's library has no such keys either, so its signature is no signature: a server that
/// refuses the key says so before it looks at that.
fn weak_rsa(address: SocketAddr) -> Seen {
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("../vectors/tls/rsa1024.crt")).expect("a certificate");
    observe(address, &Client::with_key(CertifiedKey::new(vec![certificate], Arc::new(NoSignature))))
}

#[derive(Debug)]
struct NoSignature;

impl SigningKey for NoSignature {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::RSA_PSS_SHA256).then(|| Box::new(Self) as Box<dyn Signer>)
    }
    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::RSA
    }
}

impl Signer for NoSignature {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0x42; 128])
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}
