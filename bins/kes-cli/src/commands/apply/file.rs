//! The file with the keys that must be there.

use std::collections::HashSet;

use kes_client::KeyType;
use kes_keystore::KeyName;
use serde_yaml::{Mapping, Value};

use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;
use crate::policies;

/// A key that must be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// Its cipher, if that matters.
    pub(super) algorithm: Option<KeyType>,
}

/// Reads the `keys` of a YAML or JSON file. Everything is judged before anything is done.
pub(super) fn read(name: &str) -> Outcome<Vec<Wanted>> {
    let shown = if name == "-" { "standard input" } else { name };
    let text = String::from_utf8(policies::bytes(name)?)
        .map_err(|_| Failure::new(format!("{shown} is no list of keys: it is not text in UTF-8")))?;
    parse(&text, &environment::process).map_err(|failure| failure.while_doing(shown))
}

fn parse(text: &str, lookup: Lookup<'_>) -> Outcome<Vec<Wanted>> {
    let file: Value = serde_yaml::from_str(text).map_err(|error| Failure::new(error.to_string()))?;
    let keys = match &file {
        Value::Sequence(keys) => keys,
        Value::Mapping(file) => match file.get("keys") {
            Some(Value::Sequence(keys)) => keys,
            Some(Value::Null) => return Ok(Vec::new()),
            Some(_) => return Err(Failure::new("'keys' is no list").hint(SHAPE)),
            None => return Err(no_keys(file)),
        },
        _ => return Err(Failure::new("there are no keys in it").hint(SHAPE)),
    };
    let mut seen = HashSet::new();
    let mut wanted = Vec::with_capacity(keys.len());
    for (position, key) in keys.iter().enumerate() {
        let key = one(key, lookup).map_err(|failure| failure.while_doing(format_args!("keys[{position}]")))?;
        if !seen.insert(key.name.clone()) {
            return Err(Failure::new(format!("the key '{}' is named twice", key.name)));
        }
        wanted.push(key);
    }
    Ok(wanted)
}

const SHAPE: &str = "write `keys:` and below it a line `- name: my-key` for each key";

fn no_keys(file: &Mapping) -> Failure {
    let failure = Failure::new("there is no 'keys' section in it");
    let names = file.keys().filter_map(Value::as_str);
    match names.filter(|name| nearest(name, ["keys"]).is_some()).collect::<Vec<_>>().as_slice() {
        [mistyped, ..] => failure.hint(format!("is '{mistyped}' meant to be 'keys'?")),
        [] => failure.hint(SHAPE),
    }
}

/// `{name: a, algorithm: AES256}`, or the name alone.
fn one(key: &Value, lookup: Lookup<'_>) -> Outcome<Wanted> {
    let (name, algorithm) = match key {
        Value::Mapping(key) => {
            let known = ["name", "algorithm"];
            if let Some(unknown) = key.keys().find(|key| !key.as_str().is_some_and(|key| known.contains(&key))) {
                let unknown = unknown.as_str().unwrap_or("a key that is no text");
                let failure = Failure::new(format!("unknown key '{unknown}'"));
                return Err(match nearest(unknown, known) {
                    Some(meant) => failure.hint(format!("did you mean '{meant}'?")),
                    None => failure.hint("a key has a 'name' and perhaps an 'algorithm'"),
                });
            }
            (key.get("name"), key.get("algorithm").filter(|algorithm| !algorithm.is_null()))
        }
        name => (Some(name), None),
    };
    let name = name.ok_or_else(|| Failure::new("there is no name").hint(SHAPE))?;
    let name = value(&text(name).ok_or_else(|| Failure::new("the name is no text"))?, lookup)?;
    KeyName::parse(&name).map_err(|_| {
        Failure::new(format!("key name '{name}' is empty, too long or contains invalid characters"))
            .hint("a name is 1 to 80 of 0-9 A-Z a-z _ and -, not '_' alone, with no '-' at either end")
    })?;
    let algorithm = algorithm.map(|algorithm| cipher(&text(algorithm).unwrap_or_default())).transpose()?;
    Ok(Wanted { name, algorithm })
}

/// A scalar as it is written; names such as `2024` are numbers to YAML.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

/// `${NAME}` as in a server's configuration.
fn value(text: &str, lookup: Lookup<'_>) -> Outcome<String> {
    let Some(variable) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(text.to_owned());
    };
    lookup(variable).ok_or_else(|| Failure::new(format!("the variable '{variable}' is not set")))
}

fn cipher(name: &str) -> Outcome<KeyType> {
    let known = ["AES256", "ChaCha20"];
    let exact = known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied().unwrap_or(name);
    KeyType::parse_import(exact)
        .ok_or_else(|| Failure::new(format!("algorithm '{name}' is not supported")).hint("write AES256 or ChaCha20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Option<&'static str>)>, String> {
        let lookup = |name: &str| (name == "KEY").then(|| "from-env".to_owned());
        let keys = parse(text, &lookup).map_err(|failure| {
            failure.hint.map_or_else(|| failure.text.clone(), |hint| format!("{} | {hint}", failure.text))
        })?;
        Ok(keys.into_iter().map(|key| (key.name, key.algorithm.map(KeyType::algorithm))).collect())
    }

    #[test]
    fn keys_are_read_from_yaml_json_and_configurations() {
        let two = vec![("a".to_owned(), None), ("b".to_owned(), Some("ChaCha20"))];
        for text in [
            "keys:\n- name: a\n- {name: b, algorithm: chacha20}\n",
            r#"{"keys":[{"name":"a"},{"name":"b","algorithm":"ChaCha20"}]}"#,
            "- name: a\n- {name: b, algorithm: XCHACHA20-POLY1305}\n",
            "version: v1\ntls: {key: k}\nkeys: [a, {name: b, algorithm: ChaCha20}]\n",
        ] {
            assert_eq!(read(text), Ok(two.clone()), "{text}");
        }
        assert_eq!(read("keys: [{name: '${KEY}'}, 2024]").unwrap(), [("from-env".into(), None), ("2024".into(), None)]);
        assert_eq!(read("keys:"), Ok(Vec::new()));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (text, expected) in [
            ("", "there are no keys in it | write `keys:` and below it a line `- name: my-key` for each key"),
            (
                "tls: {}",
                "there is no 'keys' section in it | write `keys:` and below it a line `- name: my-key` for each key",
            ),
            ("key: [a]", "there is no 'keys' section in it | is 'key' meant to be 'keys'?"),
            ("keys: a", "'keys' is no list | write `keys:` and below it a line `- name: my-key` for each key"),
            ("keys: [{nmae: a}]", "keys[0]: unknown key 'nmae' | did you mean 'name'?"),
            (
                "keys: [a, {algorithm: AES256}]",
                "keys[1]: there is no name | write `keys:` and below it a line `- name: my-key` for each key",
            ),
            ("keys: [a, a]", "the key 'a' is named twice"),
            (
                "keys: [{name: a, algorithm: DES}]",
                "keys[0]: algorithm 'DES' is not supported | write AES256 or ChaCha20",
            ),
            ("keys: ['${NO}']", "keys[0]: the variable 'NO' is not set"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
        assert!(read("keys: [a b]").unwrap_err().contains("contains invalid characters"));
    }
}
