//! Warns of a certificate that will expire, while there is time to act: 30, 7 and 1 days ahead, and once a day when it
//! has expired. Clients refuse an expired certificate, and then everything stops at once.

use kes_api::server::Level;
use time::{Duration, OffsetDateTime};

/// Days ahead of which a warning is due, the last ones first.
const AHEAD: [i64; 3] = [1, 7, 30];

/// What has been said already.
#[derive(Debug, Default)]
pub(crate) struct Expiry(Option<(OffsetDateTime, i64)>);

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) level: Level,
    pub(crate) text: String,
}

impl Expiry {
    /// What is to be said now about a certificate that expires then, unless it has been said.
    pub(crate) fn look(&mut self, expires: OffsetDateTime, now: OffsetDateTime) -> Option<Remark> {
        let left = expires - now;
        let stage = match left.is_positive() {
            true => AHEAD.into_iter().find(|days| left <= Duration::days(*days))?,
            false => left.whole_days(),
        };
        if self.0.replace((expires, stage)) == Some((expires, stage)) {
            return None;
        }
        Some(match (left.is_positive(), left.whole_days()) {
            (false, _) => Remark {
                level: Level::Error,
                text: "the server's certificate has expired: clients will refuse it".to_owned(),
            },
            (true, 0..2) => Remark {
                level: Level::Error,
                text: format!("the server's certificate expires in {} hours", left.whole_hours()),
            },
            (true, days) => {
                Remark { level: Level::Warn, text: format!("the server's certificate expires in {days} days") }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_a_week_and_a_day_ahead_and_then_daily() {
        let expires = OffsetDateTime::UNIX_EPOCH + Duration::days(100);
        let mut expiry = Expiry::default();
        let mut said = Vec::new();
        for hour in 0..24 * 103 {
            let now = OffsetDateTime::UNIX_EPOCH + Duration::hours(hour);
            if let Some(remark) = expiry.look(expires, now) {
                said.push((hour, remark.level, remark.text));
            }
        }
        let text = |text: &str| format!("the server's certificate {text}");
        let gone = text("has expired: clients will refuse it");
        assert_eq!(
            said,
            [
                (70 * 24, Level::Warn, text("expires in 30 days")),
                (93 * 24, Level::Warn, text("expires in 7 days")),
                (99 * 24, Level::Error, text("expires in 24 hours")),
                (100 * 24, Level::Error, gone.clone()),
                (101 * 24, Level::Error, gone.clone()),
                (102 * 24, Level::Error, gone),
            ]
        );
    }

    #[test]
    fn a_server_that_starts_late_says_so_at_once_and_a_new_certificate_starts_anew() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut expiry = Expiry::default();
        let remark = expiry.look(now + Duration::days(3), now).unwrap();
        assert_eq!(remark.text, "the server's certificate expires in 3 days");
        assert_eq!(expiry.look(now + Duration::days(3), now), None);
        assert_eq!(expiry.look(now + Duration::days(90), now), None, "renewed");
        let remark = expiry.look(now + Duration::days(5), now).unwrap();
        assert_eq!(remark.text, "the server's certificate expires in 5 days", "renewed, but hardly");
    }
}
