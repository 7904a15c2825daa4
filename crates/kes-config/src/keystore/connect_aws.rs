//! From what the file says of AWS to an account that we are in.

use std::sync::Arc;

use kes_keystore::{Error, KeyStore, Seal};
use kes_keystore_aws as aws;

use super::Endpoint;
use super::aws::{AwsCredentials, AwsKms, AwsSecretsManager, SealAws};
use crate::secret::Secret;

/// Opens Secrets Manager.
pub(super) async fn secrets_manager(config: &AwsSecretsManager, check: bool) -> Result<Arc<dyn KeyStore>, Error> {
    let service = service(Some(&config.endpoint), Some(&config.region), config.credentials.as_ref());
    let (kmskey, prefix, tags) = (config.kmskey.clone(), config.prefix.clone(), config.tags.clone());
    Ok(Arc::new(aws::connect(aws::Config { service, kmskey, prefix, tags, check }).await?))
}

/// Opens what stands in the place of a store when the key never leaves KMS.
pub(super) async fn kms(config: &AwsKms, check: bool) -> Result<Arc<dyn KeyStore>, Error> {
    let service = service(config.endpoint.as_ref(), config.region.as_deref(), config.credentials.as_ref());
    let (key, mac_key, prefix) = (config.key.clone(), config.mac_key.clone(), config.prefix.clone());
    Ok(Arc::new(aws::connect_engine(aws::EngineConfig { service, key, mac_key, prefix, check }).await?))
}

/// The key of KMS that a store is sealed by.
pub(super) async fn seal(config: &SealAws) -> Result<Arc<dyn Seal>, Error> {
    let service = service(config.endpoint.as_ref(), config.region.as_deref(), config.credentials.as_ref());
    Ok(Arc::new(aws::connect_seal(aws::SealConfig { service, key: config.key.clone() }).await?))
}

fn service(endpoint: Option<&Endpoint>, region: Option<&str>, credentials: Option<&AwsCredentials>) -> aws::Service {
    aws::Service {
        endpoint: endpoint.map(|endpoint| endpoint.expose().to_owned()),
        region: region.map(ToOwned::to_owned),
        credentials: credentials.map(own),
    }
}

/// Any part of them being there makes them count, as with the old server; without the others AWS refuses.
fn own(credentials: &AwsCredentials) -> aws::Credentials {
    let secret = |secret: &Secret| aws::Secret::new(secret.expose().to_owned());
    aws::Credentials {
        access_key: credentials.accesskey.clone(),
        secret_key: credentials.secretkey.as_ref().map_or_else(|| aws::Secret::new(String::new()), secret),
        token: credentials.token.as_ref().map(secret),
    }
}
