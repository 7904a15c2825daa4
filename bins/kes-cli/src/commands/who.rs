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
    created_at: String,
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
    Err(unknown(refused, client.identity()))
}

fn unknown(refused: Error, identity: Option<Identity>) -> Failure {
    let is_unknown = refused.reason() == Some(Reason::IdentityNotFound);
    let failure = Failure::from(refused);
    match identity {
        Some(identity) if is_unknown => failure.hint(format!(
            "you are {identity}: no policy of the server names you\n\
                 or it is a MinIO KES server, which answers this question to its administrator only"
        )),
        _ => failure,
    }
}

impl Facts {
    fn of(identity: &Identity, info: IdentityInfo) -> Self {
        Self {
            identity: identity.to_string(),
            admin: info.admin,
            policy: info.policy,
            allow: None,
            deny: None,
            created_at: rfc3339::format(info.created_at),
            created_by: info.created_by,
            ephemeral: info.ephemeral,
        }
    }

    fn of_self(info: SelfInfo) -> Self {
        Self {
            identity: info.identity,
            admin: info.admin,
            policy: info.policy,
            allow: Some(info.allow),
            deny: Some(info.deny),
            created_at: rfc3339::format(info.created_at),
            created_by: info.created_by,
            ephemeral: info.ephemeral,
        }
    }
}

fn text(output: &Output, facts: &Facts) -> String {
    let line = |label: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{label:<12}{value}\n"),
    };
    let mut text = line("Identity", &facts.identity)
        + &line("Policy", &facts.policy)
        + &line("Created At", &date(&facts.created_at))
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
