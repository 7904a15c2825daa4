//! `keystore.gcp.secretmanager`.

use super::{Backend, Endpoint, Missing};
use crate::secret::Secret;
use crate::section::{Refused, Section};
use zeroize::Zeroizing;

/// `keystore.gcp.secretmanager`.
#[derive(Debug)]
#[non_exhaustive]
pub struct GcpSecretManager {
    /// The project's ID.
    pub project_id: String,
    /// The service's URL, with the scheme added if it was left out; `None`: Google's own.
    pub endpoint: Option<Endpoint>,
    /// OAuth scopes. Default: the service's own.
    pub scopes: Vec<String>,
    /// A service account's key; `None`: application default credentials.
    pub credentials: Option<GcpCredentials>,
}

/// A service account's key.
#[derive(Debug)]
#[non_exhaustive]
pub struct GcpCredentials {
    /// The account's address.
    pub client_email: String,
    /// The account's ID.
    pub client_id: String,
    /// The key's ID.
    pub private_key_id: String,
    /// The key as PEM text with real line breaks.
    pub private_key: Secret,
}

pub(super) fn read(section: &Section<'_>) -> Result<Backend, Refused> {
    let project_id = section.filled_string("project_id");
    let endpoint = section.filled("endpoint").map(|text| Endpoint::with_scheme(text.as_str()));
    let scopes = section.texts("scopes").iter().map(|scope| scope.as_str().to_owned()).collect();

    let missing = Missing { section, prefix: "kesconf: invalid GCP secretmanager keystore" };
    let project_id = missing.need(project_id, "project_id", "no project ID specified");
    let credentials = GcpCredentials::read(&section.block("credentials"));
    Ok(Backend::Gcp(GcpSecretManager { project_id: project_id?, endpoint, scopes, credentials: credentials? }))
}

impl GcpCredentials {
    fn read(section: &Section<'_>) -> Result<Option<Self>, Refused> {
        let (email, id) = (section.filled_string("client_email"), section.filled_string("client_id"));
        let key_id = section.filled_string("private_key_id");
        let key = section.filled("private_key");
        // The file that Google hands out is JSON, where a line break is the two characters `\n`.
        let key = key.map(|key| Secret::new(Zeroizing::new(key.as_str().replace("\\n", "\n"))));
        if email.is_none() && id.is_none() && key_id.is_none() && key.is_none() {
            return Ok(None);
        }
        let missing = Missing { section, prefix: "gcp" };
        let client_email = missing.need(email, "client_email", "no client email provided");
        let client_id = missing.need(id, "client_id", "no client ID provided");
        let private_key = missing.need(key, "private_key", "no client private key provided");
        let private_key_id = missing.need(key_id, "private_key_id", "no client private key ID provided");
        let (client_email, client_id) = (client_email?, client_id?);
        Ok(Some(Self { client_email, client_id, private_key: private_key?, private_key_id: private_key_id? }))
    }
}
