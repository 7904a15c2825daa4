//! What opens a slot, and what slots are made of.

use std::fmt;
use std::sync::Arc;

use kes_crypto::base64;
use kes_crypto::sealing::SealKey;
use zeroize::Zeroizing;

use super::recovery::RecoveryKey;
use crate::Seal;

/// A sealing key, and where it comes from: `keystore.seal.passphrase`, `/run/secrets/kes`. Messages name the source.
pub struct SealingKey {
    source: String,
    secret: Secret,
}

pub(super) enum Secret {
    Passphrase(Zeroizing<Vec<u8>>),
    Key(SealKey),
    Recovery(RecoveryKey),
    External(Arc<dyn Seal>),
}

/// The text is no sealing key. The operator's fault. The texts show nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSealingKey {
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// Neither 32 bytes nor their base64 or hex.
    #[error("{0} holds no sealing key: 32 random bytes, as they are, in base64 or in hex")]
    Form(String),
}

impl SealingKey {
    /// A passphrase. Line breaks at its end do not count.
    ///
    /// # Errors
    /// [`InvalidSealingKey::Empty`].
    pub fn passphrase(source: impl Into<String>, text: &[u8]) -> Result<Self, InvalidSealingKey> {
        let source = source.into();
        let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        if end == 0 {
            return Err(InvalidSealingKey::Empty(source));
        }
        Ok(Self { source, secret: Secret::Passphrase(Zeroizing::new(text[..end].to_vec())) })
    }

    /// A key of 32 bytes.
    pub fn key(source: impl Into<String>, key: SealKey) -> Self {
        Self { source: source.into(), secret: Secret::Key(key) }
    }

    /// The key that a file or variable holds: exactly 32 bytes, or a line with their base64 or hex.
    ///
    /// # Errors
    /// [`InvalidSealingKey`].
    pub fn key_from(source: impl Into<String>, content: &[u8]) -> Result<Self, InvalidSealingKey> {
        let source = source.into();
        let text = content.trim_ascii();
        if text.is_empty() {
            return Err(InvalidSealingKey::Empty(source));
        }
        // 32 bytes that are all letters and digits are as good as impossible by chance, and no base64 or hex of a key.
        if content.len() == SealKey::LEN {
            let key = SealKey::from_bytes(content).expect("length checked");
            return Ok(Self::key(source, key));
        }
        let bytes = if text.len() == 2 * SealKey::LEN { hex(text) } else { base64_of(text) };
        match bytes.and_then(|bytes| SealKey::from_bytes(bytes.as_slice()).ok()) {
            Some(key) => Ok(Self::key(source, key)),
            None => Err(InvalidSealingKey::Form(source)),
        }
    }

    /// A recovery key.
    pub fn recovery(source: impl Into<String>, key: RecoveryKey) -> Self {
        Self { source: source.into(), secret: Secret::Recovery(key) }
    }

    /// A key held elsewhere.
    pub fn external(source: impl Into<String>, seal: Arc<dyn Seal>) -> Self {
        Self { source: source.into(), secret: Secret::External(seal) }
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The kind of slots it opens, as the slot table has it: `passphrase`, `key`, `recovery`, or that of [`Seal::kind`].
    #[must_use]
    pub fn kind(&self) -> &str {
        match &self.secret {
            Secret::Passphrase(_) => "passphrase",
            Secret::Key(_) => "key",
            Secret::Recovery(_) => "recovery",
            Secret::External(seal) => seal.kind(),
        }
    }

    pub(super) async fn close(&self) {
        if let Secret::External(seal) = &self.secret {
            seal.close().await;
        }
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({}, {})", self.kind(), self.source)
    }
}

fn hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(SealKey::LEN));
    for pair in text.chunks_exact(2) {
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(bytes)
}

fn base64_of(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    base64::decode(text).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: &SealingKey) -> &[u8] {
        match key.secret() {
            Secret::Key(key) => key.expose(),
            _ => panic!("{key:?}"),
        }
    }

    #[test]
    fn a_key_may_be_raw_base64_or_hex() {
        let raw: [u8; 32] = std::array::from_fn(|at| at as u8 * 8);
        let base64 = base64::encode(&raw);
        let hex: String = raw.iter().map(|byte| format!("{byte:02X}")).collect();
        for content in
            [raw.to_vec(), base64.clone().into_bytes(), format!(" {base64}\r\n").into_bytes(), hex.into_bytes()]
        {
            assert_eq!(bytes(&SealingKey::key_from("file", &content).unwrap()), raw);
        }
        for (content, expected) in [
            (&b"\n"[..], "file is empty"),
            (b"c2hvcnQ=", "file holds no sealing key: 32 random bytes, as they are, in base64 or in hex"),
            (&[b'g'; 64], "file holds no sealing key: 32 random bytes, as they are, in base64 or in hex"),
        ] {
            assert_eq!(SealingKey::key_from("file", content).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_passphrase() {
        let text = |key: &SealingKey| match key.secret() {
            Secret::Passphrase(text) => text.to_vec(),
            _ => panic!("{key:?}"),
        };
        assert_eq!(text(&SealingKey::passphrase("file", b" correct horse \r\n").unwrap()), b" correct horse ");
        assert_eq!(SealingKey::passphrase("file", b"\n").unwrap_err(), InvalidSealingKey::Empty("file".to_owned()));
    }

    #[test]
    fn no_key_is_shown() {
        let key = SealingKey::passphrase("file", b"correct horse").unwrap();
        assert_eq!(format!("{key:?}"), "SealingKey(passphrase, file)");
        let key = SealingKey::key("file", SealKey::from_bytes(&[b'A'; 32]).unwrap());
        assert_eq!(format!("{key:#?}"), "SealingKey(key, file)");
    }
}
