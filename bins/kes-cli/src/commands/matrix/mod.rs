//! `kes policy matrix`: who may do what to which keys.
//!
//! What is shown is what the server decides by: the policies go through the same reading, each cell is the allow rules for
//! one route with the route's path taken off, less what deny rules take away.

mod csv;
mod html;
mod model;
mod text;

use clap::Args;
use time::OffsetDateTime;

use crate::args::Format;
use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::policies::PolicyConfig;

use model::Matrix;

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Configuration of a server, `-` for standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<String>,
}

pub(crate) const HELP: &str =
    "A cell holds the names of keys: * for all, my-* for those that begin so, !x for those that a deny rule takes out.
No server is asked, no key store and no TLS file is opened.

Examples:
  kes policy matrix --config config.yml
  kes policy matrix --config config.yml -o csv > access.csv
  kes policy matrix --config config.yml -o html > access.html     one page, for a browser or a printer
  kes policy matrix --config config.yml --json | jq '.policies[] | {policy, identities}'";

/// Prints the matrix in the form that was asked for.
pub(crate) fn run(output: &Output, arguments: &Arguments) -> Outcome {
    let config = arguments.config.as_deref().ok_or_else(|| {
        Failure::usage("no configuration specified", "kes policy matrix").hint("name a server's file with --config")
    })?;
    let config = PolicyConfig::read(config)?;
    let matrix = Matrix::of(&config, now()?);
    match output.format() {
        Format::Csv => output::print(csv::table(&matrix)),
        Format::Html => output::print(html::page(&matrix)),
        _ => {
            let document = output.document(&matrix)?;
            output::print(document.unwrap_or_else(|| text::tables(output, &matrix)))
        }
    }
}

/// The time of the report: `SOURCE_DATE_EPOCH` in seconds, if it is set, so that the same file gives the same bytes.
fn now() -> Outcome<OffsetDateTime> {
    let Some(text) = environment::process("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
        return Ok(OffsetDateTime::now_utc());
    };
    let seconds = text.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    seconds.ok_or_else(|| Failure::new(format!("SOURCE_DATE_EPOCH is '{text}', which is no number of seconds")))
}
