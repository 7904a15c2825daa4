//! Files of certificates and keys: every form that OpenSSL and the old release write, and the old texts of every refusal.

#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the tests themselves")]

use std::fs;
use std::path::{Path, PathBuf};

use kes_identity::pem::{self, Error};
use kes_identity::{ApiKey, Certificate, Identity, PeerError, peer_identity};
use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use time::macros::datetime;

const UPSTREAM_KEY: &str = "kes:v1:APGs2yd3BesKiH9Q1h9xuw+N3NubD6YUL0zrBoi+xlTp";
const UPSTREAM_IDENTITY: &str = "e78a320f1f4a8f007e6ba526fbcd2004cd8fbd5229e6362535c7f86172bbb585";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn load(certificate: &str, key: &str, password: Option<&str>) -> Result<Certificate, Error> {
    Certificate::from_files(&path(certificate), &path(key), password)
}

#[test]
fn plain_keys_of_every_form() {
    for (certificate, key) in [
        ("ed25519.crt", "ed25519.key"),
        ("p256.crt", "p256.key"),
        ("p256.crt", "p256.sec1.key"),
        ("p384.crt", "p384.key"),
        ("p384.crt", "p384.sec1.key"),
        ("rsa2048.crt", "rsa2048.key"),
        ("rsa2048.crt", "rsa2048.pkcs1.key"),
        ("v1.crt", "p256.key"),
    ] {
        for password in [None, Some("ignored")] {
            load(certificate, key, password).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
    }
}

#[test]
fn encrypted_keys_of_every_form() {
    for (certificate, key) in [
        ("rsa2048.crt", "rsa2048.aes128.key"),
        ("rsa2048.crt", "rsa2048.aes192.key"),
        ("rsa2048.crt", "rsa2048.aes256.key"),
        ("rsa2048.crt", "rsa2048.des3.key"),
        ("rsa2048.crt", "rsa2048.des.key"),
        ("p256.crt", "p256.aes256.key"),
        ("upstream.crt", "upstream.encrypted.key"),
        // Departs from upstream, which reads none of these.
        ("ed25519.crt", "ed25519.pbes2.key"),
        ("p256.crt", "p256.pbes2.key"),
        ("p256.crt", "p256.scrypt.key"),
    ] {
        load(certificate, key, Some("correct")).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(load(certificate, key, Some("wrong")).unwrap_err(), Error::WrongPassword, "{key}");
        assert_eq!(load(certificate, key, None).unwrap_err(), Error::PasswordRequired, "{key}");
        assert_eq!(load(certificate, key, Some("")).unwrap_err(), Error::PasswordRequired, "{key}");
    }
    assert_eq!(load("p256.crt", "p256.pbes1.key", Some("correct")).unwrap_err(), Error::UnknownEncryption);
}

#[test]
fn no_wrong_password_opens_a_key() {
    for at in 0..2000 {
        let error =
            pem::private_key(text("upstream.encrypted.key").as_bytes(), Some(&format!("wrong {at}"))).unwrap_err();
        assert_eq!(error, Error::WrongPassword, "{at}");
    }
}

#[test]
fn files_of_the_old_release_are_read() {
    let certificate = load("upstream.crt", "upstream.encrypted.key", Some("correct")).unwrap();
    let key = ApiKey::from_pkcs8(certificate.key().expose().secret_der()).unwrap();
    assert_eq!(key.to_text().expose(), UPSTREAM_KEY);
    assert_eq!(key.identity().as_str(), UPSTREAM_IDENTITY);
    assert_eq!(certificate.identity(), *key.identity());
    let facts = certificate.facts();
    assert_eq!((facts.subject.as_str(), facts.issuer.as_str()), ("CN=upstream", "CN=upstream"));
    assert_eq!(facts.names, ["localhost", "127.0.0.1"]);
    assert_eq!(facts.usages, ["clientAuth", "serverAuth"]);
    assert_eq!(facts.not_before, datetime!(2026-11-21 10:59:35 UTC));
    assert_eq!(facts.not_after, datetime!(2049-09-14 18:59:35 UTC));
    assert!(facts.self_issued && !facts.is_ca);
}

#[test]
fn keys_are_encrypted_as_the_old_release_does() {
    let certificate = load("upstream.crt", "upstream.encrypted.key", Some("correct")).unwrap();
    let written = pem::encrypt_private_key(certificate.key(), "pässword").unwrap();
    let lines: Vec<_> = written.expose().lines().collect();
    let theirs = text("upstream.encrypted.key");
    assert_eq!(lines.len(), theirs.lines().count());
    for (ours, theirs) in lines.iter().zip(theirs.lines()) {
        assert_eq!(ours.len(), theirs.len());
    }
    assert_eq!(lines[..2], ["-----BEGIN PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"]);
    assert!(lines[2].starts_with("DEK-Info: AES-256-CBC,"));
    assert_ne!(written.expose(), pem::encrypt_private_key(certificate.key(), "pässword").unwrap().expose());
    let read = pem::private_key(written.expose().as_bytes(), Some("pässword")).unwrap();
    assert_eq!(read.expose().secret_der(), certificate.key().expose().secret_der());

    let old = load("rsa2048.crt", "rsa2048.pkcs1.key", None).unwrap();
    assert_eq!(pem::encrypt_private_key(old.key(), "x").unwrap_err(), Error::UnsupportedKey);
    assert_eq!(old.key_to_pem().expose(), text("rsa2048.pkcs1.key"));
    let old = load("p256.crt", "p256.sec1.key", None).unwrap();
    assert_eq!(old.key_to_pem().expose(), text("p256.sec1.key"));
    assert_eq!(old.to_pem(), text("p256.crt"));
}

/// Each text was asked of the old release, as `failed to read TLS certificate: …`.
#[test]
fn refusals_have_their_old_texts() {
    let (certificate, key) = (text("ed25519.crt"), text("ed25519.key"));
    let foreign = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let broken = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let indented = key.lines().map(|line| format!("  {line}\n")).collect::<String>();

    for (input, expected) in [
        (String::new(), Some("tls: failed to find any PEM data in certificate input")),
        ("\n".to_owned(), Some("tls: failed to find any PEM data in certificate input")),
        ("junk\n".to_owned(), Some("https: no valid PEM data")),
        (broken("CERTIFICATE"), Some("x509: malformed certificate")),
        (format!("{certificate}{key}"), Some("https: unsupported PEM data block")),
        (format!("{certificate}trailing\n"), Some("https: no valid PEM data")),
        (format!("hello\n{certificate}"), None),
        (format!("{certificate}\n\n"), None),
        (certificate.replace('\n', "\r\n"), None),
    ] {
        assert_eq!(
            pem::certificates(input.as_bytes()).err().map(|error| error.to_string()).as_deref(),
            expected,
            "{input}"
        );
    }

    for (input, expected) in [
        (String::new(), Some("https: no PEM-encoded private key found")),
        ("\n".to_owned(), Some("https: no PEM-encoded private key found")),
        (certificate.clone(), Some("https: no PEM-encoded private key found")),
        ("junk\n".to_owned(), Some("https: no valid PEM data")),
        (format!("{key}junk\n"), Some("https: no valid PEM data")),
        (indented, Some("https: no valid PEM data")),
        (format!("{foreign}{key}"), Some("https: unsupported PEM data block")),
        (format!("{key}{foreign}"), Some("https: unsupported PEM data block")),
        (text("p256.parameters.key"), Some("https: unsupported PEM data block")),
        (broken("PRIVATE KEY"), Some("tls: failed to parse private key")),
        (text("rsa2048.aes128.key"), Some("https: private key is encrypted: password required")),
        (format!("{certificate}{key}"), None),
        (format!("hello\n{key}\n\n"), None),
        (key.replace('\n', "\r\n"), None),
        (key.replace("PRIVATE KEY", "FOO PRIVATE KEY"), None),
    ] {
        let found = pem::private_key(input.as_bytes(), None).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected, "{input}");
    }
    assert_eq!(Error::WrongPassword.to_string(), "x509: decryption password incorrect");
    let mismatch = load("p384.crt", "p256.key", None).unwrap_err();
    assert_eq!(mismatch.to_string(), "tls: private key does not match public key");
    let mismatch = load("ed25519.crt", "p256.key", None).unwrap_err();
    assert_eq!(mismatch.to_string(), "tls: private key type does not match public key type");
}

#[test]
fn keys_beyond_ring_are_refused() {
    assert_eq!(load("p521.crt", "p521.key", None).unwrap_err(), Error::UnsupportedKey);
    assert_eq!(load("rsa1024.crt", "rsa1024.key", None).unwrap_err(), Error::UnsupportedKey);
}

#[test]
fn the_first_key_of_a_file_counts() {
    let both = format!("{}{}", text("p256.key"), text("ed25519.key"));
    let first = pem::private_key(both.as_bytes(), None).unwrap();
    assert_eq!(pem::encode_private_key(&first).expose(), text("p256.key"));
}

#[test]
fn unknown_encryption_is_named() {
    let key = text("rsa2048.aes128.key");
    for info in ["AES-128-GCM,00", "AES-128-CBC", "AES-128-CBC,zz", "AES-128-CBC,0011", "AES-128-CBC,é0"] {
        let line = key.lines().find(|line| line.starts_with("DEK-Info")).unwrap();
        let changed = key.replace(line, &format!("DEK-Info: {info}"));
        assert_eq!(
            pem::private_key(changed.as_bytes(), Some("correct")).unwrap_err(),
            Error::UnknownEncryption,
            "{info}"
        );
    }
}

#[test]
fn missing_files_are_named() {
    let missing = Certificate::from_files(Path::new("no/such.crt"), Path::new("x"), None).unwrap_err();
    assert_eq!(missing.to_string(), "open no/such.crt: no such file or directory");
    let folder = tempfile::tempdir().unwrap();
    let error = pem::read(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("read {}: is a directory", folder.path().display()));
}

#[test]
fn authorities_come_from_a_file_or_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    assert_eq!(pem::ca_path(&path("ca.crt")).unwrap().len(), 1);
    assert_eq!(pem::ca_path(folder.path()).unwrap(), []);
    let missing = pem::ca_path(&in_folder("none")).unwrap_err();
    assert_eq!(missing.to_string(), format!("stat {}: no such file or directory", in_folder("none").display()));

    fs::write(in_folder("b.crt"), text("ca.crt")).unwrap();
    fs::write(in_folder("a.crt"), text("p256.crt") + &text("careless.crt")).unwrap();
    fs::create_dir(in_folder("sub")).unwrap();
    fs::write(in_folder("sub").join("junk"), "junk").unwrap();
    let expected: Vec<_> = ["p256.crt", "careless.crt", "ca.crt"]
        .iter()
        .flat_map(|name| pem::certificates(text(name).as_bytes()).unwrap())
        .collect();
    assert_eq!(pem::ca_path(folder.path()).unwrap(), expected);

    let empty = in_folder("empty");
    fs::write(&empty, "").unwrap();
    let refused = format!("https: failed to add '{}' as CA certificate", empty.display());
    assert_eq!(pem::ca_path(&empty).unwrap_err().to_string(), refused);
    assert_eq!(pem::ca_path(folder.path()).unwrap_err().to_string(), refused);
    fs::remove_file(empty).unwrap();

    fs::write(in_folder("junk"), "junk").unwrap();
    let error = pem::ca_path(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "https: no valid PEM data");
    assert!(matches!(&error, Error::InFolder { path, .. } if path.parent() == Some(folder.path())), "{error:?}");
}

/// Departs from upstream, which fails on the link `..data` that every Kubernetes volume has.
#[cfg(unix)]
#[test]
fn a_kubernetes_volume_is_a_folder_of_authorities() {
    let volume = tempfile::tempdir().unwrap();
    let data = volume.path().join("..2026_01_01");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("ca.crt"), text("ca.crt")).unwrap();
    std::os::unix::fs::symlink(&data, volume.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/ca.crt", volume.path().join("ca.crt")).unwrap();
    assert_eq!(pem::ca_path(volume.path()).unwrap().len(), 1);
}

#[test]
fn facts_tell_authorities_apart() {
    let facts = |name: &str| pem::facts(&pem::certificates(text(name).as_bytes()).unwrap()[0]).unwrap();
    assert!(facts("ca.crt").is_ca && facts("careless.crt").is_ca);
    let signed = facts("p256.signed.crt");
    assert!(!signed.is_ca && !signed.self_issued);
    assert_eq!((signed.subject.as_str(), signed.issuer.as_str()), ("CN=p256", "CN=fixtures"));
    assert_eq!(signed.usages, ["clientAuth"]);
    assert_eq!(facts("any-usage.signed.crt").usages, ["any"]);
    assert!(facts("v1.crt").names.is_empty());
    // Two certificates of one key are one identity.
    assert_eq!(signed.identity, facts("v1.crt").identity);
}

/// An extension that cannot be read is never taken for CA:FALSE.
#[test]
fn broken_constraints_are_malformed() {
    let good = pem::certificates(text("p256.crt").as_bytes()).unwrap().remove(0);
    let at = good.windows(5).position(|bytes| bytes == [6, 3, 0x55, 0x1d, 0x13]).unwrap();
    let value = at + good[at..].windows(2).position(|bytes| bytes == [0x30, 0]).unwrap();
    let mut broken = good.to_vec();
    broken[value] = 0x31;
    assert_eq!(peer_identity(&[CertificateDer::from(broken)]), Err(PeerError::Malformed));
    assert!(peer_identity(&[good]).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = pem::certificates(&bytes);
        let _ = pem::private_key(&bytes, Some("x"));
        let _ = pem::facts(&bytes);
        let _ = Identity::of_certificate(&bytes);
        let _ = ApiKey::from_pkcs8(&bytes);
    }

    #[test]
    fn damaged_certificates_never_panic(at: prop::sample::Index, byte: u8) {
        for name in ["p256.signed.crt", "upstream.crt", "ca.crt", "v1.crt"] {
            let mut der = pem::certificates(text(name).as_bytes()).unwrap()[0].to_vec();
            let at = at.index(der.len());
            der[at] = byte;
            let _ = pem::facts(&der);
            let _ = peer_identity(&[CertificateDer::from(der)]);
        }
    }

    #[test]
    fn damaged_keys_never_panic(at: prop::sample::Index, byte: u8) {
        for name in ["p256.sec1.key", "upstream.encrypted.key", "rsa2048.des3.key", "ed25519.key"] {
            let mut bytes = text(name).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = pem::private_key(&bytes, Some("correct"));
        }
    }

    #[test]
    fn every_password_opens_what_it_closed(password in ".{1,40}") {
        let key = ApiKey::generate().unwrap().certificate(datetime!(2030-01-01 0:00 UTC)).unwrap();
        let written = pem::encrypt_private_key(key.key(), &password).unwrap();
        let read = pem::private_key(written.expose().as_bytes(), Some(&password)).unwrap();
        prop_assert_eq!(read.expose().secret_der(), key.key().expose().secret_der());
    }
}
