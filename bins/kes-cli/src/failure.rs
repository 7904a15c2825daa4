//! How a command ends badly: what it prints and the status it leaves.

use std::error::Error as StdError;
use std::process::ExitCode;

use kes_client::{Error as ClientError, Reason, TlsError, TlsProblem};

/// Exit statuses. 0, 1 and 2 mean what they always meant; the others tell scripts what they had to guess from texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Anything that has no status of its own.
    General = 1,
    /// The command line is wrong, or asks for nothing.
    Usage = 2,
    /// A key, policy or identity is not there.
    NotFound = 3,
    /// It is there already.
    Exists = 4,
    /// The server's policy does not allow it.
    NotAuthorized = 5,
    /// No connection, or one side refused the other's certificate.
    Connection = 6,
    /// The server is there, its key store is not.
    StoreUnavailable = 7,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// What happened, in one line without `Error: `; empty if nothing is to be said.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { status: Status::General, text: text.into(), hint: None }
    }

    /// A mistake in the command line of `command`, such as `kes key ls`.
    pub(crate) fn usage(text: impl Into<String>, command: &str) -> Self {
        let text = format!("{}. See '{command} --help'", text.into());
        Self { status: Status::Usage, text, hint: None }
    }

    pub(crate) fn interrupted() -> Self {
        Self { status: Status::Interrupted, text: String::new(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was tried before the cause: `failed to create key "a": …`.
    pub(crate) fn while_doing(mut self, what: impl std::fmt::Display) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// The error and its causes, joined.
    pub(crate) fn of(error: &dyn StdError) -> Self {
        Self::new(chain(error))
    }
}

/// `error: cause: cause of the cause`.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self { status: status(&error), ..Self::of(&error) };
        match hint(&error) {
            Some(text) => failure.hint(text),
            None => failure,
        }
    }
}

fn status(error: &ClientError) -> Status {
    match error {
        ClientError::Connection { .. } | ClientError::Timeout { .. } | ClientError::Tls(_) => Status::Connection,
        ClientError::Server(refusal) => match (refusal.reason(), refusal.status()) {
            (Some(Reason::KeyNotFound | Reason::PolicyNotFound | Reason::IdentityNotFound), _) => Status::NotFound,
            (Some(Reason::KeyExists | Reason::PolicyExists | Reason::IdentityExists), _) => Status::Exists,
            (_, 403) => Status::NotAuthorized,
            (_, 502 | 504) => Status::StoreUnavailable,
            _ => Status::General,
        },
        _ => Status::General,
    }
}

/// What to do, in one line for each possibility.
fn hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Tls(tls) => Some(tls_hint(tls)),
        ClientError::Connection { source, .. } => connection_hint(&source.to_string()).map(Into::into),
        ClientError::Timeout { .. } => Some("--timeout gives it more time; is there a firewall in between?".into()),
        ClientError::Server(refusal) if refusal.status() == 403 => Some(
            "does a policy in the server's configuration name this identity, and allow this? `kes identity info` tells"
                .into(),
        ),
        ClientError::Server(refusal) if refusal.status() == 501 => Some(
            "this server takes no changes of policies ('compat.ephemeral_policies: off', or MinIO KES since 2023-10): write \
             them into its configuration"
                .into(),
        ),
        // Nothing of the kind is answered for a key, policy or identity that is not there.
        ClientError::Server(refusal) if refusal.status() == 404 && refusal.reason().is_none() => {
            Some("this server does not answer such requests; `kes status --api` lists those that it does".into())
        }
        ClientError::Server(refusal) if matches!(refusal.status(), 502 | 504) => {
            Some("the server's log says what its key store answers".into())
        }
        ClientError::Server(refusal) => Some(match refusal.reason()? {
            Reason::Decrypt => "key, ciphertext and context must be those that were used for sealing".into(),
            Reason::KeyNotFound => "`kes key ls` lists the keys that are there".into(),
            Reason::PolicyNotFound => "`kes policy ls` lists the policies that are there".into(),
            Reason::HmacUnsupported => {
                "keys of servers before 2024 have no part for HMAC; create another key for it".into()
            }
            _ => return None,
        }),
        _ => None,
    }
}

fn connection_hint(cause: &str) -> Option<&'static str> {
    if cause.contains("connection refused") {
        Some("is the server running, and is this its address? --server or KES_SERVER names another")
    } else if cause.contains("no such host") {
        Some("is the name spelled right? --server or KES_SERVER names another")
    } else {
        None
    }
}

/// Which certificate, what is wrong with it, and the ways to trust it.
fn tls_hint(tls: &TlsError) -> String {
    let Some(shown) = tls.server_certificate() else { return tls.hint() };
    let certificate = format!("the server's certificate is {shown}");
    let pin = format!(
        "or trust this key and no other, if `kes identity of server.crt` says the same on the server: \
         --server-fingerprint {}",
        shown.fingerprint
    );
    let skip = "or skip the check, for a test: --insecure (-k)";
    let first = match tls.problem() {
        TlsProblem::UnknownIssuer => {
            "trust the CA that signed it, or itself if it is self-signed: --ca-path FILE".to_owned()
        }
        TlsProblem::Dates => "renew it, or set the clock of this machine right".to_owned(),
        TlsProblem::WrongName => {
            let name = shown.names.first().map(|name| format!("connect by its name {name}, or "));
            format!("{}make a certificate for '{}'", name.unwrap_or_default(), tls.host())
        }
        _ => return tls.hint().replacen("; ", "\n", 1),
    };
    [certificate, first, pin, skip.to_owned()].join("\n")
}

#[cfg(test)]
mod tests {
    use kes_client::ServerError;

    use super::*;

    #[test]
    fn refusals_have_their_own_statuses() {
        for (status, message, expected) in [
            (404, "key does not exist", Status::NotFound),
            (404, "404 page not found\n", Status::General),
            (400, "key already exists", Status::Exists),
            (400, "invalid request body", Status::General),
            (403, "not authorized: insufficient permissions", Status::NotAuthorized),
            (502, "failed to read key", Status::StoreUnavailable),
            (504, "key store is not reachable", Status::StoreUnavailable),
            (500, "failed to encrypt plaintext", Status::General),
        ] {
            assert_eq!(
                Failure::from(ClientError::from(ServerError::new(status, message))).status,
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (status, message, expected) in [
            (404, "key does not exist", "`kes key ls` lists"),
            (404, "404 page not found\n", "`kes status --api` lists"),
            (403, "not authorized: insufficient permissions", "`kes identity info` tells"),
            (501, "not implemented", "write them into its configuration"),
            (502, "failed to create key", "the server's log says"),
            (504, "key store is not reachable", "the server's log says"),
        ] {
            let hint = Failure::from(ClientError::from(ServerError::new(status, message))).hint.unwrap_or_default();
            assert!(hint.contains(expected), "{message}: {hint}");
        }
    }

    #[test]
    fn what_was_tried_stands_before_the_cause() {
        let failure = Failure::from(ClientError::from(ServerError::new(400, "key already exists")));
        assert_eq!(
            failure.while_doing("failed to create key \"a\"").text,
            "failed to create key \"a\": key already exists"
        );
    }
}
