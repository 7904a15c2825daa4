//! The loop around every request: tries, delays, endpoints, deadline (http-api.md 11.2, 11.3, 11.5).
//!
//! It knows nothing of HTTP beyond the status, so that its tests need no socket and no waiting.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::Error;
use crate::endpoint::{Endpoint, Endpoints};
use crate::transport::Request;

/// Tries at one endpoint: one and two retries.
const TRIES: usize = 3;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// One try, from connecting to the last byte of the answer.
    pub(crate) per_try: Duration,
    /// The whole call, with all tries, delays and endpoints.
    pub(crate) overall: Option<Duration>,
    /// Shortest pause before a retry; the longest is five times that (200 ms to 1 s by default).
    pub(crate) pause: Duration,
}

/// Sends a request once to one endpoint.
pub(crate) trait Exchange {
    type Answer;

    fn exchange(
        &self,
        endpoint: &Endpoint,
        request: &Request,
    ) -> impl Future<Output = Result<Self::Answer, Failed>> + Send;

    fn status(answer: &Self::Answer) -> u16;
}

/// A try without an answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// The request may have reached the server, and may have had its effect.
    pub(crate) sent: bool,
    /// Another try at the same endpoint could end better.
    pub(crate) passing: bool,
}

/// The outcome of a call, and whether an earlier try may have had its effect already.
#[derive(Debug)]
pub(crate) struct Outcome<A> {
    pub(crate) answer: Result<A, Error>,
    pub(crate) repeated: bool,
}

/// Runs a request to its end.
pub(crate) async fn run<E: Exchange>(
    exchange: &E,
    endpoints: &Endpoints,
    timing: Timing,
    request: &Request,
) -> Outcome<E::Answer> {
    let deadline = timing.overall.map(|overall| Instant::now() + overall);
    let mut call = Call { exchange, timing, deadline, request, repeated: false };
    let answer = call.round(endpoints).await;
    Outcome { answer, repeated: call.repeated }
}

struct Call<'c, E> {
    exchange: &'c E,
    timing: Timing,
    deadline: Option<Instant>,
    request: &'c Request,
    repeated: bool,
}

/// What one endpoint brought.
enum Step<A> {
    /// This is the call's outcome.
    Final(Result<A, Error>),
    /// The endpoint failed; the next one may do better.
    Next(Result<A, Error>),
}

impl<E: Exchange> Call<'_, E> {
    async fn round(&mut self, endpoints: &Endpoints) -> Result<E::Answer, Error> {
        let order = endpoints.order().await;
        if let [only] = order[..] {
            let (Step::Final(answer) | Step::Next(answer)) = self.ask(endpoints.get(only)).await;
            return answer;
        }
        let mut last = None;
        for ignore_time_outs in [false, true] {
            for &index in &order {
                if !ignore_time_outs && !endpoints.admit(index) {
                    continue;
                }
                match self.ask(endpoints.get(index)).await {
                    Step::Final(answer) => {
                        endpoints.succeeded(index);
                        return answer;
                    }
                    Step::Next(answer) => {
                        endpoints.failed(index);
                        last = Some(answer);
                        if self.remaining() == Some(Duration::ZERO) || !self.may_repeat() {
                            break;
                        }
                    }
                }
            }
            if last.is_some() {
                break;
            }
        }
        last.expect("the second round leaves no endpoint out")
    }

    /// A write whose first try may have reached a server is not tried again: a second try would report `key already
    /// exists`. Departs from upstream: the official client repeats all calls.
    fn may_repeat(&self) -> bool {
        self.request.repeatable || !self.repeated
    }

    /// Up to three tries at one endpoint, with the same body each time.
    async fn ask(&mut self, endpoint: &Endpoint) -> Step<E::Answer> {
        let mut tries = 1;
        loop {
            let (result, again) = self.attempt(endpoint).await;
            let Some(failed) = again else { return Step::Final(result) };
            let pause = self.pause();
            // Departs from upstream: no retry that the deadline would cut off anyway.
            let in_time = self.remaining().is_none_or(|left| left > pause);
            if !failed || tries == TRIES || !in_time || !self.may_repeat() {
                return Step::Next(result);
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// One try. The second value is `None` if its result is final, else whether this endpoint deserves another try.
    async fn attempt(&mut self, endpoint: &Endpoint) -> (Result<E::Answer, Error>, Option<bool>) {
        match self.exchange_in_time(endpoint).await {
            Ok(answer) => {
                let status = E::status(&answer);
                if status < 500 || status == 501 {
                    return (Ok(answer), None);
                }
                self.repeated = true;
                (Ok(answer), Some(status == 503))
            }
            Err(failed) => {
                self.repeated |= failed.sent;
                (Err(failed.error), Some(failed.passing))
            }
        }
    }

    async fn exchange_in_time(&self, endpoint: &Endpoint) -> Result<E::Answer, Failed> {
        let limit = match (self.request.streams, self.remaining()) {
            (true, _) => return self.exchange.exchange(endpoint, self.request).await,
            (false, Some(left)) => left.min(self.timing.per_try),
            (false, None) => self.timing.per_try,
        };
        match timeout(limit, self.exchange.exchange(endpoint, self.request)).await {
            Ok(result) => result,
            Err(_) => {
                let error = Error::Timeout { call: self.request.call(endpoint), after: limit };
                Err(Failed { error, sent: true, passing: true })
            }
        }
    }

    fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Between one and five times the shortest pause, so that clients of a server that comes back do not march in step.
    fn pause(&self) -> Duration {
        use std::hash::BuildHasher;
        let random = std::collections::hash_map::RandomState::new().hash_one(0u8) % 1000;
        self.timing.pause + self.timing.pause * 4 * u32::try_from(random).unwrap_or(0) / 1000
    }
}

#[cfg(test)]
#[path = "retry/tests.rs"]
mod tests;
