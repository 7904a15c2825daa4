//! The end of every request, whatever became of it: rendered, audited and counted here, so that no path can forget.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use tokio::time::Instant;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::audit::{Event, Record};
use super::call::{Call, Changed};
use super::connection::Connection;
use super::failure::{Body, Failure};
use super::log::{Chain, Level};
use super::pace::InFlight;
use super::reply::{Reply, ResponseBody};
use super::request_id::X_REQUEST_ID;
use super::routes::{Endpoint, NO_ROUTE};
use crate::wire::{self, text};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const X_CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// A client that hung up before its answer: nginx's number, used in the audit log and the metrics only.
const CLIENT_CLOSED: u16 = 499;

/// Ends a request with an answer.
pub(super) fn finish(call: &Call, outcome: Result<Reply, Failure>, mut in_flight: InFlight) -> Response<ResponseBody> {
    let now = Instant::now();
    in_flight.ends(now);
    let mut response = match outcome {
        Ok(reply) => render(reply, in_flight),
        Err(failure) => {
            report(call, &failure);
            refuse(call, failure, in_flight)
        }
    };
    if call.id.is_given() || response.status().as_u16() >= 400 {
        response.headers_mut().insert(X_REQUEST_ID, call.id.header());
    }
    if call.request.method == Method::HEAD {
        let length = http_body::Body::size_hint(response.body()).exact().unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        response.body_mut().clear();
    }
    record(call, response.status().as_u16(), now);
    response
}

/// Ends a request whose client is gone.
pub(super) fn abandon(call: &Call) {
    record(call, CLIENT_CLOSED, Instant::now());
}

fn render(reply: Reply, in_flight: InFlight) -> Response<ResponseBody> {
    let (content_type, bytes): (_, Bytes) = match reply {
        Reply::Json(bytes) => (JSON, bytes),
        Reply::Secret(bytes) => (JSON, Bytes::from_owner(Wiped(bytes))),
        Reply::Metrics(page) => (METRICS, page.into()),
        Reply::Lines(bytes) => (NDJSON, bytes.into()),
        Reply::Empty => {
            let mut response = Response::new(ResponseBody::full(Bytes::new(), in_flight));
            // On h2 the library says nothing of a body that is not there.
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            return response;
        }
        Reply::Events(receiver) => {
            let mut response = Response::new(ResponseBody::events(receiver, in_flight));
            response.headers_mut().insert(CONTENT_TYPE, NDJSON);
            return response;
        }
    };
    let mut response = Response::new(ResponseBody::full(bytes, in_flight));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

struct Wiped(zeroize::Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn refuse(call: &Call, failure: Failure, in_flight: InFlight) -> Response<ResponseBody> {
    let (content_type, bytes): (_, Bytes) = match &failure.body {
        Body::Message(message) => (Some(JSON), wire::error_body(in_words_of(call, failure.status, message)).into()),
        Body::WrongMethod { message, .. } => (Some(JSON), wire::error_body(message.as_bytes()).into()),
        Body::PageNotFound => (Some(PLAIN), Bytes::from_static(text::PAGE_NOT_FOUND.as_bytes())),
        Body::Empty => (None, Bytes::new()),
    };
    let mut response = Response::new(ResponseBody::full(bytes, in_flight));
    *response.status_mut() = failure.status;
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    match failure.body {
        Body::PageNotFound => drop(headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF)),
        Body::WrongMethod { declared, allow, .. } => {
            // Compat: the old server named the method in `Accept`. Departs from upstream: `Allow` is where it belongs.
            headers.insert(http::header::ACCEPT, HeaderValue::from_static(declared));
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        _ => {}
    }
    if failure.status == StatusCode::TOO_MANY_REQUESTS {
        let seconds = failure.retry_after.map_or(1, |after| after.as_secs_f64().ceil().max(1.0) as u64);
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if failure.close {
        close(&call.connection, call.request.version, &mut response);
    }
    response
}

/// The message, in the words of releases up to v0.17 if the configuration wants them: MinIO before 2022 compares these.
fn in_words_of<'a>(call: &Call, status: StatusCode, message: &'a [u8]) -> &'a [u8] {
    if !call.state.settings.legacy_messages {
        return message;
    }
    text::legacy(status.as_u16(), message)
}

/// Tells the client that the connection ends with this answer, and gives it time to read it.
pub(super) fn close(connection: &Connection, version: Version, response: &mut Response<ResponseBody>) {
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, CLOSE);
        connection.pace.linger();
    }
}

/// A failure's cause is for the log alone.
fn report(call: &Call, failure: &Failure) {
    let Some(source) = &failure.source else { return };
    let level = if failure.status.is_server_error() { Level::Error } else { Level::Debug };
    // A store that by its nature refuses is the operator's business too.
    let level = if failure.status == StatusCode::FORBIDDEN { Level::Warn } else { level };
    let path = String::from_utf8_lossy(call.path());
    call.connection.shared.log.write(
        level,
        Chain(&**source),
        &[
            ("req.method", &call.method()),
            ("req.path", &path),
            ("req.ip", &call.ip()),
            ("req.identity", &call.identity_text()),
            ("res.code", &failure.status.as_u16()),
            ("req.id", &call.id),
        ],
    );
}

fn record(call: &Call, code: u16, now: Instant) {
    let took = now.duration_since(call.started);
    let endpoint = call.route.map(|route| route.endpoint);
    let timed = !matches!(endpoint, Some(Endpoint::ErrorLog | Endpoint::AuditLog));
    let worker = &call.connection.worker;
    worker.metrics.request_finished(call.route.map_or(NO_ROUTE, |route| route.index), code, took, timed);
    let (policy, rule) = call.verdict.names();
    call.connection.shared.audit.write(
        worker.index,
        &Record {
            method: call.method(),
            path: call.path(),
            ip: call.ip(),
            identity: call.identity().map(kes_identity::Identity::as_str),
            code,
            took,
            policy,
            rule,
            id: Some(&call.id),
            event: match &call.changed {
                Some(Changed::Created(name)) if code == 200 => Event::Created(name),
                Some(Changed::Deleted(name)) if code == 200 => Event::Deleted(name),
                Some(Changed::Rights(what)) if code == 200 => Event::Rights(what),
                _ => Event::Request,
            },
            streamed: call.authenticated,
        },
    );
}
