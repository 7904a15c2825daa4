//! Completions, in the shells they are for: `kes completion SHELL`.
//!
//! The tests of bash, zsh and fish need these shells (Debian: `bash`, `zsh`, `fish`) and fail without; run them with
//! `cargo test -p kes-cli --test shells -- --ignored`. There is no package of PowerShell and Elvish to test with: for them
//! the beginning of what is printed is compared.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What is typed, and candidates that must and must not be offered.
const TYPED: &[(&str, &[&str], &[&str])] = &[
    ("kes ke", &["key"], &["status"]),
    ("kes key ", &["create", "dek", "hmac", "rm"], &["status", "delete"]),
    ("kes key ls --li", &["--limit"], &["--json"]),
    ("kes status --ap", &["--api"], &["--server"]),
    ("kes policy sh", &["show"], &["ls"]),
    ("kes server --c", &["--config"], &["--color", "--cert"]),
    ("kes help ex", &["exit-codes"], &["key"]),
    ("kes completion ", &["bash", "powershell"], &["key"]),
    ("kes key ls --output ", &["json", "yaml"], &["create"]),
];

fn completion(shell: &str, folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kes")).args(["completion", shell]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let script = String::from_utf8(output.stdout).unwrap();
    fs::write(folder.join(shell), &script).unwrap();
    script
}

/// Runs a script of this shell, which must be there, and gives what it prints.
fn run(shell: &str, arguments: &[&str], script: &str, folder: &Path) -> String {
    fs::write(folder.join("script"), script).unwrap();
    let mut command = Command::new(shell);
    command.args(arguments).arg("script").current_dir(folder).env("HOME", folder);
    let output = command.output().unwrap_or_else(|error| panic!("{shell} is missing: {error}"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    String::from_utf8(output.stdout).unwrap()
}

/// Holds the candidates, one line for each line typed, against the table.
fn judge(shell: &str, printed: &str) {
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), TYPED.len(), "{shell}: {printed}");
    for ((typed, wanted, unwanted), line) in TYPED.iter().zip(lines) {
        let offered: Vec<&str> = line.split_whitespace().collect();
        assert!(wanted.iter().all(|word| offered.contains(word)), "{shell}: {typed:?} offers {offered:?}");
        assert!(!unwanted.iter().any(|word| offered.contains(word)), "{shell}: {typed:?} offers {offered:?}");
    }
}

#[test]
#[ignore = "needs bash"]
fn bash_completes() {
    let folder = tempfile::tempdir().unwrap();
    completion("bash", folder.path());
    let mut script = "source ./bash\n\
         try() {\n\
           COMP_LINE=\"$1\"; COMP_POINT=${#1}; read -ra COMP_WORDS <<< \"$1\"\n\
           [[ $1 == *' ' ]] && COMP_WORDS+=('')\n\
           COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()\n\
           _kes kes \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"\n\
           echo \"${COMPREPLY[*]}\"\n\
         }\n\
         complete -p kes > /dev/null || exit 1\n"
        .to_owned();
    script.extend(TYPED.iter().map(|(typed, ..)| format!("try '{typed}'\n")));
    judge("bash", &run("bash", &["--norc", "--noprofile"], &script, folder.path()));
}

#[test]
#[ignore = "needs fish"]
fn fish_completes() {
    let folder = tempfile::tempdir().unwrap();
    completion("fish", folder.path());
    let mut script = "source ./fish\n".to_owned();
    let line = |typed: &str| format!("echo (complete -C '{typed}' | string replace -r '\\t.*' '')\n");
    script.extend(TYPED.iter().map(|(typed, ..)| line(typed)));
    judge("fish", &run("fish", &["--no-config"], &script, folder.path()));
}

#[test]
#[ignore = "needs zsh"]
fn zsh_completes() {
    let folder = tempfile::tempdir().unwrap();
    completion("zsh", folder.path());
    // zsh completes at its prompt only: one more zsh, on a pseudo-terminal, that notes the candidates in a file.
    fs::write(
        folder.path().join("inner"),
        "autoload -U compinit; compinit -u -D; source ./zsh\n\
         compadd() { local -a found; builtin compadd -O found \"$@\"; noted+=($found); builtin compadd \"$@\" }\n\
         note() { BUFFER=''; print -r -- \"${(j: :)noted}\" >> noted; noted=() }\n\
         zle -N note; bindkey '^N' note\n",
    )
    .unwrap();
    let mut script = "zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z 'source ./inner'\n".to_owned();
    script.extend(TYPED.iter().map(|(typed, ..)| format!("zpty -w -n z '{typed}'$'\\t\\x0e'\n")));
    script += "zpty -w z 'exit'; while zpty -r z line; do :; done; cat noted\n";
    judge("zsh", &run("zsh", &["-f"], &script, folder.path()));
}

#[test]
fn the_other_shells_get_a_script_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, begin, parts) in [
        (
            "powershell",
            "\nusing namespace System.Management.Automation\n",
            &["Register-ArgumentCompleter -Native -CommandName 'kes'", "'kes;key;dek'"][..],
        ),
        ("elvish", "\nuse builtin;\nuse str;\n", &["set edit:completion:arg-completer[kes]", "&'kes;key;dek'"]),
    ] {
        let script = completion(shell, folder.path());
        assert!(script.starts_with(begin), "{shell}: {}", &script[..200]);
        for part in parts {
            assert!(script.contains(part), "{shell} lacks {part}");
        }
    }
}

/// `kes-cli` completes `kes-cli`.
#[test]
fn completions_are_for_the_name_that_was_called() {
    let output = Command::new(env!("CARGO_BIN_EXE_kes-cli")).args(["completion", "bash"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(" kes-cli\n"));
}
