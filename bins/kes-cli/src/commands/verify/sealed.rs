//! Sealed keys to be verified, and the list they may come in.

use std::collections::BTreeMap;
use std::io::BufRead;

use kes_crypto::base64;
use kes_crypto::static_key;
use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::input;

/// Longest line of a list.
const MAX_LINE: usize = 4 << 20;

/// A sealed key and what belongs to it.
#[derive(Clone, Debug, Default)]
pub(in crate::commands) struct Sealed {
    /// Where it comes from: `line 7`, `bucket/object`.
    pub(in crate::commands) source: String,
    pub(in crate::commands) key: String,
    pub(in crate::commands) ciphertext: Vec<u8>,
    pub(in crate::commands) context: Vec<u8>,
    /// Why there is nothing to verify.
    pub(in crate::commands) malformed: Option<String>,
}

impl Sealed {
    pub(super) fn malformed(source: impl Into<String>, why: impl Into<String>) -> Self {
        Self { source: source.into(), malformed: Some(why.into()), ..Self::default() }
    }
}

/// Reads a list: JSON lines, a JSON array, or lines of `KEY CIPHERTEXT [CONTEXT]`.
pub(super) fn read(name: &str) -> Outcome<Vec<Sealed>> {
    let failed = |error: &std::io::Error| Failure::new(format!("read {name}: {}", input::reason(error)));
    if name == "-" {
        return list(&mut std::io::stdin().lock()).map_err(|error| failed(&error));
    }
    let file = std::fs::File::open(name);
    let file = file.map_err(|error| Failure::new(format!("open {name}: {}", input::reason(&error))))?;
    list(&mut std::io::BufReader::new(file)).map_err(|error| failed(&error))
}

fn list(input: &mut dyn BufRead) -> std::io::Result<Vec<Sealed>> {
    let is_array = loop {
        match input.fill_buf()?.first() {
            Some(b'[') => break true,
            Some(byte) if byte.is_ascii_whitespace() => input.consume(1),
            _ => break false,
        }
    };
    if is_array {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let items: Result<Vec<serde_json::Value>, _> = serde_json::from_str(&text);
        return Ok(match items {
            Ok(items) => {
                items.into_iter().enumerate().map(|(at, item)| of_json(format!("item {}", at + 1), item)).collect()
            }
            Err(error) => vec![Sealed::malformed("the list", format!("it is no JSON: {error}"))],
        });
    }
    let (mut all, mut line, mut number) = (Vec::new(), Vec::new(), 0_usize);
    loop {
        line.clear();
        let read = std::io::Read::take(&mut *input, MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        number += 1;
        if read == 0 {
            return Ok(all);
        }
        let source = format!("line {number}");
        match std::str::from_utf8(&line).map(str::trim) {
            _ if read > MAX_LINE => {
                all.push(Sealed::malformed(source, format!("it is longer than {MAX_LINE} bytes")));
                return Ok(all);
            }
            Ok("") => {}
            Ok(text) if text.starts_with('#') => {}
            Ok(text) if text.starts_with('{') => all.push(match serde_json::from_str(text) {
                Ok(item) => of_json(source, item),
                Err(error) => Sealed::malformed(source, format!("it is no JSON: {error}")),
            }),
            Ok(text) => all.push(of_words(source, text)),
            Err(_) => all.push(Sealed::malformed(source, "it is no text")),
        }
    }
}

/// An object of a list. `kmskey` and `keyid` are the names in MinIO's own files.
#[derive(Deserialize)]
struct Item {
    #[serde(alias = "key_name", alias = "keyid", alias = "key_id")]
    key: String,
    #[serde(alias = "kmskey", alias = "sealed_key", alias = "sealed")]
    ciphertext: String,
    #[serde(default)]
    context: Option<Context>,
    bucket: Option<String>,
    object: Option<String>,
    #[serde(default, alias = "id")]
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Context {
    /// Base64 of the bytes.
    Text(String),
    /// MinIO's map.
    Map(BTreeMap<String, String>),
}

fn of_json(source: String, item: serde_json::Value) -> Sealed {
    let item: Item = match serde_json::from_value(item) {
        Ok(item) => item,
        Err(error) => return Sealed::malformed(source, error.to_string()),
    };
    let context = match (item.context, item.bucket, item.object) {
        (Some(Context::Text(text)), ..) => match decode(&text) {
            Some(context) => context,
            None => return Sealed::malformed(source, "the context is no base64"),
        },
        (Some(Context::Map(map)), bucket, object) => minio_context(map, bucket.as_deref(), object.as_deref()),
        (None, Some(bucket), Some(object)) => minio_context(BTreeMap::new(), Some(&bucket), Some(&object)),
        (None, ..) => Vec::new(),
    };
    let source = item.source.unwrap_or(source);
    match decode(&item.ciphertext) {
        Some(ciphertext) => Sealed { source, key: item.key, ciphertext, context, malformed: None },
        None => Sealed { key: item.key, ..Sealed::malformed(source, "the ciphertext is no base64") },
    }
}

fn of_words(source: String, line: &str) -> Sealed {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [key, ciphertext, context @ ..] = words.as_slice() else {
        return Sealed::malformed(source, "write KEY CIPHERTEXT and perhaps a CONTEXT, or JSON");
    };
    let context = match context {
        [] => Some(Vec::new()),
        [context] => decode(context),
        _ => return Sealed::malformed(source, "there are more than three words in it"),
    };
    match (decode(ciphertext), context) {
        (Some(ciphertext), Some(context)) => {
            Sealed { source, key: (*key).to_owned(), ciphertext, context, malformed: None }
        }
        (None, _) => Sealed { key: (*key).to_owned(), ..Sealed::malformed(source, "the ciphertext is no base64") },
        (_, None) => Sealed { key: (*key).to_owned(), ..Sealed::malformed(source, "the context is no base64") },
    }
}

/// Base64, or a ciphertext of Vault, which is text.
fn decode(text: &str) -> Option<Vec<u8>> {
    if text.starts_with("vault:v") {
        return Some(text.as_bytes().to_vec());
    }
    base64::decode(text).ok()
}

/// What MinIO binds to a data key: the caller's map, and bucket and object unless the map names the bucket itself. A
/// folder (`a/`) is bound without its slash.
pub(super) fn minio_context(mut map: BTreeMap<String, String>, bucket: Option<&str>, object: Option<&str>) -> Vec<u8> {
    if let (Some(bucket), Some(object)) = (bucket, object) {
        map.entry(bucket.to_owned()).or_insert_with(|| format!("{bucket}/{}", object.trim_end_matches('/')));
    }
    static_key::context(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Sealed> {
        list(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn lists_come_in_three_forms() {
        let lines = "{\"key\":\"k\",\"ciphertext\":\"AAEC\",\"context\":\"YQ==\"}\n\n# note\nk AAEC YQ==\n";
        let array = r#" [{"key_name":"k","sealed":"AAEC","context":"YQ==","id":"x"}]"#;
        for sealed in read(lines).into_iter().chain(read(array)) {
            assert_eq!((sealed.key.as_str(), sealed.ciphertext.as_slice()), ("k", &[0, 1, 2][..]));
            assert_eq!((sealed.context.as_slice(), sealed.malformed.as_deref()), (&b"a"[..], None));
        }
        assert_eq!(read(lines).iter().map(|sealed| sealed.source.as_str()).collect::<Vec<_>>(), ["line 1", "line 4"]);
        assert_eq!(read(array)[0].source, "x");
    }

    #[test]
    fn contexts_are_bytes_maps_or_bucket_and_object() {
        for (members, expected) in [
            ("", ""),
            (r#","context":"""#, ""),
            (r#","context":{"b":"b/o","a":"1"}"#, r#"{"a":"1","b":"b/o"}"#),
            (r#","bucket":"b","object":"o<""#, r#"{"b":"b/o\u003c"}"#),
            (r#","bucket":"b","object":"d/""#, r#"{"b":"b/d"}"#),
            (r#","context":{"a":"1"},"bucket":"b","object":"o""#, r#"{"a":"1","b":"b/o"}"#),
            (r#","context":{"b":"own"},"bucket":"b","object":"o""#, r#"{"b":"own"}"#),
        ] {
            let sealed = read(&format!("{{\"key\":\"k\",\"ciphertext\":\"AAEC\"{members}}}"));
            assert_eq!(String::from_utf8_lossy(&sealed[0].context), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_does_not_stop_the_rest() {
        let all = read("k\n{\"key\":1}\n{nope\nk !!! \nk AAEC !!!\nk AAEC YQ== x\nk AAEC\n");
        let why: Vec<_> = all.iter().map(|sealed| sealed.malformed.clone().unwrap_or_default()).collect();
        assert_eq!(why[0], "write KEY CIPHERTEXT and perhaps a CONTEXT, or JSON");
        assert!(why[1].contains("invalid type") && why[2].contains("no JSON"), "{why:?}");
        assert_eq!(
            why[3..],
            ["the ciphertext is no base64", "the context is no base64", "there are more than three words in it", ""]
        );
        assert!(read("[{]")[0].malformed.as_ref().unwrap().contains("no JSON"));
        assert!(read("").is_empty() && read("[]").is_empty());
    }
}
