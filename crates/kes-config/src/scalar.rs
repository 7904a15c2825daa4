//! What a scalar of the file means: durations in Go's syntax, switches, environment references.

use std::fmt;
use std::time::Duration;

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A signed number of nanoseconds, written as Go writes durations: `1h30m`, `-5m0s`, `.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GoDuration(pub(crate) i64);

impl GoDuration {
    /// Reads an optional sign and one or more numbers with units; the bare `0` needs none. No blanks.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (part, after) = leading_part(rest)?;
            total = total.checked_add(part).filter(|total| *total <= 1 << 63)?;
            rest = after;
        }
        match negative {
            true => Some(Self(0i64.wrapping_sub_unsigned(total))), // 2^63 fits only with a minus
            false => i64::try_from(total).ok().map(Self),
        }
    }

    pub(crate) fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The length of time; a negative one counts as none.
    pub(crate) fn length(self) -> Duration {
        Duration::from_nanos(self.0.try_into().unwrap_or(0))
    }

    /// The length of time, unless it is none: zero means *never* or *off* wherever durations stand in the file.
    pub(crate) fn positive(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.length())
    }
}

/// One number with its unit, and what follows it.
fn leading_part(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole_end = digits(text);
    let (whole, mut rest) = text.split_at(whole_end);
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        (fraction, rest) = after.split_at(digits(after));
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit = match unit {
        "ns" => NANOSECOND,
        "us" | "µs" | "μs" => MICROSECOND, // micro sign and Greek mu
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits beyond the eighteenth are far below a nanosecond for every unit.
    let kept = &fraction[..fraction.len().min(18)];
    let fraction: u64 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let scale = 10u128.pow(u32::try_from(kept.len()).unwrap_or(0));
    let small = u64::try_from(u128::from(fraction) * u128::from(unit) / scale).ok()?;
    Some((whole.checked_mul(unit)?.checked_add(small)?, rest))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.unsigned_abs();
        if self.is_negative() {
            f.write_str("-")?;
        }
        match length {
            0 => f.write_str("0s"),
            1..MICROSECOND => write!(f, "{length}ns"),
            MICROSECOND..MILLISECOND => write!(f, "{}µs", Decimal(length, MICROSECOND)),
            MILLISECOND..SECOND => write!(f, "{}ms", Decimal(length, MILLISECOND)),
            _ => {
                if length >= HOUR {
                    write!(f, "{}h", length / HOUR)?;
                }
                if length >= MINUTE {
                    write!(f, "{}m", length % HOUR / MINUTE)?;
                }
                write!(f, "{}s", Decimal(length % MINUTE, SECOND))
            }
        }
    }
}

/// A number of units with as many decimals as it needs.
struct Decimal(u64, u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(amount, unit) = self;
        write!(f, "{}", amount / unit)?;
        let width = usize::try_from(unit.ilog10()).unwrap_or(0);
        let decimals = format!("{:0width$}", amount % unit);
        match decimals.trim_end_matches('0') {
            "" => Ok(()),
            decimals => write!(f, ".{decimals}"),
        }
    }
}

/// The words of YAML 1.1 that the old decoder took for a switch even when quoted.
pub(crate) fn switch_word(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The words of YAML 1.2.
pub(crate) fn bool_word(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The variable that a scalar refers to as a whole: `${NAME}`, blanks around and inside ignored (config.md 1.4).
pub(crate) fn reference(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("+5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-1ns", -1),
            ("1us1µs1μs", 3_000),
            ("1.0000000000000000000000001s", 1_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(GoDuration::parse(text), Some(GoDuration(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses() {
        let refused =
            ["", "-", "+", "5", "1.5", "1d", "5 m", " 5m", ".s", "1e3s", "1_0s", "5m5", "9223372036854775808ns"];
        for text in refused.into_iter().chain(["3000000h", "99999999999999999999h", "5M", "1ms ", "--1s", "1é"]) {
            assert_eq!(GoDuration::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (-1_000_000, "-1ms"),
            (1_100_000_000, "1.1s"),
            (-300_000_000_000, "-5m0s"),
            (-5_400_000_000_000, "-1h30m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(GoDuration(nanoseconds).to_string(), text);
            assert_eq!(GoDuration::parse(text), Some(GoDuration(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn only_a_whole_scalar_is_a_reference() {
        assert_eq!(reference(" ${ HOME } "), Some("HOME"));
        assert_eq!(reference("${}"), Some(""));
        assert_eq!(reference("${A}-${B}"), Some("A}-${B"));
        for literal in ["a${X}", "${X}b", "$NAME", "${X", "X}", "$"] {
            assert_eq!(reference(literal), None, "{literal}");
        }
    }
}
