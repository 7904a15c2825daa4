//! The two envelopes that ciphertexts came in before 2024-02-29: message-pack and JSON.
//!
//! Neither is ever written. A parse that fails for any reason means only that the ciphertext is raw: one in 128 raw
//! ciphertexts begins with the first byte of an envelope.

use crate::json::{self, Member};
use crate::message_key::{Cipher, IV_LEN, NONCE_LEN};
use crate::{KeyType, base64};

/// The parts of an older ciphertext.
pub(crate) struct Envelope {
    /// What the label says; see [`crate::SecretKey::open`] for who believes it.
    pub(crate) cipher: Cipher,
    pub(crate) iv: [u8; IV_LEN],
    pub(crate) nonce: [u8; NONCE_LEN],
    /// Ciphertext and tag.
    pub(crate) sealed: Vec<u8>,
}

/// Takes an older envelope apart, or gives `None` for what has to be a raw ciphertext.
pub(crate) fn parse(ciphertext: &[u8], key_type: KeyType) -> Option<Envelope> {
    match ciphertext.first()? {
        0x95 => parse_message_pack(ciphertext),
        b'{' => parse_json(ciphertext, key_type),
        _ => None,
    }
}

/// `{"aead":…,"id":…,"iv":…,"nonce":…,"bytes":…}`, v0.1.0 – v0.19.1 and MinIO's static key until 2024.
fn parse_json(text: &[u8], key_type: KeyType) -> Option<Envelope> {
    let [aead, iv, nonce, bytes] = json::members(text, ["aead", "iv", "nonce", "bytes"]).ok()?;
    let cipher = match aead.text()? {
        "AES-256-GCM-HMAC-SHA-256" => Cipher::Aes,
        "ChaCha20Poly1305" => Cipher::ChaCha,
        // Departs from upstream: ciphertexts of v0.1.0 – v0.6.0 open again, for keys of that age only.
        "AES-256-GCM" if key_type == KeyType::Legacy => Cipher::EarlyAes,
        _ => return None,
    };
    Some(Envelope {
        cipher,
        iv: base64::decode_array(iv.text()?).ok()?,
        nonce: base64::decode_array(nonce.text()?).ok()?,
        sealed: match bytes {
            Member::Absent => Vec::new(),
            Member::Text(text) => base64::decode(text.as_bytes()).ok()?,
            Member::Other => return None,
        },
    })
}

/// An array of label, key id, iv, nonce and sealed bytes, v0.19.2 – 2024-01-11. The id is not looked at.
fn parse_message_pack(bytes: &[u8]) -> Option<Envelope> {
    let mut reader = MessagePack(bytes.strip_prefix(&[0x95])?);
    let cipher = match KeyType::parse_import(str::from_utf8(reader.string()?).ok()?)? {
        KeyType::ChaCha20 => Cipher::ChaCha,
        KeyType::Aes256 | KeyType::Legacy => Cipher::Aes,
    };
    let _id = reader.string()?;
    let iv = reader.binary()?.try_into().ok()?;
    let nonce = reader.binary()?.try_into().ok()?;
    let sealed = reader.binary()?.to_vec();
    reader.0.is_empty().then_some(Envelope { cipher, iv, nonce, sealed })
}

/// The label and the key id of an older ciphertext that [`parse`] takes apart, for those who describe it.
pub(crate) fn label_and_id(ciphertext: &[u8]) -> Option<(String, String)> {
    if let Some(rest) = ciphertext.strip_prefix(&[0x95]) {
        let mut reader = MessagePack(rest);
        let mut text = || Some(String::from_utf8_lossy(reader.string()?).into_owned());
        return Some((text()?, text()?));
    }
    let [aead, id] = json::members(ciphertext, ["aead", "id"]).ok()?;
    Some((aead.text()?.to_owned(), id.text().unwrap_or_default().to_owned()))
}

/// The rest of a message-pack text. Every legal length form is accepted, also one longer than needed.
struct MessagePack<'a>(&'a [u8]);

impl<'a> MessagePack<'a> {
    fn string(&mut self) -> Option<&'a [u8]> {
        let length = match self.length(1)? {
            short @ 0xa0..=0xbf => short & 0x1f,
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return None,
        };
        self.take(length)
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let length = match self.length(1)? {
            0xc4 => self.length(1)?,
            0xc5 => self.length(2)?,
            0xc6 => self.length(4)?,
            _ => return None,
        };
        self.take(length)
    }

    /// A big-endian number of this many bytes.
    fn length(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
