//! A TLS server in this process that answers what a test tells it and remembers what it was asked.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kes_client::{Builder, Client};
use kes_identity::{Authority, Certificate, Identity, KeyKind, Template, Verification, client_verifier};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) headers: http::HeaderMap,
    pub(crate) identity: Option<Identity>,
}

/// Status, content type and body of an answer.
pub(crate) type Reply = (u16, &'static str, Vec<u8>);

pub(crate) const JSON: &str = "application/json";

pub(crate) fn json(status: u16, body: &str) -> Reply {
    (status, JSON, body.as_bytes().to_vec())
}

/// What a server demands and shows.
pub(crate) struct Setup {
    pub(crate) certificate: Certificate,
    pub(crate) verification: Verification,
    pub(crate) demand: bool,
    /// Comma separated, best first.
    pub(crate) alpn: &'static str,
}

impl Setup {
    pub(crate) fn new(certificate: Certificate) -> Self {
        Self { certificate, verification: Verification::Any, demand: false, alpn: "h2,http/1.1" }
    }
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) async fn start(setup: Setup, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, shared, reply) = (acceptor(setup), Arc::clone(&seen), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen, reply) = (acceptor.clone(), Arc::clone(&shared), Arc::clone(&reply));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(socket).await else { return };
                    let (_, session) = tls.get_ref();
                    let identity =
                        session.peer_certificates().and_then(|chain| Identity::of_certificate(&chain[0]).ok());
                    let h2 = session.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request| {
                        answer(request, identity.clone(), Arc::clone(&seen), Arc::clone(&reply))
                    });
                    let io = TokioIo::new(tls);
                    if h2 {
                        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await;
                    } else {
                        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: http::Request<Incoming>,
    identity: Option<Identity>,
    seen: Arc<Mutex<Vec<Seen>>>,
    reply: Arc<impl Fn(&Seen) -> Reply>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let one = Seen { method: head.method.to_string(), path, body, headers: head.headers, identity };
    seen.lock().unwrap().push(one.clone());
    let (status, content_type, body) = reply(&one);
    let mut response = http::Response::builder().status(status);
    if let Some(location) = content_type.strip_prefix("location:") {
        response = response.header("location", location);
    } else {
        response = response.header("content-type", content_type);
    }
    Ok(response.body(Full::new(body.into())).unwrap())
}

fn acceptor(setup: Setup) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = setup.certificate;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(client_verifier(setup.verification, setup.demand))
        .with_single_cert(certificate.chain().to_vec(), certificate.key().expose().clone_key())
        .unwrap();
    config.alpn_protocols = setup.alpn.split(',').map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A certificate authority of this test run.
pub(crate) fn authority() -> Authority {
    Authority::generate("Test CA", now() - Duration::HOUR, now() + Duration::DAY).unwrap()
}

/// What a server certificate says by default: 127.0.0.1 and localhost, today.
pub(crate) fn template() -> Template {
    let mut template = Template::new("kes.test", now() - Duration::HOUR, now() + Duration::DAY);
    template.dns = vec!["localhost".into()];
    template.ips = vec!["127.0.0.1".parse().unwrap()];
    template
}

/// A server with a good certificate, and the settings of a client that trusts it.
pub(crate) async fn trusted(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Fake, Builder) {
    let authority = authority();
    let certificate = authority.issue(KeyKind::EcdsaP256, &template()).unwrap();
    let fake = Fake::start(Setup::new(certificate), reply).await;
    let builder = settings().endpoint(fake.url()).ca_certificate(authority.certificate().clone());
    (fake, builder)
}

/// Settings without any delay.
pub(crate) fn settings() -> Builder {
    Client::builder().proxy_from_environment(false).retry_pause(std::time::Duration::ZERO)
}
