//! `kes log`: follows the audit or error log, as text or as JSON lines.
//!
//! With several servers all of them are followed, because each tells of its own requests only. A connection that ends is
//! made again, at first soon and then ever more patiently; what happened in between is not in the stream, and a line on
//! standard error says so.

mod filter;
mod follow;
mod rows;

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::args::{Format, Global};
use crate::commands::metric;
use crate::failure::{Failure, Outcome, Status};
use crate::online;
use crate::output::Output;
use filter::Filter;
use follow::Which;

/// The arguments of `kes log`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Log {
    /// Follow the audit log: one line for each request (the default)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    audit: Option<bool>,
    /// Follow the error log
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    error: Option<bool>,
    /// Only requests of identities that begin with this
    #[arg(long, value_name = "IDENTITY")]
    identity: Option<String>,
    /// Only requests to paths that begin with this; with a wildcard (*, ?, [a-z]): only paths that match
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only requests that were answered so: 403, or 4xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Go on until Ctrl-C: always so, and taken as other programs have it
    #[arg(short, long)]
    follow: bool,
    /// `trace`, up to v0.17
    #[arg(hide = true)]
    trace: Option<String>,
    /// For `trace`
    #[arg(long = "type", hide = true, value_enum)]
    kind: Option<Kind>,
    /// For `trace --type metric`
    #[arg(long, hide = true, value_parser = crate::duration::parse_positive, default_value = "3s")]
    rate: Duration,
}

/// What `kes log trace` of v0.17 followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Audit,
    Error,
    Metric,
}

const EXAMPLES: &str = "The stream begins now and ends with Ctrl-C (exit status 130). Times are UTC.

Examples:
  kes log                              who asks for what, and how it is answered
  kes log --status 403                 who is refused
  kes log --path '/v1/key/delete/*'    deletions
  kes log --json | tee audit.jsonl     one JSON object a line
  kes log --error                      what goes wrong";

pub(crate) fn run(global: &Global, output: &Output, log: &Log) -> Outcome {
    if log.trace.as_deref().is_some_and(|word| word != "trace") {
        return Err(Failure::usage("too many arguments", "kes log"));
    }
    if log.kind == Some(Kind::Metric) {
        return metric::stream(global, output, log.rate);
    }
    let which = which(log)?;
    let filter = Filter::new(which, log.identity.as_deref(), log.path.as_deref(), log.status.as_deref())?;
    let json = match output.format() {
        Format::Json => true,
        Format::Text => false,
        _ => return Err(Failure::usage("'kes log' prints text or JSON lines: use -o json", "kes log")),
    };
    online(global, async |client| follow::run(client, which, &filter, json, output, global.color).await)
}

/// Which of the two logs. Compat: `--audit=false` and the like count as they always did.
fn which(log: &Log) -> Outcome<Which> {
    let (audit, error) = match log.kind {
        Some(kind) => (Some(kind == Kind::Audit), Some(kind == Kind::Error)),
        None => (log.audit, log.error),
    };
    match (audit, error) {
        (Some(true), Some(true)) => {
            let text = "cannot display audit and error logs at the same time";
            Err(Failure { status: Status::Usage, ..Failure::new(text) })
        }
        (Some(false), None | Some(false)) => Err(Failure::usage("neither audit nor error log is asked for", "kes log")),
        (None | Some(false), Some(true)) => Ok(Which::Error),
        _ => Ok(Which::Audit),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn read(line: &str) -> Outcome<Which> {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Some(Command::Log(log)) = cli.command else { panic!("{line}") };
        which(&log)
    }

    #[test]
    fn the_flags_choose_as_they_always_did() {
        for (line, expected) in [
            ("kes log", Which::Audit),
            ("kes log --audit", Which::Audit),
            ("kes log --audit=true", Which::Audit),
            ("kes log --error", Which::Error),
            ("kes log --error=false", Which::Audit),
            ("kes log --audit=false --error", Which::Error),
            ("kes log --audit --error=false", Which::Audit),
            ("kes log trace", Which::Audit),
            ("kes log trace --type error --json", Which::Error),
        ] {
            assert_eq!(read(line).unwrap(), expected, "{line}");
        }
        for line in ["kes log --audit --error", "kes log --audit=false", "kes log --audit=false --error=false"] {
            assert_eq!(read(line).unwrap_err().status, Status::Usage, "{line}");
        }
    }
}
