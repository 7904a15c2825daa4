//! Tells the server which commit it was built from, where that can be known.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=KES_COMMIT");
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/refs/heads");
    let given = std::env::var("KES_COMMIT").ok();
    let commit = given.or_else(asked_of_git).unwrap_or_else(|| "<unknown>".to_owned());
    println!("cargo:rustc-env=KES_COMMIT={commit}");
}

fn asked_of_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}
