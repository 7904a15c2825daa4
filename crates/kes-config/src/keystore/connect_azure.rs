//! From what the file says of Azure to a vault that we are in.

use std::sync::Arc;

use kes_keystore::{Error, KeyStore, Seal};
use kes_keystore_azure as azure;

use super::azure::{AzureKeyVault, AzureLogin, AzureNames};
use super::seal::SealAzure;
use super::{ClientTls, Endpoint};

/// Opens a Key Vault.
pub(super) async fn store(config: &AzureKeyVault, check: bool) -> Result<Arc<dyn KeyStore>, Error> {
    let names = match config.names {
        AzureNames::Strict => azure::Names::Strict,
        AzureNames::Map => azure::Names::Map,
    };
    let vault = vault(&config.endpoint, &config.login, &config.tls);
    Ok(Arc::new(azure::connect(azure::Config { vault, names, purge: config.purge, check }).await?))
}

/// The key of Key Vault or Managed HSM that a store is sealed by.
pub(super) async fn seal(config: &SealAzure) -> Result<Arc<dyn Seal>, Error> {
    let vault = vault(&config.endpoint, &config.login, &config.tls);
    Ok(Arc::new(azure::connect_seal(azure::SealConfig { vault, key: config.key.clone() }).await?))
}

fn vault(endpoint: &Endpoint, login: &AzureLogin, tls: &ClientTls) -> azure::Vault {
    let login = match login {
        AzureLogin::Default => azure::Login::Default,
        AzureLogin::Credentials { tenant_id, client_id, client_secret } => azure::Login::Credentials {
            tenant_id: tenant_id.clone(),
            client_id: client_id.clone(),
            client_secret: azure::Secret::new(client_secret.expose().to_owned()),
        },
        AzureLogin::ManagedIdentity { client_id } => {
            azure::Login::ManagedIdentity { client_id: Some(client_id.clone()) }
        }
    };
    azure::Vault { endpoint: endpoint.expose().to_owned(), login, authority: None, ca: tls.ca.clone() }
}
