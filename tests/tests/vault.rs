//! Our server on a real Vault: beside the old server, and through what happens to a Vault.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it panics, and says what it measured"
)]

use kes_tests::{
    Binary, Client, Connection, Home, Kind, Request, Response, Server, Vault, admin, ask, decrypt, generate, ok,
};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// One Vault, one folder, both servers: each reads what the other wrote, in every layout of values.
#[test]
#[ignore = "needs Vault and the Go KES: peers/peers.sh install vault kes"]
fn keys_travel_both_ways_with_the_old_server_through_vault() {
    let vault = Vault::start();
    let (more, client) = admin();
    for (case, block) in [
        ("v1", "engine: kv1\nversion: v1\nprefix: both"),
        ("v2", "engine: kv2\nversion: v2\nprefix: both"),
        ("v1t", "engine: kv1\nversion: v1\nprefix: wrapped\ntransit:\n  engine: transit\n  key: kes"),
        ("v2t", "engine: kv2\nversion: v2\nprefix: wrapped\ntransit:\n  engine: transit\n  key: kes"),
    ] {
        let homes = [Home::new(), Home::new()];
        let ours = Server::start(Kind::Ours, &homes[0], &vault.config(&homes[0], block, &more));
        let old = Server::start(Kind::GoKes, &homes[1], &vault.config(&homes[1], block, &more));
        for (maker, reader, who) in [(&ours, &old, "ours"), (&old, &ours, "old")] {
            let key = format!("{case}-{who}");
            ok(maker, &client, &Request::new("PUT", &format!("/v1/key/create/{key}")));
            for (sealer, opener) in [(maker, reader), (reader, maker)] {
                let made = ok(sealer, &client, &generate(&key, "bucket/object"));
                let opened = ok(opener, &client, &decrypt(&key, &made.member("ciphertext"), "bucket/object"));
                assert_eq!(opened.member("plaintext"), made.member("plaintext"), "{key}");
            }
            let twice = ask(reader, &client, &Request::new("PUT", &format!("/v1/key/create/{key}")));
            assert_eq!((twice.status, &*twice.member("message")), (400, "key already exists"), "{key}");
        }
        let list = |server| ok(server, &client, &Request::get("/v1/key/list/")).json();
        assert_eq!(list(&ours)["names"], list(&old)["names"], "{case}");
        ok(&ours, &client, &Request::new("DELETE", &format!("/v1/key/delete/{case}-old")));
        ok(&old, &client, &Request::new("DELETE", &format!("/v1/key/delete/{case}-ours")));
        assert_eq!(list(&ours)["names"], json!([]), "{case}");
    }
}

/// What clients were told while they worked.
#[derive(Default)]
struct Told {
    /// Data keys made or opened.
    served: AtomicUsize,
    /// Keys made.
    created: AtomicUsize,
    /// Refused, by status.
    refused: Mutex<BTreeMap<u16, usize>>,
    /// Requests without an answer.
    unanswered: AtomicUsize,
    slowest: Mutex<Duration>,
}

/// What must not be lost: keys that were reported as made, and ciphertexts that were handed out.
#[derive(Default)]
struct Promised {
    keys: Vec<String>,
    sealed: Vec<(String, String, String)>,
}

const KEYS: usize = 4;

struct Load<'a> {
    address: SocketAddr,
    client: &'a Client,
    told: &'a Told,
    promised: &'a Mutex<Promised>,
    stop: &'a AtomicBool,
}

impl Load<'_> {
    /// Generates and opens under few keys, and makes a new one now and then, until told to stop.
    fn work(&self, worker: usize, phase: &str) {
        let mut connection = None;
        for round in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let key = format!("key-{}", round % KEYS);
            if round % 16 == 15 {
                let new = format!("new-{phase}-{worker}-{round}");
                if self.ask(&mut connection, &Request::new("PUT", &format!("/v1/key/create/{new}"))).is_some() {
                    self.told.created.fetch_add(1, Ordering::SeqCst);
                    self.promised.lock().unwrap().keys.push(new);
                }
                continue;
            }
            let Some(made) = self.ask(&mut connection, &generate(&key, phase)) else { continue };
            self.told.served.fetch_add(1, Ordering::SeqCst);
            let (plaintext, ciphertext) = (made.member("plaintext"), made.member("ciphertext"));
            if let Some(opened) = self.ask(&mut connection, &decrypt(&key, &ciphertext, phase)) {
                self.told.served.fetch_add(1, Ordering::SeqCst);
                assert_eq!(opened.member("plaintext"), plaintext);
            }
            if round % 8 == 0 {
                self.promised.lock().unwrap().sealed.push((key, ciphertext, plaintext));
            }
        }
    }

    fn ask(&self, connection: &mut Option<Connection>, request: &Request) -> Option<Response> {
        let begun = Instant::now();
        let open = connection.take().map_or_else(|| Connection::open(self.address, self.client), Ok);
        let answer = open.and_then(|mut open| {
            open.patience(Duration::from_secs(40));
            let response = open.exchange(request)?;
            if !response.closes() {
                *connection = Some(open);
            }
            Ok(response)
        });
        let mut slowest = self.told.slowest.lock().unwrap();
        *slowest = slowest.max(begun.elapsed());
        match answer {
            Ok(response) if response.status == 200 => return Some(response),
            Ok(response) => *self.told.refused.lock().unwrap().entry(response.status).or_default() += 1,
            Err(_) => {
                self.told.unanswered.fetch_add(1, Ordering::SeqCst);
            }
        }
        None
    }
}

/// Waits until a request that needs Vault succeeds.
fn recovered(server: &Server, client: &Client, name: &str) {
    let begun = Instant::now();
    loop {
        let made = ask(server, client, &Request::new("PUT", &format!("/v1/key/create/{name}")));
        // It may have been made by a request whose answer said otherwise; then it is there.
        if made.status == 200 || made.member("message") == "key already exists" {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not come back: {}", made.text());
        thread::yield_now();
    }
}

/// Something that happens to a Vault, and how it ends.
type Fault = (&'static str, fn(&mut Vault), fn(&mut Vault));

const FAULTS: [Fault; 3] = [
    ("sealed", |vault| vault.seal(), |vault| vault.unseal()),
    (
        "killed",
        |vault| vault.signal(Signal::KILL),
        |vault| {
            vault.restart();
            vault.unseal();
        },
    ),
    ("paused", |vault| vault.signal(Signal::STOP), |vault| vault.signal(Signal::CONT)),
];

/// Enough for a fault to be seen by every worker: requests that were refused, or that took their whole time.
fn felt(told: &Told) {
    let begun = Instant::now();
    while told.refused.lock().unwrap().values().sum::<usize>() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody noticed");
        thread::yield_now();
    }
}

fn outage(offline: bool, mode: &str, block: &str, vault: &mut Vault) {
    let (admin, client) = admin();
    let home = Home::new();
    let offline_expiry = if offline { "10m" } else { "0s" };
    let more = format!(
        "{admin}\ncache:\n  expiry:\n    any: 1s\n    unused: 1s\n    offline: {offline_expiry}\nlog: {{error: on, audit: off}}"
    );
    let server = Server::start(Kind::Ours, &home, &vault.config(&home, block, &more));
    for key in 0..KEYS {
        recovered(&server, &client, &format!("key-{key}"));
    }
    let promised = Mutex::new(Promised::default());
    for (fault, begin, end) in FAULTS {
        let (told, stop) = (Told::default(), AtomicBool::new(false));
        let load = Load { address: server.address(), client: &client, told: &told, promised: &promised, stop: &stop };
        thread::scope(|scope| {
            for worker in 0..4 {
                let load = &load;
                let phase = format!("{mode}-{fault}-{offline}");
                scope.spawn(move || load.work(worker, &phase));
            }
            while told.created.load(Ordering::SeqCst) < 4 {
                thread::yield_now();
            }
            let before = told.served.load(Ordering::SeqCst);
            begin(vault);
            felt(&told);
            let meanwhile = told.served.load(Ordering::SeqCst) - before;
            end(vault);
            recovered(&server, &client, &format!("after-{mode}-{fault}-{offline}"));
            stop.store(true, Ordering::SeqCst);
            println!("{mode}, {fault}, offline {offline_expiry}: {meanwhile} served meanwhile");
        });
        let Told { served, created, refused, unanswered, slowest } = told;
        println!(
            "{mode}, {fault}, offline {offline_expiry}: served {}, created {}, refused {:?}, slowest {:?}",
            served.into_inner(),
            created.into_inner(),
            refused.into_inner().unwrap(),
            slowest.into_inner().unwrap(),
        );
        assert_eq!(unanswered.into_inner(), 0, "each request is answered");
    }
    // Not from the cache: a new process has none.
    drop(server);
    let server = Server::start(Kind::Ours, &home, &vault.config(&home, block, &more));
    let Promised { keys, sealed } = promised.into_inner().unwrap();
    println!("{mode}: {} keys and {} ciphertexts are looked at again", keys.len(), sealed.len());
    for key in &keys {
        ok(&server, &client, &generate(key, ""));
    }
    for (key, ciphertext, plaintext) in &sealed {
        let context = FAULTS.map(|(fault, ..)| format!("{mode}-{fault}-{offline}"));
        let opened = context.iter().find_map(|context| {
            let opened = ask(&server, &client, &decrypt(key, ciphertext, context));
            (opened.status == 200).then(|| opened.member("plaintext"))
        });
        assert_eq!(opened.as_deref(), Some(plaintext.as_str()), "a ciphertext of {key}");
    }
}

#[test]
#[ignore = "needs Vault: peers/peers.sh install vault"]
fn nothing_is_lost_when_vault_is_sealed_killed_or_paused_under_load() {
    let mut vault = Vault::start();
    let block = "engine: kv2\nversion: v2\nprefix: faults";
    outage(true, "store", block, &mut vault);
    outage(false, "store", block, &mut vault);
}

#[test]
#[ignore = "needs Vault: peers/peers.sh install vault"]
fn nothing_is_lost_when_an_engine_goes_away_under_load() {
    let mut vault = Vault::start();
    vault.grant(
        r#"path "transit/keys" { capabilities = ["list"] }
           path "transit/keys/*" { capabilities = ["create", "read", "update", "delete"] }
           path "transit/encrypt/*" { capabilities = ["update"] }
           path "transit/decrypt/*" { capabilities = ["update"] }
           path "transit/hmac/*" { capabilities = ["update"] }"#,
    );
    outage(false, "engine", "mode: engine", &mut vault);
}

/// What a login made is given back when nobody needs it any more: after a reload to another store, and at the end.
#[test]
#[ignore = "needs Vault: peers/peers.sh install vault"]
fn logins_are_given_back() {
    let vault = Vault::start();
    let (more, client) = admin();
    let home = Home::new();
    let config = vault.config(&home, "engine: kv1", &more);
    let logins = || {
        let accessors = vault.run(&["list", "-format=json", "auth/token/accessors"]);
        serde_json::from_str::<Vec<String>>(&accessors).unwrap().len()
    };
    let before = logins();
    let back_to = |expected: usize, when: &str| {
        let begun = Instant::now();
        while logins() != before + expected {
            assert!(begun.elapsed() < Duration::from_secs(20), "{when}: {} instead of {expected}", logins() - before);
        }
    };
    // A check looks, and leaves no login behind.
    home.write("check.yml", config.replace("{{address}}", "127.0.0.1:0"));
    let check = Command::new(Binary::KesServer.path())
        .args(["check", "--connect", "--config", "check.yml"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert_eq!(logins(), before);

    let mut server = Server::start(Kind::Ours, &home, &config);
    ok(&server, &client, &Request::new("PUT", "/v1/key/create/key"));
    assert_eq!(logins(), before + 1);
    let reload = |config: &str, times: usize| {
        server.rewrite_config(Kind::Ours, &home, config);
        server.signal(Signal::HUP);
        server.expect_stdout_times("=> Reloading configuration after SIGHUP signal completed.", times);
    };
    reload(&home.config(&more), 1);
    back_to(0, "another store");
    reload(&config, 2);
    ok(&server, &client, &Request::get("/v1/key/describe/key"));
    back_to(1, "the first one again");
    // The new store is opened, and then something else fails.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = format!("probe: {{address: '{}'}}\nkeys: [{{name: key}}]", taken.local_addr().unwrap());
    let broken = vault.config(&home, "engine: kv1\nprefix: x", &format!("{more}\n{probe}"));
    server.rewrite_config(Kind::Ours, &home, &broken);
    server.signal(Signal::HUP);
    server.expect_stderr("address already in use");
    back_to(1, "a reload that failed");
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_secs(20)).success());
    assert_eq!(logins(), before, "it had been closed before the end");
}
