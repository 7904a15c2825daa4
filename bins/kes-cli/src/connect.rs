//! From flags and environment to a client.

use std::path::PathBuf;

use kes_client::{ApiKey, BuildError, Client};
use kes_identity::pem;
use zeroize::Zeroizing;

use crate::args::Global;
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome, Status};
use crate::input;

/// Builds the client. Flags win over the environment: if one of them says who the caller is, no variable does.
pub(crate) fn client(global: &Global, lookup: Lookup<'_>) -> Outcome<Client> {
    let mut builder = Client::builder().endpoints(servers(global, lookup)).insecure(global.insecure);
    builder = match credentials(global, lookup)? {
        Credentials::ApiKey(key) => builder.api_key(key),
        Credentials::Files { certificate, key, password: None } => builder.certificate_files(certificate, key),
        Credentials::Files { certificate, key, password: Some(password) } => {
            builder.encrypted_certificate_files(certificate, key, password)
        }
    };
    if let Some(path) =
        global.ca_path.clone().or_else(|| environment::first(environment::CA_PATH, lookup).map(PathBuf::from))
    {
        builder = builder.ca_path(path);
    }
    if let Some(limit) = global.timeout {
        builder = builder.deadline(Some(limit)).try_timeout(limit.min(std::time::Duration::from_secs(15)));
    }
    builder.build().map_err(|error| refused(&error))
}

/// The servers as URLs, the first of which is the one that `status` names.
pub(crate) fn servers(global: &Global, lookup: Lookup<'_>) -> Vec<String> {
    let flag = global.server.clone().filter(|server| !server.is_empty());
    let list = flag.or_else(|| environment::first(environment::SERVER, lookup));
    environment::server_list(list.as_deref().unwrap_or(environment::DEFAULT_SERVER))
}

enum Credentials {
    ApiKey(ApiKey),
    Files { certificate: PathBuf, key: PathBuf, password: Option<Zeroizing<String>> },
}

fn credentials(global: &Global, lookup: Lookup<'_>) -> Outcome<Credentials> {
    let (mut api_key, mut key, mut certificate) =
        (global.api_key.clone(), global.client_key.clone(), global.client_cert.clone());
    if api_key.is_none() && key.is_none() && certificate.is_none() {
        api_key = environment::first(environment::API_KEY, lookup);
        key = environment::first(environment::CLIENT_KEY, lookup).map(PathBuf::from);
        certificate = environment::first(environment::CLIENT_CERT, lookup).map(PathBuf::from);
    }
    // The order of these checks, and their texts, are the old ones.
    match (api_key.filter(|key| !key.is_empty()).map(Zeroizing::new), key, certificate) {
        (None, None, None) => Err(Failure::new("no API key specified. Consider setting MINIO_KES_API_KEY")
            .hint("`kes identity new` makes one; the server's configuration must name its identity")),
        (Some(_), Some(_), _) => Err(Failure::new("API key and private key file cannot be used at the same time")),
        (Some(_), _, Some(_)) => Err(Failure::new("API key and certificate file cannot be used at the same time")),
        (None, _, None) => Err(Failure::new("no certificate file specified. Consider setting MINIO_KES_CERT_FILE")),
        (None, None, _) => Err(Failure::new("no private key file specified. Consider setting MINIO_KES_KEY_FILE")),
        (Some(text), None, None) => {
            let text = input::text(&text)?;
            let key = text.parse().map_err(|error| Failure::of(&error).while_doing("parsing API key"))?;
            Ok(Credentials::ApiKey(key))
        }
        (None, Some(key), Some(certificate)) => {
            let password = password(&key, global, lookup)?;
            Ok(Credentials::Files { certificate, key, password })
        }
    }
}

/// The password of an encrypted key: from a file, the environment, or whoever sits at the terminal. A file that cannot
/// be read is left to the client, which says so.
fn password(key: &std::path::Path, global: &Global, lookup: Lookup<'_>) -> Outcome<Option<Zeroizing<String>>> {
    let encrypted = || {
        let text = Zeroizing::new(pem::read(key).ok()?);
        pem::blocks(&text).filter_map(Result::ok).find(pem::Block::is_private_key).map(|block| block.is_encrypted())
    };
    if encrypted() != Some(true) {
        return Ok(None);
    }
    if let Some(password) = given_password(global, lookup)? {
        return Ok(Some(password));
    }
    input::password("Enter password for private key: ").map(Some)
}

/// A password from `--password-file` or the environment.
pub(crate) fn given_password(global: &Global, lookup: Lookup<'_>) -> Outcome<Option<Zeroizing<String>>> {
    if let Some(path) = &global.password_file {
        let text = input::value(&format!("@{}", path.display()))?;
        let text = std::str::from_utf8(&text).map_err(|_| Failure::new("reading password: it is not UTF-8"))?;
        return Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())));
    }
    Ok(environment::first(environment::KEY_PASSWORD, lookup).map(Zeroizing::new))
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
        assert_eq!(servers(&global(&[]), &|_| None), ["https://127.0.0.1:7373"]);
        assert_eq!(servers(&global(&["--server", "http://x:1"]), &|_| None), ["https://x:1"]);
    }
}
