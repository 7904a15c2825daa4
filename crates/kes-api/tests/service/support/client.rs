//! Clients: hyper over rustls, and TLS with the HTTP written by hand.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kes_identity::{Authority, trust};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::soon;

/// The body of a request.
pub(crate) enum Payload {
    None,
    /// With its length declared.
    Whole(Bytes),
    /// Without: chunked, or DATA frames. It may have no bytes.
    Undeclared(Option<Bytes>),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Self::None => None,
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Undeclared(bytes) => bytes.take(),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Undeclared(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Undeclared(_) => SizeHint::default(),
        }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<serde_json::Value> for Payload {
    fn from(json: serde_json::Value) -> Self {
        Self::Whole(json.to_string().into())
    }
}

/// An answer that has been read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A header's only value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        assert!(self.headers.get_all(name).iter().count() < 2, "{name} twice");
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts status and message of an API error, as clients compare them.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, message: &str) {
        let body = format!("{{\"message\":\"{message}\"\n}}");
        assert_eq!((self.status, self.text()), (status, &body[..]));
        assert_eq!(self.header("content-type"), Some("application/json"));
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }
}

/// A connection that requests are made on.
#[derive(Clone)]
pub(crate) struct Client(Sender);

#[derive(Clone)]
enum Sender {
    Http1(Arc<tokio::sync::Mutex<http1::SendRequest<Payload>>>),
    Http2(http2::SendRequest<Payload>),
}

impl Client {
    pub(crate) async fn http1(raw: Raw) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(raw.0)).await.unwrap();
        tokio::spawn(connection);
        Self(Sender::Http1(Arc::new(tokio::sync::Mutex::new(sender))))
    }

    pub(crate) async fn http2(raw: Raw) -> Self {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(1 << 20)
            .handshake(TokioIo::new(raw.0))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(Sender::Http2(sender))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Payload::None).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Payload>) -> Answer {
        self.call("POST", path, &[], body.into()).await
    }

    pub(crate) async fn create(&self, name: &str) -> Answer {
        self.call("POST", &format!("/v1/key/create/{name}"), &[], Payload::None).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Payload) -> Answer {
        let response = soon("an answer", self.send(method, path, headers, body)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = soon("the end of an answer", body.collect()).await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// An answer whose body is still to be read.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Payload,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
        request = match &self.0 {
            Sender::Http1(_) => request.uri(path).header("host", "localhost"),
            Sender::Http2(_) => request.uri(format!("https://localhost{path}")),
        };
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(body).unwrap();
        match &self.0 {
            Sender::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let mut sender = sender.clone();
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// A log stream, once its headers are here.
    pub(crate) async fn events(&self, path: &str) -> Events {
        let response = soon("the headers of a stream", self.send("GET", path, &[], Payload::None)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Events { body: response.into_body(), buffer: Vec::new() }
    }
}

/// A log stream.
pub(crate) struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event, or `None` at a clean end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            match soon("an event", self.body.frame()).await {
                Some(frame) => self.buffer.extend_from_slice(&frame.unwrap().into_data().unwrap()),
                None => {
                    assert!(self.buffer.is_empty(), "half an event");
                    return None;
                }
            }
        }
    }
}

/// A TLS connection with HTTP/1.1 written by hand.
pub(crate) struct Raw(pub(crate) TlsStream<TcpStream>);

impl Raw {
    /// Trusts the authority, shows a certificate or none.
    pub(crate) fn config(authority: &Authority, shown: Option<&CertifiedKey>, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        trust(&mut roots, &[authority.certificate().clone()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    pub(crate) async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        let name = "localhost".try_into().unwrap();
        Ok(Self(soon("a handshake", TlsConnector::from(config).connect(name, socket)).await?))
    }

    pub(crate) async fn write(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Writes a request and reads its answer.
    pub(crate) async fn exchange(&mut self, text: impl AsRef<[u8]>) -> Answer {
        self.write(text).await;
        self.answer().await
    }

    /// One answer with a declared length.
    pub(crate) async fn answer(&mut self) -> Answer {
        let (status, headers) = self.head().await;
        let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        soon("a body", self.0.read_exact(&mut body)).await.unwrap();
        Answer { status, headers, body: body.into() }
    }

    /// Status and headers of an answer, without its body.
    pub(crate) async fn head(&mut self) -> (u16, HeaderMap) {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(soon("an answer", self.0.read_u8()).await.unwrap());
        }
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        (
            status,
            headers.map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    /// Everything until the server closes, however it does.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = soon("the end of a connection", self.0.read_to_end(&mut rest)).await;
        rest
    }
}

/// Everything but letters and digits as `%XX`.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
