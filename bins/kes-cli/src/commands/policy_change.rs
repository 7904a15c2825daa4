//! `kes policy create|assign|rm` and `kes identity rm`: changes that hold until the server restarts or reads its
//! configuration again. What is to last stands in that file.

use clap::Args;
use kes_client::Identity;
use kes_client::wire::PolicyRequest;
use kes_config::{File, PolicyFile};
use kes_policy::Policy as Rules;
use serde_json::json;

use crate::args::{Enclave, Forget, Global};
use crate::commands::identity;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::policies::{bytes, refused};
use crate::{input, online};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the policy; one of this name gets the new rules
    pub(crate) name: Option<String>,
    /// `{"allow":[...],"deny":[...]}`, the same in YAML, or a server's configuration that has a policy of this name; `-`
    /// reads standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Assign {
    /// Name of the policy
    pub(crate) policy: Option<String>,
    /// Identities, API keys or certificate files
    #[arg(value_name = "IDENTITY")]
    pub(crate) identities: Vec<String>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Names of the policies
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Do not ask (a terminal is asked otherwise)
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    enclave: Enclave,
}

impl Assign {
    pub(crate) fn new(policy: Option<String>, identity: Option<String>) -> Self {
        Self { policy, identities: identity.into_iter().collect(), enclave: Enclave::default() }
    }
}

pub(crate) fn create(global: &Global, output: &Output, create: &Create) -> Outcome {
    let usage = |text: &str| Failure::usage(text, "kes policy create");
    let name = create.name.as_ref().ok_or_else(|| usage("no policy name specified"))?;
    // Compat: up to v0.17 the file was read from standard input if none was named.
    let file = match create.file.as_deref() {
        None if input::is_interactive() => return Err(usage("no policy file specified")),
        file => file.unwrap_or("-"),
    };
    let policy = read(name, file)?;
    online(global, async |client| {
        let created = client.create_policy(name, &policy).await;
        created.map_err(|error| Failure::from(error).while_doing(format_args!("failed to create policy '{name}'")))
    })?;
    output.done(&json!({ "created": [name] }))
}

/// The rules that a file has for this policy.
fn read(name: &str, file: &str) -> Outcome<PolicyRequest> {
    let shown = if file == "-" { "standard input" } else { file };
    let bytes = bytes(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new(format!("{shown} is not UTF-8")))?;
    let wrong = match PolicyFile::parse(shown, text) {
        Ok(policy) => {
            let texts = |rules: Vec<kes_config::Pattern>| rules.into_iter().map(|rule| rule.text).collect();
            return Ok(PolicyRequest { allow: texts(policy.allow), deny: texts(policy.deny) });
        }
        Err(error) => error,
    };
    // Not a policy alone: perhaps a whole configuration.
    let is_server =
        wrong.place().is_some_and(|place| text.contains("policy:") && !matches!(place.key.as_str(), "allow" | "deny"));
    if !is_server {
        return Err(refused(&wrong));
    }
    let loaded = File::from_text(shown, text).load().map_err(|error| refused(&error))?;
    let policy = loaded.config.policies.policies().find(|policy| policy.name().as_str() == name);
    let policy = policy.ok_or_else(|| Failure::new(format!("{shown} has no policy '{name}'")))?;
    Ok(request(policy))
}

fn request(policy: &Rules) -> PolicyRequest {
    let texts = |rules: &[kes_policy::Rule]| rules.iter().map(|rule| rule.as_str().to_owned()).collect();
    PolicyRequest { allow: texts(policy.allow()), deny: texts(policy.deny()) }
}

pub(crate) fn assign(global: &Global, output: &Output, assign: &Assign) -> Outcome {
    let usage = |text: &str| Failure::usage(text, "kes policy assign");
    let policy = assign.policy.as_ref().ok_or_else(|| usage("no policy name specified"))?;
    if assign.identities.is_empty() {
        return Err(usage("no identity specified"));
    }
    let identities = named(&assign.identities)?;
    online(global, async |client| {
        for identity in &identities {
            let assigned = client.assign_policy(policy, identity.as_str()).await;
            let what = format_args!("failed to assign policy '{policy}' to '{identity}'");
            assigned.map_err(|error| Failure::from(error).while_doing(what))?;
        }
        Ok(())
    })?;
    output.done(&json!({ "policy": policy, "assigned": texts(&identities) }))
}

pub(crate) fn remove(global: &Global, output: &Output, remove: &Remove) -> Outcome {
    if remove.names.is_empty() {
        return Err(Failure::usage("no policy name specified", "kes policy rm"));
    }
    agreed(remove.yes, &format!("Delete policy {}? Its members may do nothing then.", remove.names.join(", ")))?;
    online(global, async |client| {
        for name in &remove.names {
            let deleted = client.delete_policy(name).await;
            deleted
                .map_err(|error| Failure::from(error).while_doing(format_args!("failed to remove policy '{name}'")))?;
        }
        Ok(())
    })?;
    output.done(&json!({ "removed": remove.names }))
}

/// `kes identity rm`.
pub(crate) fn forget(global: &Global, output: &Output, forget: &Forget) -> Outcome {
    if forget.identities.is_empty() {
        return Err(Failure::usage("no identity specified", "kes identity rm"));
    }
    let identities = named(&forget.identities)?;
    agreed(forget.yes, &format!("Take the policy away from {}?", texts(&identities).join(", ")))?;
    online(global, async |client| {
        for identity in &identities {
            let deleted = client.delete_identity(identity.as_str()).await;
            let what = format_args!("failed to remove identity '{identity}'");
            deleted.map_err(|error| Failure::from(error).while_doing(what))?;
        }
        Ok(())
    })?;
    output.done(&json!({ "removed": texts(&identities) }))
}

fn texts(identities: &[Identity]) -> Vec<&str> {
    identities.iter().map(Identity::as_str).collect()
}

fn named(arguments: &[String]) -> Outcome<Vec<Identity>> {
    arguments.iter().map(|argument| identity::named(argument)).collect()
}

/// Asks whoever sits at the terminal.
pub(crate) fn agreed(yes: bool, question: &str) -> Outcome {
    if yes || !input::is_interactive() || input::confirm(&format!("{question} [y/N] "))? {
        return Ok(());
    }
    Err(Failure::new("nothing was deleted"))
}
