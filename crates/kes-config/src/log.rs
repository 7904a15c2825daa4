//! `log`: what is logged, and where to.

use crate::error::{Error, ErrorKind};
use crate::level::Level;
use crate::section::{Refused, Section, Text};
use std::path::PathBuf;

/// `log`. The levels are those of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// The least level on standard error. Default INFO.
    pub error: Level,
    /// The least level of audit records, which are INFO, on standard output. Default INFO, that is on.
    pub audit: Level,
    /// How lines look. Default text.
    pub format: Format,
    /// Which requests are recorded. Default all.
    pub audit_events: AuditEvents,
    /// What happens when records come faster than they can be written; `None`: drop on the console, wait for the file.
    pub audit_on_full: Option<OnFull>,
    /// A file for audit records, beside the console. Default none.
    pub audit_file: Option<AuditFile>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `key=value` pairs.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Which requests are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvents {
    /// Every request, refused ones too.
    All,
    /// Successful creation, import and deletion of keys: what MinIO KES recorded.
    Mutations,
}

/// What happens to audit records that find no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// They are lost and counted.
    Drop,
    /// Requests wait for room.
    Wait,
}

/// `log.audit_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFile {
    /// The file, to which records are appended.
    pub path: PathBuf,
    /// When records are forced to the disk. Default interval.
    pub sync: Sync,
}

/// When the audit file is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// When the system likes to.
    Off,
    /// At short intervals.
    Interval,
    /// After each batch of records, which is written within 100 ms.
    Always,
}

pub(crate) fn read(root: &Section<'_>) -> Result<Log, Refused> {
    let section = root.section("log");
    let file = section.section("audit_file");
    let (error, audit) = (section.text("error"), section.text("audit"));
    let (error, audit) = (level(root, error), level(root, audit));
    let format = section.choice("format", &[("text", Format::Text), ("json", Format::Json)]);
    let events = section.choice("audit_events", &[("all", AuditEvents::All), ("mutations", AuditEvents::Mutations)]);
    let on_full = section.choice("audit_on_full", &[("drop", OnFull::Drop), ("wait", OnFull::Wait)]);
    let path = file.filled_string("path").map(PathBuf::from);
    let sync = file.choice("sync", &[("off", Sync::Off), ("interval", Sync::Interval), ("always", Sync::Always)]);

    let audit_file = match (path, sync) {
        (Some(path), sync) => sync.map(|sync| Some(AuditFile { path, sync: sync.unwrap_or(Sync::Interval) })),
        (None, _) if !file.is_present() => Ok(None),
        (None, _) => {
            let error = file.error("path", "kesconf: invalid log config: no audit file path specified");
            Err(root.refuse(error.hint("write 'log.audit_file.path', or remove 'log.audit_file'")))
        }
    };
    Ok(Log {
        error: error?,
        audit: audit?,
        format: format?.unwrap_or(Format::Text),
        audit_events: events?.unwrap_or(AuditEvents::All),
        audit_on_full: on_full?,
        audit_file: audit_file?,
    })
}

fn level(root: &Section<'_>, text: Option<Text>) -> Result<Level, Refused> {
    let Some(text) = text else { return Ok(Level::INFO) };
    Level::parse(text.as_str()).map_err(|message| {
        let error = Error::new(ErrorKind::Invalid, message).at(text.place.clone());
        root.refuse(error.hint("write on, off, debug, info, warn or error, perhaps with a distance such as info+2"))
    })
}
