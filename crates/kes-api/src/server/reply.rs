//! Answers on their way to the socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;
use zeroize::Zeroizing;

use super::pace::InFlight;
use crate::wire;

/// What a handler answers with, always 200.
pub(super) enum Reply {
    /// Nothing more to say.
    Empty,
    /// JSON.
    Json(Bytes),
    /// JSON that holds a secret: the buffer is wiped.
    Secret(Zeroizing<Vec<u8>>),
    /// The metrics page.
    Metrics(String),
    /// One JSON object per line, for clients that ask for it.
    Lines(Vec<u8>),
    /// Events until either side has enough.
    Events(Receiver<Bytes>),
}

impl Reply {
    pub(super) fn json(body: &impl wire::Body) -> Self {
        Self::Json(wire::encode(body).into())
    }

    pub(super) fn secret(body: &impl wire::Body) -> Self {
        Self::Secret(Zeroizing::new(wire::encode(body)))
    }
}

/// The body of an answer. While it lives, its connection counts as busy.
pub(super) struct ResponseBody {
    content: Content,
    _in_flight: InFlight,
}

enum Content {
    Full(Option<Bytes>),
    Events(Receiver<Bytes>),
}

impl ResponseBody {
    pub(super) fn full(bytes: Bytes, in_flight: InFlight) -> Self {
        Self { content: Content::Full((!bytes.is_empty()).then_some(bytes)), _in_flight: in_flight }
    }

    pub(super) fn events(receiver: Receiver<Bytes>, mut in_flight: InFlight) -> Self {
        in_flight.goes_on();
        Self { content: Content::Events(receiver), _in_flight: in_flight }
    }

    /// Drops the content. The library leaves it out for HEAD on HTTP/1.1 only; on h2 clients take it for a violation.
    pub(super) fn clear(&mut self) {
        self.content = Content::Full(None);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.content {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Events(receiver) => receiver.poll_recv(cx).map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Events(_) => SizeHint::default(),
        }
    }
}
