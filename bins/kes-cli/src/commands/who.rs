//! `kes identity info`: what a server knows of an identity, first of all of oneself.

use kes_client::wire::{IdentityInfo, Rules, SelfInfo};
use kes_client::{Client, Error, Identity, Reason};
use kes_crypto::rfc3339;
use serde::Serialize;

use crate::args::{Global, Who};
use crate::commands::{EPHEMERAL, date, identity};
use crate::failure::{Failure, Outcome};
use crate::online;
use crate::output::{self, Output};

/// What is printed: every member, also where it is empty.
#[derive(Debug, Serialize)]
struct Facts {
    identity: String,
    admin: bool,
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Rules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<Rules>,
    /// `null`: the server does not know this identity.
    created_at: Option<String>,
    created_by: String,
    /// Gone after a restart or a reload of the server.
    ephemeral: bool,
}

pub(crate) fn run(global: &Global, output: &Output, who: &Who) -> Outcome {
    let other = who.identity.as_deref().map(identity::named).transpose()?;
    let facts = online(global, async |client| match other {
        Some(identity) => Ok(Facts::of(&identity, client.describe_identity(&identity).await?)),
        None => oneself(&client).await,
    })?;
    let text = output.document(&facts)?.unwrap_or_else(|| text(output, &facts));
    output::print(text)
}

async fn oneself(client: &Client) -> Outcome<Facts> {
    let refused = match client.describe_self().await {
        Ok(info) => return Ok(Facts::of_self(info)),
        Err(error) => error,
    };
    // MinIO KES answers the question to its administrator only. Whoever may ask about identities can ask about himself.
    if let (Some(Reason::IdentityNotFound), Some(identity)) = (refused.reason(), client.identity())
        && let Ok(info) = client.describe_identity(&identity).await
    {
        return Ok(Facts::of(&identity, info));
    }
    match client.identity() {
        Some(identity) if refused.reason() == Some(Reason::IdentityNotFound) => {
            unknown(client, refused, identity).await
        }
        _ => Err(refused.into()),
    }
}

/// Our server answers so if no policy names the caller: that is an answer. A MinIO KES server answers so to everybody but
/// its administrator.
async fn unknown(client: &Client, refused: Error, identity: Identity) -> Outcome<Facts> {
    if client.version().await.is_ok_and(|version| is_ours(&version.version)) {
        return Ok(Facts::without_policy(&identity));
    }
    Err(Failure::from(refused).hint(format!(
        "you are {identity}; this looks like a MinIO KES server, which answers the question to its administrator only"
    )))
}

/// Theirs is the time of a commit, or unknown.
fn is_ours(version: &str) -> bool {
    let parts: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

impl Facts {
    fn of(identity: &Identity, info: IdentityInfo) -> Self {
        Self {
            identity: identity.to_string(),
            admin: info.admin,
            policy: info.policy,
            allow: None,
            deny: None,
            created_at: Some(rfc3339::format(info.created_at)),
            created_by: info.created_by,
            ephemeral: info.ephemeral,
        }
    }

    fn without_policy(identity: &Identity) -> Self {
        Self {
            identity: identity.to_string(),
            admin: false,
            policy: String::new(),
            allow: Some(Rules::new()),
            deny: Some(Rules::new()),
            created_at: None,
            created_by: String::new(),
            ephemeral: false,
        }
    }

    fn of_self(info: SelfInfo) -> Self {
        Self {
            identity: info.identity,
            admin: info.admin,
            policy: info.policy,
            allow: Some(info.allow),
            deny: Some(info.deny),
            created_at: Some(rfc3339::format(info.created_at)),
            created_by: info.created_by,
            ephemeral: info.ephemeral,
        }
    }
}

const NO_POLICY: &str = "none: no policy of the server names this identity, so it may do nothing";

fn text(output: &Output, facts: &Facts) -> String {
    let line = |label: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{label:<12}{value}\n"),
    };
    let mut text = line("Identity", &facts.identity)
        + &line("Policy", if facts.created_at.is_none() { NO_POLICY } else { &facts.policy })
        + &line("Created At", &facts.created_at.as_deref().map(date).unwrap_or_default())
        + &line("Role", if facts.admin { "Admin" } else { "User" })
        + &line("Created By", &facts.created_by)
        + &line("Lasts", if facts.ephemeral { EPHEMERAL } else { "" });
    for (heading, rules) in [(output.green("Allow"), &facts.allow), (output.red("Deny"), &facts.deny)] {
        let Some(rules) = rules.as_ref().filter(|rules| !rules.is_empty()) else { continue };
        text += &format!("\n{heading}:\n");
        for pattern in rules.keys() {
            text += &format!("  · {pattern}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart_by_their_versions() {
        for ours in ["0.1.0", "1.22.333", "1.0.0-rc1+x"] {
            assert!(is_ours(ours), "{ours}");
        }
        for theirs in ["2025-03-12T09-35-18Z", "<unknown>", "", "v0.17.3"] {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }
}
