//! What is said about a command line that clap refuses: the old texts where scripts and people know them.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use crate::args::Cli;
use crate::failure::Failure;

/// Commands of MinIO KES that are not there yet, or whose time is over.
const LATER: &[&str] = &["enclave", "log", "metric", "migrate", "policy", "secret", "update"];

/// The failure behind clap's error.
pub(crate) fn failure(error: &clap::Error, arguments: &[OsString]) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    // Behind the name of no command (`kes policy ls`) nothing names one.
    let wrong = context(ContextKind::InvalidSubcommand);
    let named = arguments.iter().position(|argument| !wrong.is_empty() && *argument == *wrong);
    let command = command(&arguments[..named.unwrap_or(arguments.len())]);
    let argument = context(ContextKind::InvalidArg);
    let text = match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => format!("unknown flag: {argument}"),
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("unknown shorthand flag: '{}' in {argument}", argument.trim_start_matches('-'))
        }
        // An argument before what could be a subcommand: `kes identity a of`.
        ErrorKind::UnknownArgument | ErrorKind::ArgumentConflict if !argument.starts_with('-') => {
            "too many arguments".into()
        }
        ErrorKind::InvalidSubcommand => {
            if command == "kes" && LATER.contains(&wrong.as_str()) {
                return Failure::new(format!("this release has no 'kes {wrong}' command"));
            }
            let what = command.strip_prefix("kes ").unwrap_or(&command);
            format!("\"{wrong}\" is not a {what} command")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if context(ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: {}", flag(&argument))
        }
        ErrorKind::TooManyValues => {
            let value = context(ContextKind::InvalidValue);
            format!("invalid argument \"{value}\" for \"{}\" flag: it must be true or false", flag(&argument))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue);
            format!("invalid argument \"{value}\" for \"{}\" flag: {}", flag(&argument), why(error, &argument))
        }
        _ => first_line(error),
    };
    let failure = Failure::usage(text, &command);
    match suggestion(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// `--color <WHEN>` without its value's name.
fn flag(argument: &str) -> &str {
    argument.split([' ', '=', '[']).next().unwrap_or(argument)
}

fn why(error: &clap::Error, argument: &str) -> String {
    use std::error::Error;
    if argument.starts_with("--color") {
        return "invalid color option".into();
    }
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue) {
        return format!("it must be one of {}", values.join(", "));
    }
    error.source().map_or_else(|| "it cannot be read".into(), ToString::to_string)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// What was probably meant. Hidden commands are not worth a hint.
fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let name = kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(name.clone()),
        ContextValue::Strings(names) => names.first().cloned(),
        _ => None,
    })?;
    (name != "tool").then(|| format!("did you mean '{name}'?"))
}

/// The command that the arguments name, such as `kes key ls`.
pub(crate) fn command(arguments: &[OsString]) -> String {
    let mut path = vec!["kes".to_owned()];
    let root = Cli::command();
    let mut current: &Command = &root;
    for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        let Some(next) = current.find_subcommand(argument) else { continue };
        path.push(next.get_name().to_owned());
        current = next;
    }
    path.join(" ")
}
