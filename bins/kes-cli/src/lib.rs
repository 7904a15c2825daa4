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
mod help;
mod input;
mod nearest;
mod output;
mod policies;
mod secret_source;
mod servers_file;
mod terminal;
mod usage;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use kes_client::Client;

use args::{Cli, Command, Format, Global, When};
use failure::{Failure, Outcome, Status};
use output::Output;

/// Runs the command that the arguments (the program's name first) ask for.
///
/// Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 exists already, 5 not authorized, 6 no connection or no
/// trust, 7 key store unavailable, 130 interrupted.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.get(1..).unwrap_or_default() {
        [first, ..] if first == "server" => return kes_server::main_with(arguments.into_iter().skip(2)),
        [first, topics @ ..] if first == "help" => return help(&arguments, topics),
        _ => {}
    }
    command(&arguments)
}

/// `kes help TOPIC`, `kes help COMMAND`.
fn help(arguments: &[OsString], topics: &[OsString]) -> ExitCode {
    let text = match topics {
        [topic] => topic.to_str().and_then(help::topic),
        _ => None,
    };
    match text {
        Some(text) => ended(output::print(text).map(|()| ExitCode::SUCCESS), When::Auto),
        None => {
            let program = arguments.first().cloned().into_iter();
            command(&program.chain(topics.iter().cloned()).chain(["--help".into()]).collect::<Vec<_>>())
        }
    }
}

fn command(arguments: &[OsString]) -> ExitCode {
    let color = usage::color(arguments);
    match Cli::read(arguments, color) {
        Ok(cli) => ended(run(cli, arguments), color),
        Err(error) => refuse(&error, arguments, color),
    }
}

fn run(cli: Cli, arguments: &[OsString]) -> Outcome<ExitCode> {
    let Cli { mut global, version, auto_completion, update, command, .. } = cli;
    global.complete(&environment::process)?;
    if global.output == Some(Format::Prometheus) && !matches!(command, Some(Command::Metric(_))) {
        let text = "invalid argument \"prometheus\" for \"--output\" flag: it must be one of text, json, yaml";
        return Err(Failure::usage(text, &usage::command(arguments)));
    }
    let output = Output::new(&global);
    let global = &global;
    if output.is_for_matrix() && !matches!(command, Some(Command::Policy(commands::policy::Policy::Matrix(_)))) {
        let failure = Failure::new("this command prints text, json or yaml");
        return Err(Failure { status: Status::Usage, ..failure }.hint("only `kes policy matrix` prints csv and html"));
    }
    match command {
        _ if version => commands::version::print(&output)?,
        _ if auto_completion => {
            commands::manual::recipe(&program(arguments), environment::process("SHELL").as_deref())?
        }
        _ if update => return Err(usage::gone("update").expect("it is gone")),
        None => return Ok(usage_on_stderr(&mut Cli::command())),
        Some(Command::Help(_)) => return Err(Failure::usage("'help' must come first", "kes")),
        Some(Command::Server(_)) => {
            return Err(Failure::usage("'server' must come first", "kes server").hint("its options follow it"));
        }
        Some(Command::Verify(verify)) => commands::verify::run(global, &output, &verify)?,
        Some(Command::Version) => commands::version::print(&output)?,
        Some(Command::Ls(ls)) => commands::list::all(global, &output, &ls)?,
        Some(Command::Key(key)) => commands::key::run(global, &output, key)?,
        Some(Command::Identity(identity)) => commands::identity::run(global, &output, identity)?,
        Some(Command::Policy(policy)) => commands::policy::run(global, &output, policy)?,
        Some(Command::Migrate(migrate) | Command::Tool(args::Tool::Migrate(migrate))) => {
            commands::migrate::run(global, &output, &migrate)?
        }
        Some(Command::Log(log)) => commands::log::run(global, &output, &log)?,
        Some(Command::Metric(metric)) => commands::metric::run(global, &output, &metric)?,
        Some(Command::Tool(args::Tool::Identity(command))) => commands::identity::sub(global, &output, command)?,
        Some(Command::Doctor(doctor)) => return commands::doctor::run(global, &output, &doctor),
        Some(Command::Status(status)) => commands::status::run(global, &output, &status)?,
        Some(Command::Ready) => commands::ready::run(global, &output)?,
        Some(Command::Api(api)) => commands::api::run(global, &api)?,
        Some(Command::Servers) => commands::servers::run(global, &output)?,
        Some(Command::Completion(completion)) => commands::manual::completion(completion.shell, &program(arguments))?,
        Some(Command::Man(man)) => commands::manual::man(man.folder.as_deref())?,
        Some(Command::Init(init)) => commands::init::run(&init)?,
        Some(Command::Connect(args::Connect::Minio(minio))) => commands::connect_minio::run(global, &minio)?,
        Some(Command::Seal(seal)) => commands::seal::run(&output, &seal)?,
        Some(Command::Backup(backup)) => commands::backup::backup(&output, &backup)?,
        Some(Command::Restore(restore)) => commands::backup::restore(&output, &restore)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The name under which the program was called: `kes` or `kes-cli`.
fn program(arguments: &[OsString]) -> String {
    let name = arguments.first().and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
    name.filter(|name| name.starts_with("kes")).unwrap_or("kes").to_owned()
}

/// Help that was asked for goes to stdout, help that was not to stderr; everything else is a usage error.
fn refuse(error: &clap::Error, arguments: &[OsString], color: When) -> ExitCode {
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
        _ => fail(&usage::failure(error, arguments), color),
    }
}

fn usage_on_stderr(command: &mut clap::Command) -> ExitCode {
    let _ = write!(std::io::stderr(), "{}", command.render_help());
    Status::Usage.into()
}

fn ended(outcome: Outcome<ExitCode>, color: When) -> ExitCode {
    outcome.unwrap_or_else(|failure| fail(&failure, color))
}

/// `Error: ` and what happened; then what to do.
fn fail(failure: &Failure, color: When) -> ExitCode {
    if !failure.text.is_empty() {
        let colored = output::error_colors(color);
        let prefix = if colored { "\x1b[38;2;172;0;0mError: \x1b[0m" } else { "Error: " };
        let hints = failure.hint.iter().flat_map(|hint| hint.lines()).map(|hint| format!("hint: {hint}\n"));
        // A closed stderr leaves nobody to tell.
        let _ = write!(std::io::stderr(), "{prefix}{}\n{}", failure.text, hints.collect::<String>());
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
