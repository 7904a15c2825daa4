//! No type shows its secret.

use std::fmt::Debug;

use kes_crypto::static_key::StaticKey;
use kes_crypto::{HmacKey, KeyType, KeyVersion, SecretKey, base64};
use time::macros::datetime;

const SECRET: [u8; 32] = *b"Xx0123456789-secret-secret-yyzzX";

fn assert_hidden(value: &dyn Debug) {
    for printed in [format!("{value:?}"), format!("{value:#?}"), format!("{value:x?}")] {
        let decimal = format!("{SECRET:?}");
        let hex = format!("{SECRET:x?}");
        let base64 = base64::encode(&SECRET);
        let inner = &base64[1..base64.len() - 2];
        for shown in ["secret", &decimal[1..20], &hex[1..20], inner, "58783031"] {
            assert!(!printed.contains(shown), "{printed}");
        }
    }
}

#[test]
fn no_type_prints_its_secret() {
    let key = SecretKey::from_bytes(KeyType::ChaCha20, &SECRET).expect("32 bytes");
    let version =
        KeyVersion::from_static_key(&SECRET, datetime!(2024-01-01 00:00:00 UTC), "creator").expect("32 bytes");
    let sealed = key.seal(&SECRET, b"").expect("random bytes");
    assert_hidden(&key);
    assert_hidden(&version);
    assert_hidden(&version.encode().expect("has an HMAC key"));
    assert_hidden(&HmacKey::from_bytes(&SECRET).expect("32 bytes"));
    assert_hidden(&StaticKey::parse(&format!("name:{}", base64::encode(&SECRET))).expect("base64"));
    assert_hidden(&key.open(&sealed, b"").expect("just sealed"));
}

#[test]
fn what_is_printed_helps() {
    let key = SecretKey::from_bytes(KeyType::Aes256, &SECRET).expect("32 bytes");
    assert_eq!(format!("{key:?}"), "SecretKey(Aes256)");
    let data_key = key.generate_data_key(b"").expect("random bytes");
    assert_eq!(format!("{:?}", data_key.plaintext), "Plaintext(32 bytes)");
    let version =
        KeyVersion::from_static_key(&SECRET, datetime!(2024-01-01 00:00:00 UTC), "creator").expect("32 bytes");
    assert_eq!(
        format!("{version:?}"),
        "KeyVersion { key: SecretKey(Legacy), hmac_key: Some(HmacKey(SHA256)), \
         created_at: \"2024-01-01T00:00:00Z\", created_by: \"creator\" }"
    );
}

#[test]
fn errors_name_no_secret() {
    let text = format!("no-colon-{}", base64::encode(&SECRET));
    assert_hidden(&StaticKey::parse(&text).expect_err("no colon"));
    assert_hidden(&KeyVersion::parse(&SECRET).expect_err("no key"));
}
