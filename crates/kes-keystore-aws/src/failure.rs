//! What a call to AWS has come to when it did not succeed.

use std::fmt;
use std::sync::Arc;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use kes_keystore::{Cause, Error};

use crate::account::no_credentials;
use crate::lack::Lack;
use crate::wire::{THROTTLED, xml_error};

/// A call that did not succeed, by what can be done about it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// AWS has said no: nothing was done.
    Refused(Refusal),
    /// AWS was not reached, or did not answer as it does: whether something was done is unknown.
    Unreachable {
        /// What to do.
        remedy: &'static str,
        /// What was seen.
        cause: Told,
    },
    /// There are no credentials at the moment: nothing was sent.
    NoCredentials(Error),
}

/// AWS's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the message has these words, which are small letters.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(words)
    }

    /// AWS lacks a permission for us. KMS says so as well when it is asked by Secrets Manager.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.code.as_str(), "AccessDeniedException" | "AccessDenied" | "NotAuthorizedException")
    }

    /// The permission that AWS names: `secretsmanager:CreateSecret`.
    pub(crate) fn permission(&self) -> Option<&str> {
        let named = self.message.split_once("not authorized to perform: ")?.1;
        let end = named.find(|character: char| !character.is_ascii_alphanumeric() && character != ':');
        let named = named.get(..end.unwrap_or(named.len()))?;
        named.contains(':').then_some(named)
    }
}

/// An error with everything beneath it as one text. Answers of AWS may hold secrets, so they are not kept themselves.
#[derive(Clone, Debug)]
pub(crate) struct Told(String);

impl Told {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            cause = error.source();
        }
        Self(text)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

/// What to do if answers take too long.
const TOO_LATE: &str = "it does not answer in time: check the network and its load";

impl Failure {
    /// A call that was given up.
    pub(crate) fn no_answer(what: &str) -> Self {
        Self::Unreachable { remedy: TOO_LATE, cause: Told(what.to_owned()) }
    }

    pub(crate) fn of<E>(store: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        if let Some(why) = lack(error) {
            return Self::NoCredentials(no_credentials(store.to_owned(), why));
        }
        let unreachable = |remedy| Self::Unreachable { remedy, cause: Told::of(error) };
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let (code, message) = match (answer.err().code(), xml_error(answer.raw())) {
                    (None, Some(Refusal { code, message })) => (Some(code), message),
                    (code, _) => (code.map(ToOwned::to_owned), answer.err().message().unwrap_or_default().to_owned()),
                };
                match code.as_deref() {
                    Some(code) if THROTTLED.contains(&code) => throttled(code, message),
                    None if status == 429 => throttled("HTTP status 429", message),
                    Some(code) if status < 500 => Self::Refused(Refusal { code: code.to_owned(), message }),
                    Some(code) => Self::Unreachable {
                        remedy: "it answers that it has failed: AWS may have an outage",
                        cause: Told(format!("HTTP status {status}: {code}: {message}")),
                    },
                    None => Self::Unreachable {
                        remedy: "what answers does not answer as AWS does: check the endpoint and the proxy",
                        cause: Told(format!("HTTP status {status}")),
                    },
                }
            }
            SdkError::ResponseError(_) => {
                unreachable("what answers does not answer as AWS does: check the endpoint and the proxy")
            }
            SdkError::TimeoutError(_) => unreachable(TOO_LATE),
            _ => unreachable(
                "check the endpoint, the network, the proxy (HTTPS_PROXY, NO_PROXY) and the trusted certificates \
                 (AWS_CA_BUNDLE, SSL_CERT_FILE)",
            ),
        }
    }

    /// The error for it; what AWS has said is judged by the caller.
    pub(crate) fn into_error(self, store: &str, judge: impl FnOnce(Refusal) -> Error) -> Error {
        match self {
            Self::Refused(refusal) => judge(refusal),
            Self::NoCredentials(error) => error,
            Self::Unreachable { remedy, cause } => {
                Error::Unreachable { store: store.to_owned(), remedy, source: Some(Arc::new(cause) as Cause) }
            }
        }
    }

    /// Whether AWS has refused with this code.
    pub(crate) fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is(code))
    }
}

fn throttled(code: &str, message: String) -> Failure {
    Failure::Unreachable {
        remedy: "it throttles the requests of this account: ask AWS for a higher quota, or cache keys for longer",
        cause: Told(Refusal { code: code.to_owned(), message }.to_string()),
    }
}

fn lack<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Lack> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permission_that_aws_names_is_found() {
        let named = |message: &str| {
            let refusal = Refusal { code: "AccessDeniedException".into(), message: message.into() };
            refusal.permission().map(ToOwned::to_owned)
        };
        let message = "User: arn:aws:sts::1:assumed-role/kes/i-1 is not authorized to perform: \
                       secretsmanager:CreateSecret on resource: kes/a because no identity-based policy allows it";
        assert_eq!(named(message).as_deref(), Some("secretsmanager:CreateSecret"));
        assert_eq!(named("is not authorized to perform: kms:Decrypt").as_deref(), Some("kms:Decrypt"));
        assert_eq!(named("Access to KMS is not allowed"), None);
    }
}
