//! Every error text of the API.
//!
//! **They are ABI**: the official SDKs compare status and text, and MinIO decides by them whether to start. A golden
//! test holds each one; changing a text breaks running installations.

/// 400: no client certificate, or only certificates of authorities.
pub const CERTIFICATE_REQUIRED: &str = "tls: client certificate is required";
/// 400: several client certificates.
pub const MORE_THAN_ONE_CERTIFICATE: &str = "tls: received more than one client certificate";
/// 400: a TLS proxy forwarded no certificate (text of releases up to 2023-10-03).
pub const PROXY_NO_CERTIFICATE: &str = "no client certificate is present";
/// 400: a TLS proxy forwarded several certificates.
pub const PROXY_TOO_MANY_CERTIFICATES: &str = "too many client certificates are present";
/// 400: a TLS proxy forwarded something that is not a certificate.
pub const PROXY_INVALID_CERTIFICATE: &str = "invalid client certificate";
/// 400: the body is not what the route expects.
pub const INVALID_BODY: &str = "invalid request body";
/// 400: as [`INVALID_BODY`], on import.
pub const INVALID_IMPORT_BODY: &str = "invalid import key request body";
/// 400: a bulk decryption of more than 1000 ciphertexts.
pub const TOO_MANY_CIPHERTEXTS: &str = "too many ciphertexts";
/// 400: a policy is given to nobody.
pub const IDENTITY_UNKNOWN: &str = "identity is unknown";
/// 400: the admin, on the routes of releases up to v0.17.
pub const IDENTITY_IS_ROOT: &str = "identity is root";
/// 400: the admin needs no policy.
pub const ASSIGN_TO_ADMIN: &str = "cannot assign policy to system admin";
/// 400: a TLS proxy has no rights of its own.
pub const ASSIGN_TO_PROXY: &str = "cannot assign policy to TLS proxy";
/// 400.
pub const DELETE_ADMIN: &str = "cannot delete system admin";
/// 403: not even the admin.
pub const ASSIGN_TO_ITSELF: &str = "identity cannot assign policy to itself";
/// 400: not 409; clients compare status and text together.
pub const KEY_EXISTS: &str = "key already exists";
/// 400: every reason for which a ciphertext does not open.
pub const NOT_AUTHENTIC: &str = "decryption failed: ciphertext is not authentic";
/// 403: every refusal.
pub const NOT_AUTHORIZED: &str = "not authorized: insufficient permissions";
/// 404.
pub const KEY_NOT_FOUND: &str = "key does not exist";
/// 404.
pub const POLICY_NOT_FOUND: &str = "policy does not exist";
/// 404.
pub const IDENTITY_NOT_FOUND: &str = "identity does not exist";
/// 404: unknown route; the only plain-text answer of the API. It ends in a newline.
pub const PAGE_NOT_FOUND: &str = "404 page not found\n";
/// 408, 504: the client sent its body, or the server did its work, too slowly.
pub const REQUEST_TIMEOUT: &str = "request timeout";
/// 409: the key was stored by a release without HMAC keys.
pub const NO_HMAC: &str = "key does not support HMAC";
/// 429: rate or concurrency limit of the caller.
pub const TOO_MANY_REQUESTS: &str = "too many requests";
/// 429: all places for log subscribers are taken.
pub const TOO_MANY_SUBSCRIBERS: &str = "too many log subscribers";
/// 500: no randomness, or a seal that failed.
pub const GENERATE_FAILED: &str = "failed to generate encryption key";
/// 500 and 502.
pub const CREATE_FAILED: &str = "failed to create key";
/// 500.
pub const ENCRYPT_FAILED: &str = "failed to encrypt plaintext";
/// 500.
pub const DECRYPT_FAILED: &str = "failed to decrypt ciphertext";
/// 500: a handler panicked.
pub const INTERNAL: &str = "internal server error";
/// 501: routes of older servers that this one knows and does not have.
pub const NOT_IMPLEMENTED: &str = "not implemented";
/// 502.
pub const READ_FAILED: &str = "failed to read key";
/// 502.
pub const DELETE_FAILED: &str = "failed to delete key";
/// 502.
pub const LIST_FAILED: &str = "failed to list keys";
/// 502: ready.
pub const STORE_UNAVAILABLE: &str = "key store is unavailable";
/// 504: ready.
pub const STORE_UNREACHABLE: &str = "key store is not reachable";

/// 400: `what` is `key name`, `policy name` or `identity`; the name is echoed as it was decoded from the path.
#[must_use]
pub fn invalid_name(what: &str, name: &[u8]) -> Vec<u8> {
    [what.as_bytes(), b" '", name, b"' is empty, too long or contains invalid characters"].concat()
}

/// 400: the text behind a list route.
#[must_use]
pub fn invalid_pattern(pattern: &[u8]) -> Vec<u8> {
    [b"listing pattern '", pattern, b"' is empty, too long or is invalid"].concat()
}

/// 400: a policy that is written over the API.
#[must_use]
pub fn malformed_deny_pattern(pattern: &str) -> String {
    format!("deny pattern '{pattern}' is malformed")
}

/// 405: `declared` is PUT even where POST is fine.
#[must_use]
pub fn wrong_method(received: &str, declared: &str) -> String {
    format!("received method '{received}' expected '{declared}'")
}

/// 406: import.
#[must_use]
pub fn unsupported_algorithm(cipher: &str) -> String {
    format!("algorithm '{cipher}' is not supported")
}

/// 406: import of anything but 32 bytes.
#[must_use]
pub fn invalid_key_size(cipher: &str) -> String {
    format!("invalid key size for '{cipher}'")
}

/// Compat: the words of releases up to v0.17 for a refusal, where MinIO before 2022 compares them; any other message as
/// it is. For `compat.legacy_messages`.
#[must_use]
pub fn legacy(status: u16, message: &[u8]) -> &[u8] {
    match status {
        400 if message == KEY_EXISTS.as_bytes() => b"key does already exist",
        403 if message == NOT_AUTHORIZED.as_bytes() => b"prohibited by policy",
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden list. A line may be added; no line may change.
    #[test]
    fn texts_are_frozen() {
        let invalid_name = String::from_utf8(invalid_name("key name", b"a.b")).expect("text");
        let invalid_pattern = String::from_utf8(invalid_pattern(b"a*b")).expect("text");
        let texts = [
            CERTIFICATE_REQUIRED,
            MORE_THAN_ONE_CERTIFICATE,
            PROXY_NO_CERTIFICATE,
            PROXY_TOO_MANY_CERTIFICATES,
            PROXY_INVALID_CERTIFICATE,
            INVALID_BODY,
            INVALID_IMPORT_BODY,
            TOO_MANY_CIPHERTEXTS,
            IDENTITY_UNKNOWN,
            IDENTITY_IS_ROOT,
            ASSIGN_TO_ADMIN,
            ASSIGN_TO_PROXY,
            DELETE_ADMIN,
            ASSIGN_TO_ITSELF,
            KEY_EXISTS,
            NOT_AUTHENTIC,
            NOT_AUTHORIZED,
            KEY_NOT_FOUND,
            POLICY_NOT_FOUND,
            IDENTITY_NOT_FOUND,
            PAGE_NOT_FOUND.trim_end(),
            REQUEST_TIMEOUT,
            NO_HMAC,
            TOO_MANY_REQUESTS,
            TOO_MANY_SUBSCRIBERS,
            GENERATE_FAILED,
            CREATE_FAILED,
            ENCRYPT_FAILED,
            DECRYPT_FAILED,
            INTERNAL,
            NOT_IMPLEMENTED,
            READ_FAILED,
            DELETE_FAILED,
            LIST_FAILED,
            STORE_UNAVAILABLE,
            STORE_UNREACHABLE,
            &invalid_name,
            &invalid_pattern,
            &malformed_deny_pattern("/v1/["),
            &wrong_method("GET", "PUT"),
            &unsupported_algorithm("x"),
            &invalid_key_size("AES256"),
        ];
        assert_eq!(texts.join("\n"), include_str!("texts.golden").trim_end());
    }

    #[test]
    fn two_texts_have_older_words() {
        assert_eq!(legacy(400, KEY_EXISTS.as_bytes()), b"key does already exist");
        assert_eq!(legacy(403, NOT_AUTHORIZED.as_bytes()), b"prohibited by policy");
        for (status, text) in [(404, KEY_EXISTS), (403, ""), (400, NOT_AUTHENTIC), (404, KEY_NOT_FOUND)] {
            assert_eq!(legacy(status, text.as_bytes()), text.as_bytes());
        }
    }
}
