//! The written list of what may differ, `vectors/oracle/differences.json`.

use crate::outcome::Outcome;
use regex_lite::Regex;
use serde_json::Value;

/// The list, and what of it has been seen.
pub(crate) struct Differences {
    entries: Vec<Difference>,
    only_ours: Vec<Regex>,
    alike: usize,
}

struct Difference {
    request: Regex,
    old: Regex,
    ours: Regex,
    reason: String,
    seen: usize,
}

impl Differences {
    /// Reads the list.
    pub(crate) fn read() -> Self {
        let file: Value =
            serde_json::from_str(include_str!("../../vectors/oracle/differences.json")).expect("the list is JSON");
        let entries = file["differences"].as_array().expect("differences").iter().map(|entry| Difference {
            request: whole(&entry["request"]),
            old: whole(&entry["old"]),
            ours: whole(&entry["ours"]),
            reason: entry["reason"].as_str().expect("a reason").to_owned(),
            seen: 0,
        });
        Self {
            entries: entries.collect(),
            only_ours: file["keys_only_ours"].as_array().expect("keys").iter().map(whole).collect(),
            alike: 0,
        }
    }

    /// Compares two outcomes; a difference that is not on the list is a fault.
    pub(crate) fn judge(&mut self, id: &str, ours: &Outcome, old: &Outcome) -> Option<String> {
        if ours == old {
            self.alike += 1;
            return None;
        }
        let (our, their) = (ours.to_string(), old.to_string());
        let known = self
            .entries
            .iter_mut()
            .find(|entry| entry.request.is_match(id) && entry.old.is_match(&their) && entry.ours.is_match(&our));
        match known {
            Some(difference) => {
                difference.seen += 1;
                None
            }
            None => Some(format!("{id}\n    old:  {}\n    ours: {}", cut(&their), cut(&our))),
        }
    }

    /// How many outcomes were the same.
    pub(crate) fn alike(&self) -> usize {
        self.alike
    }

    /// How many differed as the list says.
    pub(crate) fn listed(&self) -> usize {
        self.entries.iter().map(|entry| entry.seen).sum()
    }

    /// Entries that no request has shown.
    pub(crate) fn unused(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| entry.seen == 0)
            .map(|entry| format!("{}: {}", entry.request.as_str(), entry.reason))
            .collect()
    }

    /// The names without those that only our server creates.
    pub(crate) fn without_ours_alone(&self, names: Vec<String>) -> Vec<String> {
        names.into_iter().filter(|name| !self.only_ours.iter().any(|pattern| pattern.is_match(name))).collect()
    }
}

fn whole(pattern: &Value) -> Regex {
    Regex::new(&format!("^(?s:{})$", pattern.as_str().expect("a pattern"))).expect("a pattern of the list")
}

fn cut(text: &str) -> String {
    text.chars().take(240).collect()
}
