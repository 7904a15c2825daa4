//! The `kes` command: reads arguments, calls the client, prints.
//!
//! What it is: the old command line, spelling by spelling, with what was awkward mended (results go by what stdout is,
//! `--json` prints one document, exit statuses tell what happened). What it is not: a library; embed `kes-client`.
//!
//! ```no_run
//! let arguments = ["kes", "identity", "of", "client.crt"];
//! let status: std::process::ExitCode = kes_cli::main(arguments.map(Into::into));
//! ```
//!
//! Why it is shaped so: it is installed under two names, so everything but the first line of `main` stands here. A
//! command first gathers all its input, then talks to the server: only the second part can be interrupted by Ctrl-C, and
//! a password prompt cannot leave a terminal without echo.

mod args;
mod commands;
mod connect;
mod duration;
mod environment;
mod failure;
mod glob;
mod input;
mod output;
mod usage;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use kes_client::Client;

use args::{Cli, Command, Global};
use failure::{Failure, Outcome, Status};
use output::Output;

/// Runs the command that the arguments (the program's name first) ask for.
///
/// Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 exists already, 5 not authorized, 6 no connection or no
/// trust, 7 key store unavailable, 130 interrupted.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|command| command == "server") {
        return kes_server::main_with(arguments.into_iter().skip(2));
    }
    let cli = match Cli::read(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    match run(cli) {
        Ok(status) => status,
        Err(failure) => fail(&failure),
    }
}

fn run(cli: Cli) -> Outcome<ExitCode> {
    let Cli { global, version, command, .. } = cli;
    let output = Output::new(&global);
    match command {
        _ if version => commands::version::print(&output)?,
        None => return Ok(usage_on_stderr(&mut Cli::command())),
        Some(Command::Server(_)) => {
            return Err(Failure::usage("'server' must come first", "kes server").hint("its options follow it"));
        }
        Some(Command::Version) => commands::version::print(&output)?,
        Some(Command::Ls(ls)) => commands::list::all(&global, &output, &ls)?,
        Some(Command::Key(key)) => commands::key::run(&global, &output, key)?,
        Some(Command::Identity(identity)) => commands::identity::run(&global, &output, identity)?,
        Some(Command::Tool(args::Tool::Identity(command))) => commands::identity::sub(&global, &output, command)?,
        Some(Command::Init(init)) => commands::init::run(&init)?,
        Some(Command::Connect(args::Connect::Minio(minio))) => commands::connect_minio::run(&global, &minio)?,
        Some(Command::Seal(seal)) => commands::seal::run(&output, &seal)?,
        Some(Command::Backup(backup)) => commands::backup::backup(&output, &backup)?,
        Some(Command::Restore(restore)) => commands::backup::restore(&output, &restore)?,
        Some(Command::Status(status)) => commands::status::run(&global, &output, &status)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Help that was asked for goes to stdout, help that was not to stderr; everything else is a usage error.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            // A closed stdout leaves nobody to tell.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Status::Usage.into()
        }
        _ => fail(&usage::failure(error, arguments)),
    }
}

fn usage_on_stderr(command: &mut clap::Command) -> ExitCode {
    let _ = write!(std::io::stderr(), "{}", command.render_help());
    Status::Usage.into()
}

/// `Error: ` and what happened; then what to do.
fn fail(failure: &Failure) -> ExitCode {
    if !failure.text.is_empty() {
        let prefix = if output::error_colors() { "\x1b[38;2;172;0;0mError: \x1b[0m" } else { "Error: " };
        let hint = failure.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        // A closed stderr leaves nobody to tell.
        let _ = write!(std::io::stderr(), "{prefix}{}\n{hint}", failure.text);
    }
    failure.status.into()
}

/// Runs a conversation with the server, until it is done or Ctrl-C.
fn online<T>(global: &Global, talk: impl AsyncFnOnce(Client) -> Outcome<T>) -> Outcome<T> {
    let client = connect::client(global, &environment::process)?;
    offline(talk(client))
}

/// Runs what needs a runtime but no server, until it is done or Ctrl-C.
fn offline<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("starting: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
            result = work => result,
        }
    })
}
