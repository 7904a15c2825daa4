//! The error log: lines for operators on the console, and to the subscribers of `/v1/log/error`.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::console::Lines;
use super::moment::Moment;
use super::stream::Stream;
use crate::wire;

/// How grave a line is. The numbers are those of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For finding faults.
    Debug = -4,
    /// What happens.
    Info = 0,
    /// What an operator should look at.
    Warn = 4,
    /// What failed.
    Error = 8,
}

/// How console lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time=… level=INFO msg="…" req.path=…`.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The error log.
#[derive(Debug)]
pub struct Log {
    console: Arc<Lines>,
    pub(super) stream: Stream,
    /// Console threshold; streams get everything from INFO on.
    level: AtomicI32,
    format: AtomicU8,
    events: AtomicU64,
}

/// A member of a line.
pub type Field<'a> = (&'a str, &'a dyn Display);

impl Log {
    pub(super) fn new(console: Arc<Lines>, level: i32, format: Format) -> Self {
        Self {
            console,
            stream: Stream::default(),
            level: level.into(),
            format: AtomicU8::new(format as u8),
            events: AtomicU64::new(0),
        }
    }

    /// Changes what the console shows; the streams stay as they are.
    pub(super) fn configure(&self, level: i32, format: Format) {
        self.level.store(level, Ordering::Relaxed);
        self.format.store(format as u8, Ordering::Relaxed);
    }

    pub(super) fn json(&self) -> bool {
        self.format.load(Ordering::Relaxed) == Format::Json as u8
    }

    /// Lines produced so far, shown or not.
    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.console.dropped()
    }

    /// Writes one line. No secret may be in it: names, identities, routes and statuses only.
    pub fn write(&self, level: Level, message: impl Display, fields: &[Field<'_>]) {
        let shown = level as i32 >= self.level.load(Ordering::Relaxed);
        let streamed = level >= Level::Info && self.stream.is_wanted();
        if level >= Level::Info {
            self.events.fetch_add(1, Ordering::Relaxed);
        }
        if !shown && !streamed {
            return;
        }
        let mut text = Vec::with_capacity(256);
        write_text(level, &message, fields, &mut text);
        if shown && self.json() {
            self.console.append(|out| write_json(level, &message, fields, out));
        } else if shown {
            self.console.append(|out| {
                out.extend_from_slice(&text);
                out.push(b'\n');
            });
        }
        if streamed {
            let event = wire::ErrorEvent { message: String::from_utf8_lossy(&text).into_owned() };
            self.stream.send(&Bytes::from(wire::encode(&event)));
        }
    }
}

/// Lets a line through once in a while, and counts what it held back: for what a flood of clients can cause.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    const PAUSE: Duration = Duration::from_secs(10);

    /// How often this has happened since the last line, if another line is due.
    pub(super) fn pass(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *state;
        *count += 1;
        if last.is_some_and(|last| last.elapsed() < Self::PAUSE) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(count))
    }
}

/// An error with its causes, outermost first, each said once.
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    }
}

fn write_text(level: Level, message: &impl Display, fields: &[Field<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"time=");
    Moment::now().write(3, out);
    out.extend_from_slice(b" level=");
    out.extend_from_slice(name(level).as_bytes());
    out.extend_from_slice(b" msg=");
    let mut text = String::new();
    write!(text, "{message}").expect("a String takes everything");
    quoted(text.as_bytes(), out);
    for (name, value) in fields {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        text.clear();
        write!(text, "{value}").expect("a String takes everything");
        bare_or_quoted(text.as_bytes(), out);
    }
}

fn write_json(level: Level, message: &impl Display, fields: &[Field<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    Moment::now().write(3, out);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(name(level).as_bytes());
    out.extend_from_slice(b"\",\"msg\":");
    wire::write_string(message.to_string().as_bytes(), out);
    for (name, value) in fields {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        let value = value.to_string();
        // A number, here as in audit records.
        if *name == "res.code" {
            out.extend_from_slice(value.as_bytes());
        } else {
            wire::write_string(value.as_bytes(), out);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a value as it is if that is unambiguous, else quoted.
pub(super) fn bare_or_quoted(value: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    if !value.is_empty() && value.iter().all(plain) {
        out.extend_from_slice(value);
    } else {
        quoted(value, out);
    }
}

/// Appends a quoted value. Whatever a peer sent, the line stays one line.
pub(super) fn quoted(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                    out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
                }
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let mut out = Vec::new();
        write_text(
            Level::Warn,
            &"a \"b\"\nc",
            &[("req.path", &"/v1/key/create/x\n y"), ("req.ip", &"::1"), ("empty", &"")],
            &mut out,
        );
        let line = String::from_utf8(out).unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(time.len(), "time=2026-11-21T10:15:00.123Z".len());
        assert_eq!(rest, r#"level=WARN msg="a \"b\"\nc" req.path="/v1/key/create/x\n y" req.ip=::1 empty="""#);
    }

    #[test]
    fn a_json_line_has_the_same_names() {
        let mut out = Vec::new();
        write_json(Level::Error, &"a \"b\"", &[("req.path", &"/x\n"), ("res.code", &502)], &mut out);
        let line = String::from_utf8(out).unwrap();
        let rest = line.split_once(',').unwrap().1;
        assert_eq!(rest, "\"level\":\"ERROR\",\"msg\":\"a \\\"b\\\"\",\"req.path\":\"/x\\n\",\"res.code\":502}\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_line_now_and_then() {
        let seldom = Seldom::default();
        assert_eq!(seldom.pass(), Some(1));
        assert_eq!((seldom.pass(), seldom.pass()), (None, None));
        tokio::time::advance(Seldom::PAUSE).await;
        assert_eq!(seldom.pass(), Some(3), "with those that were held back");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        let mut out = Vec::new();
        quoted(b"\xff\x1b[31m", &mut out);
        assert_eq!(out, b"\"\\xff\\u001b[31m\"");
    }
}
