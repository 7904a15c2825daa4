//! A sealed store is a store: the whole suite, over every store here and with every kind of slot.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::support::{Cloud, Kind, memory, open, slot};
use crate::conformance::Subject;
use crate::sealed::{Store, Unlocked};
use crate::{KeyStore, fs};

/// A sealed store as two servers have it open.
struct Sealed {
    parent: Option<TempDir>,
    stores: [Arc<Store>; 2],
}

#[async_trait]
impl Subject for Sealed {
    fn store(&self) -> Arc<dyn KeyStore> {
        self.stores[0].clone()
    }

    fn neighbour(&self) -> Arc<dyn KeyStore> {
        self.stores[1].clone()
    }

    async fn stop(&self) -> bool {
        let Some(parent) = &self.parent else { return false };
        std::fs::rename(parent.path().join("keys"), parent.path().join("away")).unwrap();
        true
    }

    async fn start(&self) {
        let parent = self.parent.as_ref().unwrap();
        std::fs::rename(parent.path().join("away"), parent.path().join("keys")).unwrap();
    }
}

async fn seal(beneath: [Arc<dyn KeyStore>; 2], kind: Kind, parent: Option<TempDir>) -> Sealed {
    Unlocked::init(beneath[0].clone(), vec![slot(kind.key())]).await.unwrap();
    let stores = [Arc::new(open(&beneath[0], kind.key()).await), Arc::new(open(&beneath[1], kind.key()).await)];
    Sealed { parent, stores }
}

async fn in_memory(kind: Kind) -> Sealed {
    let beneath = memory();
    seal([beneath.clone(), beneath], kind, None).await
}

async fn in_files(kind: Kind) -> Sealed {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("keys");
    let beneath: [Arc<dyn KeyStore>; 2] =
        [Arc::new(fs::Store::open(&path).await.unwrap()), Arc::new(fs::Store::open(&path).await.unwrap())];
    seal(beneath, kind, Some(parent)).await
}

async fn in_cloud(kind: Kind) -> Sealed {
    let cloud: Arc<dyn KeyStore> = Arc::new(Cloud::new());
    seal([cloud.clone(), cloud], kind, None).await
}

macro_rules! suites {
    ($($suite:ident: $place:ident, $kind:ident;)+) => {$(
        mod $suite {
            use super::Kind;

            async fn sealed() -> super::Sealed {
                super::$place(Kind::$kind).await
            }

            crate::conformance_tests!(sealed);
        }
    )+};
}

suites! {
    memory_by_passphrase: in_memory, Passphrase;
    memory_by_key: in_memory, Key;
    memory_by_recovery_key: in_memory, Recovery;
    memory_by_token: in_memory, External;
    files_by_passphrase: in_files, Passphrase;
    files_by_key: in_files, Key;
    files_by_recovery_key: in_files, Recovery;
    files_by_token: in_files, External;
    cloud_by_passphrase: in_cloud, Passphrase;
    cloud_by_key: in_cloud, Key;
    cloud_by_recovery_key: in_cloud, Recovery;
    cloud_by_token: in_cloud, External;
}
