//! The variables that commands read, in their order, and the server list they hold.
//!
//! The names are those of three generations of the old command line, then MinIO's own, so that MinIO's environment file
//! serves as it is. An empty variable counts as unset.

use std::time::Duration;

use crate::duration::parse_positive;
use crate::failure::{Failure, Outcome, Status};

/// Reads one variable; injected so that tests need not touch the process.
pub(crate) type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

pub(crate) const SERVER: &[&str] = &["MINIO_KES_SERVER", "KES_SERVER", "MINIO_KMS_KES_ENDPOINT"];
pub(crate) const API_KEY: &[&str] = &["MINIO_KES_API_KEY", "KES_API_KEY", "MINIO_KMS_KES_API_KEY"];
pub(crate) const CLIENT_KEY: &[&str] =
    &["MINIO_KES_KEY_FILE", "KES_CLIENT_KEY", "MINIO_KES_CLIENT_KEY", "MINIO_KMS_KES_KEY_FILE"];
pub(crate) const CLIENT_CERT: &[&str] =
    &["MINIO_KES_CERT_FILE", "KES_CLIENT_CERT", "MINIO_KES_CLIENT_CERT", "MINIO_KMS_KES_CERT_FILE"];
pub(crate) const CA_PATH: &[&str] =
    &["MINIO_KES_CA_PATH", "KES_CA_PATH", "MINIO_KMS_KES_CAPATH", "MINIO_KMS_KES_CA_PATH"];
pub(crate) const KEY_PASSWORD: &[&str] = &["MINIO_KES_KEY_PASSWORD", "KES_KEY_PASSWORD", "MINIO_KMS_KES_KEY_PASSWORD"];
pub(crate) const FINGERPRINT: &[&str] = &["KES_SERVER_FINGERPRINT"];
pub(crate) const INSECURE: &str = "KES_INSECURE";
pub(crate) const TIMEOUT: &str = "KES_TIMEOUT";
pub(crate) const OUTPUT: &str = "KES_OUTPUT";

/// The server that is asked when nobody says which.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:7373";

/// The process's own variables. What is not UTF-8 counts as unset.
pub(crate) fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The first variable that is set and not empty.
///
/// Departs from upstream: there an empty newer variable hides a set older one.
pub(crate) fn first(names: &[&str], lookup: Lookup<'_>) -> Option<String> {
    names.iter().filter_map(|name| lookup(name)).find(|value| !value.is_empty())
}

/// A variable that switches something on.
pub(crate) fn switch(name: &str, lookup: Lookup<'_>) -> Outcome<bool> {
    let Some(value) = first(&[name], lookup) else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(invalid(name, &value, "it must be on or off")),
    }
}

/// A variable that holds a duration.
pub(crate) fn duration(name: &str, lookup: Lookup<'_>) -> Outcome<Option<Duration>> {
    let value = first(&[name], lookup);
    value.map(|value| parse_positive(&value).map_err(|why| invalid(name, &value, &why))).transpose()
}

/// What to say about a variable that holds something else.
pub(crate) fn invalid(name: &str, value: &str, why: &str) -> Failure {
    Failure {
        status: Status::Usage,
        ..Failure::new(format!("invalid value \"{value}\" of the variable {name}: {why}"))
    }
}

/// `a, https://b:7373,http://c{1...3}` as URLs: blanks trimmed, `https://` put before what has no scheme, and in place of
/// `http://`; no default port.
pub(crate) fn server_list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .flat_map(expand)
        .map(|server| url(&server))
        .collect()
}

fn url(server: &str) -> String {
    let host = server.strip_prefix("http://").unwrap_or(server);
    if host.starts_with("https://") { host.to_owned() } else { format!("https://{host}") }
}

/// MinIO's `{1...4}` stands for the numbers from 1 to 4, each as wide as the first if that has leading zeros.
pub(crate) fn expand(server: &str) -> Vec<String> {
    let range = || {
        let (head, rest) = server.split_once('{')?;
        let (range, tail) = rest.split_once('}')?;
        let (first, last) = range.split_once("...")?;
        let numbers = first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?;
        let width = if first.starts_with('0') { first.len() } else { 0 };
        Some(numbers.flat_map(|number| expand(&format!("{head}{number:0width$}{tail}"))).collect::<Vec<_>>())
    };
    range().filter(|servers| !servers.is_empty()).unwrap_or_else(|| vec![server.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_become_https_urls() {
        assert_eq!(
            server_list(" a:7373 ,http://b , https://c:1/x/,,"),
            ["https://a:7373", "https://b", "https://c:1/x/"]
        );
    }

    #[test]
    fn ellipses_are_expanded_as_minio_does() {
        assert_eq!(server_list("kes{1...3}:7373"), ["https://kes1:7373", "https://kes2:7373", "https://kes3:7373"]);
        assert_eq!(server_list("a{1...2}.b{01...02}").len(), 4);
        assert_eq!(server_list("a{08...10}"), ["https://a08", "https://a09", "https://a10"]);
        assert_eq!(server_list("a{x}"), ["https://a{x}"]);
    }

    #[test]
    fn an_empty_variable_does_not_hide_an_older_one() {
        let lookup = |name: &str| match name {
            "MINIO_KES_SERVER" => Some(String::new()),
            "KES_SERVER" => Some("new".to_owned()),
            "MINIO_KMS_KES_ENDPOINT" => Some("minio".to_owned()),
            _ => None,
        };
        assert_eq!(first(SERVER, &lookup).as_deref(), Some("new"));
        assert_eq!(first(API_KEY, &lookup), None);
    }
}
