//! `kes --version`, `kes version`.

use serde::Serialize;

use crate::failure::Outcome;
use crate::output::{self, Output};

#[derive(Serialize)]
struct Version {
    version: &'static str,
    commit: &'static str,
    os: &'static str,
    arch: &'static str,
}

pub(crate) fn print(output: &Output) -> Outcome {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("KES_COMMIT"),
        os: std::env::consts::OS,
        arch: architecture(),
    };
    let text = match output.document(&version)? {
        Some(document) => document,
        None => text(&version, output),
    };
    output::print(text)
}

/// In the spelling that servers use in their status.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(version: &Version, output: &Output) -> String {
    let Version { version, commit, os, arch } = version;
    let line = |label: &str, value: &str, more: &str| format!("{label:<11}{value:<22}{}\n", output.faint(more));
    line("Version", version, &format!("commit={commit}"))
        + format!("{:<11}{os}/{arch}\n", "Runtime").as_str()
        + &line("License", "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
}
