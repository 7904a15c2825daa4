//! What became of reloads, for status and metrics.

use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;

/// Reloads since the start, of everything and of the TLS files alone.
#[derive(Debug)]
pub(super) struct Reloads(Mutex<Tally>);

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// When the last one took effect; the start at first.
    pub(super) last_success: OffsetDateTime,
    /// When the last reload of the configuration failed, if none has succeeded since.
    config_failed: Option<OffsetDateTime>,
    /// The same for the TLS files.
    tls_failed: Option<OffsetDateTime>,
}

impl Tally {
    /// When the last attempt failed, if what is in force is older than what the files say.
    pub(super) fn failed_at(&self) -> Option<OffsetDateTime> {
        self.config_failed.into_iter().chain(self.tls_failed).max()
    }
}

impl Reloads {
    pub(super) fn new(now: OffsetDateTime) -> Self {
        let none = Tally { succeeded: 0, failed: 0, last_success: now, config_failed: None, tls_failed: None };
        Self(Mutex::new(none))
    }

    pub(super) fn tally(&self) -> Tally {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reload of everything, the TLS files included.
    pub(super) fn succeeded(&self, now: OffsetDateTime) {
        self.change(|tally| {
            tally.succeeded += 1;
            (tally.last_success, tally.config_failed, tally.tls_failed) = (now, None, None);
        });
    }

    pub(super) fn failed(&self, now: OffsetDateTime) {
        self.change(|tally| {
            tally.failed += 1;
            tally.config_failed = Some(now);
        });
    }

    pub(super) fn tls_succeeded(&self, now: OffsetDateTime) {
        self.change(|tally| {
            tally.succeeded += 1;
            (tally.last_success, tally.tls_failed) = (now, None);
        });
    }

    pub(super) fn tls_failed(&self, now: OffsetDateTime) {
        self.change(|tally| {
            tally.failed += 1;
            tally.tls_failed = Some(now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_certificates_do_not_hide_a_configuration_that_failed() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let reloads = Reloads::new(at(0));
        reloads.failed(at(1));
        reloads.tls_failed(at(2));
        assert_eq!(reloads.tally().failed_at(), Some(at(2)));
        reloads.tls_succeeded(at(3));
        assert_eq!(reloads.tally().failed_at(), Some(at(1)));
        reloads.succeeded(at(4));
        let tally = reloads.tally();
        assert_eq!((tally.succeeded, tally.failed, tally.last_success), (2, 2, at(4)));
        assert_eq!(tally.failed_at(), None);
    }
}
