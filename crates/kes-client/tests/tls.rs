//! Who trusts whom, and what is said when somebody does not.

mod support;

use std::fs;

use kes_client::{ApiKey, Certificate, Client, Error, Identity, TlsError, TlsProblem};
use kes_identity::{KeyKind, Template, Verification};
use rustls::RootCertStore;
use support::{Fake, Setup, authority, json, now, settings, template, trusted};
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const VERSION: &str = r#"{"version":"v1","commit":"c"}"#;

async fn serve(setup: Setup) -> Fake {
    Fake::start(setup, |_| json(200, VERSION)).await
}

async fn refusal(client: Client) -> TlsError {
    match client.version().await {
        Err(Error::Tls(error)) => *error,
        other => panic!("no TLS refusal: {other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_issuer_is_named_with_the_certificate() {
    let fake = serve(Setup::new(authority().issue(KeyKind::EcdsaP256, &template()).unwrap())).await;
    let other = authority();
    let client = settings().endpoint(fake.url()).ca_certificate(other.certificate().clone()).build().unwrap();
    let error = refusal(client).await;
    assert_eq!(error.problem(), &TlsProblem::UnknownIssuer);
    assert_eq!(
        error.to_string(),
        format!(
            "Get \"{}/version\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            fake.url()
        )
    );
    let hint = error.hint();
    assert!(
        hint.starts_with("the server's certificate is 'CN=kes.test', for localhost, 127.0.0.1, valid from "),
        "{hint}"
    );
    assert!(
        hint.ends_with(
            "signed by 'CN=Test CA'; trust the CA that signed it, or the certificate itself if it is self-signed"
        ),
        "{hint}"
    );
}

#[tokio::test]
async fn a_look_shows_certificate_and_clock() {
    let fake = serve(Setup::new(authority().issue(KeyKind::EcdsaP256, &template()).unwrap())).await;
    let client = settings().endpoint(fake.url()).insecure(true).build().unwrap();
    let look = client.look().await.unwrap();
    assert_eq!((look.version.as_str(), look.certificate.unwrap().subject.as_str()), ("v1", "CN=kes.test"));
    if let Some(clock) = look.clock {
        assert!((clock - now()).abs() < Duration::MINUTE, "{clock}");
    }
}

#[tokio::test]
async fn insecure_accepts_it() {
    let fake = serve(Setup::new(authority().issue(KeyKind::EcdsaP256, &template()).unwrap())).await;
    assert_eq!(settings().endpoint(fake.url()).insecure(true).build().unwrap().version().await.unwrap().version, "v1");
}

#[tokio::test]
async fn a_pinned_key_is_trusted_whatever_its_certificate_says() {
    let template = Template { not_after: now() - Duration::MINUTE, ips: Vec::new(), ..template() };
    let certificate = authority().issue(KeyKind::EcdsaP256, &template).unwrap();
    let key = Identity::of_certificate(&certificate.chain()[0]).unwrap();
    let fake = serve(Setup::new(certificate)).await;
    let client = settings().endpoint(fake.url()).server_fingerprint(key.clone()).build().unwrap();
    assert_eq!(client.version().await.unwrap().version, "v1");
    // With an authority named as well, that has its say too.
    let other = authority().certificate().clone();
    let both = settings().endpoint(fake.url()).server_fingerprint(key).ca_certificate(other).build().unwrap();
    assert_eq!(refusal(both).await.problem(), &TlsProblem::Dates);
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_even_if_all_else_fits() {
    let authority = authority();
    let certificate = authority.issue(KeyKind::EcdsaP256, &template()).unwrap();
    let key = Identity::of_certificate(&certificate.chain()[0]).unwrap();
    let fake = serve(Setup::new(certificate)).await;
    let pin = Identity::of_spki(b"another key");
    for builder in [settings(), settings().insecure(true), settings().ca_certificate(authority.certificate().clone())] {
        let error = refusal(builder.endpoint(fake.url()).server_fingerprint(pin.clone()).build().unwrap()).await;
        assert_eq!(error.problem(), &TlsProblem::WrongFingerprint(pin.clone()));
        assert_eq!(error.server_certificate().unwrap().fingerprint, key.as_str());
        let text = format!("the server's key has the fingerprint {key}, not {pin}");
        assert!(error.to_string().ends_with(&text), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_name_says_for_whom_the_certificate_is() {
    let authority = authority();
    let mut template = template();
    template.ips.clear();
    let fake = serve(Setup::new(authority.issue(KeyKind::EcdsaP256, &template).unwrap())).await;
    let client = settings().endpoint(fake.url()).ca_certificate(authority.certificate().clone()).build().unwrap();
    let error = refusal(client).await;
    assert_eq!(error.problem(), &TlsProblem::WrongName);
    assert!(error.to_string().ends_with("x509: certificate is valid for localhost, not 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_says_until_when_it_was_valid() {
    let authority = authority();
    let template = Template { not_after: now() - Duration::MINUTE, ..template() };
    let fake = serve(Setup::new(authority.issue(KeyKind::EcdsaP256, &template).unwrap())).await;
    let client = settings().endpoint(fake.url()).ca_certificate(authority.certificate().clone()).build().unwrap();
    let error = refusal(client).await;
    assert_eq!(error.problem(), &TlsProblem::Dates);
    let until = error.server_certificate().unwrap().not_after.clone();
    assert!(
        error.hint().contains(&until) && error.hint().ends_with("renew it, or set the clock of this machine right")
    );
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_trusted_itself() {
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256] {
        let certificate = Certificate::self_signed(kind, &template()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.crt");
        fs::write(&file, certificate.to_pem()).unwrap();
        let fake = serve(Setup::new(certificate)).await;
        for path in [file.as_path(), folder.path()] {
            let client = settings().endpoint(fake.url()).ca_path(path).build().unwrap();
            client.version().await.unwrap();
        }
    }
}

/// `openssl req -x509` makes such certificates; Go clients accept them when they are named as CA.
#[tokio::test]
async fn a_self_signed_authority_may_be_a_server_if_it_is_named() {
    let (certificate, key) = (include_bytes!("data/ca-true.crt"), include_bytes!("data/ca-true.key"));
    let chain = kes_identity::pem::certificates(certificate).unwrap();
    let named = chain[0].clone();
    let certificate = Certificate::new(chain, kes_identity::pem::private_key(key, None).unwrap()).unwrap();
    let fake = serve(Setup::new(certificate)).await;
    let client = |host: &str| {
        let url = format!("https://{host}:{}", fake.address.port());
        settings().endpoint(url).ca_certificate(named.clone()).build().unwrap()
    };
    client("127.0.0.1").version().await.unwrap();
    assert!(matches!(client("localhost").version().await, Err(Error::Tls(_))), "its name still counts");
}

#[tokio::test]
async fn a_missing_client_certificate_is_said_so_on_both_protocols() {
    for alpn in ["h2", "http/1.1"] {
        let certificate = Certificate::self_signed(KeyKind::EcdsaP256, &template()).unwrap();
        let named = certificate.leaf().clone();
        let fake = serve(Setup { demand: true, alpn, ..Setup::new(certificate) }).await;
        let client = settings().endpoint(fake.url()).ca_certificate(named).build().unwrap();
        let error = refusal(client).await;
        assert_eq!(error.problem(), &TlsProblem::CertificateRequired);
        assert!(error.to_string().ends_with("remote error: tls: certificate required"));
        assert!(error.hint().contains("use an API key"));
    }
}

#[tokio::test]
async fn a_refused_client_certificate_names_the_identity() {
    for alpn in ["h2", "http/1.1"] {
        let certificate = Certificate::self_signed(KeyKind::EcdsaP256, &template()).unwrap();
        let named = certificate.leaf().clone();
        let mut roots = RootCertStore::empty();
        roots.add(authority().certificate().clone()).unwrap();
        let verification = Verification::Roots(roots.into());
        let fake = serve(Setup { verification, demand: true, alpn, ..Setup::new(certificate) }).await;
        let key = ApiKey::generate().unwrap();
        let identity = key.identity().clone();
        let client = settings().endpoint(fake.url()).ca_certificate(named).api_key(key).build().unwrap();
        let error = refusal(client).await;
        assert_eq!(error.problem(), &TlsProblem::CertificateRefused("unknown certificate authority".into()));
        assert!(error.hint().contains(identity.as_str()));
    }
}

#[tokio::test]
async fn a_plain_port_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 256];
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
        }
    });
    let client = settings().endpoint(format!("https://{address}")).insecure(true).build().unwrap();
    assert_eq!(refusal(client).await.problem(), &TlsProblem::NotTls);
}

#[tokio::test]
async fn replaced_certificate_files_are_used_after_a_reload() {
    let (fake, builder) = trusted(|_| json(200, VERSION)).await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.crt"), folder.path().join("c.key"));
    let write = || {
        let made = Certificate::self_signed(KeyKind::Ed25519, &template()).unwrap();
        fs::write(&certificate, made.to_pem()).unwrap();
        fs::write(&key, made.key_to_pem().expose()).unwrap();
        made.identity()
    };
    let first = write();
    let client = builder.certificate_files(&certificate, &key).build().unwrap();
    client.version().await.unwrap();
    let second = write();
    client.reload().unwrap();
    client.version().await.unwrap();
    let seen: Vec<_> = fake.seen().into_iter().map(|seen| seen.identity.unwrap()).collect();
    assert_eq!(seen, [first, second.clone()]);

    fs::write(&key, "nothing").unwrap();
    let error = client.reload().unwrap_err();
    assert_eq!(error.to_string(), "failed to read TLS private key");
    client.version().await.unwrap();
    assert_eq!(client.identity(), Some(second), "the old certificate goes on");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let missing =
        settings().endpoint("https://a").certificate_files("/no/such.crt", "/no/such.key").build().unwrap_err();
    let cause = std::error::Error::source(&missing).unwrap().to_string();
    assert_eq!(
        (missing.to_string().as_str(), cause.as_str()),
        ("reading certificate file", "open /no/such.crt: no such file or directory")
    );
    let missing = settings().endpoint("https://a").ca_path("/no/ca").build().unwrap_err();
    assert_eq!(missing.to_string(), "reading CA certificates from '/no/ca'");
}
