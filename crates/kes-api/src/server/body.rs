//! Request bodies: read within limits, and never left half read on a connection that goes on (http-api 2.5).

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::failure::Failure;
use super::guard::Framing;
use super::pace::Pace;

/// Bytes of an unread body that are thrown away so that the connection can go on.
const DRAIN_BYTES: usize = 256 << 10;
/// Time for that.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The body of a request, read or not.
pub(super) struct RequestBody {
    incoming: Incoming,
    declared: Option<u64>,
    /// The client waits for "100 Continue" before it sends anything.
    expects: bool,
    touched: bool,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(framing: &Framing, incoming: Incoming) -> Self {
        // On h2 an empty frame may end a body that was declared empty.
        let ended = incoming.is_end_stream() || framing.declares_nothing();
        let (declared, expects) = (framing.declared, framing.expects_continue);
        Self { incoming, declared, expects, touched: false, ended }
    }

    /// Whether the request plainly has no body. A chunked body of no bytes is a body.
    pub(super) fn is_absent(&self) -> bool {
        !self.touched && self.ended
    }

    /// Reads at most `limit` bytes. More are left unread: what fits may still be a complete JSON value.
    ///
    /// # Errors
    /// 408 if it takes longer than until `deadline`; 400 if the client breaks off.
    pub(super) async fn read(&mut self, limit: usize, deadline: Option<Instant>) -> Result<Bytes, Failure> {
        self.touched = true;
        if self.ended {
            return Ok(Bytes::new());
        }
        // Nearly always the whole body has come with the header: no timer then.
        let mut first = Bytes::new();
        let poll = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self.incoming).poll_frame(cx))).await;
        if let Poll::Ready(frame) = poll {
            match frame {
                Some(Ok(frame)) => first = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(broken(error)),
                None => self.ended = true,
            }
            self.ended |= self.incoming.is_end_stream();
        }
        if self.ended && first.len() <= limit {
            return Ok(first);
        }
        let rest = Box::pin(self.read_rest(first, limit));
        match deadline {
            Some(deadline) => {
                let limited = Box::pin(tokio::time::timeout_at(deadline, rest));
                limited.await.unwrap_or_else(|_| Err(Failure::body_timeout()))
            }
            None => rest.await,
        }
    }

    async fn read_rest(&mut self, first: Bytes, limit: usize) -> Result<Bytes, Failure> {
        let expected = self.declared.map_or(0, |declared| usize::try_from(declared).unwrap_or(limit)).min(limit);
        let mut collected = BytesMut::with_capacity(expected.max(first.len()));
        collected.extend_from_slice(&first);
        // One more frame than fits: the end may come in a frame of its own.
        while collected.len() <= limit {
            match self.frame().await {
                Some(Ok(data)) => collected.extend_from_slice(&data),
                Some(Err(error)) => return Err(broken(error)),
                None => break,
            }
        }
        if collected.len() > limit {
            // Whether the end was seen as well depends on how the bytes were cut up; the answer must not.
            self.ended = false;
            collected.truncate(limit);
        }
        Ok(collected.freeze())
    }

    async fn frame(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        if self.ended {
            return None;
        }
        let frame = std::future::poll_fn(|cx| Pin::new(&mut self.incoming).poll_frame(cx)).await;
        self.ended = frame.is_none() || self.incoming.is_end_stream();
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// Ends the body's part in the connection. Returns whether the connection must be closed after the answer; else
    /// what is left is thrown away while the answer is on its way.
    pub(super) fn discard(self, pace: &Arc<Pace>) -> bool {
        if self.ended {
            return false;
        }
        let is_long = self.declared.is_some_and(|declared| declared > DRAIN_BYTES as u64);
        // What was read and has not ended was longer than its limit, came too late, or broke off.
        if self.touched || is_long || self.expects {
            return true;
        }
        // Until then the connection is busy: these bytes do not begin a header.
        let busy = pace.begin();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(DRAIN_TIME, drain(self)).await;
            drop(busy);
        });
        false
    }
}

async fn drain(mut body: RequestBody) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(data)) = body.frame().await {
        // The library closes a connection whose body is dropped unread.
        let Some(less) = left.checked_sub(data.len()) else { return };
        left = less;
    }
}

fn broken(error: hyper::Error) -> Failure {
    Failure::bad_request(crate::wire::text::INVALID_BODY).closing().because(error)
}
