//! A policy in a file of its own: what `kes policy add` took up to v0.17, and what `kes policy show` prints.
//!
//! ```yaml
//! allow: [/v1/key/create/my-*]
//! deny: [/v1/key/create/my-internal*]
//! ```
//!
//! JSON is read as the YAML it is. The lists may also be maps with the patterns as names, as servers since 2023-11
//! answer. `name`, `created_at`, `created_by` and `identities` may stand beside them.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Place};
use crate::nearest::nearest;
use crate::yaml::{self, Mapping, Node, Value};

/// The rules of a policy that stands in a file of its own.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PolicyFile {
    /// The policy's name, if the file says it.
    pub name: Option<String>,
    /// Under `allow`, in the order of the file.
    pub allow: Vec<Pattern>,
    /// Under `deny`, in the order of the file.
    pub deny: Vec<Pattern>,
}

/// A pattern with its place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pattern {
    /// As written.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

const KEYS: [&str; 6] = ["allow", "deny", "identities", "name", "created_at", "created_by"];

/// Keys of a server's configuration, by which it is known.
const SERVER: [&str; 6] = ["policy", "tls", "keystore", "admin", "address", "cache"];

impl PolicyFile {
    /// Reads a policy; `name` is the file's for messages.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] for what is no YAML, or holds something else than lists of patterns; [`ErrorKind::Invalid`]
    /// for unknown keys, which might be a mistyped `deny`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let file: Arc<str> = name.into();
        let place = |line: usize, key: &str| Place { file: Arc::clone(&file), line, key: key.to_owned() };
        let syntax = |line: usize, key: &str, text: String| Error::new(ErrorKind::Syntax, text).at(place(line, key));
        let root = yaml::parse(text).map_err(|fault| syntax(fault.line, "", fault.text))?;
        let root =
            root.ok_or_else(|| syntax(1, "", "EOF".to_owned()).hint("the file is empty: write `allow: [...]`"))?;
        let Some(mapping) = root.as_mapping() else {
            let text = format!("line {}: cannot unmarshal {} into a policy", root.line, root.describe());
            return Err(syntax(root.line, "", text).hint("a policy is `allow: [...]` and perhaps `deny: [...]`"));
        };
        if let Some(fault) = mapping.faults.first() {
            return Err(syntax(fault.line, "", fault.text.clone()));
        }
        refuse_unknown(mapping, &place)?;
        let patterns = |key: &str| match mapping.find(key) {
            None => Ok(Vec::new()),
            Some(node) => patterns(node, &|index, line| place(line, &format!("{key}[{index}]")))
                .map_err(|node| syntax(node.line, key, format!("line {}: '{key}' is no list of patterns", node.line))),
        };
        let name = mapping.find("name").and_then(|node| node.as_scalar()).map(|name| name.text.to_string());
        Ok(Self { name: name.filter(|name| !name.is_empty()), allow: patterns("allow")?, deny: patterns("deny")? })
    }
}

fn refuse_unknown(mapping: &Mapping, place: &dyn Fn(usize, &str) -> Place) -> Result<(), Error> {
    let unknown = || mapping.entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str()));
    // The one that tells what file it is says the most.
    let entry = unknown().find(|entry| SERVER.contains(&entry.key.as_str())).or_else(|| unknown().next());
    let Some(entry) = entry else { return Ok(()) };
    let error = Error::new(ErrorKind::Invalid, format!("invalid policy: unknown key '{}'", entry.key));
    let error = error.at(place(entry.line, &entry.key));
    Err(match nearest(&entry.key, KEYS) {
        _ if SERVER.contains(&entry.key.as_str()) => {
            error.hint("this is the configuration of a server: name it with --config")
        }
        Some(meant) => error.hint(format!("did you mean '{meant}'?")),
        None => error.hint("a policy is `allow: [...]` and perhaps `deny: [...]`"),
    })
}

/// The elements of a list, or the names of a map; what is neither comes back.
fn patterns<'n>(node: &'n Node, place: &dyn Fn(usize, usize) -> Place) -> Result<Vec<Pattern>, &'n Node> {
    match &node.value {
        _ if node.is_null() => Ok(Vec::new()),
        Value::Scalar(_) => Err(node),
        Value::Mapping(mapping) if !mapping.faults.is_empty() => Err(node),
        Value::Mapping(mapping) => {
            let entries = mapping.entries.iter().enumerate();
            let pattern = |(index, entry): (usize, &yaml::Entry)| Pattern {
                text: entry.key.clone(),
                place: place(index, entry.line),
            };
            Ok(entries.map(pattern).collect())
        }
        Value::Sequence(items) => {
            let items = items.iter().enumerate().filter(|(_, item)| !item.is_null());
            let pattern = |(index, item): (usize, &'n std::rc::Rc<Node>)| match item.as_scalar() {
                Some(scalar) => Ok(Pattern { text: scalar.text.to_string(), place: place(index, item.line) }),
                None => Err(&**item),
            };
            items.map(pattern).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(patterns: &[Pattern]) -> Vec<(&str, usize)> {
        patterns.iter().map(|pattern| (pattern.text.as_str(), pattern.place.line)).collect()
    }

    #[test]
    fn yaml_json_and_what_servers_answer_are_read_with_their_lines() {
        for (text, allow, deny) in [
            (
                "allow:\n- /v1/status\n- /v1/key/create/*\ndeny: [/v1/x]\n",
                vec![("/v1/status", 2), ("/v1/key/create/*", 3)],
                vec![("/v1/x", 4)],
            ),
            ("{\n\t\"allow\": [\n\t\t\"/v1/status\"\n\t],\n\t\"deny\": []\n}\n", vec![("/v1/status", 3)], vec![]),
            (
                r#"{"name":"p","allow":{"/v1/key/\u003ca\u003e":{},"/v1/b":{}},"created_at":"2025-01-01T00:00:00Z"}"#,
                vec![("/v1/key/<a>", 1), ("/v1/b", 1)],
                vec![],
            ),
            ("allow:\ndeny:\n", vec![], vec![]),
        ] {
            let policy = PolicyFile::parse("p.yml", text).unwrap();
            assert_eq!(lines(&policy.allow), allow, "{text}");
            assert_eq!(lines(&policy.deny), deny, "{text}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "EOF\n --> p.yml:1\nhint: the file is empty: write `allow: [...]`"),
            (
                "[/v1/status]",
                "line 1: cannot unmarshal !!seq into a policy\n --> p.yml:1\nhint: a policy is `allow: [...]` and perhaps `deny: [...]`",
            ),
            (
                "allow: [a]\ndney: [b]",
                "invalid policy: unknown key 'dney'\n --> p.yml:2: dney\nhint: did you mean 'deny'?",
            ),
            (
                "version: v1\ntls: {}\n",
                "invalid policy: unknown key 'tls'\n --> p.yml:2: tls\nhint: this is the configuration of a server: name it with --config",
            ),
            ("allow: /v1/status", "line 1: 'allow' is no list of patterns\n --> p.yml:1: allow"),
            ("allow:\n- [a]\n", "line 2: 'allow' is no list of patterns\n --> p.yml:2: allow"),
            ("allow: [a]\nallow: [b]\n", "line 2: mapping key \"allow\" already defined at line 1\n --> p.yml:2"),
        ] {
            assert_eq!(PolicyFile::parse("p.yml", text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
