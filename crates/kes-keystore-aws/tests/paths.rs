//! The way to AWS as machines have it: private authorities, proxies, and the endpoints of AWS itself. A moto with TLS
//! answers for all hosts of AWS, behind a proxy that sends everything to it.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use kes_crypto::sealing::SealKey;
use kes_keystore::{ErrorKind, KeyStore, Seal};
use kes_keystore_aws::{Config, EngineConfig, SealConfig, Service, connect, connect_engine, connect_seal};
use support::alone::{World, alone};
use support::{Moto, REGION, chain, fixed, fresh, name};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// An authority of our own, and what it has signed: moto with TLS.
fn private_moto(home: &Path) -> Moto {
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).current_dir(home).stderr(Stdio::null()).status();
        assert!(done.unwrap().success(), "{arguments:?}");
    };
    let names = ["", "-fips"].map(|kind| {
        let hosts = ["secretsmanager", "kms"].map(|service| {
            let host = format!("{service}{kind}");
            format!(
                "DNS:{host}.{REGION}.amazonaws.com,DNS:{host}.{REGION}.api.aws,DNS:{host}.us-gov-west-1.amazonaws.com,\
                 DNS:{host}.cn-north-1.amazonaws.com.cn"
            )
        });
        hosts.join(",")
    });
    let extension = format!("subjectAltName=DNS:localhost,IP:127.0.0.1,{}", names.join(","));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
    ]);
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=aws",
        "-keyout",
        "aws.key",
        "-out",
        "aws.csr",
        "-addext",
        &extension,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "aws.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-days",
        "2",
        "-out",
        "aws.crt",
        "-copy_extensions",
        "copyall",
    ]);
    let path = |file: &str| home.join(file).display().to_string();
    Moto::start_with(&["-c", &path("aws.crt"), "-k", &path("aws.key")])
}

/// Where a proxy was asked to go.
type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that sends every CONNECT to one place, and writes down where it was to go. Its URL.
async fn proxy(address: &str, asked: Asked) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, to) = (format!("http://{}", listener.local_addr().unwrap()), address.to_owned());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(tunnel(near, to.clone(), Arc::clone(&asked)));
        }
    });
    url
}

async fn tunnel(near: TcpStream, to: String, log: Asked) {
    let mut near = BufReader::new(near);
    let mut line = String::new();
    near.read_line(&mut line).await.unwrap();
    let target = line.strip_prefix("CONNECT ").map(|rest| rest.split(' ').next().unwrap_or_default().to_owned());
    log.lock().unwrap().push(target.unwrap_or_else(|| line.clone()));
    let mut rest = String::new();
    while near.read_line(&mut rest).await.unwrap() > 2 {
        rest.clear();
    }
    near.get_mut().write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let mut far = TcpStream::connect(to).await.unwrap();
    let _ = tokio::io::copy_bidirectional(near.get_mut(), &mut far).await;
    let _ = near.read_u8().await;
}

async fn works(service: Service) {
    let store = connect(Config { service, prefix: fresh("paths"), ..Config::default() }).await;
    let store = store.unwrap_or_else(|error| panic!("{}", chain(&error)));
    store.create(&name("a"), b"value").await.unwrap();
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"value");
}

fn at(endpoint: &str, region: Option<&str>) -> Service {
    let credentials = Some(fixed("AKIATEST", None));
    Service { endpoint: Some(endpoint.to_owned()), region: region.map(Into::into), credentials }
}

/// A world with moto behind TLS, at `TEST_ENDPOINT`.
async fn private(home: &Path, variables: &[(&str, &str)]) -> World {
    let moto = private_moto(home);
    let mut world =
        World::default().set("TEST_ENDPOINT", format!("localhost:{}", moto.address.split(':').nth(1).unwrap()));
    for (variable, value) in variables {
        let value = if value.contains('.') { home.join(value).display().to_string() } else { (*value).to_owned() };
        world = world.set(variable, value);
    }
    world.keep(moto)
}

async fn private_works() {
    works(at(&std::env::var("TEST_ENDPOINT").unwrap(), Some(REGION))).await;
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn aws_ca_bundle_is_trusted() {
    alone("aws_ca_bundle_is_trusted", async |home| private(home, &[("AWS_CA_BUNDLE", "ca.crt")]).await, private_works);
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn ssl_cert_file_is_trusted() {
    alone("ssl_cert_file_is_trusted", async |home| private(home, &[("SSL_CERT_FILE", "ca.crt")]).await, private_works);
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn an_empty_aws_ca_bundle_counts_as_none() {
    let variables = [("SSL_CERT_FILE", "ca.crt"), ("AWS_CA_BUNDLE", "")];
    alone("an_empty_aws_ca_bundle_counts_as_none", async |home| private(home, &variables).await, private_works);
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn an_authority_that_is_not_trusted_is_said_to_be() {
    alone(
        "an_authority_that_is_not_trusted_is_said_to_be",
        async |home| private(home, &[]).await,
        async || {
            let service = at(&std::env::var("TEST_ENDPOINT").unwrap(), Some(REGION));
            let error = connect(Config { service, ..Config::default() }).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unreachable);
            let text = chain(&error);
            assert!(text.contains("AWS_CA_BUNDLE") && text.contains("certificate"), "{text}");
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn a_bundle_that_cannot_be_read_is_named() {
    let world = async |home: &Path| private(home, &[("AWS_CA_BUNDLE", "missing.crt")]).await;
    alone("a_bundle_that_cannot_be_read_is_named", world, async || {
        let service = at(&std::env::var("TEST_ENDPOINT").unwrap(), Some(REGION));
        let error = connect(Config { service, ..Config::default() }).await.err().unwrap();
        assert!(chain(&error).contains("missing.crt"), "{}", chain(&error));
    });
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn no_proxy_is_passed_by() {
    let variables = [("AWS_CA_BUNDLE", "ca.crt"), ("HTTPS_PROXY", "http://127:9"), ("NO_PROXY", "localhost")];
    alone("no_proxy_is_passed_by", async |home| private(home, &variables).await, private_works);
}

/// A world in which the hosts of AWS are reached through a proxy, and are moto.
async fn behind_a_proxy(home: &Path, asked: Asked) -> World {
    let moto = private_moto(home);
    let url = proxy(&moto.address, asked).await;
    let bundle = home.join("ca.crt").display().to_string();
    World::default().set("HTTPS_PROXY", url).set("AWS_CA_BUNDLE", bundle).keep(moto)
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_hosts_of_aws_are_reached_through_a_proxy() {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    alone(
        "the_hosts_of_aws_are_reached_through_a_proxy",
        async move |home| {
            let world = behind_a_proxy(home, log).await;
            world.set("AWS_ACCESS_KEY_ID", "AKIATEST").set("AWS_SECRET_ACCESS_KEY", "s")
        },
        async || {
            // Without scheme and region, validated cryptography, IPv6, other partitions.
            works(at("secretsmanager.eu-central-1.amazonaws.com", None)).await;
            works(at("https://secretsmanager-fips.eu-central-1.amazonaws.com", Some(REGION))).await;
            works(at("secretsmanager.eu-central-1.api.aws", None)).await;
            works(at("secretsmanager-fips.us-gov-west-1.amazonaws.com", None)).await;
            works(at("secretsmanager.cn-north-1.amazonaws.com.cn", Some("cn-north-1"))).await;
            // The KMS key is looked at where the secrets are: the same kind of endpoint.
            for (endpoint, kms) in [
                ("secretsmanager-fips.eu-central-1.amazonaws.com", "kms-fips.eu-central-1.amazonaws.com"),
                ("secretsmanager.eu-central-1.api.aws", "kms.eu-central-1.api.aws"),
            ] {
                let kmskey = Some("alias/none".to_owned());
                let error = connect(Config { service: at(endpoint, None), kmskey, ..Config::default() }).await;
                let error = error.err().unwrap();
                assert!(chain(&error).contains("does not exist"), "{kms}: {}", chain(&error));
            }
            // KMS without an endpoint: that of the region.
            let key = "alias/none".to_owned();
            let service = || Service { region: Some(REGION.to_owned()), ..Service::default() };
            let seal = connect_seal(SealConfig { service: service(), key: key.clone() }).await.unwrap();
            let error = seal.wrap("label", &SealKey::generate().unwrap()).await.unwrap_err();
            assert!(error.to_string().contains("does not exist"), "{error}");
            let engine = EngineConfig { service: service(), key, ..EngineConfig::default() };
            assert!(connect_engine(engine).await.err().unwrap().to_string().contains("does not exist"));
        },
    );
    let asked = asked.lock().unwrap();
    for host in [
        "secretsmanager.eu-central-1.amazonaws.com:443",
        "secretsmanager-fips.eu-central-1.amazonaws.com:443",
        "secretsmanager.eu-central-1.api.aws:443",
        "secretsmanager-fips.us-gov-west-1.amazonaws.com:443",
        "secretsmanager.cn-north-1.amazonaws.com.cn:443",
        "kms-fips.eu-central-1.amazonaws.com:443",
        "kms.eu-central-1.api.aws:443",
        "kms.eu-central-1.amazonaws.com:443",
    ] {
        assert!(asked.iter().any(|target| target == host), "{host}: {asked:?}");
    }
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_usual_variables_choose_endpoints_and_region() {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    alone(
        "the_usual_variables_choose_endpoints_and_region",
        async move |home| {
            let world = behind_a_proxy(home, log).await;
            let world = world.set("AWS_ACCESS_KEY_ID", "AKIATEST").set("AWS_SECRET_ACCESS_KEY", "s");
            world.set("AWS_REGION", REGION).set("AWS_USE_FIPS_ENDPOINT", "true")
        },
        async || {
            let seal =
                connect_seal(SealConfig { service: Service::default(), key: "alias/none".into() }).await.unwrap();
            let error = seal.wrap("label", &SealKey::generate().unwrap()).await.unwrap_err();
            assert!(error.to_string().contains("does not exist"), "{error}");
        },
    );
    assert_eq!(asked.lock().unwrap().as_slice(), ["kms-fips.eu-central-1.amazonaws.com:443"]);
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn kinds_of_endpoints_do_not_count_where_an_endpoint_is_written() {
    alone(
        "kinds_of_endpoints_do_not_count_where_an_endpoint_is_written",
        async |_| {
            let world = World::default().set("TEST_ENDPOINT", support::moto().url());
            world.set("AWS_USE_FIPS_ENDPOINT", "true").set("AWS_USE_DUALSTACK_ENDPOINT", "true")
        },
        async || {
            let service = || at(&std::env::var("TEST_ENDPOINT").unwrap(), Some(REGION));
            works(service()).await;
            // KMS beside it, and KMS itself, are reached as well: they say that there is no such key.
            let kmskey = Some("alias/none".to_owned());
            let error = connect(Config { service: service(), kmskey, ..Config::default() }).await.err().unwrap();
            assert!(error.to_string().contains("does not exist"), "{}", chain(&error));
            let seal = connect_seal(SealConfig { service: service(), key: "alias/none".into() }).await.unwrap();
            let error = seal.wrap("label", &SealKey::generate().unwrap()).await.unwrap_err();
            assert!(error.to_string().contains("does not exist"), "{}", chain(&error));
        },
    );
}
