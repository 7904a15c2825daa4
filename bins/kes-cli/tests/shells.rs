//! Completions, in the shells they are for: `kes completion SHELL`.
//!
//! The tests of bash, zsh and fish need these shells (Debian: `bash`, `zsh`, `fish`) and fail without; run them with
//! `cargo test -p kes-cli --test shells -- --ignored`. PowerShell has no Debian package: what its script offers is read from
//! the script, by the same table.

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
    ("kes server --r", &[], &["--root"]),
    ("kes seal ", &["init", "recover"], &["key"]),
    ("kes backup --ve", &["--verify"], &["--version"]),
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
#[ignore = "needs fish: peers/peers.sh install fish"]
fn fish_completes() {
    let folder = tempfile::tempdir().unwrap();
    completion("fish", folder.path());
    let mut script = "source ./fish\n".to_owned();
    let line = |typed: &str| format!("echo (complete -C '{typed}' | string replace -r '\\t.*' '')\n");
    script.extend(TYPED.iter().map(|(typed, ..)| line(typed)));
    judge("fish", &run("fish", &["--no-config"], &script, folder.path()));
}

#[test]
#[ignore = "needs zsh: peers/peers.sh install zsh"]
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

/// The candidates for words typed, as PowerShell would choose them: those of the `switch` arm of the command that begin with
/// the last word.
fn power_shell_offers(script: &str, typed: &str) -> Vec<String> {
    let (before, last) = typed.rsplit_once(' ').unwrap();
    let command = before.split(' ').take_while(|word| !word.starts_with('-')).collect::<Vec<_>>().join(";");
    let arm = script.split_once(&format!("\n        '{command}' {{\n")).unwrap_or_else(|| panic!("no arm {command}")).1;
    let arm = arm.split_once("\n            break\n").unwrap().0;
    let candidates = arm.lines().map(|line| {
        let line = line.trim().strip_prefix("[CompletionResult]::new('").unwrap_or_else(|| panic!("{line}"));
        let (candidate, rest) = line.strip_suffix("')").unwrap().split_once("', '").unwrap();
        let rest = rest.split_once("', ").unwrap().1;
        let (kind, help) = rest.split_once(", '").unwrap();
        assert!(kind.starts_with("[CompletionResultType]::Parameter"), "{line}");
        assert!(!help.replace("''", "").contains('\''), "a text that ends too early: {line}");
        candidate.to_owned()
    });
    candidates.filter(|candidate| candidate.starts_with(last)).collect()
}

#[test]
fn power_shell_gets_a_script_that_offers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let script = completion("powershell", folder.path());
    assert!(script.starts_with("\nusing namespace System.Management.Automation\n"), "{}", &script[..200]);
    assert!(script.contains("Register-ArgumentCompleter -Native -CommandName 'kes' -ScriptBlock {"));
    assert_eq!(script.matches('{').count(), script.matches('}').count());
    // The values of an option are not offered there.
    let typed = TYPED.iter().filter(|(typed, ..)| !typed.ends_with("--output "));
    for (typed, wanted, unwanted) in typed {
        let offered = power_shell_offers(&script, typed);
        assert!(wanted.iter().all(|word| offered.iter().any(|offer| offer == word)), "{typed:?} offers {offered:?}");
        assert!(!unwanted.iter().any(|word| offered.iter().any(|offer| offer == word)), "{typed:?} offers {offered:?}");
    }
}

#[test]
fn elvish_gets_a_script_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let script = completion("elvish", folder.path());
    for part in ["use builtin;", "set edit:completion:arg-completer[kes]", "&'kes;key;dek'"] {
        assert!(script.contains(part), "it lacks {part}");
    }
}

/// `kes-cli` completes `kes-cli`.
#[test]
fn completions_are_for_the_name_that_was_called() {
    let output = Command::new(env!("CARGO_BIN_EXE_kes-cli")).args(["completion", "bash"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(" kes-cli\n"));
}
