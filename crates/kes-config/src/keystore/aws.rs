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
    /// The region.
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
    /// The region; `None`: from the environment.
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

pub(super) fn read_kms(section: &Section<'_>) -> Result<Backend, Refused> {
    AwsKms::read(section, "kesconf: invalid AWS kms keystore").map(Backend::AwsKms)
}

impl AwsKms {
    pub(super) fn read(section: &Section<'_>, prefix: &'static str) -> Result<Self, Refused> {
        let endpoint = section.filled_string("endpoint").map(Endpoint::new);
        let (region, key) = (section.filled_string("region"), section.filled_string("key"));
        let credentials = AwsCredentials::read(section);
        let key = Missing { section, prefix }.need(key, "key", "no key specified")?;
        Ok(Self { endpoint, region, key, credentials })
    }
}
