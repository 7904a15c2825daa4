//! `kes verify` on real sealed keys: of MinIO's files, and of every release of MinIO KES.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration whose store has these keys.
fn store(keys: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("keys")).unwrap();
    for (name, value) in keys {
        fs::write(home.path().join("keys").join(name), value).unwrap();
    }
    fs::write(
        home.path().join("config.yml"),
        "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: keys}}\n",
    )
    .unwrap();
    home
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sealed")
}

/// The store that the files of `sealed` were made with.
fn minio_store() -> TempDir {
    let key = |name: &str| fs::read_to_string(data().join("keys").join(name)).unwrap();
    store(&[("k1", &key("k1")), ("k2", &key("k2"))])
}

/// Exit status, stdout and stderr.
fn verify(home: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
    command.current_dir(home.path()).env_clear().stdin(Stdio::null());
    let output = command.arg("verify").args(arguments).args(["--config", "config.yml"]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(home: &TempDir, arguments: &[&str]) -> (i32, Value) {
    let (status, stdout, stderr) = verify(home, &[arguments, &["--json"]].concat());
    (status, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

fn drive(name: &str) -> String {
    data().join(name).to_str().unwrap().to_owned()
}

fn sources(report: &Value) -> Vec<&str> {
    report["results"].as_array().unwrap().iter().map(|line| line["source"].as_str().unwrap()).collect()
}

#[test]
fn objects_versions_folders_contexts_and_configuration_of_todays_minio_open() {
    let home = minio_store();
    let (status, report) = json(&home, &["--minio-data", &drive("minio-2026")]);
    assert_eq!((status, &report["failed"], &report["found"]), (0, &Value::from(0), &Value::from(9)), "{report}");
    assert_eq!(
        sources(&report),
        [
            "bkt/ctx/b",
            "bkt/dir/",
            "bkt/kms/small",
            "bkt/s3/big",
            "ver/v?versionId=bf950793-4c88-4779-93ca-bd4ffb06317f",
            "ver/v?versionId=f4038afc-7139-4fc5-b30a-ae4877142e02",
            "ver/v?versionId=4e9d1d33-ef5e-453f-8995-bca1511a2c93",
            ".minio.sys/config/iam/format.json",
            ".minio.sys/config/iam/users/user1/identity.json",
        ]
    );
    assert_eq!(report["minio"]["unsealed_versions"], 1, "plain/x");
    assert_eq!(report["results"][0]["generation"], "G4");
}

#[test]
fn a_configuration_is_put_together_from_its_drives() {
    let home = minio_store();
    let drives: Vec<String> = (1..=4).map(|number| drive(&format!("minio-2026-drives/{number}"))).collect();
    let one = drives.iter().find_map(|drive| {
        let (status, report) = json(&home, &["--minio-data", drive]);
        (status == 0 && report["minio"]["unread_config_files"] != Value::Array(Vec::new())).then_some(report)
    });
    let one = one.expect("no drive alone holds all of it");
    assert_eq!(one["minio"]["unread_config_files"][0], ".minio.sys/config/iam/users/user1/identity.json");

    let all: Vec<&str> = drives.iter().flat_map(|drive| ["--minio-data", drive]).collect();
    let (status, report) = json(&home, &all);
    assert_eq!(status, 0, "{report}");
    assert_eq!(sources(&report), ["bkt/kms/mid", ".minio.sys/config/iam/users/user1/identity.json"], "each once");
    assert_eq!(report["minio"]["unread_config_files"], Value::Array(Vec::new()));
}

#[test]
fn the_minio_of_2021_is_read_on_one_drive_and_on_many() {
    let home = minio_store();
    for name in ["minio-2021", "minio-2021-single"] {
        let (status, report) = json(&home, &["--minio-data", &drive(name)]);
        assert_eq!(status, 0, "{report}");
        assert_eq!(sources(&report), ["bkt/x/y"], "{name}");
    }
}

#[test]
fn each_failure_has_its_cause_and_uniform_causes_their_status() {
    let key = |name: &str| fs::read_to_string(data().join("keys").join(name)).unwrap();
    let folder = drive("minio-2026");
    let problems = |home: &TempDir| {
        let (status, report) = json(home, &["--minio-data", &folder]);
        let lines = report["results"].as_array().unwrap().clone();
        let mut causes: Vec<_> = lines.iter().filter_map(|line| Some(line["problem"].as_str()?.to_owned())).collect();
        causes.dedup();
        (status, causes)
    };
    assert_eq!(problems(&store(&[])), (3, vec!["no-such-key".to_owned()]));
    assert_eq!(problems(&store(&[("k1", &key("k2")), ("k2", &key("k1"))])), (1, vec!["not-authentic".to_owned()]));
    assert_eq!(problems(&store(&[("k1", &key("k1")), ("k2", "nonsense!")])), (1, vec!["unreadable-key".to_owned()]));

    let home = minio_store();
    fs::remove_dir_all(home.path().join("keys")).unwrap();
    let (status, _, stderr) = verify(&home, &["--minio-data", &folder]);
    assert_eq!(status, 7, "{stderr}");
    assert!(stderr.contains("is not there") && !home.path().join("keys").exists(), "nothing is made: {stderr}");

    let (status, _, stderr) = verify(&minio_store(), &["--minio-data", &drive("keys")]);
    assert!(status == 1 && stderr.contains("is no data folder of MinIO"), "{stderr}");
    let (_, _, stderr) = verify(&minio_store(), &["--minio-data", &drive("minio-2026-drives")]);
    assert!(stderr.contains("name the folder of each drive") && stderr.contains("minio-2026-drives/1"), "{stderr}");
}

#[test]
fn nothing_decrypted_is_printed_and_nothing_to_verify_is_no_success() {
    let home = minio_store();
    let (_, stdout, stderr) = verify(&home, &["--minio-data", &drive("minio-2026")]);
    // A data key has 44 characters in base64.
    let words = stdout.split_whitespace().chain(stderr.split_whitespace());
    assert!(words.filter(|word| !word.contains(['/', '.'])).all(|word| word.len() < 40), "{stdout}");

    fs::write(home.path().join("empty"), "# nothing\n").unwrap();
    let (status, _, stderr) = verify(&home, &["empty"]);
    assert!(status == 1 && stderr.contains("there are no sealed keys"), "{stderr}");
}

/// Every ciphertext of every release, each with its key in a store of its age.
#[test]
fn ciphertexts_of_every_generation_open_or_fail_as_they_must() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/kes-crypto/tests/vectors/ciphertexts.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(vectors).unwrap()).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    let text = |vector: &Value, name: &str| vector[name].as_str().unwrap_or_default().to_owned();
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };

    let (mut keys, mut list) = (Vec::new(), String::new());
    for (number, vector) in vectors.iter().enumerate() {
        let bytes = base64(&hex(&text(vector, "key")));
        let stored = match text(vector, "key_type").as_str() {
            "" => format!("{{\"bytes\":\"{bytes}\"}}"),
            algorithm => format!("{{\"bytes\":\"{bytes}\",\"algorithm\":\"{algorithm}\"}}"),
        };
        keys.push((format!("v{number}"), stored));
        let (ciphertext, context) = (text(vector, "ciphertext"), base64(&hex(&text(vector, "aad"))));
        list += &format!("{{\"key\":\"v{number}\",\"ciphertext\":\"{ciphertext}\",\"context\":\"{context}\"}}\n");
    }
    let keys: Vec<_> = keys.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let home = store(&keys);
    fs::write(home.path().join("list.jsonl"), list).unwrap();

    let (status, report) = json(&home, &["list.jsonl"]);
    assert_eq!(status, 1, "some of them are damaged on purpose");
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), vectors.len());
    for (vector, line) in vectors.iter().zip(results) {
        let id = text(vector, "id");
        let must_open = text(vector, "expect") == "ok" || text(vector, "superset") == "ok";
        assert_eq!(line["opens"], must_open, "{id}: {line}");
        if must_open {
            let cipher = text(vector, "cipher");
            assert_eq!(line["cipher"].as_str().unwrap(), cipher, "{id}: {line}");
            let format = match text(vector, "generation").as_str() {
                "G4" => "raw",
                "G3" => "message-pack",
                _ => "json",
            };
            assert_eq!(line["format"], format, "{id}");
        }
    }
    let generations: Vec<_> =
        report["groups"].as_array().unwrap().iter().map(|group| text(group, "generation")).collect();
    for generation in ["G0", "G1", "G2", "G3a", "G3c", "G4"] {
        assert!(generations.iter().any(|own| own == generation), "{generation}");
    }
}

/// A key of another version under the same name is told by the id that older ciphertexts carry.
#[test]
fn another_key_of_the_same_name_is_told_by_its_id() {
    let (ciphertext, key) = vector("msgpack-aes-v0192");
    let home = store(&[("k", &format!("{{\"bytes\":\"{}\"}}", base64(&[7; 32])))]);
    fs::write(home.path().join("list"), format!("k {ciphertext}\n")).unwrap();
    let (status, report) = json(&home, &["list"]);
    assert_eq!((status, &report["results"][0]["problem"]), (1, &Value::from("other-key")), "{report}");
    assert_ne!(key, base64(&[7; 32]));
}

#[test]
fn who_wants_to_leave_is_told_what_could_not_be_read_there() {
    let ready = |id: &str, algorithm: &str, target: &str| {
        let (ciphertext, key) = vector(id);
        let home = store(&[("k", &format!("{{\"bytes\":\"{key}\",\"algorithm\":\"{algorithm}\"}}"))]);
        fs::write(home.path().join("list"), format!("k {ciphertext}\n")).unwrap();
        let (status, report) = json(&home, &["list", "--for", target]);
        assert_eq!(report["failed"], 0, "{id}: {report}");
        let reasons = report["readiness"]["reasons"].to_string();
        assert_eq!(status == 0, report["readiness"]["ready"] == true, "{report}");
        (status, reasons)
    };
    for target in ["minio-static", "rustfs"] {
        assert_eq!(ready("raw-aes-dek", "AES256", target), (0, "[]".to_owned()));
        let (status, reasons) = ready("msgpack-aes-v0192", "AES256", target);
        assert!(status == 1 && reasons.contains("message-pack"), "{reasons}");
        let (status, reasons) = ready("raw-chacha-dek", "ChaCha20", target);
        assert!(status == 1 && reasons.contains("raw ChaCha20"), "{reasons}");
        let (status, reasons) = ready("json-aes-id", "AES256", target);
        assert!(status == 1 && reasons.contains("json"), "{reasons}");
    }
    let (status, report) = json(&minio_store(), &["--minio-data", &drive("minio-2026"), "--for", "minio-static"]);
    let reasons = report["readiness"]["reasons"].to_string();
    assert!(status == 1 && reasons.contains("holds one key, and 2 are in use: k1, k2"), "{reasons}");
}

#[test]
fn a_sample_holds_every_key() {
    let (status, report) = json(&minio_store(), &["--minio-data", &drive("minio-2026"), "--sample", "3"]);
    assert_eq!((status, &report["found"], &report["checked"]), (0, &Value::from(9), &Value::from(3)), "{report}");
    let keys: Vec<_> =
        report["groups"].as_array().unwrap().iter().map(|group| group["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["k1", "k2"]);
}

/// A ciphertext without context, and the bytes of its key in base64.
fn vector(id: &str) -> (String, String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/kes-crypto/tests/vectors/ciphertexts.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let vector = file["vectors"].as_array().unwrap().iter().find(|vector| vector["id"] == id);
    let vector = vector.unwrap_or_else(|| panic!("no vector {id}"));
    assert_eq!(vector["aad"], "", "{id} has a context");
    let key = vector["key"].as_str().unwrap();
    let bytes: Vec<u8> =
        (0..key.len()).step_by(2).map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap()).collect();
    (vector["ciphertext"].as_str().unwrap().to_owned(), base64(&bytes))
}

fn base64(bytes: &[u8]) -> String {
    kes_crypto::base64::encode(bytes)
}
