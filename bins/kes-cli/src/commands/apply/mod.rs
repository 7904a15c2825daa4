//! `kes key apply`: keys as code. What a file names is there afterwards; what is there already stays as it is.

mod file;

use clap::Args;
use kes_client::wire::SecretBytes;
use kes_client::{Client, Error, KeyType};
use serde::Serialize;

use crate::args::Global;
use crate::failure::{Failure, Outcome, Status, chain};
use crate::online;
use crate::output::{self, Output};

use file::Wanted;

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The keys, as YAML or JSON; `-` for standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(crate) const HELP: &str =
    "The file has the `keys` section of a server's configuration, so such a file can be given as it is:

  keys:
    - name: minio-key
    - name: backup
      algorithm: AES256      # or ChaCha20; without it, what the server chooses

Never deletes or changes a key. Exit status 0: all keys are there as the file says.

Examples:
  kes key apply -f keys.yml
  kes key apply -f keys.yml --dry-run --json
  kes key apply -f /etc/kes/config.yml";

/// How it stands with a key in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum End {
    Created,
    WouldCreate,
    Exists,
    Differs,
    Failed,
    NotTried,
}

/// One key of the file.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    result: End,
    /// The key's cipher, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// The cipher that the file asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Report {
    keys: Vec<Line>,
    dry_run: bool,
    created: usize,
    would_create: usize,
    exists: usize,
    differs: usize,
    failed: usize,
}

/// A key, and why it is not as it should be.
struct Step {
    line: Line,
    failure: Option<Failure>,
}

/// Exit status 0 if the file's keys are there, or in a dry run could be.
pub(crate) fn run(global: &Global, output: &Output, apply: &Apply) -> Outcome {
    let file = apply.file.as_deref().ok_or_else(|| Failure::usage("no file specified", "kes key apply"))?;
    let wanted = file::read(file)?;
    let is_live = output.format() == crate::args::Format::Text;
    let steps = online(global, async |client| {
        let mut steps = Vec::with_capacity(wanted.len());
        let mut is_lost = false;
        for key in &wanted {
            let step = if is_lost { Step::of(key, End::NotTried) } else { settle(&client, key, apply.dry_run).await };
            // Without a server every further key would only wait for its deadline.
            is_lost |= step.failure.as_ref().is_some_and(|failure| failure.status == Status::Connection);
            if is_live {
                output::print(text(output, &step.line))?;
            }
            steps.push(step);
        }
        Ok(steps)
    })?;
    let status = status(&steps);
    let report = report(steps, apply.dry_run);
    output::print(output.document(&report)?.unwrap_or_else(|| summary(&report)))?;
    match status {
        None => Ok(()),
        Some(status) => Err(Failure { status, ..Failure::new("") }),
    }
}

/// Makes it so.
async fn settle(client: &Client, wanted: &Wanted, dry_run: bool) -> Step {
    match client.describe_key(&wanted.name).await {
        Ok(info) => Step::found(wanted, info.algorithm),
        Err(error) if error.is_key_not_found() && dry_run => Step::of(wanted, End::WouldCreate),
        Err(error) if error.is_key_not_found() => create(client, wanted).await,
        // Who may create need not be allowed to look. The server tells then whether the key was there.
        Err(error) if error.is_not_allowed() && !dry_run => create(client, wanted).await,
        Err(error) => Step::failed(wanted, error),
    }
}

async fn create(client: &Client, wanted: &Wanted) -> Step {
    let made = match wanted.algorithm {
        // The API for creating keys lets the server choose, which is AES256 on every usual machine; only an import
        // brings its own cipher.
        Some(KeyType::ChaCha20) => match random() {
            Ok(key) => client.import_key(&wanted.name, KeyType::ChaCha20, key).await,
            Err(failure) => return Step { failure: Some(failure), ..Step::of(wanted, End::Failed) },
        },
        _ => client.create_key(&wanted.name).await,
    };
    let is_new = match made {
        Ok(()) => true,
        Err(error) if error.is_key_exists() => false,
        Err(error) => return Step::failed(wanted, error),
    };
    if wanted.algorithm.is_none() {
        return Step::of(wanted, if is_new { End::Created } else { End::Exists });
    }
    match client.describe_key(&wanted.name).await {
        Ok(info) => {
            let mut step = Step::found(wanted, info.algorithm);
            if is_new && step.line.result == End::Exists {
                step.line.result = End::Created;
            }
            step
        }
        // Nobody here may look. What was just made is what was asked for.
        Err(error) if error.is_not_allowed() => Step::of(wanted, if is_new { End::Created } else { End::Exists }),
        Err(error) => Step::failed(wanted, error),
    }
}

fn random() -> Outcome<SecretBytes> {
    let mut key = vec![0; 32];
    kes_crypto::random(&mut key).map_err(|error| Failure::of(&error))?;
    Ok(SecretBytes::new(key))
}

impl Step {
    fn of(wanted: &Wanted, result: End) -> Self {
        let wanted_algorithm = wanted.algorithm.map(KeyType::algorithm);
        let line = Line { name: wanted.name.clone(), result, algorithm: None, wanted: wanted_algorithm, error: None };
        Self { line, failure: None }
    }

    fn found(wanted: &Wanted, algorithm: String) -> Self {
        let is_wanted = wanted.algorithm.is_none_or(|wanted| wanted.algorithm() == algorithm);
        let mut step = Self::of(wanted, if is_wanted { End::Exists } else { End::Differs });
        step.line.algorithm = Some(algorithm);
        step
    }

    fn failed(wanted: &Wanted, error: Error) -> Self {
        let mut step = Self::of(wanted, End::Failed);
        step.line.error = Some(chain(&error));
        step.failure = Some(error.into());
        step
    }
}

/// The exit status: that of the failures if they are of one kind.
fn status(steps: &[Step]) -> Option<Status> {
    let failures = steps.iter().filter_map(|step| match step.line.result {
        End::Differs => Some(Status::General),
        End::Failed => Some(step.failure.as_ref().map_or(Status::General, |failure| failure.status)),
        _ => None,
    });
    let mut failures: Vec<_> = failures.collect();
    failures.dedup();
    match failures.as_slice() {
        [] => None,
        [only] => Some(*only),
        _ => Some(Status::General),
    }
}

fn report(steps: Vec<Step>, dry_run: bool) -> Report {
    let count = |result| steps.iter().filter(|step| step.line.result == result).count();
    Report {
        dry_run,
        created: count(End::Created),
        would_create: count(End::WouldCreate),
        exists: count(End::Exists),
        differs: count(End::Differs),
        failed: count(End::Failed) + count(End::NotTried),
        keys: steps.into_iter().map(|step| step.line).collect(),
    }
}

fn text(output: &Output, line: &Line) -> String {
    let word = match line.result {
        End::Created => output.green("created"),
        End::WouldCreate => "would be created".to_owned(),
        End::Exists => "exists".to_owned(),
        End::Differs => output.red("differs"),
        End::Failed => output.red("failed"),
        End::NotTried => "not tried".to_owned(),
    };
    let why = match (&line.error, line.result, &line.algorithm, line.wanted) {
        (Some(error), ..) => format!(": {error}"),
        (_, End::Differs, Some(algorithm), Some(wanted)) => format!(": it is {algorithm}, not {wanted}"),
        _ => String::new(),
    };
    format!("{}  {word}{why}\n", line.name)
}

fn summary(report: &Report) -> String {
    let counts = [
        (report.created, "created"),
        (report.would_create, "to be created"),
        (report.exists, "there already"),
        (report.differs, "different"),
        (report.failed, "failed"),
    ];
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    match counts.is_empty() {
        true => "the file names no keys\n".to_owned(),
        false => format!("\n{}\n", counts.join(", ")),
    }
}
