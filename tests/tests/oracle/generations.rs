//! Stored keys and ciphertexts of every generation, placed in the directory of both servers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::{Client, Connection, Credential, Fault, Home, Kind, Request, Response, Server};
use serde_json::{Value, json};

#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn stored_keys_of_every_generation_are_described_alike() {
    let file = vectors(include_str!("../../../crates/kes-crypto/tests/vectors/key-versions.json"));
    let pair = Pair::start(file.iter().map(|vector| (name(vector), stored(vector))));
    let mut wrong = Vec::new();
    for vector in &file {
        let (ours, old) = pair.ask(&Request::get(&format!("/v1/key/describe/{}", name(vector))));
        let (reads, should) = (vector["expect"] == "ok", vector["expect"] == "ok" || vector["superset"] == "ok");
        // The old server breaks the connection over some of the values that it cannot read.
        let refused = |answer: &Result<Response, Fault>| {
            matches!(answer, Err(Fault::Closed)) || matches!(answer, Ok(answer) if answer.status == 502)
        };
        let fine = match (&ours, &old) {
            (Ok(ours), Ok(old)) if should && reads => {
                ours.status == 200 && old.status == 200 && facts(ours) == facts(old)
            }
            (Ok(ours), old) if should => ours.status == 200 && refused(old),
            (Ok(ours), old) => ours.status == 502 && ours.member("message") == "failed to read key" && refused(old),
            _ => false,
        };
        if !fine {
            wrong.push(format!("{}: ours {ours:?}, old {old:?}", vector["id"]));
        }
    }
    assert!(file.len() >= 50 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs the Go KES: peers/peers.sh install kes"]
fn ciphertexts_of_every_generation_open_alike() {
    let file = vectors(include_str!("../../../crates/kes-crypto/tests/vectors/ciphertexts.json"));
    let pair = Pair::start(file.iter().map(|vector| (name(vector), json_key(vector).into_bytes())));
    let mut wrong = Vec::new();
    for vector in &file {
        let aad = hex(vector["aad"].as_str().unwrap_or_default());
        let body = json!({"ciphertext": vector["ciphertext"], "context": STANDARD.encode(aad)}).to_string();
        let (ours, old) = pair.ask(&Request::put(&format!("/v1/key/decrypt/{}", name(vector)), body));
        let opens = |expected: bool, answer: &Result<Response, Fault>| match answer {
            Ok(answer) if expected => {
                answer.status == 200
                    && STANDARD.decode(answer.member("plaintext")).expect("base64")
                        == hex(vector["plaintext"].as_str().expect("a plaintext"))
            }
            Ok(answer) => {
                answer.status == 400 && answer.member("message") == "decryption failed: ciphertext is not authentic"
            }
            Err(_) => false,
        };
        let reads = vector["expect"] == "ok";
        if !opens(reads, &old) || !opens(reads || vector["superset"] == "ok", &ours) {
            wrong.push(format!("{}: ours {ours:?}, old {old:?}", vector["id"]));
        }
    }
    assert!(file.len() >= 50 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Both servers, each with its own copy of the same files.
struct Pair {
    ours: (Home, Server),
    old: (Home, Server),
    admin: Client,
}

impl Pair {
    fn start(files: impl Iterator<Item = (String, Vec<u8>)>) -> Self {
        let files: Vec<_> = files.collect();
        let admin = Credential::from_seed(0);
        let start = |kind| {
            let home = Home::new();
            files.iter().for_each(|(name, content)| home.write(&format!("keys/{name}"), content));
            let server = Server::start(
                kind,
                &home,
                &home.config(&format!("admin: {{identity: {}}}\nlog: {{error: off, audit: off}}", admin.identity())),
            );
            (home, server)
        };
        Self { ours: start(Kind::Ours), old: start(Kind::GoKes), admin: Client::new(&admin) }
    }

    fn ask(&self, request: &Request) -> (Result<Response, Fault>, Result<Response, Fault>) {
        let ask = |server: &Server| Connection::open(server.address(), &self.admin)?.exchange(request);
        (ask(&self.ours.1), ask(&self.old.1))
    }
}

fn vectors(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).expect("the vectors are JSON");
    file["vectors"].as_array().expect("vectors").clone()
}

/// A key name made of the vector's id.
fn name(vector: &Value) -> String {
    let id = vector["id"].as_str().expect("an id");
    id.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' }).collect()
}

/// The stored bytes: one vector spells raw bytes as code points.
fn stored(vector: &Value) -> Vec<u8> {
    let text = vector["encoded"].as_str().expect("a stored text");
    if vector["id"] == "pb-err-raw-binary" {
        return text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("a byte")).collect();
    }
    text.into()
}

/// The key of a ciphertext vector as old releases stored it, which every release reads.
fn json_key(vector: &Value) -> String {
    let mut record = json!({"bytes": STANDARD.encode(hex(vector["key"].as_str().expect("a key")))});
    if vector["key_type"] != "" {
        record["algorithm"] = vector["key_type"].clone();
    }
    record.to_string()
}

/// Everything that describe says, times as instants.
fn facts(response: &Response) -> (Value, Value, Value, time::OffsetDateTime) {
    let body = response.json();
    let time =
        time::OffsetDateTime::parse(&response.member("created_at"), &time::format_description::well_known::Rfc3339);
    (body["name"].clone(), body["algorithm"].clone(), body["created_by"].clone(), time.expect("a time"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect()
}
