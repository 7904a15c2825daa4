//! What a store keeps under one name, and the forms it has been kept in.
//!
//! | written by | form |
//! |---|---|
//! | v0.1.0 – v0.4.0, filesystem | `{"name":"…","secret":"<base64>"}` |
//! | v0.1.0 – v0.4.0, Vault | base64 of the 32 key bytes |
//! | v0.4.1 – v0.19.1 | `{"bytes":"<base64>"}` |
//! | v0.19.2 – 2024-01-11 | the same with `algorithm`, `created_at`, `created_by`, later `version` |
//! | 2024-02-29 on, and we | base64 of a protobuf record, with an HMAC key |
//!
//! A record is never rewritten just because it was read: copying a key means copying its stored bytes.

use std::fmt;

use time::OffsetDateTime;
use time::macros::datetime;
use zeroize::{Zeroize, Zeroizing};

use crate::json::{self, Member};
use crate::protobuf::{self, Record};
use crate::secret::{KeyBytes, same_key};
use crate::{Error, HmacKey, KeyType, SecretKey, Unreadable, base64, rfc3339};

/// Go's zero time, which stands for "unknown" in old records.
const UNKNOWN_TIME: OffsetDateTime = datetime!(0001-01-01 00:00:00 UTC);

/// One version of a key: the secret key, the HMAC key, when it was created and by whom.
pub struct KeyVersion {
    key: SecretKey,
    hmac_key: Option<HmacKey>,
    created_at: OffsetDateTime,
    created_by: String,
}

impl KeyVersion {
    /// A record of these parts. `created_by` is the creator's identity (usually 64 hex digits), or empty.
    #[must_use]
    pub fn new(key: SecretKey, hmac_key: Option<HmacKey>, created_at: OffsetDateTime, created_by: &str) -> Self {
        Self { key, hmac_key, created_at, created_by: created_by.to_owned() }
    }

    /// A new key: random secret key, random HMAC key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate(key_type: KeyType, created_at: OffsetDateTime, created_by: &str) -> Result<Self, Error> {
        let key = SecretKey::generate(storable(key_type))?;
        Ok(Self::new(key, Some(HmacKey::generate()?), created_at, created_by))
    }

    /// A key with these 32 bytes and a fresh random HMAC key.
    ///
    /// # Errors
    /// [`Error::InvalidKeyLength`], [`Error::Random`].
    pub fn import(
        key_type: KeyType,
        bytes: &[u8],
        created_at: OffsetDateTime,
        created_by: &str,
    ) -> Result<Self, Error> {
        let key = SecretKey::from_bytes(storable(key_type), bytes)?;
        Ok(Self::new(key, Some(HmacKey::generate()?), created_at, created_by))
    }

    /// MinIO's static key as a record: of type [`KeyType::Legacy`], and its own HMAC key, because MinIO derives its root
    /// credentials from MACs under the key itself.
    ///
    /// The stored form is an ordinary AES256 record whose two keys are equal, which [`KeyVersion::parse`] recognises
    /// and MinIO KES reads as well.
    ///
    /// # Errors
    /// [`Error::InvalidKeyLength`].
    pub fn from_static_key(bytes: &[u8], created_at: OffsetDateTime, created_by: &str) -> Result<Self, Error> {
        let key = SecretKey::from_bytes(KeyType::Legacy, bytes)?;
        Ok(Self::new(key, Some(HmacKey::from_bytes(bytes)?), created_at, created_by))
    }

    /// The key that encrypts.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The key that makes MACs; records from before 2024-02-29 have none.
    #[must_use]
    pub fn hmac_key(&self) -> Option<&HmacKey> {
        self.hmac_key.as_ref()
    }

    /// When the key was created, with nanoseconds, in the offset it was stored with. Year 1 if a JSON record does not
    /// say, 1970 if a protobuf record does not.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }

    /// Who created the key: an identity or the admin's configured word; may be empty.
    #[must_use]
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// Reads a stored value of any release.
    ///
    /// # Errors
    /// [`Error::UnsupportedKey`], with the reason as its source.
    pub fn parse(stored: &[u8]) -> Result<Self, Error> {
        if stored.is_empty() {
            return Err(Unreadable::Empty.into());
        }
        // No base64 text begins with a brace, and of all JSON values only an object can be a key.
        if stored.trim_ascii_start().first() == Some(&b'{') {
            return Ok(parse_json(stored)?);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(stored.len()));
        base64::decode_into(stored, &mut bytes).map_err(|_| Unreadable::Base64)?;
        // Departs from upstream: the bare key bytes of v0.1.0 – v0.4.0 are read. A protobuf record is over twice as long.
        if bytes.len() == SecretKey::LEN {
            let key = SecretKey::from_bytes(KeyType::Legacy, &bytes)?;
            return Ok(Self::new(key, None, UNKNOWN_TIME, ""));
        }
        Ok(parse_record(protobuf::parse(&bytes)?)?)
    }

    /// The form to be stored: base64 of the protobuf record, as MinIO KES writes it byte for byte.
    ///
    /// # Errors
    /// [`Error::NoHmacKey`] for a key read from JSON: keep its stored bytes instead.
    pub fn encode(&self) -> Result<Encoded, Error> {
        let hmac_key = self.hmac_key.as_ref().ok_or(Error::NoHmacKey)?;
        let record = protobuf::write(&Record {
            key: Some(self.key.expose()),
            key_type: match self.key.key_type() {
                KeyType::Aes256 | KeyType::Legacy => AES256,
                KeyType::ChaCha20 => CHACHA20,
            },
            hmac_key: Some(hmac_key.expose()),
            hash: SHA256,
            seconds: self.created_at.unix_timestamp(),
            nanos: i32::try_from(self.created_at.nanosecond()).expect("below a billion"),
            created_by: &self.created_by,
        });
        let mut text = Vec::with_capacity(base64::encoded_len(record.len()));
        base64::encode_into(&record, &mut text);
        Ok(Encoded(text))
    }
}

impl fmt::Debug for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyVersion")
            .field("key", &self.key)
            .field("hmac_key", &self.hmac_key)
            .field("created_at", &rfc3339::format(self.created_at))
            .field("created_by", &self.created_by)
            .finish()
    }
}

/// A record in its stored form: secret bytes, wiped on drop, to be handed to a store.
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// The stored bytes: base64 text without a line break.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

/// Numbers of the protobuf record.
const AES256: u32 = 1;
const CHACHA20: u32 = 2;
const SHA256: u32 = 1;

/// The stored form has no word for "no cipher recorded", and a new key needs none.
fn storable(key_type: KeyType) -> KeyType {
    match key_type {
        KeyType::Aes256 | KeyType::Legacy => KeyType::Aes256,
        KeyType::ChaCha20 => KeyType::ChaCha20,
    }
}

fn parse_record(record: Record<'_>) -> Result<KeyVersion, Unreadable> {
    let key = record.key.ok_or(Unreadable::NoKey)?;
    let hmac_key = record.hmac_key.ok_or(Unreadable::NoHmacKey)?;
    let key = KeyBytes::copy_of(key).map_err(|_| Unreadable::KeyLength)?;
    let hmac_key = KeyBytes::copy_of(hmac_key).map_err(|_| Unreadable::HmacKeyLength)?;
    if record.hash != SHA256 {
        return Err(Unreadable::Hash);
    }
    let key_type = match record.key_type {
        // Departs from upstream: equal keys mark MinIO's static key, whose ciphertexts may be of either cipher.
        AES256 if same_key(key.expose(), hmac_key.expose()) => KeyType::Legacy,
        AES256 => KeyType::Aes256,
        CHACHA20 => KeyType::ChaCha20,
        _ => return Err(Unreadable::Cipher),
    };
    let created_at = OffsetDateTime::from_unix_timestamp(record.seconds)
        .ok()
        .and_then(|time| time.checked_add(time::Duration::nanoseconds(record.nanos.into())))
        .ok_or(Unreadable::CreatedAt)?;
    let key = SecretKey::from_key_bytes(key_type, key);
    Ok(KeyVersion::new(key, Some(HmacKey::from_key_bytes(hmac_key)), created_at, record.created_by))
}

fn parse_json(text: &[u8]) -> Result<KeyVersion, Unreadable> {
    let names = ["bytes", "algorithm", "created_at", "created_by", "name", "secret"];
    let [bytes, algorithm, created_at, created_by, name, secret] =
        json::members(text, names).map_err(|_| Unreadable::Json)?;

    let bytes = match (bytes, name, secret) {
        // Departs from upstream: the filesystem form of v0.1.0 – v0.4.0 is read.
        (Member::Absent, Member::Text(_), secret @ Member::Text(_)) => secret,
        (bytes, ..) => bytes,
    };
    let key = match optional_text(&bytes)? {
        Some(text) => key_bytes(text)?,
        None => return Err(Unreadable::NoKey),
    };
    let key_type = match optional_text(&algorithm)? {
        None | Some("") => KeyType::Legacy,
        Some(name) => KeyType::parse_import(name).ok_or(Unreadable::Cipher)?,
    };
    let created_at = match optional_text(&created_at)? {
        None => UNKNOWN_TIME,
        Some(text) => rfc3339::parse(text).ok_or(Unreadable::CreatedAt)?,
    };
    let created_by = optional_text(&created_by)?.unwrap_or_default();
    Ok(KeyVersion::new(SecretKey::from_key_bytes(key_type, key), None, created_at, created_by))
}

fn optional_text<'a>(member: &'a Member<'_>) -> Result<Option<&'a str>, Unreadable> {
    match member {
        Member::Absent => Ok(None),
        Member::Text(text) => Ok(Some(text)),
        Member::Other => Err(Unreadable::Json),
    }
}

fn key_bytes(base64: &str) -> Result<KeyBytes, Unreadable> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(base64.len()));
    base64::decode_into(base64, &mut bytes).map_err(|_| Unreadable::Base64)?;
    KeyBytes::copy_of(&bytes).map_err(|_| Unreadable::KeyLength)
}
