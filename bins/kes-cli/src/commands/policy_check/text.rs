//! The answer for people.

use std::fmt::Write;

use super::verdict::{At, Reason, RuleAt, Verdict};
use crate::output::Output;

/// Width of the labels.
const LABEL: usize = 10;

/// One fact a line, the answer first.
pub(super) fn verdict(output: &Output, verdict: &Verdict) -> String {
    let request = match &verdict.method {
        Some(method) => format!("{method} {}", verdict.path),
        None => verdict.path.clone(),
    };
    let mut text = format!("{} {}\n", heading(output, verdict.allowed), safe(&request));
    if let Some(identity) = &verdict.identity {
        let name = verdict.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        fact(&mut text, "identity", &format!("{identity}{name}{}", at(output, verdict.identity_at.as_ref())));
    }
    if let Some(policy) = &verdict.policy {
        fact(&mut text, "policy", policy);
    }
    fact(&mut text, "because", &because(output, verdict));
    if let Some(nearest) = &verdict.nearest {
        fact(&mut text, "nearest", &rule(output, nearest));
    }
    if !verdict.matches_as.is_empty() {
        fact(
            &mut text,
            "read as",
            &format!("{} (policy_match: {})", reading(&verdict.matches_as), verdict.policy_match),
        );
    }
    if !verdict.otherwise_with.is_empty() {
        let other = if verdict.allowed { "denied" } else { "allowed" };
        let settings = verdict.otherwise_with.join(" or ");
        fact(&mut text, "mind", &format!("{other} with compat.policy_match: {settings}"));
    }
    let mut label = "to allow";
    for change in &verdict.to_allow {
        fact(&mut text, label, &format!("{}{}", safe(&change.what), at(output, change.at.as_ref())));
        for (position, line) in change.lines.iter().enumerate() {
            let or = if position == 0 { "" } else { "     or, for all of them" };
            let _ = writeln!(text, "{:LABEL$}    {}{or}", "", safe(line));
        }
        label = if change.lines.is_empty() { "and" } else { "or" };
    }
    for note in &verdict.notes {
        fact(&mut text, "note", &safe(note));
    }
    text
}

fn because(output: &Output, verdict: &Verdict) -> String {
    match (verdict.reason, &verdict.rule) {
        (Reason::AllowRule | Reason::DenyRule, Some(decides)) => rule(output, decides),
        (Reason::Administrator, _) => "the administrator passes every check".to_owned(),
        (Reason::UnknownIdentity, _) => "no policy names this identity".to_owned(),
        (Reason::TlsProxy, _) => "a TLS proxy acts for its clients and has no rights of its own".to_owned(),
        (Reason::OpenRoute, _) => "the route is answered without asking a policy".to_owned(),
        (Reason::SkipAuth, _) => "the configuration says skip_auth for this route".to_owned(),
        (Reason::NoRule | Reason::AllowRule | Reason::DenyRule, _) => "no rule allows it".to_owned(),
    }
}

fn reading(readings: &[&str]) -> String {
    match readings {
        ["head"] => "text with a `*` at its end, as releases since 2023-10-24 do",
        ["glob"] => "a glob, as releases up to 2023-10-03 did",
        _ => "text or as a glob, which is the same here",
    }
    .to_owned()
}

pub(super) fn heading(output: &Output, allowed: bool) -> String {
    // The same width, so that the requests of several answers stand below each other.
    match allowed {
        true => format!("{}   ", output.green("allowed")),
        false => format!("{}    ", output.red("denied")),
    }
}

pub(super) fn rule(output: &Output, rule: &RuleAt) -> String {
    format!("{} {}{}", rule.effect, safe(&rule.pattern), at(output, rule.at.as_ref()))
}

fn at(output: &Output, at: Option<&At>) -> String {
    at.map(|at| format!("  {}", output.faint(&at.to_string()))).unwrap_or_default()
}

fn fact(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "{label:<LABEL$} {value}");
}

/// Text from files and servers without anything that a terminal acts upon.
pub(super) fn safe(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
