//! Sources of credentials that are slow, refuse or go away while keys are used.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use kes_keystore::{Error, ErrorKind, KeyStore};
use kes_keystore_aws::{Config, Service, Store, connect};
use support::alone::{World, alone};
use support::sources::{at, document, in_an_hour, metadata, world};
use support::{Act, Front, REGION, chain, free_port, fresh, name};

/// A world with a source for containers that the body itself starts, at the port `TEST_SOURCE`.
async fn with_own_source() -> World {
    let (api, port) = (Front::start(|_| Act::Pass).await, free_port());
    let uri = format!("http://127.0.0.1:{port}/c");
    world(&api).set("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri).set("TEST_SOURCE", port.to_string())
}

async fn own_source(plan: impl Fn(usize) -> Act + Send + Sync + 'static) -> Arc<Front> {
    let (port, calls) = (std::env::var("TEST_SOURCE").unwrap().parse().unwrap(), AtomicUsize::new(0));
    Front::start_at(port, move |_| plan(calls.fetch_add(1, Ordering::Relaxed))).await
}

/// Credentials that have ended when they come.
fn ended() -> Act {
    document("ASIA0", &at(SystemTime::now()))
}

/// Nothing is asked of AWS but by the test.
async fn open() -> Result<Store, Error> {
    let endpoint = Some(std::env::var("TEST_ENDPOINT").unwrap());
    let service = Service { endpoint, region: Some(REGION.into()), credentials: None };
    connect(Config { service, prefix: fresh("quiet"), check: false, ..Config::default() }).await
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn sts_that_is_away_is_an_outage() {
    for gone in [None, Some(Act::Cut), Some(Act::error(503, "ServiceUnavailable", "")), Some(sts_throttles())] {
        alone(
            "sts_that_is_away_is_an_outage",
            async move |home| {
                let api = Front::start(|_| Act::Pass).await;
                let world = match gone {
                    None => world(&api).set("AWS_ENDPOINT_URL_STS", format!("http://127.0.0.1:{}", free_port())),
                    Some(act) => {
                        let sts = Front::start(move |_| act.clone()).await;
                        world(&api).with(&sts).set("AWS_ENDPOINT_URL_STS", sts.url())
                    }
                };
                std::fs::write(home.join("token"), "jwt-of-the-pod").unwrap();
                world
                    .set("AWS_WEB_IDENTITY_TOKEN_FILE", home.join("token").display().to_string())
                    .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kes")
            },
            async || {
                let error = open().await.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
            },
        );
    }
}

fn sts_throttles() -> Act {
    Act::Answer(
        400,
        "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>\
         </ErrorResponse>"
            .into(),
    )
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn a_source_that_goes_away_is_an_outage() {
    alone(
        "a_source_that_goes_away_is_an_outage",
        async |_| with_own_source().await,
        async || {
            let source = own_source(|call| if call == 0 { ended() } else { Act::Cut }).await;
            let store = open().await.unwrap();
            for _ in 0..2 {
                let error = store.get(&name("a")).await.map(drop).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
                source.cut().await;
            }
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_metadata_service_of_an_instance_that_goes_away_is_an_outage() {
    const LIFE: Duration = Duration::from_secs(3);
    alone(
        "the_metadata_service_of_an_instance_that_goes_away_is_an_outage",
        async |_| {
            let (api, port) = (Front::start(|_| Act::Pass).await, free_port());
            let url = format!("http://127.0.0.1:{port}");
            world(&api).set("AWS_EC2_METADATA_SERVICE_ENDPOINT", url).set("TEST_SOURCE", port.to_string())
        },
        async || {
            // As long as it has never answered, this need not be an instance.
            let error = open().await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{}", chain(&error));
            assert!(error.to_string().contains("no AWS credentials were found"), "{error}");

            let end = at(SystemTime::now() + LIFE);
            let port = std::env::var("TEST_SOURCE").unwrap().parse().unwrap();
            let source = Front::start_at(port, move |request| metadata(request, "ASIAEC2", &end)).await;
            let store = open().await.unwrap();
            source.cut().await;
            // Until the credentials end, which nothing but time brings about.
            let error = loop {
                match store.get(&name("a")).await.map(drop).unwrap_err() {
                    error if error.kind() == ErrorKind::NotFound => {}
                    error => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn a_source_that_refuses_is_not_asked_by_each_request_anew() {
    alone(
        "a_source_that_refuses_is_not_asked_by_each_request_anew",
        async |_| with_own_source().await,
        async || {
            let source = own_source(|call| if call == 0 { ended() } else { Act::Answer(403, "{}".to_owned()) }).await;
            let store = Arc::new(open().await.unwrap());
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..100 {
                let store = Arc::clone(&store);
                tasks.spawn(async move { store.get(&name("a")).await.map(drop).unwrap_err() });
            }
            while let Some(error) = tasks.join_next().await {
                let error = error.unwrap();
                assert_eq!(error.kind(), ErrorKind::Unauthorized, "{}", chain(&error));
            }
            // Once for all of them, and again if the machine is so slow that it is time to.
            assert!(source.seen().len() < 10, "{}", source.seen().len());
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn what_a_slow_source_gives_is_not_lost_with_the_request_that_waited() {
    let test = "what_a_slow_source_gives_is_not_lost_with_the_request_that_waited";
    alone(
        test,
        async |_| with_own_source().await,
        async || {
            let gate = Arc::new(tokio::sync::Semaphore::new(0));
            let (waits, valid) = (Arc::clone(&gate), in_an_hour());
            let source = own_source(move |call| match (call, document("ASIA1", &valid)) {
                (0, _) => ended(),
                (_, Act::Answer(status, body)) => Act::Gate(Arc::clone(&waits), status, body),
                (_, act) => act,
            })
            .await;
            let store = Arc::new(open().await.unwrap());
            let read = |store: Arc<Store>| async move { store.get(&name("a")).await.map(drop).unwrap_err().kind() };
            let first = tokio::spawn(read(Arc::clone(&store)));
            while source.seen().len() < 2 {
                tokio::task::yield_now().await;
            }
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
            gate.add_permits(100);
            assert_eq!(read(store).await, ErrorKind::NotFound, "AWS was asked");
            assert_eq!(source.seen().len(), 2);
        },
    );
}
