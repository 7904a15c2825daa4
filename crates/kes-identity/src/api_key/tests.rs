use proptest::prelude::*;

use super::*;

/// Produced by the old release.
const VECTORS: [(u8, &str, &str); 3] = [
    (
        0,
        "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23",
    ),
    (
        1,
        "kes:v1:AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
        "fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2",
    ),
    (
        2,
        "kes:v1:AAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
        "47dea58ea00fae9417ee19d76755bfef690899021132effb04fe1f9e4f0c8059",
    ),
];

#[test]
fn old_keys_have_their_old_identities() {
    for (byte, text, identity) in VECTORS {
        for text in [text, &text[PREFIX.len()..]] {
            let key: ApiKey = text.parse().unwrap();
            assert_eq!(*key.seed, [byte; 32]);
            assert_eq!(key.identity().as_str(), identity);
        }
        assert_eq!(ApiKey::from_seed(Zeroizing::new([byte; 32])).to_text().expose(), text);
    }
}

#[test]
fn errors_are_those_of_the_old_command_line() {
    // Each was asked of the old release.
    for (text, error) in [
        ("!!!", "illegal base64 data at input byte 0"),
        ("AAA", "illegal base64 data at input byte 0"),
        ("", "kes: invalid API key: invalid length"),
        ("AAAA", "kes: invalid API key: invalid length"),
        ("AAAAA!AA", "illegal base64 data at input byte 5"),
        ("AA=A", "illegal base64 data at input byte 2"),
        ("AA==AAAA", "illegal base64 data at input byte 4"),
        ("AAA=", "kes: invalid API key: invalid length"),
        ("A=AA", "illegal base64 data at input byte 1"),
        ("AA=", "illegal base64 data at input byte 3"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "kes: invalid API key: invalid length"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "illegal base64 data at input byte 40"),
        ("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "kes: invalid API key: unsupported type"),
    ] {
        assert_eq!(format!("{PREFIX}{text}").parse::<ApiKey>().unwrap_err().to_string(), error, "{text}");
        assert_eq!(text.parse::<ApiKey>().unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn line_breaks_are_skipped() {
    let text = VECTORS[1].1;
    let broken = format!("{}\r\n{}\n", &text[..20], &text[20..]);
    assert_eq!(broken.parse::<ApiKey>().unwrap().identity().as_str(), VECTORS[1].2);
}

#[test]
fn the_prefix_may_be_asked_for() {
    let text = VECTORS[0].1;
    assert!(ApiKey::parse_prefixed(text).is_ok());
    assert_eq!(ApiKey::parse_prefixed(&text[PREFIX.len()..]).unwrap_err(), Error::NoPrefix);
    assert_eq!(ApiKey::parse_prefixed("kes:v1:").unwrap_err(), Error::InvalidLength);
}

#[test]
fn generated_keys_differ_and_survive_their_text() {
    let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    assert_ne!(one.identity(), two.identity());
    assert_eq!(one.to_text().expose().len(), 51);
    assert_eq!(one.to_text().expose().parse::<ApiKey>().unwrap().identity(), one.identity());
}

#[test]
fn comes_back_from_its_private_key() {
    let key = ApiKey::generate().unwrap();
    let certificate = key.certificate(OffsetDateTime::UNIX_EPOCH).unwrap();
    let again = ApiKey::from_pkcs8(certificate.key().expose().secret_der()).unwrap();
    assert_eq!(again.to_text().expose(), key.to_text().expose());
    assert_eq!(ApiKey::from_pkcs8(b"").unwrap_err(), Error::NotEd25519);
    let other = Signer::generate_p256().unwrap().private_key();
    assert_eq!(ApiKey::from_pkcs8(other.expose().secret_der()).unwrap_err(), Error::NotEd25519);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(kes:v1:)?[A-Za-z0-9+/=\\n !ä]{0,60}") {
        let _ = text.parse::<ApiKey>();
    }

    #[test]
    fn every_seed_survives_its_text(seed: [u8; 32]) {
        let key = ApiKey::from_seed(Zeroizing::new(seed));
        prop_assert_eq!(*key.to_text().expose().parse::<ApiKey>().unwrap().seed, seed);
    }
}
