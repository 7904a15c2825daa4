//! `kes policy …`: what policies a server has, and what they say.

use clap::{Args, Subcommand};
use kes_client::wire::{PolicyInfo, PolicyRules, Rules};
use kes_crypto::rfc3339;
use serde::Serialize;

use crate::args::{Enclave, Global, Pattern};
use crate::commands::matrix;
use crate::commands::policy_change::{self, Assign, Create, Remove};
use crate::commands::policy_check::{self, Check};
use crate::commands::{EPHEMERAL, date, list};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::{help, online};

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Tell whether a request is allowed, and by which rule
    #[command(after_help = policy_check::HELP)]
    Check(Check),
    /// Show who may do what to which keys
    #[command(after_help = matrix::HELP)]
    Matrix(matrix::Arguments),
    /// Show when and by whom a policy was made
    #[command(after_help = help::POLICY_INFO)]
    Info(PolicyName),
    /// List policies
    #[command(alias = "list", after_help = help::POLICY_LS)]
    Ls(Pattern),
    /// Show the rules of a policy
    #[command(after_help = help::POLICY_SHOW)]
    Show(PolicyName),
    /// Make a policy, or give one new rules, until the server restarts
    #[command(aliases = ["add", "write"], after_help = help::POLICY_CREATE)]
    Create(Create),
    /// Give identities a policy, until the server restarts
    #[command(after_help = help::POLICY_ASSIGN)]
    Assign(Assign),
    /// Delete policies, until the server restarts
    #[command(alias = "delete", after_help = help::POLICY_RM)]
    Rm(Remove),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyName {
    /// Name of the policy
    pub(crate) name: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

pub(crate) fn run(global: &Global, output: &Output, command: Policy) -> Outcome {
    match command {
        Policy::Check(check) => policy_check::run(global, output, &check),
        Policy::Matrix(arguments) => matrix::run(output, &arguments),
        Policy::Info(name) => info(global, output, &name),
        Policy::Ls(pattern) => list::policies(global, output, &pattern),
        Policy::Show(name) => show(global, output, &name),
        Policy::Create(create) => policy_change::create(global, output, &create),
        Policy::Assign(assign) => policy_change::assign(global, output, &assign),
        Policy::Rm(remove) => policy_change::remove(global, output, &remove),
    }
}

#[derive(Serialize)]
struct Info {
    name: String,
    created_at: String,
    created_by: String,
    ephemeral: bool,
}

fn info(global: &Global, output: &Output, PolicyName { name, .. }: &PolicyName) -> Outcome {
    let name = name.as_ref().ok_or_else(|| missing("info"))?;
    let PolicyInfo { created_at, created_by, ephemeral, .. } =
        online(global, async |client| Ok(client.describe_policy(name).await?))?;
    let info = Info { name: name.clone(), created_at: rfc3339::format(created_at), created_by, ephemeral };
    let text = match output.document(&info)? {
        Some(document) => document,
        None => info_text(&info),
    };
    output::print(text)
}

fn info_text(info: &Info) -> String {
    let line = |label: &str, value: &str| format!("{label:<12}{value}\n");
    let mut text =
        line("Name", &info.name) + &line("Date", &date(&info.created_at)) + &line("Created by", &info.created_by);
    if info.ephemeral {
        text += &line("Lasts", EPHEMERAL);
    }
    text
}

#[derive(Serialize)]
struct Shown {
    name: String,
    allow: Rules,
    deny: Rules,
    created_at: String,
    created_by: String,
    ephemeral: bool,
}

fn show(global: &Global, output: &Output, PolicyName { name, .. }: &PolicyName) -> Outcome {
    let name = name.as_ref().ok_or_else(|| missing("show"))?;
    let PolicyRules { allow, deny, created_at, created_by, ephemeral, .. } = online(global, async |client| {
        let read = client.read_policy(name).await;
        read.map_err(|error| Failure::from(error).while_doing(format_args!("failed to show policy '{name}'")))
    })?;
    let shown =
        Shown { name: name.clone(), allow, deny, created_at: rfc3339::format(created_at), created_by, ephemeral };
    // Compat: scripts read the rules from a pipe without asking for JSON.
    if output.is_pipe_form() {
        return output::print(output::json(&shown) + "\n");
    }
    if let Some(document) = output.document(&shown)? {
        return output::print(document);
    }
    output::print(rules_text(output, &shown))
}

/// The text of the old command, with the rules sorted.
fn rules_text(output: &Output, shown: &Shown) -> String {
    let mut text = String::new();
    for (heading, rules) in [(output.green("Allow:"), &shown.allow), (output.red("Deny:"), &shown.deny)] {
        if rules.is_empty() {
            continue;
        }
        text += &format!("{heading}\n");
        text.extend(rules.keys().map(|pattern| format!("  · {pattern}\n")));
        text.push('\n');
    }
    let by = if shown.created_by.is_empty() { "<unknown>" } else { &shown.created_by };
    let lasts = if shown.ephemeral { format!("Lasts: {EPHEMERAL}\n") } else { String::new() };
    text + &format!("Created at: {}\nCreated by: {by}\n{lasts}", date(&shown.created_at))
}

fn missing(command: &str) -> Failure {
    Failure::usage("no policy name specified", &format!("kes policy {command}"))
}
