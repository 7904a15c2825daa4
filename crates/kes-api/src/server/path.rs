//! From the request target to the path that routes and policies look at (http-api 2.2).

use std::borrow::Cow;

/// Why a target has no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not a path, or a bad percent-escape: 400.
    Malformed,
    /// A path with empty, `.` or `..` segments. The old server redirected to the cleaned path; ours knows no such path.
    Unclean,
}

/// A decoded path, and the same with escaped slashes made unmatchable, for routing.
pub(super) struct Paths<'a> {
    pub(super) decoded: Cow<'a, [u8]>,
    pub(super) routing: Cow<'a, [u8]>,
}

/// Decodes the path of a request target: each segment is decoded before routing, an escaped slash does not separate.
pub(super) fn decode(raw: &str) -> Result<Paths<'_>, Refused> {
    if !raw.starts_with('/') {
        return Err(Refused::Malformed);
    }
    let escaped = raw.contains('%');
    let (decoded, routing) = if escaped { unescape(raw.as_bytes())? } else { Default::default() };
    if is_unclean(raw) {
        return Err(Refused::Unclean);
    }
    Ok(if escaped {
        Paths { decoded: decoded.into(), routing: routing.into() }
    } else {
        Paths { decoded: raw.as_bytes().into(), routing: raw.as_bytes().into() }
    })
}

fn unescape(raw: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut routing = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            routing.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(Refused::Malformed)?;
        rest = tail;
        let value = hex(digits[0])? << 4 | hex(digits[1])?;
        decoded.push(value);
        routing.push(if value == b'/' { 0xff } else { value }); // no route contains 0xff
    }
    Ok((decoded, routing))
}

fn hex(digit: u8) -> Result<u8, Refused> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Refused::Malformed),
    }
}

/// Whether a segment is empty (but the last), `.` or `..`, as written. Escaped dots are part of a name.
fn is_unclean(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let suspicious = bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.");
    suspicious && {
        let mut segments = raw[1..].split('/').peekable();
        let mut unclean = false;
        while let Some(segment) = segments.next() {
            unclean |= matches!(segment, "." | "..") || (segment.is_empty() && segments.peek().is_some());
        }
        unclean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_before_routing() {
        for (raw, decoded, routing) in [
            ("/v1/status", "/v1/status", &b"/v1/status"[..]),
            ("/v1/%73tatus", "/v1/status", b"/v1/status"),
            ("/v1%2Fstatus", "/v1/status", b"/v1\xffstatus"),
            ("/v1/key/describe/a%2fb", "/v1/key/describe/a/b", b"/v1/key/describe/a\xffb"),
            ("/v1/key/describe/%2e%2e/list/", "/v1/key/describe/../list/", b"/v1/key/describe/../list/"),
            ("/v1/key/describe/.a", "/v1/key/describe/.a", b"/v1/key/describe/.a"),
            ("/v1/key/describe/k1/", "/v1/key/describe/k1/", b"/v1/key/describe/k1/"),
            ("/", "/", b"/"),
        ] {
            let paths = decode(raw).map_err(|_| raw).unwrap();
            assert_eq!((&*paths.decoded, &*paths.routing), (decoded.as_bytes(), routing), "{raw}");
        }
    }

    #[test]
    fn unclean_and_malformed_targets_are_refused() {
        for raw in [
            "//v1/status",
            "/v1/./status",
            "/v1/x/../status",
            "/v1/key/describe/a//b",
            "/v1/key/describe/..",
            "/v1/.",
            "//",
        ] {
            assert_eq!(decode(raw).err(), Some(Refused::Unclean), "{raw}");
        }
        for raw in ["", "*", "v1/status", "/%", "/%4", "/%zz", "/v1/%g1", "//%"] {
            assert_eq!(decode(raw).err(), Some(Refused::Malformed), "{raw}");
        }
    }
}
