//! What is said about a command line that clap refuses: the texts of the old server.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// One line, and a hint where there is more to say.
pub(crate) fn text(error: &clap::Error) -> String {
    text_for(error, "kes server")
}

/// The same for a command that has a help of its own.
pub(crate) fn text_for(error: &clap::Error, command: &str) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    let is_about = |name: &str| {
        [ContextKind::InvalidArg, ContextKind::PriorArg].into_iter().any(|kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.starts_with(name),
            Some(ContextValue::Strings(texts)) => texts.iter().any(|text| text.starts_with(name)),
            _ => false,
        })
    };
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or(argument);
    let text = match error.kind() {
        // Compat: without `--config` the old server opened a file without a name.
        ErrorKind::MissingRequiredArgument => {
            return "open : no such file or directory\n\
                    hint: name the configuration file with '--config FILE', or start from nothing with '--quick FOLDER'"
                .to_owned();
        }
        ErrorKind::ArgumentConflict if is_about("--quick") => {
            return "'--quick' has its settings in its folder: leave out '--config' (and KES_CONFIG), '--dev' and '--root'"
                .to_owned();
        }
        ErrorKind::ArgumentConflict if is_about("--dns") || is_about("--ip") => {
            "'--dns' and '--ip' go with '--quick'".to_owned()
        }
        ErrorKind::ArgumentConflict => return "'--config' flag is not supported in development mode".to_owned(),
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            format!("unknown shorthand flag: '{}' in {flag}", flag.trim_start_matches('-'))
        }
        ErrorKind::UnknownArgument => "too many arguments".to_owned(),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: {flag}")
        }
        ErrorKind::TooManyValues => {
            let value = context(ContextKind::InvalidValue);
            format!("invalid argument \"{value}\" for \"{flag}\" flag: it takes no value")
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    let hint = match context(ContextKind::SuggestedArg) {
        "" if std::path::Path::new(argument).is_dir() => {
            "\nhint: a folder was named to the stateful server of 2022 and 2023, which no longer exists; write '--config FILE'".to_owned()
        }
        "" => String::new(),
        meant => format!("\nhint: did you mean '{meant}'?"),
    };
    format!("{text}. See '{command} --help'{hint}")
}

#[cfg(test)]
mod tests {
    use crate::arguments::Arguments;

    #[test]
    fn refusals_have_the_old_texts() {
        let cases = [
            (
                "",
                "open : no such file or directory\n\
                 hint: name the configuration file with '--config FILE', or start from nothing with '--quick FOLDER'",
            ),
            ("--dev --config f", "'--config' flag is not supported in development mode"),
            (
                "--quick d --dev",
                "'--quick' has its settings in its folder: leave out '--config' (and KES_CONFIG), '--dev' and '--root'",
            ),
            ("--config f --dns a", "'--dns' and '--ip' go with '--quick'. See 'kes server --help'"),
            ("--config f g", "too many arguments. See 'kes server --help'"),
            (
                "src",
                "too many arguments. See 'kes server --help'\nhint: a folder was named to the stateful server of 2022 and \
                 2023, which no longer exists; write '--config FILE'",
            ),
            ("--dev --bogus", "unknown flag: --bogus. See 'kes server --help'"),
            ("--dev -x", "unknown shorthand flag: 'x' in -x. See 'kes server --help'"),
            ("--config", "flag needs an argument: --config. See 'kes server --help'"),
            ("--dev --addr", "flag needs an argument: --addr. See 'kes server --help'"),
            ("--confg f", "unknown flag: --confg. See 'kes server --help'\nhint: did you mean '--config'?"),
            ("--dev=x", "invalid argument \"x\" for \"--dev\" flag: it takes no value. See 'kes server --help'"),
        ];
        for (line, text) in cases {
            let error = Arguments::parse(line.split_whitespace().map(Into::into)).expect_err(line);
            assert_eq!(super::text(&error), text, "{line}");
        }
    }
}
