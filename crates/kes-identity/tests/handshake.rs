//! Who gets through the handshake, and as whom: real handshakes in memory, with TLS 1.2 and 1.3.

#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the tests themselves")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{NOW, Outcome, VERSIONS, client, connect, forged, handshake, roots, server, unsigned};
use kes_identity::{
    ApiKey, Authority, Certificate, Identity, KeyKind, PeerError, Refusal, Template, Usage, Verification, pem,
    still_valid,
};
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use serde_json::Value;
use time::Duration;

const VERIFIED: [bool; 2] = [false, true];

fn data(name: &str) -> Vec<u8> {
    pem::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn fixture(certificate: &str, key: &str) -> Arc<CertifiedKey> {
    let chain = pem::certificates(&data(certificate)).unwrap();
    let key = pem::private_key(&data(key), None).unwrap();
    Certificate::new(chain, key).unwrap().certified_key()
}

fn template(usages: &[Usage]) -> Template {
    Template { usages: usages.to_vec(), ..Template::new("client", NOW - Duration::DAY, NOW + Duration::DAY) }
}

fn expired() -> Template {
    Template::new("expired", NOW - Duration::DAY * 2, NOW - Duration::DAY)
}

fn future() -> Template {
    Template::new("future", NOW + Duration::DAY, NOW + Duration::DAY * 2)
}

fn authority(name: &str) -> Authority {
    Authority::generate(name, NOW - Duration::DAY, NOW + Duration::DAY).unwrap()
}

fn self_signed(template: &Template) -> Certificate {
    Certificate::self_signed(KeyKind::Ed25519, template).unwrap()
}

/// `tls.auth: on` with the one authority, or `off`.
fn verification(on: bool, trusted: &Authority) -> Verification {
    if on { roots(&[trusted.certificate()]) } else { Verification::Any }
}

/// Expects the same of both TLS versions, and of required and optional certificates.
#[track_caller]
fn expect(verification: &Verification, shown: &Arc<CertifiedKey>, alert: u8) {
    for version in VERSIONS {
        for required in [true, false] {
            let outcome = connect(verification, required, version, Some(Arc::clone(shown)));
            assert_eq!(outcome.alert(), alert, "{version:?} {outcome:?}");
            if alert != 0 {
                outcome.refusal();
            }
        }
    }
}

#[track_caller]
fn refusal(verification: &Verification, shown: &Arc<CertifiedKey>) -> Refusal {
    connect(verification, true, VERSIONS[1], Some(Arc::clone(shown))).refusal()
}

#[test]
fn a_missing_certificate_is_refused_only_where_one_is_required() {
    let trusted = authority("ca");
    for version in VERSIONS {
        for on in VERIFIED {
            let outcome = connect(&verification(on, &trusted), true, version, None);
            // Departs from upstream, where TLS 1.2 has alert 40: rustls sends the clearer one of TLS 1.3.
            assert_eq!((outcome.alert(), outcome.refusal()), (116, Refusal::Missing));
            let outcome = connect(&verification(on, &trusted), false, version, None);
            assert_eq!(outcome.identity(), Err(PeerError::Missing));
        }
    }
}

#[test]
fn api_keys_get_through_without_verification_for_ever() {
    let key = ApiKey::generate().unwrap();
    for age in [Duration::ZERO, Duration::days(90), Duration::days(4000)] {
        let certificate = key.certificate(NOW - age).unwrap();
        for version in VERSIONS {
            let outcome = connect(&Verification::Any, true, version, Some(certificate.certified_key()));
            assert_eq!(&outcome.identity().unwrap(), key.identity());
        }
    }
}

#[test]
fn self_signed_certificates_are_known_to_no_authority() {
    let on = roots(&[authority("ca").certificate()]);
    for (usages, alert) in [(&[Usage::ClientAuth][..], 48), (&[Usage::ServerAuth], 48), (&[], 48)] {
        let shown = self_signed(&template(usages)).certified_key();
        expect(&Verification::Any, &shown, 0);
        expect(&on, &shown, alert);
        assert_eq!(refusal(&on, &shown), Refusal::UnknownAuthority);
    }
}

#[test]
fn dates_are_looked_at_before_the_chain() {
    let trusted = authority("ca");
    let on = roots(&[trusted.certificate()]);
    let (expired, future) = (expired(), future());
    for shown in [self_signed(&expired), trusted.issue(KeyKind::Ed25519, &expired).unwrap()] {
        expect(&Verification::Any, &shown.certified_key(), 0);
        expect(&on, &shown.certified_key(), 45);
        assert_eq!(refusal(&on, &shown.certified_key()), Refusal::Expired(expired.not_after));
    }
    for shown in [self_signed(&future), trusted.issue(KeyKind::Ed25519, &future).unwrap()] {
        expect(&Verification::Any, &shown.certified_key(), 0);
        expect(&on, &shown.certified_key(), 45);
        assert_eq!(refusal(&on, &shown.certified_key()), Refusal::NotYetValid(future.not_before));
    }
}

#[test]
fn an_expired_authority_signs_nothing() {
    let trusted = Authority::generate("old", NOW - Duration::DAY * 9, NOW + Duration::DAY).unwrap();
    let old = trusted.intermediate("older", NOW - Duration::DAY * 9, NOW - Duration::DAY).unwrap();
    let shown = old.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    expect(&roots(&[trusted.certificate()]), &shown.certified_key(), 45);
}

#[test]
fn signed_certificates_must_be_for_clients() {
    let trusted = authority("ca");
    let on = roots(&[trusted.certificate()]);
    for (usages, alert) in [
        (&[Usage::ClientAuth][..], 0),
        (&[Usage::ClientAuth, Usage::ServerAuth], 0),
        (&[], 0),
        (&[Usage::ServerAuth], 42),
    ] {
        let shown = trusted.issue(KeyKind::EcdsaP256, &template(usages)).unwrap().certified_key();
        expect(&Verification::Any, &shown, 0);
        expect(&on, &shown, alert);
    }
    let server = trusted.issue(KeyKind::EcdsaP256, &template(&[Usage::ServerAuth])).unwrap();
    assert_eq!(refusal(&on, &server.certified_key()), Refusal::Usage("serverAuth".to_owned()));
    expect(&roots(&[&fixture_ca()]), &fixture("any-usage.signed.crt", "p256.key"), 0);
}

#[test]
fn chains_may_be_long_but_must_be_complete() {
    let root = authority("root");
    let mut issuer = root.intermediate("1", NOW - Duration::DAY, NOW + Duration::DAY).unwrap();
    let on = roots(&[root.certificate()]);
    for depth in ["2", "3", "4"] {
        let leaf = issuer.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
        expect(&on, &leaf.certified_key(), 0);
        let alone = forged(&[leaf.leaf()], &leaf);
        expect(&on, &alone, 48);
        expect(&Verification::Any, &alone, 0);
        issuer = issuer.intermediate(depth, NOW - Duration::DAY, NOW + Duration::DAY).unwrap();
    }
}

#[test]
fn a_root_at_the_end_of_the_chain_is_harmless() {
    let root = authority("root");
    let issuer = root.intermediate("1", NOW - Duration::DAY, NOW + Duration::DAY).unwrap();
    let leaf = issuer.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    let shown = forged(&[leaf.leaf(), issuer.certificate(), root.certificate()], &leaf);
    for on in VERIFIED {
        expect(&verification(on, &root), &shown, 0);
        let outcome = connect(&verification(on, &root), true, VERSIONS[1], Some(Arc::clone(&shown)));
        assert_eq!(outcome.identity().unwrap(), leaf.identity());
    }
}

#[test]
fn an_authority_of_the_same_name_is_another_one() {
    let leaf = authority("ca").issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    expect(&roots(&[authority("ca").certificate()]), &leaf.certified_key(), 48);
}

#[test]
fn a_leaf_cannot_sign_others() {
    let root = authority("root");
    let on = roots(&[root.certificate()]);
    let mallory = root.issue(KeyKind::EcdsaP256, &template(&[Usage::ClientAuth])).unwrap();
    // An authority that calls itself `client`, as the leaf is called, and shows the leaf as its own certificate.
    let forger = authority("client");
    let leaf = forger.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    expect(&on, &forged(&[leaf.leaf(), mallory.leaf()], &leaf), 48);
}

#[test]
fn a_trusted_certificate_may_be_the_clients_own() {
    let shown = self_signed(&template(&[Usage::ClientAuth]));
    expect(&roots(&[shown.leaf()]), &shown.certified_key(), 0);
}

#[test]
fn without_roots_nobody_is_trusted() {
    expect(&roots(&[]), &self_signed(&template(&[])).certified_key(), 48);
}

#[test]
fn every_kind_of_key_that_ring_has_is_proved() {
    let on = roots(&[&fixture_ca()]);
    for kind in ["ed25519", "p256", "p384", "rsa2048"] {
        let key = format!("{kind}.key");
        let shown = fixture(&format!("{kind}.crt"), &key);
        expect(&Verification::Any, &shown, 0);
        expect(&on, &shown, 48);
        expect(&on, &fixture(&format!("{kind}.signed.crt"), &key), 0);
    }
}

#[test]
fn keys_beyond_ring_are_refused_by_name() {
    let on = roots(&[&fixture_ca()]);
    for (kind, scheme, name) in [
        ("p521", SignatureScheme::ECDSA_NISTP256_SHA256, "ECDSA P-521"),
        ("rsa1024", SignatureScheme::RSA_PSS_SHA256, "RSA with 1024 bits"),
    ] {
        for (verification, file) in [(&Verification::Any, "crt"), (&on, "signed.crt")] {
            let chain = pem::certificates(&data(&format!("{kind}.{file}"))).unwrap();
            let shown = unsigned(&chain, scheme);
            expect(verification, &shown, 46);
            assert_eq!(refusal(verification, &shown), Refusal::UnsupportedKey(name.to_owned()));
        }
    }
    let ca = pem::certificates(&data("p521-ca.crt")).unwrap();
    let shown = fixture("p521-ca.signed.crt", "p256.key");
    expect(&roots(&[&ca[0]]), &shown, 46);
    assert_eq!(refusal(&roots(&[&ca[0]]), &shown), Refusal::UnsupportedSignature);
}

#[test]
fn old_and_bare_certificates_pass_without_verification() {
    let on = roots(&[&fixture_ca()]);
    for (certificate, key) in [
        ("v1.crt", "p256.key"),
        ("v1-ed25519.crt", "ed25519.key"),
        ("v1-rsa2048.crt", "rsa2048.key"),
        ("no-constraints.crt", "p256.key"),
    ] {
        expect(&Verification::Any, &fixture(certificate, key), 0);
        expect(&on, &fixture(certificate, key), 48);
    }
    let signed = fixture("v1.signed.crt", "p256.key");
    expect(&Verification::Any, &signed, 0);
    expect(&on, &signed, 46);
    assert_eq!(refusal(&on, &signed), Refusal::Version);
}

#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    let trusted = authority("ca");
    let victim = trusted.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    let mallory = trusted.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    let shown = forged(&[victim.leaf()], &mallory);
    for on in VERIFIED {
        expect(&verification(on, &trusted), &shown, 51);
        assert_eq!(refusal(&verification(on, &trusted), &shown), Refusal::NotProved);
    }
    for key in ["p256", "p384", "rsa2048"] {
        let chain = pem::certificates(&data(&format!("{key}.crt"))).unwrap();
        for version in VERSIONS {
            let outcome = connect(&Verification::Any, true, version, Some(forged(&[&chain[0]], &mallory)));
            assert_eq!((outcome.alert(), outcome.refusal()), (51, Refusal::NotProved), "{key}");
        }
    }
}

/// Departs from upstream, where this attack works: one's own CA certificate, whose key one has, and behind it the public
/// certificate of the administrator. The old server took the first one with CA:FALSE for the peer.
#[test]
fn a_public_certificate_behind_an_own_authority_gives_no_identity() {
    let admin: ApiKey = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let victim = admin.certificate(NOW).unwrap();
    let mallory = authority("mallory").as_certificate().unwrap();
    let shown = forged(&[mallory.leaf(), victim.leaf()], &mallory);
    for version in VERSIONS {
        let outcome = connect(&Verification::Any, true, version, Some(Arc::clone(&shown)));
        assert_eq!(outcome.alert(), 0, "the handshake itself is honest about its first certificate");
        assert_eq!(outcome.identity(), Err(PeerError::AuthorityFirst));
    }
    // Under `on` the old server let the holder of any intermediate do the same; here not even the handshake succeeds.
    let root = authority("root");
    let intermediate = root.intermediate("mallory", NOW - Duration::DAY, NOW + Duration::DAY).unwrap();
    let victim = root.issue(KeyKind::Ed25519, &template(&[Usage::ClientAuth])).unwrap();
    let shown = forged(&[intermediate.certificate(), victim.leaf()], &intermediate.as_certificate().unwrap());
    expect(&roots(&[root.certificate()]), &shown, 42);
    assert_eq!(refusal(&roots(&[root.certificate()]), &shown), Refusal::Authority);
}

#[test]
fn a_second_leaf_gives_no_identity() {
    let (one, two) = (self_signed(&template(&[])), self_signed(&template(&[])));
    for second in [&two, &one] {
        let shown = forged(&[one.leaf(), second.leaf()], &one);
        for version in VERSIONS {
            let outcome = connect(&Verification::Any, true, version, Some(Arc::clone(&shown)));
            assert_eq!(outcome.identity(), Err(PeerError::MoreThanOne));
        }
    }
}

#[test]
fn garbage_is_called_garbage() {
    let key = self_signed(&template(&[]));
    let garbage = CertificateDer::from(b"not a certificate".to_vec());
    let mut longer = key.leaf().to_vec();
    longer.push(0);
    let longer = CertificateDer::from(longer);
    for on in [Verification::Any, roots(&[])] {
        for chain in [&[&garbage][..], &[&longer], &[key.leaf(), &garbage]] {
            expect(&on, &forged(chain, &key), 42);
            assert_eq!(refusal(&on, &forged(chain, &key)), Refusal::Malformed);
        }
    }
}

#[test]
fn authorities_are_not_hinted_at() {
    let verifier = kes_identity::client_verifier(roots(&[authority("ca").certificate()]), true);
    assert!(verifier.root_hint_subjects().is_empty());
    assert!(verifier.offer_client_auth());
    let schemes = verifier.supported_verify_schemes();
    for scheme in [
        SignatureScheme::ED25519,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256,
    ] {
        assert!(schemes.contains(&scheme), "{scheme:?}");
    }
}

#[test]
fn a_resumed_connection_keeps_its_identity_and_loses_it_with_its_dates() {
    let key = ApiKey::generate().unwrap();
    let certificate = key.certificate(NOW).unwrap();
    for version in VERSIONS {
        let server = server(Verification::Any, true, version);
        let client = client(Some(certificate.certified_key()), &["h2"]);
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let (outcome, connection) = handshake(Arc::clone(&server), Arc::clone(&client));
            assert_eq!(connection.handshake_kind(), Some(kind));
            assert_eq!(&outcome.identity().unwrap(), key.identity());
            let Outcome::Accepted(chain) = outcome else { unreachable!() };
            assert_eq!(still_valid(&chain, NOW), Ok(()));
            let end = NOW + ApiKey::CERTIFICATE_LIFETIME;
            assert_eq!(still_valid(&chain, end), Ok(()));
            assert_eq!(still_valid(&chain, end + Duration::SECOND), Err(Refusal::Expired(end)));
            let start = NOW - Duration::HOUR;
            assert_eq!(still_valid(&chain, start - Duration::SECOND), Err(Refusal::NotYetValid(start)));
        }
    }
    assert_eq!(still_valid(&[], NOW), Err(Refusal::Missing));
}

#[test]
fn upstream_cases() {
    let bare = ["tls10", "tls11", "plain-http"]; // Not TLS that rustls can speak as a client; the service tests have them.
    let cases: Value = serde_json::from_slice(&data("tls.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 33);
    for case in cases {
        let text = |member: &str| case[member].as_str().unwrap();
        let id = text("id");
        if bare.contains(&id) {
            continue;
        }
        let trusted = authority("ca");
        let verification = verification(text("auth") == "on", &trusted);
        let required = !case["skip_auth_configured"].as_bool().unwrap();
        let (shown, alpn) = upstream_client(id, &trusted);
        for version in VERSIONS {
            let server = server(verification.clone(), required, version);
            let (outcome, connection) = handshake(server, client(shown.clone(), alpn));
            let expected = match id {
                // Departs from upstream: RSA below 2048 bits is beyond ring.
                "rsa1024-off" => 46,
                // Departs from upstream: a CA certificate has no place in front, see the attack above.
                "ca-first-on" => 42,
                _ => match (text("result"), text("detail")) {
                    ("ok", _) => 0,
                    (_, detail) if detail.contains("(116)") || detail == "as no-cert-off" => 116,
                    (_, detail) => detail.split(['(', ')']).nth(1).unwrap().parse().unwrap(),
                },
            };
            assert_eq!(outcome.alert(), expected, "{id} {version:?} {outcome:?}");
            if expected == 0 {
                upstream_result(id, &outcome, shown.as_deref());
                let selected = if id == "alpn-h2" { Some(&b"h2"[..]) } else { None };
                assert_eq!(connection.alpn_protocol(), selected, "{id}");
            }
        }
    }
}

/// What the client of a case shows, and its ALPN names.
fn upstream_client(id: &str, trusted: &Authority) -> (Option<Arc<CertifiedKey>>, &'static [&'static str]) {
    let client = template(&[Usage::ClientAuth]);
    let signed = |template: &Template| trusted.issue(KeyKind::Ed25519, template).unwrap().certified_key();
    let leaf = self_signed(&client);
    let alpn: &[&str] = match id {
        "alpn-h2" => &["h2", "http/1.1"],
        "alpn-foreign" => &["foo"],
        _ => &[],
    };
    let shown = match id {
        "no-cert-off" | "no-cert-off-skip" | "no-cert-on" | "no-cert-on-skip" => None,
        "self-signed-off" | "self-signed-on" | "self-signed-on-skip" => Some(leaf.certified_key()),
        "alpn-h2" | "alpn-none" | "alpn-foreign" => Some(leaf.certified_key()),
        "expired-off" | "expired-selfsigned-on" => Some(self_signed(&expired()).certified_key()),
        "future-off" | "future-selfsigned-on" => Some(self_signed(&future()).certified_key()),
        "expired-on" => Some(signed(&expired())),
        "signed-on" => Some(signed(&client)),
        "signed-on-no-eku" => Some(signed(&template(&[]))),
        "signed-on-server-eku" => Some(signed(&template(&[Usage::ServerAuth]))),
        "inter-on" | "inter-chain-on" => {
            let issuer = trusted.intermediate("intermediate", NOW - Duration::DAY, NOW + Duration::DAY).unwrap();
            let leaf = issuer.issue(KeyKind::Ed25519, &client).unwrap();
            let chain = [leaf.leaf(), issuer.certificate(), trusted.certificate()];
            Some(forged(if id == "inter-on" { &chain[..1] } else { &chain }, &leaf))
        }
        "no-eku-off" => Some(self_signed(&template(&[])).certified_key()),
        "server-eku-off" => Some(self_signed(&template(&[Usage::ServerAuth])).certified_key()),
        "no-bc-off" => Some(fixture("no-constraints.crt", "p256.key")),
        "rsa1024-off" => {
            Some(unsigned(&pem::certificates(&data("rsa1024.crt")).unwrap(), SignatureScheme::RSA_PSS_SHA256))
        }
        "ca-cert-off" => Some(authority("own").as_certificate().unwrap().certified_key()),
        "leaf-plus-ca-off" => Some(forged(&[leaf.leaf(), authority("own").certificate()], &leaf)),
        "two-leaves-off" => Some(forged(&[leaf.leaf(), self_signed(&client).leaf()], &leaf)),
        "leaf-twice-off" => Some(forged(&[leaf.leaf(), leaf.leaf()], &leaf)),
        "ca-first-off" => {
            let own = authority("own").as_certificate().unwrap();
            Some(forged(&[own.leaf(), leaf.leaf()], &own))
        }
        "ca-first-on" => {
            let issuer = trusted.intermediate("intermediate", NOW - Duration::DAY, NOW + Duration::DAY).unwrap();
            Some(forged(&[issuer.certificate(), leaf.leaf()], &issuer.as_certificate().unwrap()))
        }
        other => panic!("unknown case {other}"),
    };
    (shown, alpn)
}

/// Whose a finished handshake of a case is.
#[track_caller]
fn upstream_result(id: &str, outcome: &Outcome, shown: Option<&CertifiedKey>) {
    let expected = match id {
        "no-cert-off-skip" | "no-cert-on-skip" => Err(PeerError::Missing),
        "ca-cert-off" | "ca-first-off" => Err(PeerError::AuthorityFirst),
        "two-leaves-off" | "leaf-twice-off" => Err(PeerError::MoreThanOne),
        _ => Ok(Identity::of_certificate(&shown.unwrap().cert[0]).unwrap()),
    };
    assert_eq!(outcome.identity(), expected, "{id}");
}

fn fixture_ca() -> CertificateDer<'static> {
    pem::certificates(&data("ca.crt")).unwrap().remove(0)
}
