//! `kes identity new` and `kes identity`: new API keys, and certificates for them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kes_identity::{ApiKey, Certificate, Template, pem};
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::args::{Format, Global, New};
use crate::commands::identity::line;
use crate::connect::given_password;
use crate::environment;
use crate::failure::{Failure, Outcome, Status};
use crate::input;
use crate::output::{self, Output};

/// How long certificates are valid unless told: 30 days.
const EXPIRY: Duration = Duration::days(30);

/// `kes identity` alone: in a pipe only the key.
pub(crate) fn bare(output: &Output) -> Outcome {
    let key = generate()?;
    let made = Made { key: &key, files: None };
    if output.is_pipe_form() {
        return line(output, key.to_text().expose());
    }
    match output.format() {
        Format::Text => output::print(made.block(output).as_bytes()),
        _ => made.document(output),
    }
}

pub(crate) fn new(global: &Global, output: &Output, new: &New) -> Outcome {
    let files = files(new)?;
    if let Some((key, cert)) = files
        && !new.force
    {
        refuse_existing(key, "private key")?;
        refuse_existing(cert, "certificate")?;
    }
    let password = if new.encrypt { Some(new_password(global)?) } else { None };
    let api_key = generate()?;
    if let Some((key, cert)) = files {
        write_files(&api_key, new, key, cert, password.as_ref().map(|password| password.as_str()))?;
    }
    let made = Made { key: &api_key, files };
    match output.format() {
        _ if new.quiet => line(output, api_key.to_text().expose()),
        Format::Text => output::print(made.text(output).as_bytes()),
        _ => made.document(output),
    }
}

fn generate() -> Outcome<ApiKey> {
    ApiKey::generate().map_err(|error| Failure::of(&error))
}

/// Both files or none; without them, nothing that only concerns files.
fn files(new: &New) -> Outcome<Option<(&Path, &Path)>> {
    let usage = |text: String| Failure { status: Status::Usage, ..Failure::new(text) };
    match (&new.key, &new.cert) {
        (Some(key), Some(cert)) => return Ok(Some((key, cert))),
        (Some(_), None) => {
            return Err(usage("private key file specified but no certificate file. Set the '--cert' flag".into()));
        }
        (None, Some(_)) => {
            return Err(usage("certificate file specified but no private key file. Set the '--key' flag".into()));
        }
        (None, None) => {}
    }
    let set = [
        ("encrypt", new.encrypt),
        ("force", new.force),
        ("expiry", new.expiry.is_some()),
        ("ip", !new.ip.is_empty()),
        ("dns", !new.dns.is_empty()),
    ];
    match set.iter().find(|(_, set)| *set) {
        Some((flag, _)) => {
            let needs = "requires a private key and certificate file. Set the '--cert' and '--key' flag";
            Err(usage(format!("'--{flag}' {needs}")))
        }
        None => Ok(None),
    }
}

fn refuse_existing(path: &Path, what: &str) -> Outcome {
    if path.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{what} already exists. Use --force to overwrite it")));
    }
    Ok(())
}

fn new_password(global: &Global) -> Outcome<Zeroizing<String>> {
    let password = match given_password(global, &environment::process)? {
        Some(password) => password,
        None => {
            let password = input::password("Enter password for private key:")?;
            if input::password("Confirm password for private key:")? != password {
                return Err(Failure::new("passwords don't match"));
            }
            password
        }
    };
    if password.is_empty() { Err(Failure::new("the password is empty")) } else { Ok(password) }
}

fn write_files(api_key: &ApiKey, new: &New, key: &Path, cert: &Path, password: Option<&str>) -> Outcome {
    let certificate = certificate(api_key, new)?;
    let private = match password {
        Some(password) => pem::encrypt_private_key(certificate.key(), password).map_err(|error| Failure::of(&error))?,
        None => certificate.key_to_pem(),
    };
    let failed = |what| move |failure: Failure| failure.while_doing(format_args!("failed to create {what}"));
    write(key, private.expose(), 0o600, new.force).map_err(failed("private key"))?;
    write(cert, &certificate.to_pem(), 0o644, new.force).map_err(failed("certificate")).inspect_err(|_| {
        // A key without its certificate would stand in the way of the next try.
        let _ = std::fs::remove_file(key);
    })
}

fn certificate(api_key: &ApiKey, new: &New) -> Outcome<Certificate> {
    let now = OffsetDateTime::now_utc();
    let until = now + new.expiry.unwrap_or(EXPIRY); // at most 292 years either way
    let mut template = Template::new(new.subject.as_deref().unwrap_or_else(|| api_key.identity().as_str()), now, until);
    template.ips.clone_from(&new.ip);
    template.dns.clone_from(&new.dns);
    api_key.certificate_from(&template).map_err(|error| Failure::of(&error))
}

/// Writes a file that is never there half, and never readable by others for a moment.
fn write(path: &Path, text: &str, mode: u32, force: bool) -> Outcome {
    let written = if force { replace(path, text, mode) } else { create(path, text, mode) };
    written.map_err(|error| Failure::new(format!("open {}: {}", path.display(), input::reason(&error))))
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let done = create(beside.as_ref(), text, mode).and_then(|()| std::fs::rename(&beside, path));
    if done.is_err() {
        // The error that counts is the one above.
        let _ = std::fs::remove_file(&beside);
    }
    done
}

/// What was made.
struct Made<'m> {
    key: &'m ApiKey,
    files: Option<(&'m Path, &'m Path)>,
}

#[derive(Serialize)]
struct Document<'d> {
    api_key: &'d str,
    identity: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_file: Option<String>,
}

impl Made<'_> {
    fn document(&self, output: &Output) -> Outcome {
        let api_key = self.key.to_text();
        let document = Document {
            api_key: api_key.expose(),
            identity: self.key.identity().as_str(),
            key_file: self.files.map(|(key, _)| key.display().to_string()),
            cert_file: self.files.map(|(_, cert)| cert.display().to_string()),
        };
        let text = Zeroizing::new(output.document(&document)?.unwrap_or_default());
        output::print(text.as_bytes())
    }

    /// The old text, word for word.
    fn text(&self, output: &Output) -> Zeroizing<String> {
        let key = self.key.to_text();
        let (key, identity) = (key.expose(), self.key.identity().as_str());
        let stored = self.files.map(|(key, cert)| {
            let (key, cert) = (key.display(), cert.display());
            format!(
                "\nThe generated TLS private key is stored at: {key}\nThe generated TLS certificate is stored at: {cert}\n"
            )
        });
        let again = match self.files {
            Some((_, cert)) => format!("    kes identity of {}\n", cert.display()),
            None => "\n".to_owned(),
        };
        let bold = Zeroizing::new(output.bold(key));
        Zeroizing::new(format!(
            "Your API key:\n\n   {}\n\n\
             This is the only time it is shown. Keep it secret and secure!\n\n\
             Your Identity:\n\n   {}\n\n\
             The identity is not a secret. It can be shared. Any peer\n\
             needs this identity in order to verify your API key.\n\
             {}\n\
             The identity can be computed again via:\n\n    kes identity of {key}\n{again}",
            *bold,
            output.bold(identity),
            stored.unwrap_or_default(),
        ))
    }

    /// What `kes identity` shows on a terminal.
    fn block(&self, output: &Output) -> Zeroizing<String> {
        let key = self.key.to_text();
        let (key, identity) = (key.expose(), self.key.identity().as_str());
        let bold = Zeroizing::new(output.bold(key));
        Zeroizing::new(format!(
            "\n Your API key:\n\n    {}\n\n \
             This is the only time it is shown. Keep it secret and secure!\n\n \
             Your API key's identity:\n\n    {}\n\n \
             The identity is not a secret and can be shared securely.\n \
             Peers need your identity in order to verify your API key.\n\n \
             This identity can be re-computed again via:\n\n   \
             $ kes identity {key}\n\n",
            *bold,
            output.bold(identity),
        ))
    }
}
