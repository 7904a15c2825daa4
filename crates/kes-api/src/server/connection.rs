//! One connection: its peer, and HTTP over it.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kes_identity::{Identity, PeerError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::guard::MAX_HEADER;
use super::pace::{Limits, Pace, Paced};
use super::service;
use super::shared::{Shared, Worker};

/// A connection whose peer is known.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) worker: Arc<Worker>,
    pub(super) ip: Arc<str>,
    /// Who the peer is, found once; or why it is nobody.
    pub(super) identity: Result<Identity, PeerError>,
    pub(super) pace: Arc<Pace>,
}

/// The protocol that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Streams of one h2 connection at a time.
const H2_STREAMS: u32 = 250;
/// h2 flow control window, bytes: a whole request body fits.
const H2_WINDOW: u32 = 1 << 20;
/// Headers of one request; more are refused with 431.
const MAX_HEADERS: usize = 1000;

/// An address as clients of the log streams can read it: a plain IPv4 one where the socket shows it inside IPv6.
pub(super) fn ip_text(ip: IpAddr) -> Arc<str> {
    ip.to_canonical().to_string().into()
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        worker: Arc<Worker>,
        ip: Arc<str>,
        identity: Result<Identity, PeerError>,
        protocol: Protocol,
    ) -> Arc<Self> {
        let limits = shared.limits();
        let limits = Limits { header: limits.header, idle: limits.idle };
        let pace = Pace::new(limits, protocol == Protocol::Http2);
        Arc::new(Self { shared, worker, ip, identity, pace })
    }

    /// Serves requests until either side closes, or the server shuts down and the last one is answered.
    pub(super) async fn serve<S>(self: Arc<Self>, socket: S, protocol: Protocol)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let io = TokioIo::new(Paced::new(socket, Arc::clone(&self.pace)));
        let service = service_fn(move |request| service::serve(Arc::clone(&self), request));
        // What a connection dies of is the peer's affair; each of its requests has been audited.
        match protocol {
            Protocol::Http1 => {
                let connection = hyper::server::conn::http1::Builder::new()
                    .header_read_timeout(None)
                    .max_buf_size(MAX_HEADER)
                    .max_header_size(MAX_HEADER) // the buffer alone may be twice as large
                    .max_headers(MAX_HEADERS)
                    .serve_connection(io, service);
                let mut connection = std::pin::pin!(connection);
                if shared.unless_stopped(connection.as_mut()).await.is_none() {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            Protocol::Http2 => {
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(H2_STREAMS)
                    .initial_stream_window_size(H2_WINDOW)
                    .initial_connection_window_size(H2_WINDOW)
                    .max_header_list_size(MAX_HEADER as u32)
                    .serve_connection(io, service);
                let mut connection = std::pin::pin!(connection);
                if shared.unless_stopped(connection.as_mut()).await.is_none() {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
    }
}
