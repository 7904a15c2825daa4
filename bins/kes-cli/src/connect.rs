//! From flags, the file of servers and the environment to a client.
//!
//! Each setting comes from the first that has it: the flags, the entry that `-c` names, the environment, the default
//! entry of the file. What belongs together comes from one place: the API key or the certificate with its key, and what
//! is trusted. That an entry skips the check of certificates holds for the servers of this entry only.

use std::path::PathBuf;
use std::time::Duration;

use kes_client::{ApiKey, BuildError, Builder, Client, Identity};
use kes_identity::pem;
use zeroize::Zeroizing;

use crate::args::Global;
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome, Status};
use crate::input;
use crate::output;
use crate::secret_source;
use crate::servers_file::{Entry, ServersFile, Source};

/// Builds the client.
pub(crate) fn client(global: &Global, lookup: Lookup<'_>) -> Outcome<Client> {
    let file = ServersFile::read(global.cli_config.as_deref(), lookup)?;
    file.warnings.iter().for_each(|warning| output::warn(global.color, warning));
    build(layers(global, &file, lookup)?)
}

/// The servers as URLs, the first of which is the one that `status` names.
pub(crate) fn servers(global: &Global, lookup: Lookup<'_>) -> Outcome<Vec<String>> {
    let file = ServersFile::read(global.cli_config.as_deref(), lookup)?;
    Ok(take_servers(&mut layers(global, &file, lookup)?).1)
}

/// The places in the order in which they count.
fn layers<'f>(global: &Global, file: &'f ServersFile, lookup: Lookup<'_>) -> Outcome<Vec<Layer<'f>>> {
    let named = global.connection.as_deref().map(|name| file.named(name)).transpose()?;
    let mut layers = vec![Layer::flags(global)];
    layers.extend(named.map(Layer::entry));
    layers.push(Layer::environment(lookup)?);
    if named.is_none() {
        layers.extend(file.default_entry().map(Layer::entry));
    }
    Ok(layers)
}

/// The servers, and which layer names them.
fn take_servers(layers: &mut [Layer<'_>]) -> (Option<usize>, Vec<String>) {
    let place = layers.iter().position(|layer| !layer.endpoints.is_empty());
    let endpoints = match place {
        Some(at) => std::mem::take(&mut layers[at].endpoints),
        None => environment::server_list(environment::DEFAULT_SERVER),
    };
    (place, endpoints)
}

/// What one place says.
#[derive(Default)]
struct Layer<'f> {
    endpoints: Vec<String>,
    api_key: Option<Secret<'f>>,
    client_key: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    password: Option<Secret<'f>>,
    ca_path: Option<PathBuf>,
    fingerprint: Option<String>,
    insecure: bool,
    timeout: Option<Duration>,
    is_entry: bool,
}

enum Secret<'f> {
    /// Itself, or `-` or `@FILE`.
    Argument(Zeroizing<String>),
    /// Itself, whatever it looks like.
    Literal(Zeroizing<String>),
    File(PathBuf),
    Source(&'f Source),
}

impl<'f> Layer<'f> {
    fn flags(global: &Global) -> Self {
        Self {
            endpoints: global.server.as_deref().map(environment::server_list).unwrap_or_default(),
            api_key: global.api_key.clone().filter(|key| !key.is_empty()).map(Zeroizing::new).map(Secret::Argument),
            client_key: global.client_key.clone(),
            client_cert: global.client_cert.clone(),
            password: global.password_file.clone().map(Secret::File),
            ca_path: global.ca_path.clone(),
            fingerprint: global.server_fingerprint.clone(),
            insecure: global.insecure,
            timeout: global.timeout,
            ..Self::default()
        }
    }

    fn entry(entry: &'f Entry) -> Self {
        Self {
            endpoints: entry.endpoints.clone(),
            api_key: entry.api_key.as_ref().map(Secret::Source),
            client_key: entry.client_key.clone(),
            client_cert: entry.client_cert.clone(),
            password: entry.password.as_ref().map(Secret::Source),
            ca_path: entry.ca_path.clone(),
            fingerprint: entry.fingerprint.clone(),
            insecure: entry.insecure,
            timeout: entry.timeout,
            is_entry: true,
        }
    }

    fn environment(lookup: Lookup<'_>) -> Outcome<Self> {
        let first = |names| environment::first(names, lookup);
        Ok(Self {
            endpoints: first(environment::SERVER).as_deref().map(environment::server_list).unwrap_or_default(),
            api_key: first(environment::API_KEY).map(Zeroizing::new).map(Secret::Argument),
            client_key: first(environment::CLIENT_KEY).map(PathBuf::from),
            client_cert: first(environment::CLIENT_CERT).map(PathBuf::from),
            password: first(environment::KEY_PASSWORD).map(Zeroizing::new).map(Secret::Literal),
            ca_path: first(environment::CA_PATH).map(PathBuf::from),
            fingerprint: first(environment::FINGERPRINT),
            insecure: environment::switch(environment::INSECURE, lookup)?,
            timeout: environment::duration(environment::TIMEOUT, lookup)?,
            is_entry: false,
        })
    }

    fn says_who(&self) -> bool {
        self.api_key.is_some() || self.client_key.is_some() || self.client_cert.is_some()
    }

    fn says_whom_to_trust(&self) -> bool {
        self.ca_path.is_some() || self.fingerprint.is_some() || self.insecure
    }
}

fn build(mut layers: Vec<Layer<'_>>) -> Outcome<Client> {
    let timeout = layers.iter().find_map(|layer| layer.timeout);
    let (place, endpoints) = take_servers(&mut layers);
    let builder = Client::builder().endpoints(endpoints);
    let mut builder = trust(builder, &layers, place)?;
    builder = match credentials(layers)? {
        Credentials::ApiKey(key) => builder.api_key(key),
        Credentials::Files { certificate, key, password: None } => builder.certificate_files(certificate, key),
        Credentials::Files { certificate, key, password: Some(password) } => {
            builder.encrypted_certificate_files(certificate, key, password)
        }
    };
    if let Some(limit) = timeout {
        let try_limit = limit.min(Duration::from_secs(15));
        builder =
            builder.deadline(Some(limit)).try_timeout(try_limit).connect_timeout(limit.min(Duration::from_secs(10)));
    }
    builder.build().map_err(|error| refused(&error))
}

/// `place` is the layer that names the servers.
fn trust(mut builder: Builder, layers: &[Layer<'_>], place: Option<usize>) -> Outcome<Builder> {
    let counts = |&at: &usize| {
        let layer = &layers[at];
        // The entry's servers were not checked by its own wish; others are.
        let is_foreign = layer.is_entry && place != Some(at);
        layer.says_whom_to_trust() && !(is_foreign && layer.ca_path.is_none() && layer.fingerprint.is_none())
    };
    let Some(at) = (0..layers.len()).find(counts) else { return Ok(builder) };
    let layer = &layers[at];
    if let Some(path) = &layer.ca_path {
        builder = builder.ca_path(path);
    }
    if let Some(text) = &layer.fingerprint {
        builder = builder.server_fingerprint(fingerprint(text)?);
    }
    Ok(builder.insecure(layer.insecure && (!layer.is_entry || place == Some(at))))
}

/// `SHA256:AB:cd…`, with or without prefix and colons.
fn fingerprint(text: &str) -> Outcome<Identity> {
    let hex = text.trim().to_ascii_lowercase();
    let hex = hex.strip_prefix("sha256:").unwrap_or(&hex).replace(':', "");
    let identity = hex.parse::<Identity>().ok().filter(Identity::is_hash);
    identity.ok_or_else(|| {
        let text = format!("invalid fingerprint \"{text}\": it must be 64 hex digits");
        let failure = Failure { status: Status::Usage, ..Failure::new(text) };
        failure.hint("`kes identity of server.crt` prints it on the server")
    })
}

enum Credentials {
    ApiKey(ApiKey),
    Files { certificate: PathBuf, key: PathBuf, password: Option<Zeroizing<String>> },
}

fn credentials(mut layers: Vec<Layer<'_>>) -> Outcome<Credentials> {
    let mut passwords: Vec<_> = layers.iter_mut().filter_map(|layer| layer.password.take()).collect();
    let who = layers.into_iter().find(Layer::says_who).unwrap_or_default();
    // The order of these checks, and their texts, are the old ones.
    match (who.api_key, who.client_key, who.client_cert) {
        (None, None, None) => Err(Failure::new("no API key specified. Consider setting MINIO_KES_API_KEY")
            .hint("`kes identity new` makes one; the server's configuration must name its identity")),
        (Some(_), Some(_), _) => Err(Failure::new("API key and private key file cannot be used at the same time")),
        (Some(_), _, Some(_)) => Err(Failure::new("API key and certificate file cannot be used at the same time")),
        (None, _, None) => Err(Failure::new("no certificate file specified. Consider setting MINIO_KES_CERT_FILE")),
        (None, None, _) => Err(Failure::new("no private key file specified. Consider setting MINIO_KES_KEY_FILE")),
        (Some(key), None, None) => {
            let text = key.text("API key")?;
            let key = text.trim().parse().map_err(|error| Failure::of(&error).while_doing("parsing API key"))?;
            Ok(Credentials::ApiKey(key))
        }
        (None, Some(key), Some(certificate)) => {
            let given = if passwords.is_empty() { None } else { Some(passwords.swap_remove(0)) };
            let password = password(&key, given)?;
            Ok(Credentials::Files { certificate, key, password })
        }
    }
}

impl Secret<'_> {
    fn text(self, what: &str) -> Outcome<Zeroizing<String>> {
        match self {
            Self::Argument(argument) => input::text(&argument),
            Self::Literal(text) => Ok(text),
            Self::File(path) => secret_source::fetch(&Source::File(path), what),
            Self::Source(source) => secret_source::fetch(source, what),
        }
    }
}

/// The password of an encrypted key: given, or from whoever sits at the terminal. A key file that cannot be read is left
/// to the client, which says so.
fn password(key: &std::path::Path, given: Option<Secret<'_>>) -> Outcome<Option<Zeroizing<String>>> {
    let encrypted = || {
        let text = Zeroizing::new(pem::read(key).ok()?);
        pem::blocks(&text).filter_map(Result::ok).find(pem::Block::is_private_key).map(|block| block.is_encrypted())
    };
    if encrypted() != Some(true) {
        return Ok(None);
    }
    match given {
        Some(password) => password.text("password").map(Some),
        None => input::password("Enter password for private key: ").map(Some),
    }
}

/// A password from `--password-file` or the environment, for commands that ask no server.
pub(crate) fn given_password(global: &Global, lookup: Lookup<'_>) -> Outcome<Option<Zeroizing<String>>> {
    match &global.password_file {
        Some(path) => Secret::File(path.clone()).text("password").map(Some),
        None => Ok(environment::first(environment::KEY_PASSWORD, lookup).map(Zeroizing::new)),
    }
}

/// The old texts for what is wrong with the files.
fn refused(error: &BuildError) -> Failure {
    match error {
        BuildError::Pem { source: pem::Error::WrongPassword, .. } => Failure::new("incorrect password"),
        BuildError::Pem { what, path, source } => {
            let source = source.to_string();
            let source = source.strip_prefix("https: ").unwrap_or(&source);
            Failure::new(format!("failed to read TLS {what}: {source}")).hint(format!("the file is {}", path.display()))
        }
        BuildError::Endpoint { .. } | BuildError::NoEndpoint => Failure { status: Status::Usage, ..Failure::of(error) },
        _ => Failure::of(error),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    const KEY: &str = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn global(flags: &[&str]) -> Global {
        Cli::try_parse_from(["kes", "status"].iter().chain(flags)).unwrap().global
    }

    fn error(flags: &[&str], variables: &[(&str, &str)]) -> String {
        let lookup = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        client(&global(flags), &lookup).unwrap_err().text
    }

    #[test]
    fn credentials_are_checked_in_the_old_order() {
        let none = "no API key specified. Consider setting MINIO_KES_API_KEY";
        assert_eq!(error(&[], &[]), none);
        assert_eq!(error(&[], &[("KES_API_KEY", "")]), none);
        assert_eq!(
            error(&[], &[("KES_API_KEY", KEY), ("KES_CLIENT_KEY", "x")]),
            "API key and private key file cannot be used at the same time"
        );
        assert_eq!(
            error(&[], &[("KES_API_KEY", KEY), ("KES_CLIENT_CERT", "x")]),
            "API key and certificate file cannot be used at the same time"
        );
        assert_eq!(
            error(&[], &[("KES_CLIENT_KEY", "x")]),
            "no certificate file specified. Consider setting MINIO_KES_CERT_FILE"
        );
        assert_eq!(
            error(&[], &[("MINIO_KMS_KES_CERT_FILE", "x")]),
            "no private key file specified. Consider setting MINIO_KES_KEY_FILE"
        );
        assert_eq!(
            error(&[], &[("KES_CLIENT_KEY", "/no/k"), ("KES_CLIENT_CERT", "/no/c")]),
            "reading certificate file: open /no/c: no such file or directory"
        );
        assert_eq!(error(&[], &[("KES_API_KEY", "foo")]), "parsing API key: illegal base64 data at input byte 0");
    }

    #[test]
    fn a_flag_hides_the_environment() {
        let variables = [("KES_CLIENT_KEY", "/no/k"), ("KES_CLIENT_CERT", "/no/c"), ("KES_SERVER", "a:1,b:2")];
        let lookup = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let client = client(&global(&["--api-key", KEY]), &lookup).unwrap();
        assert!(client.identity().is_some());
        assert_eq!(client.endpoints().collect::<Vec<_>>(), ["https://a:1", "https://b:2"]);
    }

    #[test]
    fn the_server_is_the_old_default_if_nobody_says() {
        let servers = |flags| {
            let client = client(&global(flags), &|_| None).unwrap();
            client.endpoints().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(servers(&["--api-key", KEY]), ["https://127.0.0.1:7373"]);
        assert_eq!(servers(&["--api-key", KEY, "--server", "http://x:1"]), ["https://x:1"]);
    }

    /// The identity and the servers that a command of these flags and variables has, with a file of servers.
    fn built(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Outcome<(String, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kes")).unwrap();
        std::fs::write(folder.path().join("kes/config.toml"), file).unwrap();
        let home = folder.path().display().to_string();
        let lookup = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some(home.clone()),
            _ => variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()),
        };
        let client = client(&global(flags), &lookup)?;
        Ok((client.identity().unwrap().to_string(), client.endpoints().map(str::to_owned).collect()))
    }

    #[test]
    fn a_flag_beats_the_named_entry_that_the_environment_and_that_the_default() {
        const OTHER: &str = "kes:v1:AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
        let (zero, one) = ("339e2ff917630507", "fd110d301d2f077d");
        let file = format!(
            "default = 'd'\n[servers.d]\nendpoints = 'd'\napi_key = '{KEY}'\n\
             [servers.n]\nendpoints = ['n1', 'n2']\napi_key_command = ['echo', '{OTHER}']\n"
        );
        for (flags, variables, identity, servers) in [
            (&[][..], &[][..], zero, &["https://d"][..]),
            (&["-c", "n"], &[], one, &["https://n1", "https://n2"]),
            (&[], &[("KES_SERVER", "e")], zero, &["https://e"]),
            (&[], &[("KES_API_KEY", OTHER)], one, &["https://d"]),
            (&["-c", "n"], &[("KES_SERVER", "e"), ("KES_API_KEY", KEY)], one, &["https://n1", "https://n2"]),
            (&["-c", "n", "--server", "f"], &[("KES_SERVER", "e")], one, &["https://f"]),
            (&["-c", "n", "--api-key", KEY], &[], zero, &["https://n1", "https://n2"]),
        ] {
            let (found, endpoints) = built(flags, variables, &file).unwrap();
            assert!(found.starts_with(identity), "{flags:?} {variables:?}: {found}");
            assert_eq!(endpoints, servers, "{flags:?} {variables:?}");
        }
        assert_eq!(built(&["-c", "m"], &[], &file).unwrap_err().status, Status::Usage);
    }

    #[test]
    fn an_entry_trusts_anyone_for_its_own_servers_only() {
        let layer = |is_entry, insecure, endpoint: &str| Layer {
            endpoints: environment::server_list(endpoint),
            insecure,
            is_entry,
            ..Layer::default()
        };
        let insecure = |layers: &[Layer<'_>], place| {
            let builder = trust(Client::builder(), layers, Some(place)).unwrap();
            format!("{builder:?}").contains("insecure: true")
        };
        assert!(insecure(&[layer(false, false, ""), layer(true, true, "e")], 1));
        assert!(!insecure(&[layer(false, false, "f"), layer(true, true, "e")], 0));
        assert!(insecure(&[layer(false, true, ""), layer(true, false, "e")], 1));
    }

    #[test]
    fn fingerprints_are_read_in_all_their_forms() {
        let hex = "fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2";
        let pairs = hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase());
        let colons = pairs.collect::<Vec<_>>().join(":");
        for text in [hex.to_owned(), hex.to_uppercase(), format!("SHA256:{hex}"), format!("sha256:{colons}"), colons] {
            assert_eq!(fingerprint(&text).unwrap().as_str(), hex, "{text}");
        }
        for text in ["", "fd11", "sha256:", &"g".repeat(64)] {
            assert_eq!(fingerprint(text).unwrap_err().status, Status::Usage, "{text}");
        }
    }
}
