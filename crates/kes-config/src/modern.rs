//! A file written anew: today's spelling in the usual order, secrets masked.
//!
//! It is made from the tree and the table of known keys, not from the configuration: what the operator left out stays left
//! out, and a `${NAME}` stays what it is.

use crate::known;
use crate::scalar;
use crate::section::{Context, Translation};
use crate::yaml::{self, Entry, Mapping, Node, Scalar, Value};
use std::fmt::Write;

/// What stands in the place of a secret.
const MASK: &str = "<masked>";

/// Writes the tree as YAML, and tells whether anything in it is masked.
pub(crate) fn write(tree: &Node, context: &Context<'_>) -> (String, bool) {
    let file = context.place(1, "").file;
    // One line, whatever the name holds.
    let name: String = file.chars().filter(|c| !c.is_control()).collect();
    let mut writer = Writer { translations: context.take_translations(), out: format!("# {name} as kes reads it\n") };
    if let Some(root) = tree.as_mapping() {
        writer.mapping(&Block { key: String::new(), pattern: String::new() }, root, 0);
    }
    let masked = writer.out.contains(MASK);
    (writer.out, masked)
}

struct Writer {
    translations: Vec<Translation>,
    out: String,
}

/// A key on its way to be written: its dotted path, and the same in the table of known keys.
struct Block {
    key: String,
    pattern: String,
}

impl Block {
    /// A key within this block; `None` if there is no such key.
    fn within(&self, key: &str) -> Option<Self> {
        let patterns = [key, "*"].map(|name| known::join(&self.pattern, name));
        let pattern = patterns.into_iter().find(|pattern| known::is_known(pattern))?;
        Some(Self { key: known::join(&self.key, key), pattern })
    }

    /// Whether its key is a free name: it is there even if nothing stands in it.
    fn is_named(&self) -> bool {
        self.pattern.ends_with(".*")
    }
}

impl Writer {
    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{:1$}{text}", "", depth * 2);
    }

    fn mapping(&mut self, block: &Block, mapping: &Mapping, depth: usize) {
        let entries = mapping.entries.iter().map(|entry| (block.within(&entry.key), entry));
        let mut entries: Vec<(Option<Block>, &Entry)> = entries.collect();
        entries.sort_by_key(|(key, _)| key.as_ref().map_or(0, |key| known::position(&key.pattern)));
        for (key, entry) in entries {
            match key {
                Some(key) if is_copy(&key, mapping) => {
                    self.line(depth, &format!("# {}: left out, 'file' holds the same", entry.key));
                }
                Some(key) => self.entry(&key, entry, depth),
                None => self.line(depth, &left_out(&known::join(&block.key, &entry.key), entry.line, "has no effect")),
            }
        }
    }

    fn entry(&mut self, key: &Block, entry: &Entry, depth: usize) {
        let value = &*entry.value;
        let is_store = key.pattern.starts_with("keystore.") && !key.pattern.ends_with(".status");
        if value.is_empty() && !key.is_named() || is_store && value.as_mapping().is_some() && value.is_unfilled() {
            return; // as good as left out
        }
        let old: Vec<_> = self.translations.iter().filter(|translation| translation.new == key.key).collect();
        let old: Vec<_> =
            old.iter().map(|old| format!("# was '{}' (line {})", one_line(&old.old.key), old.old.line)).collect();
        old.iter().for_each(|comment| self.line(depth, comment));
        let name = quoted(&entry.key, true);
        let is_list = LISTS.contains(&key.pattern.as_str());
        match &value.value {
            Value::Mapping(inner) if known::is_block(&key.pattern) => self.block(&name, key, inner, depth),
            Value::Sequence(items) if is_list => {
                self.line(depth, &format!("{name}:"));
                items.iter().filter(|item| !item.is_null()).for_each(|item| self.item(key, item, depth));
            }
            Value::Scalar(_) if value.is_null() => self.line(depth, &format!("{name}: {{}}")),
            Value::Scalar(scalar) if !is_list && !known::is_block(&key.pattern) => {
                self.line(depth, &format!("{name}: {}", written(scalar, key)));
            }
            _ => self.line(depth, &left_out(&key.key, entry.line, "is of the wrong kind")),
        }
    }

    /// A block, or only the comments in it if nothing else is there; a free name then stands for itself.
    fn block(&mut self, name: &str, key: &Block, inner: &Mapping, depth: usize) {
        let start = self.out.len();
        self.mapping(key, inner, depth + 1);
        let written = self.out.split_off(start);
        match written.lines().all(|line| line.trim_start().starts_with('#')) {
            false => self.line(depth, &format!("{name}:")),
            true if key.is_named() => self.line(depth, &format!("{name}: {{}}")),
            true => {}
        }
        self.out.push_str(&written);
    }

    /// One element of a list: a value, or a block of which the first line has the dash.
    fn item(&mut self, key: &Block, item: &Node, depth: usize) {
        let inner = Block { key: key.key.clone(), pattern: format!("{}[]", key.pattern) };
        match &item.value {
            Value::Scalar(scalar) if !known::is_block(&inner.pattern) => {
                self.line(depth, &format!("- {}", written(scalar, key)));
            }
            Value::Mapping(mapping) if known::is_block(&inner.pattern) => {
                let start = self.out.len();
                self.mapping(&inner, mapping, depth + 1);
                let written = self.out.split_off(start);
                let (comments, keys): (Vec<_>, Vec<_>) =
                    written.split_inclusive('\n').partition(|line| line.trim_start().starts_with('#'));
                self.out.extend(comments);
                match keys.split_first() {
                    Some((first, rest)) => {
                        self.line(depth, &format!("- {}", first.trim()));
                        self.out.extend(rest.iter().copied());
                    }
                    None => self.line(depth, "- {}"),
                }
            }
            _ => self.line(depth, &format!("# line {}: an element of the wrong kind, left out", item.line)),
        }
    }
}

/// Keys that hold a list.
const LISTS: &[&str] = &[
    "tls.proxy.identities",
    "policy.*.allow",
    "policy.*.deny",
    "policy.*.identities",
    "keys",
    "keystore.gcp.secretmanager.scopes",
    "keystore.kes.endpoint",
];

fn left_out(path: &str, line: usize, why: &str) -> String {
    format!("# {}: line {line}, {why}, left out", one_line(path))
}

/// A text for a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A literal static key beside the file that holds it: masked, it would contradict the file.
fn is_copy(key: &Block, mapping: &Mapping) -> bool {
    let literal = |node: &Node| node.as_scalar().is_some_and(|scalar| scalar::reference(&scalar.text).is_none());
    key.pattern == "keystore.static.key"
        && mapping.find("key").is_some_and(|key| !key.is_empty() && literal(key))
        && mapping.find("file").is_some_and(|file| !file.is_empty())
}

/// A value, or the mask and where to put the value.
fn written(scalar: &Scalar, key: &Block) -> String {
    let text = scalar.text.as_str();
    if scalar::reference(text).is_some() {
        return quoted(text.trim(), true);
    }
    let is_path = key.pattern.ends_with(".jwt") && text.contains(['/', std::path::MAIN_SEPARATOR]);
    if known::is_secret(&key.pattern) && !is_path {
        let variable: String = key.key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let variable = variable.strip_prefix("keystore_").unwrap_or(&variable).to_ascii_uppercase();
        return format!("\"{MASK}\" # put the secret here, or set a variable and write ${{KES_{variable}}}");
    }
    match key.pattern.ends_with(".endpoint").then(|| without_password(text)).flatten() {
        Some(masked) => format!("{} # put user name and password before the '@'", quoted(&masked, true)),
        None => quoted(text, scalar.tag() == "str"),
    }
}

/// A URL whose user name and password are masked, if it has such.
fn without_password(url: &str) -> Option<String> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let at = url[start..end].rfind('@')?;
    Some(format!("{}{MASK}{}", &url[..start], &url[start + at..]))
}

/// A scalar as YAML: plain where it looks like what it is, else in double quotes. `text` tells whether it must stay text;
/// what is not must stay plain.
fn quoted(value: &str, text: bool) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || "_./+=-*:".contains(c);
    let reference = || {
        let name = scalar::reference(value).filter(|name| !name.is_empty());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
    };
    let plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || "_./".contains(c))
        && value.chars().all(simple)
        && !value.ends_with(':')
        && !value.starts_with("...")
        || reference();
    match (plain, text) {
        (true, true) if yaml::type_of(value) == "str" => return value.to_owned(),
        (true, false) => return value.to_owned(),
        _ => {}
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_what_they_are() {
        let text = ["a", "/v1/key/create/*", "${NAME}", "127.0.0.1:7373", "AKIA", "a=b"];
        assert!(text.iter().all(|value| quoted(value, true) == *value));
        let quotes =
            ["", " a", "5", "true", "~", "- a", "a: b", "a #b", "*", "a:", "ä", "[x]", "${A B}", "...", "0x1", "1e3"];
        assert!(quotes.iter().all(|value| quoted(value, true) == format!("\"{value}\"")));
        assert_eq!(quoted("a\n\"\\\u{1}", true), "\"a\\n\\\"\\\\\\u0001\"");
        assert_eq!([quoted("true", false), quoted("100", false)], ["true", "100"]);
    }

    #[test]
    fn a_url_keeps_all_but_the_password() {
        assert_eq!(without_password("https://u:p@ss@host:1/x@y").as_deref(), Some("https://<masked>@host:1/x@y"));
        assert_eq!(without_password("u:p@host").as_deref(), Some("<masked>@host"));
        assert_eq!(without_password("https://host/x@y"), None);
    }
}
