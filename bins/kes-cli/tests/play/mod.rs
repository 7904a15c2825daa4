//! Plays a transcript and writes it anew.

mod mask;
mod server;
mod terminal;

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use server::Server;

/// Where the commands run.
pub(crate) struct Stage {
    home: tempfile::TempDir,
    server: Option<Server>,
}

/// A command line, taken apart.
struct Line {
    command: Command,
    stdin: Option<File>,
    typed: Option<String>,
    stdout: Option<File>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self { home: tempfile::tempdir().unwrap(), server: None };
        stage.copy_data("");
        stage
    }

    /// Files that say `{{address}}` get the one of the server.
    fn copy_data(&self, address: &str) {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap() {
            let entry = entry.unwrap();
            let content = fs::read_to_string(entry.path()).unwrap().replace("{{address}}", address);
            fs::write(self.home.path().join(entry.file_name()), content).unwrap();
        }
    }

    pub(crate) fn play(mut self, transcript: &str) -> String {
        let mut text = String::new();
        // A line of output may begin like a remark, but never behind an empty line.
        let mut before = "";
        for line in transcript.lines() {
            let is_begin = std::mem::replace(&mut before, line).is_empty();
            let printed = match line.split_at_checked(2) {
                Some(("$ ", command)) => self.in_pipes(command),
                Some(("% ", command)) => self.on_a_terminal(command),
                Some(("& ", command)) => self.in_the_background(command),
                Some((remark, _)) if is_begin && remark.starts_with('#') => String::new(),
                _ => continue,
            };
            let gap = if text.is_empty() { "" } else { "\n" };
            writeln!(text, "{gap}{line}").unwrap();
            text += &printed;
        }
        text
    }

    fn in_pipes(&self, line: &str) -> String {
        let Line { mut command, stdin, typed, stdout } = self.line(line);
        command.stdin(stdin.map_or_else(|| if typed.is_some() { Stdio::piped() } else { Stdio::null() }, Stdio::from));
        command.stdout(stdout.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if let Some(typed) = typed {
            child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let mut text = self.masked(&output.stdout);
        if !text.is_empty() && !text.ends_with('\n') {
            text += " [no newline]\n";
        }
        if !output.stderr.is_empty() {
            text += "[stderr]\n";
            text += &self.masked(&output.stderr);
        }
        text + &format!("[{}]\n", output.status.code().unwrap())
    }

    fn on_a_terminal(&self, line: &str) -> String {
        let Line { mut command, typed, .. } = self.line(line);
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm-256color");
        }
        command.env("LANG", "C.UTF-8");
        let (status, shown) = terminal::run(command, typed.as_deref());
        let mut text = self.masked(shown.as_bytes());
        if !text.is_empty() && !text.ends_with('\n') {
            text += " [no newline]\n";
        }
        text + &format!("[{status}]\n")
    }

    fn in_the_background(&mut self, line: &str) -> String {
        self.server = None; // the old one has ended before its port is free again
        let server = Server::start(|| self.line(line).command);
        self.copy_data(&server.address);
        self.server = Some(server);
        String::new()
    }

    fn line(&self, line: &str) -> Line {
        let mut words = words(line).into_iter().peekable();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command.current_dir(self.home.path()).env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        if let Some(server) = &self.server {
            command.env("KES_SERVER", &server.address);
        }
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            command.env(name, value);
            words.next();
        }
        assert_eq!(words.next().as_deref(), Some("kes"), "{line}");
        let mut line = Line { command, stdin: None, typed: None, stdout: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "<" => line.stdin = Some(File::open(self.home.path().join(words.next().unwrap())).unwrap()),
                "<<<" => line.typed = Some(words.next().unwrap().replace("\\n", "\n") + "\n"),
                ">" => line.stdout = Some(File::create(self.home.path().join(words.next().unwrap())).unwrap()),
                _ => drop(line.command.arg(word)),
            }
        }
        line
    }

    fn masked(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\u{1b}', "␛");
        let text = text.replace(&*self.home.path().to_string_lossy(), "/home/me");
        let text = match &self.server {
            Some(server) => text.replace(&server.address, "127.0.0.1:17373"),
            None => text,
        };
        mask::masked(&text)
    }
}

/// Words, with quotes as in a shell but without anything else of it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in line.chars() {
        match (quote, char) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}
