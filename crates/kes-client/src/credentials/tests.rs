use std::fs;

use kes_identity::{KeyKind, Template};

use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);

#[test]
fn a_certificate_from_an_api_key_is_renewed_after_60_days() {
    let credentials = Credentials::ApiKey(Box::new(ApiKey::generate().unwrap()));
    let loaded = credentials.load(NOW).unwrap();
    assert!(!loaded.is_due(&credentials, NOW + Duration::days(59)));
    assert!(loaded.is_due(&credentials, NOW + Duration::days(60)));
    let renewed = credentials.load(NOW + Duration::days(60)).unwrap();
    assert!(!renewed.is_due(&credentials, NOW + Duration::days(119)));
    assert_eq!(loaded.identity(), renewed.identity());
}

#[test]
fn changed_files_are_due() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.crt"), folder.path().join("c.key"));
    let write = || {
        let made = Certificate::self_signed(KeyKind::Ed25519, &Template::new("c", NOW, NOW + Duration::DAY)).unwrap();
        // As tools do it: a new file in the place of the old one.
        let (new_certificate, new_key) = (folder.path().join("new.crt"), folder.path().join("new.key"));
        fs::write(&new_certificate, made.to_pem()).unwrap();
        fs::write(&new_key, made.key_to_pem().expose()).unwrap();
        fs::rename(new_certificate, &certificate).unwrap();
        fs::rename(new_key, &key).unwrap();
        made.identity()
    };
    let first = write();
    let credentials = Credentials::Files { certificate: certificate.clone(), key: key.clone(), password: None };
    let loaded = credentials.load(NOW).unwrap();
    assert_eq!(loaded.identity(), Some(&first));
    assert!(!loaded.is_due(&credentials, NOW));
    let second = write();
    assert!(loaded.is_due(&credentials, NOW));
    assert_eq!(credentials.load(NOW).unwrap().identity(), Some(&second));
}

#[test]
fn debug_shows_no_secret() {
    let key = ApiKey::generate().unwrap();
    let text = key.to_text();
    let shown = format!("{:?}", Credentials::ApiKey(Box::new(key)));
    assert!(!text.expose().contains(&shown) && shown == "ApiKey");
    let password = Some(Zeroizing::new("hunter2".to_owned()));
    let files = Credentials::Files { certificate: "a".into(), key: "b".into(), password };
    assert!(!format!("{files:?}").contains("hunter2"));
}
