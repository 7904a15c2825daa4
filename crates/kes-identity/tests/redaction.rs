//! Whatever is formatted, no secret is in it.

use kes_identity::{ApiKey, Authority, Error, Template, pem};
use time::macros::datetime;

const SEED: &str = "SvpLi3LKyYKhzJRmgVDDUwkxaoJ6Z9uC8KKAKAUqgsA";

#[test]
fn debug_shows_no_secret() {
    let start = datetime!(2030-01-01 0:00 UTC);
    let key: ApiKey = "AEr6S4tyysmCocyUZoFQw1MJMWqCemfbgvCigCgFKoLA".parse().unwrap();
    let certificate = key.certificate(start).unwrap();
    let pem = certificate.key_to_pem();
    let block = pem::blocks(pem.expose().as_bytes()).next().unwrap().unwrap();
    let authority = Authority::generate("ca", start, start).unwrap();
    let shown = [
        format!("{key:?} {:?}", key.to_text()),
        format!("{certificate:?} {:?} {pem:?}", certificate.key()),
        format!("{:?} {block:?}", certificate.certified_key()),
        format!("{authority:?} {:?}", authority.key()),
        format!("{:?}", pem::encrypt_private_key(certificate.key(), "hunter2").unwrap()),
        format!("{:?}", Template::new("x", start, start)),
    ]
    .concat();
    let bytes = certificate.key().expose().secret_der();
    let seed = &bytes[bytes.len() - 32..];
    let listed = format!("{seed:?}");
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    for secret in [SEED, "r6S4tyysmCocyUZoFQw1MJMWqCemfbgv", listed.trim_matches(['[', ']']), &hex, "hunter2"] {
        assert!(!shown.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in {shown}");
    }
    assert!(shown.contains(key.identity().as_str()));
}

/// A text that failed to be an API key may be one with a typing error.
#[test]
fn errors_do_not_repeat_a_key() {
    for text in
        ["kes:v1:AEr6S4tyysmCocyUZoFQw1MJMWqCemfbgvCigCgFKoL", "kes:v1:AEr6S4tyysmCocyUZoFQw1MJMWqCemfbgvCigCgFKoLA!"]
    {
        let error: Error = text.parse::<ApiKey>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("S4tyys"));
    }
}
