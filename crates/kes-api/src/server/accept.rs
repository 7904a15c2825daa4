//! Sockets and TLS. Nothing below this sees a socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kes_identity::{PeerError, Refusal, Verification, peer_identity, still_valid};
use rustls::{AlertDescription, HandshakeKind};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::audit::{Event, Record};
use super::connection::{Connection, Protocol, ip_text};
use super::log::{Level, Seldom};
use super::metrics::HandshakeFailure;
use super::shared::{Shared, Worker};
use super::tls::Tls;

/// What a client that speaks plain HTTP gets, as the old server answered it.
const PLAIN_HTTP: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// First byte of every TLS connection: a handshake record (RFC 8446 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until the shutdown and hands each to the worker that has the fewest.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    others: Vec<UnboundedSender<std::net::TcpStream>>,
) {
    let mut shutdown = shared.shutdown.subscribe();
    let failures = Seldom::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, peer)) => dispatch(socket, peer, &shared, &worker, &others),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = failures.pass() {
                    let hint =
                        "cannot accept connections; is the limit of open files (ulimit -n, LimitNOFILE) too low?";
                    shared.log.write(Level::Error, hint, &[("error", &error), ("times", &times)]);
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn dispatch(
    socket: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    own: &Arc<Worker>,
    others: &[UnboundedSender<std::net::TcpStream>],
) {
    if let Some(limit) = shared.limits().connections
        && shared.load() >= limit
    {
        turn_away(peer, limit, shared, own);
        return;
    }
    let load = |worker: &Arc<Worker>| worker.load.load(Ordering::Relaxed);
    let least = shared.workers.iter().min_by_key(|worker| load(worker)).unwrap_or(own);
    least.load.fetch_add(1, Ordering::Relaxed);
    if least.index == own.index {
        tokio::spawn(converse(socket, Arc::clone(shared), Arc::clone(own)));
    } else if let Ok(socket) = socket.into_std()
        && others[least.index - 1].send(socket).is_ok()
    {
    } else {
        least.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Closes a connection beyond the limit, instead of letting it wait for a place that may never come: clients go on to
/// the next server at once.
fn turn_away(peer: SocketAddr, limit: usize, shared: &Shared, worker: &Worker) {
    worker.metrics.handshake_failed(HandshakeFailure::TooManyConnections);
    if let Some(times) = shared.turned_away.pass() {
        shared.log.write(
            Level::Warn,
            format_args!("closed new connections: {limit} are open, which is 'limits.connections'"),
            &[("req.ip", &ip_text(peer.ip())), ("times", &times)],
        );
    }
}

/// Everything that happens on one socket. The worker's load was raised for it.
pub(super) async fn converse(socket: TcpStream, shared: Arc<Shared>, worker: Arc<Worker>) {
    let _open = OpenConnection::new(Arc::clone(&worker));
    let _ = socket.set_nodelay(true);
    let Ok(peer) = socket.peer_addr() else { return };
    let started = Instant::now();
    let (tls, limit) = {
        let state = shared.state.load();
        (Arc::clone(&state.tls), state.settings.connections.handshake)
    };
    let mut shutdown = shared.shutdown.subscribe();
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(limit, handshake(socket, &tls)) => handshake,
        // Nobody was promised anything yet.
        _ = shutdown.wait_for(|stop| *stop) => return,
    };
    let (failure, reason) = match handshake {
        Ok(Ok(stream)) => match admit(&stream, &tls) {
            Ok(()) => return converse_http(stream, peer, shared, worker).await,
            Err(refusal) => (failure_of(&refusal), refusal.to_string()),
        },
        Ok(Err(Broken::Silent)) => return,
        Ok(Err(Broken::PlainHttp)) => {
            (HandshakeFailure::PlainHttp, "client sent an HTTP request to an HTTPS server".to_owned())
        }
        Ok(Err(Broken::NotTls)) => (HandshakeFailure::Protocol, "the client does not speak TLS".to_owned()),
        Ok(Err(Broken::Tls(error))) => explain(&error, &tls),
        Err(_) => (HandshakeFailure::Timeout, "the client did not complete the handshake in time".to_owned()),
    };
    worker.metrics.handshake_failed(failure);
    report(&shared, &worker, peer, started, &reason);
}

struct OpenConnection(Arc<Worker>);

impl OpenConnection {
    fn new(worker: Arc<Worker>) -> Self {
        worker.metrics.connection_opened();
        Self(worker)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.metrics.connection_closed();
        if self.0.load.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

enum Broken {
    /// Opened and closed without a byte: a health check.
    Silent,
    PlainHttp,
    NotTls,
    Tls(io::Error),
}

/// The first byte tells TLS from plain HTTP, whose clients deserve an answer that they can show.
async fn handshake(mut socket: TcpStream, tls: &Tls) -> Result<TlsStream<TcpStream>, Broken> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) => return Err(Broken::Silent),
        Ok(_) if first[0].is_ascii_alphabetic() => {
            let _ = socket.write_all(PLAIN_HTTP).await;
            let _ = socket.shutdown().await;
            return Err(Broken::PlainHttp);
        }
        Ok(_) if first[0] != TLS_HANDSHAKE => return Err(Broken::NotTls),
        Ok(_) => {}
        Err(_) => return Err(Broken::Silent),
    }
    TlsAcceptor::from(Arc::clone(&tls.config)).accept(socket).await.map_err(Broken::Tls)
}

/// A resumed connection was verified when its session began; its certificate may have expired since.
fn admit(stream: &TlsStream<TcpStream>, tls: &Tls) -> Result<(), Refusal> {
    let connection = stream.get_ref().1;
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    match (&tls.verification, connection.peer_certificates()) {
        (Verification::Roots(_), Some(chain)) if resumed => still_valid(chain, OffsetDateTime::now_utc()),
        _ => Ok(()),
    }
}

async fn converse_http(stream: TlsStream<TcpStream>, peer: SocketAddr, shared: Arc<Shared>, worker: Arc<Worker>) {
    let connection = stream.get_ref().1;
    worker.metrics.handshake(connection.handshake_kind() == Some(HandshakeKind::Resumed));
    let identity = connection.peer_certificates().map_or(Err(PeerError::Missing), peer_identity);
    let is_h2 = connection.alpn_protocol() == Some(b"h2");
    let protocol = if is_h2 { Protocol::Http2 } else { Protocol::Http1 };
    if let Err(PeerError::AuthorityFirst) = identity {
        // `openssl req -x509` makes such certificates unless told otherwise; the wire text alone puzzles its users.
        shared.log.write(
            Level::Info,
            "client certificate is a CA certificate (CA:TRUE), so the client has no identity; make one with CA:FALSE",
            &[("req.ip", &peer.ip())],
        );
    }
    Connection::new(shared, worker, ip_text(peer.ip()), identity, protocol).serve(stream, protocol).await;
}

fn failure_of(refusal: &Refusal) -> HandshakeFailure {
    match refusal {
        Refusal::Missing => HandshakeFailure::NoCertificate,
        Refusal::Expired(_) | Refusal::NotYetValid(_) => HandshakeFailure::Expired,
        Refusal::UnknownAuthority => HandshakeFailure::UnknownAuthority,
        _ => HandshakeFailure::BadCertificate,
    }
}

/// Which side refused what, in one sentence.
fn explain(error: &io::Error, tls: &Tls) -> (HandshakeFailure, String) {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return (HandshakeFailure::Disconnected, format!("the client broke the connection off: {error}"));
    };
    if let Some(refusal) = Refusal::of(error) {
        return (failure_of(&refusal), refusal.to_string());
    }
    let rustls::Error::AlertReceived(alert) = error else {
        return (HandshakeFailure::Protocol, error.to_string());
    };
    let reason = match alert {
        AlertDescription::UnknownCA => {
            "the client does not trust the server's certificate: give it the CA (MINIO_KMS_KES_CAPATH, --ca-path)"
        }
        AlertDescription::CertificateExpired => "the client says that the server's certificate has expired",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the client refuses the server's certificate: wrong name, or not trusted"
        }
        _ => "the client gave up",
    };
    let mut reason = format!("{reason} (alert {alert:?})");
    if let Some(defect) = tls.defect() {
        reason = format!("{reason}; {defect}");
    }
    (HandshakeFailure::RefusedByClient, reason)
}

fn report(shared: &Shared, worker: &Worker, peer: SocketAddr, started: Instant, reason: &str) {
    // A socket for IPv6 and IPv4 shows the latter as ::ffff:1.2.3.4.
    let shown = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    shared.log.write(Level::Info, format_args!("TLS handshake error from {shown}: {reason}"), &[]);
    shared.audit.write(
        worker.index,
        &Record {
            method: "",
            path: b"",
            ip: &ip_text(peer.ip()),
            identity: None,
            code: 0,
            took: started.elapsed(),
            policy: "",
            rule: "",
            id: None,
            event: Event::Handshake(reason),
            streamed: false,
        },
    );
}
