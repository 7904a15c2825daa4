//! The kes server process: reads the configuration, opens the store, serves, reloads, drains.
//!
//! What it is: the policy of a process (arguments, signals, banner, exit status) around `kes-api`'s server. What it is
//! not: the service itself, which anyone can embed from there.
//!
//! ```no_run
//! let arguments = ["--config", "/etc/kes/config.yaml"];
//! let status: std::process::ExitCode = kes_server::main_with(arguments.map(Into::into));
//! ```
//!
//! Why it is shaped so: the `kes` command and the `kes-server` binary are the same server under two spellings, so
//! everything but the first line of `main` stands here.

mod arguments;
mod assemble;
mod banner;
pub mod check;
mod dev;
mod expiry;
mod notify;
mod probe;
mod process;
pub mod quick;
mod reload;
mod renew;
mod run;
mod signals;
mod tls_files;
mod usage;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Arguments;

pub use probe::{ProbeError, probe};
/// The definitions of the command line, for help, completions and manual pages.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the server with the arguments behind the program's name, and returns when it was told to stop.
///
/// Exit status: 0 after a stop that was asked for, 1 if it could not start or go on, 2 for wrong arguments.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(status) = check::main(&arguments) {
        return status;
    }
    let arguments = match Arguments::parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => {
            // A closed stdout leaves nobody to tell.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            banner::tell(&format!("Error: {}", usage::text(&error)));
            return ExitCode::from(2);
        }
    };
    if let Some(url) = &arguments.probe {
        return match ask(url, &arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                banner::tell(&format!("Error: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    process::harden();
    match run::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            banner::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Asks the server at this address, or if there is none, the one that the configuration describes.
fn ask(url: &str, arguments: &Arguments) -> Result<(), ProbeError> {
    match &arguments.config {
        Some(config) if url.is_empty() => probe::probe_of(config),
        _ => probe(url),
    }
}
