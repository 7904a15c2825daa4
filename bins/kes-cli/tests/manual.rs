//! Manual pages: `kes man`.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn kes(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kes")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn pages(folder: &Path) -> BTreeSet<String> {
    kes(&["man", folder.to_str().unwrap()]);
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn every_command_has_a_page_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(&folder.path().join("man1"));
    for page in ["kes.1", "kes-server.1", "kes-key.1", "kes-key-create.1", "kes-policy-assign.1", "kes-servers.1"] {
        assert!(pages.contains(page), "{page} is missing in {pages:?}");
    }
    for page in pages {
        let text = fs::read_to_string(folder.path().join("man1").join(&page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
        assert!(text.contains(".SH EXAMPLES") || page == "kes-help.1", "{page} has no examples");
        assert!(!text.contains("enclave"), "{page} shows what is hidden");
    }
}

#[test]
fn the_first_page_tells_statuses_variables_and_files() {
    let page = kes(&["man"]);
    for heading in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH FILES"] {
        assert!(page.contains(heading), "{heading} is missing");
    }
    assert!(page.contains("MINIO_KMS_KES_ENDPOINT"));
}

#[test]
fn the_page_of_the_server_has_the_servers_options_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    let page = fs::read_to_string(folder.path().join("kes-server.1")).unwrap();
    assert!(page.contains("\\-\\-config") && !page.contains("\\-\\-api\\-key"), "{page}");
}

/// Help that teaches: an example for each command, with commands that exist.
#[test]
fn the_help_of_every_command_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()).iter().filter(|page| *page != "kes-help.1") {
        let words: Vec<&str> = page.strip_suffix(".1").unwrap().split('-').skip(1).collect();
        let help = kes(&[words.as_slice(), &["--help"]].concat());
        assert!(help.contains("\nExamples:\n"), "kes {words:?}");
    }
}

#[test]
#[ignore = "needs man: peers/peers.sh install man"]
fn man_shows_every_page_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for page in pages(folder.path()) {
        let output = Command::new("man").args(["--warnings", "-l"]).arg(folder.path().join(&page)).output();
        let output = output.unwrap_or_else(|error| panic!("man is missing: {error}"));
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{page}: {output:?}");
    }
}
