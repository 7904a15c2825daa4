//! What can go wrong with keys and ciphertexts.

/// What can go wrong with keys and ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system gave no random bytes. The operator's problem.
    #[error("no random bytes from the operating system")]
    Random,

    /// Key bytes of a length other than 32. The caller's fault.
    #[error("a key has exactly 32 bytes")]
    InvalidKeyLength,

    /// The ciphertext was not made by this key with this context, or was changed since. The caller's fault; it is
    /// deliberately impossible to learn which of the reasons applies.
    #[error("ciphertext is not authentic")]
    NotAuthentic,

    /// The plaintext is longer than the cipher may encrypt under one nonce (64 GiB). The caller's fault.
    #[error("plaintext is too long")]
    PlaintextTooLong,

    /// A stored value is no key in any known form. The store's fault, or that of whoever wrote to it.
    #[error("stored value is not a readable key")]
    UnsupportedKey(#[source] Unreadable),

    /// The key has no HMAC key because it was stored by an old release; it makes no MACs and cannot be encoded again.
    #[error("key has no HMAC key")]
    NoHmacKey,
}

/// Why a stored value is not a readable key: the [source](std::error::Error::source) of [`Error::UnsupportedKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The value is empty.
    #[error("it is empty")]
    Empty,
    /// The value is neither a JSON object nor base64 (standard alphabet, padded).
    #[error("it is neither a JSON object nor base64")]
    Base64,
    /// The value begins like a JSON object but is none, or a member of it has the wrong type.
    #[error("it is not a JSON object of the expected shape")]
    Json,
    /// The base64 text holds no valid protobuf record.
    #[error("its protobuf record is damaged")]
    Protobuf,
    /// The record has no secret key.
    #[error("the secret key is missing")]
    NoKey,
    /// The secret key is not 32 bytes long.
    #[error("the secret key has not 32 bytes")]
    KeyLength,
    /// The cipher type or name is not one of ours.
    #[error("the cipher is unknown")]
    Cipher,
    /// The protobuf record has no HMAC key.
    #[error("the HMAC key is missing")]
    NoHmacKey,
    /// The HMAC key is not 32 bytes long.
    #[error("the HMAC key has not 32 bytes")]
    HmacKeyLength,
    /// The HMAC key's hash is not SHA-256.
    #[error("the HMAC key's hash is unknown")]
    Hash,
    /// The creation time is no RFC 3339 time, or lies outside the years -9999 to 9999.
    #[error("the creation time is invalid")]
    CreatedAt,
}

impl From<Unreadable> for Error {
    fn from(why: Unreadable) -> Self {
        Self::UnsupportedKey(why)
    }
}
