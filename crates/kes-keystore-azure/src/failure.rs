//! From what the SDK says to what an operator can use.

use std::fmt;
use std::sync::Arc;

use azure_core::error::ErrorKind;
use kes_keystore::{Cause, Error};

use crate::session::NoToken;
use crate::wire::NoAnswer;

/// Longest part of somebody else's words that is shown.
const MAX_WORDS: usize = 500;

/// What Key Vault says when it refuses.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The inner code, which tells more; else the outer one.
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Why a call has failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Key Vault was reached, and refuses.
    Refused(Refusal),
    /// There is no token, or none that is accepted.
    NoToken(NoToken),
    /// It was not reached, or does not work.
    Unreachable { remedy: &'static str, cause: Told },
}

/// The words of errors beneath, in one line.
#[derive(Clone, Debug)]
pub(crate) struct Told(String);

impl Told {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text: String = text.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self(text.chars().take(MAX_WORDS).collect())
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
        Self::new(text)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

impl Refusal {
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.eq_ignore_ascii_case(code)
    }

    pub(crate) fn says(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(words)
    }

    /// The action that role-based access control has not granted: `Microsoft.KeyVault/vaults/secrets/getSecret/action`.
    pub(crate) fn action(&self) -> Option<&str> {
        let rest = self.message.split("Action: '").nth(1)?;
        rest.split('\'').next().filter(|action| !action.is_empty())
    }

    fn parse(status: u16, body: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Body {
            error: Outer,
        }
        #[derive(serde::Deserialize)]
        struct Outer {
            code: Option<String>,
            message: Option<String>,
            innererror: Option<Inner>,
        }
        #[derive(serde::Deserialize)]
        struct Inner {
            code: Option<String>,
        }
        let Body { error } = serde_json::from_slice(body).ok()?;
        let code = error.innererror.and_then(|inner| inner.code).or(error.code);
        Some(Self { status, code: code.unwrap_or_default(), message: Told::new(error.message.unwrap_or_default()).0 })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}: {}: {}", self.status, self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Failure {
    pub(crate) fn of(error: &azure_core::Error) -> Self {
        if let Some(none) = error.downcast_ref::<NoToken>() {
            return Self::NoToken(none.clone());
        }
        if let Some(none) = beneath::<NoAnswer>(error) {
            return Self::unanswered(none);
        }
        let nonsense = |cause| Self::Unreachable { remedy: NoAnswer::Nonsense(0).remedy(), cause };
        let ErrorKind::HttpResponse { status, raw_response, .. } = error.kind() else {
            return nonsense(Told::of(error));
        };
        let status = u16::from(*status);
        let refusal = raw_response.as_ref().and_then(|raw| Refusal::parse(status, raw.body().as_ref()));
        match (status, refusal) {
            (429, refusal) => Self::throttled(refusal),
            (408 | 500.., refusal) => Self::Unreachable {
                remedy: "it answers that it has failed: Azure may have an outage",
                cause: refusal.map_or_else(|| status_alone(status), |refusal| Told::of(&refusal)),
            },
            (_, Some(refusal)) => Self::Refused(refusal),
            (_, None) => nonsense(status_alone(status)),
        }
    }

    pub(crate) fn unanswered(none: &NoAnswer) -> Self {
        Self::Unreachable { remedy: none.remedy(), cause: Told::of(none) }
    }

    fn throttled(refusal: Option<Refusal>) -> Self {
        Self::Unreachable {
            remedy: "it throttles the requests to this vault: cache keys for longer, or spread them over several vaults",
            cause: refusal.map_or_else(|| status_alone(429), |refusal| Told::of(&refusal)),
        }
    }

    /// The error for it; what Key Vault has said is judged by the caller.
    pub(crate) fn into_error(self, store: &str, judge: impl FnOnce(Refusal) -> Error) -> Error {
        match self {
            Self::Refused(refusal) => judge(refusal),
            Self::NoToken(none) => none.into_error(store),
            Self::Unreachable { remedy, cause } => {
                Error::Unreachable { store: store.to_owned(), remedy, source: Some(Arc::new(cause) as Cause) }
            }
        }
    }

    /// Whether there is nothing of that name.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 404)
    }
}

fn status_alone(status: u16) -> Told {
    Told::new(format!("HTTP status {status}"))
}

/// The first cause of a type.
pub(crate) fn beneath<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // The SDK's errors keep the error itself beside its causes.
        if let Some(found) = error.downcast_ref::<azure_core::Error>().and_then(|error| error.downcast_ref::<T>()) {
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
    fn the_inner_code_is_what_counts_and_roles_name_the_action() {
        let refusal = |body: &str| Refusal::parse(403, body.as_bytes()).unwrap();
        let by_policy = refusal(
            r#"{"error":{"code":"Forbidden","message":"The user … does not have secrets get permission on key vault 'kes'.",
                "innererror":{"code":"AccessDenied"}}}"#,
        );
        assert_eq!((by_policy.code.as_str(), by_policy.action()), ("AccessDenied", None));
        let by_role = refusal(
            r#"{"error":{"code":"Forbidden","message":"Caller is not authorized to perform action on resource.\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\nResource: '/subscriptions/x'","innererror":{"code":"ForbiddenByRbac"}}}"#,
        );
        assert_eq!(by_role.action(), Some("Microsoft.KeyVault/vaults/secrets/getSecret/action"));
        assert!(!by_role.to_string().contains('\n'));
        let bare = refusal(r#"{"error":{"code":"SecretNotFound","message":"x"}}"#);
        assert!(bare.is("secretnotfound"));
        assert!(Refusal::parse(404, b"<html>not here</html>").is_none());
    }
}
