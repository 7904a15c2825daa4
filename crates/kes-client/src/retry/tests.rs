//! The rules against a scripted network, in paused time.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use reqwest::Method;

use super::*;
use crate::error::Cause;

/// What the network does with one try.
#[derive(Clone, Copy)]
enum Act {
    Answer(u16),
    /// The connection was refused.
    Refuse,
    /// The connection broke after the request was sent.
    Break,
    /// Nothing ever comes back.
    Hang,
    /// TLS says no.
    Final,
}

use Act::{Answer, Break, Final, Hang, Refuse};

struct Script {
    acts: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<(String, Bytes)>>,
}

impl Script {
    fn new(acts: &[Act]) -> Self {
        Self { acts: Mutex::new(acts.iter().copied().collect()), seen: Mutex::default() }
    }

    fn hosts(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(host, _)| host.clone()).collect()
    }
}

impl Exchange for Script {
    type Answer = u16;

    async fn exchange(&self, endpoint: &Endpoint, request: &Request) -> Result<u16, Failed> {
        let body = request.body.clone().unwrap_or_default();
        self.seen.lock().unwrap().push((endpoint.host().to_owned(), body));
        let act = self.acts.lock().unwrap().pop_front().expect("a try that the script does not foresee");
        let failed = |sent, passing| {
            let error = Error::Connection { call: request.call(endpoint), source: Cause::text("scripted") };
            Err(Failed { error, sent, passing })
        };
        match act {
            Answer(status) => Ok(status),
            Refuse => failed(false, true),
            Break => failed(true, true),
            Final => failed(false, false),
            Hang => std::future::pending().await,
        }
    }

    fn status(answer: &u16) -> u16 {
        *answer
    }
}

const TIMING: Timing = Timing {
    per_try: Duration::from_secs(15),
    overall: Some(Duration::from_secs(60)),
    pause: Duration::from_millis(200),
};

fn one() -> Endpoints {
    some(&["203.0.113.1"])
}

fn some(hosts: &[&str]) -> Endpoints {
    Endpoints::new(hosts.iter().map(|host| Endpoint::parse(&format!("https://{host}:7373")).unwrap()).collect())
}

fn generate() -> Request {
    Request::with_body(Method::POST, "/v1/key/generate/k".into(), b"{}".to_vec())
}

fn create() -> Request {
    Request { method: Method::POST, repeatable: false, ..Request::get("/v1/key/create/k") }
}

async fn outcome(acts: &[Act], endpoints: &Endpoints, request: &Request) -> (Outcome<u16>, Script) {
    let script = Script::new(acts);
    let outcome = run(&script, endpoints, TIMING, request).await;
    assert!(script.acts.lock().unwrap().is_empty(), "the script was not played to its end");
    (outcome, script)
}

#[tokio::test(start_paused = true)]
async fn a_503_is_tried_three_times_after_200_ms_to_1_s() {
    let started = Instant::now();
    let (outcome, _) = outcome(&[Answer(503), Answer(503), Answer(200)], &one(), &generate()).await;
    assert_eq!(outcome.answer.unwrap(), 200);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(400) && waited < Duration::from_secs(2), "{waited:?}");

    let (outcome, _) = self::outcome(&[Answer(503); 3], &one(), &generate()).await;
    assert_eq!(outcome.answer.unwrap(), 503);
}

#[tokio::test(start_paused = true)]
async fn other_statuses_are_not_tried_again() {
    for status in [200, 400, 403, 404, 408, 429, 500, 501, 502, 504] {
        let (outcome, _) = outcome(&[Answer(status)], &one(), &generate()).await;
        assert_eq!(outcome.answer.unwrap(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn network_errors_are_tried_three_times_and_tls_refusals_once() {
    let (ended, _) = outcome(&[Refuse, Break, Answer(200)], &one(), &generate()).await;
    assert_eq!(ended.answer.unwrap(), 200);
    let (ended, _) = outcome(&[Refuse; 3], &one(), &generate()).await;
    assert!(matches!(ended.answer, Err(Error::Connection { .. })));
    let (ended, _) = outcome(&[Final], &one(), &generate()).await;
    assert!(matches!(ended.answer, Err(Error::Connection { .. })));
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_gets_the_same_body() {
    let endpoints = some(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]);
    let (ended, script) = outcome(&[Answer(502), Answer(500), Answer(200)], &endpoints, &generate()).await;
    assert_eq!(ended.answer.unwrap(), 200);
    let seen = script.seen.lock().unwrap();
    assert!(seen.iter().all(|(_, body)| body == "{}"), "{seen:?}");
    let mut hosts: Vec<_> = seen.iter().map(|(host, _)| host.clone()).collect();
    hosts.sort();
    assert_eq!(hosts, ["203.0.113.1", "203.0.113.2", "203.0.113.3"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_failed_is_left_out_for_30_s() {
    let endpoints = some(&["127.0.0.1", "203.0.113.2"]);
    let (_, script) = outcome(&[Answer(502), Answer(200)], &endpoints, &generate()).await;
    assert_eq!(script.hosts(), ["127.0.0.1", "203.0.113.2"]);
    let (_, script) = outcome(&[Answer(200)], &endpoints, &generate()).await;
    assert_eq!(script.hosts(), ["203.0.113.2"]);
    tokio::time::advance(Duration::from_secs(30)).await;
    let (_, script) = outcome(&[Answer(200)], &endpoints, &generate()).await;
    assert_eq!(script.hosts(), ["127.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn if_all_are_left_out_all_are_asked() {
    let endpoints = some(&["127.0.0.1", "203.0.113.2"]);
    let (ended, _) = outcome(&[Answer(502), Answer(500)], &endpoints, &generate()).await;
    assert_eq!(ended.answer.unwrap(), 500, "the last one's answer");
    let (ended, script) = outcome(&[Answer(502), Answer(200)], &endpoints, &generate()).await;
    assert_eq!(ended.answer.unwrap(), 200);
    assert_eq!(script.hosts(), ["127.0.0.1", "203.0.113.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_single_endpoint_has_no_time_out() {
    let endpoints = one();
    for _ in 0..3 {
        let (ended, _) = outcome(&[Answer(500)], &endpoints, &generate()).await;
        assert_eq!(ended.answer.unwrap(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_501_is_an_answer_and_no_failure_of_the_endpoint() {
    let endpoints = some(&["127.0.0.1", "203.0.113.2"]);
    for _ in 0..2 {
        let (_, script) = outcome(&[Answer(501)], &endpoints, &generate()).await;
        assert_eq!(script.hosts(), ["127.0.0.1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_is_repeated_only_if_it_was_not_sent() {
    let (ended, _) = outcome(&[Refuse, Refuse, Answer(200)], &one(), &create()).await;
    assert_eq!(ended.answer.unwrap(), 200);
    assert!(!ended.repeated);
    let (ended, _) = outcome(&[Refuse, Break], &one(), &create()).await;
    assert!(ended.answer.is_err());
    let (ended, _) = outcome(&[Answer(503)], &one(), &create()).await;
    assert_eq!(ended.answer.unwrap(), 503);
    let two = some(&["127.0.0.1", "203.0.113.2"]);
    let (ended, _) = outcome(&[Answer(502)], &two, &create()).await;
    assert_eq!(ended.answer.unwrap(), 502, "the first server may have created it");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_create_says_so() {
    let request = Request { repeatable: true, ..create() };
    let (ended, _) = outcome(&[Break, Answer(400)], &one(), &request).await;
    assert!(ended.repeated);
    assert_eq!(ended.answer.unwrap(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_the_deadline_and_no_more() {
    let started = Instant::now();
    let (ended, _) = outcome(&[Hang; 3], &one(), &generate()).await;
    assert!(matches!(ended.answer, Err(Error::Timeout { after, .. }) if after == Duration::from_secs(15)));
    assert!(started.elapsed() < Duration::from_secs(48));

    let timing = Timing { overall: Some(Duration::from_secs(20)), ..TIMING };
    let started = Instant::now();
    let script = Script::new(&[Hang; 2]);
    let ended = run(&script, &one(), timing, &generate()).await;
    assert!(matches!(ended.answer, Err(Error::Timeout { .. })));
    assert_eq!(started.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn no_pause_outlasts_the_deadline() {
    let timing = Timing { overall: Some(Duration::from_millis(100)), ..TIMING };
    let started = Instant::now();
    let script = Script::new(&[Answer(503)]);
    let ended = run(&script, &one(), timing, &generate()).await;
    assert_eq!(ended.answer.unwrap(), 503);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_during_a_pause_is_over() {
    let script = Script::new(&[Answer(503)]);
    let (endpoints, request) = (one(), generate());
    let call = run(&script, &endpoints, TIMING, &request);
    assert!(timeout(Duration::from_millis(150), call).await.is_err());
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(script.hosts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_wait_for_its_first_event_for_ever() {
    let script = Script::new(&[Hang]);
    let (endpoints, request) = (one(), Request { streams: true, ..Request::get("/v1/log/audit") });
    let call = run(&script, &endpoints, TIMING, &request);
    assert!(timeout(Duration::from_secs(3600), call).await.is_err());
    assert_eq!(script.hosts().len(), 1);
}
