//! Limits for each identity: requests a second, and requests at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kes_identity::Identity;
use tokio::time::Instant;

use super::state::RequestLimits;

/// What each identity has used lately. Empty as long as no limit is configured.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<Identity, Used>>);

#[derive(Debug)]
struct Used {
    /// Requests that may still be made now.
    tokens: f64,
    since: Instant,
    running: u32,
}

/// Identities remembered; full buckets of idle ones are forgotten beyond that.
const REMEMBERED: usize = 10_000;

/// A request that counts as running.
pub(super) struct Running {
    quotas: Arc<super::shared::Shared>,
    identity: Identity,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quotas.quotas.finished(&self.identity);
    }
}

/// How long to wait before the next try.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RetryAfter(pub(super) Duration);

impl Quotas {
    /// Takes a place for one request.
    pub(super) fn take(
        shared: &Arc<super::shared::Shared>,
        limits: RequestLimits,
        identity: &Identity,
    ) -> Result<Running, RetryAfter> {
        shared.quotas.start(limits, identity)?;
        Ok(Running { quotas: Arc::clone(shared), identity: identity.clone() })
    }

    fn start(&self, limits: RequestLimits, identity: &Identity) -> Result<(), RetryAfter> {
        let now = Instant::now();
        let burst = limits.rate.map_or(f64::INFINITY, f64::from);
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= REMEMBERED {
            used.retain(|_, used| used.running > 0 || used.since.elapsed() < Duration::from_secs(2));
        }
        let used = used.entry(identity.clone()).or_insert(Used { tokens: burst, since: now, running: 0 });
        if limits.concurrency.is_some_and(|limit| used.running >= limit) {
            return Err(RetryAfter(Duration::from_secs(1)));
        }
        if let Some(rate) = limits.rate {
            let refill = now.duration_since(used.since).as_secs_f64() * f64::from(rate);
            used.tokens = (used.tokens + refill).min(burst);
            used.since = now;
            if used.tokens < 1.0 {
                return Err(RetryAfter(Duration::from_secs_f64((1.0 - used.tokens) / f64::from(rate.max(1)))));
            }
            used.tokens -= 1.0;
        }
        used.running += 1;
        Ok(())
    }

    fn finished(&self, identity: &Identity) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = used.get_mut(identity) {
            used.running = used.running.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Identity {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_allows_bursts_and_refills() {
        let quotas = Quotas::default();
        let limits = RequestLimits { rate: Some(10), concurrency: None };
        for _ in 0..10 {
            quotas.start(limits, &identity("a")).unwrap();
        }
        assert_eq!(quotas.start(limits, &identity("a")), Err(RetryAfter(Duration::from_millis(100))));
        assert!(quotas.start(limits, &identity("b")).is_ok(), "each has its own");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(quotas.start(limits, &identity("a")).is_ok() && quotas.start(limits, &identity("a")).is_ok());
        assert!(quotas.start(limits, &identity("a")).is_err());
    }

    #[tokio::test]
    async fn places_are_given_back() {
        let quotas = Quotas::default();
        let limits = RequestLimits { rate: None, concurrency: Some(1) };
        quotas.start(limits, &identity("a")).unwrap();
        assert!(quotas.start(limits, &identity("a")).is_err());
        quotas.finished(&identity("a"));
        assert!(quotas.start(limits, &identity("a")).is_ok());
    }
}
