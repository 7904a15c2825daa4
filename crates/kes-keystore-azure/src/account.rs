//! A vault and who we are in it: what the store and the seal have in common.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use kes_keystore::http::Tls;
use kes_keystore::{Cause, Error, Operation};

use crate::config::Vault;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::login::{Source, variable};
use crate::session::{Identity, NoToken, Session};
use crate::wire::Wire;

/// How often a call is tried whose token was taken away while it waited for it, as the SDK forgets the token of all when that
/// of one is refused; or whose token ended on the way.
const TURNS: u32 = 5;
const REFUSED_TURNS: u32 = 3;

/// A vault.
pub(crate) struct Account {
    pub(crate) endpoint: Endpoint,
    pub(crate) wire: Wire,
    pub(crate) identity: Arc<Identity>,
}

impl Account {
    pub(crate) fn open(vault: Vault, label: &str) -> Result<Self, Error> {
        let Vault { endpoint: written, login, authority, ca } = vault;
        let entry = format!("{label}: {}", written.trim());
        let endpoint = Endpoint::parse(&written).map_err(|remedy| unusable(format!("{label}: ?"), remedy, None))?;
        let authority = endpoint.authority(authority.or_else(|| variable("AZURE_AUTHORITY_HOST")).as_deref());
        let authority = authority.map_err(|remedy| unusable(entry.clone(), remedy, None))?;
        let wire = Wire::new(endpoint.url.clone(), &Tls { ca, ..Tls::default() })
            .map_err(|why| unusable(entry, "mend 'tls' of the key store", Some(Arc::new(why))))?;
        let session =
            Session::new(Source { login, wire: wire.clone(), authority, has_metadata: AtomicBool::new(false) });
        wire.tell(&session);
        Ok(Self { endpoint, wire, identity: Arc::new(Identity(session)) })
    }

    /// Whether the SDK compares the resource that a vault names with the vault's host.
    pub(crate) fn verifies(&self) -> bool {
        !self.endpoint.is_loopback()
    }

    /// Whether anything answers at the endpoint.
    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        self.wire.probe().await.map_err(|none| Failure::unanswered(&none))
    }
}

/// Makes a call of the SDK.
pub(crate) async fn call<T, F>(mut make: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = azure_core::Result<T>>,
{
    let mut turn = 1;
    loop {
        match make().await {
            Ok(answer) => return Ok(answer),
            Err(why) if turn < TURNS && was_taken_away(&why) => turn += 1,
            Err(why) if turn < REFUSED_TURNS && why.http_status() == Some(StatusCode::Unauthorized) => turn += 1,
            Err(why) => return Err(Failure::of(&why)),
        }
    }
}

fn was_taken_away(why: &azure_core::Error) -> bool {
    matches!(why.kind(), ErrorKind::Credential) && why.downcast_ref::<NoToken>().is_none()
}

/// A set-up that cannot work.
pub(crate) fn unusable(entry: String, remedy: &'static str, source: Option<Cause>) -> Error {
    Error::Failed { entry, operation: Operation::Status, remedy, source }
}
