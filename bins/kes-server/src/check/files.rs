//! The files that the configuration names: certificates and their dates, authorities, modes.

use std::path::{Path, PathBuf};

use kes_config::keystore::{Backend, Seal, VaultAuth, VaultToken};
use kes_config::{ClientAuth, Inspection, Tls};
use kes_crypto::rfc3339;
use kes_identity::pem::{self, Facts};
use rustix::fs::Access;
use time::{Duration, OffsetDateTime};

use super::report::Report;
use crate::{renew, tls_files};

/// How long before its end a certificate is warned about.
const SOON: Duration = Duration::days(30);

pub(super) fn check(report: &mut Report, file: &Inspection, now: OffsetDateTime) {
    if let Some(tls) = &file.sections.tls {
        certificate(report, file, tls, now);
        authorities(report, file, tls, now);
    }
    for (key, path) in private_files(file) {
        mode(report, file, key, &path);
    }
    if file.secrets
        && let Some(place) = file.place("")
    {
        let path = PathBuf::from(&*place.file);
        if let Some(mode) = world_readable(&path) {
            report.warn(
                Some(place),
                format!(
                    "the configuration holds a secret and can be read by every user of this machine (mode {mode:04o})"
                ),
                format!("`chmod 640 {}`, or put the secret into a variable and write ${{NAME}}", path.display()),
            );
        }
    }
    audit_file(report, file);
}

fn certificate(report: &mut Report, file: &Inspection, tls: &Tls, now: OffsetDateTime) {
    if let Err(errors) = tls_files::certificate(tls, &|key, text, hint| file.refuse(key, text, hint)) {
        errors.iter().for_each(|error| report.error(error));
    }
    let chain = pem::read(&tls.cert).and_then(|text| pem::certificates(&text)).unwrap_or_default();
    let chain: Vec<Facts> = chain.iter().filter_map(|certificate| pem::facts(certificate).ok()).collect();
    let place = || file.place("tls.cert");
    let is_renewed = is_renewed(report, file, tls, now);
    for (at, facts) in chain.iter().enumerate() {
        // The server renews its own before, or else at the next start.
        if at > 0 || !is_renewed {
            expiry(report, file, ("tls.cert", RENEW), &tls.cert, facts, now);
        }
        beginning(report, file, "tls.cert", &tls.cert, facts, now);
    }
    let Some(leaf) = chain.first() else { return };
    if !leaf.usages.is_empty() && !leaf.usages.iter().any(|usage| usage == "serverAuth" || usage == "any") {
        report.warn(
            place(),
            format!(
                "the server's certificate '{}' is for {} alone: clients refuse it",
                leaf.subject,
                leaf.usages.join(", ")
            ),
            "make one with the extended key usage serverAuth",
        );
    }
    if leaf.is_ca {
        report.note(
            place(),
            format!(
                "the server's certificate '{}' says CA:TRUE: some clients take no authority for a server",
                leaf.subject
            ),
            "",
        );
    }
    for pair in chain.windows(2).filter(|pair| pair[0].issuer != pair[1].subject) {
        report.warn(
            place(),
            format!(
                "the chain is broken: '{}' was signed by '{}', but '{}' follows it",
                pair[0].subject, pair[0].issuer, pair[1].subject
            ),
            "put each certificate's signer behind it, the server's own first",
        );
    }
}

/// Whether the server renews its certificate itself.
fn is_renewed(report: &mut Report, file: &Inspection, tls: &Tls, now: OffsetDateTime) -> bool {
    let Some(renew) = &tls.renew else { return false };
    if let Some(error) = renew::fault(tls, &|key, text, hint| file.refuse(key, text, hint), now) {
        report.warn(error.place().cloned(), error.message(), error.advice().unwrap_or_default());
        return false;
    }
    for facts in pem::ca_path(&renew.ca).unwrap_or_default().iter().filter_map(|found| pem::facts(found).ok()) {
        let hint = "make a new one, and give its certificate to every client";
        expiry(report, file, ("tls.renew.ca", hint), &renew.ca, &facts, now);
    }
    true
}

const RENEW: &str = "renew it; a changed file is taken up within seconds, without a restart";

/// Warns about `key`, with `hint`.
pub(super) fn expiry(
    report: &mut Report,
    file: &Inspection,
    (key, hint): (&str, &str),
    path: &Path,
    facts: &Facts,
    now: OffsetDateTime,
) {
    let (subject, path, when) = (&facts.subject, path.display(), rfc3339::format(facts.not_after));
    let left = facts.not_after - now;
    let text = if left.is_negative() {
        format!("the certificate '{subject}' in {path} has expired on {when}")
    } else if left < Duration::days(2) {
        format!("the certificate '{subject}' in {path} expires in {} hours, on {when}", left.whole_hours())
    } else if left < SOON {
        format!("the certificate '{subject}' in {path} expires in {} days, on {when}", left.whole_days())
    } else {
        return;
    };
    report.warn(file.place(key), text, hint);
}

pub(super) fn beginning(
    report: &mut Report,
    file: &Inspection,
    key: &str,
    path: &Path,
    facts: &Facts,
    now: OffsetDateTime,
) {
    if facts.not_before > now {
        let (subject, when) = (&facts.subject, rfc3339::format(facts.not_before));
        let text = format!("the certificate '{subject}' in {} is not valid before {when}", path.display());
        report.warn(file.place(key), text, "set the clock of this machine right, or make the certificate anew");
    }
}

fn authorities(report: &mut Report, file: &Inspection, tls: &Tls, now: OffsetDateTime) {
    let Some(path) = &tls.ca else { return };
    let found = match pem::ca_path(path) {
        Ok(found) => found,
        Err(error) => {
            report.error(&tls_files::refuse_ca(&|key, text, hint| file.refuse(key, text, hint), &error));
            return;
        }
    };
    for facts in found.iter().filter_map(|certificate| pem::facts(certificate).ok()) {
        expiry(report, file, ("tls.ca", RENEW), path, &facts, now);
        beginning(report, file, "tls.ca", path, &facts, now);
        if !facts.is_ca {
            report.warn(
                file.place("tls.ca"),
                format!(
                    "'{}' in {} is no authority (CA:FALSE) but somebody's own certificate",
                    facts.subject,
                    path.display()
                ),
                "name the certificate that signed the clients' certificates",
            );
        }
    }
    if found.is_empty() && tls.auth == ClientAuth::On {
        report.note(file.place("tls.ca"), format!("{} holds no certificate", path.display()), "");
    }
}

/// Files that hold a secret, and their keys.
fn private_files(file: &Inspection) -> Vec<(&'static str, PathBuf)> {
    let mut files = Vec::new();
    files.extend(file.sections.tls.as_ref().map(|tls| ("tls.key", tls.key.clone())));
    let renew = file.sections.tls.as_ref().and_then(|tls| tls.renew.as_ref());
    files.extend(renew.map(|renew| ("tls.renew.key", renew.key.clone())));
    let Some(store) = &file.sections.store else { return files };
    match store.backend() {
        Backend::Static(key) => files.extend(key.file.clone().map(|path| ("keystore.static.file", path))),
        Backend::Vault(vault) => {
            files.extend(vault.tls.key.clone().map(|path| ("keystore.vault.tls.key", path)));
            if let VaultAuth::Token(VaultToken::File(path)) = &vault.login.auth {
                files.push(("keystore.vault.token.file", path.clone()));
            }
        }
        _ => {}
    }
    for (setting, path) in store.seal().map(Seal::files).unwrap_or_default() {
        files.extend(match setting {
            "passphrase_file" => Some(("keystore.seal.passphrase_file", path)),
            "key_file" => Some(("keystore.seal.key_file", path)),
            // systemd sees to the others.
            _ => None,
        });
    }
    let recovery = store.seal().and_then(|seal| seal.recovery.clone());
    files.extend(recovery.map(|path| ("keystore.seal.recovery", path)));
    files
}

fn mode(report: &mut Report, file: &Inspection, key: &str, path: &Path) {
    if let Some(mode) = world_readable(path) {
        let path = path.display();
        report.warn(
            file.place(key),
            format!("{path} holds a secret and can be read by every user of this machine (mode {mode:04o})"),
            format!("`chmod 600 {path}`; for a Kubernetes secret: 'defaultMode: 0440'"),
        );
    }
}

/// The file's mode, if everybody may read it.
fn world_readable(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).ok()?) & 0o7777;
        (mode & 0o004 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The start opens the audit file for writing. It makes the file, but not its folder.
fn audit_file(report: &mut Report, file: &Inspection) {
    let Some(audit) = file.sections.log.as_ref().and_then(|log| log.audit_file.as_ref()) else { return };
    let folder = audit.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let fault = match (audit.path.is_dir(), folder.is_dir()) {
        (true, _) => "is a directory",
        (_, false) => "no such file or directory",
        _ if !is_writable(if audit.path.exists() { &audit.path } else { folder }) => "permission denied",
        _ => return,
    };
    let text = format!("cannot open the audit log {}: {fault}", audit.path.display());
    report.error(&file.refuse("log.audit_file.path", text, "name a file in a folder that the server may write to"));
}

/// Whether this user may write there. Those who check as another user than the server's are told of their own rights.
pub(super) fn is_writable(path: &Path) -> bool {
    let access = if path.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    rustix::fs::access(path, access).is_ok()
}
