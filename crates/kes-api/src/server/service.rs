//! A request, top to bottom: guard → route → method → who → may → limits → name → body → handler → answer.

use std::convert::Infallible;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::access::{authorize, identify};
use super::body::RequestBody;
use super::call::{Call, Verdict};
use super::connection::Connection;
use super::failure::Failure;
use super::finish::{abandon, close, finish};
use super::guard::Framing;
use super::handlers::{self, Input};
use super::log;
use super::pace::InFlight;
use super::path::{self, Refused};
use super::quota::{Quotas, RetryAfter, Running};
use super::reply::{Reply, ResponseBody};
use super::request_id::RequestId;
use super::routes::{self, Route};

/// A request that is being worked on. If it is dropped, its client is gone, and that is recorded too.
struct Open {
    call: Call,
    framing: Framing,
    body: Option<RequestBody>,
    /// The body was not read to its end, so the connection cannot go on.
    must_close: bool,
    finished: bool,
    in_flight: Option<InFlight>,
    _running: Option<Running>,
}

impl Deref for Open {
    type Target = Call;
    fn deref(&self) -> &Call {
        &self.call
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut Call {
        &mut self.call
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.finished {
            abandon(&self.call);
        }
    }
}

impl Open {
    fn new(
        connection: Arc<Connection>,
        request: http::request::Parts,
        framing: Framing,
        body: RequestBody,
    ) -> Box<Self> {
        connection.worker.metrics.request_started();
        let given = if framing.is_named { RequestId::find(&request.headers) } else { None };
        let id = given.unwrap_or_else(|| connection.worker.next_request(connection.shared.process));
        let in_flight = connection.pace.begin();
        let call = Call {
            state: connection.shared.state.load_full(),
            connection,
            request,
            id,
            decoded: None,
            route: None,
            tail: 0,
            forwarded: None,
            verdict: Verdict::None,
            started: Instant::now(),
            authenticated: false,
            changed: None,
        };
        let body = Some(body);
        Box::new(Self {
            call,
            framing,
            body,
            must_close: false,
            finished: false,
            in_flight: Some(in_flight),
            _running: None,
        })
    }

    /// Whatever is left of the body is thrown away while the answer is on its way, or ends the connection.
    fn discard_body(&mut self) {
        let pace = &self.call.connection.pace;
        self.must_close = self.body.take().is_some_and(|body| body.discard(pace));
    }

    fn finish(mut self: Box<Self>, outcome: Result<Reply, Failure>) -> Response<ResponseBody> {
        self.finished = true;
        let in_flight = self.in_flight.take().expect("a request is finished once");
        let mut response = finish(&self.call, outcome, in_flight);
        if self.must_close {
            close(&self.connection, self.request.version, &mut response);
        }
        response
    }
}

/// Answers one request.
///
/// The future is boxed: on h2 each one becomes a task, and moving it there was a tenth of the time.
pub(super) fn serve(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send {
    let (request, incoming) = request.into_parts();
    let framing = Framing::of(&request);
    let body = RequestBody::new(&framing, incoming);
    let open = Open::new(connection, request, framing, body);
    Box::pin(async move { Ok(answer(open).await) })
}

async fn answer(mut open: Box<Open>) -> Response<ResponseBody> {
    if open.connection.shared.audit.keeps_all() {
        let connection = Arc::clone(&open.connection);
        Box::pin(connection.shared.audit.room(connection.worker.index)).await;
    }
    let prepared = prepare(&mut open).await;
    open.discard_body();
    let (route, input) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return open.finish(Err(failure)),
    };
    if route.mutates() {
        return Box::pin(detached(open, route, input)).await;
    }
    let outcome = handle(&mut open, route, input).await;
    open.finish(outcome)
}

/// A client that hangs up must not stop a change between the store and the audit line.
async fn detached(mut open: Box<Open>, route: &'static Route, input: Input) -> Response<ResponseBody> {
    let guard = open.connection.shared.detach();
    let task = tokio::spawn(async move {
        let _guard = guard;
        let outcome = handle(&mut open, route, input).await;
        open.finish(outcome)
    });
    task.await.expect("the task catches panics and is never cancelled")
}

/// Everything before the handler; what it needs to know, checked.
async fn prepare(open: &mut Open) -> Result<(&'static Route, Input), Failure> {
    open.framing.check(open.request.version)?;
    let route = find_route(open)?;
    let identified = identify(&open.state, &open.connection, &open.request.headers);
    open.authenticated = identified.is_err();
    open.forwarded = identified?;
    if !route.takes(open.method()) {
        return Err(Failure::wrong_method(open.method(), route.method, route.allow()));
    }
    authorize(open, route)?;
    open._running = take_quota(open)?;
    let mut input = Input::parse(route, open)?;
    if handlers::reads_body(route, open) {
        let deadline = open.deadline();
        let body = open.body.as_mut().expect("discarded only after this");
        input.has_body = !body.is_absent();
        input.body = body.read(route.max_body, deadline).await?;
    }
    Ok((route, input))
}

fn find_route(open: &mut Open) -> Result<&'static Route, Failure> {
    let legacy = open.state.settings.legacy_routes;
    let (found, decoded) = {
        let raw = open.request.uri.path();
        let paths = path::decode(raw).map_err(|refused| match refused {
            Refused::Malformed => Failure::http(http::StatusCode::BAD_REQUEST).closing(),
            Refused::Unclean => Failure::page_not_found(),
        })?;
        let decoded = match paths.decoded {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(decoded) => Some(decoded),
        };
        (routes::find(&paths.routing, legacy), decoded)
    };
    open.decoded = decoded;
    let (route, tail) = found.ok_or_else(Failure::page_not_found)?;
    open.route = Some(route);
    open.tail = tail;
    Ok(route)
}

fn take_quota(open: &Open) -> Result<Option<Running>, Failure> {
    let limits = open.state.settings.limits;
    let Some(identity) = open.identity() else { return Ok(None) };
    if limits.rate.is_none() && limits.concurrency.is_none() {
        return Ok(None);
    }
    Quotas::take(&open.connection.shared, limits, identity)
        .map(Some)
        .map_err(|RetryAfter(after)| Failure::too_many_requests(after))
}

/// Runs the handler; one that panics is a 500, logged and counted, and the server lives.
async fn handle(call: &mut Call, route: &'static Route, input: Input) -> Result<Reply, Failure> {
    let outcome = {
        let mut handler = pin!(handlers::run(call, route, input));
        std::future::poll_fn(|cx| match std::panic::catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Some(outcome)),
            Err(_) => Poll::Ready(None),
        })
        .await
    };
    outcome.unwrap_or_else(|| {
        call.connection.worker.metrics.panicked();
        call.connection.shared.log.write(
            log::Level::Error,
            "a handler panicked: this is a bug in kes, please report it with the lines that stand before this one",
            &[
                ("req.method", &call.method()),
                ("req.path", &String::from_utf8_lossy(call.path())),
                ("req.id", &call.id),
            ],
        );
        Err(Failure::internal())
    })
}
