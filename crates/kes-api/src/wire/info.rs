//! Answers that describe: server, keys, policies, identities.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::go_json::{Body, write_plain};

/// `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Version of the server; any text without blanks.
    pub version: String,
    /// Commit of the build, 40 hex digits, or `<unknown>`. Absent before v0.22.
    #[serde(default)]
    pub commit: String,
}

/// `GET /v1/status`. Always 200; what fails is said by its members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the server.
    pub version: String,
    /// Operating system, in Go's spelling: `linux`.
    #[serde(default)]
    pub os: String,
    /// Processor architecture, in Go's spelling: `amd64`.
    #[serde(default)]
    pub arch: String,
    /// Seconds since the start. Releases up to 2023-10-03 sent nanoseconds.
    pub uptime: u64,
    /// Logical CPUs of the machine.
    #[serde(default)]
    pub num_cpu: u64,
    /// CPUs that the server may use.
    #[serde(default)]
    pub num_cpu_used: u64,
    /// Bytes.
    #[serde(default)]
    pub mem_heap_used: u64,
    /// Bytes.
    #[serde(default)]
    pub mem_stack_used: u64,
    /// Milliseconds, at least 1; absent if the store failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystore_latency: Option<u64>,
    /// The store could not be reached.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keystore_unreachable: bool,
    /// The store failed in any way.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keystore_unavailable: bool,
}

/// One element of `GET /v1/api`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiInfo {
    /// Declared method: `GET`, `PUT` (POST is taken too) or `DELETE`.
    pub method: String,
    /// Route, with a slash at its end where a name follows.
    pub path: String,
    /// Limit of the request body in bytes, 0 for none.
    #[serde(default)]
    pub max_body: u64,
    /// Whole seconds, 0 for no limit.
    #[serde(default)]
    pub timeout: u64,
}

/// `GET /v1/key/describe/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Name of the key.
    pub name: String,
    /// `AES256` or `ChaCha20`; absent (AES256) in answers of 2023-10-03.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub algorithm: String,
    /// When it was made; the year 1 if the stored record does not say.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// Identity that made it; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
}

/// `GET /v1/key/list/<prefix>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNames {
    /// Sorted bytewise.
    pub names: Vec<String>,
    /// First name that was not sent, if there are more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continue_at: String,
}

/// `GET /v1/policy/list/<prefix>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyNames {
    /// Sorted bytewise.
    pub names: Vec<String>,
    /// Always there, always empty.
    #[serde(default)]
    pub continue_at: String,
    /// Those of them that were made or changed over the API, and so are gone after a restart or a reload. Only our server
    /// says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ephemeral: Vec<String>,
}

/// `GET /v1/identity/list/<prefix>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityNames {
    /// Sorted bytewise, the admin among them.
    pub identities: Vec<String>,
    /// Always there, always empty.
    #[serde(default)]
    pub continue_at: String,
    /// Those of them that were made or changed over the API, and so are gone after a restart or a reload. Only our server
    /// says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ephemeral: Vec<String>,
}

/// `GET /v1/policy/describe/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// Name of the policy; absent before 2023-10-24.
    #[serde(default)]
    pub name: String,
    /// Start of the server for policies of its file, else when it was written.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// The configured admin, verbatim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Whether it was made or changed over the API, and so is gone after a restart or a reload. Only our server says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ephemeral: bool,
}

/// A rule as the wire knows it: an empty object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoMembers {}

/// Rules by pattern, sorted.
pub type Rules = BTreeMap<String, NoMembers>;

/// `GET /v1/policy/read/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRules {
    /// Name of the policy; absent before 2023-10-24.
    #[serde(default)]
    pub name: String,
    /// Allowing patterns.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub allow: Rules,
    /// Denying patterns.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub deny: Rules,
    /// As in [`PolicyInfo`].
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// As in [`PolicyInfo`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Whether it was made or changed over the API, and so is gone after a restart or a reload. Only our server says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ephemeral: bool,
}

/// `GET /v1/identity/describe/<identity>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityInfo {
    /// Whether it is the admin.
    #[serde(default, skip_serializing_if = "is_false")]
    pub admin: bool,
    /// Its policy; empty for the admin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Start of the server.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// The configured admin, verbatim; empty for the admin itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Whether it was made or changed over the API, and so is gone after a restart or a reload. Only our server says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ephemeral: bool,
}

/// `GET /v1/identity/self/describe`.
///
/// Departs from upstream: HEAD answers 404 to everybody but the admin. This flat form is the only one that its own
/// clients can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfInfo {
    /// The caller.
    pub identity: String,
    /// Whether it is the admin.
    #[serde(default, skip_serializing_if = "is_false")]
    pub admin: bool,
    /// Name of its policy; empty for the admin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Allowing patterns of the policy.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub allow: Rules,
    /// Denying patterns of the policy.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub deny: Rules,
    /// Start of the server.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// The configured admin, verbatim; empty for the admin itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Whether it was made or changed over the API, and so is gone after a restart or a reload. Only our server says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ephemeral: bool,
}

/// `GET /v1/identity/self/describe?enclave=…`: the form that clients of 2022 and 2023 read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegacySelf {
    /// The caller.
    pub identity: String,
    /// Whether it is the admin.
    #[serde(skip_serializing_if = "is_false")]
    pub admin: bool,
    /// Name of its policy; empty for the admin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy_name: String,
    /// Start of the server.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// The configured admin, verbatim.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// The policy's rules; absent for the admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<LegacyPolicy>,
}

/// The policy inside [`LegacySelf`]: patterns as arrays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegacyPolicy {
    /// Allowing patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Denying patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Start of the server.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// The configured admin, verbatim.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
}

fn is_false(value: &bool) -> bool {
    !value
}

macro_rules! plain_body {
    ($($answer:ty),+ $(,)?) => {$(
        impl Body for $answer {
            fn write(&self, out: &mut Vec<u8>) {
                write_plain(self, out);
            }
        }
    )+};
}

plain_body!(
    Version,
    Status,
    KeyInfo,
    KeyNames,
    PolicyNames,
    IdentityNames,
    PolicyInfo,
    PolicyRules,
    IdentityInfo,
    SelfInfo,
    LegacySelf,
    Vec<ApiInfo>,
);

/// Times as RFC 3339 with up to nine fraction digits, trailing zeros cut.
pub(super) mod rfc3339 {
    use kes_crypto::rfc3339;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use time::OffsetDateTime;

    pub(in super::super) fn serialize<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339::format(*time))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        rfc3339::parse(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    #[test]
    fn status_says_only_what_holds() {
        let mut status =
            Status { version: "v".into(), os: "linux".into(), keystore_latency: Some(1), ..Status::default() };
        assert_eq!(
            String::from_utf8(encode(&status)).expect("text"),
            "{\"version\":\"v\",\"os\":\"linux\",\"arch\":\"\",\"uptime\":0,\"num_cpu\":0,\"num_cpu_used\":0,\"mem_heap_used\":0,\"mem_stack_used\":0,\"keystore_latency\":1}\n"
        );
        status.keystore_latency = None;
        (status.keystore_unreachable, status.keystore_unavailable) = (true, true);
        assert!(
            encode(&status)
                .ends_with(b"\"mem_stack_used\":0,\"keystore_unreachable\":true,\"keystore_unavailable\":true}\n")
        );
    }

    #[test]
    fn rules_are_objects() {
        let rules = PolicyRules {
            name: "p".into(),
            allow: Rules::from([("/v1/b".into(), NoMembers {}), ("/v1/a".into(), NoMembers {})]),
            deny: Rules::new(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            created_by: String::new(),
            ephemeral: false,
        };
        assert_eq!(
            String::from_utf8(encode(&rules)).expect("text"),
            "{\"name\":\"p\",\"allow\":{\"/v1/a\":{},\"/v1/b\":{}},\"created_at\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn lists_differ_in_continue_at() {
        assert_eq!(encode(&KeyNames::default()), b"{\"names\":[]}\n");
        assert_eq!(encode(&PolicyNames::default()), b"{\"names\":[],\"continue_at\":\"\"}\n");
        assert_eq!(encode(&IdentityNames::default()), b"{\"identities\":[],\"continue_at\":\"\"}\n");
    }
}
