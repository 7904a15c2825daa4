//! HTTP/2: one request on a connection of its own, or many on one.

use crate::{Body, Client, Fault, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Sends a request on a fresh HTTP/2 connection and reads its response.
///
/// `client` must offer `h2`. A `Host` header becomes the authority; header names are sent in lower case.
///
/// # Errors
/// What kept the response from being complete; a reset stream is a [`Fault::Protocol`].
pub fn h2(address: SocketAddr, client: &Client, request: &Request) -> Result<Response, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), exchange(address, client, request))
            .await
            .unwrap_or(Err(Fault::Timeout))
    })
}

/// A connection for many requests, kept alive.
pub struct Http2 {
    runtime: Runtime,
    address: SocketAddr,
    sender: http2::SendRequest<Outgoing>,
}

impl Http2 {
    /// Connects. `client` must offer `h2`.
    ///
    /// # Errors
    /// What kept the connection from being made.
    pub fn open(address: SocketAddr, client: &Client) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (sender, _driver) = runtime.block_on(connect(address, client))?;
        Ok(Self { runtime, address, sender })
    }

    /// Sends these requests at once, each on a stream of its own, and reads their responses.
    ///
    /// # Errors
    /// What kept the first of them from being complete.
    pub fn exchange(&self, requests: &[Request]) -> Result<Vec<Response>, Fault> {
        self.runtime.block_on(async {
            let streams: Vec<_> = requests
                .iter()
                .map(|request| {
                    let (mut sender, message) = (self.sender.clone(), message(self.address, request));
                    tokio::spawn(async move { respond(sender.send_request(message?)).await })
                })
                .collect();
            let mut responses = Vec::new();
            for stream in streams {
                let limit = tokio::time::timeout(Duration::from_secs(10), stream).await.map_err(|_| Fault::Timeout)?;
                responses.push(limit.expect("a stream does not panic")?);
            }
            Ok(responses)
        })
    }
}

type Driver = JoinHandle<hyper::Result<()>>;

async fn connect(address: SocketAddr, client: &Client) -> Result<(http2::SendRequest<Outgoing>, Driver), Fault> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a host name");
    let stream = tokio_rustls::TlsConnector::from(client.config()).connect(name, socket).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(fault)?;
    Ok((sender, tokio::spawn(connection)))
}

async fn exchange(address: SocketAddr, client: &Client, request: &Request) -> Result<Response, Fault> {
    let (mut sender, driver) = connect(address, client).await?;
    match respond(sender.send_request(message(address, request)?)).await {
        // The connection's own end says more (an alert) than "connection closed".
        Err(error) => Err(driver.await.ok().and_then(Result::err).map_or(error, fault)),
        answer => answer,
    }
}

fn message(address: SocketAddr, request: &Request) -> Result<http::Request<Outgoing>, Fault> {
    let mut authority = address.to_string();
    let mut builder = http::Request::builder().method(request.method.as_str());
    for (name, value) in &request.headers {
        if name.eq_ignore_ascii_case("host") {
            authority.clone_from(value);
        } else {
            builder = builder.header(name.to_ascii_lowercase(), value);
        }
    }
    let uri = if request.target.starts_with('/') {
        format!("https://{authority}{}", request.target)
    } else {
        request.target.clone()
    };
    builder.uri(uri).body(body(&request.body)).map_err(|error| Fault::Protocol(error.to_string()))
}

async fn respond(
    answer: impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>,
) -> Result<Response, Fault> {
    let (parts, body) = answer.await.map_err(fault)?.into_parts();
    let body = body.collect().await.map_err(fault)?.to_bytes();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Response {
        version: "HTTP/2.0".into(),
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: body.to_vec(),
    })
}

/// Looks for the TLS alert below hyper's errors.
fn fault(error: hyper::Error) -> Fault {
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            if let Some(rustls::Error::AlertReceived(alert)) =
                io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
            {
                return Fault::Alert(u8::from(*alert));
            }
            return Fault::Closed;
        }
        cause = inner.source();
    }
    Fault::Protocol(error.to_string())
}

type Outgoing = Either<Full<Bytes>, Lengthless>;

fn body(body: &Body) -> Outgoing {
    match body {
        Body::None => Either::Left(Full::default()),
        Body::Sized(bytes) => Either::Left(Full::new(bytes.clone().into())),
        Body::Unsized(bytes) => Either::Right(Lengthless(Some(bytes.clone().into()))),
    }
}

/// A body that does not tell its length, not even that it is empty.
struct Lengthless(Option<Bytes>);

impl hyper::body::Body for Lengthless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }
}
