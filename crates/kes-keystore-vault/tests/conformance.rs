//! The suite of all stores, against a real Vault: every kind of engine, with and without transit and namespace.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

#[expect(dead_code, unreachable_pub, reason = "each test program uses its own part")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use kes_keystore::KeyStore;
use kes_keystore::conformance::Subject;
use kes_keystore_vault::{Config, Store, Transit, Version, connect};
use support::{Way, shared};

struct Engine {
    store: Arc<Store>,
    neighbour: Arc<Store>,
    way: Arc<Way>,
}

#[async_trait]
impl Subject for Engine {
    fn store(&self) -> Arc<dyn KeyStore> {
        self.store.clone()
    }

    fn neighbour(&self) -> Arc<dyn KeyStore> {
        self.neighbour.clone()
    }

    async fn stop(&self) -> bool {
        self.way.cut().await;
        true
    }

    async fn start(&self) {
        self.way.mend().await;
    }
}

async fn subject(version: Version, transit: bool, namespace: Option<&str>) -> Engine {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("conformance/{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let vault = shared();
    let way = Way::to(&vault.address).await;
    let config = |endpoint: Option<String>| {
        let mut server = vault.server();
        server.endpoint = endpoint.unwrap_or(server.endpoint);
        server.namespace = namespace.map(Into::into);
        Config {
            server,
            engine: if version == Version::V1 { "kv1" } else { "kv2/" }.into(),
            version,
            prefix: prefix.clone(),
            transit: transit.then(|| Transit { engine: "transit".into(), key: "kes".into() }),
        }
    };
    let store = Arc::new(connect(config(Some(way.endpoint()))).await.unwrap());
    let neighbour = Arc::new(connect(config(None)).await.unwrap());
    Engine { store, neighbour, way }
}

macro_rules! combinations {
    ($($name:ident: $version:ident, $transit:literal, $namespace:expr;)*) => {$(
        mod $name {
            use super::*;

            async fn engine() -> Engine {
                subject(Version::$version, $transit, $namespace).await
            }

            kes_keystore::conformance_tests!(#[ignore = "needs Vault: peers/peers.sh install vault"] engine);
        }
    )*};
}

combinations! {
    kv_v1: V1, false, None;
    kv_v2: V2, false, None;
    kv_v1_transit: V1, true, None;
    kv_v2_transit: V2, true, None;
    // Community editions ignore the header; that it is sent where it must be is shown elsewhere.
    kv_v1_namespace: V1, false, Some("team-a");
    kv_v2_transit_namespace: V2, true, Some("team-a");
}
