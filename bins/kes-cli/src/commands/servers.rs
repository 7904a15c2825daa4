//! `kes servers`: which servers `-c NAME` knows. No secret is read for it.

use serde::Serialize;

use crate::args::Global;
use crate::environment;
use crate::failure::Outcome;
use crate::output::{self, Output};
use crate::servers_file::{Entry, ServersFile, Source};

/// What is printed of an entry.
#[derive(Serialize)]
struct Shown {
    name: String,
    default: bool,
    endpoints: Vec<String>,
    /// How the caller proves who he is.
    credentials: &'static str,
    /// How the server does.
    trust: &'static str,
}

pub(crate) fn run(global: &Global, output: &Output) -> Outcome {
    let file = ServersFile::read(global.cli_config.as_deref(), &environment::process)?;
    file.warnings.iter().for_each(|warning| output::warn(global.color, warning));
    let shown: Vec<_> = file.entries.iter().map(|entry| shown(entry, file.default.as_deref())).collect();
    if let Some(document) = output.document(&shown)? {
        return output::print(document);
    }
    if !shown.is_empty() {
        return output::print(table(output, &shown));
    }
    if let Some(path) = &file.path {
        output::note(&format!("No servers: {} names none. `kes help servers-file` tells how.", path.display()));
    }
    Ok(())
}

fn shown(entry: &Entry, default: Option<&str>) -> Shown {
    let credentials = match (&entry.api_key, &entry.client_key) {
        (Some(Source::Text(_)), _) => "API key",
        (Some(Source::File(_)), _) => "API key from a file",
        (Some(Source::Command(_)), _) => "API key from a command",
        (None, Some(_)) => "certificate",
        (None, None) => "none",
    };
    let trust = match entry {
        Entry { ca_path: Some(_), fingerprint: Some(_), .. } => "CA and fingerprint",
        Entry { fingerprint: Some(_), .. } => "fingerprint",
        Entry { insecure: true, .. } => "anyone",
        Entry { ca_path: Some(_), .. } => "CA",
        _ => "system",
    };
    let default = default == Some(entry.name.as_str());
    Shown { name: entry.name.clone(), default, endpoints: entry.endpoints.clone(), credentials, trust }
}

fn table(output: &Output, entries: &[Shown]) -> String {
    let hosts = |entry: &Shown| {
        let hosts = entry.endpoints.iter().map(|url| url.strip_prefix("https://").unwrap_or(url));
        hosts.collect::<Vec<_>>().join(", ")
    };
    let name = |entry: &Shown| format!("{}{}", entry.name, if entry.default { " *" } else { "" });
    let rows = entries.iter().map(|entry| [name(entry), hosts(entry), entry.credentials.into(), entry.trust.into()]);
    let heading = ["Name", "Endpoints", "Credentials", "Trust"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:<0$}  {b:<1$}  {c:<2$}  {d}", widths[0], widths[1], widths[2]);
    let mut lines = rows.iter().map(line);
    let heading = lines.next().map(|line| output.faint(&line)).unwrap_or_default();
    std::iter::once(heading).chain(lines).map(|line| line + "\n").collect()
}
