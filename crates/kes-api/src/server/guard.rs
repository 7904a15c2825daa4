//! What a request must be before it is looked at: the checks that the HTTP library leaves to us (http-api 1.5).

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{StatusCode, Version};

use super::failure::Failure;
use super::request_id::X_REQUEST_ID;

/// Largest header block, bytes; the library refuses what does not fit its buffer of the same size.
pub(super) const MAX_HEADER: usize = (1 << 20) + (4 << 10);

/// What the headers say about the request as a message: read in one pass, for every request has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    hosts: usize,
    has_bad_host: bool,
    /// Transfer codings, and whether one of them is not plain `chunked`.
    codings: usize,
    has_other_coding: bool,
    expects_other: bool,
    /// The client waits for "100 Continue" before it sends its body.
    pub(super) expects_continue: bool,
    /// `Content-Length`.
    pub(super) declared: Option<u64>,
    /// The client has named its request.
    pub(super) is_named: bool,
}

impl Framing {
    pub(super) fn of(request: &Parts) -> Self {
        let mut framing = Self::default();
        for (name, value) in &request.headers {
            let value = value.as_bytes();
            if *name == HOST {
                framing.hosts += 1;
                framing.has_bad_host |= !value.iter().all(is_host_byte);
            } else if *name == CONTENT_LENGTH {
                framing.declared = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            } else if *name == TRANSFER_ENCODING {
                framing.codings += 1;
                framing.has_other_coding |= !value.eq_ignore_ascii_case(b"chunked");
            } else if *name == EXPECT && !value.is_empty() {
                let is_continue = value.eq_ignore_ascii_case(b"100-continue");
                framing.expects_continue |= is_continue;
                framing.expects_other |= !is_continue;
            } else if *name == X_REQUEST_ID {
                framing.is_named = true;
            }
        }
        framing
    }

    /// Whether the headers say that there is no body. A chunked body of no bytes is a body.
    pub(super) fn declares_nothing(&self) -> bool {
        self.declared == Some(0) && self.codings == 0
    }

    /// Refuses requests that are not HTTP as it should be. Their connection is closed.
    pub(super) fn check(&self, version: Version) -> Result<(), Failure> {
        // h2 has its own framing, and there is nothing to wait for.
        if version >= Version::HTTP_2 {
            return Ok(());
        }
        // HTTP/1.0 knows no Host header.
        if self.hosts > 1 || (self.hosts == 0 && version == Version::HTTP_11) || self.has_bad_host {
            return Err(Failure::http(StatusCode::BAD_REQUEST).closing());
        }
        // A coding that nobody undoes, or a second one, means that somebody in between may see another body.
        if self.has_other_coding || self.codings > 1 {
            return Err(Failure::http(StatusCode::NOT_IMPLEMENTED).closing());
        }
        if self.expects_other {
            return Err(Failure::http(StatusCode::EXPECTATION_FAILED).closing());
        }
        Ok(())
    }
}

/// RFC 3986 3.2.2 and a port: unreserved, percent-encoded, sub-delims, brackets and colon.
fn is_host_byte(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\''
        | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'[' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = http::Request::builder().version(version).uri("/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap().into_parts().0;
        Framing::of(&request).check(version).err().map(|failure| failure.status.as_u16())
    }

    #[test]
    fn a_host_is_demanded_and_must_be_one() {
        assert_eq!(status(Version::HTTP_11, &[]), Some(400));
        assert_eq!(status(Version::HTTP_10, &[]), None);
        assert_eq!(status(Version::HTTP_2, &[]), None);
        assert_eq!(status(Version::HTTP_11, &[("host", "a"), ("host", "a")]), Some(400));
        for (host, expected) in
            [("", None), ("kes:7373", None), ("[::1]:7373", None), ("a b", Some(400)), ("a/b", Some(400))]
        {
            assert_eq!(status(Version::HTTP_11, &[("host", host)]), expected, "{host}");
        }
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        assert_eq!(status(Version::HTTP_11, &[("host", "a"), ("expect", "100-Continue")]), None);
        assert_eq!(status(Version::HTTP_11, &[("host", "a"), ("expect", "200-ok")]), Some(417));
        assert_eq!(status(Version::HTTP_11, &[("host", "a"), ("expect", "")]), None, "as if it were not there");
        assert_eq!(status(Version::HTTP_2, &[("expect", "200-ok")]), None);
    }

    #[test]
    fn only_plain_chunked_is_a_transfer_coding() {
        let coded = |codings: &[&'static str]| {
            let mut headers = vec![("host", "a")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            status(Version::HTTP_11, &headers)
        };
        assert_eq!(coded(&["Chunked"]), None);
        for codings in [&["gzip, chunked"][..], &["chunked, chunked"], &["chunked", "chunked"], &["identity, chunked"]]
        {
            assert_eq!(coded(codings), Some(501), "{codings:?}");
        }
    }
}
