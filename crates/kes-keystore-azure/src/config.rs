//! What an operator says about Azure.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// A Key Vault, or a Managed HSM, and how to get in.
#[derive(Debug, Default)]
pub struct Vault {
    /// A host or a URL: `https://<name>.vault.azure.net`. Always TLS.
    pub endpoint: String,
    /// How to log in.
    pub login: Login,
    /// Where to log in. `None`: `AZURE_AUTHORITY_HOST`, else what belongs to the cloud of the endpoint.
    pub authority: Option<String>,
    /// PEM file, or folder of such, with the only roots to trust, at the login as well. `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// How to log in to Azure.
#[derive(Debug, Default)]
pub enum Login {
    /// Whatever is there: environment, workload identity, managed identity, the command lines of a developer.
    #[default]
    Default,
    /// An application with a secret.
    Credentials {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The application's secret.
        client_secret: Secret,
    },
    /// An identity of this machine, container or app.
    ManagedIdentity {
        /// Which of those that are assigned by users. `None`: the one that the system has assigned.
        client_id: Option<String>,
    },
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

/// How names of keys become names of secrets, which have no `_` and no case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Verbatim; a name with `_` is refused.
    #[default]
    Strict,
    /// Those with `_` or capitals reversibly, as `docs/azure.md` says; the others verbatim.
    Map,
}

/// A Key Vault with keys in it, as secrets.
#[derive(Debug, Default)]
pub struct Config {
    /// The vault.
    pub vault: Vault,
    /// How names are written.
    pub names: Names,
    /// Whether a create may purge a deleted secret of its name.
    pub purge: bool,
    /// Whether it is found out at the start what Azure does not permit. That takes five calls, which change nothing.
    pub check: bool,
}

/// A key of Key Vault or Managed HSM that wraps the root key of a sealed store.
#[derive(Debug, Default)]
pub struct SealConfig {
    /// The vault or the HSM.
    pub vault: Vault,
    /// The name of the key: RSA, or AES of 256 bits.
    pub key: String,
}
