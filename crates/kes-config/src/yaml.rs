//! The YAML file as a tree with line numbers. The only module that knows the parser.
//!
//! Values stay text: what a scalar means is decided by whoever reads it, because the dialect of these files (words of
//! YAML 1.1 for switches, numbers that are strings) is that of the decoder they were written for. Aliases are resolved
//! by sharing, merge keys (`<<`) by copying what is not there already. Only the first document of a stream is read.

mod lenient;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use zeroize::Zeroizing;

/// Deeper files are refused: no section has more than seven levels.
const MAX_DEPTH: usize = 100;

/// A file that would have more nodes with all its aliases written out is refused.
const MAX_NODES: usize = 1_000_000;

/// At most so many bytes are read again to put indentation right.
const MAX_REPAIR: usize = 16 << 20;

/// One value of the file.
#[derive(Clone)]
pub(crate) struct Node {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
    /// How many nodes it is made of, shared ones counted each time.
    weight: usize,
}

#[derive(Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    Mapping(Mapping),
}

/// The text may be a secret, so it is wiped on drop and the type has no `Debug`.
#[derive(Clone)]
pub(crate) struct Scalar {
    pub(crate) text: Zeroizing<String>,
    /// Whether it stands there without quotes and without a tag, so that its look decides its type.
    pub(crate) plain: bool,
    /// The type that a tag gives it: `str` for `!!str`.
    tag: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Mapping {
    /// What is defined, in the order of the file; a key is here once. Keys that are no scalars are left out.
    pub(crate) entries: Vec<Entry>,
    /// What was wrong with its keys, for whoever reads this mapping: the old server does not look into sections that it
    /// does not know.
    pub(crate) faults: Vec<KeyFault>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The line of the key.
    pub(crate) line: usize,
    pub(crate) value: Rc<Node>,
}

/// What was wrong with a key, as the old decoder says it.
#[derive(Clone)]
pub(crate) struct KeyFault {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Why a text is no tree.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Fault {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line: line.max(1), text: text.into() }
    }
}

impl Node {
    pub(crate) fn scalar(line: usize, text: &str) -> Self {
        let scalar = Scalar { text: Zeroizing::new(text.to_owned()), plain: false, tag: None };
        Self { line, value: Value::Scalar(scalar), weight: 1 }
    }

    pub(crate) fn empty_mapping(line: usize) -> Self {
        Self { line, value: Value::Mapping(Mapping::default()), weight: 1 }
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(crate) fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// `null` and everything that equals an absent key.
    pub(crate) fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| scalar.tag() == "null")
    }

    /// Whether nothing is written in it: no text, no element, or only such.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.text.is_empty() || self.is_null(),
            Value::Sequence(items) => items.iter().all(|item| item.is_empty()),
            Value::Mapping(mapping) => mapping.entries.iter().all(|entry| entry.value.is_empty()),
        }
    }

    /// Whether nothing is written in it but how often something is tried: `retry` and `ping`, which the sample file of the
    /// old server has filled in beside empty endpoints.
    pub(crate) fn is_unfilled(&self) -> bool {
        match &self.value {
            Value::Mapping(mapping) => {
                let literal = |node: &Self| node.as_scalar().is_some_and(|scalar| !scalar.text.contains("${"));
                let tunes = |entry: &&Entry| matches!(entry.key.as_str(), "retry" | "ping") && literal(&entry.value);
                mapping.entries.iter().filter(|entry| !tunes(entry)).all(|entry| entry.value.is_unfilled())
            }
            _ => self.is_empty(),
        }
    }

    /// What the old decoder calls it: ``!!str `text` ``, `!!seq`. Long texts are cut as it cuts them.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) => {
                let tag = scalar.tag();
                match scalar.text.char_indices().nth(10) {
                    Some(_) => format!("!!{tag} `{}...`", scalar.text.chars().take(7).collect::<String>()),
                    None => format!("!!{tag} `{}`", scalar.text.as_str()),
                }
            }
            Value::Sequence(_) => "!!seq".to_owned(),
            Value::Mapping(_) => "!!map".to_owned(),
        }
    }

    /// Whether both were written alike, wherever they stand.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(one), Value::Scalar(other)) => one.text == other.text,
            (Value::Sequence(one), Value::Sequence(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.same_as(other))
            }
            (Value::Mapping(one), Value::Mapping(other)) => {
                let found = |entry: &Entry| other.find(&entry.key).is_some_and(|node| node.same_as(&entry.value));
                one.entries.len() == other.entries.len() && one.entries.iter().all(found)
            }
            _ => false,
        }
    }
}

impl Scalar {
    /// The type that its tag or its look gives it.
    pub(crate) fn tag(&self) -> &str {
        match &self.tag {
            Some(tag) => tag,
            None if self.plain => type_of(&self.text),
            None => "str",
        }
    }
}

/// The type of an unquoted scalar. Numbers only matter for how an error names them.
pub(crate) fn type_of(text: &str) -> &'static str {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return "null",
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return "bool",
        ".nan" | ".NaN" | ".NAN" => return "float",
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix));
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter();
    let mut prefixed = prefixed.filter_map(|(prefix, radix)| Some((unsigned.strip_prefix(prefix)?, radix)));
    if unsigned.starts_with(|c: char| c.is_ascii_digit()) && all(unsigned, 10)
        || prefixed.any(|(digits, radix)| all(digits, radix))
    {
        return "int";
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || is_float(unsigned) {
        return "float";
    }
    let day: Vec<&str> = text.get(..10).unwrap_or_default().split('-').collect();
    match day.as_slice() {
        [year, month, day] if [year, month, day].iter().all(|part| all(part, 10)) && year.len() == 4 => "timestamp",
        _ => "str",
    }
}

fn is_float(text: &str) -> bool {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    digits && text.starts_with(|c: char| c == '.' || c.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

impl Mapping {
    pub(crate) fn find(&self, key: &str) -> Option<&Rc<Node>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Sets the value of a key, whatever it was.
    pub(crate) fn set(&mut self, key: &str, line: usize, value: Rc<Node>) {
        self.remove(key);
        self.entries.push(Entry { key: key.to_owned(), line, value });
    }
}

/// Reads the first document of `text`. `None` if there is none: an empty file, or only comments.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find(|c| !is_printable(c)) {
        let line = text[..at].matches('\n').count() + 1;
        return Err(Fault::new(line, "yaml: control characters are not allowed"));
    }
    let mut text = Zeroizing::new(text.to_owned());
    let mut work = 0;
    loop {
        let error = match read(&text)? {
            Ok(root) => return Ok(root),
            Err(error) => error,
        };
        work += text.len();
        match lenient::repair(&text, &error).filter(|_| work < MAX_REPAIR) {
            Some(repaired) => text = repaired,
            None => return Err(scan_fault(&text, &error)),
        }
    }
}

/// Reads the first document. The inner error may be one that the old decoder would not have made.
fn read(text: &str) -> Result<Result<Option<Node>, ScanError>, Fault> {
    let mut tree = Tree::default();
    let mut parser = Parser::new(StrInput::new(text));
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::DocumentEnd | Event::StreamEnd, _)) => break,
            Ok((event, span)) => tree.take(text, event, span)?,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(tree.root.map(Rc::unwrap_or_clone)))
}

/// What YAML allows in a stream.
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn scan_fault(text: &str, error: &ScanError) -> Fault {
    let (line, info) = (error.marker().line(), error.info());
    match info.contains("unknown anchor").then(|| anchor_at(text, line, error.marker().col())).flatten() {
        Some(anchor) => Fault::new(line, format!("yaml: unknown anchor '{anchor}' referenced")),
        None => Fault::new(line, format!("yaml: line {line}: {info}")),
    }
}

/// The name of the alias that stands there.
fn anchor_at(text: &str, line: usize, column: usize) -> Option<String> {
    let rest = text.lines().nth(line.checked_sub(1)?)?.chars().skip(column);
    let name: String =
        rest.skip_while(|c| *c == '*').take_while(|c| !c.is_whitespace() && !",[]{}".contains(*c)).collect();
    (!name.is_empty()).then_some(name)
}

/// A tree under construction.
#[derive(Default)]
struct Tree {
    root: Option<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

/// A sequence or mapping whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    weight: usize,
    parts: Parts,
}

enum Parts {
    Items(Vec<Rc<Node>>),
    Pairs(Vec<(Rc<Node>, Rc<Node>)>, Option<Rc<Node>>),
}

impl Tree {
    fn take(&mut self, text: &str, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let line = span.start.line().max(1);
        match event {
            Event::Scalar(scalar, style, anchor, tag) => {
                let scalar = scalar_of(scalar, style, tag);
                self.add(anchor, Node { line, value: Value::Scalar(scalar), weight: 1 })
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => self.add_shared(Rc::clone(node), line),
                None => {
                    let name = anchor_at(text, line, span.start.col()).unwrap_or_default();
                    Err(Fault::new(line, format!("yaml: anchor '{name}' value contains itself")))
                }
            },
            Event::SequenceStart(anchor, _) => self.open(line, anchor, Parts::Items(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(line, anchor, Parts::Pairs(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: usize, anchor: usize, parts: Parts) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(line, format!("yaml: line {line}: exceeded max depth of {MAX_DEPTH}")));
        }
        self.open.push(Open { line, anchor, weight: 1, parts });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Open { line, anchor, weight, parts }) = self.open.pop() else { return Ok(()) };
        let value = match parts {
            Parts::Items(items) => Value::Sequence(items),
            Parts::Pairs(pairs, _) => Value::Mapping(mapping_of(pairs)?),
        };
        self.add(anchor, Node { line, value, weight })
    }

    fn add(&mut self, anchor: usize, node: Node) -> Result<(), Fault> {
        let (line, node) = (node.line, Rc::new(node));
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add_shared(node, line)
    }

    fn add_shared(&mut self, node: Rc<Node>, line: usize) -> Result<(), Fault> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.weight = parent.weight.saturating_add(node.weight);
        if parent.weight > MAX_NODES {
            return Err(Fault::new(line, "yaml: document contains excessive aliasing"));
        }
        match &mut parent.parts {
            Parts::Items(items) => items.push(node),
            Parts::Pairs(pairs, key) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
        Ok(())
    }
}

fn scalar_of(text: Cow<'_, str>, style: ScalarStyle, tag: Option<Cow<'_, Tag>>) -> Scalar {
    let tag = tag.map(|tag| match tag.is_yaml_core_schema() {
        true => tag.suffix.clone(),
        false => "str".to_owned(),
    });
    let plain = style == ScalarStyle::Plain && tag.is_none();
    Scalar { text: Zeroizing::new(text.into_owned()), plain, tag }
}

fn mapping_of(pairs: Vec<(Rc<Node>, Rc<Node>)>) -> Result<Mapping, Fault> {
    let mut mapping = Mapping::default();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut merged = Vec::new();
    for (key, value) in pairs {
        let Some(scalar) = key.as_scalar() else {
            let text = format!("line {}: cannot unmarshal {} into string", key.line, key.describe());
            mapping.faults.push(KeyFault { line: key.line, text });
            continue;
        };
        if scalar.text.as_str() == "<<" && (scalar.plain || scalar.tag() == "merge") {
            merged.extend(merge_sources(&value)?);
            continue;
        }
        let name = scalar.text.to_string();
        if let Some(first) = seen.get(&name) {
            let text = format!("line {}: mapping key {name:?} already defined at line {first}", key.line);
            mapping.faults.push(KeyFault { line: key.line, text });
            continue;
        }
        seen.insert(name.clone(), key.line);
        mapping.entries.push(Entry { key: name, line: key.line, value });
    }
    // What is written out wins over what is merged in, and an earlier source over a later one.
    for source in &merged {
        let Value::Mapping(source) = &source.value else { continue };
        for entry in &source.entries {
            if !seen.contains_key(&entry.key) {
                seen.insert(entry.key.clone(), entry.line);
                mapping.entries.push(entry.clone());
            }
        }
    }
    Ok(mapping)
}

/// The mappings that a `<<` names.
fn merge_sources(value: &Rc<Node>) -> Result<Vec<Rc<Node>>, Fault> {
    let sources = match &value.value {
        Value::Sequence(items) => items.clone(),
        _ => vec![Rc::clone(value)],
    };
    match sources.iter().all(|source| source.as_mapping().is_some()) {
        true => Ok(sources),
        false => Err(Fault::new(value.line, "yaml: map merge requires map or sequence of maps as the value")),
    }
}

#[cfg(test)]
mod tests;
