//! From what the file says of a Vault to one that is logged in.

use std::sync::Arc;

use kes_keystore::{Error, KeyStore, Seal};
use kes_keystore_vault as vault;

use super::seal::SealVault;
use super::vault::{Jwt, Transit, Vault, VaultAuth, VaultLogin, VaultMode, VaultToken, VaultVersion};
use super::{ClientTls, Endpoint};
use crate::secret::Secret;

/// Opens the store, or what stands in its place when keys never leave the Vault.
pub(super) async fn store(config: &Vault) -> Result<Arc<dyn KeyStore>, Error> {
    let server = vault::Server {
        ping: config.ping,
        ..server(&config.endpoint, config.namespace.as_deref(), &config.login, &config.tls)
    };
    let prefix = config.prefix.clone();
    match config.mode {
        VaultMode::Engine => {
            let engine = config.transit.as_ref().map_or_else(|| "transit".to_owned(), |transit| transit.engine.clone());
            Ok(Arc::new(vault::connect_engine(vault::EngineConfig { server, engine, prefix }).await?))
        }
        VaultMode::Store => {
            let version = match config.version {
                VaultVersion::V1 => vault::Version::V1,
                VaultVersion::V2 => vault::Version::V2,
            };
            let transit = config.transit.as_ref().and_then(key_of);
            let engine = config.engine.clone();
            Ok(Arc::new(vault::connect(vault::Config { server, engine, version, prefix, transit }).await?))
        }
    }
}

/// The transit key that a store is sealed by.
pub(super) async fn seal(config: &SealVault) -> Result<Arc<dyn Seal>, Error> {
    let server = server(&config.endpoint, config.namespace.as_deref(), &config.login, &config.tls);
    let key = vault::Transit { engine: config.engine.clone(), key: config.key.clone() };
    Ok(Arc::new(vault::connect_seal(vault::SealConfig { server, key }).await?))
}

fn key_of(transit: &Transit) -> Option<vault::Transit> {
    Some(vault::Transit { engine: transit.engine.clone(), key: transit.key.clone()? })
}

fn server(endpoint: &Endpoint, namespace: Option<&str>, login: &VaultLogin, tls: &ClientTls) -> vault::Server {
    vault::Server {
        endpoint: endpoint.expose().to_owned(),
        namespace: namespace.map(str::to_owned),
        login: vault::Login { namespace: login.namespace.clone(), method: method(&login.auth) },
        tls: vault::Tls { ca: tls.ca.clone(), cert: tls.cert.clone(), key: tls.key.clone() },
        ping: super::vault::PING,
    }
}

fn method(auth: &VaultAuth) -> vault::Method {
    match auth {
        VaultAuth::AppRole { engine, id, secret } => {
            vault::Method::AppRole { engine: engine.clone(), id: id.clone(), secret: own(secret) }
        }
        VaultAuth::Kubernetes { engine, role, jwt } => vault::Method::Kubernetes {
            engine: engine.clone(),
            role: role.clone(),
            jwt: match jwt {
                Jwt::Token(token) => vault::Source::Value(own(token)),
                Jwt::File(path) => vault::Source::File(path.clone()),
            },
        },
        VaultAuth::Token(VaultToken::Value(token)) => vault::Method::Token(vault::Source::Value(own(token))),
        VaultAuth::Token(VaultToken::File(path)) => vault::Method::Token(vault::Source::File(path.clone())),
        VaultAuth::Cert { engine, role } => vault::Method::Certificate { engine: engine.clone(), role: role.clone() },
        VaultAuth::Agent => vault::Method::Agent,
    }
}

fn own(secret: &Secret) -> vault::Secret {
    vault::Secret::new(secret.expose().to_owned())
}
