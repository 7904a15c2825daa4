//! MinIO's built-in KMS: one static key, given in an environment variable or a file.
//!
//! MinIO can run without any KMS server on one static key. These are the pieces to serve such a key, or to take it
//! over: reading the setting, the canonical form of MinIO's context, and the sealed keys of every release ([`open`]).

use std::collections::BTreeMap;
use std::fmt;

use time::OffsetDateTime;

use crate::secret::{KeyBytes, same_key};
use crate::{Error, KeyType, KeyVersion, Plaintext, SecretKey, base64};

mod dare;

pub use dare::{is_dare, open_dare};

/// How the key bytes are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `MINIO_KMS_SECRET_KEY` and its file: `<name>:<base64 of 32 bytes>`; line breaks inside the base64 are skipped.
    Base64,
    /// `MINIO_SSE_MASTER_KEY`, `MINIO_KMS_MASTER_KEY`: `<name>:<64 hex digits>` of either case, and nothing after.
    Hex,
}

/// Why a static key cannot be read. None of these quotes the text, which is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStaticKey {
    /// There is no colon.
    #[error("static key has no colon between name and key")]
    NoColon,
    /// What follows the first colon is neither 64 hex digits nor base64, or not what was asked for.
    #[error("static key is neither base64 nor 64 hex digits after the first colon")]
    Encoding,
    /// The decoded key does not have 32 bytes.
    #[error("static key has not 32 bytes")]
    Length,
}

/// MinIO's static key and its name.
pub struct StaticKey {
    name: String,
    bytes: KeyBytes,
}

impl StaticKey {
    /// Reads either spelling; line breaks at the end (of a file) do not count. 64 hex digits are taken for hex: as
    /// base64 they would be 48 bytes, which is no key.
    ///
    /// # Errors
    /// [`InvalidStaticKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidStaticKey> {
        let text = text.trim_end_matches(['\r', '\n']);
        let (_, digits) = text.split_once(':').ok_or(InvalidStaticKey::NoColon)?;
        let is_hex = digits.len() == 2 * KeyBytes::LEN && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        Self::parse_as(text, if is_hex { Spelling::Hex } else { Spelling::Base64 })
    }

    /// Reads one spelling, exactly as MinIO does. The name is everything before the first colon; it may be anything,
    /// also empty, so check that it is a key name before serving it.
    ///
    /// # Errors
    /// [`InvalidStaticKey`].
    pub fn parse_as(text: &str, spelling: Spelling) -> Result<Self, InvalidStaticKey> {
        let (name, key) = text.split_once(':').ok_or(InvalidStaticKey::NoColon)?;
        let mut bytes = KeyBytes::zeroed();
        match spelling {
            Spelling::Base64 => decode_base64(key, bytes.as_mut())?,
            Spelling::Hex => decode_hex(key, bytes.as_mut())?,
        }
        Ok(Self { name: name.to_owned(), bytes })
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8; SecretKey::LEN] {
        self.bytes.expose()
    }

    /// Whether both have the same name and bytes, however they were spelled.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && same_key(self.expose(), other.expose())
    }

    /// The key as a record: see [`KeyVersion::from_static_key`].
    #[must_use]
    pub fn to_key_version(&self, created_at: OffsetDateTime, created_by: &str) -> KeyVersion {
        KeyVersion::from_static_key(self.expose(), created_at, created_by).expect("a static key has 32 bytes")
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticKey({:?})", self.name)
    }
}

fn decode_base64(text: &str, key: &mut [u8; KeyBytes::LEN]) -> Result<(), InvalidStaticKey> {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
    base64::decode_into(text, &mut bytes).map_err(|_| InvalidStaticKey::Encoding)?;
    if bytes.len() != key.len() {
        return Err(InvalidStaticKey::Length);
    }
    key.copy_from_slice(&bytes);
    Ok(())
}

fn decode_hex(text: &str, key: &mut [u8; KeyBytes::LEN]) -> Result<(), InvalidStaticKey> {
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(InvalidStaticKey::Encoding);
    }
    if text.len() != 2 * key.len() {
        return Err(InvalidStaticKey::Length);
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).expect("checked above") as u8;
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    Ok(())
}

/// MinIO's canonical form of a context, a map of strings: the bytes that are bound into every data key, whether MinIO
/// seals with its static key or asks a KES server. Of equal names the last wins.
///
/// One JSON object without white space, members sorted by the raw bytes of their names. `"`, `\`, line feed, carriage
/// return and tab are escaped with a backslash; other control characters below 0x20, `<`, `>`, `&`, U+2028 and U+2029
/// as `\u` and four lower-case hex digits; each byte that is not UTF-8 becomes `\ufffd`; all else stands as it is.
///
/// ```
/// let context = kes_crypto::static_key::context([("my-bucket", "my-bucket/my-object")]);
/// assert_eq!(context, br#"{"my-bucket":"my-bucket/my-object"}"#);
/// ```
#[must_use]
pub fn context<N: AsRef<[u8]>, V: AsRef<[u8]>>(members: impl IntoIterator<Item = (N, V)>) -> Vec<u8> {
    let members: Vec<_> = members.into_iter().collect();
    let sorted: BTreeMap<&[u8], &[u8]> = members.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let mut out = vec![b'{'];
    for (name, value) in sorted {
        if out.len() > 1 {
            out.push(b',');
        }
        quote(&mut out, name);
        out.push(b':');
        quote(&mut out, value);
    }
    out.push(b'}');
    out
}

fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend([b'\\', c as u8]),
                '\n' => out.extend(br"\n"),
                '\r' => out.extend(br"\r"),
                '\t' => out.extend(br"\t"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.extend(format!("\\u{:04x}", u32::from(c)).as_bytes());
                }
                c => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend(br"\ufffd");
        }
    }
    out.push(b'"');
}

/// Opens a data key that MinIO sealed with its static key, or that a KES server sealed under it since.
///
/// Three forms, told apart by their content: the current one and the JSON one of 2021 to 2024 ([`SecretKey::open`]), and
/// the one before May 2021 ([`open_dare`]). `name` is the name that MinIO knows the key by; only the oldest form needs it.
/// That form is tried for keys of type [`KeyType::Legacy`] alone, which a static key is: no other key has ever made it.
///
/// # Errors
/// [`Error::NotAuthentic`] for every cause there is.
pub fn open(key: &SecretKey, name: &str, ciphertext: &[u8], context: &[u8]) -> Result<Plaintext, Error> {
    match key.open(ciphertext, context) {
        Err(Error::NotAuthentic) if key.key_type() == KeyType::Legacy && is_dare(ciphertext) => {
            open_dare(key, name, context, ciphertext)
        }
        opened => opened,
    }
}
