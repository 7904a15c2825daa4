//! Times as text, the way Go's `time` package prints and reads them.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// `2024-01-01T00:00:00.5Z`: up to nine digits of fraction with trailing zeros cut and none for whole seconds, `Z` for
/// UTC, else the offset as `+02:00`. Years have at least four digits.
///
/// ```
/// use time::OffsetDateTime;
/// let time = OffsetDateTime::from_unix_timestamp_nanos(1_704_067_200_500_000_000)?;
/// assert_eq!(kes_crypto::rfc3339::format(time), "2024-01-01T00:00:00.5Z");
/// # Ok::<(), time::error::ComponentRange>(())
/// ```
#[must_use]
pub fn format(time: OffsetDateTime) -> String {
    let mut out = String::with_capacity("2006-01-02T15:04:05.999999999-07:00".len());
    if time.year() < 0 {
        out.push('-');
    }
    digits(&mut out, time.year().unsigned_abs(), 4);
    out.push('-');
    digits(&mut out, u8::from(time.month()).into(), 2);
    out.push('-');
    digits(&mut out, time.day().into(), 2);
    out.push('T');
    digits(&mut out, time.hour().into(), 2);
    out.push(':');
    digits(&mut out, time.minute().into(), 2);
    out.push(':');
    digits(&mut out, time.second().into(), 2);
    if time.nanosecond() != 0 {
        out.push('.');
        digits(&mut out, time.nanosecond(), 9);
        out.truncate(out.trim_end_matches('0').len());
    }
    offset(&mut out, time.offset());
    out
}

fn offset(out: &mut String, offset: UtcOffset) {
    if offset.is_utc() {
        out.push('Z');
        return;
    }
    let (hours, minutes, _) = offset.as_hms();
    out.push(if offset.is_negative() { '-' } else { '+' });
    digits(out, hours.unsigned_abs().into(), 2);
    out.push(':');
    digits(out, minutes.unsigned_abs().into(), 2);
}

/// Appends `number` with at least `width` digits.
fn digits(out: &mut String, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        out.push(char::from_digit(digit, 10).expect("a remainder of 10"));
    }
}

/// Reads an RFC 3339 time with its offset: `T` and `Z` in upper case, a fraction of any length (digits beyond
/// nanoseconds are dropped), no leap second.
#[must_use]
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.number(4)?;
    reader.one_of(b"-")?;
    let month = reader.number(2)?;
    reader.one_of(b"-")?;
    let day = reader.number(2)?;
    reader.one_of(b"T")?;
    let hour = reader.number(2)?;
    reader.one_of(b":")?;
    let minute = reader.number(2)?;
    reader.one_of(b":")?;
    let second = reader.number(2)?;
    let nanosecond = reader.fraction()?;
    let offset = reader.offset()?;
    if !reader.0.is_empty() {
        return None;
    }

    let month = Month::try_from(byte(month)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, byte(day)?).ok()?;
    let time = Time::from_hms_nano(byte(hour)?, byte(minute)?, byte(second)?, nanosecond).ok()?;
    Some(OffsetDateTime::new_in_offset(date, time, offset))
}

fn byte(number: u32) -> Option<u8> {
    number.try_into().ok()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    fn digit(&mut self) -> Option<u32> {
        self.one_of(b"0123456789").map(|digit| u32::from(digit - b'0'))
    }

    fn number(&mut self, width: usize) -> Option<u32> {
        (0..width).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    /// `.` and at least one digit, or nothing; in nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let mut place = 100_000_000;
        let mut nanoseconds = self.digit()? * place;
        while let Some(digit) = self.digit() {
            place /= 10;
            nanoseconds += digit * place;
        }
        Some(nanoseconds)
    }

    fn offset(&mut self) -> Option<UtcOffset> {
        let sign = match self.one_of(b"Z+-")? {
            b'Z' => return Some(UtcOffset::UTC),
            b'-' => -1,
            _ => 1,
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        UtcOffset::from_whole_seconds(sign * i32::try_from(hours * 3600 + minutes * 60).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        for text in [
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "2023-03-14T23:42:00.729167884Z",
            "2024-01-01T00:00:00.5Z",
            "2024-02-29T23:59:59.000001Z",
            "2023-03-15T01:42:00+02:00",
            "2023-03-14T20:12:00.1-03:30",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(format(parse(text).expect(text)), text);
        }
    }

    #[test]
    fn cuts_what_has_no_place() {
        let time = parse("2024-01-01T00:00:00.1234567899+00:00").expect("valid");
        assert_eq!(format(time), "2024-01-01T00:00:00.123456789Z");
        assert_eq!(format(parse("2024-01-01T00:00:00.000Z").expect("valid")), "2024-01-01T00:00:00Z");
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01t00:00:00z",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+00:60",
            "+2024-01-01T00:00:00Z",
            "2024-1-1T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
