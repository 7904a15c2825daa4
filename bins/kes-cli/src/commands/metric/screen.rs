//! The terminal while the live view has it: the other screen, no echo, no cursor. As it was before, however the program
//! ends, a panic included.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::view::{Line, Style};
use crate::output::{self, Output};
use crate::terminal;

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What has to be restored, once; `None` while the terminal is its owner's.
static TAKEN: Mutex<Option<Option<Termios>>> = Mutex::new(None);

/// The terminal, taken.
pub(super) struct Screen;

impl Screen {
    /// Takes the terminal. Ctrl-C still is a signal; Ctrl-Z is none, because the shell would find the other screen.
    pub(super) fn take() -> io::Result<Self> {
        let before = if io::stdin().is_terminal() { Some(tcgetattr(io::stdin())?) } else { None };
        if let Some(before) = &before {
            let mut now = before.clone();
            now.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            now.special_codes[SpecialCodeIndex::VSUSP] = 0;
            now.special_codes[SpecialCodeIndex::VMIN] = 1;
            now.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(io::stdin(), OptionalActions::Flush, &now)?;
        }
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        // The message of a panic must not be lost with the other screen.
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            next(panic);
        }));
        // Somebody who does not look is found out at the first frame.
        let _ = output::print(ENTER);
        Ok(Self)
    }

    /// Draws a frame in one write; `footer` goes to the last row.
    pub(super) fn draw(&self, lines: &[Line], footer: &Line, output: &Output) -> bool {
        let (columns, rows) = terminal::size();
        output::stream(frame(lines, footer, columns, rows, output)).unwrap_or(false)
    }
}

/// The keys that are pressed, as bytes.
pub(super) struct Keys(Option<UnboundedReceiver<u8>>);

impl Keys {
    /// Listens to the keyboard, if stdin is one. The thread that reads it ends with the program.
    pub(super) fn listen() -> Self {
        if !io::stdin().is_terminal() {
            return Self(None);
        }
        let (sender, keys) = unbounded_channel();
        std::thread::spawn(move || {
            let mut key = [0];
            while matches!(io::stdin().lock().read(&mut key), Ok(1)) && sender.send(key[0]).is_ok() {}
        });
        Self(Some(keys))
    }

    /// The next key; `None` if the terminal is gone.
    pub(super) async fn next(&mut self) -> Option<u8> {
        match &mut self.0 {
            Some(keys) => keys.recv().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = taken {
        // Nothing can be done about a terminal that has gone away.
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(LEAVE.as_bytes()).and_then(|()| stdout.flush());
        if let Some(before) = before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
        }
    }
}

/// From the first row on, each line over the old one, and nothing left of what was longer: no flicker.
fn frame(lines: &[Line], footer: &Line, columns: usize, rows: usize, output: &Output) -> String {
    let shown = lines.len().min(rows.saturating_sub(1).max(1));
    // What stands in the last column is erased with the rest of its line by some terminals.
    let columns = columns.saturating_sub(1);
    let mut text = String::from("\x1b[H");
    for line in &lines[..shown] {
        text += &styled(line, columns, output);
        text += "\x1b[K\r\n";
    }
    text += "\x1b[J";
    if rows > shown {
        text += &format!("\x1b[{rows};1H{}", styled(footer, columns, output));
    }
    text
}

/// A line as text of at most that many columns, styled if colors are wanted.
pub(super) fn styled(line: &Line, columns: usize, output: &Output) -> String {
    let mut left = columns;
    let mut text = String::new();
    for (style, part) in line {
        let part = terminal::cut(part, left);
        left -= part.chars().count();
        text += &match style {
            _ if part.is_empty() => part,
            Style::Plain => part,
            Style::Bold => output.bold(&part),
            Style::Faint => output.faint(&part),
            Style::Red => output.red(&part),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn output(color: &str) -> Output {
        Output::new(&Cli::try_parse_from(["kes", "metric", "--color", color]).unwrap().global)
    }

    fn lines() -> Vec<Line> {
        ["one", "two", "three"]
            .map(|text| vec![(Style::Bold, text.to_owned()), (Style::Plain, " x".repeat(9))])
            .to_vec()
    }

    #[test]
    fn a_frame_keeps_to_rows_and_columns() {
        let footer = vec![(Style::Faint, "q quits".to_owned())];
        let shown = frame(&lines(), &footer, 9, 3, &output("never"));
        assert_eq!(shown, "\x1b[Hone x x \x1b[K\r\ntwo x x \x1b[K\r\n\x1b[J\x1b[3;1Hq quits");
        let shown = frame(&lines(), &footer, 9, 10, &output("never"));
        assert!(shown.ends_with("three x \x1b[K\r\n\x1b[J\x1b[10;1Hq quits"), "{shown:?}");
        assert_eq!(frame(&lines(), &footer, 4, 1, &output("never")), "\x1b[Hone\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn styles_have_no_width() {
        assert_eq!(styled(&lines()[0], 6, &output("always")), "\x1b[1mone\x1b[0m x ");
        assert_eq!(styled(&lines()[0], 0, &output("always")), "");
    }
}
