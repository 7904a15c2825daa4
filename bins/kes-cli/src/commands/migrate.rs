//! `kes migrate`: copies all keys of one configuration's store into another's, and proves it.
//!
//! Every key gets a verdict, and every copy is read back. Without `--force` nothing that the target has is changed, so a
//! run may be interrupted at any point and repeated: what is there already is found to be the same. The source is only
//! read.

mod copy;
mod engine;
mod journal;
mod pattern;
mod progress;
mod report;
mod stores;
#[cfg(test)]
mod tests;
mod verdict;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kes_keystore::{Error, KeyName};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Format, Global};
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome, Status, chain};
use crate::output::{self, Output};
use crate::terminal;
use copy::{Copier, OnConflict};
use engine::{End, Run};
use journal::{Done, Journal, Migration};
use report::{Frame, Report, Show, Style};
use stores::{Purpose, Side};
use verdict::{Tally, Verdict};

/// The arguments of `kes migrate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Migrate {
    /// Server configuration whose key store the keys come from
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    from: Option<PathBuf>,
    /// Server configuration whose key store the keys go to
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    to: Option<PathBuf>,
    /// Only keys whose whole name matches (*, ?, [a-z]) [default: *]
    pattern: Option<String>,
    /// Replace keys that the target has with another value: delete, then create
    #[arg(short, long)]
    force: bool,
    /// Leave keys that the target has with another value
    #[arg(long)]
    merge: bool,
    /// Only tell what would happen, to all keys; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on where an interrupted or stopped run has ended, without reading what is done again
    #[arg(long)]
    resume: bool,
    /// File that remembers what is done [default: the file of --to with .migrate-state behind its name]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    state: Option<PathBuf>,
    /// Go on behind a key that differs, cannot be read or cannot be written
    #[arg(long)]
    continue_on_error: bool,
    /// Keys in work at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
    #[arg(short, long, hide = true, value_name = "NAME")]
    enclave: Option<String>,
}

const EXAMPLES: &str = "Each key is read on both sides, copied byte for byte, read back and compared:
  copied       it was not there, and is now
  same         the target had the same value already
  replaced     another value was there and had to make way (--force)
  skipped      another value is there and stays (--merge)
  differs      another value is there: the run stops, or goes on with --continue-on-error
  unreadable   the source holds no key under this name, or does not hand it out: as above
  failed       the target did not take it, or does not return it: as above

Exit status: 0 every key is copied, same, replaced or skipped; 1 at least one is not; 2 wrong usage; 7 a key store is
not there or does not answer; 130 interrupted. After any of them the same command may simply be run again.

No server is asked: of the options of connections only --timeout counts, for each call of a key store [default: 30s].

Examples:
  kes migrate --from fs.yml --to vault.yml --dry-run
  kes migrate --from fs.yml --to vault.yml
  kes migrate --from fs.yml --to vault.yml --resume
  kes migrate --from fs.yml --to vault.yml --json 'tenant-*'";

/// Departs from upstream: its own key server cannot be reached with what is public about it, and it would lose HMAC keys.
const NO_MIN_KMS: &str = "migration to a MinKMS server is not supported";

pub(crate) fn run(global: &Global, output: &Output, migrate: &Migrate) -> Outcome {
    let order = Order::check(global, migrate, &environment::process)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("starting: {error}")))?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let (first, mut second) = signals.split();
        tokio::select! {
            biased;
            () = second.wait() => Err(Failure::interrupted()),
            result = order.run(global, output, first) => result,
        }
    });
    // A store that hangs must not keep the program.
    runtime.shutdown_background();
    result
}

/// What is asked for, once it is known to make sense.
struct Order<'m> {
    migrate: &'m Migrate,
    from: &'m PathBuf,
    to: &'m PathBuf,
    pattern: &'m str,
    on_conflict: OnConflict,
    limit: Duration,
}

/// How long one call of a key store may take, unless `--timeout` says otherwise.
const LIMIT: Duration = Duration::from_secs(30);

impl<'m> Order<'m> {
    /// The order of these checks, and their texts, are the old ones.
    fn check(global: &Global, migrate: &'m Migrate, lookup: Lookup<'_>) -> Outcome<Self> {
        let wrong = |text: &str| Err(Failure { status: Status::Usage, ..Failure::new(text) });
        let min_kms = [
            ("-s / --server", global.server.is_some()),
            ("-e / --enclave", migrate.enclave.is_some()),
            ("-a / --api-key", global.api_key.is_some()),
            ("-k / --insecure", global.insecure),
        ];
        let Some(from) = &migrate.from else { return wrong("no source specified. Use '--from' flag") };
        let Some(to) = &migrate.to else {
            let is_set = lookup("MINIO_KMS_SERVER").is_some_and(|value| !value.is_empty());
            if is_set || min_kms.iter().any(|(_, given)| *given) {
                return Err(Failure::new(format!("{NO_MIN_KMS}; name a KES configuration with '--to'")));
            }
            return wrong("missing migration target. Use '--to' or '--server'");
        };
        if migrate.force && migrate.merge {
            return wrong("'--force' and '--merge' flags are mutually exclusive");
        }
        if let Some((flag, _)) = min_kms.into_iter().find(|(_, given)| *given) {
            return wrong(&format!("cannot use '{flag}' and '--to' flag")).map_err(|failure| failure.hint(NO_MIN_KMS));
        }
        let on_conflict = match (migrate.force, migrate.merge) {
            (true, _) => OnConflict::Force,
            (_, true) => OnConflict::Merge,
            _ => OnConflict::Stop,
        };
        let (pattern, limit) = (pattern::check(migrate.pattern.as_deref())?, global.timeout.unwrap_or(LIMIT));
        Ok(Self { migrate, from, to, pattern, on_conflict, limit })
    }

    async fn run(&self, global: &Global, output: &Output, mut interrupt: Interrupt<'_>) -> Outcome {
        let (from, to) = tokio::select! {
            sides = self.open(global) => sides?,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        let all = tokio::select! {
            names = self.names(&from) => names?,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        let total = all.len();
        let (journal, done) = self.journal(global, &from, &to)?;
        let names: Vec<KeyName> = all.into_iter().filter(|name| !done.contains(name)).collect();
        let (from_title, to_title) = (from.title(), to.title());
        let frame = Frame {
            from: &from_title,
            to: &to_title,
            pattern: self.pattern,
            dry_run: self.migrate.dry_run,
            total: total as u64,
            done_before: (total - names.len()) as u64,
        };
        let show = self.show(output);
        if show.style != Style::Silent {
            output::print(frame.heading())?;
        }
        let mut report = Report::new(output, global.color, show, journal, names.len());
        let run = Run {
            copier: Arc::new(self.copier(&from, &to)),
            jobs: usize::from(self.migrate.jobs),
            go_on: self.migrate.continue_on_error || self.migrate.dry_run,
        };
        let end = run.over(names, interrupt.wait(), &mut report).await;
        self.finish(&frame, report, end)
    }

    async fn open(&self, global: &Global) -> Outcome<(Side, Side)> {
        let target = if self.migrate.dry_run { Purpose::DryTarget } else { Purpose::Target };
        let from = Side::open(self.from, Purpose::Source).await?;
        let to = Side::open(self.to, target).await?;
        for warning in from.warnings.iter().chain(&to.warnings) {
            output::warn(global.color, &warning.to_string());
        }
        if from.is_same(&to) {
            let text = format!("source and target are the same key store: {}", from.title());
            return Err(Failure { status: Status::Usage, ..Failure::new(text) });
        }
        Ok((from, to))
    }

    async fn names(&self, from: &Side) -> Outcome<Vec<KeyName>> {
        let names = walk::names(&*from.store, pattern::prefix(self.pattern), walk::PAGE).await;
        let mut names = names.map_err(|error| unavailable(&error).while_doing("failed to list the source's keys"))?;
        names.retain(|name| pattern::matches(self.pattern, name.as_str()));
        Ok(names)
    }

    /// What is done already, and where to write down what will be.
    fn journal(&self, global: &Global, from: &Side, to: &Side) -> Outcome<(Option<Journal>, Done)> {
        let Migrate { resume, dry_run, state, .. } = self.migrate;
        let path = state.clone().unwrap_or_else(|| journal::default_path(self.to));
        let migration = Migration::new(&from.place, &to.place);
        if *dry_run {
            let done = if *resume { journal::read(&path, &migration, self.on_conflict)? } else { Done::default() };
            return Ok((None, done));
        }
        match Journal::open(path, &migration, self.on_conflict, *resume) {
            Ok((journal, done)) => Ok((Some(journal), done)),
            // A folder that nobody can write to, as Kubernetes mounts configurations, is no reason not to migrate.
            Err(failure) if !resume && state.is_none() && failure.hint.is_none() => {
                let text = format!("{}; this run cannot be resumed, only repeated", failure.text);
                output::warn(global.color, &text);
                Ok((None, Done::default()))
            }
            Err(failure) => Err(failure),
        }
    }

    fn show(&self, output: &Output) -> Show {
        let document = output.format() != Format::Text;
        let style = match (self.migrate.quiet || document, output.is_terminal()) {
            (true, _) => Style::Silent,
            (_, true) if terminal::can_redraw(&environment::process) => Style::Bar,
            _ => Style::Lines,
        };
        Show { style, document }
    }

    fn copier(&self, from: &Side, to: &Side) -> Copier {
        Copier {
            from: Arc::clone(&from.store),
            to: Arc::clone(&to.store),
            on_conflict: self.on_conflict,
            dry_run: self.migrate.dry_run,
            limit: self.limit,
        }
    }

    /// The last words, and what is left of the journal.
    fn finish(&self, frame: &Frame<'_>, mut report: Report<'_>, end: End) -> Outcome {
        let journal = report.close();
        let failure = self.failure(&report, end, journal.is_some());
        if let (None, Some(journal)) = (&failure, journal) {
            // A file that stays is in nobody's way.
            let _ = journal.remove();
        }
        if let Some(document) = frame.document(&mut report, end)? {
            output::print(document)?;
        } else if !self.migrate.quiet {
            let gap = if report.tally.all() > 0 && report.style() == Style::Lines { "\n" } else { "" };
            output::print(format!("{gap}{}\n", frame.summary(&report.tally)))?;
            if failure.is_none() {
                output::print(frame.success(&report.tally))?;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn failure(&self, report: &Report<'_>, end: End, resumable: bool) -> Option<Failure> {
        let bad = report.first_bad.as_ref().map(|record| explain(record, self.on_conflict));
        let resume = if resumable { " with --resume" } else { "" };
        let again = format!("run the same command again{resume} to go on");
        match (end, bad) {
            (End::Complete, None) => None,
            (End::Interrupted, _) => {
                let hint = format!("{again}; {} keys are done", report.tally.all() - report.tally.bad());
                let failure = Failure { status: Status::Interrupted, ..Failure::new("migration interrupted") };
                Some(failure.hint(hint))
            }
            (End::Outage, Some(bad)) => Some(Failure { status: Status::StoreUnavailable, ..bad }.hint(again)),
            (End::Stopped, Some(bad)) => Some(bad),
            (_, Some(bad)) if report.tally.bad() == 1 => Some(bad),
            (_, Some(bad)) => Some(Failure::new(many(&report.tally)).hint(format!("the first: {}", bad.text))),
            (_, None) => Some(Failure::new("migration stopped")),
        }
    }
}

fn many(tally: &Tally) -> String {
    let bad = [Verdict::Differs, Verdict::Unreadable, Verdict::Failed];
    let parts = bad.into_iter().filter(|verdict| tally.of(*verdict) > 0);
    let parts: Vec<_> = parts.map(|verdict| format!("{} {}", tally.of(verdict), verdict.as_str())).collect();
    format!("{} keys were not migrated: {}", tally.bad(), parts.join(", "))
}

/// Why a key stopped the run. The old text for a conflict is in it.
fn explain(record: &verdict::Record, on_conflict: OnConflict) -> Failure {
    let why = record.problem.clone().unwrap_or_else(|| {
        let shown = |fingerprint: Option<kes_crypto::Fingerprint>| {
            fingerprint.map_or_else(|| "-".to_owned(), |fingerprint| fingerprint.to_string())
        };
        format!(
            "key already exists with another value (fingerprint {} at the source, {} at the target)",
            shown(record.fingerprint),
            shown(record.target)
        )
    });
    let failure = Failure::new(format!("failed to migrate \"{}\": {why}", record.name));
    match record.verdict {
        Verdict::Differs if on_conflict == OnConflict::Stop => failure
            .hint("--force replaces the target's value, --merge leaves it, --continue-on-error tells all that differ"),
        Verdict::Unreadable => failure.hint("--continue-on-error migrates the others"),
        _ => failure,
    }
}

fn unavailable(error: &Error) -> Failure {
    let status = if error.kind().is_outage() { Status::StoreUnavailable } else { Status::General };
    Failure { status, ..Failure::new(chain(error)) }
}

/// Ctrl-C and the signal that `kill` and service managers send.
struct Signals {
    interrupts: [Signal; 2],
    terminations: [Signal; 2],
}

/// One who waits for either.
struct Interrupt<'s> {
    interrupt: &'s mut Signal,
    termination: &'s mut Signal,
    /// How many have to come.
    count: u8,
}

impl Signals {
    fn new() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("listening for signals: {error}")));
        Ok(Self {
            interrupts: [listen(SignalKind::interrupt())?, listen(SignalKind::interrupt())?],
            terminations: [listen(SignalKind::terminate())?, listen(SignalKind::terminate())?],
        })
    }

    /// The first asks the run to end, the second ends it.
    fn split(&mut self) -> (Interrupt<'_>, Interrupt<'_>) {
        let [interrupt, second_interrupt] = &mut self.interrupts;
        let [termination, second_termination] = &mut self.terminations;
        (
            Interrupt { interrupt, termination, count: 1 },
            Interrupt { interrupt: second_interrupt, termination: second_termination, count: 2 },
        )
    }
}

impl Interrupt<'_> {
    async fn wait(&mut self) {
        for _ in 0..self.count {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.termination.recv() => {}
            }
        }
    }
}
