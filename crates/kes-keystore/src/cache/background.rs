//! The cache's timers: the probe, the sweep and the refresh ahead.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Shared, flights};
use crate::KeyName;

/// How often a store that is out is asked again.
const RECOVERY: Duration = Duration::from_secs(1);

/// Starts the timers; each holds the cache only while it works.
pub(super) fn start(shared: &Arc<Shared>) -> [AbortHandle; 4] {
    let period = tick(&shared.settings);
    [
        every(shared, shared.settings.probe_interval, |shared| async move {
            // The outcome has been taken note of on the way.
            let _ = shared.status(Duration::MAX).await;
        }),
        // While the store is out every second counts: readiness and status say so until the store is heard again.
        every(shared, shared.settings.probe_interval.min(RECOVERY), |shared| async move {
            if shared.calls.health.is_offline() {
                let _ = shared.status(Duration::MAX).await;
            }
        }),
        every(shared, period, |shared| async move { shared.sweep() }),
        every(shared, period, refresh_ahead),
    ]
}

fn every<W: Future<Output = ()> + Send + 'static>(
    shared: &Arc<Shared>,
    period: Duration,
    work: impl Fn(Arc<Shared>) -> W + Send + Sync + 'static,
) -> AbortHandle {
    let weak: Weak<Shared> = Arc::downgrade(shared);
    let task = async move {
        let mut ticker = interval_at(Instant::now() + period, period);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticker.tick().await;
            let Some(shared) = weak.upgrade() else { return };
            work(shared).await;
        }
    };
    shared.runtime.spawn(task).abort_handle()
}

/// Often enough to refresh within the last fifth of `any`; deadlines hold without it.
fn tick(settings: &super::Settings) -> Duration {
    let shortest = settings.any.into_iter().chain(settings.unused).min().unwrap_or(Duration::from_secs(60));
    (shortest / 10).clamp(Duration::from_millis(100), Duration::from_secs(5))
}

impl Shared {
    /// Drops entries past their deadlines. In offline mode they stay as long as they may be needed: during an outage,
    /// and before for as long as it takes the probe to notice one.
    fn sweep(&self) {
        let now = self.now();
        if self.may_serve_stale(now) {
            return;
        }
        let grace = match self.rules.offline {
            Some(_) => 3 * self.settings.probe_interval,
            None => Duration::ZERO,
        };
        self.entries.sweep(now, &self.rules, grace.as_nanos() as u64);
    }

    /// Reads a key again. It counts as fetched, not as used.
    async fn reread(self: Arc<Self>, name: KeyName, _permit: OwnedSemaphorePermit) {
        // A failure leaves the entry until its deadline.
        let _ = flights::wait(self.fetch_again(&name)).await;
    }
}

/// Reads again what is in use and will soon reach its deadline, a few at a time.
async fn refresh_ahead(shared: Arc<Shared>) {
    for name in shared.entries.due(shared.now(), &shared.rules) {
        let Ok(permit) = shared.background.clone().acquire_owned().await else { return };
        shared.runtime.spawn(shared.clone().reread(name, permit));
    }
}

/// Reads a key again in the background, unless too many are being read already.
pub(super) fn reread(shared: &Arc<Shared>, name: KeyName) {
    if let Ok(permit) = shared.background.clone().try_acquire_owned() {
        shared.runtime.spawn(shared.clone().reread(name, permit));
    }
}
