//! What there is to say about a whole file.

use crate::config::{Config, Sections};
use crate::error::{Error, ErrorKind, Place, Warning};
use std::collections::BTreeMap;

/// All that is wrong with a file and all that is remarkable about it: [`File::inspect`](crate::File::inspect).
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// What could be read, so that more can be judged than the file alone.
    pub sections: Sections,
    /// What makes the file unusable, in the order of the file. A value that could not be read is told once, not again by
    /// those who need it.
    pub errors: Vec<Error>,
    /// What an operator should know, in the order of the file.
    pub warnings: Vec<Warning>,
    /// Harmless things.
    pub notes: Vec<Warning>,
    /// The file written anew, if it could be read at all: today's spelling in the usual order, `${NAME}` as it was,
    /// secrets masked, comments where something was translated or left out. Read back, it is the same configuration but
    /// for the masked secrets.
    pub modern: Option<String>,
    /// Whether a secret stands in the file itself, rather than in a variable or file that it names.
    pub secrets: bool,
    pub(crate) places: BTreeMap<String, Place>,
}

impl Inspection {
    pub(crate) fn unreadable(error: Error) -> Self {
        Self {
            sections: Sections::default(),
            errors: vec![error],
            warnings: Vec::new(),
            notes: Vec::new(),
            modern: None,
            secrets: false,
            places: BTreeMap::new(),
        }
    }

    /// The configuration, if there is no error.
    #[must_use]
    pub fn into_config(self) -> Option<Config> {
        if self.errors.is_empty() { self.sections.complete() } else { None }
    }

    /// An error about what a key says, found by looking beyond the file: [`Config::refuse`].
    #[must_use]
    pub fn refuse(&self, key: &str, message: impl Into<String>, hint: &str) -> Error {
        let error = Error::new(ErrorKind::Invalid, message);
        let error = match self.place(key) {
            Some(place) => error.at(place),
            None => error,
        };
        if hint.is_empty() { error } else { error.hint(hint) }
    }

    /// Where a key stands, by its dotted path in today's spelling such as `policy.minio.allow[0]`; for one that is
    /// missing, the place of the block it belongs to.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        let mut block = key;
        loop {
            if let Some(place) = self.places.get(block) {
                return Some(Place { key: key.to_owned(), ..place.clone() });
            }
            block = match block.rfind(['.', '[']) {
                Some(end) => &block[..end],
                None if block.is_empty() => return None,
                None => "",
            };
        }
    }
}
