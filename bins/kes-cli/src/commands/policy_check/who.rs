//! Who may make a request: the answer for all policies of a configuration.

use kes_policy::Matching;
use serde::Serialize;

use super::request::Request;
use super::subject::{Asked, Subject};
use super::text;
use super::verdict::{Reason, RuleAt, Verdict};
use crate::failure::Outcome;
use crate::output::{self, Output};
use crate::policies::PolicyConfig;

#[derive(Serialize)]
struct Who {
    /// Whether anybody may.
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    path: String,
    /// Whether nobody is asked who he is.
    everybody: bool,
    /// Who passes every check, if there is such a one.
    #[serde(skip_serializing_if = "Option::is_none")]
    administrator: Option<String>,
    policies: Vec<Policy>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Policy {
    policy: String,
    allowed: bool,
    identities: usize,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleAt>,
}

/// Exit status 5 if nobody may.
pub(super) fn run(output: &Output, config: &PolicyConfig, request: &Request, matching: Matching) -> Outcome {
    let asked = Asked::of_config(config, None, None, matching)?;
    let nobody = Verdict::of(&asked, request, &[]);
    let admin = &config.loaded.config.admin;
    let policies: Vec<_> = super::all(config, matching)
        .into_iter()
        .map(|rules| {
            let identities = rules.members.unwrap_or_default();
            let holder = Asked { subject: Subject::Holder(Box::new(rules)), ..blank(&asked) };
            let verdict = Verdict::of(&holder, request, &[]);
            let (allowed, reason, rule) = (verdict.allowed, verdict.reason, verdict.rule);
            Policy { policy: verdict.policy.unwrap_or_default(), allowed, identities, reason, rule }
        })
        .collect();
    let administrator = admin.identity().map(|admin| admin.to_string());
    let administrator = administrator.or_else(|| config.is_open(admin.as_str()).then(|| config.show(admin.as_str())));
    let who = Who {
        allowed: nobody.allowed
            || administrator.is_some()
            || policies.iter().any(|one| one.allowed && one.identities > 0),
        method: request.method.clone(),
        path: request.path.clone(),
        everybody: nobody.allowed,
        administrator,
        policies,
        notes: nobody.notes,
    };
    let document = output.document(&who)?;
    output::print(document.unwrap_or_else(|| shown(output, &who, request)))?;
    super::ended(who.allowed)
}

/// The same question about somebody else.
fn blank(asked: &Asked) -> Asked {
    Asked {
        identity: None,
        name: None,
        place: None,
        subject: Subject::Unknown,
        skip_auth: asked.skip_auth.clone(),
        legacy_routes: asked.legacy_routes,
        ephemeral_policies: asked.ephemeral_policies,
        matching: asked.matching,
        unset: Vec::new(),
        notes: Vec::new(),
    }
}

fn shown(output: &Output, who: &Who, request: &Request) -> String {
    let mut text = format!("{}{}\n", output.bold("who may  "), text::safe(&request.to_string()));
    if who.everybody {
        return text + "everybody: the route is answered without asking a policy\n";
    }
    if let Some(admin) = &who.administrator {
        text += &format!("{}the administrator {admin}\n", text::heading(output, true));
    }
    let width = who.policies.iter().map(|one| one.policy.len()).max().unwrap_or_default();
    for one in &who.policies {
        let rule = match &one.rule {
            Some(rule) => text::rule(output, rule),
            None => "no rule allows it".to_owned(),
        };
        let many = match one.identities {
            1 => "1 identity".to_owned(),
            many => format!("{many} identities"),
        };
        text += &format!("{}{:width$}  {many:>14}  {rule}\n", text::heading(output, one.allowed), one.policy);
    }
    for note in &who.notes {
        text += &format!("note: {}\n", text::safe(note));
    }
    text
}
