//! Whether the store is out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::ErrorKind;

/// Consecutive transport failures that set the offline flag.
const FAILURES: u32 = 3;

const NEVER: u64 = u64::MAX;

/// Transport failures since the last answer.
pub(super) struct Health {
    failures: AtomicU32,
    /// Time of the first of them.
    since: AtomicU64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { failures: AtomicU32::new(0), since: AtomicU64::new(NEVER) }
    }

    /// Takes note of a call's outcome. An answer is also one that says "exists", "not found" or "not authentic"; other errors say
    /// nothing about the way to the store.
    pub(super) fn observe(&self, outcome: Option<ErrorKind>, now: u64) {
        match outcome {
            Some(kind) if kind.is_outage() => {
                let _ = self.since.compare_exchange(NEVER, now, SeqCst, SeqCst);
                let _ = self.failures.fetch_update(SeqCst, SeqCst, |count| Some(count.saturating_add(1)));
            }
            None | Some(ErrorKind::Exists | ErrorKind::NotFound | ErrorKind::NotAuthentic) => {
                self.failures.store(0, SeqCst);
                self.since.store(NEVER, SeqCst);
            }
            Some(_) => {}
        }
    }

    /// Whether the last three calls or more did not reach the store.
    pub(super) fn is_offline(&self) -> bool {
        self.failures.load(SeqCst) >= FAILURES
    }

    /// How long the store has been failing, if its last call did.
    pub(super) fn outage(&self, now: u64) -> Option<u64> {
        let since = self.since.load(SeqCst);
        (since != NEVER && self.failures.load(SeqCst) > 0).then(|| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Option<ErrorKind> = Some(ErrorKind::Unreachable);

    #[test]
    fn three_failures_in_a_row_set_the_flag_and_one_answer_clears_it() {
        let health = Health::new();
        for (now, outcome) in [(1, OUT), (2, Some(ErrorKind::Timeout)), (3, None), (4, OUT), (5, OUT)] {
            health.observe(outcome, now);
            assert!(!health.is_offline());
        }
        health.observe(OUT, 6);
        assert!(health.is_offline());
        assert_eq!(health.outage(10), Some(6));
        health.observe(Some(ErrorKind::NotFound), 11);
        assert!(!health.is_offline());
        assert_eq!(health.outage(12), None);
    }

    #[test]
    fn other_errors_neither_set_nor_clear() {
        let health = Health::new();
        for now in 0..9 {
            health.observe(Some(ErrorKind::Failed), now);
        }
        assert_eq!(health.outage(9), None);
        for now in 10..13 {
            health.observe(OUT, now);
            health.observe(Some(ErrorKind::Unauthorized), now);
        }
        assert!(health.is_offline());
        assert_eq!(health.outage(13), Some(3));
    }
}
