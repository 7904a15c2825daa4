//! Log streams: one JSON object per line, until one side ends it.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::error::{Cause, Error};
use crate::transport::MAX_ANSWER;

/// Events as they happen. Ends with `None` when the server closes it: at its shutdown or reload, or because this reader
/// was too slow; connect again then.
///
/// Use [`LogStream::next`], or the [`Stream`] that it is.
pub struct LogStream<T> {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    buffer: BytesMut,
    call: String,
    ended: bool,
    event: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> LogStream<T> {
    pub(crate) fn new(response: reqwest::Response, call: String) -> Self {
        let (chunks, buffer) = (Box::pin(response.bytes_stream()), BytesMut::new());
        Self { chunks, buffer, call, ended: false, event: PhantomData }
    }

    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Error::Connection`] when it breaks, [`Error::Answer`] for a line that is no event; the stream is over then.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next whole line, without blank ones (they are heartbeats).
    fn line(&mut self) -> Option<BytesMut> {
        loop {
            let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    fn parse(&mut self, line: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(line).map_err(|error| self.fail(Cause::of(error)))
    }

    fn fail(&mut self, source: Cause) -> Error {
        self.ended = true;
        Error::Answer { call: self.call.clone(), source }
    }
}

impl<T: DeserializeOwned> Stream for LogStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(line) = self.line() {
                return Poll::Ready(Some(self.parse(&line)));
            }
            if self.buffer.len() > MAX_ANSWER {
                return Poll::Ready(Some(Err(self.fail(Cause::text("a line is longer than 1 MiB")))));
            }
            match ready!(self.chunks.as_mut().poll_next(context)) {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.ended = true;
                    let error = Error::Connection { call: self.call.clone(), source: Cause::of(error.without_url()) };
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    let rest = self.buffer.split();
                    let end = (!rest.trim_ascii().is_empty()).then(|| self.parse(&rest));
                    return Poll::Ready(end);
                }
            }
        }
    }
}

impl<T> fmt::Debug for LogStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStream").field("call", &self.call).field("ended", &self.ended).finish_non_exhaustive()
    }
}
