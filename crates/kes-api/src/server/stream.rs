//! The log streams: events to any number of subscribers, none of which can slow a request down (http-api 7.3).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that a subscriber may be behind before it is disconnected.
const QUEUE: usize = 1024;
/// Subscribers of one stream.
const SUBSCRIBERS: usize = 64;

/// One stream of events.
#[derive(Debug, Default)]
pub(super) struct Stream {
    subscribers: Mutex<Vec<Sender<Bytes>>>,
    count: AtomicUsize,
    /// Subscribers that were too slow and were disconnected, so that no gap goes unnoticed.
    lagged: AtomicU64,
}

impl Stream {
    /// The events from now on, or `None` if all places are taken.
    pub(super) fn subscribe(&self) -> Option<Receiver<Bytes>> {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        if subscribers.len() >= SUBSCRIBERS {
            return None;
        }
        let (sender, receiver) = channel(QUEUE);
        subscribers.push(sender);
        self.count.store(subscribers.len(), Ordering::Relaxed);
        Some(receiver)
    }

    /// Whether anybody listens; events need not be built otherwise.
    pub(super) fn is_wanted(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Hands one event, newline included, to every subscriber.
    pub(super) fn send(&self, event: &Bytes) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| match subscriber.try_send(event.clone()) {
            Ok(()) => true,
            Err(error) => {
                if matches!(error, tokio::sync::mpsc::error::TrySendError::Full(_)) {
                    self.lagged.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
        });
        self.count.store(subscribers.len(), Ordering::Relaxed);
    }

    /// Ends every subscription after the events it still has.
    pub(super) fn close(&self) {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.count.store(0, Ordering::Relaxed);
    }

    pub(super) fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    pub(super) fn subscribers(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_disconnected_and_counted_and_others_go_on() {
        let stream = Stream::default();
        let mut slow = stream.subscribe().unwrap();
        let mut quick = stream.subscribe().unwrap();
        for _ in 0..=QUEUE {
            stream.send(&Bytes::from_static(b"{}\n"));
            assert!(quick.recv().await.is_some());
        }
        assert_eq!((stream.lagged(), stream.subscribers()), (1, 1));
        let mut received = 0;
        while slow.recv().await.is_some() {
            received += 1;
        }
        assert_eq!(received, QUEUE, "what it had is still delivered, then the stream ends");
        stream.close();
        assert!(quick.recv().await.is_none() && !stream.is_wanted());
    }

    #[test]
    fn subscribers_are_bounded_and_places_are_given_back() {
        let stream = Stream::default();
        let held: Vec<_> = (0..SUBSCRIBERS).map(|_| stream.subscribe().unwrap()).collect();
        assert!(stream.subscribe().is_none());
        drop(held);
        assert!(stream.subscribe().is_some());
    }
}
