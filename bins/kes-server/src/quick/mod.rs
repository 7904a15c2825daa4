//! A folder with everything that a server needs: `kes server --quick`, `kes init`.
//!
//! An authority and a server certificate, the administrator's API key, an identity for MinIO with the policy it needs, a
//! sealed key store, and a commented configuration file that names all of them. The server that runs on it is an
//! ordinary one: `kes-server --config FOLDER/config.yml` does the same.
//!
//! Making it may be killed at any instant. Everything is made in a folder inside, `STAGING`; once it is complete,
//! its `config.yml` is written there, then all is moved up, and `config.yml` comes last. So whoever comes next knows what
//! to do by two questions: is there a `config.yml`, and is there one in `STAGING`? Without the latter nothing in there
//! was ever used, and is made anew. Nothing that lies in the folder itself is ever replaced.

mod content;
mod disk;
mod names;
mod report;
mod template;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use disk::Disk;

pub(crate) use names::of_address;
pub(crate) use report::{moved, started};
pub use template::Backend;

/// Where things are made before they have their places.
const STAGING: &str = ".unfinished";

/// What a new file system has in its root; it does not make a folder somebody else's.
const LOST_AND_FOUND: &str = "lost+found";

/// The folder of a server. The path is absolute: the configuration file has to work from everywhere.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at this path, which need not exist.
    ///
    /// # Errors
    /// If the path cannot stand in a configuration file: it is not UTF-8, or has control characters.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("folder '{}'", path.display()))?;
        match path.to_str() {
            Some(text) if !text.chars().any(char::is_control) => Ok(Self { path }),
            _ => bail!("folder '{}': its path cannot be written into a configuration file", path.display()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration file. It is there if and only if the folder is complete.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The certificate of the authority that signed the server's.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path.join(CA)
    }

    /// The file with MinIO's API key, as a line of an environment file.
    #[must_use]
    pub fn minio(&self) -> PathBuf {
        self.path.join(MINIO)
    }

    /// The file with the administrator's API key.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        self.path.join(ADMIN)
    }

    /// Whether it is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.config().exists()
    }

    fn staging(&self) -> PathBuf {
        self.path.join(STAGING)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

const CONFIG: &str = "config.yml";
const CA: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "server.crt";
const PRIVATE_KEY: &str = "server.key";
const ADMIN: &str = "admin.api-key";
const MINIO: &str = "minio.env";
const SEALING_KEY: &str = "sealing.key";
/// For stores elsewhere, until they are sealed.
const RECOVERY_KEY: &str = "recovery.key";
const KEYS: &str = "keys";

/// Where a server listens unless it is told: this machine alone can reach it.
pub(crate) const ADDRESS: &str = "127.0.0.1:7373";

/// The variable in which MinIO expects its API key.
pub const MINIO_API_KEY: &str = "MINIO_KMS_KES_API_KEY";

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where keys are to live.
    pub backend: Backend,
    /// Where the server is to listen: `[ip]:port`.
    pub address: String,
    /// DNS names and IP addresses that the certificate is to have beside `localhost`, the loopback addresses, the host's
    /// name and the address itself.
    pub names: Vec<String>,
}

/// What was found and done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was complete before; nothing was touched.
    Found,
    /// It was made.
    Made,
    /// A making that was interrupted has been brought to its end. What it had to tell it has told.
    Completed,
}

/// Makes what is missing. `tell` shows the operator what is shown once, before it counts: if it fails, nothing is made.
///
/// # Errors
/// If the folder holds other things, or cannot be written to.
pub async fn make(
    folder: &Folder,
    plan: &Plan,
    tell: impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<Outcome> {
    make_with(folder, plan, tell, &Disk::new()).await
}

async fn make_with(
    folder: &Folder,
    plan: &Plan,
    tell: impl FnMut(&str) -> std::io::Result<()>,
    disk: &Disk<'_>,
) -> anyhow::Result<Outcome> {
    let listed = |error: std::io::Error| anyhow!("cannot use folder '{folder}': {}", disk::words(&error));
    disk.folder(folder.path()).map_err(listed)?;
    // Whoever comes second waits, and then finds it made. Released when this returns, and when the process dies.
    let _lock = disk::lock(folder.path()).map_err(listed)?;
    if folder.is_ready() {
        // All that may be left of the making is the empty folder in which it took place.
        let _ = std::fs::remove_dir(folder.staging());
        return Ok(Outcome::Found);
    }
    let staging = folder.staging();
    if staging.join(CONFIG).exists() {
        place(folder, disk).map_err(listed)?;
        return Ok(Outcome::Completed);
    }
    refuse_foreign(folder)?;
    disk.remove(&staging).map_err(listed)?;
    disk.folder(&staging).map_err(listed)?;
    content::fill(folder, plan, &staging, disk, tell).await?;
    place(folder, disk).map_err(listed)?;
    Ok(Outcome::Made)
}

/// Moves everything to its place, the configuration file last.
fn place(folder: &Folder, disk: &Disk<'_>) -> std::io::Result<()> {
    let staging = folder.staging();
    let mut names = disk::entries(&staging)?;
    names.retain(|name| name != CONFIG);
    for name in names.iter().map(String::as_str).chain([CONFIG]) {
        disk.rename(&staging.join(name), &folder.path().join(name))?;
    }
    // Keys and certificates must be there for good before anybody relies on them.
    disk::sync(folder.path())?;
    disk.remove(&staging)
}

fn refuse_foreign(folder: &Folder) -> anyhow::Result<()> {
    let entries = disk::entries(folder.path()).with_context(|| format!("cannot read folder '{folder}'"))?;
    match entries.iter().find(|name| *name != STAGING && *name != LOST_AND_FOUND) {
        None => Ok(()),
        Some(name) => bail!(
            "folder '{folder}' is not empty and has no {CONFIG}: it holds '{name}'\n\
             hint: name a new or empty folder; nothing in this one was touched"
        ),
    }
}
