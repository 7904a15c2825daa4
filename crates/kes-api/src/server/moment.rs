//! Times and durations as log lines show them, written by hand: a line costs no formatting machinery.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Self {
        // A clock before 1970 or after 2554 is broken; a log line must still be written.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// So long before.
    pub(super) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Seconds since 1970.
    pub(super) fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Appends `2026-11-21T10:15:00.123Z`, with 3 or 9 fraction digits.
    pub(super) fn write(self, digits: usize, out: &mut Vec<u8>) {
        let (year, month, day) = civil(self.seconds() / 86_400);
        let second = self.seconds() % 86_400;
        decimal(year, 4, out);
        out.push(b'-');
        decimal(month, 2, out);
        out.push(b'-');
        decimal(day, 2, out);
        out.push(b'T');
        decimal(second / 3600, 2, out);
        out.push(b':');
        decimal(second / 60 % 60, 2, out);
        out.push(b':');
        decimal(second % 60, 2, out);
        out.push(b'.');
        decimal(self.0 % 1_000_000_000 / 10_u64.pow(9 - digits as u32), digits, out);
        out.push(b'Z');
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Appends a number with at least `width` digits.
pub(super) fn decimal(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// Appends a duration in Go's form: `107.389µs`, `1.5ms`, `2s`, `1m30.5s`.
pub(super) fn duration(value: Duration, out: &mut Vec<u8>) {
    let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
    match nanos {
        0 => out.extend_from_slice(b"0s"),
        1..1_000 => fraction(nanos, 1, "ns", out),
        1_000..1_000_000 => fraction(nanos, 1_000, "µs", out),
        1_000_000..1_000_000_000 => fraction(nanos, 1_000_000, "ms", out),
        _ => {
            let minutes = nanos / 60_000_000_000;
            if minutes >= 60 {
                decimal(minutes / 60, 1, out);
                out.push(b'h');
            }
            if minutes > 0 {
                decimal(minutes % 60, 1, out);
                out.push(b'm');
            }
            fraction(nanos % 60_000_000_000, 1_000_000_000, "s", out);
        }
    }
}

fn fraction(nanos: u64, unit: u64, name: &str, out: &mut Vec<u8>) {
    decimal(nanos / unit, 1, out);
    let rest = nanos % unit;
    if rest > 0 {
        out.push(b'.');
        decimal(rest, unit.ilog10() as usize, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_rfc3339() {
        for (nanos, digits, expected) in [
            (0, 3, "1970-01-01T00:00:00.000Z"),
            (951_827_696_007_000_000, 3, "2000-02-29T12:34:56.007Z"),
            (1_748_297_088_635_350_787, 9, "2025-05-26T22:04:48.635350787Z"),
            (4_107_542_399_999_999_999, 3, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000_000_000, 3, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(text(|out| Moment(nanos).write(digits, out)), expected);
        }
    }

    #[test]
    fn durations_are_gos() {
        for (nanos, expected) in [
            (0, "0s"),
            (999, "999ns"),
            (107_389, "107.389µs"),
            (1_000, "1µs"),
            (1_500_000, "1.5ms"),
            (2_000_000_000, "2s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(text(|out| duration(Duration::from_nanos(nanos), out)), expected);
        }
    }
}
