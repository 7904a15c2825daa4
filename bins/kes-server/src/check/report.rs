//! What a check found, as a value, as text and as JSON.

use std::fmt::Write;

use kes_config::{Error, Place, Warning};
use serde::Serialize;

/// One thing that is wrong or remarkable, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The configuration file; empty if it is not about the file.
    pub file: String,
    /// The line, from 1; 0 if it is not about one.
    pub line: usize,
    /// The dotted path of the key, such as `tls.cert`; empty if it is not about one.
    pub key: String,
    /// What is the matter.
    pub message: String,
    /// What to do; empty if there is nothing better.
    pub hint: String,
}

impl Finding {
    pub(super) fn new(place: Option<Place>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (file, line, key) = match place {
            Some(Place { file, line, key }) => (file.to_string(), line, key),
            None => (String::new(), 0, String::new()),
        };
        Self { file, line, key, message: message.into(), hint: hint.into() }
    }

    fn lines(&self, label: &str) -> String {
        let mut text = format!("{label}: {}\n", self.message);
        if !self.file.is_empty() {
            let key = if self.key.is_empty() { String::new() } else { format!(": {}", self.key) };
            let line = if self.line == 0 { String::new() } else { format!(":{}", self.line) };
            let _ = writeln!(text, " --> {}{line}{key}", self.file);
        }
        if !self.hint.is_empty() {
            let _ = writeln!(text, "hint: {}", self.hint.replace('\n', "\n    "));
        }
        text
    }
}

impl From<&Error> for Finding {
    fn from(error: &Error) -> Self {
        Self::new(error.place().cloned(), error.message(), error.advice().unwrap_or_default())
    }
}

impl From<&Warning> for Finding {
    fn from(warning: &Warning) -> Self {
        Self::new(Some(warning.place.clone()), &warning.message, warning.hint.as_deref().unwrap_or_default())
    }
}

/// All that was found, each list in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What keeps a server from starting.
    pub errors: Vec<Finding>,
    /// What will bite.
    pub warnings: Vec<Finding>,
    /// Harmless things.
    pub notes: Vec<Finding>,
    /// The file in today's spelling with secrets masked, if it could be read.
    #[serde(skip)]
    pub modern: Option<String>,
}

impl Report {
    pub(super) fn error(&mut self, error: &Error) {
        self.errors.push(error.into());
    }

    pub(super) fn warn(&mut self, place: Option<Place>, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Finding::new(place, message, hint));
    }

    pub(super) fn note(&mut self, place: Option<Place>, message: impl Into<String>, hint: impl Into<String>) {
        self.notes.push(Finding::new(place, message, hint));
    }

    /// Puts each list into the order of the file; what is not about the file comes last.
    pub(super) fn sort(&mut self) {
        for list in [&mut self.errors, &mut self.warnings, &mut self.notes] {
            list.sort_by_key(|finding| (finding.file.is_empty(), finding.line));
        }
    }

    /// Makes errors of all warnings: `--strict`.
    pub(super) fn make_strict(&mut self) {
        self.errors.append(&mut self.warnings);
        self.sort();
    }

    /// Whether a server can start with it.
    #[must_use]
    pub fn is_loadable(&self) -> bool {
        self.errors.is_empty()
    }

    /// For people: every finding with its place and remedy, then how many there are.
    pub(super) fn text(&self, name: &str, strict: bool) -> String {
        let lists = [("error", &self.errors), ("warning", &self.warnings), ("note", &self.notes)];
        let findings = lists.iter().flat_map(|(label, list)| list.iter().map(move |finding| finding.lines(label)));
        let mut text: String = findings.map(|finding| finding + "\n").collect();
        let count =
            |list: &[Finding], what: &str| format!("{} {what}{}", list.len(), if list.len() == 1 { "" } else { "s" });
        let verdict = match (self.is_loadable(), strict) {
            (true, _) => "a server can start with it",
            (false, true) => "not good enough for --strict",
            (false, false) => "a server would not start with it",
        };
        let (errors, warnings) = (count(&self.errors, "error"), count(&self.warnings, "warning"));
        let _ = writeln!(text, "{name}: {errors}, {warnings}: {verdict}");
        text
    }

    /// For programs: one document, with the file in today's spelling as `config` if that was asked for.
    pub(super) fn json(&self, print: bool) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a Report,
            #[serde(skip_serializing_if = "Option::is_none")]
            config: Option<&'a str>,
        }
        let config = self.modern.as_deref().filter(|_| print);
        let document = Document { report: self, config };
        serde_json::to_string_pretty(&document).expect("strings and numbers always serialise") + "\n"
    }
}
