//! Every source of credentials, each in a process of its own whose environment has that one alone; and what becomes of
//! credentials that end. What a source gives is good for what it gave: the API knows no other key.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kes_keystore::{Error, ErrorKind, KeyStore};
use kes_keystore_aws::{Config, Service, Store, connect};
use serde_json::json;
use support::alone::alone;
use support::sources::{at, document, in_an_hour, metadata, world};
use support::{Act, Front, REGION, Request, chain, fixed, fresh, name};

/// The API as one that knows one key and token.
async fn api(id: &'static str, token: Option<&'static str>) -> Arc<Front> {
    Front::start(move |request| match request.line.starts_with("GET") {
        true => Act::Pass,
        false if request.key() == id && request.header("x-amz-security-token") == token => Act::Pass,
        false => Act::error(400, "UnrecognizedClientException", &format!("The key '{}' is invalid.", request.key())),
    })
    .await
}

async fn open(credentials: Option<kes_keystore_aws::Credentials>) -> Result<Store, Error> {
    let endpoint = Some(std::env::var("TEST_ENDPOINT").unwrap());
    let service = Service { endpoint, region: Some(REGION.into()), credentials };
    connect(Config { service, prefix: fresh("credentials"), check: true, ..Config::default() }).await
}

/// Whatever the source gives is good for it.
async fn works() {
    let store = open(None).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(store.notices(), Vec::<String>::new());
    store.create(&name("a"), b"value").await.unwrap();
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"value");
}

/// Credentials as STS gives them.
fn assumed(action: &str, id: &str, end: &str) -> Act {
    Act::Answer(
        200,
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials>\
             <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/kes/s</Arn>\
             <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>"
        ),
    )
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_configuration_whatever_the_environment_has() {
    alone(
        "by_configuration_whatever_the_environment_has",
        async |_| {
            let api = api("AKIACONFIG", Some("token")).await;
            world(&api).set("AWS_ACCESS_KEY_ID", "AKIAOTHER").set("AWS_SECRET_ACCESS_KEY", "s")
        },
        async || {
            let store = open(Some(fixed("AKIACONFIG", Some("token")))).await.unwrap();
            store.create(&name("a"), b"value").await.unwrap();
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_environment() {
    alone(
        "by_environment",
        async |_| {
            let api = api("AKIAENV", Some("token")).await;
            let world = world(&api).set("AWS_ACCESS_KEY_ID", "AKIAENV").set("AWS_SECRET_ACCESS_KEY", "s");
            world.set("AWS_SESSION_TOKEN", "token")
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_environment_in_the_old_spelling() {
    alone(
        "by_environment_in_the_old_spelling",
        async |_| world(&api("AKIAOLD", None).await).set("AWS_ACCESS_KEY", "AKIAOLD").set("AWS_SECRET_KEY", "s"),
        works,
    );
}

/// STS for who has this token and asks for this role.
async fn sts(id: &'static str, token: &'static str) -> Arc<Front> {
    Front::start(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let asked = |word: &str| body.contains(word);
        let fits = asked("Action=AssumeRoleWithWebIdentity")
            && asked(&format!("WebIdentityToken={token}"))
            && asked("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fkes");
        match fits {
            true => assumed("AssumeRoleWithWebIdentity", id, &in_an_hour()),
            false => Act::Answer(
                403,
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform \
                 sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>"
                    .into(),
            ),
        }
    })
    .await
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_web_identity_of_a_service_account() {
    alone(
        "by_web_identity_of_a_service_account",
        async |home| {
            let (api, sts) = (api("ASIAWEB", Some("t")).await, sts("ASIAWEB", "jwt-of-the-pod").await);
            std::fs::write(home.join("token"), "jwt-of-the-pod").unwrap();
            world(&api)
                .with(&sts)
                .set("AWS_ENDPOINT_URL_STS", sts.url())
                .set("AWS_WEB_IDENTITY_TOKEN_FILE", home.join("token").display().to_string())
                .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kes")
                .set("AWS_ROLE_SESSION_NAME", "kes-0")
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn a_role_that_may_not_be_assumed_is_said_to_be() {
    alone(
        "a_role_that_may_not_be_assumed_is_said_to_be",
        async |home| {
            let (api, sts) = (api("ASIAWEB", Some("t")).await, sts("ASIAWEB", "jwt-of-the-pod").await);
            std::fs::write(home.join("token"), "jwt-of-somebody").unwrap();
            world(&api)
                .with(&sts)
                .set("AWS_ENDPOINT_URL_STS", sts.url())
                .set("AWS_WEB_IDENTITY_TOKEN_FILE", home.join("token").display().to_string())
                .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kes")
        },
        async || {
            let error = open(None).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            let text = chain(&error);
            assert!(text.contains("check the role") && text.contains("AssumeRoleWithWebIdentity"), "{text}");
            assert!(!text.contains("jwt-of"), "{text}");
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_profile() {
    alone(
        "by_profile",
        async |home| {
            let api = api("AKIAPROFILE", None).await;
            let profiles = "[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = s\n\
                            [kes]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n";
            std::fs::write(home.join("credentials"), profiles).unwrap();
            let file = home.join("credentials").display().to_string();
            world(&api).set("AWS_SHARED_CREDENTIALS_FILE", file).set("AWS_PROFILE", "kes")
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_the_default_profile_in_the_home_folder() {
    alone(
        "by_the_default_profile_in_the_home_folder",
        async |home| {
            std::fs::create_dir(home.join(".aws")).unwrap();
            let profile = "[default]\naws_access_key_id = AKIAHOME\naws_secret_access_key = s\n";
            std::fs::write(home.join(".aws/credentials"), profile).unwrap();
            world(&api("AKIAHOME", None).await)
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_a_profile_that_runs_a_program() {
    alone(
        "by_a_profile_that_runs_a_program",
        async |home| {
            let document =
                json!({ "Version": 1, "AccessKeyId": "ASIAPROGRAM", "SecretAccessKey": "s", "SessionToken": "t" });
            std::fs::write(home.join("document"), document.to_string()).unwrap();
            let file = home.join("document").display().to_string();
            std::fs::write(home.join("config"), format!("[default]\ncredential_process = cat {file}\n")).unwrap();
            let config = home.join("config").display().to_string();
            world(&api("ASIAPROGRAM", Some("t")).await).set("AWS_CONFIG_FILE", config)
        },
        works,
    );
}

/// The container's endpoint, for who shows this token.
async fn container(id: &'static str, token: &'static str) -> Arc<Front> {
    Front::start(move |request| {
        let fits = request.line.starts_with("GET /v1/credentials ") && request.header("authorization") == Some(token);
        if fits { document(id, &in_an_hour()) } else { Act::Answer(403, "{}".to_owned()) }
    })
    .await
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_the_endpoint_of_an_ecs_container() {
    alone(
        "by_the_endpoint_of_an_ecs_container",
        async |_| {
            let (api, container) = (api("ASIAECS", Some("t")).await, container("ASIAECS", "secret-of-the-task").await);
            world(&api)
                .with(&container)
                .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", container.url()))
                .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret-of-the-task")
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn no_proxy_stands_between_a_container_and_its_own_endpoint() {
    alone(
        "no_proxy_stands_between_a_container_and_its_own_endpoint",
        async |_| {
            let (api, container) = (api("ASIAECS", Some("t")).await, container("ASIAECS", "token").await);
            world(&api)
                .with(&container)
                .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", container.url()))
                .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token")
                .set("HTTP_PROXY", "http://127.0.0.1:9")
        },
        async || {
            // The API is asked through the proxy, which is not there.
            let error = open(None).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
            assert!(error.to_string().contains("HTTPS_PROXY"), "and not for want of credentials: {error}");
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_the_identity_of_an_eks_pod() {
    alone(
        "by_the_identity_of_an_eks_pod",
        async |home| {
            let (api, container) = (api("ASIAEKS", Some("t")).await, container("ASIAEKS", "token-of-the-pod").await);
            std::fs::write(home.join("token"), "token-of-the-pod").unwrap();
            world(&api)
                .with(&container)
                .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", container.url()))
                .set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home.join("token").display().to_string())
        },
        works,
    );
}

async fn instance(id: &'static str) -> Arc<Front> {
    Front::start(move |request| metadata(request, id, &in_an_hour())).await
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn by_the_role_of_an_instance() {
    alone(
        "by_the_role_of_an_instance",
        async |_| {
            let (api, instance) = (api("ASIAEC2", Some("t")).await, instance("ASIAEC2").await);
            world(&api).with(&instance).set("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url())
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn the_region_of_an_instance_is_found_as_well() {
    alone(
        "the_region_of_an_instance_is_found_as_well",
        async |_| {
            let (api, instance) = (api("ASIAEC2", Some("t")).await, instance("ASIAEC2").await);
            world(&api).with(&instance).set("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url())
        },
        async || {
            let service = Service { endpoint: Some(std::env::var("TEST_ENDPOINT").unwrap()), ..Service::default() };
            let store = connect(Config { service, prefix: fresh("region"), ..Config::default() }).await.unwrap();
            store.create(&name("a"), b"value").await.unwrap();
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn without_any_source_it_is_said_what_to_do() {
    alone(
        "without_any_source_it_is_said_what_to_do",
        async |_| {
            let (api, instance) = (api("-", None).await, instance("ASIAEC2").await);
            let world = world(&api).with(&instance).set("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url());
            world.set("AWS_EC2_METADATA_DISABLED", "true")
        },
        async || {
            let error = open(None).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            assert!(error.to_string().contains("no AWS credentials were found"), "{error}");
        },
    );
}

/// Which key is asked with, when sources are there from the `first` on.
fn of_all_sources(test: &'static str, first: usize) {
    let keys = ["AKIAENV", "ASIAWEB", "AKIAHOME", "ASIAECS", "ASIAEC2"];
    alone(
        test,
        async |home| {
            let api = api(keys[first], Some("t").filter(|_| first % 2 == 1 || first == 4)).await;
            let sts = sts("ASIAWEB", "jwt").await;
            let container = container("ASIAECS", "token").await;
            let instance = instance("ASIAEC2").await;
            let mut world = world(&api).with(&sts).with(&container).with(&instance);
            world = world.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.url());
            if first <= 3 {
                let uri = format!("{}/v1/credentials", container.url());
                world = world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
                world = world.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token");
            }
            if first <= 2 {
                std::fs::create_dir(home.join(".aws")).unwrap();
                let profile = "[default]\naws_access_key_id = AKIAHOME\naws_secret_access_key = s\n";
                std::fs::write(home.join(".aws/credentials"), profile).unwrap();
            }
            if first <= 1 {
                std::fs::write(home.join("token"), "jwt").unwrap();
                world = world
                    .set("AWS_ENDPOINT_URL_STS", sts.url())
                    .set("AWS_WEB_IDENTITY_TOKEN_FILE", home.join("token").display().to_string())
                    .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kes");
            }
            if first == 0 {
                world = world.set("AWS_ACCESS_KEY_ID", "AKIAENV").set("AWS_SECRET_ACCESS_KEY", "s");
            }
            world
        },
        works,
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn sources_come_in_the_order_of_the_old_server() {
    for first in 0..5 {
        of_all_sources("sources_come_in_the_order_of_the_old_server", first);
    }
}

/// Keys that the container's endpoint has given out, with their ends.
type Given = Arc<Mutex<Vec<(String, SystemTime)>>>;

/// An API that refuses keys which have ended, as AWS does.
async fn strict_api(given: &Given) -> Arc<Front> {
    let given = Arc::clone(given);
    let is_valid = move |request: &Request| {
        let given = given.lock().unwrap();
        given.iter().any(|(id, end)| id == request.key() && SystemTime::now() < *end)
    };
    Front::start(move |request| match request.line.starts_with("GET") || is_valid(request) {
        true => Act::Pass,
        false => Act::error(400, "ExpiredTokenException", "The security token included in the request is expired"),
    })
    .await
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn credentials_are_replaced_before_they_end_under_load_and_while_their_source_fails() {
    const LIFE: Duration = Duration::from_secs(6);
    alone(
        "credentials_are_replaced_before_they_end_under_load_and_while_their_source_fails",
        async |_| {
            let given = Given::default();
            let api = strict_api(&given).await;
            let (calls, log) = (AtomicUsize::new(0), Arc::clone(&given));
            let source = Front::start(move |_| {
                // Every other time it has a fault.
                let call = calls.fetch_add(1, Ordering::Relaxed);
                if call % 2 == 1 {
                    return Act::Answer(500, "{}".to_owned());
                }
                let (id, end) = (format!("ASIA{call}"), SystemTime::now() + LIFE);
                log.lock().unwrap().push((id.clone(), end));
                document(&id, &at(end))
            })
            .await;
            let uri = format!("{}/c", source.url());
            world(&api).with(&source).set("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
        },
        async || {
            let store = Arc::new(open(None).await.unwrap());
            store.create(&name("a"), b"value").await.unwrap();
            let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let (store, done, reads) = (Arc::clone(&store), Arc::clone(&done), Arc::clone(&reads));
                tasks.spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        let read = store.get(&name("a")).await;
                        let value = read.unwrap_or_else(|error| panic!("{}", chain(&error)));
                        assert_eq!(value.expose(), b"value");
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            tokio::time::sleep(LIFE * 4).await;
            done.store(true, Ordering::Relaxed);
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
            println!("{} reads, none refused, over four lives", reads.load(Ordering::Relaxed));
        },
    );
}

#[test]
#[ignore = "needs moto: peers/peers.sh install moto"]
fn a_key_that_was_exchanged_in_its_file_is_found_when_the_old_one_is_refused() {
    alone(
        "a_key_that_was_exchanged_in_its_file_is_found_when_the_old_one_is_refused",
        async |home| {
            let file = home.join("credentials");
            let current = file.clone();
            let api = Front::start(move |request| {
                let known = std::fs::read_to_string(&current).unwrap_or_default().contains(request.key());
                match request.line.starts_with("GET") || known {
                    true => Act::Pass,
                    false => Act::error(400, "UnrecognizedClientException", "The security token is invalid."),
                }
            })
            .await;
            write_profile(&file, "AKIAFIRST");
            world(&api).set("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string())
        },
        async || {
            let store = open(None).await.unwrap();
            store.create(&name("a"), b"value").await.unwrap();
            let file = std::env::var("AWS_SHARED_CREDENTIALS_FILE").unwrap();
            write_profile(Path::new(&file), "AKIASECOND");
            // A source that has just been asked is not asked again at once.
            let mut refused = 0;
            while let Err(error) = store.get(&name("a")).await {
                assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
                refused += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
                assert!(refused < 100, "{}", chain(&error));
            }
            assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"value");
        },
    );
}

fn write_profile(file: &Path, id: &str) {
    std::fs::write(file, format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\n")).unwrap();
}
