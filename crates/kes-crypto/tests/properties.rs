//! What must hold for every key, message and damaged input.

use kes_crypto::static_key::{StaticKey, context, open_dare};
use kes_crypto::{Error, HmacKey, KeyType, KeyVersion, SecretKey, base64, rfc3339};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use time::{OffsetDateTime, UtcOffset};

fn any_type() -> impl Strategy<Value = KeyType> {
    select(vec![KeyType::Aes256, KeyType::ChaCha20, KeyType::Legacy])
}

fn any_time() -> impl Strategy<Value = OffsetDateTime> {
    // From year 1 to year 9999.
    (-62_135_596_800_i64..253_402_300_800, 0_i128..1_000_000_000).prop_map(|(seconds, nanos)| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(seconds) * 1_000_000_000 + nanos).expect("in range")
    })
}

fn key(key_type: KeyType, bytes: [u8; 32]) -> SecretKey {
    SecretKey::from_bytes(key_type, &bytes).expect("32 bytes")
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        key_type in any_type(), bytes: [u8; 32], plaintext in vec(any::<u8>(), 0..600), context in vec(any::<u8>(), 0..300),
    ) {
        let key = key(key_type, bytes);
        let ciphertext = key.seal(&plaintext, &context).expect("random bytes");
        prop_assert_eq!(ciphertext.len(), plaintext.len() + SecretKey::OVERHEAD);
        let opened = key.open(&ciphertext, &context).expect("just sealed");
        prop_assert_eq!(opened.expose(), &plaintext);
    }

    /// A stream cipher lets us choose the plaintext that gives the wanted first byte.
    #[test]
    fn raw_ciphertexts_that_begin_like_an_envelope_open(
        key_type in any_type(), bytes: [u8; 32], random: [u8; 28], first in select(vec![0x7b_u8, 0x95]),
        mut plaintext in vec(any::<u8>(), 1..100),
    ) {
        let key = key(key_type, bytes);
        plaintext[0] ^= key.seal_with(&random, &plaintext, b"").expect("short")[0] ^ first;
        let ciphertext = key.seal_with(&random, &plaintext, b"").expect("short");
        prop_assert_eq!(ciphertext[0], first);
        let opened = key.open(&ciphertext, b"").expect("raw");
        prop_assert_eq!(opened.expose(), &plaintext);
    }

    #[test]
    fn any_single_flipped_bit_fails(
        key_type in any_type(), bytes: [u8; 32], random: [u8; 28],
        plaintext in vec(any::<u8>(), 0..40), context in vec(any::<u8>(), 1..20),
    ) {
        let key = key(key_type, bytes);
        let ciphertext = key.seal_with(&random, &plaintext, &context).expect("short");
        for bit in 0..8 * ciphertext.len() {
            let mut changed = ciphertext.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.open(&changed, &context).map(|_| ()), Err(Error::NotAuthentic));
        }
        for bit in 0..8 * context.len() {
            let mut changed = context.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.open(&ciphertext, &changed).map(|_| ()), Err(Error::NotAuthentic));
        }
    }

    #[test]
    fn a_truncated_ciphertext_fails(key_type in any_type(), bytes: [u8; 32], plaintext in vec(any::<u8>(), 0..40)) {
        let key = key(key_type, bytes);
        let ciphertext = key.seal(&plaintext, b"").expect("random bytes");
        for length in 0..ciphertext.len() {
            prop_assert_eq!(key.open(&ciphertext[..length], b"").map(|_| ()), Err(Error::NotAuthentic));
        }
    }

    #[test]
    fn decoding_an_encoded_key_gives_the_key(
        key_type in select(vec![KeyType::Aes256, KeyType::ChaCha20]),
        secret: [u8; 32], hmac: [u8; 32], created_at in any_time(), hours in -12_i8..=14, created_by in ".{0,80}",
    ) {
        let offset = UtcOffset::from_hms(hours, 0, 0).expect("in range");
        let Some(created_at) = created_at.checked_to_offset(offset) else { return Ok(()) };
        let hmac_key = HmacKey::from_bytes(&hmac).expect("32 bytes");
        let version = KeyVersion::new(key(key_type, secret), Some(hmac_key), created_at, &created_by);
        let encoded = version.encode().expect("has an HMAC key");
        let read = KeyVersion::parse(encoded.expose()).expect("own form");
        prop_assert_eq!(read.key().expose(), &secret);
        prop_assert_eq!(read.key().key_type(), key_type);
        prop_assert_eq!(read.hmac_key().map(HmacKey::expose), Some(&hmac));
        prop_assert_eq!(read.created_at(), created_at);
        prop_assert_eq!(read.created_by(), created_by);
    }

    #[test]
    fn times_are_printed_and_read(created_at in any_time(), hours in -12_i8..=14, minutes in 0_i8..60) {
        let offset = UtcOffset::from_hms(hours, if hours < 0 { -minutes } else { minutes }, 0).expect("in range");
        let Some(time) = created_at.checked_to_offset(offset) else { return Ok(()) };
        prop_assume!((0..=9999).contains(&time.year()));
        let read = rfc3339::parse(&rfc3339::format(time)).expect("just printed");
        prop_assert_eq!((read, read.offset()), (time, offset));
    }

    #[test]
    fn base64_is_undone(bytes in vec(any::<u8>(), 0..200), breaks in vec(any::<proptest::sample::Index>(), 0..5)) {
        let mut text = base64::encode(&bytes).into_bytes();
        for at in breaks {
            text.insert(at.index(text.len() + 1), b'\n');
        }
        prop_assert_eq!(base64::decode(&text), Ok(bytes));
    }

    #[test]
    fn contexts_are_json(members in proptest::collection::btree_map(".{0,20}", ".{0,20}", 0..5)) {
        let text = context(&members);
        let read: std::collections::BTreeMap<String, String> = serde_json::from_slice(&text).expect("JSON");
        prop_assert_eq!(read, members);
    }

    #[test]
    fn no_ciphertext_makes_a_panic(
        key_type in any_type(), start in select(vec![&b""[..], b"\x95", b"\x95\xa6AES256\xa0", b"{", b"{\"aead\":"]),
        rest in vec(any::<u8>(), 0..200),
    ) {
        let ciphertext = [start, &rest].concat();
        let key = key(key_type, [1; 32]);
        prop_assert_eq!(key.open(&ciphertext, b"").map(|_| ()), Err(Error::NotAuthentic));
        prop_assert_eq!(open_dare(&key, "name", b"{}", &ciphertext).map(|_| ()), Err(Error::NotAuthentic));
    }

    #[test]
    fn no_stored_value_makes_a_panic(bytes in vec(any::<u8>(), 0..300), text in ".{0,100}") {
        let _ = KeyVersion::parse(&bytes);
        let _ = KeyVersion::parse(base64::encode(&bytes).as_bytes());
        let _ = KeyVersion::parse(text.as_bytes());
        let _ = KeyVersion::parse(format!("{{\"bytes\":\"{text}").as_bytes());
        let _ = rfc3339::parse(&text);
        let _ = StaticKey::parse(&text);
        let _ = StaticKey::parse(&format!("name:{text}"));
    }

    /// Closer to the real thing than random bytes: a good record with a few bytes changed.
    #[test]
    fn no_damaged_record_makes_a_panic(changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)) {
        let hmac_key = HmacKey::from_bytes(&[1; 32]).expect("32 bytes");
        let version = KeyVersion::new(key(KeyType::Aes256, [2; 32]), Some(hmac_key), OffsetDateTime::UNIX_EPOCH, "creator");
        let mut record = base64::decode(version.encode().expect("has an HMAC key").expose()).expect("base64");
        for (at, byte) in changes {
            let at = at.index(record.len());
            record[at] = byte;
        }
        let _ = KeyVersion::parse(base64::encode(&record).as_bytes());
    }
}
