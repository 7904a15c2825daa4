//! Stored keys of every release are read, and ours are theirs byte for byte.

mod support;

use kes_crypto::{Error, HmacKey, KeyType, KeyVersion, Unreadable, base64, rfc3339};
use serde_json::Value;
use support::{file, hex, key, key_type, list, must_succeed, text};
use time::macros::datetime;

const FILE: &str = include_str!("vectors/key-versions.json");

/// The stored bytes; in one vector each code point stands for a byte.
fn stored(vector: &Value) -> Vec<u8> {
    let encoded = text(vector, "encoded");
    if text(vector, "id") == "pb-err-raw-binary" {
        return encoded.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect();
    }
    encoded.as_bytes().to_vec()
}

#[test]
fn every_stored_form_is_read_or_refused_as_it_must() {
    let file = file(FILE);
    for vector in list(&file, "vectors", 50) {
        let id = text(vector, "id");
        let parsed = KeyVersion::parse(&stored(vector));
        // Departs from upstream: the two forms of v0.1.0 – v0.4.0 are read, and an empty value or a missing
        // sub-message is an ordinary error (upstream's request breaks).
        if !must_succeed(vector) {
            assert!(matches!(parsed, Err(Error::UnsupportedKey(_))), "{id}");
            continue;
        }
        let parsed = parsed.expect(id);
        assert_eq!(parsed.key().expose().as_slice(), hex(vector, "key"), "{id}");
        assert_eq!(parsed.key().key_type(), key_type(vector), "{id}");
        let hmac_key = parsed.hmac_key().map(|key| key.expose().to_vec());
        assert_eq!(hmac_key, vector["hmac_key"].as_str().map(|_| hex(vector, "hmac_key")), "{id}");
        assert_eq!(Some(parsed.created_at()), rfc3339::parse(text(vector, "created_at")), "{id}");
        assert_eq!(parsed.created_by(), text(vector, "created_by"), "{id}");

        match parsed.encode() {
            Ok(encoded) if vector["canonical"] == true => assert_eq!(encoded.expose(), stored(vector), "{id}"),
            Ok(_) => assert!(parsed.hmac_key().is_some(), "{id}"),
            Err(error) => assert_eq!((error, hmac_key), (Error::NoHmacKey, None), "{id}"),
        }
    }
}

#[test]
fn our_records_are_theirs_byte_for_byte() {
    let file = file(FILE);
    let canonical = list(&file, "vectors", 50).iter().filter(|vector| vector["canonical"] == true);
    let mut encoded = 0;
    for vector in canonical {
        let hmac_key = HmacKey::from_bytes(&hex(vector, "hmac_key")).expect("32 bytes");
        let created_at = rfc3339::parse(text(vector, "created_at")).expect("a time");
        let version = KeyVersion::new(key(vector), Some(hmac_key), created_at, text(vector, "created_by"));
        assert_eq!(version.encode().expect("has an HMAC key").expose(), stored(vector), "{}", vector["id"]);
        encoded += 1;
    }
    assert_eq!(encoded, 6);
}

#[test]
fn a_stored_time_keeps_its_offset() {
    let file = file(FILE);
    let vector = list(&file, "vectors", 50).iter().find(|vector| vector["id"] == "json-pretty").expect("present");
    let created_at = KeyVersion::parse(&stored(vector)).expect("readable").created_at();
    assert_eq!(rfc3339::format(created_at), "2023-03-15T01:42:00+02:00");
}

#[test]
fn the_reason_tells_what_is_wrong() {
    let file = file(FILE);
    let reasons = [
        ("pb-err-key-31", Unreadable::KeyLength),
        ("pb-err-type-3", Unreadable::Cipher),
        ("pb-err-hash-2", Unreadable::Hash),
        ("pb-err-hmac-empty", Unreadable::HmacKeyLength),
        ("pb-err-hmac-missing", Unreadable::NoHmacKey),
        ("pb-err-key-missing", Unreadable::NoKey),
        ("pb-err-truncated", Unreadable::Protobuf),
        ("pb-err-base64-url", Unreadable::Base64),
        ("pb-err-empty", Unreadable::Empty),
        ("json-err-bytes-31", Unreadable::KeyLength),
        ("json-err-bytes-missing", Unreadable::NoKey),
        ("json-err-algorithm", Unreadable::Cipher),
        ("json-err-created-at", Unreadable::CreatedAt),
        ("json-err-trailing", Unreadable::Json),
    ];
    for (id, reason) in reasons {
        let vector = list(&file, "vectors", 50).iter().find(|vector| vector["id"] == id).expect(id);
        let error = KeyVersion::parse(&stored(vector)).map(|_| ()).expect_err(id);
        assert_eq!(error, Error::UnsupportedKey(reason), "{id}");
        let source = std::error::Error::source(&error).expect("the reason");
        assert_eq!(source.to_string(), reason.to_string());
    }
}

#[test]
fn generated_keys_are_independent() {
    let time = datetime!(2024-01-01 00:00:00.5 UTC);
    for key_type in [KeyType::Aes256, KeyType::ChaCha20] {
        let version = KeyVersion::generate(key_type, time, "creator").expect("random bytes");
        let other = KeyVersion::generate(key_type, time, "creator").expect("random bytes");
        assert_ne!(version.key().expose(), other.key().expose());
        assert_ne!(version.key().expose(), version.hmac_key().expect("new keys have one").expose());
        let read = KeyVersion::parse(version.encode().expect("new keys encode").expose()).expect("own form");
        assert_eq!(read.key().expose(), version.key().expose());
        assert_eq!(read.key().key_type(), key_type);
        assert_eq!(read.hmac_key().map(HmacKey::expose), version.hmac_key().map(HmacKey::expose));
        assert_eq!((read.created_at(), read.created_by()), (time, "creator"));
    }
}

#[test]
fn an_import_draws_a_new_hmac_key() {
    let time = datetime!(2024-01-01 00:00:00 UTC);
    let import = || KeyVersion::import(KeyType::ChaCha20, &[9; 32], time, "").expect("32 bytes");
    let (first, second) = (import(), import());
    assert_eq!(first.key().expose(), &[9; 32]);
    assert_eq!(first.key().key_type(), KeyType::ChaCha20);
    assert_ne!(first.hmac_key().map(HmacKey::expose), second.hmac_key().map(HmacKey::expose));
    assert_eq!(KeyVersion::import(KeyType::Aes256, &[9; 31], time, "").map(|_| ()), Err(Error::InvalidKeyLength));
    // What cannot be stored is not promised before it is stored.
    let legacy = KeyVersion::import(KeyType::Legacy, &[9; 32], time, "").expect("32 bytes");
    assert_eq!(legacy.key().key_type(), KeyType::Aes256);
}

#[test]
fn equal_keys_mark_a_static_key() {
    // Departs from upstream: such a record opens ciphertexts of both ciphers.
    let time = datetime!(2024-01-01 00:00:00 UTC);
    let version = KeyVersion::from_static_key(&[9; 32], time, "").expect("32 bytes");
    assert_eq!(version.key().key_type(), KeyType::Legacy);
    let encoded = version.encode().expect("has an HMAC key");
    // An ordinary AES256 record: the old server reads it.
    assert_eq!(base64::decode(encoded.expose()).expect("base64")[36..38], [0x10, 1]);

    let read = KeyVersion::parse(encoded.expose()).expect("own form");
    assert_eq!(read.key().key_type(), KeyType::Legacy);
    assert_eq!(read.hmac_key().expect("kept").expose(), &[9; 32]);
    assert_eq!(read.encode().expect("has an HMAC key").expose(), encoded.expose());
}

#[test]
fn equal_keys_of_the_other_cipher_mark_nothing() {
    let key = kes_crypto::SecretKey::from_bytes(KeyType::ChaCha20, &[9; 32]).expect("32 bytes");
    let hmac_key = HmacKey::from_bytes(&[9; 32]).expect("32 bytes");
    let version = KeyVersion::new(key, Some(hmac_key), datetime!(2024-01-01 00:00:00 UTC), "");
    let read = KeyVersion::parse(version.encode().expect("has an HMAC key").expose()).expect("own form");
    assert_eq!(read.key().key_type(), KeyType::ChaCha20);
}

#[test]
fn an_early_secret_needs_its_name() {
    let bytes = base64::encode(&[9; 32]);
    let parse = |text: String| KeyVersion::parse(text.as_bytes()).map(|version| *version.key().expose());
    assert_eq!(parse(format!(r#"{{"name":"a","secret":"{bytes}"}}"#)), Ok([9; 32]));
    assert_eq!(parse(format!(r#"{{"secret":"{bytes}"}}"#)), Err(Error::UnsupportedKey(Unreadable::NoKey)));
    assert_eq!(parse(format!(r#"{{"name":1,"secret":2,"bytes":"{bytes}"}}"#)), Ok([9; 32]));
    assert_eq!(
        parse(format!(r#"{{"bytes":1,"name":"a","secret":"{bytes}"}}"#)),
        Err(Error::UnsupportedKey(Unreadable::Json))
    );
}

#[test]
fn a_time_out_of_range_is_refused() {
    let hmac_key = HmacKey::from_bytes(&[1; 32]).expect("32 bytes");
    let key = kes_crypto::SecretKey::from_bytes(KeyType::Aes256, &[2; 32]).expect("32 bytes");
    let version = KeyVersion::new(key, Some(hmac_key), datetime!(1970-01-01 00:00:00 UTC), "");
    let mut record = base64::decode(version.encode().expect("has an HMAC key").expose()).expect("base64");
    record.extend([0x1a, 10, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(
        KeyVersion::parse(base64::encode(&record).as_bytes()).map(|_| ()),
        Err(Error::UnsupportedKey(Unreadable::CreatedAt))
    );
}
