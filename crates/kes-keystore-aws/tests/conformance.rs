//! The suite of all stores, against moto: alone in its account, and as one of several with a prefix and tags.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use kes_keystore::KeyStore;
use kes_keystore::conformance::Subject;
use kes_keystore_aws::{Config, Store, connect};
use support::{Act, Front, config, fresh, moto};

struct Account {
    store: Arc<Store>,
    neighbour: Arc<Store>,
    front: Arc<Front>,
}

#[async_trait]
impl Subject for Account {
    fn store(&self) -> Arc<dyn KeyStore> {
        self.store.clone()
    }

    fn neighbour(&self) -> Arc<dyn KeyStore> {
        self.neighbour.clone()
    }

    async fn stop(&self) -> bool {
        self.front.cut().await;
        true
    }

    async fn start(&self) {
        self.front.mend().await;
    }
}

async fn subject(tags: &[(&str, &str)], kmskey: Option<&str>) -> Account {
    let prefix = fresh("conformance");
    let front = Front::start(|_| Act::Pass).await;
    let tags: BTreeMap<_, _> = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let kmskey = kmskey.map(ToOwned::to_owned);
    let open = async |endpoint: String| {
        let config = Config { tags: tags.clone(), kmskey: kmskey.clone(), ..config(&endpoint, &prefix) };
        Arc::new(connect(config).await.unwrap())
    };
    Account { store: open(front.url()).await, neighbour: open(moto().url()).await, front }
}

mod plain {
    use super::*;

    async fn account() -> Account {
        subject(&[], None).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}

mod with_tags {
    use super::*;

    async fn account() -> Account {
        subject(&[("cluster", "a"), ("owner", "")], None).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}

mod with_a_key_of_our_own {
    use super::*;

    async fn account() -> Account {
        let key = moto().kms_key().await;
        subject(&[], Some(&key)).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs moto: peers/peers.sh install moto"]
        account
    );
}
