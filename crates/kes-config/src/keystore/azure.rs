//! `keystore.azure.keyvault`.

use super::{Backend, ClientTls, Endpoint, Missing};
use crate::secret::Secret;
use crate::section::{Refused, Section};

/// `keystore.azure.keyvault`.
#[derive(Debug)]
#[non_exhaustive]
pub struct AzureKeyVault {
    /// `https://<name>.vault.azure.net`. The scheme is added if it was left out.
    pub endpoint: Endpoint,
    /// How names are written in the vault. Default strict.
    pub names: AzureNames,
    /// Whether a deleted secret of the same name may be purged by a create. Default off.
    pub purge: bool,
    /// How the server logs in.
    pub login: AzureLogin,
    /// Only `ca`: whom to trust, at the login as well.
    pub tls: ClientTls,
}

/// How names of keys become names of secrets, which have no `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureNames {
    /// Verbatim; a name with `_` is refused.
    Strict,
    /// Reversibly mapped.
    Map,
}

/// How the server logs in to Azure.
#[derive(Debug)]
#[non_exhaustive]
pub enum AzureLogin {
    /// Azure's default chain: environment, workload identity, managed identity, command line.
    Default,
    /// `credentials`: a service principal.
    Credentials {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The application's secret.
        client_secret: Secret,
    },
    /// `managed_identity`: one that is assigned to the machine.
    ManagedIdentity {
        /// Its client ID.
        client_id: String,
    },
}

const PREFIX: &str = "kesconf: invalid Azure keyvault keystore";

pub(super) fn read(section: &Section<'_>) -> Result<Backend, Refused> {
    let endpoint = section.filled("endpoint").map(|text| Endpoint::with_scheme(text.as_str()));
    let names = section.choice("names", &[("strict", AzureNames::Strict), ("map", AzureNames::Map)]);
    let purge = section.switch("purge").is_some_and(|purge| purge.value);
    let tls = ClientTls::roots_only(&section.section("tls"));

    let endpoint = Missing { section, prefix: PREFIX }.need(endpoint, "endpoint", "no endpoint specified");
    let login = AzureLogin::read(section, PREFIX);
    let names = names?.unwrap_or(AzureNames::Strict);
    Ok(Backend::Azure(AzureKeyVault { endpoint: endpoint?, names, purge, login: login?, tls }))
}

impl AzureLogin {
    pub(super) fn read(section: &Section<'_>, prefix: &'static str) -> Result<Self, Refused> {
        let principal = section.block("credentials");
        let (tenant, client) = (principal.filled_string("tenant_id"), principal.filled_string("client_id"));
        let secret = principal.secret("client_secret");
        let managed = section.block("managed_identity");
        let identity = managed.filled_string("client_id");

        match (principal.is_present(), managed.is_present()) {
            (false, false) => Ok(Self::Default),
            (true, true) => {
                let missing = Missing { section, prefix };
                let error = missing.error("managed_identity", "more than one authentication method specified");
                Err(section.refuse(error.hint("keep 'credentials' or 'managed_identity'")))
            }
            (true, false) => {
                let missing = Missing { section: &principal, prefix };
                let tenant_id = missing.need(tenant, "tenant_id", "no tenant ID specified");
                let client_id = missing.need(client, "client_id", "no client ID specified");
                let client_secret = missing.need(secret, "client_secret", "no client secret specified");
                Ok(Self::Credentials { tenant_id: tenant_id?, client_id: client_id?, client_secret: client_secret? })
            }
            (false, true) => {
                let missing = Missing { section: &managed, prefix };
                Ok(Self::ManagedIdentity { client_id: missing.need(identity, "client_id", "no client ID specified")? })
            }
        }
    }
}
