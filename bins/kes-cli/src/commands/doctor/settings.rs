//! Whom to ask, as whom, about which key: from MinIO's environment file or the usual settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kes_client::{ApiKey, BuildError, Client};
use kes_identity::pem;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::environment_file::EnvironmentFile;
use super::report::Report;
use crate::args::{Doctor, Global};
use crate::connect;
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome, chain};
use crate::input::reason;

/// Limit for one call, unless `--timeout` sets another.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What is asked of the servers.
pub(super) struct Settings {
    pub(super) endpoints: Vec<String>,
    pub(super) key: Option<String>,
    /// Whether it is MinIO that is looked at.
    pub(super) is_minio: bool,
    source: Source,
    timeout: Duration,
}

enum Source {
    Usual(Box<Global>),
    Minio { credentials: Credentials, trust: Vec<PathBuf> },
}

#[derive(Default)]
enum Credentials {
    #[default]
    None,
    ApiKey(Zeroizing<String>),
    Files {
        certificate: PathBuf,
        key: PathBuf,
        password: Option<Zeroizing<String>>,
    },
}

impl Settings {
    /// From flags and environment, as for every other command.
    pub(super) fn usual(global: &Global, doctor: &Doctor, lookup: Lookup<'_>) -> Outcome<Self> {
        let mut global = global.clone();
        let timeout = *global.timeout.get_or_insert(PATIENCE);
        Ok(Self {
            endpoints: connect::servers(&global, lookup)?,
            key: doctor.key.clone().or_else(|| lookup("MINIO_KMS_KES_KEY_NAME").filter(|key| !key.is_empty())),
            is_minio: false,
            source: Source::Usual(Box::new(global)),
            timeout,
        })
    }

    /// From MinIO's environment file. What MinIO would refuse is reported; what is left is enough to go on, or there is
    /// no endpoint.
    pub(super) fn of_minio(path: &Path, doctor: &Doctor, global: &Global, report: &mut Report) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::new(format!("open {}: {}", path.display(), reason(&error))))?;
        let file = EnvironmentFile::parse(&text);
        report.about(path.display().to_string());
        odd_variables(&file, report);
        let endpoints = endpoints(&file, report);
        let key = doctor.key.clone().or_else(|| file.get("MINIO_KMS_KES_KEY_NAME").map(str::to_owned));
        if key.is_none() {
            let hint = "write MINIO_KMS_KES_KEY_NAME=<name>: the key that MinIO uses where no other is named";
            report.problem("MINIO_KMS_KES_KEY_NAME is not set: MinIO refuses to start", hint);
        }
        other_kms(&file, report);
        let credentials = credentials(&file, report);
        let source = Source::Minio { credentials, trust: trust(&file, report) };
        let timeout = global.timeout.unwrap_or(PATIENCE);
        let settings = Self { endpoints, key, is_minio: true, source, timeout };
        if let (Some(first), Some(key), true) = (settings.endpoints.first(), &settings.key, report.is_good()) {
            let more = match settings.endpoints.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            report.good(format!("asks {first}{more} for the key '{key}'"));
        }
        Ok(settings)
    }

    /// A client of one server.
    pub(super) fn client(&self, endpoint: &str) -> Outcome<Client> {
        match &self.source {
            Source::Usual(global) => {
                let global = Global { server: Some(endpoint.to_owned()), ..(**global).clone() };
                connect::client(&global, &environment::process)
            }
            Source::Minio { credentials, trust } => {
                let mut builder = Client::builder().endpoint(endpoint).system_roots(true);
                builder = builder.deadline(Some(self.timeout)).try_timeout(self.timeout.min(Duration::from_secs(10)));
                for path in trust {
                    builder = builder.ca_path(path);
                }
                builder = match credentials {
                    Credentials::None => builder,
                    Credentials::ApiKey(text) => {
                        let key: ApiKey = text.parse().map_err(|error| Failure::of(&error))?;
                        builder.api_key(key)
                    }
                    Credentials::Files { certificate, key, password: None } => {
                        builder.certificate_files(certificate, key)
                    }
                    Credentials::Files { certificate, key, password: Some(password) } => {
                        builder.encrypted_certificate_files(certificate, key, password.clone())
                    }
                };
                builder.build().map_err(|error: BuildError| Failure::new(chain(&error)))
            }
        }
    }

    /// How long a connection may take.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.min(Duration::from_secs(10))
    }

    /// Whether the server's certificate is not verified.
    pub(super) fn is_insecure(&self) -> bool {
        matches!(&self.source, Source::Usual(global) if global.insecure)
    }

    /// How to trust the server, in the words of the settings.
    pub(super) fn trust_hint(&self) -> &'static str {
        match self.is_minio {
            true => {
                "let MINIO_KMS_KES_CAPATH name a file or folder with the certificate of the authority that signed it"
            }
            false => "name the authority's certificate with --ca-path FILE",
        }
    }
}

/// The variables that MinIO reads.
const KNOWN: &[&str] = &[
    "MINIO_KMS_KES_ENDPOINT",
    "MINIO_KMS_KES_KEY_NAME",
    "MINIO_KMS_KES_API_KEY",
    "MINIO_KMS_KES_KEY_FILE",
    "MINIO_KMS_KES_CERT_FILE",
    "MINIO_KMS_KES_KEY_PASSWORD",
    "MINIO_KMS_KES_CAPATH",
    "MINIO_KMS_KES_ENCLAVE",
];

/// Variables about keys that MinIO does not read, and lines that are no variables.
fn odd_variables(file: &EnvironmentFile, report: &mut Report) {
    for name in file.names() {
        let line = file.line(name);
        if name == "MINIO_KMS_KES_CA_PATH" {
            let text = format!("line {line}: MinIO does not read MINIO_KMS_KES_CA_PATH");
            report.warn(text, "write MINIO_KMS_KES_CAPATH, the name that MinIO reads since 2021");
        } else if name.starts_with("MINIO_KMS_KES_") && !KNOWN.contains(&name) {
            let text = format!("line {line}: MinIO does not read {name}");
            report.warn(text, format!("the variables that it reads are {}", KNOWN[..7].join(", ")));
        } else if name.starts_with("MINIO_SSE_") {
            let text = format!("line {line}: {name} is of MinIO before 2021 and no longer read");
            report.warn(text, "remove it");
        }
    }
    for line in &file.odd_lines {
        report.warn(format!("line {line} is no assignment and is ignored"), "write NAME=value");
    }
}

fn endpoints(file: &EnvironmentFile, report: &mut Report) -> Vec<String> {
    let Some(list) = file.get("MINIO_KMS_KES_ENDPOINT") else {
        let hint = "write MINIO_KMS_KES_ENDPOINT=https://<server>:7373";
        report.problem("MINIO_KMS_KES_ENDPOINT is not set: MinIO does not use a KES server", hint);
        return Vec::new();
    };
    for server in list.split(',').map(str::trim).filter(|server| !server.starts_with("https://")) {
        let text = format!("MINIO_KMS_KES_ENDPOINT names '{server}', which does not begin with https://");
        report.problem(text, "a kes server speaks HTTPS only");
    }
    let endpoints = environment::server_list(list);
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.contains(['{', '}'])) {
        report.problem(format!("'{endpoint}' is no range"), "ranges are written {1...4}, with three dots");
    }
    endpoints.into_iter().filter(|endpoint| !endpoint.contains(['{', '}'])).collect()
}

/// Other ways to have keys, which MinIO does not take together with KES.
fn other_kms(file: &EnvironmentFile, report: &mut Report) {
    for name in ["MINIO_KMS_SECRET_KEY", "MINIO_KMS_SECRET_KEY_FILE"] {
        if file.get(name).is_some() {
            report.problem(
                format!("{name} and MINIO_KMS_KES_… are both set: MinIO refuses to start"),
                format!("remove {name}; what was sealed with that key needs a server with 'keystore.static', or the key in its store"),
            );
        }
    }
    if file.get("MINIO_KMS_SERVER").is_some() {
        let text = "MINIO_KMS_SERVER and MINIO_KMS_KES_… are both set: MinIO refuses to start";
        report.problem(text, "remove MINIO_KMS_SERVER, which is for another product");
    }
}

fn credentials(file: &EnvironmentFile, report: &mut Report) -> Credentials {
    let path = |name: &str| file.get(name).map(PathBuf::from);
    let files = (path("MINIO_KMS_KES_CERT_FILE"), path("MINIO_KMS_KES_KEY_FILE"));
    let both = "MINIO_KMS_KES_API_KEY and a client certificate are both set: MinIO refuses to start";
    match (file.get("MINIO_KMS_KES_API_KEY"), files) {
        (Some(text), files) => {
            if files != (None, None) {
                report.problem(both, "keep the API key, or MINIO_KMS_KES_KEY_FILE and MINIO_KMS_KES_CERT_FILE");
            }
            api_key(text, report)
        }
        (None, (Some(certificate), Some(key))) => {
            client_files(&certificate, &key, report);
            let password = file.get("MINIO_KMS_KES_KEY_PASSWORD").map(|text| Zeroizing::new(text.to_owned()));
            Credentials::Files { certificate, key, password }
        }
        (None, (None, None)) => {
            let hint = "`kes identity new` makes an API key: write MINIO_KMS_KES_API_KEY=kes:v1:…";
            report.problem("there is neither an API key nor a client certificate: MinIO refuses to start", hint);
            Credentials::None
        }
        (None, (Some(_), None)) => {
            report.problem(
                "MINIO_KMS_KES_CERT_FILE is set, and MINIO_KMS_KES_KEY_FILE is not",
                "name the private key too",
            );
            Credentials::None
        }
        (None, (None, Some(_))) => {
            report.problem(
                "MINIO_KMS_KES_KEY_FILE is set, and MINIO_KMS_KES_CERT_FILE is not",
                "name the certificate too",
            );
            Credentials::None
        }
    }
}

fn api_key(text: &str, report: &mut Report) -> Credentials {
    match text.parse::<ApiKey>() {
        Ok(_) => Credentials::ApiKey(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let text = format!("MINIO_KMS_KES_API_KEY is no API key: {}", chain(&error));
            report.problem(text, "an API key is kes:v1: and 44 characters; `kes identity new` makes one");
            Credentials::None
        }
    }
}

/// What can be said of the client's files before they are used.
fn client_files(certificate: &Path, key: &Path, report: &mut Report) {
    let leaf = pem::read(certificate).and_then(|text| pem::certificates(&text)).ok();
    let facts = leaf.and_then(|chain| pem::facts(chain.first()?).ok());
    if let Some(facts) = facts.filter(|facts| facts.not_after < OffsetDateTime::now_utc()) {
        let when = kes_crypto::rfc3339::format(facts.not_after);
        let text = format!("the client certificate {} has expired on {when}", certificate.display());
        report.warn(text, "renew it with the same private key: a server that verifies clients refuses it");
    }
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(key) {
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777;
        if mode & 0o004 != 0 {
            let text = format!("the private key {} can be read by every user (mode {mode:04o})", key.display());
            report.warn(text, format!("`chmod 600 {}`", key.display()));
        }
    }
}

/// Whom MinIO trusts beside the system's authorities.
fn trust(file: &EnvironmentFile, report: &mut Report) -> Vec<PathBuf> {
    if let Some(path) = file.get("MINIO_KMS_KES_CAPATH") {
        return match pem::ca_path(Path::new(path)) {
            Ok(_) => vec![path.into()],
            Err(error) => {
                report.problem(
                    format!("MINIO_KMS_KES_CAPATH: {error}"),
                    "name a file or folder with certificates in PEM",
                );
                Vec::new()
            }
        };
    }
    // Without it, MinIO trusts the folder `CAs` of its own certificates.
    let options: Vec<&str> = file.get("MINIO_OPTS").unwrap_or_default().split_whitespace().collect();
    let named = options.windows(2).find(|pair| matches!(pair[0], "--certs-dir" | "-S")).map(|pair| pair[1]);
    let named = named.or_else(|| options.iter().find_map(|option| option.strip_prefix("--certs-dir=")));
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".minio/certs"));
    let folder = named.map(PathBuf::from).or_else(home).map(|folder| folder.join("CAs"));
    folder
        .filter(|folder| folder.is_dir() && pem::ca_path(folder).is_ok_and(|found| !found.is_empty()))
        .into_iter()
        .collect()
}
