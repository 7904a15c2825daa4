//! The server's certificate, renewed by an authority of one's own before it expires: `tls.renew`.
//!
//! A renewal replaces one file, that of the certificate. Key, names and subject stay, so no instant exists at which key and
//! certificate do not belong together, and nobody who trusts the authority notices. The server then takes the file up as it
//! does any changed certificate.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use kes_config::{Config, Renew, Tls};
use kes_identity::pem::Facts;
use kes_identity::{Authority, Certificate, PrivateKey, Template, Usage};
use time::{Duration, OffsetDateTime};

use crate::tls_files::Refuse;

/// How long a certificate is valid. It is renewed when half of that is over.
pub(crate) const LIFETIME: Duration = Duration::days(90);

/// How long a failed renewal rests. There is still half a lifetime left.
const REST: Duration = Duration::hours(1);

/// When the certificate in use is to be renewed.
pub(crate) struct Schedule {
    due: Option<OffsetDateTime>,
}

impl Schedule {
    /// For the certificate that the configuration names. One that cannot be read is left to those who need it.
    pub(crate) fn of(config: &Config) -> Self {
        let certificate = config.tls.renew.as_ref().and_then(|_| read(config).ok());
        Self { due: certificate.map(|certificate| half_time(&certificate.facts())) }
    }

    pub(crate) fn is_due(&self, now: OffsetDateTime) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// Not before a while, whatever the certificate says.
    pub(crate) fn rest(&mut self, now: OffsetDateTime) {
        self.due = self.due.map(|_| now + REST);
    }
}

/// Renews the certificate if half of its life is over; answers whether it did.
pub(crate) fn if_due(config: &Config, now: OffsetDateTime) -> anyhow::Result<bool> {
    if !Schedule::of(config).is_due(now) {
        return Ok(false);
    }
    renew(config, &[], now)?;
    Ok(true)
}

/// Makes sure that the certificate has these names beside those it has; answers whether it was renewed for that.
pub(crate) fn with_names(config: &Config, names: &[String], now: OffsetDateTime) -> anyhow::Result<bool> {
    let facts = read(config)?.facts();
    if names.iter().all(|name| facts.names.contains(name)) {
        return Ok(false);
    }
    if config.tls.renew.is_none() {
        let text = format!("the certificate is not valid for {}", names.join(", "));
        return Err(anyhow!("{}", config.refuse("tls.cert", text, "make it anew with these names: nothing here may")));
    }
    renew(config, names, now)?;
    Ok(true)
}

/// What a server certificate says. An authority that ends sooner ends it.
pub(crate) fn template(names: &[String], now: OffsetDateTime, until: OffsetDateTime) -> Template {
    let mut template = Template::new("kes", now - Duration::HOUR, (now + LIFETIME).min(until));
    template.usages = vec![Usage::ServerAuth];
    for name in names {
        match name.parse::<IpAddr>() {
            Ok(ip) => template.ips.push(ip),
            Err(_) => template.dns.push(name.clone()),
        }
    }
    template
}

/// Why the certificate could not be renewed now.
pub(crate) fn fault(tls: &Tls, refuse: Refuse<'_>, now: OffsetDateTime) -> Option<kes_config::Error> {
    let renew = tls.renew.as_ref()?;
    // A certificate that cannot be read is told by others.
    let old = read_files(tls).ok()?;
    authority(renew, &old, refuse, now).err()
}

fn renew(config: &Config, more: &[String], now: OffsetDateTime) -> anyhow::Result<()> {
    let Some(renew) = &config.tls.renew else { return Ok(()) };
    let refuse: Refuse<'_> = &|key, text, hint| config.refuse(key, text, hint);
    let old = read(config)?;
    let authority = authority(renew, &old, refuse, now).map_err(|error| anyhow!("{error}"))?;
    let facts = old.facts();
    let mut names = facts.names.clone();
    names.extend(more.iter().filter(|name| !facts.names.contains(name)).cloned());
    let new = issue(&authority, old.key(), &facts, &names, now, authority.facts().not_after)?;
    replace(&config.tls.cert, new.to_pem().as_bytes()).map_err(|error| {
        anyhow!("{}", refuse("tls.cert", format!("cannot write the renewed certificate: {error}"), ""))
    })
}

/// The authority, if it can renew this certificate.
fn authority(
    renew: &Renew,
    old: &Certificate,
    refuse: Refuse<'_>,
    now: OffsetDateTime,
) -> Result<Authority, kes_config::Error> {
    let authority = Certificate::from_files(&renew.ca, &renew.key, None)
        .map_err(|error| error.to_string())
        .and_then(|certificate| Authority::from_certificate(&certificate).map_err(|error| error.to_string()))
        .map_err(|error| {
            let text = format!("failed to read the authority that renews the certificate: {error}");
            refuse(
                "tls.renew.ca",
                text,
                "name the certificate and private key of the authority, or leave out 'tls.renew'",
            )
        })?;
    if !authority.has_signed(old) {
        let text = "the certificate was not made by the authority that is to renew it".to_owned();
        return Err(refuse("tls.renew.ca", text, "leave out 'tls.renew' for a certificate from elsewhere"));
    }
    let until = authority.facts().not_after;
    if until - now < Duration::DAY {
        let text = format!("the authority itself expires on {}: it renews nothing any more", until.date());
        return Err(refuse("tls.renew.ca", text, "make a new one, and give its certificate to every client"));
    }
    Ok(authority)
}

fn issue(
    authority: &Authority,
    key: &PrivateKey,
    facts: &Facts,
    names: &[String],
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> anyhow::Result<Certificate> {
    let mut template = template(names, now, until);
    if let Some(subject) = facts.subject.strip_prefix("CN=") {
        template.subject = subject.to_owned();
    }
    authority.issue_for(key, &template).context("cannot renew the certificate")
}

fn read(config: &Config) -> anyhow::Result<Certificate> {
    Ok(read_files(&config.tls)?)
}

fn read_files(tls: &Tls) -> Result<Certificate, kes_identity::pem::Error> {
    Certificate::from_files(&tls.cert, &tls.key, tls.password.as_ref().map(kes_config::Secret::expose))
}

fn half_time(facts: &Facts) -> OffsetDateTime {
    facts.not_before + (facts.not_after - facts.not_before) / 2
}

/// The file holds the old content or the new, at any instant and after a crash. A link stays one.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    let mut beside = PathBuf::from(&path).into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::metadata(&path)?.permissions())?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    };
    write().inspect_err(|_| {
        // The error that counts is the one above.
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kes_identity::KeyKind;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);

    struct Files {
        folder: tempfile::TempDir,
        config: Config,
    }

    /// An authority for `years` years and a certificate that it made at the start.
    fn files(years: i64) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::generate("test", START, START + Duration::days(365 * years)).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let leaf = authority.issue(KeyKind::EcdsaP256, &template(&names, START, authority.facts().not_after)).unwrap();
        for (certificate, name) in [(authority.as_certificate().unwrap(), "ca"), (leaf, "server")] {
            std::fs::write(folder.path().join(name).with_extension("crt"), certificate.to_pem()).unwrap();
            std::fs::write(folder.path().join(name).with_extension("key"), certificate.key_to_pem().expose()).unwrap();
        }
        let path = folder.path().display();
        let text = format!(
            "admin: {{identity: disabled}}\nkeystore: {{fs: {{path: {path}}}}}\n\
             tls: {{key: {path}/server.key, cert: {path}/server.crt, renew: {{ca: {path}/ca.crt, key: {path}/ca.key}}}}"
        );
        let config = kes_config::File::from_text("config.yml", &text).load().unwrap().config;
        Files { folder, config }
    }

    #[test]
    fn it_is_renewed_at_half_time_with_the_same_key_and_names() {
        let files = files(10);
        let old = read(&files.config).unwrap();
        assert!(!if_due(&files.config, START + Duration::days(44)).unwrap());
        let now = START + Duration::days(46);
        assert!(if_due(&files.config, now).unwrap());
        let new = read(&files.config).unwrap();
        assert_eq!((new.identity(), new.facts().names), (old.identity(), old.facts().names));
        assert_eq!(new.facts().not_after, now + LIFETIME);
        assert!(!if_due(&files.config, now).unwrap(), "once");
        let left: Vec<_> = std::fs::read_dir(files.folder.path()).unwrap().collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn an_expired_one_is_renewed_as_well() {
        let files = files(10);
        assert!(if_due(&files.config, START + Duration::days(2000)).unwrap());
    }

    #[test]
    fn more_names_are_added() {
        let files = files(10);
        let names = ["127.0.0.1".to_owned(), "kes.example.net".to_owned(), "10.0.0.1".to_owned()];
        assert!(with_names(&files.config, &names, START).unwrap());
        assert!(!with_names(&files.config, &names, START).unwrap());
        let facts = read(&files.config).unwrap().facts();
        assert_eq!(facts.names.len(), 5, "{:?}", facts.names);
    }

    #[test]
    fn it_never_outlives_its_authority() {
        let files = files(1);
        assert!(if_due(&files.config, START + Duration::days(364 - 30)).unwrap());
        assert_eq!(read(&files.config).unwrap().facts().not_after, START + Duration::days(365));
        let error = if_due(&files.config, START + Duration::days(365)).unwrap_err().to_string();
        assert!(error.contains("the authority itself expires on 2027-01-01"), "{error}");
        assert!(error.contains(" --> config.yml:3: tls.renew.ca"), "{error}");
    }

    #[test]
    fn a_certificate_from_elsewhere_is_left_alone() {
        let (files, other) = (files(10), super::tests::files(10));
        for name in ["server.crt", "server.key"] {
            std::fs::copy(other.folder.path().join(name), files.folder.path().join(name)).unwrap();
        }
        let error = if_due(&files.config, START + Duration::days(60)).unwrap_err().to_string();
        assert!(error.contains("was not made by the authority"), "{error}");
    }
}
