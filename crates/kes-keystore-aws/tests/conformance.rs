//! The suite of all stores, against moto: alone in its account, with tags, a KMS key and a seal, and among 3000 secrets of
//! others.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kes_keystore::KeyStore;
use kes_keystore::conformance::{Sealed, Subject};
use kes_keystore_aws::{Config, Store, connect};
use serde_json::json;
use support::{Act, Front, REGION, config, fresh, moto};

struct Account {
    store: Arc<Store>,
    neighbour: Arc<Store>,
    front: Arc<Front>,
    _beside: Arc<Front>,
}

#[async_trait]
impl Subject for Account {
    fn store(&self) -> Arc<dyn KeyStore> {
        self.store.clone()
    }

    fn neighbour(&self) -> Arc<dyn KeyStore> {
        self.neighbour.clone()
    }

    fn many(&self) -> usize {
        1030
    }

    async fn stop(&self) -> bool {
        self.front.cut().await;
        true
    }

    async fn start(&self) {
        self.front.mend().await;
    }
}

/// Each case in a region that few others use: moto walks through all secrets of a region for each list.
fn region() -> &'static str {
    const REGIONS: [&str; 8] =
        ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1", "eu-west-2", "eu-west-3", "ap-southeast-1"];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    REGIONS[NEXT.fetch_add(1, Ordering::Relaxed) % REGIONS.len()]
}

async fn subject(region: &str, tags: &[(&str, &str)], kmskey: Option<String>) -> Account {
    let tags: BTreeMap<_, _> = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let prefix = fresh("conformance");
    let config = |endpoint: &str| Config { tags: tags.clone(), kmskey: kmskey.clone(), ..config(endpoint, &prefix) };
    subject_behind(Front::start(|_| Act::Pass).await, region, config).await
}

async fn subject_behind(front: Arc<Front>, region: &str, config: impl Fn(&str) -> Config) -> Account {
    let open = async |endpoint: String| {
        let mut config = config(&endpoint);
        config.service.region = Some(region.to_owned());
        Arc::new(connect(config).await.unwrap())
    };
    let beside = Front::start(|_| Act::Pass).await;
    let (store, neighbour) = (open(front.url()).await, open(beside.url()).await);
    Account { store, neighbour, front, _beside: beside }
}

mod plain {
    use super::*;

    async fn account() -> Account {
        subject(region(), &[], None).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}

mod with_tags {
    use super::*;

    async fn account() -> Account {
        subject(region(), &[("cluster", "a"), ("owner", "")], None).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}

mod with_a_key_of_our_own {
    use super::*;

    async fn account() -> Account {
        let region = region();
        let key = moto().kms_key_in(region).await;
        subject(region, &[], Some(key)).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}

mod under_a_seal {
    use super::*;

    async fn account() -> Sealed<Account> {
        Sealed::over(subject(region(), &[], None).await).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}

mod among_3000_secrets_of_others {
    use super::*;

    const OTHERS: usize = 3000;

    /// Lists hold the secrets of everybody: AWS's filter is taken out of each request, and ours alone is left.
    async fn account() -> Account {
        static MADE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        MADE.get_or_init(make_others).await;
        let front = Front::start(|request| {
            let mut body = request.json();
            let had = body.as_object_mut().and_then(|body| body.remove("Filters"));
            if had.is_some() { Act::Instead(body) } else { Act::Pass }
        })
        .await;
        let prefix = fresh("among");
        subject_behind(front, REGION, |endpoint| config(endpoint, &prefix)).await
    }

    async fn make_others() {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..16 {
            tasks.spawn(async move {
                for number in (worker..OTHERS).step_by(16) {
                    let body = json!({ "Name": format!("among-key-{number:04}"), "SecretString": "of others" });
                    moto().call("secretsmanager.CreateSecret", body).await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}
