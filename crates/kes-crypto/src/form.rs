//! What a ciphertext shows of itself without its key: how it is laid out, which cipher its label names, whose key made it.
//!
//! For inventories before a move: programs other than this one read only some of the forms that MinIO KES has written.

use std::fmt;

use ring::digest::{SHA256, digest};

use crate::message_key::Cipher;
use crate::static_key::is_dare;
use crate::{KeyType, SecretKey, envelope};

/// How a ciphertext is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// `sealed || iv || nonce`, since 2024-02-29. Anything else that no envelope is recognised in counts as raw too.
    Raw,
    /// A message-pack array, v0.19.2 to 2024-01-11.
    MessagePack,
    /// A JSON object, up to v0.19.1, and of MinIO's static key from 2021-05 to 2024-05.
    Json,
    /// Not of KES: a sealed key of MinIO's static key up to RELEASE.2021-04-22, one DARE 2.0 package.
    Dare,
    /// Not of KES: Vault's transit engine made it for a MinIO without KES, before 2021.
    VaultTransit,
}

impl Layout {
    /// One word: `raw`, `message-pack`, `json`, `dare`, `vault-transit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::MessagePack => "message-pack",
            Self::Json => "json",
            Self::Dare => "dare",
            Self::VaultTransit => "vault-transit",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a ciphertext shows of itself.
///
/// ```
/// use kes_crypto::{Form, KeyType, Layout};
///
/// let text = br#"{"aead":"ChaCha20Poly1305","iv":"AAAAAAAAAAAAAAAAAAAAAA==","nonce":"AAAAAAAAAAAAAAAA","bytes":"AAAA"}"#;
/// let form = Form::of(text);
/// assert_eq!((form.layout, form.generation, form.label), (Layout::Json, "G1", Some(KeyType::ChaCha20)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Form {
    /// How it is laid out.
    pub layout: Layout,
    /// The generation of MinIO KES that wrote it: `G0` (up to v0.6.0), `G1` (up to v0.15.1), `G2` (up to v0.19.1), `G3a`
    /// (up to 2023-09-28), `G3c` (up to 2024-01-11), `G4` (since 2024-02-29); empty for what is not of KES.
    pub generation: &'static str,
    /// The cipher that the ciphertext itself names. A raw one names none: there it is the key's.
    pub label: Option<KeyType>,
    /// The [id](Form::key_id) of the key that made it, if the ciphertext tells.
    pub key_id: Option<String>,
}

impl Form {
    /// Describes a ciphertext. Everything has a form; whether it opens only the key can tell.
    #[must_use]
    pub fn of(ciphertext: &[u8]) -> Self {
        let bare = |layout, generation| Self { layout, generation, label: None, key_id: None };
        let Some(envelope) = envelope::parse(ciphertext, KeyType::Legacy) else {
            return match ciphertext {
                sealed if is_dare(sealed) => bare(Layout::Dare, ""),
                [b'v', b'a', b'u', b'l', b't', b':', b'v', ..] => bare(Layout::VaultTransit, ""),
                _ => bare(Layout::Raw, "G4"),
            };
        };
        let (label, id) = envelope::label_and_id(ciphertext).unwrap_or_default();
        let key_id = (!id.is_empty()).then_some(id);
        let (layout, generation) = match label.as_str() {
            "AES-256-GCM" => (Layout::Json, "G0"),
            "AES-256-GCM-HMAC-SHA-256" | "ChaCha20Poly1305" if key_id.is_some() => (Layout::Json, "G2"),
            "AES-256-GCM-HMAC-SHA-256" | "ChaCha20Poly1305" => (Layout::Json, "G1"),
            "AES256" | "ChaCha20" => (Layout::MessagePack, "G3c"),
            _ => (Layout::MessagePack, "G3a"),
        };
        let label = match envelope.cipher {
            Cipher::Aes | Cipher::EarlyAes => KeyType::Aes256,
            Cipher::ChaCha => KeyType::ChaCha20,
        };
        Self { layout, generation, label: Some(label), key_id }
    }

    /// The id that envelopes of a key carry: the first 16 bytes of the SHA-256 of its 32 bytes, in hex.
    #[must_use]
    pub fn key_id(key: &SecretKey) -> String {
        digest(&SHA256, key.expose()).as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
