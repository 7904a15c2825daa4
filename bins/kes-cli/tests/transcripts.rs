//! Command transcripts that one can read: `transcripts/*.txt`.
//!
//! A line `$ kes …` runs the program, in a folder with the files of `data/` and without any KES variable; variables may
//! stand before it, `< file` behind it. What follows is what it printed: stdout, `[stderr]` and stderr, `[status]`. A
//! stdout without newline at its end is marked `[no newline]`. What differs from run to run is `<KEY>` and `<IDENTITY>`.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p kes-cli --test transcripts` writes the files anew; look at the difference.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn commands_print_what_the_transcripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let expected = fs::read_to_string(&path).unwrap();
        let printed = play(&expected);
        if update {
            fs::write(&path, printed).unwrap();
        } else {
            assert_eq!(printed, expected, "{}", path.display());
        }
    }
}

/// Runs the commands of a transcript and writes it anew.
fn play(transcript: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), home.path().join(entry.file_name())).unwrap();
    }
    let mut text = String::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            if !text.is_empty() {
                text.push('\n');
            }
            writeln!(text, "{line}\n{}", run(command, home.path())).unwrap();
        } else if line.starts_with('#') {
            writeln!(text, "{}{line}", if text.is_empty() { "" } else { "\n" }).unwrap();
        }
    }
    text
}

fn run(line: &str, home: &Path) -> String {
    let mut words = words(line).into_iter().peekable();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
    command.current_dir(home).env_clear().stdin(Stdio::null());
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        command.env(name, value);
        words.next();
    }
    assert_eq!(words.next().as_deref(), Some("kes"), "{line}");
    while let Some(word) = words.next() {
        if word == "<" {
            command.stdin(File::open(home.join(words.next().unwrap())).unwrap());
        } else {
            command.arg(word);
        }
    }
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mut text = masked(&stdout);
    if !text.is_empty() && !text.ends_with('\n') {
        text += " [no newline]\n";
    }
    if !stderr.is_empty() {
        text += "[stderr]\n";
        text += &masked(&stderr);
    }
    text + &format!("[{}]", output.status.code().unwrap())
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

/// Keys and identities that nobody can know beforehand. Those of the files and of the seeds in the transcripts stay.
fn masked(text: &str) -> String {
    const KNOWN: &[&str] = &[
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23",
        "fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2",
        include_str!("data/api-key.txt"),
        "7fe814cd250ba0e0832e9e65aca7974e20a866e77b296b9c0748467bdb898b5e",
    ];
    let mut out = String::new();
    for word in text.split_inclusive(|char: char| char.is_whitespace() || char == '"') {
        let bare = word.trim_end_matches(|char: char| char.is_whitespace() || char == '"');
        let known =
            KNOWN.iter().any(|known| bare.trim_start_matches("kes:v1:") == known.trim().trim_start_matches("kes:v1:"));
        let mask = match bare {
            _ if known => bare,
            key if key.starts_with("kes:v1:") && key.len() == 51 => "kes:v1:<KEY>",
            hex if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => "<IDENTITY>",
            other => other,
        };
        out += mask;
        out += &word[bare.len()..];
    }
    out
}
