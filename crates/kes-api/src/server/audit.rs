//! The audit log: one record for **every** request, refused ones too, and for every failed handshake.
//!
//! Departs from upstream: the old server recorded only successful creations, imports and deletions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::console::{Lines, Outlet, Target};
use super::log::{Level, bare_or_quoted, quoted};
use super::moment::{self, Moment};
use super::request_id::RequestId;
use super::stream::Stream;
use crate::wire;

/// Which requests are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// All.
    #[default]
    All,
    /// Successful creations, imports and deletions, as the old server recorded them, and changes of policies.
    Mutations,
}

/// What happens when the buffer of an audit target is full: of the file if there is one, else of the console. A console
/// beside a file always drops.
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
    /// None for a handshake.
    pub(super) id: Option<&'a RequestId>,
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
    /// A policy or an identity was changed; the text is the sentence.
    Rights(&'a str),
    /// Anything else; the status says how it went.
    Request,
    /// A TLS handshake failed; the text says who refused what.
    Handshake(&'a str),
}

/// The audit log.
#[derive(Debug)]
pub(super) struct Audit {
    console: Vec<Arc<Lines>>,
    file: Vec<Arc<Lines>>,
    /// Where the file's buffers go.
    outlet: Arc<Outlet>,
    has_file: AtomicBool,
    pub(super) stream: Stream,
    /// Threshold of the console; the file and the stream have everything.
    level: AtomicI32,
    json: AtomicBool,
    mutations_only: AtomicBool,
    wait: AtomicBool,
    events: AtomicU64,
}

impl Audit {
    /// Console and file have one buffer for each worker, so that workers never wait for each other.
    pub(super) fn new(console: Vec<Arc<Lines>>, file: Vec<Arc<Lines>>, outlet: Arc<Outlet>, has_file: bool) -> Self {
        Self {
            console,
            file,
            outlet,
            has_file: has_file.into(),
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

    /// Exchanges the file, or takes it away.
    pub(super) fn redirect(&self, file: Option<Target>) {
        self.has_file.store(file.is_some(), Ordering::Relaxed);
        self.outlet.redirect(file);
    }

    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Records that the console lost.
    pub(super) fn dropped(&self) -> u64 {
        self.console.iter().map(|lines| lines.dropped()).sum()
    }

    /// Records that the file lost.
    pub(super) fn dropped_by_file(&self) -> u64 {
        self.file.iter().map(|lines| lines.dropped()).sum()
    }

    /// Whether the configuration wants every record kept, be it that requests wait.
    pub(super) fn keeps_all(&self) -> bool {
        self.wait.load(Ordering::Relaxed)
    }

    /// Waits for room in the worker's buffer of the target that is to have every record.
    pub(super) async fn room(&self, worker: usize) {
        let lines = if self.has_file.load(Ordering::Relaxed) { &self.file } else { &self.console };
        lines[worker].room().await;
    }

    pub(super) fn write(&self, worker: usize, record: &Record<'_>) {
        if self.mutations_only.load(Ordering::Relaxed)
            && !matches!(record.event, Event::Created(_) | Event::Deleted(_) | Event::Rights(_))
        {
            return;
        }
        self.events.fetch_add(1, Ordering::Relaxed);
        let json = self.json.load(Ordering::Relaxed);
        let write = |out: &mut Vec<u8>| if json { record.write_json(true, out) } else { record.write_text(out) };
        // Requests have waited for room; a handshake that fails waits for nothing.
        let waited = self.keeps_all() && !matches!(record.event, Event::Handshake(_));
        let append = |lines: &Lines, waited, write: &dyn Fn(&mut Vec<u8>)| {
            if waited { lines.append_after_room(write) } else { lines.append(write) }
        };
        let console = (Level::Info as i32 >= self.level.load(Ordering::Relaxed)).then(|| &*self.console[worker]);
        let file = self.has_file.load(Ordering::Relaxed).then(|| &*self.file[worker]);
        match (file, console) {
            (None, None) => {}
            (Some(lines), None) | (None, Some(lines)) => drop(append(lines, waited, &write)),
            (Some(file), Some(console)) => {
                let mut line = Vec::with_capacity(384);
                write(&mut line);
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&line);
                append(file, waited, &write);
                append(console, false, &write);
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
        if let Some(id) = self.id {
            out.extend_from_slice(b" req.id=");
            id.write(out);
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
            Event::Rights(what) => quoted(what.as_bytes(), out),
            Event::Handshake(reason) => quoted(reason.as_bytes(), out),
        }
    }

    /// The stream's form, and that of console and file with `log.format: json`, which has level and message too.
    fn write_json(&self, with_message: bool, out: &mut Vec<u8>) {
        let is_request = !matches!(self.event, Event::Handshake(_));
        out.extend_from_slice(b"{\"time\":\"");
        self.arrived().write(9, out);
        out.push(b'"');
        if with_message {
            out.extend_from_slice(b",\"level\":\"INFO\",\"msg\":");
            self.write_json_message(out);
        }
        out.extend_from_slice(b",\"request\":{");
        if !self.ip.is_empty() {
            out.extend_from_slice(b"\"ip\":\"");
            out.extend_from_slice(self.ip.as_bytes());
            out.push(b'"');
        }
        if is_request {
            out.extend_from_slice(if self.ip.is_empty() { b"\"path\":" } else { b",\"path\":" });
            wire::write_string(self.path, out);
        }
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
        if let Some(id) = self.id {
            // Its characters need no escapes.
            out.extend_from_slice(b",\"id\":\"");
            id.write(out);
            out.push(b'"');
        }
        out.extend_from_slice(b"},\"response\":{");
        if is_request {
            out.extend_from_slice(b"\"code\":");
            moment::decimal(self.code.into(), 1, out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"time\":");
        moment::decimal(u64::try_from(self.took.as_nanos()).unwrap_or(u64::MAX), 1, out);
        out.extend_from_slice(b"}}\n");
    }

    fn write_json_message(&self, out: &mut Vec<u8>) {
        match self.event {
            Event::Handshake(reason) => wire::write_string(reason.as_bytes(), out),
            // The others are made of key names and our own words.
            _ => self.write_message(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ID: std::sync::LazyLock<RequestId> =
        std::sync::LazyLock::new(|| RequestId::given(&http::HeaderValue::from_static("01J-x")).unwrap());

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
            id: Some(&ID),
            event: Event::Created("a"),
            streamed: true,
        }
    }

    fn handshake<'a>() -> Record<'a> {
        Record {
            method: "",
            path: b"",
            identity: None,
            code: 0,
            policy: "",
            rule: "",
            id: None,
            event: Event::Handshake("a \"b\"\n\x1b"),
            streamed: false,
            ..record()
        }
    }

    fn text(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        record.write_text(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn json(record: &Record<'_>, with_message: bool) -> String {
        let mut out = Vec::new();
        record.write_json(with_message, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Whoever reads audit records relies on these names and their order; docs/operations.md lists them.
    #[test]
    fn the_fields_are_the_golden_ones() {
        let nobody =
            Record { identity: None, ip: "", policy: "", rule: "no policy", event: Event::Request, ..record() };
        let lines: Vec<String> = [record(), Record { code: 403, ..nobody }, handshake()]
            .iter()
            .flat_map(|record| {
                let at =
                    |line: String| line.split_once(if line.starts_with('{') { ',' } else { ' ' }).unwrap().1.to_owned();
                [at(text(record)), at(json(record, true))]
            })
            .collect();
        assert_eq!(lines.concat(), include_str!("audit.golden"));
    }

    #[test]
    fn the_stream_line_reads_back_with_nanoseconds() {
        let event: wire::AuditEvent = serde_json::from_str(&json(&record(), false)).unwrap();
        assert_eq!((event.response.code, event.response.time), (200, 107_389));
        assert_eq!((&event.request.path[..], &event.request.identity[..]), ("/v1/key/create/a b", "339e"));
        let nobody = json(&Record { identity: None, ip: "", ..record() }, false);
        assert!(!nobody.contains("identity\""), "absent, not empty");
    }

    #[test]
    fn every_json_line_is_json() {
        for record in [record(), handshake(), Record { ip: "", path: b"\xff\"", ..record() }] {
            serde_json::from_str::<serde_json::Value>(&json(&record, true)).unwrap();
        }
    }
}
