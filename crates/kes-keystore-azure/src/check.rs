//! What can be found out at the start rather than at the first request that fails.
//!
//! Each call is made once about a secret that there is not: "not found" means permitted, and nothing changes. The name begins
//! with a hyphen, as no key's does. Setting is tried without a value, which Key Vault refuses.

use std::time::Duration;

use azure_core::http::RequestContent;
use azure_security_keyvault_secrets::models::{SecretClientListSecretPropertiesOptions, SetSecretParameters};
use kes_keystore::{Error, KeyStore, Operation};

use crate::account::call;
use crate::failure::{Failure, Refusal};
use crate::store::{Store, judge, next};

/// The name for what is asked about.
const NAME: &str = "-kes-check";

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is needed: as access policies call it, and as roles do.
const NEEDED: [(&str, &str); 5] = [
    ("List", "Microsoft.KeyVault/vaults/secrets/readMetadata/action"),
    ("Get", "Microsoft.KeyVault/vaults/secrets/getSecret/action"),
    ("Set", "Microsoft.KeyVault/vaults/secrets/setSecret/action"),
    ("Delete", "Microsoft.KeyVault/vaults/secrets/delete"),
    ("Purge", "Microsoft.KeyVault/vaults/secrets/purge/action"),
];

/// Notes what is not permitted of what the store does.
///
/// # Errors
/// If there is no way to log in, or the vault keeps us out altogether. That Azure cannot be asked now is no reason to stay
/// down.
pub(crate) async fn permissions(store: &Store) -> Result<Vec<String>, Error> {
    let unknown =
        |why: String| Ok(vec![format!("whether Azure permits everything that is needed was not found out: {why}")]);
    match tokio::time::timeout(PATIENCE, look(store)).await {
        Ok(Ok(notices)) => Ok(notices),
        Ok(Err(Failure::Refused(refusal))) => Err(judge(store.describe(), Operation::Status, refusal)),
        Ok(Err(Failure::NoToken(none))) if none.is_outage => unknown(none.remedy.to_owned()),
        Ok(Err(Failure::NoToken(none))) => Err(none.into_error(&store.describe())),
        Ok(Err(Failure::Unreachable { remedy, .. })) => unknown(remedy.to_owned()),
        Err(_) => unknown("it does not answer in time".to_owned()),
    }
}

async fn look(store: &Store) -> Result<Vec<String>, Failure> {
    let mut notices = Vec::new();
    for (permission, action) in NEEDED {
        if let Some(refusal) = ask(store, permission).await? {
            notices.push(missing(permission, action, &refusal));
        }
    }
    Ok(notices)
}

/// Why a call is not permitted, if it is not.
async fn ask(store: &Store, permission: &str) -> Result<Option<Refusal>, Failure> {
    let secrets = &store.secrets;
    let asked = match permission {
        "List" => {
            call(|| async {
                let options = SecretClientListSecretPropertiesOptions { maxresults: Some(1), ..Default::default() };
                next(&mut secrets.list_secret_properties(Some(options))?.into_pages()).await.transpose().map(drop)
            })
            .await
        }
        "Get" => call(|| async { secrets.get_secret(NAME, None).await.map(drop) }).await,
        "Set" => {
            call(|| async {
                let nothing = RequestContent::try_from(SetSecretParameters::default())?;
                secrets.set_secret(NAME, nothing, None).await.map(drop)
            })
            .await
        }
        "Delete" => store.remove(NAME).await,
        _ => store.purge(NAME).await,
    };
    match asked {
        Err(Failure::Refused(refusal)) if is_permission(&refusal) => Ok(Some(refusal)),
        // Permitted, and refused for another reason: there is nothing of this name.
        Err(Failure::Refused(refusal)) if !matches!(refusal.status, 401 | 403) || is_protection(&refusal) => Ok(None),
        Err(failure) => Err(failure),
        Ok(()) => Ok(None),
    }
}

/// Not the network rules, and not purge protection, which keep everybody out.
fn is_permission(refusal: &Refusal) -> bool {
    let rules = ["ForbiddenByFirewall", "ForbiddenByConnection"];
    refusal.status == 403 && !rules.iter().any(|code| refusal.is(code)) && !is_protection(refusal)
}

/// Nobody may purge; whether we might is not known, and does not matter.
fn is_protection(refusal: &Refusal) -> bool {
    refusal.says("purge protection")
}

fn missing(permission: &str, action: &str, refusal: &Refusal) -> String {
    let lower = permission.to_ascii_lowercase();
    if refusal.action().is_some() || refusal.is("ForbiddenByRbac") {
        let action = refusal.action().unwrap_or(action);
        return format!(
            "Azure does not permit secrets/{lower}: assign the role 'Key Vault Secrets Officer', or one with the data action \
             '{action}', to the identity of this server"
        );
    }
    format!("Azure does not permit secrets/{lower}: add '{permission}' to the secret permissions of its access policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, message: &str) -> Refusal {
        Refusal { status: 403, code: code.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn roles_and_access_policies_have_words_of_their_own() {
        let by_policy =
            missing("Purge", NEEDED[4].1, &refusal("AccessDenied", "does not have secrets purge permission"));
        assert!(by_policy.contains("secrets/purge") && by_policy.contains("'Purge'"), "{by_policy}");
        let action = "Microsoft.KeyVault/vaults/secrets/getSecret/action";
        let by_role = missing("Get", "?", &refusal("ForbiddenByRbac", &format!("Action: '{action}' Resource: 'x'")));
        assert!(by_role.contains("'Key Vault Secrets Officer'") && by_role.contains(action), "{by_role}");
        assert!(!is_permission(&refusal("ForbiddenByFirewall", "Client address is not authorized")));
        assert!(!is_permission(&refusal("ForbiddenByPolicy", "purge protection is enabled for this vault")));
    }
}
