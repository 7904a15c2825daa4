//! A sealed store is a store: the whole suite, over every store here and with every kind of slot.

use std::sync::Arc;

use super::support::{Cloud, Kind};
use crate::conformance::{Sealed, Subject};
use crate::fs::tests::{Directories, directory};
use crate::{KeyStore, memory};

/// A store that all servers share in this process.
struct Shared(Arc<dyn KeyStore>);

impl Subject for Shared {
    fn store(&self) -> Arc<dyn KeyStore> {
        self.0.clone()
    }
}

async fn in_memory(kind: Kind) -> Sealed<Shared> {
    Sealed::by(Shared(Arc::new(memory::Store::default())), || kind.key()).await
}

async fn in_files(kind: Kind) -> Sealed<Directories> {
    Sealed::by(directory().await, || kind.key()).await
}

async fn in_cloud(kind: Kind) -> Sealed<Shared> {
    Sealed::by(Shared(Arc::new(Cloud::new())), || kind.key()).await
}

macro_rules! suites {
    ($($suite:ident: $place:ident, $kind:ident;)+) => {$(
        mod $suite {
            use super::*;

            async fn sealed() -> impl Subject {
                $place(Kind::$kind).await
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
