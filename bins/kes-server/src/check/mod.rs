//! `kes-server check`: what a configuration file would do to a server, without starting one.
//!
//! The start of a server tells the first mistake; this tells all of them, and beyond them what loads and will bite. Nothing
//! is changed: no folder is made, no log opened, no socket kept.

mod access;
mod arguments;
mod client_tls;
mod files;
mod machine;
pub mod minio;
mod report;
mod store;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kes_config::File;
use time::OffsetDateTime;

use self::arguments::CheckArguments;
use self::machine::Machine;
pub use self::report::{Finding, Report};
use crate::{banner, usage};

/// A check of one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    path: PathBuf,
    /// The value of `--addr`.
    pub address: Option<String>,
    /// The value of `--root`.
    pub root: Option<String>,
    /// Whether to open the key store and to try the address. Default off.
    pub connect: bool,
    /// Whether to look at the files that the configuration names, and at this machine. Default on.
    pub files: bool,
    /// Whether to compare policies with what MinIO needs. Default on.
    pub minio: bool,
}

impl Check {
    /// A check of the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), address: None, root: None, connect: false, files: true, minio: true }
    }

    /// Reads and judges.
    #[must_use]
    pub fn run(&self) -> Report {
        let mut report = Report::default();
        let mut file = match File::read(&self.path) {
            Ok(file) => file,
            Err(error) => {
                let hint = error.advice().unwrap_or("name a file that can be read");
                let place = error.place().cloned();
                let finding =
                    Finding { file: self.path.display().to_string(), ..Finding::new(place, error.message(), hint) };
                report.errors.push(finding);
                return report;
            }
        };
        if let Some(address) = &self.address {
            file = file.address(address.clone());
        }
        if let Some(root) = &self.root {
            file = file.root(root.clone());
        }
        let file = file.inspect();
        report.errors.extend(file.errors.iter().map(Finding::from));
        report.warnings.extend(file.warnings.iter().map(Finding::from));
        report.notes.extend(file.notes.iter().map(Finding::from));
        if let Some(modern) = &file.modern {
            report.modern = Some(modern.clone());
            access::check(&mut report, &file, self.minio);
            store::check(&mut report, &file);
            store::check_seal(&mut report, &file, self.files);
            if self.files {
                files::check(&mut report, &file, OffsetDateTime::now_utc());
                client_tls::check(&mut report, &file, OffsetDateTime::now_utc());
                Machine::this().check(&mut report, &file);
            }
            if self.connect {
                store::connect(&mut report, &file);
            }
        }
        report.sort();
        report
    }
}

/// The status of a check, if the arguments behind the program's name ask for one.
pub(crate) fn main(arguments: &[OsString]) -> Option<ExitCode> {
    if !arguments::asks_for_check(arguments) {
        return None;
    }
    Some(match CheckArguments::parse(arguments.to_vec()) {
        Ok(arguments) => run(&arguments),
        Err(error) if !error.use_stderr() => {
            // A closed stdout leaves nobody to tell.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            banner::tell(&format!("Error: {}", usage::text_for(&error, "kes server check")));
            ExitCode::from(2)
        }
    })
}

fn run(arguments: &CheckArguments) -> ExitCode {
    let server = &arguments.server;
    let Some(path) = &server.config else {
        banner::tell("Error: there is no file to check in development mode. See 'kes server check --help'");
        return ExitCode::from(2);
    };
    for warning in server.deprecated() {
        banner::warn(&warning);
    }
    let check = Check {
        path: path.clone(),
        address: server.addr.clone(),
        root: server.root.clone(),
        connect: arguments.connect,
        files: !arguments.no_files,
        minio: !arguments.no_minio,
    };
    let mut report = check.run();
    if arguments.strict {
        report.make_strict();
    }
    show(&report, arguments, path);
    if report.is_loadable() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The report is the result, unless the file itself is: then the report goes to standard error.
fn show(report: &Report, arguments: &CheckArguments, path: &Path) {
    if arguments.wants_json() {
        return print(&report.json(arguments.print));
    }
    let text = report.text(&path.display().to_string(), arguments.strict);
    match (arguments.print, &report.modern) {
        (true, modern) => {
            print(modern.as_deref().unwrap_or_default());
            // As above.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
        (false, _) => print(&text),
    }
}

/// Writes to stdout. A reader that has gone away is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
