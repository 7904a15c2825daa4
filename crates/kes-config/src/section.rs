//! How the sections of the file are read: by key, into typed scalars, each with its place.
//!
//! The old decoder reads the whole file before anything is judged, so a wrong type or an unset variable at the end of the
//! file wins over a missing value at its beginning. Hence mistakes of that sort are collected in the [`Context`] while
//! the sections are read, and a section reads **all** its keys before it refuses anything. Refusals are collected there
//! too, in the order in which the old server judges: the start of a server tells the first, a check tells all.

use crate::error::{Error, ErrorKind, Place, Warning};
use crate::known;
use crate::scalar::{self, GoDuration};
use crate::secret::Secret;
use crate::yaml::{Mapping, Node, Value};
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};
use zeroize::Zeroizing;

/// What to do with a file that is no YAML at all.
pub(crate) const TOML: &str = "TOML files were read up to v0.7: write the same sections as YAML";

/// How environment variables are looked up.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What all sections of one file share while it is read.
pub(crate) struct Context<'a> {
    file: Arc<str>,
    environment: &'a Environment<'a>,
    mistakes: RefCell<Vec<Mistake>>,
    refusals: RefCell<Vec<Error>>,
    warnings: RefCell<Vec<Warning>>,
    translations: RefCell<Vec<Translation>>,
    /// The scalars that were replaced by an environment variable.
    references: RefCell<HashSet<*const Node>>,
}

/// Something was refused; the [`Context`] knows what and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

/// A key that was written in an old spelling.
pub(crate) struct Translation {
    /// Today's key.
    pub(crate) new: String,
    /// As it is written, and where.
    pub(crate) old: Place,
}

#[derive(Clone, PartialEq, Eq)]
struct Mistake {
    /// Whether a variable is not set; else a value is of the wrong kind.
    unset: bool,
    text: String,
    place: Place,
    hint: Option<String>,
    /// Whether the value at `place` could not be read, so that nothing is said about it any more.
    unread: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(file: &Arc<str>, environment: &'a Environment<'a>) -> Self {
        Self {
            file: Arc::clone(file),
            environment,
            mistakes: RefCell::default(),
            refusals: RefCell::default(),
            warnings: RefCell::default(),
            translations: RefCell::default(),
            references: RefCell::default(),
        }
    }

    /// The file as one section. A file that holds something else than a mapping is a mistake.
    pub(crate) fn root(&'a self, node: &'a Node) -> Section<'a> {
        let section = Section { context: self, mapping: None, key: String::new(), pattern: String::new(), line: 1 };
        section.holding(node)
    }

    fn block_hint(&self) -> &'static str {
        match self.file.ends_with(".toml") {
            true => TOML,
            false => "this is a block of `key: value` lines",
        }
    }

    /// The value of an environment variable that no reference names.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    pub(crate) fn place(&self, line: usize, key: impl Into<String>) -> Place {
        Place { file: Arc::clone(&self.file), line, key: key.into() }
    }

    pub(crate) fn warn(&self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.warnings.borrow_mut().push(Warning { message: message.into(), place, hint });
    }

    /// Notes why the file cannot be used.
    pub(crate) fn refuse(&self, error: Error) -> Refused {
        self.refusals.borrow_mut().push(error);
        Refused
    }

    /// How many refusals there are so far.
    pub(crate) fn refused(&self) -> usize {
        self.refusals.borrow().len()
    }

    pub(crate) fn translated(&self, old: Place, new: impl Into<String>) {
        self.translations.borrow_mut().push(Translation { new: new.into(), old });
    }

    pub(crate) fn take_translations(&self) -> Vec<Translation> {
        self.translations.take()
    }

    pub(crate) fn is_reference(&self, node: &Node) -> bool {
        self.references.borrow().contains(&std::ptr::from_ref(node))
    }

    /// What was collected, in the order of the file.
    pub(crate) fn take_warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.take();
        warnings.sort_by_key(|warning| warning.place.line);
        warnings
    }

    fn take_mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.take();
        mistakes.sort_by_key(|mistake| (!mistake.unset, mistake.place.line));
        mistakes.dedup();
        mistakes
    }

    /// What the old server says: one of the first `early` refusals; else the first unset variable, or all values of the
    /// wrong kind; else the first refusal.
    pub(crate) fn first_error(&self, early: usize) -> Option<Error> {
        let mut refusals = self.refusals.take().into_iter();
        if early > 0 {
            return refusals.next();
        }
        let mistakes = self.take_mistakes();
        let Some(first) = mistakes.first() else { return refusals.next() };
        let text = if first.unset {
            first.text.clone()
        } else {
            let lines: String = mistakes.iter().map(|mistake| format!("\n  {}", mistake.text)).collect();
            format!("yaml: unmarshal errors:{lines}")
        };
        Some(first.error(text))
    }

    /// Everything that is wrong, in the order of the file. A refusal of a value that could not even be read is left out.
    pub(crate) fn all_errors(&self) -> Vec<Error> {
        let mistakes = self.take_mistakes();
        let follows = |error: &Error| {
            let Some(key) = error.place().map(|place| place.key.as_str()) else { return false };
            mistakes.iter().filter(|mistake| mistake.unread).any(|mistake| match key {
                "keystore" => known::is_within(&mistake.place.key, key),
                _ => known::is_within(key, &mistake.place.key),
            })
        };
        let refusals = self.refusals.take().into_iter().filter(|error| !follows(error));
        let one = |mistake: &Mistake| {
            let line = format!("line {}: ", mistake.place.line);
            mistake.error(mistake.text.strip_prefix(&line).unwrap_or(&mistake.text))
        };
        let mut errors: Vec<Error> = mistakes.iter().map(one).chain(refusals).collect();
        errors.sort_by_key(|error| error.place().map_or(0, |place| place.line));
        errors
    }

    fn hash_mapping(&self, mapping: &Mapping, hasher: &mut DefaultHasher) {
        mapping.entries.len().hash(hasher);
        for entry in &mapping.entries {
            entry.key.hash(hasher);
            self.hash(&entry.value, hasher);
        }
    }

    fn hash(&self, node: &Node, hasher: &mut DefaultHasher) {
        match &node.value {
            Value::Scalar(scalar) => {
                let value =
                    scalar::reference(&scalar.text).filter(|_| self.is_reference(node)).and_then(self.environment);
                value.map(Zeroizing::new).as_ref().unwrap_or(&scalar.text).hash(hasher);
            }
            Value::Sequence(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| self.hash(item, hasher));
            }
            Value::Mapping(mapping) => self.hash_mapping(mapping, hasher),
        }
    }

    fn mistake(&self, place: Place, text: String, hint: &str, unread: bool) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.mistakes.borrow_mut().push(Mistake { unset: false, text, place, hint, unread });
    }

    fn wrong_kind(&self, node: &Node, place: Place, wanted: &str, hint: &str) {
        let text = format!("line {}: cannot unmarshal {} into {wanted}", node.line, node.describe());
        self.mistake(place, text, hint, true);
    }

    /// Replaces `${NAME}`. `None` if the variable is not set, which is then a mistake.
    fn resolve(&self, node: &Node, text: &Zeroizing<String>, place: &Place) -> Option<Text> {
        let Some(name) = scalar::reference(text) else {
            return Some(Text { value: text.clone(), variable: None, place: place.clone() });
        };
        self.references.borrow_mut().insert(std::ptr::from_ref(node));
        if let Some(value) = (self.environment)(name) {
            let value = Zeroizing::new(value);
            return Some(Text { value, variable: Some(name.to_owned()), place: place.clone() });
        }
        let line = node.line;
        let text = format!("kesconf: referenced env. variable '{name}' in line '{line}' not found");
        let hint = match name {
            "" => "put the name of a variable between the braces".to_owned(),
            _ if name.contains(":-") => "there is no default syntax: set the variable, or write the value".to_owned(),
            _ if name.contains("${") => "a value is one reference or none: `${NAME}` alone, or plain text".to_owned(),
            _ => format!("set the variable for the server's process (an empty one counts as set): export {name}=..."),
        };
        self.mistakes.borrow_mut().push(Mistake {
            unset: true,
            text,
            place: place.clone(),
            hint: Some(hint),
            unread: true,
        });
        None
    }
}

impl Mistake {
    fn error(&self, text: impl Into<String>) -> Error {
        let kind = if self.unset { ErrorKind::Unset } else { ErrorKind::Syntax };
        let error = Error::new(kind, text).at(self.place.clone());
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The text of a scalar, after environment variables.
pub(crate) struct Text {
    value: Zeroizing<String>,
    /// The variable it came from.
    pub(crate) variable: Option<String>,
    pub(crate) place: Place,
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.value
    }

    pub(crate) fn to_secret(&self) -> Secret {
        Secret::new(self.value.clone())
    }

    /// An error about this value.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message).at(self.place.clone())
    }
}

/// A value with its place.
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A mapping of the file, or the place where it would stand.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    context: &'a Context<'a>,
    mapping: Option<&'a Mapping>,
    /// Its dotted path, as errors show it.
    key: String,
    /// Its dotted path in the table of known keys: `*` stands for free names, `[]` for elements.
    pattern: String,
    line: usize,
}

impl<'a> Section<'a> {
    pub(crate) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// Notes why the file cannot be used.
    pub(crate) fn refuse(&self, error: Error) -> Refused {
        self.context.refuse(error)
    }

    /// Whether it stands in the file and is not `null`.
    pub(crate) fn is_present(&self) -> bool {
        self.mapping.is_some()
    }

    /// The dotted path of a key of this section.
    fn path(&self, key: &str) -> String {
        known::join(&self.key, key)
    }

    /// An absent section within this one.
    fn absent(&self, place: Place, pattern: &str) -> Self {
        let pattern = known::join(&self.pattern, pattern);
        debug_assert!(known::is_known(&pattern), "`{pattern}` is read but stands in no table");
        Self { context: self.context, mapping: None, key: place.key, pattern, line: place.line }
    }

    /// Where this section stands or would stand.
    pub(crate) fn here(&self) -> Place {
        self.context.place(self.line, self.key.clone())
    }

    /// Where a key stands or would stand.
    pub(crate) fn place(&self, key: &str) -> Place {
        let entry = self.mapping.and_then(|mapping| mapping.entries.iter().find(|entry| entry.key == key));
        self.context.place(entry.map_or(self.line, |entry| entry.line), self.path(key))
    }

    /// An error about a key of this section, be it there or missing.
    pub(crate) fn error(&self, key: &str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message).at(self.place(key))
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        let pattern = || known::join(&self.pattern, key);
        debug_assert!(known::is_known(&pattern()), "`{}` is read but stands in no table", pattern());
        self.mapping?.find(key).map(|node| &**node)
    }

    /// The keys that are written in this section.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.mapping.into_iter().flat_map(|mapping| mapping.entries.iter().map(|entry| entry.key.as_str()))
    }

    /// A section within this one. Absent if it is not written, `null`, or of the wrong kind, which is a mistake.
    pub(crate) fn section(&self, key: &str) -> Self {
        let section = self.absent(self.place(key), key);
        match self.node(key) {
            Some(node) => section.holding(node),
            None => section,
        }
    }

    /// A section that also counts as absent if nothing is filled in (decision 30): the sample files of the old server
    /// name every block of every store, with empty values.
    pub(crate) fn block(&self, key: &str) -> Self {
        match self.node(key) {
            Some(node) if node.is_unfilled() => self.absent(self.place(key), key),
            _ => self.section(key),
        }
    }

    fn holding(mut self, node: &'a Node) -> Self {
        match &node.value {
            Value::Mapping(mapping) => {
                for fault in &mapping.faults {
                    let hint = "write each key once, and as plain text";
                    let place = self.context.place(fault.line, self.key.clone());
                    self.context.mistake(place, fault.text.clone(), hint, false);
                }
                self.mapping = Some(mapping);
            }
            _ if node.is_null() => {}
            Value::Scalar(_) if !self.key.is_empty() => {
                // Not the text: it may be a password that was written a level too high.
                let text = format!("line {}: cannot unmarshal !!str into map", node.line);
                self.context.mistake(self.here(), text, "this is a block of `key: value` lines, not a value", true);
            }
            _ => self.context.wrong_kind(node, self.here(), "map", self.context.block_hint()),
        }
        self
    }

    /// All sections within this one, with their keys.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&'a str, Self)> {
        let entries = self.mapping.into_iter().flat_map(|mapping| &mapping.entries);
        entries.map(|entry| (entry.key.as_str(), self.absent(self.place(&entry.key), "*").holding(&entry.value)))
    }

    /// The text of a scalar; `${NAME}` is replaced.
    pub(crate) fn text(&self, key: &str) -> Option<Text> {
        self.scalar(key, "string").and_then(|(node, text)| self.context.resolve(node, text, &self.place(key)))
    }

    /// The text of a scalar, unless it is empty.
    pub(crate) fn filled(&self, key: &str) -> Option<Text> {
        self.text(key).filter(|text| !text.as_str().is_empty())
    }

    /// The text of a scalar as a string; empty if it is not there.
    pub(crate) fn string(&self, key: &str) -> String {
        self.text(key).map(|text| text.as_str().to_owned()).unwrap_or_default()
    }

    /// The text of a scalar as a string, unless it is empty.
    pub(crate) fn filled_string(&self, key: &str) -> Option<String> {
        self.filled(key).map(|text| text.as_str().to_owned())
    }

    /// The text of a scalar under a free name, which the table has as `*`.
    pub(crate) fn free_string(&self, name: &str) -> String {
        let node = self.mapping.and_then(|mapping| mapping.find(name)).filter(|node| !node.is_null());
        let Some(node) = node else { return String::new() };
        let Some(scalar) = node.as_scalar() else {
            self.context.wrong_kind(node, self.place(name), "string", "write one value here");
            return String::new();
        };
        let text = self.context.resolve(node, &scalar.text, &self.place(name));
        text.map(|text| text.as_str().to_owned()).unwrap_or_default()
    }

    /// A keyed hash of all that is written here, with the values of environment variables, and of what came from files.
    pub(crate) fn fingerprint(&self, content: &str) -> u64 {
        static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut hasher = STATE.build_hasher();
        if let Some(mapping) = self.mapping {
            self.context.hash_mapping(mapping, &mut hasher);
        }
        content.hash(&mut hasher);
        hasher.finish()
    }

    /// The text of a scalar that must not be shown, unless it is empty.
    pub(crate) fn secret(&self, key: &str) -> Option<Secret> {
        let pattern = known::join(&self.pattern, key);
        debug_assert!(known::is_secret(&pattern), "`{pattern}` is secret but would be shown");
        self.filled(key).map(|text| text.to_secret())
    }

    /// The scalar as it is written, without environment variables; a node of another kind is for the caller to refuse.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a Node> {
        self.node(key).filter(|node| !node.is_null())
    }

    fn scalar(&self, key: &str, wanted: &str) -> Option<(&'a Node, &'a Zeroizing<String>)> {
        let node = self.raw(key)?;
        match node.as_scalar() {
            Some(scalar) => Some((node, &scalar.text)),
            None => {
                self.context.wrong_kind(node, self.place(key), wanted, "write one value here");
                None
            }
        }
    }

    /// A length of time; `${NAME}` is replaced.
    pub(crate) fn duration(&self, key: &str) -> Option<Placed<GoDuration>> {
        const HINT: &str = "write a number with its unit, such as 300ms, 30s, 5m or 1h30m; \"0s\" is none";
        let (node, text) = self.scalar(key, "time.Duration")?;
        let text = self.context.resolve(node, text, &self.place(key))?;
        let plain_number = text.variable.is_none() && node.as_scalar().is_some_and(|scalar| scalar.tag() != "str");
        match GoDuration::parse(text.as_str()).filter(|_| !plain_number) {
            Some(value) => Some(Placed { value, place: text.place }),
            None => {
                self.context.wrong_kind(&shown(node, &text), text.place, "time.Duration", HINT);
                None
            }
        }
    }

    /// A switch; `${NAME}` is replaced.
    pub(crate) fn switch(&self, key: &str) -> Option<Placed<bool>> {
        let (node, text) = self.scalar(key, "bool")?;
        let text = self.context.resolve(node, text, &self.place(key))?;
        // Departs from upstream: `true` and `false` also work through a variable, where it knows the older words only.
        let bare = text.variable.is_some() || node.as_scalar().is_some_and(|scalar| scalar.tag() == "bool");
        let word = scalar::bool_word(text.as_str()).filter(|_| bare).or_else(|| scalar::switch_word(text.as_str()));
        match word {
            Some(value) => Some(Placed { value, place: text.place }),
            None => {
                self.context.wrong_kind(&shown(node, &text), text.place, "bool", "write true or false, without quotes");
                None
            }
        }
    }

    /// A whole number, 0 or more; `${NAME}` is replaced.
    pub(crate) fn count(&self, key: &str) -> Option<Placed<u64>> {
        let (node, text) = self.scalar(key, "uint64")?;
        let text = self.context.resolve(node, text, &self.place(key))?;
        match text.as_str().parse() {
            Ok(value) => Some(Placed { value, place: text.place }),
            Err(_) => {
                self.context.wrong_kind(&shown(node, &text), text.place, "uint64", "write a whole number, 0 or more");
                None
            }
        }
    }

    /// One of a few words; `${NAME}` is replaced. Absent or empty is `None`.
    pub(crate) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Refused> {
        let Some(text) = self.filled(key) else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == text.as_str()) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
                let error = text.error(format!("kesconf: invalid value '{}' for '{}'", text.as_str(), text.place.key));
                Err(self.refuse(error.hint(format!("write {}", words.join(" or ")))))
            }
        }
    }

    /// A list of scalars in which `${NAME}` is replaced. `null` elements are dropped, as the old decoder drops them.
    pub(crate) fn texts(&self, key: &str) -> Vec<Text> {
        let scalars = self.list(key).into_iter();
        scalars.filter_map(|(node, text, place)| self.context.resolve(node, text, &place)).collect()
    }

    /// A list of scalars that are taken as they are written.
    pub(crate) fn literals(&self, key: &str) -> Vec<Placed<String>> {
        let scalars = self.list(key).into_iter();
        scalars.map(|(_, text, place)| Placed { value: text.to_string(), place }).collect()
    }

    fn list(&self, key: &str) -> Vec<(&'a Node, &'a Zeroizing<String>, Place)> {
        let mut scalars = Vec::new();
        for (node, place) in self.elements(key, "[]string") {
            match node.as_scalar() {
                _ if node.is_null() => {}
                Some(scalar) => scalars.push((node, &scalar.text, place)),
                None => self.context.wrong_kind(node, place, "string", "write one value for each `-`"),
            }
        }
        scalars
    }

    /// The elements of a list of mappings.
    pub(crate) fn items(&self, key: &str) -> Vec<Self> {
        let elements = self.elements(key, "[]map").into_iter();
        elements.map(|(node, place)| self.absent(place, &format!("{key}[]")).holding(node)).collect()
    }

    fn elements(&self, key: &str, wanted: &str) -> Vec<(&'a Node, Place)> {
        let Some(node) = self.raw(key) else { return Vec::new() };
        let Value::Sequence(items) = &node.value else {
            self.context.wrong_kind(node, self.place(key), wanted, "this is a list: write each element behind a `-`");
            return Vec::new();
        };
        let path = self.path(key);
        let place = |(index, item): (usize, &'a std::rc::Rc<Node>)| {
            (&**item, self.context.place(item.line, format!("{path}[{index}]")))
        };
        items.iter().enumerate().map(place).collect()
    }
}

/// The node as an error should show it: with the variable's value in place of the reference.
fn shown(node: &Node, text: &Text) -> Node {
    match text.variable {
        Some(_) => Node::scalar(node.line, text.as_str()),
        None => node.clone(),
    }
}
