//! Writing JSON as the old server wrote it.
//!
//! Compat: Go's encoder escapes `<`, `>`, `&`, U+2028 and U+2029 inside strings and ends every value with a newline;
//! each byte that is not UTF-8 becomes `\ufffd`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// A value with a JSON form on the wire. Written into one buffer that is sized beforehand, so that no secret is left in
/// a buffer that grew.
pub trait Body {
    /// Upper bound of the encoded length in bytes, without the final newline; 0 where no secret is inside.
    fn capacity(&self) -> usize {
        0
    }

    /// Appends the JSON text.
    fn write(&self, out: &mut Vec<u8>);
}

/// The body of an answer or request: one compact JSON value and a newline. Wipe it if the value was secret.
#[must_use]
pub fn encode(value: &impl Body) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.capacity() + 1);
    value.write(&mut out);
    out.push(b'\n');
    out
}

/// The body of an error answer. The newline stands inside the object; clients have always seen it there.
#[must_use]
pub fn error_body(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    out.extend_from_slice(b"{\"message\":");
    write_string(message, &mut out);
    out.extend_from_slice(b"\n}");
    out
}

/// Serialises anything without secrets through serde, with Go's escapes.
pub(super) fn write_plain(value: &impl Serialize, out: &mut Vec<u8>) {
    let mut serializer = Serializer::with_formatter(out, GoFormatter(CompactFormatter));
    value.serialize(&mut serializer).expect("plain structs of strings and numbers always serialise");
}

/// Appends a member whose value is base64: `"name":"…"`.
pub(super) fn write_base64_member(name: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    kes_crypto::base64::encode_into(bytes, out);
    out.push(b'"');
}

/// Upper bound of what [`write_base64_member`] appends, and a comma.
pub(super) fn base64_member_len(name: &str, bytes: usize) -> usize {
    name.len() + kes_crypto::base64::encoded_len(bytes) + 6
}

/// Appends a JSON string of bytes that need not be UTF-8.
pub(crate) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    write!(out, "\\u{:04x}", u32::from(char)).expect("a Vec takes everything");
                }
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

struct GoFormatter(CompactFormatter);

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut start = 0;
        for (at, char) in fragment.char_indices() {
            if matches!(char, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                self.0.write_string_fragment(writer, &fragment[start..at])?;
                write!(writer, "\\u{:04x}", u32::from(char))?;
                start = at + char.len_utf8();
            }
        }
        self.0.write_string_fragment(writer, &fragment[start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_escape_as_go_does() {
        for (message, expected) in [
            (&b"key does not exist"[..], &b"{\"message\":\"key does not exist\"\n}"[..]),
            (
                b"a<b>&\"\\\n\r\t\x08\x0c\x01\x7f",
                b"{\"message\":\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\r\\t\\b\\f\\u0001\x7f\"\n}",
            ),
            ("\u{2028}é".as_bytes(), "{\"message\":\"\\u2028é\"\n}".as_bytes()),
            (b"\xff\xfe", b"{\"message\":\"\\ufffd\\ufffd\"\n}"),
        ] {
            assert_eq!(error_body(message), expected);
        }
    }

    #[test]
    fn plain_values_escape_as_go_does() {
        let mut out = Vec::new();
        write_plain(&"<unknown> & \u{2029}\n", &mut out);
        assert_eq!(out, b"\"\\u003cunknown\\u003e \\u0026 \\u2029\\n\"");
    }
}
