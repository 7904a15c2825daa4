//! The limit: the least a Rust server can do and still do the wire work of KES.
//!
//! TLS with a required client certificate (any accepted, its signature verified), its SHA-256 once per connection, HTTP/1.1 and h2
//! by hyper, and the work of [`work::handle`]. No policy, no store, no metrics, no log. One `current_thread` runtime.
//! Started like KES: `kes-limit server --config FILE`, of which it reads `address`, `tls.key` and `tls.cert`.

mod work;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use ring::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{self, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpSocket;
use tokio_rustls::TlsAcceptor;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let file = arguments.iter().position(|word| word == "--config").and_then(|at| arguments.get(at + 1));
    let text = std::fs::read_to_string(file.expect("usage: kes-limit server --config FILE")).expect("the configuration");
    let setting = |section: &str, key: &str| setting(&text, section, key).unwrap_or_else(|| panic!("no {section} {key}"));

    let provider = Arc::new(crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(setting("tls", "cert")).expect("the certificate").collect::<Result<_, _>>().expect("PEM");
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has both versions")
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider.signature_verification_algorithms)))
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(setting("tls", "key")).expect("the key"))
        .expect("certificate and key belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(accept(&setting("address", ""), TlsAcceptor::from(Arc::new(config))));
}

/// A value of the configuration: of a top-level key when `key` is empty, else of a key below `section`.
fn setting(text: &str, section: &str, key: &str) -> Option<String> {
    let mut current = "";
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let top = !line.starts_with(' ');
        if top {
            current = name.trim();
        }
        if current == section && top == key.is_empty() && (top || name.trim() == key) {
            return Some(value.trim().to_owned());
        }
    }
    None
}

async fn accept(address: &str, tls: TlsAcceptor) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket option");
    socket.bind(address.parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1024).expect("a bound socket");
    let keys = Arc::new(work::Keys::new());
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        // An error means that the client has gone.
        let _ = socket.set_nodelay(true);
        let (tls, keys) = (tls.clone(), keys.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(socket).await else { return };
            let identity = stream.get_ref().1.peer_certificates().map(|chain| digest::digest(&digest::SHA256, &chain[0]));
            let service = hyper::service::service_fn(move |request| {
                std::hint::black_box(&identity);
                serve(request, keys.clone())
            });
            // An error means that the client has gone.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(request: Request<Incoming>, keys: Arc<work::Keys>) -> Result<Response<Full<Bytes>>, Infallible> {
    let post = request.method() == Method::PUT || request.method() == Method::POST;
    let (parts, body) = request.into_parts();
    let body = if post { collect(body).await } else { Bytes::new() };
    let (status, body) = match work::handle(&keys, post, parts.uri.path(), &body) {
        Ok(body) => (StatusCode::OK, body),
        Err((status, message)) => {
            (StatusCode::from_u16(status).expect("a status of ours"), Bytes::from(format!("{{\"message\":\"{message}\"}}")))
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Nearly every body arrives as one frame: that one is taken without copying, only a rest is collected.
async fn collect(mut body: Incoming) -> Bytes {
    let Some(Ok(frame)) = body.frame().await else { return Bytes::new() };
    let first = frame.into_data().unwrap_or_default();
    if body.is_end_stream() {
        return first;
    }
    let mut all = first.to_vec();
    while let Some(Ok(frame)) = body.frame().await {
        all.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
    }
    all.into()
}

#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
