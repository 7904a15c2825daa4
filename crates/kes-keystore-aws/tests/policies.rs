//! The policies of docs/aws.md, each on a moto that checks signatures and which actions are permitted: with them everything
//! works, and each action that is taken out of them is named at the start. moto knows no resources and conditions of them.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use kes_crypto::sealing::SealKey;
use kes_keystore::{Engine, ErrorKind, KeyStore, Seal};
use kes_keystore_aws::{
    Config, Credentials, EngineConfig, SealConfig, Secret, Service, connect, connect_engine, connect_seal,
};
use serde_json::{Value, json};
use support::{Moto, REGION, chain, name};

/// The policies in the order of the page: Secrets Manager, seal, engine.
fn documented() -> [Value; 3] {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/aws.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<Value> = text
        .split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect();
    blocks.try_into().unwrap()
}

fn actions(policy: &Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let words = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    });
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// An account in which nothing is done without permission.
struct Account {
    moto: Moto,
    keys: Vec<String>,
}

impl Account {
    async fn new() -> Self {
        let moto = Moto::start();
        let mut keys = vec![moto.kms_key().await];
        let mac = json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" });
        let made = moto.call("TrentService.CreateKey", mac).await;
        keys.push(made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned());
        Self { moto, keys }
    }

    /// A new user who may do just this. The account checks nothing while it is made.
    async fn user(&self, name: &str, actions: &[String]) -> Service {
        self.check(false).await;
        let ask = async |query: String| {
            let kind = "application/x-www-form-urlencoded";
            let host_of_iam = format!("{query}&Version=2010-05-08");
            let (status, answer) = self.moto.post("/", kind, None, host_of_iam).await;
            assert_eq!(status, 200, "{answer}");
            answer.as_str().unwrap_or_default().to_owned()
        };
        let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        ask(format!("Action=CreateUser&UserName={name}")).await;
        let policy: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
        ask(format!("Action=PutUserPolicy&UserName={name}&PolicyName=kes&PolicyDocument={policy}")).await;
        let made = ask(format!("Action=CreateAccessKey&UserName={name}")).await;
        let member = |tag: &str| {
            let rest = made.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("{tag} in {made}")).1;
            rest.split('<').next().unwrap().to_owned()
        };
        self.check(true).await;
        let secret_key = Secret::new(member("SecretAccessKey"));
        let credentials = Some(Credentials { access_key: member("AccessKeyId"), secret_key, token: None });
        Service { endpoint: Some(self.moto.url()), region: Some(REGION.into()), credentials }
    }

    async fn check(&self, on: bool) {
        let after = if on { "0" } else { "inf" };
        self.moto.post("/moto-api/reset-auth", "text/plain", None, after.to_owned()).await;
    }
}

fn without(actions: &[String], taken: &str) -> Vec<String> {
    actions.iter().filter(|action| *action != taken).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn that_of_secrets_manager_is_enough_and_nothing_in_it_is_too_much() {
    let account = Account::new().await;
    let [policy, _, _] = documented();
    let config = |service, tags: &[(&str, &str)]| Config {
        service,
        kmskey: Some(account.keys[0].clone()),
        prefix: "kes/".to_owned(),
        check: true,
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
    };
    for (user, tags) in [("plain", &[][..]), ("tagged", &[("cluster", "a")])] {
        let service = account.user(user, &actions(&policy)).await;
        let store = connect(config(service, tags)).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(store.notices(), Vec::<String>::new());
        store.create(&name(user), b"value").await.unwrap();
        assert_eq!(store.get(&name(user)).await.unwrap().expose(), b"value");
        assert!(store.list("", None, 9).await.unwrap().names.contains(&name(user)));
        store.delete(&name(user)).await.unwrap();
        assert_eq!(store.get(&name(user)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    for (number, action) in actions(&policy).iter().enumerate() {
        // What KMS and tags need is asked by Secrets Manager, which moto does not do.
        if matches!(action.as_str(), "secretsmanager:TagResource" | "kms:Decrypt" | "kms:GenerateDataKey") {
            continue;
        }
        let service = account.user(&format!("lacks-{number}"), &without(&actions(&policy), action)).await;
        let notices = connect(config(service, &[])).await.unwrap().notices();
        assert!(
            notices.iter().any(|notice| notice.contains(&format!("does not permit {action}"))),
            "{action}: {notices:?}"
        );
    }
    // A wrong secret is found out at once.
    let mut service = account.user("mistyped", &actions(&policy)).await;
    service.credentials.as_mut().unwrap().secret_key = Secret::new("wrong".to_owned());
    assert_eq!(connect(config(service, &[])).await.err().unwrap().kind(), ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn that_of_the_seal_is_enough_and_nothing_in_it_is_too_much() {
    let account = Account::new().await;
    let [_, policy, _] = documented();
    let root = SealKey::generate().unwrap();
    let open = async |user: &str, actions: &[String]| {
        let service = account.user(user, actions).await;
        connect_seal(SealConfig { service, key: account.keys[0].clone() }).await.unwrap()
    };
    let seal = open("whole", &actions(&policy)).await;
    let wrapped = seal.wrap("label", &root).await.unwrap();
    assert!(seal.unwrap("label", &wrapped).await.unwrap().is(&root));
    for (number, action) in actions(&policy).iter().enumerate() {
        let seal = open(&format!("lacks-{number}"), &without(&actions(&policy), action)).await;
        let error = match action.as_str() {
            "kms:Encrypt" => seal.wrap("label", &root).await.err().unwrap(),
            _ => seal.unwrap("label", &wrapped).await.err().unwrap(),
        };
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{action}: {error}");
        assert!(chain(&error).contains(action), "{action}: {}", chain(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: peers/peers.sh install moto"]
async fn that_of_the_engine_is_enough_and_nothing_in_it_is_too_much() {
    let account = Account::new().await;
    let [_, _, policy] = documented();
    let open = async |user: &str, actions: &[String]| {
        let (key, mac_key) = (account.keys[0].clone(), Some(account.keys[1].clone()));
        let service = account.user(user, actions).await;
        connect_engine(EngineConfig { service, key, mac_key, prefix: "kes/".to_owned(), check: true }).await
    };
    let engine = open("whole", &actions(&policy)).await.unwrap();
    assert_eq!(engine.notices(), Vec::<String>::new());
    engine.create_key(&name("a")).await.unwrap();
    let made = engine.generate(&name("a"), b"context").await.unwrap();
    engine.decrypt(&name("a"), &made.ciphertext, b"context").await.unwrap();
    engine.encrypt(&name("a"), b"x", b"").await.unwrap();
    engine.mac(&name("a"), b"x").await.unwrap();
    assert_eq!(engine.list("", None, 9).await.unwrap().names, [name("a")]);
    engine.delete(&name("a")).await.unwrap();
    for (number, action) in actions(&policy).iter().enumerate() {
        match open(&format!("lacks-{number}"), &without(&actions(&policy), action)).await {
            Ok(engine) => {
                let said = engine.notices();
                assert!(
                    said.iter().any(|notice| notice.contains(&format!("does not permit {action}"))),
                    "{action}: {said:?}"
                );
            }
            Err(error) => {
                assert_eq!((action.as_str(), error.kind()), ("kms:DescribeKey", ErrorKind::Unauthorized), "{error}");
            }
        }
    }
}
