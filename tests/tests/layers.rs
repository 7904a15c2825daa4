//! The arrows between the crates, held against what `cargo metadata` says. docs/architecture.md shows the same table.
//!
//! Dev-dependencies are free: tests may reach wherever they need to.

use serde_json::Value;
use std::process::Command;

/// One row: the crate, what of ours it may use, what of others it must not know, and why.
struct Row {
    name: &'static str,
    may_use: &'static [&'static str],
    knows_nothing_of: &'static [&'static str],
    because: &'static str,
}

const ASYNC: &str = "tokio";
const SERVICE: [&str; 2] = ["hyper", "hyper-util"];
const YAML: [&str; 2] = ["saphyr-parser", "serde_yaml"];

/// A name ending in `-*` stands for every crate that starts so. Binaries, examples and tests may use everything.
const TABLE: &[Row] = &[
    Row {
        name: "kes-crypto",
        may_use: &[],
        knows_nothing_of: &[ASYNC, SERVICE[0], SERVICE[1], "reqwest", "rustls", YAML[0], YAML[1]],
        because: "what a key is must be usable alone, without async, files, HTTP or identities",
    },
    Row {
        name: "kes-identity",
        may_use: &[],
        knows_nothing_of: &[ASYNC, SERVICE[0], SERVICE[1], "reqwest", YAML[0], YAML[1]],
        because: "who is calling is settled without async, HTTP or policies",
    },
    Row {
        name: "kes-policy",
        may_use: &["kes-identity"],
        knows_nothing_of: &[ASYNC, SERVICE[0], SERVICE[1], "http", "reqwest", YAML[0], YAML[1]],
        because: "the decision sees an identity and a path, never a request or a file",
    },
    Row {
        name: "kes-keystore",
        may_use: &["kes-crypto"],
        knows_nothing_of: &[SERVICE[0], SERVICE[1], YAML[0], YAML[1]],
        because: "where keys live must not depend on who asks for them, nor on how the file is written",
    },
    Row {
        name: "kes-keystore-*",
        may_use: &["kes-crypto", "kes-keystore"],
        knows_nothing_of: &[SERVICE[0], YAML[0], YAML[1]],
        because: "each backend is built, tested and embedded alone; what they share stands in kes-keystore",
    },
    Row {
        name: "kes-config",
        may_use: &["kes-identity", "kes-policy", "kes-keystore", "kes-keystore-*"],
        knows_nothing_of: &[SERVICE[0], SERVICE[1]],
        because: "what the operator wrote is read without knowing the service that will run it",
    },
    Row {
        name: "kes-api",
        may_use: &["kes-crypto", "kes-identity", "kes-policy", "kes-keystore"],
        knows_nothing_of: &["clap", "reqwest", YAML[0], YAML[1]],
        because: "the service takes ready values: no YAML, no environment, no arguments, no particular backend",
    },
    Row {
        name: "kes-client",
        may_use: &["kes-identity", "kes-api"],
        knows_nothing_of: &[YAML[0], YAML[1]],
        because: "a client shares the contract with the server, not the server",
    },
];

/// Packages that nobody builds upon, so that they may build upon everything.
const TOPS: &[&str] = &["kes-server", "kes-cli", "kes-examples", "kes-tests"];

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.len() > start.len() && name.starts_with(start),
        None => name == pattern,
    }
}

/// The sentence that explains why `from` must not use `to`, if it must not.
fn complaint(from: &str, to: &str) -> Option<String> {
    if TOPS.contains(&from) {
        return None;
    }
    let Some(row) = TABLE.iter().find(|row| covers(row.name, from)) else {
        return Some(format!("{from} is not in the table of crates: add its row here and in docs/architecture.md"));
    };
    let Row { may_use, because, .. } = row;
    let ours = to.starts_with("kes-");
    if ours && !may_use.iter().any(|allowed| covers(allowed, to)) {
        let allowed = if may_use.is_empty() { "nothing of ours".to_owned() } else { may_use.join(", ") };
        return Some(format!("{from} must not use {to}: {because}; it may use {allowed}"));
    }
    row.knows_nothing_of.contains(&to).then(|| format!("{from} must not use {to}: {because}"))
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().expect("cargo metadata gives this member as text")
}

/// The packages of the workspace.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

/// What a package depends on when it is used, not when it is tested.
fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    let all = package["dependencies"].as_array().expect("a list of dependencies");
    all.iter().filter(|dependency| dependency["kind"] != "dev")
}

#[test]
fn no_crate_uses_what_it_must_not_know() {
    let mut complaints = Vec::new();
    for package in &packages() {
        let from = text(package, "name");
        complaints.extend(dependencies(package).filter_map(|dependency| complaint(from, text(dependency, "name"))));
        let alone = !TOPS.contains(&from) && !TABLE.iter().any(|row| covers(row.name, from));
        complaints.extend(alone.then(|| complaint(from, "")).flatten());
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_client_takes_the_contract_without_the_service() {
    let packages = packages();
    let package = |name: &str| packages.iter().find(|package| package["name"] == name).expect("a package of ours");
    let client = package("kes-client");
    let api = dependencies(client).find(|dependency| dependency["name"] == "kes-api").expect("the client uses kes-api");
    let features = api["features"].as_array().expect("a list of features");
    assert!(
        !features.iter().any(|feature| feature == "server") && api["uses_default_features"] == false,
        "kes-client must use kes-api without its feature `server`: who embeds a client must not compile a server"
    );
    let default = &package("kes-api")["features"]["default"];
    assert!(
        default.as_array().is_none_or(Vec::is_empty),
        "kes-api must have no default features, so that `wire` alone stays small"
    );
}

#[test]
fn backends_are_features_of_the_configuration() {
    for package in packages().iter().filter(|package| package["name"] == "kes-config") {
        for backend in dependencies(package).filter(|dependency| covers("kes-keystore-*", text(dependency, "name"))) {
            assert_eq!(
                backend["optional"],
                true,
                "kes-config must take {} as an optional dependency: a vendor's SDK is compiled only by who asked for it",
                text(backend, "name")
            );
        }
    }
}

#[test]
fn a_wrong_arrow_is_explained() {
    assert_eq!(
        complaint("kes-keystore", "kes-policy").as_deref(),
        Some(
            "kes-keystore must not use kes-policy: where keys live must not depend on who asks for them, nor on how \
             the file is written; it may use kes-crypto"
        )
    );
    assert_eq!(
        complaint("kes-crypto", "tokio").as_deref(),
        Some(
            "kes-crypto must not use tokio: what a key is must be usable alone, without async, files, HTTP or identities"
        )
    );
    assert!(complaint("kes-keystore-vault", "kes-keystore-aws").is_some(), "backends do not know each other");
    assert!(complaint("kes-keystore-vault", "kes-keystore").is_none());
    assert!(complaint("kes-config", "kes-keystore-vault").is_none());
    assert!(complaint("kes-config", "kes-api").is_some());
    assert!(complaint("kes-new", "serde").is_some_and(|sentence| sentence.contains("docs/architecture.md")));
    assert!(complaint("kes-cli", "kes-server").is_none());
}
