//! Values that need not stand on the command line, where shell history and process lists show them: `-` is standard
//! input, `@file` a file; passwords are asked for without echo.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};

/// Longest value that is read, in bytes: more than any request may have.
const MAX: u64 = 1 << 20;

pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// The value that an argument stands for: itself, or what `-` and `@file` name.
pub(crate) fn value(argument: &str) -> Outcome<Secret> {
    if argument == "-" {
        return read(io::stdin().lock(), "standard input");
    }
    match argument.strip_prefix('@') {
        Some(path) => file(path),
        None => Ok(Zeroizing::new(argument.as_bytes().to_vec())),
    }
}

/// As [`value`], for one line of text: blanks and line breaks around it are no part of it.
pub(crate) fn text(argument: &str) -> Outcome<Zeroizing<String>> {
    let bytes = value(argument)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new(format!("'{argument}' does not hold text")))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn file(path: &str) -> Outcome<Secret> {
    let file = std::fs::File::open(path).map_err(|error| Failure::new(format!("open {path}: {}", reason(&error))))?;
    read(file, path)
}

fn read(source: impl Read, name: &str) -> Outcome<Secret> {
    // One buffer for the longest value: a buffer that grows would leave parts of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX as usize + 1));
    match source.take(MAX + 1).read_to_end(&mut bytes) {
        Err(error) => Err(Failure::new(format!("reading {name}: {}", reason(&error)))),
        Ok(_) if bytes.len() as u64 > MAX => Err(Failure::new(format!("reading {name}: more than 1 MiB"))),
        Ok(_) => Ok(bytes),
    }
}

/// The system's text without Rust's "(os error 2)", in lower case as the old texts had it.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Asks on the terminal for a password, without echo.
pub(crate) fn password(prompt: &str) -> Outcome<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new("reading password: inappropriate ioctl for device")
            .hint("use --password-file FILE or the variable KES_KEY_PASSWORD"));
    }
    // Silence comes first: it throws away what was typed before, and nothing typed after the prompt may be lost.
    let silent = Silent::new()?;
    say(prompt)?;
    let line = line(io::stdin().lock());
    drop(silent);
    say("\n")?;
    line
}

/// Asks a yes-or-no question; anything but yes is no.
pub(crate) fn confirm(question: &str) -> Outcome<bool> {
    say(question)?;
    let mut answer = String::new();
    let length = io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(format!("reading the answer: {}", reason(&error))))?;
    if length == 0 {
        say("\n")?; // Ctrl-D leaves the cursor where it is
    }
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Whether somebody is there to be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes to standard error.
pub(crate) fn say(text: &str) -> Outcome {
    let mut stderr = io::stderr().lock();
    let written = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    written.map_err(|error| Failure::new(format!("writing to the terminal: {}", reason(&error))))
}

/// The terminal without echo, lines and signals; as it was when dropped. Ctrl-C arrives as a character, so that an
/// interrupted prompt cannot leave a terminal that shows nothing.
struct Silent(Termios);

impl Silent {
    fn new() -> Outcome<Self> {
        let failed = |error: rustix::io::Errno| Failure::new(format!("reading password: {}", reason(&error.into())));
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut now = before.clone();
        now.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        now.special_codes[SpecialCodeIndex::VMIN] = 1;
        now.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &now).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone away.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Reads one line, key by key.
fn line(mut keys: impl Read) -> Outcome<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let mut key = Zeroizing::new([0]);
    loop {
        match keys.read(&mut *key) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::new(format!("reading password: {}", reason(&error)))),
            Ok(0) => break,
            Ok(_) => {}
        }
        match key[0] {
            b'\r' | b'\n' => break,
            4 if line.is_empty() => break,           // Ctrl-D
            3 => return Err(Failure::interrupted()), // Ctrl-C
            21 => line.clear(),                      // Ctrl-U
            8 | 127 => remove_last_char(&mut line),  // Backspace
            _ if line.len() == line.capacity() => return Err(Failure::new("reading password: it is too long")),
            byte => line.push(byte),
        }
    }
    match std::str::from_utf8(&line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::new("reading password: it is not UTF-8")),
    }
}

fn remove_last_char(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn a_password_is_edited_as_on_any_terminal() {
        for (keys, expected) in [
            ("secret\n", "secret"),
            ("secret\r", "secret"),
            ("wrong\x15right\n", "right"),
            ("ab\x7fc\n", "ac"),
            ("aé\x7fb\n", "ab"),
            ("\x04", ""),
            ("no newline", "no newline"),
        ] {
            assert_eq!(line(keys.as_bytes()).unwrap().as_str(), expected, "{keys:?}");
        }
        assert_eq!(line(&b"sec\x03"[..]).unwrap_err().status, Status::Interrupted);
        assert!(line(&[b'a'; 2000][..]).is_err());
    }

    #[test]
    fn values_come_from_arguments_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        std::fs::write(&path, "from file\n").unwrap();
        let argument = format!("@{}", path.display());
        assert_eq!(value("itself").unwrap().as_slice(), b"itself");
        assert_eq!(value(&argument).unwrap().as_slice(), b"from file\n");
        assert_eq!(text(&argument).unwrap().as_str(), "from file");
        assert_eq!(value("@/no/such").unwrap_err().text, "open /no/such: no such file or directory");
    }
}
