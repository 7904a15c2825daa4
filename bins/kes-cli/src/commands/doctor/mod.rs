//! `kes doctor`: is a server there, is it well, and may a client – MinIO above all – do what it must?
//!
//! Nothing is changed on the server, unless `--create` asks for the key. No secret is printed.

mod environment_file;
mod report;
mod rights;
mod server;
mod settings;

use std::path::Path;
use std::process::ExitCode;

use kes_server::check::{self, Finding};

use self::report::Report;
use self::settings::Settings;
use crate::args::{Doctor, Global};
use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};

pub(crate) fn run(global: &Global, output: &Output, doctor: &Doctor) -> Outcome<ExitCode> {
    let mut report = Report::default();
    if let Some(config) = &doctor.config {
        configuration(config, &mut report);
    }
    let settings = match &doctor.minio_env {
        Some(path) => Settings::of_minio(path, doctor, global, &mut report)?,
        None => Settings::usual(global, doctor, &environment::process)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("starting: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
            result = servers(&settings, doctor, &mut report) => result,
        }
    })?;
    match output.document(&report)? {
        Some(document) => output::print(document)?,
        None => output::print(report.text(output))?,
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The check of a server's file.
fn configuration(path: &Path, report: &mut Report) {
    report.about(path.display().to_string());
    let found = check::Check::new(path).run();
    let told = |finding: &Finding| match (finding.line, finding.key.as_str()) {
        (0, _) => finding.message.clone(),
        (line, "") => format!("line {line}: {}", finding.message),
        (line, key) => format!("line {line}, {key}: {}", finding.message),
    };
    for error in &found.errors {
        report.problem(told(error), &error.hint);
    }
    for warning in &found.warnings {
        report.warn(told(warning), &warning.hint);
    }
    if found.is_loadable() {
        report.good("a server can start with it");
    }
}

async fn servers(settings: &Settings, doctor: &Doctor, report: &mut Report) -> Outcome {
    for endpoint in &settings.endpoints {
        // Credentials that cannot be used are the same for all servers.
        let client = settings.client(endpoint);
        report.about(endpoint);
        if !server::reach(endpoint, settings, report).await {
            continue;
        }
        let client = match client {
            Ok(client) => client,
            Err(failure) => {
                report.problem(failure.text, failure.hint.unwrap_or_default());
                continue;
            }
        };
        if server::trust(&client, settings, report).await {
            server::health(&client, report).await;
            rights::check(&client, settings, doctor.create, report).await;
        }
    }
    Ok(())
}
