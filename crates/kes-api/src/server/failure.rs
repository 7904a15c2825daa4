//! Every answer that is not a success: the only file with status codes for errors.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use kes_keystore::ErrorKind;

use super::operations;
use crate::wire::text;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A refusal or a fault: what the client may know, and what only the log may.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) body: Body,
    /// The connection cannot go on: its next bytes are not the beginning of a request.
    pub(super) close: bool,
    /// When to try again.
    pub(super) retry_after: Option<Duration>,
    pub(super) source: Option<Source>,
}

/// The body of a failure.
#[derive(Debug)]
pub(super) enum Body {
    /// `{"message":"…"}`. Bytes, because a name from the path may be echoed that is no text.
    Message(Cow<'static, [u8]>),
    /// The one plain-text answer: an unknown route.
    PageNotFound,
    /// 405, with the method that is declared and those that are allowed.
    WrongMethod { message: String, declared: &'static str, allow: &'static str },
    /// Refused at the level of HTTP.
    Empty,
}

/// What an operation was for; decides the text of a store's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Create,
    Delete,
    Decrypt,
    Encrypt,
    Generate,
    List,
    Read,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { status, body: Body::Message(message.into()), close: false, retry_after: None, source: None }
    }

    pub(super) fn text(status: StatusCode, message: &'static str) -> Self {
        Self::new(status, message.as_bytes())
    }

    pub(super) fn bad_request(message: &'static str) -> Self {
        Self::text(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn forbidden() -> Self {
        Self::text(StatusCode::FORBIDDEN, text::NOT_AUTHORIZED)
    }

    pub(super) fn not_found(message: &'static str) -> Self {
        Self::text(StatusCode::NOT_FOUND, message)
    }

    /// A name that breaks the rule for names; `what` is `key name`, `policy name` or `identity`.
    pub(super) fn invalid_name(what: &str, name: &[u8]) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text::invalid_name(what, name))
    }

    pub(super) fn malformed_pattern(pattern: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text::malformed_deny_pattern(pattern).into_bytes())
    }

    pub(super) fn page_not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, body: Body::PageNotFound, close: false, retry_after: None, source: None }
    }

    pub(super) fn wrong_method(received: &str, declared: &'static str, allow: &'static str) -> Self {
        let message = text::wrong_method(received, declared);
        Self { body: Body::WrongMethod { message, declared, allow }, ..Self::http(StatusCode::METHOD_NOT_ALLOWED) }
    }

    /// A request that is not HTTP as it should be: no body.
    pub(super) fn http(status: StatusCode) -> Self {
        Self { status, body: Body::Empty, close: false, retry_after: None, source: None }
    }

    /// The caller has used up what its limits give.
    pub(super) fn too_many_requests(retry_after: Duration) -> Self {
        let retry_after = Some(retry_after);
        Self { retry_after, ..Self::text(StatusCode::TOO_MANY_REQUESTS, text::TOO_MANY_REQUESTS) }
    }

    /// The body did not arrive in time.
    pub(super) fn body_timeout() -> Self {
        Self { close: true, ..Self::text(StatusCode::REQUEST_TIMEOUT, text::REQUEST_TIMEOUT) }
    }

    /// The route's time is over while the server is at work.
    pub(super) fn timeout() -> Self {
        Self::text(StatusCode::GATEWAY_TIMEOUT, text::REQUEST_TIMEOUT)
    }

    pub(super) fn internal() -> Self {
        Self::text(StatusCode::INTERNAL_SERVER_ERROR, text::INTERNAL)
    }

    pub(super) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    pub(super) fn because(self, source: impl Into<Source>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// A failed operation; `cipher` is what an import asked for.
    pub(super) fn operation(doing: Doing, error: operations::Error, cipher: &str) -> Self {
        let failure = match &error {
            operations::Error::Store(store) => return Self::store(doing, store.clone()),
            operations::Error::NotAuthentic => Self::bad_request(text::NOT_AUTHENTIC),
            operations::Error::NoHmacKey => Self::text(StatusCode::CONFLICT, text::NO_HMAC),
            operations::Error::UnsupportedAlgorithm => {
                Self::new(StatusCode::NOT_ACCEPTABLE, text::unsupported_algorithm(cipher).into_bytes())
            }
            operations::Error::InvalidKeySize => {
                Self::new(StatusCode::NOT_ACCEPTABLE, text::invalid_key_size(cipher).into_bytes())
            }
            operations::Error::Crypto(_) => Self::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                match doing {
                    Doing::Encrypt => text::ENCRYPT_FAILED,
                    Doing::Decrypt => text::DECRYPT_FAILED,
                    _ => text::GENERATE_FAILED,
                },
            ),
        };
        failure.because(error)
    }

    /// A failed call to the key store. Its cause is for the log.
    pub(super) fn store(doing: Doing, error: kes_keystore::Error) -> Self {
        if let kes_keystore::Error::UnfitName { problem, .. } = error {
            return Self::bad_request(problem).because(error);
        }
        let failure = match error.kind() {
            ErrorKind::Exists => return Self::bad_request(text::KEY_EXISTS),
            ErrorKind::NotFound => return Self::not_found(text::KEY_NOT_FOUND),
            ErrorKind::Denied => Self::forbidden(),
            _ => Self::text(
                StatusCode::BAD_GATEWAY,
                match doing {
                    Doing::Create => text::CREATE_FAILED,
                    Doing::Delete => text::DELETE_FAILED,
                    Doing::List => text::LIST_FAILED,
                    Doing::Read | Doing::Decrypt | Doing::Encrypt | Doing::Generate => text::READ_FAILED,
                },
            ),
        };
        failure.because(error)
    }

    /// A key store that is not ready.
    pub(super) fn not_ready(error: kes_keystore::Error) -> Self {
        let failure = match error.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout => {
                Self::text(StatusCode::GATEWAY_TIMEOUT, text::STORE_UNREACHABLE)
            }
            _ => Self::text(StatusCode::BAD_GATEWAY, text::STORE_UNAVAILABLE),
        };
        failure.because(error)
    }
}
