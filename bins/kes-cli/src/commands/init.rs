//! `kes init`: a folder for a server, made and not started.

use std::io::{self, Write as _};

use kes_server::quick::{self, Folder, Outcome as Made, Plan};

use crate::args::{Backend, Init};
use crate::failure::{Failure, Outcome, Status};
use crate::{offline, output};

pub(crate) fn run(init: &Init) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    let Some(folder) = &init.folder else { return Err(Failure::usage("no folder specified", "kes init")) };
    let folder = Folder::new(folder).map_err(|error| failed(&format!("{error:#}")))?;
    let backend = match init.backend {
        Backend::Fs => quick::Backend::Fs,
        Backend::Vault => quick::Backend::Vault,
        Backend::Aws => quick::Backend::Aws,
        Backend::Azure => quick::Backend::Azure,
    };
    let names = init.dns.iter().cloned().chain(init.ip.iter().map(ToString::to_string)).collect();
    let plan = Plan { backend, address: init.addr.clone(), names };
    let outcome = offline(async {
        let made = quick::make(&folder, &plan, show).await;
        made.map_err(|error| failed(&format!("{error:#}")))
    })?;
    let verb = match outcome {
        Made::Found => {
            let text = format!("{folder} is complete already; nothing was touched");
            let start = format!("start it: kes server --config {}", folder.config().display());
            return Err(Failure { status: Status::Exists, ..Failure::new(text) }.hint(start));
        }
        Made::Made => "Made",
        Made::Completed => "Completed (its recovery key, if it has one, was shown when it was begun)",
    };
    output::print(format!("{verb} {folder}\n{}", next_steps(&folder, init.backend)))
}

/// The recovery key is shown once; if that fails, nothing is made.
fn show(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush())
}

fn next_steps(folder: &Folder, backend: Backend) -> String {
    let config = folder.config();
    let config = config.display();
    let first = match backend {
        Backend::Fs => format!("  Look at       {config}, and move the sealing key away from the keys\n"),
        Backend::Vault | Backend::Aws | Backend::Azure => {
            format!("  Fill in       the lines marked CHANGE in {config}\n")
        }
    };
    format!(
        "{first}  Start         kes server --config {config}\n  \
         Administrator export KES_API_KEY=@{} KES_CA_PATH={}\n  \
         MinIO         kes connect minio {folder}\n",
        folder.admin().display(),
        folder.ca().display(),
    )
}
