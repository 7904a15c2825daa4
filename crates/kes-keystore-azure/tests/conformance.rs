//! The suite of all stores, against the stand-in: with names as they are, with names mapped, and under a seal.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use kes_keystore::KeyStore;
use kes_keystore::conformance::{Sealed, Subject};
use kes_keystore_azure::{Config, Names, Store, connect};
use support::{Act, Front, shared};

struct Vault {
    store: Arc<Store>,
    neighbour: Arc<Store>,
    front: Arc<Front>,
}

#[async_trait]
impl Subject for Vault {
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

async fn subject(names: Names) -> Vault {
    let front = Front::start(shared(), |_| Act::Pass).await;
    let open = async |vault| Arc::new(connect(Config { vault, names, check: true, purge: false }).await.unwrap());
    let (store, neighbour) = (open(front.vault(shared())).await, open(front.clear(shared())).await);
    assert!(store.notices().is_empty(), "{:?}", store.notices());
    Vault { store, neighbour, front }
}

mod names_as_they_are {
    use super::*;

    async fn vault() -> Vault {
        subject(Names::Strict).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs the stand-ins: peers/peers.sh install standins"]
        vault
    );
}

mod names_mapped {
    use super::*;

    async fn vault() -> Vault {
        subject(Names::Map).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs the stand-ins: peers/peers.sh install standins"]
        vault
    );
}

mod under_a_seal {
    use super::*;

    async fn vault() -> Sealed<Vault> {
        Sealed::over(subject(Names::Strict).await).await
    }

    kes_keystore::conformance_tests!(
        #[ignore = "needs the stand-ins: peers/peers.sh install standins"]
        vault
    );
}
