//! What a run says: a line for each key in a pipe, a bar on a terminal, one document for programs.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::engine::{End, Watcher};
use super::journal::Journal;
use super::progress::Progress;
use super::verdict::{Record, Tally, Verdict};
use crate::args::When;
use crate::failure::Outcome;
use crate::output::{self, Output};
use crate::terminal;

/// The bar is drawn no more often than this.
const REDRAW: Duration = Duration::from_millis(100);

/// How a run shows itself while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A line for each key.
    Lines,
    /// A bar, and a line for each key that needs to be looked at.
    Bar,
    /// Nothing.
    Silent,
}

/// What a run shows, and whether it keeps what a document needs.
#[derive(Clone, Copy)]
pub(super) struct Show {
    pub(super) style: Style,
    pub(super) document: bool,
}

/// Gathers what happens, shows it, and writes it down.
pub(super) struct Report<'o> {
    output: &'o Output,
    color: When,
    style: Style,
    /// Kept for a document only: a migration may have a million keys.
    keys: Option<Vec<Record>>,
    pub(super) tally: Tally,
    /// The first key that is not good.
    pub(super) first_bad: Option<Record>,
    journal: Option<Journal>,
    progress: Progress,
    start: Instant,
    drawn: Option<Instant>,
}

impl<'o> Report<'o> {
    pub(super) fn new(output: &'o Output, color: When, show: Show, journal: Option<Journal>, total: usize) -> Self {
        let Show { style, document } = show;
        Self {
            output,
            color,
            style,
            keys: document.then(Vec::new),
            tally: Tally::default(),
            first_bad: None,
            journal,
            progress: Progress::new(total as u64),
            start: Instant::now(),
            drawn: None,
        }
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Ends the show; gives back the journal.
    pub(super) fn close(&mut self) -> Option<Journal> {
        if self.style == Style::Bar {
            self.say("\r\x1b[K");
        }
        self.journal.take()
    }

    fn draw(&mut self) {
        let now = Instant::now();
        if self.style != Style::Bar || self.drawn.is_some_and(|drawn| now - drawn < REDRAW) {
            return;
        }
        self.drawn = Some(now);
        let line = self.progress.line(self.start.elapsed(), terminal::size().0);
        self.say(&format!("\r\x1b[K{line}"));
    }

    /// Whoever has stopped reading the report has not stopped the migration.
    fn say(&self, text: &str) {
        let _ = output::print(text);
    }

    fn line(&self, record: &Record) -> String {
        let verdict = format!("{:<10}", record.verdict.as_str());
        let verdict = match record.verdict {
            Verdict::Copied | Verdict::Replaced => self.output.green(&verdict),
            verdict_of if verdict_of.is_good() => verdict,
            _ => self.output.red(&verdict),
        };
        let fingerprint = record.fingerprint.map_or_else(|| "-".to_owned(), |fingerprint| fingerprint.to_string());
        let mut line = format!("{verdict}  {fingerprint:<16}  {}", record.name);
        if let Some(target) = record.target {
            line += &format!("  (the target has {target})");
        }
        if let Some(problem) = &record.problem {
            line += &format!("  ({})", problem.replace(char::is_control, "?"));
        }
        line + "\n"
    }
}

impl Watcher for Report<'_> {
    fn record(&mut self, record: &Record) {
        self.tally.add(record.verdict);
        self.progress.step();
        if !record.verdict.is_good() && self.first_bad.is_none() {
            self.first_bad = Some(record.clone());
        }
        if let Some(journal) = &mut self.journal
            && let Err(failure) = journal.add(record)
        {
            self.journal = None;
            let text = format!("{}; this run cannot be resumed, only repeated", failure.text);
            output::warn(self.color, &text);
        }
        if let Some(keys) = &mut self.keys {
            keys.push(record.clone());
        }
        let quiet_good = matches!(record.verdict, Verdict::Copied | Verdict::Same);
        match self.style {
            Style::Lines => self.say(&self.line(record)),
            Style::Bar if !quiet_good => self.say(&format!("\r\x1b[K{}", self.line(record))),
            _ => {}
        }
        self.draw();
    }

    fn tick(&mut self) {
        self.draw();
    }
}

/// The document of `--json`.
#[derive(Serialize)]
struct Document<'r> {
    from: &'r str,
    to: &'r str,
    pattern: &'r str,
    dry_run: bool,
    outcome: &'static str,
    keys: Vec<Key>,
    summary: Counts,
}

#[derive(Serialize)]
struct Key {
    name: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Counts {
    total: u64,
    done_before: u64,
    copied: u64,
    same: u64,
    replaced: u64,
    skipped: u64,
    differs: u64,
    unreadable: u64,
    failed: u64,
    not_reached: u64,
}

/// What a run was about.
pub(super) struct Frame<'r> {
    pub(super) from: &'r str,
    pub(super) to: &'r str,
    pub(super) pattern: &'r str,
    pub(super) dry_run: bool,
    /// Keys in all, and those that an earlier run had done.
    pub(super) total: u64,
    pub(super) done_before: u64,
}

impl Frame<'_> {
    /// The first lines.
    pub(super) fn heading(&self) -> String {
        let dry = if self.dry_run { "Dry run: nothing will be written.\n\n" } else { "" };
        format!("Starting key migration:\n\n  From  {}\n  To    {}\n\n{dry}", self.from, self.to)
    }

    fn not_reached(&self, tally: &Tally) -> u64 {
        self.total - self.done_before - tally.all()
    }

    /// `5 keys: 3 copied, 1 differs, 1 not reached`.
    pub(super) fn summary(&self, tally: &Tally) -> String {
        let counts = [
            (!tally.to_string().is_empty()).then(|| tally.to_string()),
            (self.done_before > 0).then(|| format!("{} done before", self.done_before)),
            (self.not_reached(tally) > 0).then(|| format!("{} not reached", self.not_reached(tally))),
        ];
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        match (self.total, &counts[..]) {
            (0, _) => "0 keys".to_owned(),
            (1, counts) => format!("1 key: {}", counts.join(", ")),
            (total, counts) => format!("{total} keys: {}", counts.join(", ")),
        }
    }

    /// The last line of a run that has done everything. Compat: the old texts, which scripts wait for.
    pub(super) fn success(&self, tally: &Tally) -> String {
        match (self.dry_run, tally.migrated()) {
            (true, 0) => "Dry run: no key would be migrated.\n".to_owned(),
            (true, 1) => "Dry run: 1 key would be migrated.\n".to_owned(),
            (true, keys) => format!("Dry run: {keys} keys would be migrated.\n"),
            (false, 0) => "Migration succeeded! No keys migrated.\n".to_owned(),
            (false, keys) => format!("Migrated {keys:6} keys successfully!\n"),
        }
    }

    /// The document, if one is wanted.
    pub(super) fn document(&self, report: &mut Report<'_>, end: End) -> Outcome<Option<String>> {
        let Some(keys) = report.keys.take() else { return Ok(None) };
        let tally = &report.tally;
        let keys = keys.into_iter().map(|record| Key {
            name: record.name.to_string(),
            verdict: record.verdict.as_str(),
            fingerprint: record.fingerprint.map(|fingerprint| fingerprint.to_string()),
            target_fingerprint: record.target.map(|fingerprint| fingerprint.to_string()),
            error: record.problem,
        });
        let document = Document {
            from: self.from,
            to: self.to,
            pattern: self.pattern,
            dry_run: self.dry_run,
            outcome: outcome(end, tally),
            keys: keys.collect(),
            summary: Counts {
                total: self.total,
                done_before: self.done_before,
                copied: tally.of(Verdict::Copied),
                same: tally.of(Verdict::Same),
                replaced: tally.of(Verdict::Replaced),
                skipped: tally.of(Verdict::Skipped),
                differs: tally.of(Verdict::Differs),
                unreadable: tally.of(Verdict::Unreadable),
                failed: tally.of(Verdict::Failed),
                not_reached: self.not_reached(tally),
            },
        };
        report.output.document(&document)
    }
}

fn outcome(end: End, tally: &Tally) -> &'static str {
    match end {
        End::Complete if tally.bad() > 0 => "incomplete",
        End::Complete => "complete",
        End::Stopped => "stopped",
        End::Outage => "store_unavailable",
        End::Interrupted => "interrupted",
    }
}
