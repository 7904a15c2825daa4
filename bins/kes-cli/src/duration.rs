//! Durations as Go writes them: `720h`, `1h30m`, `1.5s`, `-24h`.

use time::Duration;

const UNITS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads a duration; the error is the old text.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    // Go's durations reach 292 years.
    let seconds = seconds(text).filter(|seconds| seconds.abs() < 9.2e9);
    seconds.and_then(Duration::checked_seconds_f64).ok_or_else(|| format!("time: invalid duration \"{text}\""))
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

fn seconds(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut sum = 0.0;
    while !rest.is_empty() || sum == 0.0 {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| digits + end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == &rest[digits..unit])?;
        sum += rest[..digits].parse::<f64>().ok()? * factor;
        rest = &rest[unit..];
        if rest.is_empty() {
            break;
        }
    }
    Some(sign * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, seconds) in
            [("720h", 2_592_000.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("-24h", -86_400.0), ("0", 0.0), ("250ms", 0.25)]
        {
            assert_eq!(parse(text), Ok(Duration::seconds_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_the_old_words() {
        for text in ["", "x", "5", "h", "1d", "1h x", "-", "1..5s", "99999999999h"] {
            assert_eq!(parse(text), Err(format!("time: invalid duration \"{text}\"")));
        }
        assert!(parse_positive("0s").is_err());
        assert!(parse_positive("-1s").is_err());
    }
}
