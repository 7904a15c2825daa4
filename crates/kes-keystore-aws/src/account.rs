//! An account at AWS that we are in: where, as whom, and the clients for it.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kms::config::{IdentityCache, SharedInterceptor};
use aws_smithy_runtime_api::client::retries::classifiers::SharedRetryClassifier;
use kes_keystore::{Cause, Error, Operation};

use crate::config::Service;
use crate::endpoint::{self, Endpoint};
use crate::failure::Told;
use crate::lack::Lack;
use crate::session::{Identity, Session};
use crate::wire::{Judge, Wire, retries, timeouts};

/// Where a service is and who we are there.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) region: String,
    pub(crate) wire: Wire,
    pub(crate) judge: Judge,
    /// The address of the service, for the probe.
    url: String,
    settings: SdkConfig,
}

impl Account {
    /// Finds the region and the credentials. `keys` are KMS keys that must be in the same region.
    ///
    /// # Errors
    /// [`Error::Failed`] if what is configured cannot be used, [`Error::Unauthorized`] if there are no credentials.
    pub(crate) async fn open(config: Service, service: &str, label: &str, keys: &[&str]) -> Result<Self, Error> {
        let written = config.endpoint.as_deref().map(str::trim).filter(|endpoint| !endpoint.is_empty());
        let entry = || written.map_or_else(|| label.to_owned(), |endpoint| format!("{label}: {}", shown(endpoint)));
        let unusable = |remedy| unusable(entry(), remedy, None);
        let endpoint = written.map(|text| Endpoint::parse(text, service)).transpose().map_err(unusable)?;
        let region = endpoint::region(config.region.as_deref(), endpoint.as_ref(), keys).map_err(unusable)?;
        let wire = Wire::new().map_err(|why| {
            let remedy = "the trusted certificates cannot be read: check AWS_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR";
            self::unusable(entry(), remedy, Some(Arc::new(why)))
        })?;
        // Without a region the metadata service of the machine is asked, which is next to us.
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(wire.local.clone()).no_credentials();
        let settings = match region {
            Some(region) => loader.region(Region::new(region)).load().await,
            None => loader.load().await,
        };
        let Some(region) = settings.region().map(ToString::to_string) else {
            return Err(unusable("no region is configured: write 'region', or set AWS_REGION"));
        };
        let settings = settings
            .into_builder()
            .http_client(wire.outside.clone())
            .retry_config(retries())
            .timeout_config(timeouts())
            .identity_cache(IdentityCache::no_cache())
            .build();
        let session = match &config.credentials {
            Some(credentials) => Session::fixed(credentials),
            None => Session::found(&wire, &settings),
        };
        session.credentials().await.map_err(|why| no_credentials(entry(), &why))?;
        let identity = SharedCredentialsProvider::new(Identity(Arc::clone(&session)));
        let settings =
            settings.into_builder().credentials_provider(identity).identity_cache(IdentityCache::no_cache()).build();
        let url = match &endpoint {
            Some(endpoint) => endpoint.url.clone(),
            None => own_url(service, &settings).await.unwrap_or_default(),
        };
        Ok(Self { endpoint, region, wire, judge: Judge::new(session), url, settings })
    }

    /// Whether the service answers at all. Asks without credentials, as anything that answers will do.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub(crate) async fn probe(&self, store: &str) -> Result<(), Error> {
        let Some(why) = self.wire.probe(&self.url).await.err() else { return Ok(()) };
        let remedy = "check the endpoint, the network, the proxy (HTTPS_PROXY, NO_PROXY) and the trusted certificates \
                      (AWS_CA_BUNDLE, SSL_CERT_FILE)";
        let source = Some(Arc::new(Told::of(&*why)) as Cause);
        Err(Error::Unreachable { store: store.to_owned(), remedy, source })
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        let mut config = aws_sdk_secretsmanager::config::Builder::from(&self.settings);
        config.push_retry_classifier(SharedRetryClassifier::new(self.judge.clone()));
        config.push_interceptor(SharedInterceptor::new(self.judge.clone()));
        if let Some(endpoint) = &self.endpoint {
            // What is written is of its kind already: the SDK refuses to make another of it.
            config = config.endpoint_url(&endpoint.url).use_fips(false).use_dual_stack(false);
        }
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }

    /// KMS, at the endpoint of the account if that is KMS's own.
    pub(crate) fn kms(&self) -> aws_sdk_kms::Client {
        let mut config = aws_sdk_kms::config::Builder::from(&self.settings);
        config.push_retry_classifier(SharedRetryClassifier::new(self.judge.clone()));
        config.push_interceptor(SharedInterceptor::new(self.judge.clone()));
        if let Some(endpoint) = &self.endpoint {
            // What is written is of its kind already: the SDK refuses to make another of it.
            config = config.endpoint_url(&endpoint.url).use_fips(false).use_dual_stack(false);
        }
        aws_sdk_kms::Client::from_conf(config.build())
    }

    /// KMS beside Secrets Manager: of the same kind if that is AWS's own, else at the same place, as what stands in for AWS
    /// has all services in one.
    pub(crate) fn kms_beside(&self) -> aws_sdk_kms::Client {
        let mut config = aws_sdk_kms::config::Builder::from(&self.settings);
        config.push_retry_classifier(SharedRetryClassifier::new(self.judge.clone()));
        config.push_interceptor(SharedInterceptor::new(self.judge.clone()));
        match &self.endpoint {
            Some(endpoint) if endpoint.is_aws => {
                let fips = endpoint.fips || self.settings.use_fips().unwrap_or_default();
                let dual_stack = endpoint.dual_stack || self.settings.use_dual_stack().unwrap_or_default();
                config = config.use_fips(fips).use_dual_stack(dual_stack);
            }
            Some(endpoint) if std::env::var_os("AWS_ENDPOINT_URL_KMS").is_none() => {
                config = config.endpoint_url(&endpoint.url).use_fips(false).use_dual_stack(false);
            }
            _ => {}
        }
        aws_sdk_kms::Client::from_conf(config.build())
    }
}

/// The address that the SDK would take by itself.
async fn own_url(service: &str, settings: &SdkConfig) -> Option<String> {
    let environment = format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase());
    let region = settings.region()?.to_string();
    let (fips, dual_stack) = (settings.use_fips().unwrap_or_default(), settings.use_dual_stack().unwrap_or_default());
    let configured = std::env::var(environment).ok().or_else(|| settings.endpoint_url().map(ToOwned::to_owned));
    if configured.is_some() {
        return configured;
    }
    let endpoint = match service {
        "kms" => {
            use aws_sdk_kms::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
            let place = Params::builder().region(region).use_fips(fips).use_dual_stack(dual_stack).build().ok()?;
            DefaultResolver::new().resolve_endpoint(&place).await
        }
        _ => {
            use aws_sdk_secretsmanager::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
            let place = Params::builder().region(region).use_fips(fips).use_dual_stack(dual_stack).build().ok()?;
            DefaultResolver::new().resolve_endpoint(&place).await
        }
    };
    endpoint.ok().map(|endpoint| endpoint.url().to_owned())
}

/// An endpoint without the user name and password that a URL may hold.
fn shown(endpoint: &str) -> &str {
    endpoint.rsplit('@').next().unwrap_or(endpoint)
}

pub(crate) fn unusable(entry: String, remedy: &'static str, source: Option<Cause>) -> Error {
    Error::Failed { entry, operation: Operation::Status, remedy, source }
}

/// What is said when there are no credentials, or none can be had now.
pub(crate) fn no_credentials(entry: String, why: &Lack) -> Error {
    let source = Some(Arc::new(why.clone()) as Cause);
    match why {
        Lack::Nowhere(_) => {
            let remedy = "no AWS credentials were found: write 'credentials', set AWS_ACCESS_KEY_ID and \
                          AWS_SECRET_ACCESS_KEY, or give this machine, container or service account a role";
            Error::Unauthorized { entry, remedy, source }
        }
        Lack::Away(_) => {
            let remedy = "the source of AWS credentials does not answer, or has failed";
            Error::Unreachable { store: entry, remedy, source }
        }
        Lack::Refused(_) => {
            let remedy = "the source of AWS credentials gives none: check the role, who may assume it, the profile or the \
                          token file";
            Error::Unauthorized { entry, remedy, source }
        }
    }
}
