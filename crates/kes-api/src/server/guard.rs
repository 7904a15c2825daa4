//! What a request must be before it is looked at: the checks that the HTTP library leaves to us (http-api 1.5).

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{StatusCode, Version};

use super::failure::Failure;

/// Largest header block, bytes; the library refuses what does not fit its buffer of the same size.
pub(super) const MAX_HEADER: usize = (1 << 20) + (4 << 10);

/// Refuses requests that are not HTTP as it should be. Their connection is closed.
pub(super) fn check(request: &Parts) -> Result<(), Failure> {
    let bad = || Err(Failure::http(StatusCode::BAD_REQUEST).closing());
    if request.version < Version::HTTP_2 {
        let hosts = request.headers.get_all(HOST).iter().count();
        // HTTP/1.0 knows no Host header.
        if hosts > 1 || (hosts == 0 && request.version == Version::HTTP_11) {
            return bad();
        }
        if request.headers.get(HOST).is_some_and(|host| !host.as_bytes().iter().all(is_host_byte)) {
            return bad();
        }
        // A coding that nobody undoes, or a second one, means that somebody in between may see another body.
        let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = |coding: &http::HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if codings.next().is_some_and(|first| !is_chunked(first)) || codings.next().is_some() {
            return Err(Failure::http(StatusCode::NOT_IMPLEMENTED).closing());
        }
    }
    // On h2 there is nothing to wait for, and nobody looks at it.
    if request.version < Version::HTTP_2
        && let Some(expectation) = request.headers.get(EXPECT)
        && !expectation.is_empty()
        && !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Failure::http(StatusCode::EXPECTATION_FAILED).closing());
    }
    Ok(())
}

/// RFC 3986 3.2.2 and a port: unreserved, percent-encoded, sub-delims, brackets and colon.
fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = http::Request::builder().version(version).uri("/v1/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0).err().map(|failure| failure.status.as_u16())
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
