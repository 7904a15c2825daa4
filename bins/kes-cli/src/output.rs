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

    /// A document in JSON or YAML; `None` if text is wanted.
    pub(crate) fn document(&self, value: &impl Serialize) -> Outcome<Option<String>> {
        match self.format() {
            Format::Text => Ok(None),
            Format::Json => Ok(Some(json(value) + "\n")),
            Format::Yaml => serde_yaml::to_string(value).map(Some).map_err(|error| Failure::of(&error)),
        }
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
    let text = serde_json::to_string(value).expect("structs of strings and numbers always serialise");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Writes to stdout. A reader that has gone away (`kes key ls | head`) is no error.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("writing to stdout: {error}")))
        }
        _ => Ok(()),
    }
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
pub(crate) fn error_colors() -> bool {
    colors(When::Auto, io::stderr().is_terminal(), &environment::process)
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
