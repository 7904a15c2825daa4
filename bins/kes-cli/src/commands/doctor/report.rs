//! What the doctor found: lines under headings for people, one document for programs.

use serde::Serialize;

use crate::output::Output;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    Good,
    Warning,
    Problem,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What was looked at: a file or a server.
    subject: String,
    result: Mark,
    message: String,
    /// What to do; empty if there is nothing to do.
    hint: String,
}

/// All checks so far.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    checks: Vec<Check>,
    problems: usize,
    warnings: usize,
    #[serde(skip)]
    subject: String,
}

impl Report {
    /// What the next checks are about.
    pub(super) fn about(&mut self, subject: impl Into<String>) {
        self.subject = subject.into();
    }

    pub(super) fn good(&mut self, message: impl Into<String>) {
        self.add(Mark::Good, message.into(), String::new());
    }

    pub(super) fn warn(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings += 1;
        self.add(Mark::Warning, message.into(), hint.into());
    }

    pub(super) fn problem(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.problems += 1;
        self.add(Mark::Problem, message.into(), hint.into());
    }

    fn add(&mut self, result: Mark, message: String, hint: String) {
        self.checks.push(Check { subject: self.subject.clone(), result, message, hint });
    }

    pub(super) fn is_good(&self) -> bool {
        self.problems == 0
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let mut text = String::new();
        let mut subject = None;
        for check in &self.checks {
            if subject != Some(&check.subject) {
                let gap = if text.is_empty() { "" } else { "\n" };
                text += &format!("{gap}{}\n", output.bold(&check.subject));
                subject = Some(&check.subject);
            }
            let mark = match check.result {
                Mark::Good => output.green("✔"),
                Mark::Warning => output.bold("!"),
                Mark::Problem => output.red("✖"),
            };
            text += &format!("{mark} {}\n", check.message);
            if !check.hint.is_empty() {
                text += &format!("  → {}\n", check.hint.replace('\n', "\n    "));
            }
        }
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        text + &format!("\n{}, {}\n", count(self.problems, "problem"), count(self.warnings, "warning"))
    }
}
