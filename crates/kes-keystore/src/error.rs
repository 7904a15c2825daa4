//! What can go wrong with a key store, by meaning.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The error beneath one of ours. Shared, because everyone who waits for the same fetch gets the same error.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// What can go wrong with a key store.
///
/// Compare by [`Error::kind`]. The text is for the log: it names the store or the entry and says what to do; what lies
/// beneath is the [source](std::error::Error::source). None of it is for clients.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Create: the name is taken, and its value is unchanged. The caller's fault, and often none: who only needs the
    /// key to exist is done.
    #[error("key already exists")]
    Exists,

    /// There is no key of this name. The caller's fault.
    #[error("key does not exist")]
    NotFound,

    /// An [engine](crate::Engine) cannot open the ciphertext: it was sealed under another key or context, or changed. The
    /// caller's fault.
    #[error("ciphertext is not authentic")]
    NotAuthentic,

    /// The store, by its nature, does not permit this to anyone: it holds a fixed key. The caller's fault.
    #[error("{store} does not permit to {operation} keys: {remedy}")]
    Denied {
        /// The store, as it describes itself.
        store: String,
        /// What was tried.
        operation: Operation,
        /// What to do instead.
        remedy: &'static str,
    },

    /// Create: the store has no names like this one. The caller's fault, and the problem is for the caller.
    #[error("{store} cannot hold a key of this name: {problem}")]
    UnfitName {
        /// The store, as it describes itself.
        store: String,
        /// Which store it is by its usual name, and what it has not: this is what a client is told.
        problem: &'static str,
    },

    /// The value is longer than the store takes. Ours: a key is some 200 bytes long.
    #[error("{entry}: a value of {len} bytes is longer than the limit of {limit}")]
    TooLarge {
        /// Where it was to be stored.
        entry: String,
        /// Length of the value in bytes.
        len: usize,
        /// The store's limit in bytes.
        limit: usize,
    },

    /// The store cannot be reached: a connection failure, a missing directory. The operator's, or the network's.
    #[error("{store} is not reachable: {remedy}")]
    Unreachable {
        /// The store, as it describes itself.
        store: String,
        /// What to do.
        remedy: &'static str,
        /// What was seen.
        #[source]
        source: Option<Cause>,
    },

    /// The store did not answer in time; whether it has done what was asked is unknown. The store's fault.
    #[error("{store} did not answer within {after:?} when asked to {operation}: check its load and the network")]
    Timeout {
        /// The store, as it describes itself.
        store: String,
        /// What was asked.
        operation: Operation,
        /// How long we waited.
        after: Duration,
    },

    /// The store refuses us: wrong credentials, missing permission, read-only medium. The operator's.
    #[error("{entry}: access refused: {remedy}")]
    Unauthorized {
        /// The store or the entry that was asked for.
        entry: String,
        /// What to do.
        remedy: &'static str,
        /// What the store said.
        #[source]
        source: Option<Cause>,
    },

    /// The entry exists and holds no readable key. The store's fault, or of whoever wrote to it.
    #[error(
        "{entry}: {problem}: restore the entry from a backup; delete it only if nothing was encrypted with the key"
    )]
    Damaged {
        /// The entry: a path or the name in the store.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
        /// Why it cannot be read.
        #[source]
        source: Option<Cause>,
    },

    /// The store reported success and does not return what it was given. The store's fault.
    #[error("{entry}: the store reported success but does not have the key: nothing must be encrypted with it")]
    NotStored {
        /// The entry that was to be created.
        entry: String,
    },

    /// The store was reached and failed, or its machine did. The store's or the operator's.
    #[error("{entry}: cannot {operation} the key: {remedy}")]
    Failed {
        /// The store or the entry that was asked for.
        entry: String,
        /// What was tried.
        operation: Operation,
        /// What to do.
        remedy: &'static str,
        /// What the store said.
        #[source]
        source: Option<Cause>,
    },
}

impl Error {
    /// The meaning alone.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists => ErrorKind::Exists,
            Self::NotFound => ErrorKind::NotFound,
            Self::NotAuthentic => ErrorKind::NotAuthentic,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::UnfitName { .. } => ErrorKind::UnfitName,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Unreachable { .. } => ErrorKind::Unreachable,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Damaged { .. } => ErrorKind::Damaged,
            Self::NotStored { .. } => ErrorKind::NotStored,
            Self::Failed { .. } => ErrorKind::Failed,
        }
    }
}

/// The meaning of an [`Error`] without its particulars: for comparing and counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Exists`].
    Exists,
    /// [`Error::NotFound`].
    NotFound,
    /// [`Error::NotAuthentic`].
    NotAuthentic,
    /// [`Error::Denied`].
    Denied,
    /// [`Error::UnfitName`].
    UnfitName,
    /// [`Error::TooLarge`].
    TooLarge,
    /// [`Error::Unreachable`].
    Unreachable,
    /// [`Error::Timeout`].
    Timeout,
    /// [`Error::Unauthorized`].
    Unauthorized,
    /// [`Error::Damaged`].
    Damaged,
    /// [`Error::NotStored`].
    NotStored,
    /// [`Error::Failed`].
    Failed,
}

impl ErrorKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::Exists,
        Self::NotFound,
        Self::NotAuthentic,
        Self::Denied,
        Self::UnfitName,
        Self::TooLarge,
        Self::Unreachable,
        Self::Timeout,
        Self::Unauthorized,
        Self::Damaged,
        Self::NotStored,
        Self::Failed,
    ];

    /// A word for labels: `exists`, `not_found`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::NotFound => "not_found",
            Self::NotAuthentic => "not_authentic",
            Self::Denied => "denied",
            Self::UnfitName => "unfit_name",
            Self::TooLarge => "too_large",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Damaged => "damaged",
            Self::NotStored => "not_stored",
            Self::Failed => "failed",
        }
    }

    /// Whether the store was not there at all: what [offline mode](crate::cache) is about.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout)
    }
}

/// The calls of a key store and of an [engine](crate::Engine).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`KeyStore::status`](crate::KeyStore::status).
    Status,
    /// [`KeyStore::create`](crate::KeyStore::create).
    Create,
    /// [`KeyStore::get`](crate::KeyStore::get).
    Get,
    /// [`KeyStore::delete`](crate::KeyStore::delete).
    Delete,
    /// [`KeyStore::list`](crate::KeyStore::list).
    List,
    /// [`Engine::generate`](crate::Engine::generate).
    Generate,
    /// [`Engine::encrypt`](crate::Engine::encrypt).
    Encrypt,
    /// [`Engine::decrypt`](crate::Engine::decrypt).
    Decrypt,
    /// [`Engine::mac`](crate::Engine::mac).
    Mac,
}

impl Operation {
    /// Every operation, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Status,
        Self::Create,
        Self::Get,
        Self::Delete,
        Self::List,
        Self::Generate,
        Self::Encrypt,
        Self::Decrypt,
        Self::Mac,
    ];

    /// A word for labels: `status`, `create`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Create => "create",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Generate => "generate",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Mac => "mac",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "report the status of",
            Self::Get => "read",
            Self::Generate => "make a data key with",
            Self::Encrypt => "encrypt with",
            Self::Decrypt => "decrypt with",
            Self::Mac => "authenticate with",
            other => other.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_text_names_the_entry_and_the_remedy_but_not_the_source() {
        let cause: Cause = Arc::new(std::io::Error::other("disk on fire"));
        let error = Error::Failed {
            entry: "/keys/a".to_owned(),
            operation: Operation::Get,
            remedy: "check the disk",
            source: Some(cause),
        };
        assert_eq!(error.to_string(), "/keys/a: cannot read the key: check the disk");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk on fire"));
    }

    #[test]
    fn labels_are_in_the_order_of_the_tables() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }
}
