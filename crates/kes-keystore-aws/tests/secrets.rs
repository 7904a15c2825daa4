//! What lies in Secrets Manager, whose it is, and what is said when it cannot be had: against moto, past which a front
//! answers what moto does not.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kes_crypto::{KeyType, KeyVersion};
use kes_keystore::{Cache, ErrorKind, KeyStore, cache};
use kes_keystore_aws::{Config, Store, connect};
use serde_json::{Value, json};
use support::{Act, Front, Request, chain, config, fresh, moto, name};

/// A stored key of MinIO KES, one of the vectors of kes-crypto.
const RECORD: &str = "CiQKIPMUJEzwWCRQXzRUwiPd7a9ghDwsEX+77NuuPbA4NNBxEAESJAogz3f4my9xZxntTccrsNg/SThZnt00eCz8gpkHqcqpX6EQARoMCICByKwGEIDKte4B";

async fn open(prefix: &str) -> Store {
    connect(config(&moto().url(), prefix)).await.unwrap()
}

/// A store whose requests a plan sees first.
async fn behind(prefix: &str, plan: impl Fn(&Request) -> Act + Send + Sync + 'static) -> (Store, Arc<Front>) {
    let front = Front::start(plan).await;
    (connect(config(&front.url(), prefix)).await.unwrap(), front)
}

async fn put(id: &str, value: &str, more: Value) {
    let mut body = json!({ "Name": id, "SecretString": value });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let made = moto().call("secretsmanager.CreateSecret", body).await;
    assert!(made["ARN"].is_string(), "{made}");
}

async fn value_of(id: &str) -> Value {
    moto().call("secretsmanager.GetSecretValue", json!({ "SecretId": id })).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn values_lie_where_and_how_the_old_server_lays_them() {
    let prefix = fresh("layout");
    open(&prefix).await.create(&name("my-key"), RECORD.as_bytes()).await.unwrap();
    let found = value_of(&format!("{prefix}my-key")).await;
    assert_eq!(found["SecretString"], RECORD);
    assert_eq!(found["VersionStages"], json!(["AWSCURRENT"]));

    // And the other way round, with the value in either of the two members.
    put(&format!("{prefix}theirs"), RECORD, json!({})).await;
    let binary =
        json!({ "Name": format!("{prefix}binary"), "SecretBinary": kes_crypto::base64::encode(RECORD.as_bytes()) });
    moto().call("secretsmanager.CreateSecret", binary).await;
    let store = open(&prefix).await;
    for key in ["theirs", "binary"] {
        assert_eq!(store.get(&name(key)).await.unwrap().expose(), RECORD.as_bytes(), "{key}");
    }
    let listed = store.list("", None, 9).await.unwrap().names;
    assert_eq!(listed, ["binary", "my-key", "theirs"].map(name));
    for key in ["theirs", "binary"] {
        store.delete(&name(key)).await.unwrap();
        assert_eq!(store.get(&name(key)).await.unwrap_err().kind(), ErrorKind::NotFound, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn nothing_is_left_of_the_check_at_the_start() {
    let prefix = fresh("check");
    let store = open(&prefix).await;
    assert_eq!(store.notices(), Vec::<String>::new());
    let filter = json!({ "Filters": [{ "Key": "name", "Values": [prefix] }], "IncludePlannedDeletion": true });
    assert_eq!(moto().call("secretsmanager.ListSecrets", filter).await["SecretList"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn secrets_of_others_are_neither_listed_nor_deleted() {
    let prefix = fresh("shared");
    let store = open(&prefix).await;
    store.create(&name("ours"), b"any text at all").await.unwrap();
    // No key name, another prefix, and a password under a name that a key could have.
    for id in [
        format!("{prefix}db/password"),
        format!("{prefix}a.b"),
        format!("other-{prefix}a"),
        format!("{prefix}password"),
    ] {
        put(&id, "hunter2", json!({ "Description": "of the billing team" })).await;
    }
    assert_eq!(store.list("", None, 9).await.unwrap().names, ["ours", "password"].map(name));
    let error = store.delete(&name("password")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("was not made by kes"), "{error}");
    assert_eq!(value_of(&format!("{prefix}password")).await["SecretString"], "hunter2");
    assert_eq!(store.create(&name("password"), b"x").await.unwrap_err().kind(), ErrorKind::Exists);
    store.delete(&name("ours")).await.unwrap();
    assert_eq!(store.list("", None, 9).await.unwrap().names, ["password"].map(name));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn with_tags_only_secrets_that_carry_them_are_ours() {
    let prefix = fresh("tags");
    let tagged = async |cluster: &str| {
        let tags =
            BTreeMap::from([("cluster".to_owned(), cluster.to_owned()), ("team".to_owned(), "storage".to_owned())]);
        connect(Config { tags, ..config(&moto().url(), &prefix) }).await.unwrap()
    };
    let (a, b) = (tagged("a").await, tagged("b").await);
    a.create(&name("of-a"), RECORD.as_bytes()).await.unwrap();
    b.create(&name("of-b"), RECORD.as_bytes()).await.unwrap();
    put(&format!("{prefix}untagged"), RECORD, json!({})).await;
    let tags = moto().secret(&format!("{prefix}of-a")).await["Tags"].clone();
    assert_eq!(tags, json!([{ "Key": "cluster", "Value": "a" }, { "Key": "team", "Value": "storage" }]));

    assert_eq!(a.list("", None, 9).await.unwrap().names, [name("of-a")]);
    assert_eq!(b.list("", None, 9).await.unwrap().names, [name("of-b")]);
    for others in ["of-b", "untagged"] {
        assert_eq!(a.get(&name(others)).await.unwrap_err().kind(), ErrorKind::NotFound, "{others}");
        assert_eq!(a.create(&name(others), b"x").await.unwrap_err().kind(), ErrorKind::Exists, "{others}");
        let error = a.delete(&name(others)).await.unwrap_err();
        assert!(error.to_string().contains("'tags'"), "{error}");
        assert_eq!(value_of(&format!("{prefix}{others}")).await["SecretString"], RECORD);
    }
    a.delete(&name("of-a")).await.unwrap();
    assert_eq!(a.get(&name("of-a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_create_whose_answer_is_lost_has_succeeded() {
    // Once, and then always: the last try of all is a look at what is there.
    for lost in [1, usize::MAX] {
        let prefix = fresh("lost");
        let left = AtomicUsize::new(lost);
        let spoils = move |request: &Request| {
            let ours = request.action() == "CreateSecret" && request.json()["Name"].as_str().unwrap().ends_with("/a");
            let again =
                ours && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            if again { Act::Lose } else { Act::Pass }
        };
        let (store, front) = behind(&prefix, spoils).await;
        store.create(&name("a"), b"value").await.unwrap();
        assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"value");
        let creates: Vec<_> = front.seen().into_iter().filter(|request| request.action() == "CreateSecret").collect();
        let tokens: std::collections::BTreeSet<_> = creates
            .iter()
            .filter(|request| request.json()["Name"].as_str().unwrap().ends_with("/a"))
            .map(|request| request.json()["ClientRequestToken"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(tokens.len(), 1, "one create, one token");
        assert_eq!(
            store.create(&name("a"), b"value").await.unwrap_err().kind(),
            ErrorKind::Exists,
            "but not another's"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_secret_that_is_scheduled_for_deletion_is_said_to_be() {
    let prefix = fresh("scheduled");
    let store = open(&prefix).await;
    store.create(&name("a"), RECORD.as_bytes()).await.unwrap();
    let id = format!("{prefix}a");
    moto().call("secretsmanager.DeleteSecret", json!({ "SecretId": id, "RecoveryWindowInDays": 7 })).await;
    for error in [store.get(&name("a")).await.unwrap_err(), store.create(&name("a"), b"x").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("restore-secret"), "{error}");
    }
    assert!(store.list("", None, 9).await.unwrap().names.is_empty());
    moto().call("secretsmanager.RestoreSecret", json!({ "SecretId": id })).await;
    assert_eq!(store.get(&name("a")).await.unwrap().expose(), RECORD.as_bytes());
}

/// Does to the first request of this action about the key `a` what is said, and lets all else pass.
fn first(action: &'static str, act: Act) -> impl Fn(&Request) -> Act + Send + Sync {
    let left = AtomicUsize::new(1);
    move |request| {
        let body = request.json();
        let about = ["Name", "SecretId"].iter().filter_map(|field| body[field].as_str()).any(|id| id.ends_with("/a"));
        match request.action() == action && about && left.swap(0, Ordering::Relaxed) == 1 {
            true => act.clone(),
            false => Act::Pass,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_delete_whose_answer_is_lost_does_not_take_the_next_key_of_that_name() {
    for tags in [BTreeMap::new(), BTreeMap::from([("made-by".to_owned(), "kes".to_owned())])] {
        let prefix = fresh("remade");
        let named: Vec<_> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        let secret = json!({ "Name": format!("{prefix}a"), "SecretString": RECORD, "Tags": named });
        let front = Front::start(first("DeleteSecret", Act::LoseAndMake(secret))).await;
        let store = connect(Config { tags, ..config(&front.url(), &prefix) }).await.unwrap();
        store.create(&name("a"), RECORD.as_bytes()).await.unwrap();
        store.delete(&name("a")).await.unwrap();
        assert_eq!(store.get(&name("a")).await.unwrap().expose(), RECORD.as_bytes(), "it is another server's");
        store.delete(&name("a")).await.unwrap();
        assert_eq!(store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_delete_is_sent_again_while_the_key_is_there() {
    let faults = [
        Act::Cut,
        Act::Lose,
        Act::error(500, "InternalServiceError", "An error occurred on the server side."),
        Act::error(400, "ThrottlingException", "Rate exceeded"),
        Act::Answer(200, "garbage".into()),
    ];
    for fault in faults {
        let what = format!("{fault:?}");
        let (store, _) = behind(&fresh("again"), first("DeleteSecret", fault)).await;
        store.create(&name("a"), RECORD.as_bytes()).await.unwrap();
        store.delete(&name("a")).await.unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
        assert_eq!(store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_create_that_works_and_is_never_answered_has_succeeded_within_the_deadline() {
    let plan = |request: &Request| {
        let ours = request.action() == "CreateSecret" && request.json()["Name"].as_str().unwrap().ends_with("/a");
        if ours { Act::Swallow } else { Act::Pass }
    };
    let (store, _) = behind(&fresh("swallowed"), plan).await;
    let keys = Cache::new(Arc::new(store), cache::Settings::default());
    let key = KeyVersion::generate(KeyType::Aes256, time::OffsetDateTime::UNIX_EPOCH, "").unwrap();
    keys.create(&name("a"), key).await.unwrap();
    keys.get(&name("a")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn what_somebody_has_scheduled_for_deletion_is_not_waited_for() {
    let prefix = fresh("of-somebody");
    // AWS answers so whether the name will be free in a moment or in a month.
    let plan = |request: &Request| match (request.action(), request.json()["Name"].as_str()) {
        ("CreateSecret", Some(id)) if id.ends_with("/a") => Act::error(400, "InvalidRequestException", SCHEDULED),
        _ => Act::Pass,
    };
    let (store, front) = behind(&prefix, plan).await;
    let id = format!("{prefix}a");
    put(&id, RECORD, json!({})).await;
    moto().call("secretsmanager.DeleteSecret", json!({ "SecretId": id, "RecoveryWindowInDays": 7 })).await;
    let before = front.count("CreateSecret");
    let error = store.create(&name("a"), b"x").await.unwrap_err();
    assert!(error.to_string().contains("restore-secret"), "{error}");
    let calls = front.count("CreateSecret") - before;
    assert!(calls <= 4, "{calls}");
}

const SCHEDULED: &str =
    "You can't create this secret because a secret with this name is already scheduled for deletion.";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_name_that_is_not_free_yet_is_waited_for_and_not_for_ever() {
    let prefix = fresh("reuse");
    let left = AtomicUsize::new(3);
    let (store, _) = behind(&prefix, move |request| {
        let ours = request.action() == "CreateSecret" && request.json()["Name"].as_str().unwrap().ends_with("/soon");
        let never = request.action() == "CreateSecret" && request.json()["Name"].as_str().unwrap().ends_with("/never");
        let again = ours && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if again || never { Act::error(400, "InvalidRequestException", SCHEDULED) } else { Act::Pass }
    })
    .await;
    store.create(&name("soon"), b"value").await.unwrap();
    assert_eq!(store.get(&name("soon")).await.unwrap().expose(), b"value");
    let error = store.create(&name("never"), b"value").await.unwrap_err();
    assert!(error.to_string().contains("scheduled for deletion"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn the_kms_key_is_used_whether_named_by_id_arn_or_alias() {
    let arn = moto().kms_key().await;
    let id = arn.rsplit('/').next().unwrap().to_owned();
    let alias = format!("alias/{}", fresh("key").replace('/', "-").trim_end_matches('-'));
    moto().call("TrentService.CreateAlias", json!({ "AliasName": alias, "TargetKeyId": id })).await;
    let alias_arn = arn.replace(&format!("key/{id}"), &alias);
    for kmskey in [id, arn, alias, alias_arn] {
        let prefix = fresh("kmskey");
        let config = Config { kmskey: Some(kmskey.clone()), ..config(&moto().url(), &prefix) };
        let store = connect(config).await.unwrap();
        assert_eq!(store.notices(), Vec::<String>::new(), "{kmskey}");
        store.create(&name("a"), b"value").await.unwrap();
        assert_eq!(moto().secret(&format!("{prefix}a")).await["KmsKeyId"], kmskey.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn a_kms_key_that_cannot_be_one_is_refused_at_the_start() {
    let made =
        moto().call("TrentService.CreateKey", json!({ "KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256" })).await;
    let signing = made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    for (kmskey, says) in [
        ("alias/no-such-key".to_owned(), "'alias/<name>'"),
        ("no-such-key".to_owned(), "'alias/<name>'"),
        ("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0".to_owned(), "does not exist"),
        (signing, "symmetric"),
        ("arn:aws:kms:us-west-2:111122223333:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0".to_owned(), "another region"),
    ] {
        let config = Config { kmskey: Some(kmskey.clone()), ..config(&moto().url(), &fresh("wrong")) };
        let error = connect(config).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Failed, "{kmskey}: {error}");
        assert!(error.to_string().contains(says), "{kmskey}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn each_state_of_the_kms_key_has_its_own_sentence() {
    let (disabled, dying) = (moto().kms_key().await, moto().kms_key().await);
    let id = |arn: &str| arn.rsplit('/').next().unwrap().to_owned();
    moto().call("TrentService.DisableKey", json!({ "KeyId": id(&disabled) })).await;
    moto().call("TrentService.ScheduleKeyDeletion", json!({ "KeyId": id(&dying) })).await;
    for (kmskey, says) in [(disabled, "enable-key"), (dying, "cancel-key-deletion")] {
        // moto encrypts under any key; AWS answers so.
        let front = Front::start(|request| match request.action() {
            "CreateSecret" => Act::error(400, "EncryptionFailure", "Secrets Manager can't encrypt the protected text."),
            "GetSecretValue" => {
                Act::error(400, "DecryptionFailure", "Secrets Manager can't decrypt the protected text.")
            }
            _ => Act::Pass,
        })
        .await;
        let prefix = fresh("state");
        put(&format!("{prefix}old"), RECORD, json!({ "KmsKeyId": kmskey })).await;
        let store = connect(Config { kmskey: Some(kmskey), ..config(&front.url(), &prefix) }).await.unwrap();
        let notices = store.notices();
        assert!(notices.iter().any(|notice| notice.contains(says)), "{notices:?}");
        let created = store.create(&name("new"), b"x").await.unwrap_err();
        let read = store.get(&name("old")).await.unwrap_err();
        for error in [created, read] {
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    // Access denied, which KMS says itself or Secrets Manager for it.
    for denial in [Act::error(400, "AccessDeniedException", "Access to KMS is not allowed"), Act::denied("kms:Decrypt")]
    {
        let (store, _) = behind(&fresh("state"), move |request| match request.action() {
            "GetSecretValue" => denial.clone(),
            _ => Act::Pass,
        })
        .await;
        let error = store.get(&name("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("access to the KMS key is denied"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn throttled_requests_are_sent_again_and_counted() {
    for (status, code) in [(400, "ThrottlingException"), (429, ""), (400, "RequestLimitExceeded")] {
        let left = AtomicUsize::new(3);
        let (store, front) = behind(&fresh("throttled"), move |request| {
            let ours =
                request.action() == "GetSecretValue" && request.json()["SecretId"].as_str().unwrap().ends_with("/a");
            let again =
                ours && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            match (again, code) {
                (true, "") => Act::Answer(status, "slow down".to_owned()),
                (true, code) => Act::error(status, code, "Rate exceeded"),
                _ => Act::Pass,
            }
        })
        .await;
        store.create(&name("a"), b"value").await.unwrap();
        assert_eq!(store.get(&name("a")).await.unwrap().expose(), b"value", "{code}");
        assert_eq!(store.throttled(), 3);
        assert!(front.count("GetSecretValue") >= 4);
    }
    let (store, _) = behind(&fresh("throttled"), |request| match request.action() {
        "ListSecrets" if request.json()["Filters"][0]["Values"][0].as_str().unwrap().ends_with("/b") => {
            Act::error(400, "ThrottlingException", "Rate exceeded")
        }
        _ => Act::Pass,
    })
    .await;
    let error = store.list("b", None, 9).await.unwrap_err();
    assert!(error.kind().is_outage(), "cached keys serve on");
    assert!(error.to_string().contains("throttles"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn every_missing_permission_is_named_at_the_start() {
    for (action, permission) in [
        ("CreateSecret", "secretsmanager:CreateSecret"),
        ("DeleteSecret", "secretsmanager:DeleteSecret"),
        ("DescribeSecret", "secretsmanager:DescribeSecret"),
        ("GetSecretValue", "secretsmanager:GetSecretValue"),
        ("ListSecrets", "secretsmanager:ListSecrets"),
        // What AWS names is named, whatever was asked.
        ("CreateSecret", "secretsmanager:TagResource"),
        ("CreateSecret", "kms:GenerateDataKey"),
        ("GetSecretValue", "kms:Decrypt"),
        ("DescribeKey", "kms:DescribeKey"),
    ] {
        let front = Front::start(move |request| match request.action() {
            found if found == action => Act::denied(permission),
            _ => Act::Pass,
        })
        .await;
        let kmskey = Some(moto().kms_key().await);
        let store = connect(Config { kmskey, ..config(&front.url(), &fresh("denied")) }).await.unwrap();
        let notices = store.notices();
        assert!(notices[0].contains(&format!("\"Action\": \"{permission}\"")), "{permission}: {notices:?}");
        let more = usize::from(action == "DeleteSecret");
        assert_eq!(notices.len(), 1 + more, "{permission}: {notices:?}");
    }
    let (store, _) = behind(&fresh("denied"), |request| match request.action() {
        "" | "DescribeKey" => Act::Pass,
        action => Act::denied(&format!("secretsmanager:{action}")),
    })
    .await;
    let said = store.notices().join("\n");
    for action in ["CreateSecret", "DeleteSecret", "DescribeSecret", "GetSecretValue", "ListSecrets"] {
        assert!(said.contains(&format!("secretsmanager:{action}")), "{action}: {said}");
    }
    let error = store.list("", None, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(chain(&error).contains("secretsmanager:ListSecrets"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn set_ups_that_cannot_work_are_refused_at_the_start() {
    let refused = async |config: Config, kind: ErrorKind, says: &str| {
        let error = connect(config).await.err().unwrap();
        let text = chain(&error);
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("s3cr3t"), "{text}");
    };
    let url = moto().url();
    let mut wrong = config("https://user:s3cr3t@127.0.0.1:1", "");
    wrong.service.region = None;
    refused(wrong, ErrorKind::Failed, "https://host").await;
    let differ = config("secretsmanager.us-east-1.amazonaws.com", "");
    refused(differ, ErrorKind::Failed, "differ").await;
    refused(config("http://127.0.0.1:9", ""), ErrorKind::Unreachable, "HTTPS_PROXY").await;
    refused(config(&url, "no spaces"), ErrorKind::Failed, "'prefix'").await;
    let tags = BTreeMap::from([(String::new(), String::new())]);
    refused(Config { tags, ..config(&url, "") }, ErrorKind::Failed, "'tags'").await;
    let front =
        Front::start(|_| Act::error(400, "UnrecognizedClientException", "The security token is invalid.")).await;
    refused(config(&front.url(), ""), ErrorKind::Unauthorized, "access key").await;
}

#[test]
fn credentials_are_shown_nowhere() {
    let config = config("http://127.0.0.1:1", "");
    for text in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!text.contains("s3cr3t"), "{text}");
        assert!(text.contains("AKIATEST"), "the ID is no secret: {text}");
    }
}
