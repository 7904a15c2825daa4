//! What a request must be before it is looked at: the checks that the HTTP library leaves to us (http-api 1.5).

use http::header::{EXPECT, HOST};
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
    }
    if let Some(expectation) = request.headers.get(EXPECT)
        && !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Failure::http(StatusCode::EXPECTATION_FAILED).closing());
    }
    Ok(())
}
