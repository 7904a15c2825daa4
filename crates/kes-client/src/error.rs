//! What can go wrong with a call, by meaning.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::tls::TlsError;

/// Why a call failed.
///
/// `Display` says what happened on this level; the cause, where there is one, is the `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered, and said no: the caller's mistake, a missing right, or the server's own trouble. Compare
    /// with [`Error::reason`] or the predicates.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// No answer came: the endpoint is unreachable, or the connection broke. `source()` has the cause.
    #[error("kes: connection error: {call}")]
    Connection {
        /// The request, as `Get "https://host:port/path"`.
        call: String,
        /// What the network said.
        source: Cause,
    },
    /// One side refused the other's certificate, or the peer does not speak TLS. [`TlsError::hint`] says what to do.
    #[error(transparent)]
    Tls(Box<TlsError>),
    /// No answer within the time of one try, or within the deadline of the whole call.
    #[error("kes: connection error: {call}: no answer within {after:?}")]
    Timeout {
        /// The request, as `Get "https://host:port/path"`.
        call: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is not one of this interface: another server, or something between. `source()` has the cause.
    #[error("{call}: the answer was not understood")]
    Answer {
        /// The request, as `Get "https://host:port/path"`.
        call: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// A name that no server accepts (1–80 bytes of `0-9A-Za-z_-`, `-` neither first nor last, not `_`). Nothing was sent.
    #[error("{what} '{name}' is empty, too long or contains invalid characters")]
    Name {
        /// `key name`, `policy name`, `identity`.
        what: &'static str,
        /// The name as given.
        name: String,
    },
}

impl Error {
    /// The server's refusal, if it is one.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }

    /// The refusal by its name, if it is one that has a name.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.server().and_then(ServerError::reason)
    }

    /// The identity's policy does not allow the request.
    #[must_use]
    pub fn is_not_allowed(&self) -> bool {
        self.reason() == Some(Reason::NotAllowed)
    }

    /// The key is not there.
    #[must_use]
    pub fn is_key_not_found(&self) -> bool {
        self.reason() == Some(Reason::KeyNotFound)
    }

    /// The key is there already.
    #[must_use]
    pub fn is_key_exists(&self) -> bool {
        self.reason() == Some(Reason::KeyExists)
    }

    /// The ciphertext was not made by this key with this context, or was changed.
    #[must_use]
    pub fn is_decrypt(&self) -> bool {
        self.reason() == Some(Reason::Decrypt)
    }
}

/// A refusal as it came over the wire. Two are equal if status and message are: that is how KES clients compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    status: u16,
    message: String,
}

impl ServerError {
    /// A refusal of this HTTP status (400–599) and text.
    #[must_use]
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        let message = message.into();
        // Compat: two texts of releases up to v0.17 mean what newer ones say in other words.
        let message = match (status, message.as_str()) {
            (400, "key does already exist") => "key already exists".to_owned(),
            (403, "prohibited by policy") => "not authorized: insufficient permissions".to_owned(),
            _ => message,
        };
        Self { status, message }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The server's text; may be empty, and for a route that the server does not know ends in a newline.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The refusal's name, if it has one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        REASONS.iter().find(|(status, text, _)| *status == self.status && *text == self.message).map(|row| row.2)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.trim_end() {
            "" => write!(f, "the server answered with status {}", self.status),
            message => f.write_str(message),
        }
    }
}

impl StdError for ServerError {}

/// The refusals that have a name (those of the official clients, and the two of the key store).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// 400 `decryption failed: ciphertext is not authentic`.
    Decrypt,
    /// 400 `enclave already exists` (releases of 2023).
    EnclaveExists,
    /// 404 `enclave does not exist` (releases of 2023).
    EnclaveNotFound,
    /// 409 `key does not support HMAC`: a key from a release before 2024.
    HmacUnsupported,
    /// 400 `identity already exists` (releases of 2023).
    IdentityExists,
    /// 404 `identity does not exist`.
    IdentityNotFound,
    /// 400 `key already exists`.
    KeyExists,
    /// 404 `key does not exist`.
    KeyNotFound,
    /// 403 `not authorized: insufficient permissions`.
    NotAllowed,
    /// 503 `change committed but not replicated` (releases of 2023).
    PartialWrite,
    /// 400 `policy already exists` (releases of 2023).
    PolicyExists,
    /// 404 `policy does not exist`.
    PolicyNotFound,
    /// 404 `secret already exists` (sic; releases of 2023).
    SecretExists,
    /// 404 `secret does not exist` (releases of 2023).
    SecretNotFound,
    /// 404 `secret version does not exist` (releases of 2023).
    SecretVersionNotFound,
    /// 502 `key store is unavailable`.
    StoreUnavailable,
    /// 504 `key store is not reachable`.
    StoreUnreachable,
}

const REASONS: &[(u16, &str, Reason)] = &[
    (400, "decryption failed: ciphertext is not authentic", Reason::Decrypt),
    (400, "enclave already exists", Reason::EnclaveExists),
    (404, "enclave does not exist", Reason::EnclaveNotFound),
    (409, "key does not support HMAC", Reason::HmacUnsupported),
    (400, "identity already exists", Reason::IdentityExists),
    (404, "identity does not exist", Reason::IdentityNotFound),
    (400, "key already exists", Reason::KeyExists),
    (404, "key does not exist", Reason::KeyNotFound),
    (403, "not authorized: insufficient permissions", Reason::NotAllowed),
    (503, "change committed but not replicated", Reason::PartialWrite),
    (400, "policy already exists", Reason::PolicyExists),
    (404, "policy does not exist", Reason::PolicyNotFound),
    (404, "secret already exists", Reason::SecretExists),
    (404, "secret does not exist", Reason::SecretNotFound),
    (404, "secret version does not exist", Reason::SecretVersionNotFound),
    (502, "key store is unavailable", Reason::StoreUnavailable),
    (504, "key store is not reachable", Reason::StoreUnreachable),
];

/// The cause of a [`Error::Connection`] or [`Error::Answer`]: one clear text in place of the HTTP library's chain.
pub struct Cause {
    text: String,
    inner: Option<Box<dyn StdError + Send + Sync>>,
}

impl Cause {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), inner: None }
    }

    pub(crate) fn of(error: impl StdError + Send + Sync + 'static) -> Self {
        Self { text: deepest(&error), inner: Some(Box::new(error)) }
    }

    /// Compat: with the words of the old client for a connection that could not be made.
    pub(crate) fn dialing(mut self, endpoint: &Endpoint) -> Self {
        if self.text.starts_with("failed to lookup address information") {
            self.text = format!("dial tcp: lookup {}: no such host", endpoint.host());
        } else if self.text.starts_with("connect: ") {
            self.text = format!("dial tcp {}: {}", endpoint.authority(), self.text);
        }
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Some(inner) => write!(f, "{inner:?}"),
            None => write!(f, "{:?}", self.text),
        }
    }
}

impl StdError for Cause {}

/// The text of the innermost cause: the outer ones say only "error sending request", "client error" and the like.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let deepest = crate::transport::causes(error).last().unwrap_or(error);
    match deepest.downcast_ref::<std::io::Error>() {
        Some(io) => io_text(io),
        None => deepest.to_string(),
    }
}

/// Compat: the words of the old client, which scripts look for, instead of "Connection refused (os error 111)".
fn io_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset by peer".into(),
        ErrorKind::HostUnreachable => "connect: no route to host".into(),
        ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        ErrorKind::TimedOut => "i/o timeout".into(),
        ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_equal_by_status_and_message() {
        let exists = ServerError::new(400, "key already exists");
        assert_eq!(exists, ServerError::new(400, "key already exists"));
        assert_ne!(exists, ServerError::new(409, "key already exists"));
        assert_ne!(exists, ServerError::new(400, "key does not exist"));
    }

    #[test]
    fn every_name_is_found_by_status_and_message() {
        for (status, message, reason) in REASONS {
            assert_eq!(ServerError::new(*status, *message).reason(), Some(*reason));
            assert_eq!(ServerError::new(*status + 1, *message).reason(), None, "{message}");
        }
    }

    #[test]
    fn old_texts_mean_the_new_ones() {
        assert!(Error::from(ServerError::new(400, "key does already exist")).is_key_exists());
        assert!(Error::from(ServerError::new(403, "prohibited by policy")).is_not_allowed());
    }

    #[test]
    fn an_empty_message_still_says_something() {
        assert_eq!(ServerError::new(502, "").to_string(), "the server answered with status 502");
        assert_eq!(ServerError::new(404, "404 page not found\n").to_string(), "404 page not found");
    }
}
