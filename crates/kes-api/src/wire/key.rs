//! Bodies of the key routes.

use std::fmt;

use kes_crypto::base64;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::go_json::{Body, base64_member_len, write_base64_member, write_string};
use super::request::{self, Malformed, Request};
use super::secret::SecretBytes;

/// `POST /v1/key/generate/<name>`: all optional, so that `{}` is a request for a data key without context.
#[derive(Debug, Default)]
pub struct GenerateRequest {
    /// Associated data, any length.
    pub context: Vec<u8>,
}

/// A fresh data key.
#[derive(Debug)]
pub struct GenerateResponse {
    /// 32 bytes: what the caller encrypts with.
    pub plaintext: SecretBytes,
    /// 76 bytes: the same, sealed; what the caller stores.
    pub ciphertext: Vec<u8>,
}

/// A fresh data key, as the server writes it: straight from where it was made, without a copy.
#[cfg(feature = "server")]
pub(crate) struct GenerateAnswer<'a> {
    pub(crate) plaintext: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
}

/// An opened plaintext, as the server writes it.
#[cfg(feature = "server")]
pub(crate) struct DecryptAnswer<'a> {
    pub(crate) plaintext: &'a [u8],
}

#[cfg(feature = "server")]
impl Body for GenerateAnswer<'_> {
    fn capacity(&self) -> usize {
        members_len(&[("plaintext", self.plaintext.len()), ("ciphertext", self.ciphertext.len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("plaintext", self.plaintext), ("ciphertext", self.ciphertext)], out);
    }
}

#[cfg(feature = "server")]
impl Body for DecryptAnswer<'_> {
    fn capacity(&self) -> usize {
        members_len(&[("plaintext", self.plaintext.len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("plaintext", self.plaintext)], out);
    }
}

/// `POST /v1/key/encrypt/<name>`.
#[derive(Debug, Default)]
pub struct EncryptRequest {
    /// Up to about 749 900 bytes, as the body is limited to 1 000 000.
    pub plaintext: SecretBytes,
    /// Associated data, any length.
    pub context: Vec<u8>,
}

/// A ciphertext: 44 bytes longer than the plaintext.
#[derive(Debug)]
pub struct EncryptResponse {
    /// The sealed plaintext.
    pub ciphertext: Vec<u8>,
}

/// `POST /v1/key/decrypt/<name>`.
#[derive(Debug, Default)]
pub struct DecryptRequest {
    /// A ciphertext of any generation.
    pub ciphertext: Vec<u8>,
    /// The associated data that it was sealed with.
    pub context: Vec<u8>,
}

/// The opened plaintext.
#[derive(Debug)]
pub struct DecryptResponse {
    /// Any length.
    pub plaintext: SecretBytes,
}

/// `PUT /v1/key/hmac/<name>`.
#[derive(Debug, Default)]
pub struct HmacRequest {
    /// Any length; a caller may derive secrets from it, so it is treated as one.
    pub message: SecretBytes,
}

/// An HMAC-SHA256 sum.
#[derive(Debug)]
pub struct HmacResponse {
    /// 32 bytes. Callers derive credentials from it.
    pub hmac: SecretBytes,
}

/// `POST /v1/key/import/<name>`.
///
/// Compat: releases up to 2023-09-28 named the members `bytes` and `algorithm`. Both spellings are read, the new one
/// wins; without any algorithm `bytes` means AES256, while `key` needs its `cipher`.
#[derive(Debug, Default)]
pub struct ImportRequest {
    /// 32 bytes, or the server answers 406.
    pub key: SecretBytes,
    /// `AES256`, `ChaCha20`, or one of their older names.
    pub cipher: String,
}

/// `POST /v1/key/bulk/decrypt/<name>`, of releases v0.19 to 2023-10-03: a JSON array.
#[derive(Debug, Default)]
pub struct BulkDecryptRequest(pub Vec<DecryptRequest>);

/// The plaintexts, in the order of the request.
#[derive(Debug)]
pub struct BulkDecryptResponse(pub Vec<DecryptResponse>);

impl BulkDecryptRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        request::list(body).map(Self)
    }
}

impl Request for GenerateRequest {
    const MEMBERS: &'static [&'static str] = &["context", "version"];

    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        match index {
            0 => self.context = request::bytes(map)?,
            _ => drop(request::text(map)?),
        }
        Ok(())
    }
}

impl Request for EncryptRequest {
    const MEMBERS: &'static [&'static str] = &["plaintext", "context", "version"];

    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        match index {
            0 => self.plaintext = request::bytes(map)?.into(),
            1 => self.context = request::bytes(map)?,
            _ => drop(request::text(map)?),
        }
        Ok(())
    }
}

impl Request for DecryptRequest {
    const MEMBERS: &'static [&'static str] = &["ciphertext", "context", "version"];

    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        match index {
            0 => self.ciphertext = request::bytes(map)?,
            1 => self.context = request::bytes(map)?,
            _ => drop(request::text(map)?),
        }
        Ok(())
    }
}

impl Request for HmacRequest {
    const MEMBERS: &'static [&'static str] = &["message", "version"];

    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        match index {
            0 => self.message = request::bytes(map)?.into(),
            _ => drop(request::text(map)?),
        }
        Ok(())
    }
}

/// Both spellings of an import, as they stood in the body.
#[derive(Default)]
struct ImportMembers {
    key: Option<SecretBytes>,
    bytes: Option<SecretBytes>,
    cipher: String,
    algorithm: String,
}

impl Request for ImportMembers {
    const MEMBERS: &'static [&'static str] = &["key", "cipher", "bytes", "algorithm"];

    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        match index {
            0 => self.key = Some(request::bytes(map)?.into()),
            1 => self.cipher = request::text(map)?,
            2 => self.bytes = Some(request::bytes(map)?.into()),
            _ => self.algorithm = request::text(map)?,
        }
        Ok(())
    }
}

impl ImportRequest {
    /// Reads the body, in either spelling.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let ImportMembers { key, bytes, cipher, algorithm } = request::decode(body)?;
        let old_spelling = bytes.is_some();
        let mut cipher = if cipher.is_empty() { algorithm } else { cipher };
        if cipher.is_empty() && old_spelling {
            cipher = "AES256".to_owned();
        }
        Ok(Self { key: key.or(bytes).unwrap_or_default(), cipher })
    }
}

/// `{"a":"…","b":"…"}` of base64 members, leaving out the empty ones after the first.
fn write_members(members: &[(&str, &[u8])], out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, bytes)) in members.iter().enumerate() {
        if at > 0 {
            if bytes.is_empty() {
                continue;
            }
            out.push(b',');
        }
        write_base64_member(name, bytes, out);
    }
    out.push(b'}');
}

fn members_len(members: &[(&str, usize)]) -> usize {
    2 + members.iter().map(|(name, bytes)| base64_member_len(name, *bytes)).sum::<usize>()
}

impl Body for GenerateRequest {
    fn write(&self, out: &mut Vec<u8>) {
        if self.context.is_empty() {
            out.extend_from_slice(b"{}");
        } else {
            write_members(&[("context", &self.context)], out);
        }
    }
}

impl Body for GenerateResponse {
    fn capacity(&self) -> usize {
        members_len(&[("plaintext", self.plaintext.expose().len()), ("ciphertext", self.ciphertext.len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("plaintext", self.plaintext.expose()), ("ciphertext", &self.ciphertext)], out);
    }
}

impl Body for EncryptRequest {
    fn capacity(&self) -> usize {
        members_len(&[("plaintext", self.plaintext.expose().len()), ("context", self.context.len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("plaintext", self.plaintext.expose()), ("context", &self.context)], out);
    }
}

impl Body for EncryptResponse {
    fn capacity(&self) -> usize {
        members_len(&[("ciphertext", self.ciphertext.len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("ciphertext", &self.ciphertext)], out);
    }
}

impl Body for DecryptRequest {
    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("ciphertext", &self.ciphertext), ("context", &self.context)], out);
    }
}

impl Body for DecryptResponse {
    fn capacity(&self) -> usize {
        members_len(&[("plaintext", self.plaintext.expose().len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("plaintext", self.plaintext.expose())], out);
    }
}

impl Body for HmacRequest {
    fn capacity(&self) -> usize {
        members_len(&[("message", self.message.expose().len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("message", self.message.expose())], out);
    }
}

impl Body for HmacResponse {
    fn capacity(&self) -> usize {
        members_len(&[("hmac", self.hmac.expose().len())])
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_members(&[("hmac", self.hmac.expose())], out);
    }
}

impl Body for ImportRequest {
    fn capacity(&self) -> usize {
        members_len(&[("key", self.key.expose().len())]) + 16 + 6 * self.cipher.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        write_base64_member("key", self.key.expose(), out);
        out.extend_from_slice(b",\"cipher\":");
        write_string(self.cipher.as_bytes(), out);
        out.push(b'}');
    }
}

impl Body for BulkDecryptRequest {
    fn write(&self, out: &mut Vec<u8>) {
        write_list(&self.0, out);
    }
}

impl Body for BulkDecryptResponse {
    fn capacity(&self) -> usize {
        2 + self.0.iter().map(|item| item.capacity() + 1).sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_list(&self.0, out);
    }
}

fn write_list(items: &[impl Body], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        item.write(out);
    }
    out.push(b']');
}

/// One base64 member of an answer, decoded into wiped memory.
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Base64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
                base64::decode(text).map(Base64).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Answers that clients read: a struct of base64 members.
macro_rules! answer {
    ($answer:ident { $($member:ident),+ }) => {
        impl<'de> Deserialize<'de> for $answer {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                struct Members { $($member: Option<Base64>),+ }
                let members = Members::deserialize(deserializer)?;
                Ok(Self { $($member: members.$member.ok_or_else(|| D::Error::missing_field(stringify!($member)))?.0.into()),+ })
            }
        }
    };
}

answer!(GenerateResponse { plaintext, ciphertext });
answer!(EncryptResponse { ciphertext });
answer!(DecryptResponse { plaintext });
answer!(HmacResponse { hmac });

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    #[test]
    fn answers_are_compact_and_end_in_a_newline() {
        let answer = GenerateResponse { plaintext: b"abc".to_vec().into(), ciphertext: b"defg".to_vec() };
        let body = encode(&answer);
        assert_eq!(body, b"{\"plaintext\":\"YWJj\",\"ciphertext\":\"ZGVmZw==\"}\n");
        assert!(body.len() <= answer.capacity() + 1, "a secret must not make its buffer grow");
        assert_eq!(encode(&DecryptResponse { plaintext: SecretBytes::default() }), b"{\"plaintext\":\"\"}\n");
    }

    #[test]
    fn every_request_reads_back() {
        let sent = EncryptRequest { plaintext: b"p".to_vec().into(), context: b"c".to_vec() };
        let body = encode(&sent);
        let read: EncryptRequest = decode(&body).expect("valid");
        assert_eq!((read.plaintext.expose(), &read.context[..]), (&b"p"[..], &b"c"[..]));
        assert_eq!(encode(&GenerateRequest::default()), b"{}\n");
        assert_eq!(encode(&EncryptRequest::default()), b"{\"plaintext\":\"\"}\n");
    }

    #[test]
    fn import_reads_both_spellings() {
        for (body, key, cipher) in [
            (r#"{"key":"YWJj","cipher":"AES256"}"#, &b"abc"[..], "AES256"),
            (r#"{"bytes":"YWJj","algorithm":"ChaCha20"}"#, b"abc", "ChaCha20"),
            (r#"{"bytes":"YWJj"}"#, b"abc", "AES256"),
            (r#"{"bytes":"YWJj","algorithm":""}"#, b"abc", "AES256"),
            (r#"{"key":"YWJj"}"#, b"abc", ""),
            (r#"{"key":"YWJj","algorithm":"AES256"}"#, b"abc", "AES256"),
            (r#"{"key":"YWJj","bytes":"ZGVm","cipher":"ChaCha20","algorithm":"AES256"}"#, b"abc", "ChaCha20"),
            ("{}", b"", ""),
        ] {
            let request = ImportRequest::decode(body.as_bytes()).expect(body);
            assert_eq!((request.key.expose(), &request.cipher[..]), (key, cipher), "{body}");
        }
    }

    #[test]
    fn bulk_reads_arrays_only() {
        assert_eq!(BulkDecryptRequest::decode(b"[{\"ciphertext\":\"YQ==\"},null]").expect("valid").0.len(), 2);
        assert_eq!(BulkDecryptRequest::decode(b"null").expect("valid").0.len(), 0);
        assert!(BulkDecryptRequest::decode(b"{}").is_err());
        assert_eq!(encode(&BulkDecryptResponse(Vec::new())), b"[]\n");
    }

    #[test]
    fn answers_read_back() {
        let answer: GenerateResponse =
            serde_json::from_slice(b"{\"plaintext\":\"YWJj\",\"ciphertext\":\"ZGVmZw==\",\"version\":\"v1\"}")
                .expect("valid");
        assert_eq!((answer.plaintext.expose(), &answer.ciphertext[..]), (&b"abc"[..], &b"defg"[..]));
        assert!(serde_json::from_slice::<EncryptResponse>(b"{}").is_err());
    }
}
