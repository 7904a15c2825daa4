//! The old command line as oracle: the same commands, given to the Go `kes` against our server and to ours against the Go server, agree
//! in JSON and exit status, except for what docs/cli.md lists under "Differences from the old command".
//!
//! Needs the Go KES (`peers/peers.sh install kes`); run with `cargo test -p kes-tests --test cli_oracle -- --ignored`. It fails without.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use kes_tests::{Binary, Credential, Home, Kind, Server, checkout, peer};
use serde_json::{Value, json};

/// What both programs do with a command.
#[derive(Clone, Copy)]
enum Expect {
    /// The same status and, where it is JSON, the same output.
    Same,
    /// The same status; the text is for people.
    SameStatus,
    /// The old program exits with the first status, ours with the second, for a reason of the list.
    Status(i32, i32, &'static str),
    /// The same status; the output differs for a reason of the list, and means the same.
    Form(&'static str),
}

use Expect::{Form, Same, SameStatus, Status};

// The reasons, as docs/cli.md has them.
const USAGE: &str = "2 for every mistake in the command line";
const HELP: &str = "Help that was asked for goes to standard output, with status 0";
const NOT_FOUND: &str = "3 for what is not there";
const EXISTS: &str = "4 for what is there already";
const DENIED: &str = "5 for what the server's policies do not allow";
const NO_CONNECTION: &str = "6 for no connection or no trust";
const ONE_DOCUMENT: &str = "`--json` prints one document and nothing else";
const EMPTY_LIST: &str = "An empty list is `[]`, not `null`";
const ALGORITHM: &str = "`key info` always has `algorithm`";
const ALL_MEMBERS: &str = "A document has all its members, also those that are empty or 0";
const PREFIX: &str = "A prefix may end with `-`";
const GLOB: &str = "A pattern with wildcards is matched as a shell would";
const JSON_EVERYWHERE: &str = "`--json` works for every command";
const SELF: &str = "the old server answers `identity info` without a name to its administrator only";
const NEW_COMMANDS: &str = "New commands";
const CHANGES: &str = "`policy create`, `assign` and `rm` and `identity rm` exist again";

/// Who asks.
#[derive(Clone, Copy)]
enum Who {
    Admin,
    App,
    Nobody,
}

use Who::{Admin, App, Nobody};

/// The commands in the order in which they are given. `{{last}}` is the ciphertext that the program has
/// printed last, `{{app}}` the identity of [`App`].
const TABLE: &[(Who, &str, Expect)] = &[
    // The command line itself.
    (Nobody, "", Same),
    (Nobody, "key", Same),
    (Nobody, "policy", Same),
    (Nobody, "--help", Status(2, 0, HELP)),
    (Nobody, "key --help", Status(2, 0, HELP)),
    (Nobody, "key create -h", Status(2, 0, HELP)),
    (Nobody, "foo", Status(1, 2, USAGE)),
    (Nobody, "key foo", Status(1, 2, USAGE)),
    (Nobody, "policy foo", Status(1, 2, USAGE)),
    (Nobody, "key ls --foo", Status(1, 2, USAGE)),
    (Nobody, "key ls -x", Status(1, 2, USAGE)),
    (Nobody, "key ls --color bogus", Status(1, 2, USAGE)),
    (Nobody, "key ls a b", Status(1, 2, USAGE)),
    (Nobody, "key create", Status(1, 2, USAGE)),
    (Nobody, "key import a", Status(1, 2, USAGE)),
    (Nobody, "key import a !", Status(1, 2, USAGE)),
    (Nobody, "key info", Status(1, 2, USAGE)),
    (Nobody, "key rm", Status(1, 2, USAGE)),
    (Nobody, "key encrypt a", Status(1, 2, USAGE)),
    (Nobody, "key decrypt a", Status(1, 2, USAGE)),
    (Nobody, "key decrypt a !", Status(1, 2, USAGE)),
    (Nobody, "key dek", Status(1, 2, USAGE)),
    (Nobody, "key dek a !", Status(1, 2, USAGE)),
    (Nobody, "policy show", Status(1, 2, USAGE)),
    (Nobody, "policy info", Status(1, 2, USAGE)),
    (Nobody, "ls -i -p", Status(1, 2, USAGE)),
    (Nobody, "-v", SameStatus),
    (Nobody, "--version", SameStatus),
    (Nobody, "status", Same),
    (Nobody, "identity", SameStatus),
    (Nobody, "identity new", SameStatus),
    (Nobody, "identity new --key a.key", Status(1, 2, USAGE)),
    (Nobody, "identity of", Status(1, 2, USAGE)),
    (Nobody, "identity of kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Same),
    (Nobody, "identity kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Same),
    (Nobody, "identity AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Same),
    (Nobody, "identity of shared.crt", Same),
    (Nobody, "identity shared.crt", Same),
    (Nobody, "identity of missing.crt", Same),
    (Nobody, "identity of kes:v1:AAAA", Same),
    // Keys.
    (Admin, "key ls -k --json", Form(EMPTY_LIST)),
    (Admin, "ls -k --json", Form(EMPTY_LIST)),
    (Admin, "key create -k my-key", Same),
    (Admin, "key create -k my-key", Status(1, 4, EXISTS)),
    (Admin, "key create -k my-key-1 my-key-2 your-key", Same),
    (Admin, "key create -k not/a/name", Same),
    (Admin, "key import -k given AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Same),
    (Admin, "key import -k given AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Status(1, 4, EXISTS)),
    (Admin, "key import -k short AAAA", Same),
    (Admin, "ls -k", Same),
    (Admin, "ls -k --json", Same),
    (Admin, "ls -k my-", Status(1, 0, PREFIX)),
    (Admin, "ls -k my- --json", Status(1, 0, PREFIX)),
    (Admin, "key ls -k", Same),
    (Admin, "key ls -k --json", Form(ONE_DOCUMENT)),
    (Admin, "key ls -k my-key- --json", Status(1, 0, PREFIX)),
    (Admin, "ls -k my --json", Same),
    (Admin, "key ls -k my --json", Form(ONE_DOCUMENT)),
    (Admin, "key ls -k my-key* --json", Form(GLOB)),
    (Admin, "key ls -k nothing", Same),
    (Admin, "key info -k my-key", SameStatus),
    (Admin, "key info -k my-key --json", Form(ALGORITHM)),
    (Admin, "key info -k nobody --json", Status(1, 3, NOT_FOUND)),
    (Admin, "key info -k --enclave default my-key", SameStatus),
    (Admin, "key encrypt -k my-key hello", Same),
    (Admin, "key decrypt -k my-key {{last}}", Same),
    (Admin, "key decrypt -k your-key {{last}}", Same),
    (Admin, "key decrypt -k my-key {{last}} Y29udGV4dA==", Same),
    (Admin, "key decrypt -k my-key AAAA", Same),
    (Admin, "key encrypt -k nobody hello", Status(1, 3, NOT_FOUND)),
    (Admin, "key encrypt -k my-key hello --json", Status(1, 0, JSON_EVERYWHERE)),
    (Admin, "key dek -k my-key", Same),
    (Admin, "key decrypt -k my-key {{last}}", Same),
    (Admin, "key dek -k my-key Y29udGV4dA==", Same),
    (Admin, "key decrypt -k my-key {{last}} Y29udGV4dA==", Same),
    (Admin, "key dek -k nobody", Status(1, 3, NOT_FOUND)),
    (Admin, "key hmac -k given hello", Status(1, 0, NEW_COMMANDS)),
    // Policies and identities.
    (Admin, "policy ls -k", SameStatus),
    (Admin, "policy ls -k --json", Form(ONE_DOCUMENT)),
    (Admin, "policy ls -k nothing --json", Form(EMPTY_LIST)),
    (Admin, "policy info -k my-app", SameStatus),
    (Admin, "policy info -k my-app --json", Form(ALL_MEMBERS)),
    (Admin, "policy info -k nobody", Status(1, 3, NOT_FOUND)),
    (Admin, "policy show -k my-app", Form(ALL_MEMBERS)),
    (Admin, "policy show -k my-app --json", Form(ALL_MEMBERS)),
    (Admin, "policy show -k nobody --json", Status(1, 3, NOT_FOUND)),
    (Admin, "policy create -k my-new missing.json", Form(CHANGES)),
    (Admin, "ls -k -p --json", Same),
    (Admin, "ls -k -i --json", Same),
    (Admin, "identity ls -k --json", Form(ONE_DOCUMENT)),
    (Admin, "identity ls -k", SameStatus),
    (Admin, "identity info -k", SameStatus),
    (Admin, "identity info -k {{app}}", SameStatus),
    (Admin, "identity info -k {{app}} --json", Form(JSON_EVERYWHERE)),
    (Admin, "identity info -k nobody", Status(1, 3, NOT_FOUND)),
    // The server.
    (Admin, "status -k", SameStatus),
    (Admin, "status -k -s", SameStatus),
    (Admin, "status -k --json", Same),
    (Admin, "status -k --api --json", Form(ALL_MEMBERS)),
    (Admin, "status", Status(1, 6, NO_CONNECTION)),
    (Admin, "key ls --json", Status(1, 6, NO_CONNECTION)),
    // Somebody with few rights, and one with none.
    (App, "key create -k my-app-key", Same),
    (App, "key create -k your-app-key", Status(1, 5, DENIED)),
    (App, "key create -k my-internal-key", Status(1, 5, DENIED)),
    (App, "key ls -k --json", Status(1, 5, DENIED)),
    (App, "key dek -k my-app-key", Same),
    (App, "status -k --json", Status(1, 5, DENIED)),
    (App, "identity info -k", Status(0, 3, SELF)),
    // The end.
    (Admin, "key rm -k my-key-1 my-key-2", Same),
    (Admin, "key rm -k my-key-1", Status(1, 3, NOT_FOUND)),
    (Admin, "key ls -k --json", Form(ONE_DOCUMENT)),
    (Admin, "update --foo", Status(1, 1, USAGE)),
];

/// What came of a command.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {:?} {:?}", self.status, self.stdout, self.stderr)
    }
}

impl Outcome {
    /// The first JSON document of the output, in the form in which both programs can be compared.
    fn json(&self) -> Option<Value> {
        let mut documents = serde_json::Deserializer::from_str(&self.stdout).into_iter::<Value>();
        documents.next()?.ok().map(comparable)
    }

    fn member(&self, name: &str) -> Option<String> {
        let value: Value = serde_json::from_str(&self.stdout).ok()?;
        Some(value[name].as_str()?.to_owned())
    }
}

/// Numbers, times and what is sealed differ from run to run, and the servers have an order of their own for routes.
fn comparable(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(comparable).collect();
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let value = match name.as_str() {
                    "version" | "created_at" | "ciphertext" => json!("<varies>"),
                    // A data key is random; what was sealed by hand is not.
                    "plaintext" if value.as_str().is_some_and(|text| text.len() == 44) => json!("<varies>"),
                    "uptime" | "num_cpu" | "num_cpu_used" | "mem_heap_used" | "mem_stack_used" | "keystore_latency" => {
                        json!("<number>")
                    }
                    _ => comparable(value),
                };
                (name, value)
            })
            .collect(),
        value => value,
    }
}

/// The same meaning, where the form differs by intention.
fn meaning(value: Option<Value>) -> Value {
    match value {
        None | Some(Value::Null) => json!([]),
        Some(Value::Object(mut members)) => {
            for (name, default) in [
                ("algorithm", json!("AES256")),
                ("allow", json!({})),
                ("deny", json!({})),
                ("name", json!("my-app")),
                ("created_by", json!("")),
                ("ephemeral", json!(false)),
            ] {
                members.entry(name).or_insert(default);
            }
            Value::Object(members)
        }
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|mut item| {
                if let Some(members) = item.as_object_mut() {
                    members.entry("max_body").or_insert(json!(0));
                    members.entry("timeout").or_insert(json!(0));
                }
                item
            })
            .map(|item| item.to_string())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        Some(value) => value,
    }
}

/// A program with a server, and what it has been told so far.
struct Side {
    program: std::path::PathBuf,
    address: SocketAddr,
    home: Home,
    _server: Server,
    outcomes: Vec<Outcome>,
}

impl Side {
    fn new(program: std::path::PathBuf, server: Kind) -> Self {
        let home = Home::new();
        let config = home.config(&format!(
            "admin: {{identity: {}}}\nlog: {{error: off, audit: off}}\npolicy:\n  my-app:\n    allow:\n    - /v1/key/create/my-*\n    - \
             /v1/key/generate/my-*\n    deny:\n    - /v1/key/create/my-internal*\n    identities: [{}]",
            Credential::from_seed(0).identity(),
            Credential::from_seed(1).identity()
        ));
        home.write("shared.crt", Credential::from_seed(2).certificate_pem());
        let server = Server::start(server, &home, &config);
        Self { program, address: server.address(), home, _server: server, outcomes: Vec::new() }
    }

    fn run(&mut self, who: Who, line: &str) {
        let last = || self.outcomes.iter().rev().find_map(|outcome| outcome.member("ciphertext")).unwrap();
        let words = line.split_whitespace().map(|word| match word {
            "{{app}}" => Credential::from_seed(1).identity().to_owned(),
            "{{last}}" => last(),
            word => word.to_owned(),
        });
        let mut command = Command::new(&self.program);
        command.args(words).env_clear().env("HOME", self.home.path()).env("KES_SERVER", self.address.to_string());
        command.env("SSL_CERT_FILE", checkout().join("tests/vectors/tls/rsa1024.crt"));
        match who {
            Admin => drop(command.env("KES_API_KEY", Credential::api_key(0))),
            App => drop(command.env("KES_API_KEY", Credential::api_key(1))),
            Nobody => {}
        }
        let output = command.current_dir(self.home.path()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        self.outcomes.push(Outcome {
            status: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        });
    }
}

#[test]
#[ignore = "needs the old kes: peers/peers.sh install kes"]
fn the_same_commands_do_the_same() {
    let mut theirs = Side::new(peer("kes"), Kind::Ours);
    let mut ours = Side::new(Binary::Kes.path(), Kind::GoKes);
    let mut wrong = Vec::new();
    for (row, (who, line, expect)) in TABLE.iter().enumerate() {
        theirs.run(*who, line);
        ours.run(*who, line);
        let (their, our) = (&theirs.outcomes[row], &ours.outcomes[row]);
        if let Some(fault) = fault(*expect, their, our) {
            wrong.push(format!("{row}: kes {line}: {fault}\n  theirs: {their}\n  ours:   {our}"));
        }
    }
    assert!(TABLE.len() >= 60);
    assert!(wrong.is_empty(), "{} of {} commands\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}

fn fault(expect: Expect, their: &Outcome, our: &Outcome) -> Option<&'static str> {
    let statuses = (their.status, our.status);
    match expect {
        Status(old, new, _) if statuses != (old, new) => Some("the statuses are not those of the list"),
        Status(..) => None,
        _ if their.status != our.status => Some("the statuses differ"),
        SameStatus => None,
        Same if their.json().is_some() || our.json().is_some() => {
            (their.json() != our.json()).then_some("the documents differ")
        }
        // What is printed in a pipe without being JSON is a list, a key's identity, or nothing.
        Same => (their.stdout != our.stdout).then_some("the texts differ"),
        Form(CHANGES | GLOB | JSON_EVERYWHERE) => None,
        Form(_) => (meaning(their.json()) != meaning(our.json())).then_some("the documents mean different things"),
    }
}

/// A difference that nobody has written down is a bug.
#[test]
fn every_difference_is_in_the_documentation() {
    let page = std::fs::read_to_string(Path::new(checkout()).join("docs/cli.md")).unwrap();
    let (_, list) = page.split_once("\n## Differences from the old command\n").unwrap();
    let list = list.split_whitespace().collect::<Vec<_>>().join(" ");
    let reasons: BTreeSet<&str> = TABLE
        .iter()
        .filter_map(|(_, _, expect)| match expect {
            Status(_, _, reason) | Form(reason) => Some(*reason),
            Same | SameStatus => None,
        })
        .collect();
    let missing: Vec<&&str> = reasons.iter().filter(|reason| !list.contains(**reason)).collect();
    assert!(missing.is_empty(), "not in docs/cli.md: {missing:#?}");
}
