//! How the server shows itself to its key store, and whom it trusts there: the `tls` block of a store.

use std::path::Path;

use kes_config::Inspection;
use kes_identity::{Certificate, pem};
use time::OffsetDateTime;

use super::files::{beginning, expiry};
use super::report::Report;
use crate::tls_files;

/// A store is opened anew by a reload only.
const RENEW: &str = "renew it, then send the server SIGHUP";

pub(super) fn check(report: &mut Report, file: &Inspection, now: OffsetDateTime) {
    for (key, tls) in file.sections.store.iter().flat_map(tls_files::of_store) {
        if let (Some(private), Some(chain)) = (&tls.key, &tls.cert) {
            certificate(report, file, (&format!("{key}.cert"), chain), private, now);
        }
        if let Some(ca) = &tls.ca {
            authorities(report, file, (&format!("{key}.ca"), ca), now);
        }
    }
}

fn certificate(
    report: &mut Report,
    file: &Inspection,
    (key, chain): (&str, &Path),
    private: &Path,
    now: OffsetDateTime,
) {
    match Certificate::from_files(chain, private, None) {
        Ok(certificate) => {
            expiry(report, file, (key, RENEW), chain, &certificate.facts(), now);
            beginning(report, file, key, chain, &certificate.facts(), now);
        }
        Err(error) => {
            let text = format!("the certificate for the key store cannot be used: {error}");
            report.error(&file.refuse(key, text, "name the PEM files of a certificate and of its private key"));
        }
    }
}

fn authorities(report: &mut Report, file: &Inspection, (key, path): (&str, &Path), now: OffsetDateTime) {
    let found = match pem::ca_path(path) {
        Ok(found) => found,
        Err(error) => {
            let text = format!("the authorities of the key store cannot be read: {error}");
            report.error(&file.refuse(key, text, "name a file or a folder with certificates in PEM"));
            return;
        }
    };
    for facts in found.iter().filter_map(|certificate| pem::facts(certificate).ok()) {
        expiry(report, file, (key, RENEW), path, &facts, now);
        beginning(report, file, key, path, &facts, now);
        // A certificate that signed itself vouches for itself.
        if !facts.is_ca && facts.subject != facts.issuer {
            let text = format!("'{}' in {} is no authority (CA:FALSE)", facts.subject, path.display());
            report.warn(file.place(key), text, "name the certificate that signed the key store's");
        }
    }
}
