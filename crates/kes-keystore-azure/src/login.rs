//! Where tokens come from.
//!
//! Without a word in the configuration it is what is there first, as with Azure's own SDKs: an application in the
//! environment, a workload identity, a managed identity, the command lines of a developer. What is set up counts: if it is
//! refused, nobody else is asked. Everything is looked at anew each time, so that files and variables of a running machine
//! are read when they are needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::ClientOptions;
use azure_identity::{
    AzureCliCredential, AzureDeveloperCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use crate::config;
use crate::failure::{Told, beneath};
use crate::managed;
use crate::session::NoToken;
use crate::wire::{NoAnswer, Wire};

/// What is asked for tokens.
pub(crate) struct Source {
    pub(crate) login: config::Login,
    pub(crate) wire: Wire,
    pub(crate) authority: String,
    /// The metadata service of this machine has given a token.
    pub(crate) has_metadata: AtomicBool,
}

/// What one of several sources has come to.
pub(crate) enum Found {
    /// It is set up: that is what counts.
    Settled(Result<AccessToken, NoToken>),
    /// It is not there, for this reason.
    Absent(String),
    /// It may be there, and does not answer.
    Silent(String),
}

const CHECK_SECRET: &str = "the login refused the application: check tenant ID, client ID and client secret, and whether the secret has expired";
const CHECK_WORKLOAD: &str = "the login refused the workload identity: check AZURE_TENANT_ID, AZURE_CLIENT_ID, the token in AZURE_FEDERATED_TOKEN_FILE \
     and the federated credential (issuer, subject, audience)";
const NOTHING_FOUND: &str =
    "there is no way to log in: write 'credentials' or 'managed_identity', or give the server an identity";
const NOTHING_ANSWERS: &str = "there is no way to log in, unless this is a virtual machine of Azure whose metadata service does not answer at the moment: \
     write 'credentials' or 'managed_identity', or give the server an identity";

impl Source {
    pub(crate) async fn token(&self, scope: &str) -> Result<AccessToken, NoToken> {
        match &self.login {
            config::Login::Credentials { tenant_id, client_id, client_secret } => {
                self.by_secret(tenant_id, client_id, client_secret.expose(), scope).await
            }
            config::Login::ManagedIdentity { client_id } => {
                managed::token(&self.wire, client_id.as_deref(), scope).await
            }
            config::Login::Default => self.first(scope).await,
        }
    }

    async fn first(&self, scope: &str) -> Result<AccessToken, NoToken> {
        let (mut absent, mut is_outage) = (Vec::new(), false);
        for way in ways()? {
            let found = match way {
                Way::Environment => self.environment(scope).await,
                Way::Workload => self.workload(scope).await,
                Way::Managed => {
                    let client_id = variable("AZURE_CLIENT_ID");
                    managed::look(&self.wire, &self.has_metadata, client_id.as_deref(), scope).await
                }
                Way::Cli => command_line("az", AzureCliCredential::new(None), scope).await,
                Way::DeveloperCli => command_line("azd", AzureDeveloperCliCredential::new(None), scope).await,
            };
            match found {
                Found::Settled(outcome) => return outcome,
                Found::Absent(why) => absent.push(why),
                Found::Silent(why) => {
                    absent.push(why);
                    is_outage = true;
                }
            }
        }
        let cause = Told::new(absent.join("; "));
        let remedy = if is_outage { NOTHING_ANSWERS } else { NOTHING_FOUND };
        Err(NoToken { is_outage, remedy, cause })
    }

    async fn environment(&self, scope: &str) -> Found {
        let names = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];
        match names.map(variable) {
            [Some(tenant), Some(client), Some(secret)] => {
                let secret = config::Secret::new(secret);
                Found::Settled(self.by_secret(&tenant, &client, secret.expose(), scope).await)
            }
            [.., None] if variable("AZURE_CLIENT_CERTIFICATE_PATH").is_some() => {
                Found::Absent("environment: AZURE_CLIENT_CERTIFICATE_PATH is not supported, use a secret".to_owned())
            }
            found => {
                let missing = names.into_iter().zip(&found).filter(|(_, value)| value.is_none()).map(|(name, _)| name);
                Found::Absent(format!("environment: {} not set", missing.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    async fn workload(&self, scope: &str) -> Found {
        let names = ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"];
        let [Some(file), Some(tenant_id), Some(client_id)] = names.map(variable) else {
            let missing: Vec<_> = names.into_iter().filter(|name| variable(name).is_none()).collect();
            return Found::Absent(format!("workload identity: {} not set", missing.join(", ")));
        };
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options: self.options() },
            client_id: Some(client_id),
            tenant_id: Some(tenant_id),
            token_file_path: Some(PathBuf::from(file)),
        };
        let made = WorkloadIdentityCredential::new(Some(options)).map(|made| made as Arc<dyn TokenCredential>);
        Found::Settled(ask(made, scope, CHECK_WORKLOAD).await)
    }

    async fn by_secret(&self, tenant: &str, client: &str, secret: &str, scope: &str) -> Result<AccessToken, NoToken> {
        let options = ClientSecretCredentialOptions { client_options: self.options() };
        let secret = Secret::new(secret.to_owned());
        let made = ClientSecretCredential::new(tenant, client.to_owned(), secret, Some(options));
        ask(made.map(|made| made as Arc<dyn TokenCredential>), scope, CHECK_SECRET).await
    }

    fn options(&self) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host.clone_from(&self.authority);
        ClientOptions { cloud: Some(Arc::new(cloud.into())), ..self.wire.options() }
    }
}

enum Way {
    Environment,
    Workload,
    Managed,
    Cli,
    DeveloperCli,
}

/// Whom to ask, in order: all, unless `AZURE_TOKEN_CREDENTIALS` says `prod`, `dev` or the name of one.
fn ways() -> Result<Vec<Way>, NoToken> {
    let Some(wanted) = variable("AZURE_TOKEN_CREDENTIALS") else {
        return Ok(vec![Way::Environment, Way::Workload, Way::Managed, Way::Cli, Way::DeveloperCli]);
    };
    Ok(match wanted.to_ascii_lowercase().as_str() {
        "prod" => vec![Way::Environment, Way::Workload, Way::Managed],
        "dev" => vec![Way::Cli, Way::DeveloperCli],
        "environmentcredential" => vec![Way::Environment],
        "workloadidentitycredential" => vec![Way::Workload],
        "managedidentitycredential" => vec![Way::Managed],
        "azureclicredential" => vec![Way::Cli],
        "azuredeveloperclicredential" => vec![Way::DeveloperCli],
        _ => {
            let remedy = "AZURE_TOKEN_CREDENTIALS is 'prod', 'dev' or the name of a credential, such as \
                          ManagedIdentityCredential";
            return Err(NoToken { is_outage: false, remedy, cause: Told::new(format!("it is '{wanted}'")) });
        }
    })
}

async fn command_line<T: TokenCredential>(name: &str, made: azure_core::Result<Arc<T>>, scope: &str) -> Found {
    let asked = match made {
        Ok(credential) => credential.get_token(&[scope], None).await,
        Err(why) => Err(why),
    };
    match asked {
        Ok(token) => Found::Settled(Ok(token)),
        Err(why) => Found::Absent(format!("{name}: {}", Told::new(why.to_string()))),
    }
}

/// Asks a login of the SDK.
async fn ask(
    made: azure_core::Result<Arc<dyn TokenCredential>>,
    scope: &str,
    remedy: &'static str,
) -> Result<AccessToken, NoToken> {
    let asked = match made {
        Ok(credential) => credential.get_token(&[scope], None).await,
        Err(why) => Err(why),
    };
    asked.map_err(|why| no_token(&why, remedy))
}

fn no_token(why: &azure_core::Error, refused: &'static str) -> NoToken {
    if let Some(none) = beneath::<NoAnswer>(why) {
        return NoToken { is_outage: true, remedy: none.remedy(), cause: Told::of(none) };
    }
    let answered = beneath::<azure_core::Error>(why).and_then(status).or_else(|| status(why));
    match answered {
        Some(status) if status == 408 || status == 429 || status >= 500 => {
            let remedy = "the login answers that it has failed, or has too much to do: Azure may have an outage";
            NoToken { is_outage: true, remedy, cause: Told::new(why.to_string()) }
        }
        _ => NoToken { is_outage: false, remedy: refused, cause: Told::new(why.to_string()) },
    }
}

fn status(error: &azure_core::Error) -> Option<u16> {
    let mut error = Some(error);
    while let Some(found) = error {
        if let ErrorKind::HttpResponse { status, .. } = found.kind() {
            return Some(u16::from(*status));
        }
        error = found.downcast_ref::<azure_core::Error>();
    }
    None
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
