//! The audit log: one record for **every** request, refused ones too, and for every failed handshake.
//!
//! Departs from upstream: the old server recorded only successful creations, imports and deletions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::console::Lines;
use super::log::{Level, bare_or_quoted, quoted};
use super::moment::{self, Moment};
use super::stream::Stream;
use crate::wire;

/// Which requests are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// All.
    #[default]
    All,
    /// Successful creations, imports and deletions: what the old server recorded.
    Mutations,
}

/// What happens when the buffer of an audit target is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The record is dropped and counted.
    Drop,
    /// The answer waits.
    Wait,
}

/// One request.
pub(super) struct Record<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a [u8],
    pub(super) ip: &'a str,
    pub(super) identity: Option<&'a str>,
    pub(super) code: u16,
    pub(super) took: Duration,
    pub(super) policy: &'a str,
    pub(super) rule: &'a str,
    pub(super) event: Event<'a>,
    /// Whether it reached authentication; only then do stream subscribers hear of it.
    pub(super) streamed: bool,
}

/// What happened.
#[derive(Clone, Copy)]
pub(super) enum Event<'a> {
    /// A key was created or imported.
    Created(&'a str),
    /// A key was deleted.
    Deleted(&'a str),
    /// Anything else; the status says how it went.
    Request,
    /// A TLS handshake failed; the text says who refused what.
    Handshake(&'a str),
}

/// The audit log.
#[derive(Debug)]
pub(super) struct Audit {
    /// One buffer for each worker, so that they never wait for each other.
    workers: Vec<Arc<Lines>>,
    pub(super) stream: Stream,
    level: AtomicI32,
    json: AtomicBool,
    mutations_only: AtomicBool,
    wait: AtomicBool,
    events: AtomicU64,
}

impl Audit {
    pub(super) fn new(workers: Vec<Arc<Lines>>) -> Self {
        Self {
            workers,
            stream: Stream::default(),
            level: AtomicI32::new(0),
            json: AtomicBool::new(false),
            mutations_only: AtomicBool::new(false),
            wait: AtomicBool::new(false),
            events: AtomicU64::new(0),
        }
    }

    pub(super) fn configure(&self, level: i32, json: bool, events: Events, on_full: OnFull) {
        self.level.store(level, Ordering::Relaxed);
        self.json.store(json, Ordering::Relaxed);
        self.mutations_only.store(events == Events::Mutations, Ordering::Relaxed);
        self.wait.store(on_full == OnFull::Wait, Ordering::Relaxed);
    }

    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.workers.iter().map(|lines| lines.dropped()).sum()
    }

    /// Whether the configuration wants every record kept, be it that requests wait.
    pub(super) fn keeps_all(&self) -> bool {
        self.wait.load(Ordering::Relaxed)
    }

    /// Waits for room in the worker's buffer.
    pub(super) async fn room(&self, worker: usize) {
        self.workers[worker].room().await;
    }

    pub(super) fn write(&self, worker: usize, record: &Record<'_>) {
        if self.mutations_only.load(Ordering::Relaxed) && !matches!(record.event, Event::Created(_) | Event::Deleted(_))
        {
            return;
        }
        self.events.fetch_add(1, Ordering::Relaxed);
        if Level::Info as i32 >= self.level.load(Ordering::Relaxed) {
            let json = self.json.load(Ordering::Relaxed);
            let write = |out: &mut Vec<u8>| if json { record.write_json(true, out) } else { record.write_text(out) };
            // Requests have waited for room; a handshake that fails waits for nothing.
            if self.keeps_all() && !matches!(record.event, Event::Handshake(_)) {
                self.workers[worker].append_after_room(write);
            } else {
                self.workers[worker].append(write);
            }
        }
        if record.streamed && self.stream.is_wanted() {
            let mut line = Vec::with_capacity(320);
            record.write_json(false, &mut line);
            self.stream.send(&Bytes::from(line));
        }
    }
}

impl Record<'_> {
    /// When the request arrived. The clock is asked only for records that somebody wants.
    fn arrived(&self) -> Moment {
        Moment::now().before(self.took)
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"time=");
        self.arrived().write(3, out);
        out.extend_from_slice(b" level=INFO msg=");
        self.write_message(out);
        if !matches!(self.event, Event::Handshake(_)) {
            out.extend_from_slice(b" req.method=");
            bare_or_quoted(self.method.as_bytes(), out);
            out.extend_from_slice(b" req.path=");
            bare_or_quoted(self.path, out);
        }
        out.extend_from_slice(b" req.ip=");
        bare_or_quoted(if self.ip.is_empty() { b"-" } else { self.ip.as_bytes() }, out);
        out.extend_from_slice(b" req.identity=");
        out.extend_from_slice(self.identity.unwrap_or("-").as_bytes());
        if !matches!(self.event, Event::Handshake(_)) {
            out.extend_from_slice(b" res.code=");
            moment::decimal(self.code.into(), 3, out);
        }
        out.extend_from_slice(b" res.time=");
        moment::duration(self.took, out);
        for (name, value) in [(&b" policy="[..], self.policy), (b" rule=", self.rule)] {
            if !value.is_empty() {
                out.extend_from_slice(name);
                bare_or_quoted(value.as_bytes(), out);
            }
        }
        out.push(b'\n');
    }

    fn write_message(&self, out: &mut Vec<u8>) {
        match self.event {
            Event::Created(name) => {
                out.extend_from_slice(&[b"\"secret key '", name.as_bytes(), b"' created\""].concat())
            }
            Event::Deleted(name) => {
                out.extend_from_slice(&[b"\"secret key '", name.as_bytes(), b"' deleted\""].concat())
            }
            Event::Request => out.extend_from_slice(match self.code {
                200..400 => b"\"request served\"",
                400..500 => b"\"request refused\"",
                _ => b"\"request failed\"",
            }),
            Event::Handshake(reason) => quoted(reason.as_bytes(), out),
        }
    }

    /// The stream's form, and the console's with `log.format: json`, which has a message too.
    fn write_json(&self, console: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.arrived().write(9, out);
        out.push(b'"');
        if console {
            out.extend_from_slice(b",\"msg\":");
            self.write_message(out);
        }
        out.extend_from_slice(b",\"request\":{");
        if !self.ip.is_empty() {
            out.extend_from_slice(b"\"ip\":\"");
            out.extend_from_slice(self.ip.as_bytes());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"path\":");
        wire::write_string(self.path, out);
        if let Some(identity) = self.identity {
            out.extend_from_slice(b",\"identity\":\"");
            out.extend_from_slice(identity.as_bytes());
            out.push(b'"');
        }
        for (name, value) in
            [(&b",\"method\":"[..], self.method), (b",\"policy\":", self.policy), (b",\"rule\":", self.rule)]
        {
            if !value.is_empty() {
                out.extend_from_slice(name);
                wire::write_string(value.as_bytes(), out);
            }
        }
        out.extend_from_slice(b"},\"response\":{\"code\":");
        moment::decimal(self.code.into(), 1, out);
        out.extend_from_slice(b",\"time\":");
        moment::decimal(u64::try_from(self.took.as_nanos()).unwrap_or(u64::MAX), 1, out);
        out.extend_from_slice(b"}}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>() -> Record<'a> {
        Record {
            method: "POST",
            path: b"/v1/key/create/a b",
            ip: "127.0.0.1",
            identity: Some("339e"),
            code: 200,
            took: Duration::from_nanos(107_389),
            policy: "app",
            rule: "/v1/key/*",
            event: Event::Created("a"),
            streamed: true,
        }
    }

    #[test]
    fn the_console_line_is_the_old_servers_with_more_at_its_end() {
        let mut out = Vec::new();
        record().write_text(&mut out);
        let line = String::from_utf8(out).unwrap();
        assert_eq!(
            line.split_once(' ').unwrap().1,
            "level=INFO msg=\"secret key 'a' created\" req.method=POST req.path=\"/v1/key/create/a b\" req.ip=127.0.0.1 \
             req.identity=339e res.code=200 res.time=107.389µs policy=app rule=/v1/key/*\n"
        );
    }

    #[test]
    fn the_stream_line_reads_back_with_nanoseconds() {
        let mut out = Vec::new();
        record().write_json(false, &mut out);
        let event: wire::AuditEvent = serde_json::from_slice(&out).unwrap();
        assert_eq!((event.response.code, event.response.time), (200, 107_389));
        assert_eq!((&event.request.path[..], &event.request.identity[..]), ("/v1/key/create/a b", "339e"));
        let mut out = Vec::new();
        Record { identity: None, ip: "", ..record() }.write_json(false, &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("identity\""), "absent, not empty");
    }
}
