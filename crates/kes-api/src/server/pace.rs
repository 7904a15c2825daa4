//! Time limits at the socket.
//!
//! The HTTP library's own header timer also runs while a connection is idle and never for a silent client, so the
//! limits are kept here, where bytes arrive: so long for the first header to be complete, so long for a later one once
//! it has begun, so long in between, and so long for a peer that does not take its answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A peer that takes none of its answer for so long is gone.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// After an answer to a request whose body was not read: how long to let the peer read it before the socket closes.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes thrown away meanwhile.
const LINGER_BYTES: usize = 16 << 20;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the handshake to the first complete header, and for each later header once it has begun.
    pub(super) header: Duration,
    /// Between requests.
    pub(super) idle: Duration,
}

/// What a connection is doing; shared between its socket and its requests.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Limits,
    /// On h2 single frames do not begin a header; the idle limit covers them.
    headers_are_timed: bool,
    in_flight: AtomicU32,
    phase: Mutex<Phase>,
    linger: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing complete has arrived yet.
    First(Instant),
    /// Waiting for the next request.
    Idle(Instant),
    /// Its first bytes are here. The clock is asked when there turn out to be more to wait for.
    Begun,
    Header(Instant),
}

impl Pace {
    pub(super) fn new(limits: Limits, is_h2: bool) -> Arc<Self> {
        Arc::new(Self {
            limits,
            headers_are_timed: !is_h2,
            in_flight: AtomicU32::new(0),
            phase: Mutex::new(Phase::First(Instant::now())),
            linger: AtomicBool::new(false),
        })
    }

    /// A request has arrived; it lasts until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { pace: Arc::clone(self), ends: None }
    }

    /// The peer may still be sending a body that nobody reads: give it time to read the answer.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn bytes_arrived(&self) {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match *phase {
            Phase::Idle(_) if self.headers_are_timed => *phase = Phase::Begun,
            Phase::First(_) if !self.headers_are_timed => *phase = Phase::Idle(Instant::now()),
            _ => {}
        }
    }

    /// When the connection has waited long enough; `None` while it is busy.
    fn deadline(&self) -> Option<Instant> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Begun = *phase {
            *phase = Phase::Header(Instant::now());
        }
        Some(match *phase {
            Phase::Begun => unreachable!("replaced above"),
            Phase::First(since) | Phase::Header(since) => since + self.limits.header,
            Phase::Idle(since) => since + self.limits.idle,
        })
    }
}

/// A request that is not answered yet.
pub(super) struct InFlight {
    pace: Arc<Pace>,
    ends: Option<Instant>,
}

impl InFlight {
    /// The answer is ready: idle time counts from here, unless the answer is a stream.
    pub(super) fn ends(&mut self, at: Instant) {
        self.ends = Some(at);
    }

    /// The answer goes on for as long as it likes.
    pub(super) fn goes_on(&mut self) {
        self.ends = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pace.set(Phase::Idle(self.ends.unwrap_or_else(Instant::now)));
        self.pace.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that keeps the limits.
pub(super) struct Paced<S> {
    socket: S,
    pace: Arc<Pace>,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer was ever polled; from then on it wakes us.
    armed: bool,
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Paced<S> {
    pub(super) fn new(socket: S, pace: Arc<Pace>) -> Self {
        let timer = Box::pin(tokio::time::sleep(pace.limits.header));
        Self { socket, pace, timer, armed: false, stalled: None, lingering: None }
    }

    /// Ready with an error once the connection has waited too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.pace.deadline() else {
            self.wake_later(cx);
            return Poll::Pending;
        };
        loop {
            let elapsed = self.timer.is_elapsed();
            if self.timer.deadline() > deadline || (elapsed && self.timer.deadline() < deadline) {
                self.timer.as_mut().reset(deadline);
            } else if self.armed && !elapsed {
                return Poll::Pending; // set earlier than needed, or just right: it wakes this same task
            }
            self.armed = true;
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= deadline {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client was silent for too long"));
            }
        }
    }

    /// While a request is in flight nothing ends the connection. But this may be the last time that the HTTP library reads
    /// before the connection is idle, so something must wake it to look at the clock again.
    fn wake_later(&mut self, cx: &mut Context<'_>) {
        if !self.armed || self.timer.is_elapsed() {
            let idle = self.pace.limits.idle;
            self.timer.as_mut().reset(Instant::now() + idle);
            self.armed = true;
            let _ = self.timer.as_mut().poll(cx);
        }
    }

    /// Ends a write that made no progress for too long.
    fn progress<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.socket).poll_read(cx, buf) {
            if buf.filled().len() > before {
                self.pace.bytes_arrived();
            }
            return Poll::Ready(result);
        }
        self.poll_deadline(cx).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
            ready!(self.progress(cx, shut))?;
            if !self.pace.linger.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.lingering = Some((Box::pin(tokio::time::sleep(LINGER)), 0));
        }
        // Closing a socket with unread bytes resets it, and a reset can overtake the answer.
        let this = &mut *self;
        let (timer, read) = this.lingering.as_mut().expect("set above");
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && *read < LINGER_BYTES => *read += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return timer.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMITS: Limits = Limits { header: Duration::from_secs(5), idle: Duration::from_secs(90) };

    async fn seconds_until_closed(socket: &mut (impl AsyncRead + Unpin)) -> u64 {
        let since = Instant::now();
        let mut scratch = [0; 64];
        loop {
            match socket.read(&mut scratch).await {
                Ok(0) => panic!("closed by the peer"),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return since.elapsed().as_secs();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_has_as_long_as_a_header() {
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, Pace::new(LIMITS, false));
        assert_eq!(seconds_until_closed(&mut paced).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_bytes_do_not_prolong_the_first_header() {
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, Pace::new(LIMITS, false));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        assert_eq!(seconds_until_closed(&mut paced).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_idle_limit_holds_and_a_begun_header_ends_it() {
        let pace = Pace::new(LIMITS, false);
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, Arc::clone(&pace));
        drop(pace.begin());
        assert_eq!(seconds_until_closed(&mut paced).await, 90);
        drop(pace.begin());
        client.write_all(b"GET ").await.unwrap();
        assert_eq!(seconds_until_closed(&mut paced).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_has_no_limit_here() {
        let pace = Pace::new(LIMITS, false);
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, Arc::clone(&pace));
        let request = pace.begin();
        let waiting = tokio::time::timeout(Duration::from_secs(1000), paced.read_u8()).await;
        assert!(waiting.is_err(), "still waiting");
        drop(request);
        assert_eq!(seconds_until_closed(&mut paced).await, 90);
    }

    /// The HTTP library reads while a request is in flight, and not again when it has ended.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_last_read_while_busy_still_ends() {
        let pace = Pace::new(LIMITS, false);
        let (_client, server) = duplex(64);
        let mut paced = Paced::new(server, Arc::clone(&pace));
        let request = pace.begin();
        let waiting = tokio::spawn(async move { seconds_until_closed(&mut paced).await });
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(request);
        assert_eq!(waiting.await.unwrap(), 30 + 90);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_h2_do_not_begin_a_header() {
        let (mut client, server) = duplex(64);
        let mut paced = Paced::new(server, Pace::new(LIMITS, true));
        client.write_all(b"PRI").await.unwrap();
        assert_eq!(seconds_until_closed(&mut paced).await, 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_client, server) = duplex(4);
        let mut paced = Paced::new(server, Pace::new(LIMITS, false));
        let since = Instant::now();
        let error = paced.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), since.elapsed()), (io::ErrorKind::TimedOut, WRITE_STALL));
    }
}
