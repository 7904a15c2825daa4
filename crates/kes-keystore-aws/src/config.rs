//! What an operator says about AWS.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// A service of AWS and how to get in.
///
/// What is left out is what the SDKs of AWS take from the environment: `AWS_REGION`, profiles, the role of the machine.
#[derive(Debug, Default)]
pub struct Service {
    /// A host or a URL, such as `secretsmanager.eu-central-1.amazonaws.com`. `None`: the region's own.
    pub endpoint: Option<String>,
    /// The region. `None`: that of the endpoint or of the key's ARN, else that of the environment.
    pub region: Option<String>,
    /// Fixed credentials. `None`: environment, web identity, profile, container, instance, in this order.
    pub credentials: Option<Credentials>,
}

/// Fixed credentials.
#[derive(Debug)]
pub struct Credentials {
    /// The access key's ID.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: Secret,
    /// The session token of temporary credentials.
    pub token: Option<Secret>,
}

/// A credential. Wiped on drop; `Debug` shows nothing of it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a credential.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The credential itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Secrets Manager with keys in it.
#[derive(Debug, Default)]
pub struct Config {
    /// Secrets Manager.
    pub service: Service,
    /// The KMS key that new secrets are encrypted under: ID, ARN or `alias/<name>`. `None`: `aws/secretsmanager`.
    pub kmskey: Option<String>,
    /// What every name of a secret begins with. May be empty.
    pub prefix: String,
    /// Tags of new secrets. If there are any, secrets without them are none of ours.
    pub tags: BTreeMap<String, String>,
    /// Whether it is found out at the start what AWS does not permit. That takes seven calls, one of which makes a secret
    /// and one of which removes it: for a server, not for who only looks.
    pub check: bool,
}

/// A KMS key that wraps the root key of a sealed store.
#[derive(Debug, Default)]
pub struct SealConfig {
    /// KMS.
    pub service: Service,
    /// The key: ID, ARN or `alias/<name>`.
    pub key: String,
}

/// A KMS key that all keys of kes stand for, and that never leaves KMS.
#[derive(Debug, Default)]
pub struct EngineConfig {
    /// KMS.
    pub service: Service,
    /// The key: ID, ARN or `alias/<name>`. Symmetric, for encryption.
    pub key: String,
    /// A KMS key of 256 bits for HMAC. `None`: HMAC is refused.
    pub mac_key: Option<String>,
    /// What the aliases begin with that the names of keys are: `alias/<prefix><name>`. Usually `kes/`.
    pub prefix: String,
    /// Whether it is found out at the start what AWS does not permit, with an alias that is made and removed.
    pub check: bool,
}
