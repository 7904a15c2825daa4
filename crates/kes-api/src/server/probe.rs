//! A listener for probes and metrics without TLS, for those who have no client certificate: kubelets, load balancers,
//! Prometheus.
//!
//! | path | also | answer |
//! |---|---|---|
//! | `/live` | `/livez` | 200 while the threads that serve requests do what they are asked; no store is touched |
//! | `/ready` | `/readyz`, `/v1/ready` | as the API's `/v1/ready`: 200, 504, 502; and 503 once the server shuts down |
//! | `/metrics` | | the operator's view |
//! | `/v1/metrics` | | as the API: the old families, with `?view=full` the operator's view |
//!
//! Everything else is 404, as is every method but GET and HEAD. These requests are no requests of the API: they are in
//! no audit log and counted apart. They run on the runtime of whoever started the listener, so that they cannot take
//! time from requests, and each connection serves one of them within a few seconds.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Handle;
use super::failure::{Body, Failure};
use super::metrics::{Metrics, render};
use super::shared::Shared;
use super::system;
use crate::wire::{self, text};

/// Connections at once; further ones are closed.
const CONNECTIONS: usize = 64;
/// For a connection, from its start to its end.
const TIME: Duration = Duration::from_secs(15);
/// For the header of its request.
const HEADER: Duration = Duration::from_secs(5);
/// How long an answer about the store's readiness is taken for new: whoever can connect must not be able to keep the
/// store busy.
const READY_AGE: Duration = Duration::from_secs(1);
/// Within which the threads that serve requests must do what they are asked.
const ALIVE: Duration = Duration::from_secs(5);

/// Counters of probe requests, and the last answer about readiness.
#[derive(Debug, Default)]
pub(super) struct Probes {
    counts: [AtomicU64; KINDS.len()],
    ready: tokio::sync::Mutex<Option<(Instant, Answer)>>,
}

/// What is asked for, as the metric's label.
const KINDS: [&str; 4] = ["live", "ready", "metrics", "other"];

/// Status and, for a refusal, its words.
type Answer = (StatusCode, &'static [u8]);

/// A running listener; it ends when dropped.
#[derive(Debug)]
pub struct ProbeListener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl ProbeListener {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ProbeListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Handle {
    /// Answers probes and metrics in plain HTTP, on the current runtime.
    ///
    /// # Errors
    /// The operating system's.
    pub fn probes(&self, listener: TcpListener) -> io::Result<ProbeListener> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let task = tokio::spawn(accept(listener, Arc::clone(&self.0)));
        Ok(ProbeListener { address, task })
    }
}

impl Probes {
    /// Requests by what they asked for.
    pub(super) fn counts(&self) -> [(&'static str, u64); KINDS.len()] {
        std::array::from_fn(|kind| (KINDS[kind], self.counts[kind].load(Ordering::Relaxed)))
    }

    fn count(&self, kind: &str) {
        let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len() - 1);
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
    }
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _place = place;
                    // What becomes of it is the peer's affair.
                    let _ = tokio::time::timeout(TIME, converse(socket, shared)).await;
                });
            }
            // The main listener says what is wrong.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(socket: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, &request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn answer<B>(shared: &Shared, request: &Request<B>) -> Response<Full<Bytes>> {
    let kind = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/live" | "/livez") => "live",
        (&Method::GET | &Method::HEAD, "/ready" | "/readyz" | "/v1/ready") => "ready",
        (&Method::GET | &Method::HEAD, "/metrics" | "/v1/metrics") => "metrics",
        _ => "other",
    };
    shared.probes.count(kind);
    match kind {
        "live" if shared.answers(ALIVE).await => plain(StatusCode::OK, ""),
        "live" => plain(StatusCode::SERVICE_UNAVAILABLE, "a thread that serves requests does not answer\n"),
        "ready" => match ready(shared).await {
            (StatusCode::OK, _) => plain(StatusCode::OK, ""),
            (status, message) => {
                let mut response = Response::new(Full::from(wire::error_body(message)));
                *response.status_mut() = status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
        },
        "metrics" => {
            let full = request.uri().path() == "/metrics" || request.uri().query() == Some("view=full");
            let workers: Vec<&Metrics> = shared.workers.iter().map(|worker| &worker.metrics).collect();
            let page = render(&workers, &system::gauges(shared, &shared.state.load(), full), full);
            let mut response = Response::new(Full::from(page));
            let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, version);
            response
        }
        _ => plain(StatusCode::NOT_FOUND, text::PAGE_NOT_FOUND),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if !text.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

/// Whether requests can be served. Who asks while the store is being asked waits for that answer.
async fn ready(shared: &Shared) -> Answer {
    if shared.stopping.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, b"the server is shutting down");
    }
    let mut last = shared.probes.ready.lock().await;
    if let Some((at, answer)) = *last
        && at.elapsed() < READY_AGE
    {
        return answer;
    }
    let keys = Arc::clone(&shared.state.load().keys);
    let answer = match keys.ready().await {
        Ok(_) => (StatusCode::OK, &b""[..]),
        Err(error) => {
            let failure = Failure::not_ready(error);
            match failure.body {
                Body::Message(Cow::Borrowed(text)) => (failure.status, text),
                _ => (failure.status, &b""[..]),
            }
        }
    };
    *last = Some((Instant::now(), answer));
    answer
}
