//! Names for single requests, by which their lines in our logs and in those of others are found.
//!
//! A client may name its request itself with `X-Request-Id`; any other gets a name that no other request of any server
//! has. The name is in the audit record and in every log line of the request. It is sent back where the client named the
//! request, and with every refusal and failure: those are what people report. Other answers have exactly the headers
//! that they always had.

use std::hash::{BuildHasher, Hasher, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where clients and proxies put it.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest name that a client may give.
const MAX_LEN: usize = 128;

/// The name of a request.
#[derive(Clone, Debug)]
pub(super) enum RequestId {
    /// Ours: process, worker, and the number of the request there. Written out only when somebody wants to see it.
    Own { process: u32, worker: u32, count: u64 },
    /// The client's.
    Given(HeaderValue),
}

/// Tells this process's names from those of others.
pub(super) fn process() -> u32 {
    // Keyed at random for each process; nothing secret hangs on it.
    RandomState::new().build_hasher().finish() as u32
}

impl RequestId {
    /// A client's name for its request, if there is one, once, that cannot be mistaken for anything else in a log.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(X_REQUEST_ID).iter();
        let given = Self::given(values.next()?)?;
        values.next().is_none().then_some(given)
    }

    pub(super) fn given(value: &HeaderValue) -> Option<Self> {
        let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:+/@".contains(byte);
        let bytes = value.as_bytes();
        ((1..=MAX_LEN).contains(&bytes.len()) && bytes.iter().all(harmless)).then(|| Self::Given(value.clone()))
    }

    pub(super) fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Appends the name: letters, digits and `-._~:+/@`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Own { process, worker, count } => {
                hex((*process).into(), 8, out);
                out.push(b'-');
                hex((*worker).into(), 1, out);
                out.push(b'-');
                hex(*count, 1, out);
            }
            Self::Given(value) => out.extend_from_slice(value.as_bytes()),
        }
    }

    pub(super) fn header(&self) -> HeaderValue {
        match self {
            Self::Given(value) => value.clone(),
            Self::Own { .. } => {
                let mut text = Vec::with_capacity(32);
                self.write(&mut text);
                HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("hexadecimal digits and dashes")
            }
        }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(32);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Appends a number with at least `width` digits.
fn hex(value: u64, width: u32, out: &mut Vec<u8>) {
    let digits = (value.checked_ilog2().unwrap_or(0) / 4 + 1).max(width);
    out.extend((0..digits).rev().map(|at| b"0123456789abcdef"[(value >> (at * 4)) as usize & 15]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestId::find(&headers).map(|id| id.to_string())
    }

    #[test]
    fn names_of_clients_are_harmless_or_ignored() {
        for name in ["a", "7b1c0d3e-5a4f-4b2b-8c6d-1e0f7a9b3c5d", "67891233:abc/+@~_."] {
            assert_eq!(find(&[name]).as_deref(), Some(name));
        }
        let long: &'static str = "x".repeat(129).leak();
        for name in ["", " ", "a b", "a=b", "a\"b", "a,b", "ü", "a{b}", long] {
            assert_eq!(find(&[name]), None, "{name}");
        }
        assert_eq!(find(&[&long[1..]]).as_deref(), Some(&long[1..]));
        assert_eq!(find(&["a", "b"]), None, "which of them?");
        assert_eq!(find(&[]), None);
    }

    #[test]
    fn our_names_are_short_and_unique() {
        let id = |worker, count| RequestId::Own { process: 0x2f, worker, count };
        assert_eq!(id(1, 0).to_string(), "0000002f-1-0");
        assert_eq!(id(17, 0x1f0a).to_string(), "0000002f-11-1f0a");
        assert_eq!(id(0, u64::MAX).header(), "0000002f-0-ffffffffffffffff");
    }
}
