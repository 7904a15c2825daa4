use time::Duration;
use time::macros::datetime;
use x509_parser::x509::X509Version;

use super::*;
use crate::ApiKey;

const NOW: OffsetDateTime = datetime!(2030-06-01 12:00:30.7 +02:00);

fn api_key_certificate() -> (ApiKey, Certificate) {
    let key: ApiKey = "AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB".parse().unwrap();
    let certificate = key.certificate(NOW).unwrap();
    (key, certificate)
}

#[test]
fn api_key_certificates_are_as_they_always_were() {
    let (key, certificate) = api_key_certificate();
    let parsed = x509::parse(certificate.leaf()).unwrap();
    assert_eq!(certificate.chain().len(), 1);
    assert_eq!(&certificate.identity(), key.identity());
    assert_eq!(parsed.version(), X509Version::V3);
    assert_eq!(parsed.subject().to_string(), format!("CN={}", key.identity()));
    assert_eq!(parsed.subject().as_raw(), parsed.issuer().as_raw());
    assert_eq!(parsed.validity().not_before.to_datetime(), datetime!(2030-06-01 9:00:30 UTC));
    assert_eq!(parsed.validity().not_after.to_datetime(), datetime!(2030-08-30 10:00:30 UTC));
    assert!((9..=17).contains(&parsed.raw_serial().len()), "128 random bits");

    let extensions: Vec<_> =
        parsed.extensions().iter().map(|extension| (extension.oid.to_id_string(), extension.critical)).collect();
    let expected = [("2.5.29.15", true), ("2.5.29.37", false), ("2.5.29.19", true)];
    assert_eq!(extensions, expected.map(|(oid, critical)| (oid.to_owned(), critical)));
    assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, 1, "digitalSignature");
    assert_eq!(certificate.facts().usages, ["clientAuth"]);
    assert_eq!(parsed.extensions()[2].value, [0x30, 0], "CA:FALSE is an empty sequence");
}

#[test]
fn serials_are_fresh() {
    let (key, one) = api_key_certificate();
    let two = key.certificate(NOW).unwrap();
    assert_ne!(one.leaf(), two.leaf());
    assert_eq!(one.identity(), two.identity());
}

#[test]
fn new_identities_carry_names_and_any_dates() {
    let key = ApiKey::generate().unwrap();
    let certificate = key
        .certificate_from(&Template {
            dns: vec!["kes.example.com".to_owned(), "*.kes.local".to_owned()],
            ips: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            ..Template::new("Jürgen", NOW, NOW - Duration::DAY)
        })
        .unwrap();
    let facts = certificate.facts();
    assert_eq!(facts.subject, "CN=Jürgen");
    assert_eq!(facts.names, ["kes.example.com", "*.kes.local", "127.0.0.1", "::1"]);
    assert_eq!(facts.usages, ["clientAuth", "serverAuth"]);
    assert_eq!(facts.not_before - facts.not_after, Duration::DAY);
    assert_eq!(&facts.identity, key.identity());
    assert!(!facts.is_ca && facts.self_issued);
    assert_eq!(certificate.require_names(), Ok(()));
}

#[test]
fn what_a_certificate_cannot_hold_is_refused() {
    let dns = Template { dns: vec!["bücher.example".to_owned()], ..Template::new("x", NOW, NOW) };
    let error = Certificate::self_signed(KeyKind::Ed25519, &dns).unwrap_err();
    assert_eq!(error, Error::InvalidName("bücher.example".to_owned()));
    for year in [-1, 0] {
        let ancient = NOW.replace_year(year).unwrap();
        let error = Certificate::self_signed(KeyKind::Ed25519, &Template::new("x", ancient, NOW)).unwrap_err();
        assert_eq!(error, Error::InvalidDates);
    }
    let last = datetime!(9999-12-31 23:59:59 UTC);
    assert!(Certificate::self_signed(KeyKind::Ed25519, &Template::new("x", NOW, last)).is_ok());
    assert_eq!(ApiKey::generate().unwrap().certificate(last).unwrap_err(), Error::InvalidDates);
}

#[test]
fn dev_certificates_are_ecdsa() {
    let template = Template { usages: vec![Usage::ServerAuth], ..Template::new("localhost", NOW, NOW) };
    let certificate = Certificate::self_signed(KeyKind::EcdsaP256, &template).unwrap();
    let parsed = x509::parse(certificate.leaf()).unwrap();
    assert_eq!(parsed.public_key().algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1");
    assert_eq!(certificate.require_names(), Err(pem::Error::NoNames));
    assert_eq!(pem::Error::NoNames.to_string(), "certificate does not contain any DNS or IP address as SAN");
}

#[test]
fn chain_and_key_must_belong_together() {
    let (_, one) = api_key_certificate();
    let two = Certificate::self_signed(KeyKind::EcdsaP256, &Template::new("x", NOW, NOW)).unwrap();
    let key = |of: &Certificate| PrivateKey::new(of.key().expose().clone_key());
    let third = Certificate::self_signed(KeyKind::EcdsaP256, &Template::new("x", NOW, NOW)).unwrap();
    let mismatch = Certificate::new(third.chain().to_vec(), key(&two)).unwrap_err();
    assert_eq!(mismatch.to_string(), "tls: private key does not match public key");
    let mismatch = Certificate::new(one.chain().to_vec(), key(&two)).unwrap_err();
    assert_eq!(mismatch.to_string(), "tls: private key type does not match public key type");
    assert_eq!(Certificate::new(Vec::new(), key(&two)).unwrap_err(), pem::Error::Empty);
    assert!(Certificate::new(two.chain().to_vec(), key(&two)).is_ok());
}

#[test]
fn survives_its_pem() {
    let (_, certificate) = api_key_certificate();
    let chain = pem::certificates(certificate.to_pem().as_bytes()).unwrap();
    let key = pem::private_key(certificate.key_to_pem().expose().as_bytes(), None).unwrap();
    assert_eq!(Certificate::new(chain, key).unwrap().identity(), certificate.identity());
}
