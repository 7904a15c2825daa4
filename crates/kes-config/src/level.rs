//! Log levels: how they are written in the file, and the number that they are.

use std::fmt;

/// The least level that is logged: `DEBUG` −4, `INFO` 0, `WARN` 4, `ERROR` 8 and everything between; 9 and more is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub i64);

impl Level {
    /// −4.
    pub const DEBUG: Self = Self(-4);
    /// 0, the default of both logs.
    pub const INFO: Self = Self(0);
    /// 4.
    pub const WARN: Self = Self(4);
    /// 8.
    pub const ERROR: Self = Self(8);
    /// 9: above everything that is logged.
    pub const OFF: Self = Self(9);

    /// Reads `on`, `off`, a name with an optional `+n`, or a number; without regard to case and blanks around it. The
    /// error is the text of the old server.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_uppercase();
        match text.as_str() {
            "" | "ON" => return Ok(Self::INFO),
            "OFF" => return Ok(Self::OFF),
            _ => {}
        }
        let names = [("DEBUG", Self::DEBUG), ("INFO", Self::INFO), ("WARN", Self::WARN), ("ERROR", Self::ERROR)];
        for (name, level) in names {
            let Some(rest) = text.strip_prefix(name) else { continue };
            let rest = rest.trim();
            if rest.is_empty() {
                return Ok(level);
            }
            let Some(suffix) = rest.strip_prefix('+') else {
                return Err(format!("kesconf: invalid log level '{text}'"));
            };
            let more = integer(suffix).map_err(|why| format!("kesconf: invalid log level suffix '{suffix}': {why}"))?;
            return Ok(Self(level.0.saturating_add(more)));
        }
        integer(&text).map(Self)
    }
}

/// A decimal number with an optional sign, or the words of Go's strconv.
fn integer(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let why = match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => "value out of range",
        false => "invalid syntax",
    };
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: {why}"))
}

impl fmt::Display for Level {
    /// The nearest name below, with the distance: `INFO`, `WARN+2`, `DEBUG-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, base) = match *self {
            level if level < Self::INFO => ("DEBUG", Self::DEBUG),
            level if level < Self::WARN => ("INFO", Self::INFO),
            level if level < Self::ERROR => ("WARN", Self::WARN),
            _ => ("ERROR", Self::ERROR),
        };
        f.write_str(name)?;
        match self.0.saturating_sub(base.0) {
            0 => Ok(()),
            distance => write!(f, "{distance:+}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_as_written() {
        let cases = [("", 0), ("on", 0), (" Off ", 9), ("debug", -4), ("INFO", 0), ("warn", 4), ("error", 8)];
        for (text, number) in
            cases.into_iter().chain([("WARN+2", 6), ("warn+-2", 2), ("INFO +1", 1), ("-4", -4), ("+4", 4)])
        {
            assert_eq!(Level::parse(text), Ok(Level(number)), "{text}");
        }
    }

    #[test]
    fn levels_as_shown() {
        let shown = [-5, -4, -1, 0, 2, 4, 8, 9].map(|number| Level(number).to_string());
        assert_eq!(shown, ["DEBUG-1", "DEBUG", "DEBUG+3", "INFO", "INFO+2", "WARN", "ERROR", "ERROR+1"]);
    }
}
