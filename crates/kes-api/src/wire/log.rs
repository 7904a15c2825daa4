//! Lines of the two log streams, `GET /v1/log/audit` and `GET /v1/log/error`.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::info::rfc3339;

/// One request, as the audit stream tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When the request arrived.
    #[serde(with = "rfc3339")]
    pub time: OffsetDateTime,
    /// Who asked what.
    pub request: AuditRequest,
    /// What it was answered.
    pub response: AuditResponse,
}

/// Who asked what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRequest {
    /// The peer's IP address; absent if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Decoded path, without query.
    pub path: String,
    /// The caller; absent if it was not identified.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// HTTP method. Not sent by the old server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Policy that decided. Not sent by the old server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Rule that decided, or why none did. Not sent by the old server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
}

/// What the request was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditResponse {
    /// HTTP status.
    pub code: u16,
    /// Nanoseconds from arrival to answer.
    pub time: u64,
}

/// One line of the error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEvent {
    /// The console line without its newline.
    pub message: String,
}

impl super::Body for AuditEvent {
    fn write(&self, out: &mut Vec<u8>) {
        super::go_json::write_plain(self, out);
    }
}

impl super::Body for ErrorEvent {
    fn write(&self, out: &mut Vec<u8>) {
        super::go_json::write_plain(self, out);
    }
}
