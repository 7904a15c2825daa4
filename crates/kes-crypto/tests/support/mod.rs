//! Reading the vector files.

use kes_crypto::{KeyType, SecretKey};
use serde_json::Value;

/// Parses a vector file.
pub(crate) fn file(text: &str) -> Value {
    serde_json::from_str(text).expect("vector files are JSON")
}

/// One list of a vector file, with the number of entries it must have: none may get lost.
pub(crate) fn list<'a>(file: &'a Value, name: &str, length: usize) -> &'a [Value] {
    let list = file[name].as_array().expect("a list of vectors");
    assert_eq!(list.len(), length);
    list
}

/// A text member.
pub(crate) fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{} has no {name}", vector["id"]))
}

/// A hex member.
pub(crate) fn hex(vector: &Value, name: &str) -> Vec<u8> {
    let text = text(vector, name);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// Whether ours must succeed.
pub(crate) fn must_succeed(vector: &Value) -> bool {
    [&vector["expect"], &vector["superset"]].iter().any(|outcome| outcome.as_str() == Some("ok"))
}

/// `key_type`; empty means that none is recorded.
pub(crate) fn key_type(vector: &Value) -> KeyType {
    match text(vector, "key_type") {
        "" => KeyType::Legacy,
        name => KeyType::parse_import(name).expect("a known cipher"),
    }
}

/// `key` with `key_type`.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn key(vector: &Value) -> SecretKey {
    SecretKey::from_bytes(key_type(vector), &hex(vector, "key")).expect("32 bytes")
}
