//! Durations as Go writes them: `720h`, `1h30m`, `1.5s`, `-24h`.

use time::Duration;

const UNITS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads a duration; the errors are the old texts.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    // Go's durations reach 292 years.
    let seconds = seconds(text).map_err(|why| format!("time: {why} in duration \"{text}\""))?;
    let duration = seconds.filter(|seconds| seconds.abs() < 9.2e9).and_then(Duration::checked_seconds_f64);
    duration.ok_or_else(|| format!("time: invalid duration \"{text}\""))
}

/// Reads a duration that cannot be negative.
pub(crate) fn parse_positive(text: &str) -> Result<std::time::Duration, String> {
    let duration = parse(text)?;
    duration
        .try_into()
        .ok()
        .filter(|duration: &std::time::Duration| !duration.is_zero())
        .ok_or_else(|| "it must be above 0".into())
}

/// `Ok(None)` is no duration at all; an error says what is wrong with a unit.
fn seconds(text: &str) -> Result<Option<f64>, String> {
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Ok(Some(0.0));
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let whole = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = match rest[whole..].strip_prefix('.') {
            Some(fraction) => rest.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len(),
            None => whole,
        };
        let Ok(number) = rest[..digits].parse::<f64>() else { return Ok(None) };
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(unit);
        sum += number
            * match UNITS.iter().find(|(unit, _)| *unit == name) {
                Some((_, factor)) => factor,
                None if name.is_empty() => return Err("missing unit".to_owned()),
                None => return Err(format!("unknown unit \"{name}\"")),
            };
        rest = behind;
    }
    Ok(Some(sign * sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, seconds) in [
            ("720h", 2_592_000.0),
            ("1h30m", 5400.0),
            ("1.5s", 1.5),
            ("-24h", -86_400.0),
            ("0", 0.0),
            ("0s", 0.0),
            (".5m", 30.0),
            ("250ms", 0.25),
        ] {
            assert_eq!(parse(text), Ok(Duration::seconds_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_the_old_words() {
        for text in ["", "x", "h", "-", "99999999999h", ".", "1h."] {
            assert_eq!(parse(text), Err(format!("time: invalid duration \"{text}\"")));
        }
        for (text, why) in [
            ("5", "missing unit"),
            ("5.", "missing unit"),
            ("1..5s", "missing unit"),
            ("1d", "unknown unit \"d\""),
            ("1w2h", "unknown unit \"w\""),
            ("1h x", "unknown unit \"h x\""),
        ] {
            assert_eq!(parse(text), Err(format!("time: {why} in duration \"{text}\"")));
        }
        assert!(parse_positive("0s").is_err());
        assert!(parse_positive("-1s").is_err());
    }
}
