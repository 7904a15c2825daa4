//! The command line of a check: that of the server it is about, and what to do with the findings.

use std::ffi::OsString;

use clap::{Parser, ValueEnum};

use crate::arguments::{self, Arguments};

/// Check a configuration file without starting a server.
///
/// Reads the file and the files it names, and tells everything that is wrong or will bite, each with its line and what to
/// write instead. Nothing is changed and nothing is served.
#[derive(Debug, Parser)]
#[command(name = "kes-server check", after_help = EXAMPLES, args_override_self = true)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) server: Arguments,

    /// Also open the key store, and see whether the address is free
    #[arg(long)]
    pub(super) connect: bool,

    /// Take warnings for errors
    #[arg(long)]
    pub(super) strict: bool,

    /// Write the file as it is understood to standard output: today's spelling, secrets masked
    #[arg(long)]
    pub(super) print: bool,

    /// Judge the text alone: for a file of another machine, whose certificates are not here
    #[arg(long, conflicts_with = "connect")]
    pub(super) no_files: bool,

    /// No client is a MinIO: do not compare policies with what it needs
    #[arg(long)]
    pub(super) no_minio: bool,

    /// Form of the report
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "text")]
    output: Format,

    /// Same as `--output json`
    #[arg(long)]
    json: bool,
}

/// Forms of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON document
    Json,
}

const EXAMPLES: &str =
    "Exit status: 0 a server can start with the file (there may be warnings), 1 it cannot, 2 wrong usage.

Examples:
  kes-server check --config /etc/kes/config.yaml
  kes-server check --config /etc/kes/config.yaml --connect --strict
  kes-server check --config old.yaml --print > new.yaml
  kes-server --check --config /etc/kes/config.yaml";

/// Whether the arguments behind the program's name ask for a check: `check` in front, or `--check` anywhere.
pub(super) fn asks_for_check(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|first| first == "check")
        || arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--check")
}

impl CheckArguments {
    /// Reads the arguments behind the program's name.
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let without = arguments
            .into_iter()
            .enumerate()
            .filter(|(at, argument)| argument != "--check" && !(*at == 0 && argument == "check"));
        let arguments = arguments::join_auth(without.map(|(_, argument)| argument).collect());
        Self::try_parse_from(std::iter::once(OsString::from("kes-server check")).chain(arguments))
    }

    pub(super) fn wants_json(&self) -> bool {
        self.json || self.output == Format::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_server_s_own_command_line_can_be_checked() {
        for line in [
            "check --config f",
            "--check --config f",
            "--config f --check",
            "--config=f --auth off --check --key k --cert c --mlock -q --addr :1",
            "check --auth --config=f",
        ] {
            assert!(asks_for_check(&words(line)), "{line}");
            let arguments = CheckArguments::parse(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(arguments.server.config.as_deref(), Some(std::path::Path::new("f")), "{line}");
        }
        assert!(!asks_for_check(&words("--config check")));
    }

    #[test]
    fn json_has_two_names() {
        for line in ["check --config f --json", "check --config f -o json", "check --config f --output=json"] {
            assert!(CheckArguments::parse(words(line)).expect(line).wants_json(), "{line}");
        }
    }
}
