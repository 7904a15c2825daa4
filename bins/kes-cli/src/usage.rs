//! What is said about a command line that clap refuses: the old texts where scripts and people know them.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, ValueEnum};

use crate::args::{Cli, When};
use crate::failure::Failure;
use crate::nearest::nearest;

/// Commands of older releases that have no successor, and what to do instead.
const GONE: &[(&str, &str)] = &[
    ("enclave", "kes has no enclaves any more; run another server beside this one"),
    ("secret", "kes keeps no secrets any more; seal them (`kes key encrypt`) and store the result where you like"),
    ("update", "kes does not update itself; install the new release the way this one was installed"),
];

/// What to say about a command whose time is over.
pub(crate) fn gone(name: &str) -> Option<Failure> {
    GONE.iter().find(|(gone, _)| *gone == name).map(|(_, instead)| Failure::new(*instead))
}

/// When to use colors, before anything else is known of the arguments.
pub(crate) fn color(arguments: &[OsString]) -> When {
    let texts = arguments.iter().map_while(|argument| argument.to_str()).take_while(|argument| *argument != "--");
    let texts: Vec<&str> = texts.collect();
    let value = texts.iter().enumerate().rev().find_map(|(at, text)| match text.strip_prefix("--color") {
        Some("") => texts.get(at + 1).copied(),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    value.and_then(|value| When::from_str(value, true).ok()).unwrap_or(When::Auto)
}

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
            if let Some(failure) = gone(&wrong).filter(|_| command == "kes") {
                return failure;
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
    match suggestion(error, &command) {
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

/// What was probably meant, of what may stand in this place and is not hidden.
fn suggestion(error: &clap::Error, command: &str) -> Option<String> {
    let root = Cli::command();
    let here = command.split(' ').skip(1).try_fold(&root, |here, name| here.find_subcommand(name))?;
    let wrong = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.as_str()),
        _ => None,
    };
    let (wrong, known): (_, Vec<String>) = if let Some(name) = wrong(ContextKind::InvalidSubcommand) {
        let commands = here.get_subcommands().filter(|command| !command.is_hide_set());
        (name, commands.flat_map(Command::get_name_and_visible_aliases).map(ToOwned::to_owned).collect())
    } else if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue) {
        (wrong(ContextKind::InvalidValue)?, values.clone())
    } else if error.kind() != ErrorKind::UnknownArgument {
        return None;
    } else {
        let flags = here.get_arguments().chain(root.get_arguments()).filter(|argument| !argument.is_hide_set());
        let names = flags.filter_map(clap::Arg::get_long_and_visible_aliases).flatten();
        (wrong(ContextKind::InvalidArg)?, names.map(|name| format!("--{name}")).collect())
    };
    let begins = || known.iter().find(|name| wrong.len() > 1 && name.starts_with(wrong)).map(String::as_str);
    let meant = nearest(wrong, known.iter().map(String::as_str)).or_else(begins)?;
    Some(format!("did you mean '{meant}'?"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(line: &str) -> Option<String> {
        let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
        failure(&Cli::read(&arguments, When::Auto).expect_err(line), &arguments).hint
    }

    #[test]
    fn what_was_meant_is_the_nearest_name_of_that_place() {
        for (line, meant) in [
            ("kes kye ls", "key"),
            ("kes lgo", "log"),
            ("kes sel", "seal"),
            ("kes identiy", "identity"),
            ("kes veriy", "verify"),
            ("kes sttaus", "status"),
            ("kes key creat", "create"),
            ("kes key crate", "create"),
            ("kes key enc", "encrypt"),
            ("kes key create --if-not", "--if-not-exists"),
            ("kes status --apikey x", "--api-key"),
            ("kes policy shwo", "show"),
            ("kes policy maxtri", "matrix"),
            ("kes connect mino", "minio"),
            ("kes seal statsu", "status"),
            ("kes key ls --jsno", "--json"),
            ("kes key rm --yse", "--yes"),
            ("kes migrate --form x", "--from"),
            ("kes status --sever x", "--server"),
            ("kes key ls -o jso", "json"),
            ("kes completion bsh", "bash"),
        ] {
            assert_eq!(hint(line).as_deref(), Some(format!("did you mean '{meant}'?").as_str()), "{line}");
        }
        for line in [
            "kes something",
            "kes key x",
            "kes key ls --something",
            "kes key ls -x",
            "kes key ls a b",
            "kes key ls --json=x",
        ] {
            assert_eq!(hint(line), None, "{line}");
        }
    }
}
