//! The contract: request and answer bodies, and the error texts that clients compare.
//!
//! Bodies are JSON. Byte strings travel as padded standard base64; secrets are held in wiped memory on both sides.
//! Requests are read as leniently as the old server read them ([`decode`]); answers are written byte for byte as it
//! wrote them ([`encode`]): members in order, `<`, `>` and `&` escaped, a newline at the end.

mod go_json;
mod info;
mod key;
mod log;
mod policy;
mod request;
mod secret;
pub mod text;

#[cfg(feature = "server")]
pub(crate) use go_json::write_string;
pub use go_json::{Body, encode, error_body};
// What a client needs of keys to speak the contract: the names of ciphers, and how times are written.
pub use info::{
    ApiInfo, IdentityInfo, IdentityNames, KeyInfo, KeyNames, LegacyPolicy, LegacySelf, NoMembers, PolicyInfo,
    PolicyNames, PolicyRules, Rules, SelfInfo, Status, Version,
};
pub use kes_crypto::{KeyType, rfc3339};
pub use key::{
    BulkDecryptRequest, BulkDecryptResponse, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse,
    GenerateRequest, GenerateResponse, HmacRequest, HmacResponse, ImportRequest,
};
#[cfg(feature = "server")]
pub(crate) use key::{DecryptAnswer, GenerateAnswer};
pub use log::{AuditEvent, AuditRequest, AuditResponse, ErrorEvent};
pub use policy::{AssignRequest, PolicyRequest};
pub use request::{Malformed, Request, decode};
pub use secret::SecretBytes;

/// An answer other than 200: `{"message":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct ErrorMessage {
    /// One of the texts of [`text`], or one that was made from them with a name in it.
    #[serde(default)]
    pub message: String,
    /// Releases of 2022 used this member; where it is not empty it wins.
    #[serde(default)]
    pub error: String,
}
