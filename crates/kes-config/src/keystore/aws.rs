//! `keystore.aws`: Secrets Manager and KMS.

use super::{Backend, Endpoint, Missing};
use crate::secret::Secret;
use crate::section::{Refused, Section};
use std::collections::BTreeMap;

/// `keystore.aws.secretsmanager`.
#[derive(Debug)]
#[non_exhaustive]
pub struct AwsSecretsManager {
    /// Host or URL: `secretsmanager[-fips].<region>.amazonaws.com`.
    pub endpoint: Endpoint,
    /// The region. If it is not written, that which the endpoint tells.
    pub region: String,
    /// The KMS key for new secrets. Default: AWS's own.
    pub kmskey: Option<String>,
    /// What every name of a secret begins with. Default empty.
    pub prefix: String,
    /// Tags of new secrets. Default none.
    pub tags: BTreeMap<String, String>,
    /// Fixed credentials; `None`: AWS's default chain.
    pub credentials: Option<AwsCredentials>,
}

/// Fixed credentials. At least one part is there.
#[derive(Debug)]
#[non_exhaustive]
pub struct AwsCredentials {
    /// The access key's ID.
    pub accesskey: String,
    /// The access key's secret.
    pub secretkey: Option<Secret>,
    /// The session token.
    pub token: Option<Secret>,
}

/// `keystore.aws.kms`: keys that never leave AWS.
#[derive(Debug)]
#[non_exhaustive]
pub struct AwsKms {
    /// Host or URL; `None`: the region's own.
    pub endpoint: Option<Endpoint>,
    /// The region; `None`: that of the endpoint or of the key's ARN, else that of the environment.
    pub region: Option<String>,
    /// The key's ID, ARN or alias.
    pub key: String,
    /// The key for HMAC, named likewise; `None`: HMAC is refused.
    pub mac_key: Option<String>,
    /// What the aliases begin with that the names of keys are. Default `kes/`.
    pub prefix: String,
    /// Fixed credentials; `None`: AWS's default chain.
    pub credentials: Option<AwsCredentials>,
}

/// `keystore.seal.aws`: a key in AWS KMS.
#[derive(Debug)]
#[non_exhaustive]
pub struct SealAws {
    /// Host or URL; `None`: the region's own.
    pub endpoint: Option<Endpoint>,
    /// The region; `None`: that of the endpoint or of the key's ARN, else that of the environment.
    pub region: Option<String>,
    /// The key's ID, ARN or alias.
    pub key: String,
    /// Fixed credentials; `None`: AWS's default chain.
    pub credentials: Option<AwsCredentials>,
}

impl AwsCredentials {
    fn read(section: &Section<'_>) -> Option<Self> {
        let section = section.block("credentials");
        let accesskey = section.string("accesskey");
        let (secretkey, token) = (section.secret("secretkey"), section.secret("token"));
        let given = !accesskey.is_empty() || secretkey.is_some() || token.is_some();
        given.then_some(Self { accesskey, secretkey, token })
    }
}

pub(super) fn read_secretsmanager(section: &Section<'_>) -> Result<Backend, Refused> {
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let (region, kmskey) = (section.filled_string("region"), section.filled_string("kmskey"));
    // Departs from upstream: there the region has to be written although the endpoint tells it.
    let region = region.or_else(|| region_of(endpoint.as_ref()?.expose()));
    let prefix = section.string("prefix");
    let tags = section.section("tags");
    let tags = tags.keys().map(|name| (name.to_owned(), tags.free_string(name))).collect();
    let credentials = AwsCredentials::read(section);

    let missing = Missing { section, prefix: "kesconf: invalid AWS secretsmanager keystore" };
    let endpoint = missing.need(endpoint, "endpoint", "no endpoint specified");
    let region = missing.need(region, "region", "no region specified");
    let (endpoint, region) = (endpoint?, region?);
    Ok(Backend::AwsSecretsManager(AwsSecretsManager { endpoint, region, kmskey, prefix, tags, credentials }))
}

/// The region in a host of AWS: what follows the service.
fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let mut labels = host.split(['/', ':']).next()?.split('.');
    labels.find(|label| matches!(*label, "secretsmanager" | "secretsmanager-fips"))?;
    labels.next().filter(|region| region.contains('-')).map(ToOwned::to_owned)
}

pub(super) fn read_kms(section: &Section<'_>) -> Result<Backend, Refused> {
    let mac_key = section.filled_string("mac_key");
    let prefix = section.filled_string("prefix").unwrap_or_else(|| "kes/".to_owned());
    let SealAws { endpoint, region, key, credentials } = SealAws::read(section, "kesconf: invalid AWS kms keystore")?;
    Ok(Backend::AwsKms(AwsKms { endpoint, region, key, mac_key, prefix, credentials }))
}

impl SealAws {
    pub(super) fn read(section: &Section<'_>, prefix: &'static str) -> Result<Self, Refused> {
        let endpoint = section.filled_string("endpoint").map(Endpoint::new);
        let (region, key) = (section.filled_string("region"), section.filled_string("key"));
        let credentials = AwsCredentials::read(section);
        let key = Missing { section, prefix }.need(key, "key", "no key specified")?;
        Ok(Self { endpoint, region, key, credentials })
    }
}
