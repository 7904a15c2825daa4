//! MinIO's built-in single-key KMS.

mod support;

use kes_crypto::static_key::{InvalidStaticKey, Spelling, StaticKey, context, is_dare, open, open_dare};
use kes_crypto::{Error, KeyType, SecretKey, base64};
use serde_json::Value;
use support::{file, hex, list, must_succeed, text};
use time::macros::datetime;

const FILE: &str = include_str!("vectors/minio-static-key.json");

fn canonical_context(vector: &Value) -> Vec<u8> {
    let members = vector["context"].as_object().expect("a map");
    context(members.iter().map(|(name, value)| (name, value.as_str().expect("a string"))))
}

#[test]
fn each_spelling_is_read_as_minio_does() {
    let file = file(FILE);
    for vector in list(&file, "parse", 11) {
        let id = text(vector, "id");
        let spelling = match text(vector, "variable") {
            "MINIO_KMS_SECRET_KEY" | "MINIO_KMS_SECRET_KEY_FILE" => Spelling::Base64,
            _ => Spelling::Hex,
        };
        let parsed = StaticKey::parse_as(text(vector, "value"), spelling);
        if must_succeed(vector) {
            let parsed = parsed.expect(id);
            assert_eq!(parsed.name(), text(vector, "name"), "{id}");
            assert_eq!(parsed.expose().as_slice(), hex(vector, "key"), "{id}");
            assert_eq!(StaticKey::parse(text(vector, "value")).expect(id).expose(), parsed.expose(), "{id}");
        } else {
            assert!(parsed.is_err(), "{id}");
        }
    }
}

#[test]
fn either_spelling_is_recognised() {
    let hex = "61".repeat(32);
    let base64 = base64::encode(&[b'a'; 32]);
    for text in [format!("k:{hex}"), format!("k:{hex}\n"), format!("k:{base64}"), format!("k:{base64}\r\n")] {
        assert_eq!(StaticKey::parse(&text).expect("either spelling").expose(), &[b'a'; 32]);
    }
    for (text, expected) in [
        (base64.clone(), InvalidStaticKey::NoColon),
        ("k:".to_owned(), InvalidStaticKey::Length),
        ("k:YWI=".to_owned(), InvalidStaticKey::Length),
        ("k:?".to_owned(), InvalidStaticKey::Encoding),
        (format!("a:b:{hex}"), InvalidStaticKey::Encoding),
    ] {
        assert_eq!(StaticKey::parse(&text).map(|_| ()), Err(expected), "{text}");
    }
}

#[test]
fn contexts_are_minios() {
    let file = file(FILE);
    for vector in list(&file, "context", 6) {
        let canonical = canonical_context(vector);
        assert_eq!(canonical, hex(vector, "aad"), "{}", vector["id"]);
        assert_eq!(canonical, text(vector, "aad_text").as_bytes());
    }
}

#[test]
fn a_context_need_not_be_utf8() {
    assert_eq!(context([(b"a".as_slice(), b"\xff\xed\xa0\x80\xe2\x82x".as_slice())]), {
        br#"{"a":"\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdx"}"#
    });
    assert_eq!(context([("a", "\u{7f}\u{8}\u{2029}")]), b"{\"a\":\"\x7f\\u0008\\u2029\"}");
    // Sorted by raw bytes, before escaping; of equal names the last wins.
    assert_eq!(context([("<", "1"), ("A", "2"), ("A", "3"), ("=", "4")]), br#"{"\u003c":"1","=":"4","A":"3"}"#);
}

#[test]
fn data_keys_of_every_age_open() {
    let file = file(FILE);
    for vector in list(&file, "dek", 4) {
        let id = text(vector, "id");
        assert_eq!(canonical_context(vector), hex(vector, "aad"), "{id}");
        let version = StaticKey::parse(&format!("k:{}", text(vector, "key")))
            .expect(id)
            .to_key_version(datetime!(2024-01-01 00:00:00 UTC), "");
        let ciphertext = base64::decode(text(vector, "ciphertext")).expect(id);
        let opened = open(version.key(), "any", &ciphertext, &hex(vector, "aad")).expect(id);
        assert_eq!(opened.expose(), hex(vector, "plaintext"), "{id}");

        if vector["form"] == "raw" {
            let random = [hex(vector, "iv"), hex(vector, "nonce")].concat().try_into().expect("28 bytes");
            let sealed = version.key().seal_with(&random, &hex(vector, "plaintext"), &hex(vector, "aad")).expect(id);
            assert_eq!(sealed, ciphertext, "{id}");
        }
    }
}

#[test]
fn the_static_key_is_its_own_hmac_key() {
    let file = file(FILE);
    for vector in list(&file, "mac", 2) {
        let static_key = StaticKey::parse(&format!("k:{}", text(vector, "key"))).expect("hex");
        let version = static_key.to_key_version(datetime!(2024-01-01 00:00:00 UTC), "");
        let sum = version.hmac_key().expect("its own").mac(&hex(vector, "message"));
        assert_eq!(sum.as_slice(), hex(vector, "sum"), "{}", vector["id"]);
    }
}

#[test]
fn sealed_keys_of_before_2021_open() {
    let file = file(FILE);
    for vector in list(&file, "legacy_dare", 4) {
        let id = text(vector, "id");
        let key = SecretKey::from_bytes(KeyType::Legacy, &hex(vector, "key")).expect("32 bytes");
        let sealed = base64::decode(text(vector, "sealed")).expect(id);
        let (name, context) = (text(vector, "name"), canonical_context(vector));
        assert!(is_dare(&sealed), "{id}");
        assert_eq!(open_dare(&key, name, &context, &sealed).expect(id).expose(), hex(vector, "plaintext"), "{id}");

        assert_eq!(open(&key, name, &context, &sealed).map(|_| ()), Err(Error::NotAuthentic), "{id}: swapped");
        assert_eq!(open(&key, name, &sealed, &context).expect(id).expose(), hex(vector, "plaintext"), "{id}");
        // A key of a recorded cipher was never MinIO's static key.
        let other = SecretKey::from_bytes(KeyType::Aes256, &hex(vector, "key")).expect("32 bytes");
        assert_eq!(open(&other, name, &sealed, &context).map(|_| ()), Err(Error::NotAuthentic), "{id}");

        assert_eq!(open_dare(&key, "other", &context, &sealed).map(|_| ()), Err(Error::NotAuthentic), "{id}");
        for bit in 0..8 * sealed.len() {
            let mut sealed = sealed.clone();
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_dare(&key, name, &context, &sealed).map(|_| ()), Err(Error::NotAuthentic), "{id} {bit}");
        }
        for length in 0..sealed.len() {
            let sealed = &sealed[..length];
            assert_eq!(open_dare(&key, name, &context, sealed).map(|_| ()), Err(Error::NotAuthentic), "{id} {length}");
        }
    }
}
