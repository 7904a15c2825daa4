//! The one base64 reader and writer, at rest and on the wire.
//!
//! Standard alphabet, padded. The reader is as lenient as the Go decoder that stored keys and old clients were made
//! for: CR and LF are skipped wherever they stand, and the unused bits of the last character may be anything. Padding
//! is required; blanks and the URL alphabet are refused.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize, Zeroizing};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The text is not base64, or not of the wanted length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid base64")]
pub struct Invalid;

/// Length of the base64 text of this many bytes.
#[must_use]
pub const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Encodes without line breaks.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

/// Appends the base64 text of `bytes` to `out`; allocates only if `out` has no room for [`encoded_len`] more bytes.
/// For a secret, make that room beforehand: a buffer that grows leaves its old content behind.
pub fn encode_into(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + encoded_len(bytes.len()), 0);
    ENGINE.encode_slice(bytes, &mut out[start..]).expect("sized above");
}

/// Decodes a base64 text.
///
/// # Errors
/// [`Invalid`].
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, Invalid> {
    let mut bytes = Vec::new();
    decode_into(text, &mut bytes)?;
    Ok(bytes)
}

/// Appends the decoded bytes to `out`; after an error `out` is as long as before.
///
/// # Errors
/// [`Invalid`].
pub fn decode_into(text: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let text = text.as_ref();
    let start = out.len();
    out.resize(start + base64::decoded_len_estimate(text.len()), 0);
    match decode_slice(text, &mut out[start..]) {
        Ok(length) => {
            out.truncate(start + length);
            Ok(())
        }
        Err(invalid) => {
            out[start..].zeroize();
            out.truncate(start);
            Err(invalid)
        }
    }
}

/// Decodes a text of exactly `N` bytes, without allocating.
///
/// # Errors
/// [`Invalid`], also for another length.
pub fn decode_array<const N: usize>(text: impl AsRef<[u8]>) -> Result<[u8; N], Invalid> {
    let mut bytes = [0; N];
    if decode_slice(text.as_ref(), &mut bytes)? == N { Ok(bytes) } else { Err(Invalid) }
}

/// Decodes to the start of `out` and returns the length.
fn decode_slice(text: &[u8], out: &mut [u8]) -> Result<usize, Invalid> {
    if let Ok(length) = ENGINE.decode_slice(text, out) {
        return Ok(length);
    }
    if !text.iter().any(is_line_break) {
        return Err(Invalid);
    }
    // Rare, so it may cost a copy: the text has line breaks.
    let mut joined = Zeroizing::new(Vec::with_capacity(text.len()));
    joined.extend(text.iter().filter(|byte| !is_line_break(byte)));
    ENGINE.decode_slice(&*joined, out).map_err(|_| Invalid)
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, expected) in [
            ("", &b""[..]),
            ("\n\r", b""),
            ("YQ==", b"a"),
            ("YWI=", b"ab"),
            ("YWJj", b"abc"),
            ("YW\r\nJj\n", b"abc"),
            ("YQ=\n=\r\n", b"a"),
            ("YR==", b"a"), // spare bits
            ("YWJ=", b"ab"),
            ("+/+/", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(decode(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["YQ", "YQ=", "YWI", "Y", "=", "====", "YQ==YQ==", "YQ== ", " YQ==", "-_-_", "YQ==\nx", "Y===", "é"]
        {
            assert_eq!(decode(text), Err(Invalid), "{text:?}");
        }
    }

    #[test]
    fn appends() {
        let mut out = b"x".to_vec();
        encode_into(b"abcd", &mut out);
        assert_eq!(out, b"xYWJjZA==");
        decode_into("YWJjZA==", &mut out).expect("valid");
        assert_eq!(out, b"xYWJjZA==abcd");
        assert_eq!(decode_into("YQ", &mut out), Err(Invalid));
        assert_eq!(out, b"xYWJjZA==abcd");
        assert_eq!(encode(b"abcd").len(), encoded_len(4));
    }

    #[test]
    fn an_array_has_its_length() {
        assert_eq!(decode_array("YWJj"), Ok(*b"abc"));
        assert_eq!(decode_array("YW\nJj"), Ok(*b"abc"));
        assert_eq!(decode_array::<2>("YWJj"), Err(Invalid));
        assert_eq!(decode_array::<4>("YWJj"), Err(Invalid));
        assert_eq!(decode_array::<1>("YWJjZA=="), Err(Invalid));
    }
}
