//! How results are printed: as text for people, or as one document for programs.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::args::{Format, Global, When};
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome};

/// Where results go, and in which form.
pub(crate) struct Output {
    format: Option<Format>,
    terminal: bool,
    color: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let format = if global.json { Some(Format::Json) } else { global.output };
        let terminal = io::stdout().is_terminal();
        Self { format, terminal, color: colors(global.color, terminal, &environment::process) }
    }

    /// The form for lists and facts: text unless something else was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or(Format::Text)
    }

    /// Whether a value command prints its pipe form: nothing was asked for and nobody looks.
    ///
    /// Departs from upstream: only stdout counts. There, a terminal on stderr was enough for the human form, so that
    /// `kes key dek k | jq` broke in a shell.
    pub(crate) fn is_pipe_form(&self) -> bool {
        self.format.is_none() && !self.terminal
    }

    /// Whether somebody looks at stdout.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether it is a form that only `kes policy matrix` knows.
    pub(crate) fn is_for_matrix(&self) -> bool {
        matches!(self.format, Some(Format::Csv | Format::Html))
    }

    /// A document in JSON or YAML; `None` if text is wanted.
    pub(crate) fn document(&self, value: &impl Serialize) -> Outcome<Option<String>> {
        match self.format() {
            // The last three are forms of single commands, which print them themselves.
            Format::Text | Format::Prometheus | Format::Csv | Format::Html => Ok(None),
            Format::Json if self.terminal => Ok(Some(escaped(serde_json::to_string_pretty(value)) + "\n")),
            Format::Json => Ok(Some(json(value) + "\n")),
            Format::Yaml => serde_yaml::to_string(value).map(Some).map_err(|error| Failure::of(&error)),
        }
    }

    /// What a command that changes something has done: a document for programs, and no word for people.
    pub(crate) fn done(&self, value: &impl Serialize) -> Outcome {
        self.document(value)?.map_or(Ok(()), print)
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn underline(&self, text: &str) -> String {
        self.paint("4", text)
    }

    pub(crate) fn green(&self, text: &str) -> String {
        self.paint("1;32", text)
    }

    pub(crate) fn red(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// One compact JSON line without its newline, with `<`, `>` and `&` escaped as Go escapes them (they occur in strings
/// only).
pub(crate) fn json(value: &impl Serialize) -> String {
    escaped(serde_json::to_string(value))
}

fn escaped(text: serde_json::Result<String>) -> String {
    let text = text.expect("structs of strings and numbers always serialise");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Writes to stdout. A reader that has gone away (`kes key ls | head`) is no error.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Outcome {
    stream(text).map(drop)
}

/// Writes to stdout a part of what has no end of its own; false if nobody reads it any more.
pub(crate) fn stream(text: impl AsRef<[u8]>) -> Outcome<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("writing to stdout: {error}"))),
    }
}

/// Says on stderr why there is nothing on stdout.
pub(crate) fn note(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether to color: the flag decides, then `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR` and `TERM`, then the terminal.
fn colors(when: When, terminal: bool, lookup: Lookup<'_>) -> bool {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto if set("NO_COLOR").is_some() => false,
        When::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        When::Auto => {
            terminal
                && set("CLICOLOR").is_none_or(|value| value != "0")
                && set("TERM").is_some_and(|term| term != "dumb")
        }
    }
}

/// Whether errors are colored: as results are, but by what stderr is.
pub(crate) fn error_colors(when: When) -> bool {
    colors(when, io::stderr().is_terminal(), &environment::process)
}

/// Says on stderr what deserves a look but stops nothing.
pub(crate) fn warn(when: When, text: &str) {
    let prefix = if error_colors(when) { "\x1b[1;33mWarning: \x1b[0m" } else { "Warning: " };
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{prefix}{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        assert_eq!(json(&["<unknown>", "a&b"]), r#"["\u003cunknown\u003e","a\u0026b"]"#);
    }

    #[test]
    fn the_usual_variables_decide_about_color() {
        let with = |variables: &'static [(&str, &str)]| {
            move |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(colors(When::Auto, true, &with(&[("TERM", "xterm")])));
        assert!(!colors(When::Auto, false, &with(&[("TERM", "xterm")])));
        assert!(!colors(When::Auto, true, &with(&[("TERM", "xterm"), ("NO_COLOR", "1")])));
        assert!(!colors(When::Auto, true, &with(&[("TERM", "xterm"), ("CLICOLOR", "0")])));
        assert!(!colors(When::Auto, true, &with(&[("TERM", "dumb")])));
        assert!(colors(When::Auto, false, &with(&[("CLICOLOR_FORCE", "1")])));
        assert!(colors(When::Always, false, &with(&[("NO_COLOR", "1")])));
        assert!(!colors(When::Never, true, &with(&[("CLICOLOR_FORCE", "1")])));
    }
}
