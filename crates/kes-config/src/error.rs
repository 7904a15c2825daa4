//! What is said about a file: refusals and warnings, each with its place and what to write instead.

use std::fmt;
use std::sync::Arc;

/// Where something stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// The line, from 1. For a key that is missing, the line of the block it belongs to.
    pub line: usize,
    /// The dotted path of the key, such as `tls.proxy.identities[0]`; empty for the file as a whole.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

/// What kind of refusal an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be opened or read.
    Unreadable,
    /// The file is no YAML, or a value is of the wrong kind.
    Syntax,
    /// A `${NAME}` names a variable that is not set.
    Unset,
    /// A value is missing, contradicts another or is not allowed.
    Invalid,
    /// The file asks for something that this release or build does not have.
    Unsupported,
    /// The key store could not be opened. The cause is the error's source.
    Store,
}

/// Why a file cannot be used. The fault is the operator's, except for [`ErrorKind::Store`].
///
/// `Display` gives up to three parts, each on lines of its own: the text that the Go server prints for the same mistake
/// (config.md 3, 4 and 7) where there is one, ` --> file:line: key`, and `hint: ` with what to write instead.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, hint: None, source: None }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What kind of refusal it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text without place and hint. More than one line only where several values are of the wrong kind.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the file the mistake is, if it is in the file.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What to write instead.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.message, self.place.as_ref(), self.hint.as_deref())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Something in a usable file that an operator should know. `Display` has the parts that [`Error`]'s has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// One sentence.
    pub message: String,
    /// Where in the file it is.
    pub place: Place,
    /// What to write instead, if there is something better.
    pub hint: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, &self.message, Some(&self.place), self.hint.as_deref())
    }
}

fn lines(f: &mut fmt::Formatter<'_>, message: &str, place: Option<&Place>, hint: Option<&str>) -> fmt::Result {
    f.write_str(message)?;
    if let Some(place) = place {
        write!(f, "\n --> {place}")?;
    }
    if let Some(hint) = hint {
        write!(f, "\nhint: {hint}")?;
    }
    Ok(())
}

/// The words that the Go server's errors have for a failed file operation: `no such file or directory`, without a number.
pub(crate) fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = words.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => text,
    }
}
