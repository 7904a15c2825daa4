//! `kes verify`: opens real sealed keys before a cut-over, and says which key fails and why.

mod message_pack;
pub(super) mod minio;
mod opener;
mod report;
mod sample;
pub(super) mod sealed;
mod xl_meta;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kes_crypto::{Form, KeyType, Layout};
use tokio::task::JoinSet;

use crate::args::{Format, Global};
use crate::failure::{Failure, Outcome, Status};
use crate::online;
use crate::output::{self, Output};

use minio::Seen;
use opener::{Opened, Problem, Server, Store};
use report::{Line, Report};
use sample::Sample;
use sealed::Sealed;

/// How many are asked for at once: each is one short request.
const AT_ONCE: usize = 16;

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A list of sealed keys, `-` for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<String>,
    /// A data folder of MinIO; repeat it for several drives
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    minio_data: Vec<PathBuf>,
    /// Verify at most so many: some of each key and form, evenly spread
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Open the key store of this configuration instead of asking a server
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<String>,
    /// Whether these could be read after a move to it
    #[arg(long = "for", value_name = "TARGET", value_enum)]
    target: Option<Target>,
    /// Print only what does not open, and the sums
    #[arg(short, long)]
    quiet: bool,
}

/// Programs that read some of the forms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// MinIO with its own static key
    MinioStatic,
    /// RustFS
    Rustfs,
}

impl Target {
    fn word(self) -> &'static str {
        match self {
            Self::MinioStatic => "minio-static",
            Self::Rustfs => "rustfs",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::MinioStatic => "MinIO's static key",
            Self::Rustfs => "RustFS",
        }
    }
}

pub(crate) const HELP: &str = "A list has a JSON object on each line:

  {\"key\":\"my-key\",\"ciphertext\":\"<base64>\",\"context\":\"<base64>\"}
  {\"key\":\"my-key\",\"ciphertext\":\"<base64>\",\"bucket\":\"b\",\"object\":\"a/b\"}

or a JSON array of such, or lines of KEY CIPHERTEXT [CONTEXT]. What is opened is never shown.

Exit status: 0 all open (and are ready for the target), 3 the keys are not there, 5 not authorized,
6 no connection, 7 key store unavailable, 1 anything else that does not open.

Examples:
  kes verify --minio-data /mnt/drive1 --sample 1000
  kes verify --minio-data /mnt/drive1 --config new.yml        before the new server runs
  kes verify sealed.jsonl --json
  kes verify --minio-data /mnt/drive1 --for minio-static      may I leave?";

/// Exit status 0 if all open.
pub(crate) fn run(global: &Global, output: &Output, verify: &Verify) -> Outcome {
    let (all, found, seen) = gather(verify)?;
    if all.is_empty() {
        return Err(Failure::new("there are no sealed keys").hint("nothing was verified"));
    }
    let planned = all.len();
    let printer =
        Printer { output, is_live: output.format() == Format::Text, quiet: verify.quiet, statuses: Vec::new() };
    let (lines, statuses) = match &verify.config {
        Some(config) => runtime()?.block_on(by_store(config, all, printer))?,
        None => online(global, async |client| by_server(Server::new(client), all, printer).await)?,
    };
    let report = Report::of(lines, found, planned, seen, verify.target);
    output::print(output.document(&report)?.unwrap_or_else(|| report.text(output)))?;
    ended(&report, &statuses)
}

/// The sealed keys to try, how many there are in all, and what else lay there.
fn gather(verify: &Verify) -> Outcome<(Vec<Sealed>, usize, Option<Seen>)> {
    let mut sample = verify.sample.map(|size| Sample::new(size as usize));
    let mut all = Vec::new();
    let mut add = |sealed: Sealed| match &mut sample {
        Some(sample) => sample.add(sealed),
        None => all.push(sealed),
    };
    let seen = match (&verify.file, verify.minio_data.as_slice()) {
        (None, []) => {
            return Err(Failure::usage("nothing to verify: name a list or --minio-data", "kes verify"));
        }
        (Some(_), [_, ..]) => {
            return Err(Failure::usage("a list and '--minio-data' exclude each other", "kes verify"));
        }
        (Some(file), []) => {
            sealed::read(file)?.into_iter().for_each(&mut add);
            None
        }
        (None, drives) => Some(minio::walk(drives, usize::MAX, &mut add)?),
    };
    Ok(match sample {
        Some(sample) => {
            let found = sample.found;
            (sample.take(), found, seen)
        }
        None => {
            let found = all.len();
            (all, found, seen)
        }
    })
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("starting: {error}")))
}

/// Tells each result at once, and remembers how the failures count.
struct Printer<'p> {
    output: &'p Output,
    is_live: bool,
    quiet: bool,
    statuses: Vec<Status>,
}

impl Printer<'_> {
    fn line(&mut self, sealed: &Sealed, opened: Opened) -> Outcome<Line> {
        if let Some(problem) = &opened.problem
            && !self.statuses.contains(&problem.status)
        {
            self.statuses.push(problem.status);
        }
        let line = Line::of(sealed, opened);
        if self.is_live && !(self.quiet && line.opens) {
            output::print(line.text(self.output))?;
        }
        Ok(line)
    }
}

async fn by_store(config: &str, all: Vec<Sealed>, mut printer: Printer<'_>) -> Outcome<(Vec<Line>, Vec<Status>)> {
    let mut store = Store::open(config).await?;
    let mut lines = Vec::with_capacity(all.len());
    for sealed in &all {
        let opened = match &sealed.malformed {
            Some(why) => Opened { cipher: None, problem: Some(Problem::malformed(why)) },
            None => store.open_sealed(sealed, &Form::of(&sealed.ciphertext)).await,
        };
        lines.push(printer.line(sealed, opened)?);
    }
    Ok((lines, printer.statuses))
}

async fn by_server(server: Server, all: Vec<Sealed>, mut printer: Printer<'_>) -> Outcome<(Vec<Line>, Vec<Status>)> {
    let mut ciphers = std::collections::HashMap::new();
    let mut lines = Vec::with_capacity(all.len());
    let mut rest = all.into_iter();
    loop {
        let batch: Vec<_> = rest.by_ref().take(AT_ONCE).collect();
        if batch.is_empty() {
            return Ok((lines, printer.statuses));
        }
        let mut tasks = JoinSet::new();
        for (position, sealed) in batch.iter().enumerate().filter(|(_, sealed)| sealed.malformed.is_none()) {
            let (server, sealed) = (server.clone(), sealed.clone());
            tasks.spawn(async move { (position, server.open(&sealed).await) });
        }
        let mut problems: Vec<Option<Problem>> =
            batch.iter().map(|sealed| sealed.malformed.as_ref().map(Problem::malformed)).collect();
        while let Some(done) = tasks.join_next().await {
            let (position, problem) = done.map_err(|error| Failure::new(format!("verifying: {error}")))?;
            problems[position] = problem;
        }
        for (sealed, problem) in batch.iter().zip(problems) {
            let is_final = problem.as_ref().is_some_and(|problem| problem.is_final);
            let cipher = cipher(&server, sealed, problem.as_ref(), &mut ciphers).await;
            lines.push(printer.line(sealed, Opened { cipher, problem })?);
            if is_final {
                return Ok((lines, printer.statuses));
            }
        }
    }
}

/// The cipher that seals one: its label's, or for a raw one the key's, which the server tells once.
async fn cipher(
    server: &Server,
    sealed: &Sealed,
    problem: Option<&Problem>,
    known: &mut std::collections::HashMap<String, Option<&'static str>>,
) -> Option<&'static str> {
    let form = Form::of(&sealed.ciphertext);
    let is_there = problem.is_none_or(|problem| !matches!(problem.status, Status::NotFound | Status::Connection));
    if form.layout != Layout::Raw || !is_there || sealed.malformed.is_some() {
        return form.label.map(KeyType::algorithm);
    }
    if let Some(cipher) = known.get(&sealed.key) {
        return *cipher;
    }
    let cipher = server.cipher(&sealed.key).await;
    known.insert(sealed.key.clone(), cipher);
    cipher
}

/// The exit status: that of the failures if they are of one kind.
fn ended(report: &Report, statuses: &[Status]) -> Outcome {
    let status = match statuses {
        [] if report.readiness.as_ref().is_none_or(|readiness| readiness.ready) => return Ok(()),
        [only] => *only,
        _ => Status::General,
    };
    Err(Failure { status, ..Failure::new("") })
}
