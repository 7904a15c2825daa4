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
mod dev;
mod process;
pub mod quick;
mod renew;
mod run;
mod tls_files;
mod usage;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Arguments;

/// Runs the server with the arguments behind the program's name, and returns when it was told to stop.
///
/// Exit status: 0 after a stop that was asked for, 1 if it could not start or go on, 2 for wrong arguments.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
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
    process::harden();
    match run::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            banner::error(&error);
            ExitCode::FAILURE
        }
    }
}
