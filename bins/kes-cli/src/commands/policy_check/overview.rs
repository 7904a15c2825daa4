//! What somebody may do at all: one line for each route.

use kes_policy::{ROUTES, Reach, Route, Standing, Tail};
use serde::Serialize;

use super::subject::{Asked, Subject, word};
use super::text::safe;
use super::verdict::At;
use crate::failure::Outcome;
use crate::output::{self, Output};

#[derive(Serialize)]
struct Overview {
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_at: Option<At>,
    administrator: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    policy_match: &'static str,
    routes: Vec<Line>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    path: &'static str,
    /// `all`, `some` or `none` of the requests on the route.
    allowed: &'static str,
    /// Which names, if not all.
    names: Vec<String>,
    /// Which of them not.
    except: Vec<String>,
}

/// Exit status 5 for who may do nothing that is not open to everybody.
pub(super) fn run(output: &Output, asked: &Asked) -> Outcome {
    let standing = |route: &&Route| match route.standing {
        Standing::Guarded | Standing::Open => true,
        Standing::Legacy => asked.legacy_routes,
        Standing::Named => asked.legacy_routes && asked.ephemeral_policies,
        Standing::Gone => false,
    };
    let lines: Vec<_> = ROUTES.iter().filter(standing).map(|route| (route, line(asked, route))).collect();
    let asks = |(route, line): &(&Route, Line)| {
        line.allowed != "none" && route.standing != Standing::Open && !asked.skip_auth.contains(&route.path)
    };
    let may_anything = lines.iter().any(asks);
    let overview = Overview {
        identity: asked.identity.clone(),
        name: asked.name.clone(),
        identity_at: asked.place.as_ref().map(At::of),
        administrator: matches!(asked.subject, Subject::Admin),
        policy: match &asked.subject {
            Subject::Holder(rules) => Some(rules.policy.name().to_string()),
            _ => None,
        },
        policy_match: word(asked.matching),
        routes: lines.into_iter().filter(is_of_interest).map(|(_, line)| line).collect(),
        notes: asked.notes.clone(),
    };
    let document = output.document(&overview)?;
    output::print(document.unwrap_or_else(|| text(output, &overview, asked)))?;
    super::ended(may_anything)
}

/// Routes of older releases are shown to those who may use them.
fn is_of_interest((route, line): &(&Route, Line)) -> bool {
    !matches!(route.standing, Standing::Legacy | Standing::Named) || line.allowed != "none"
}

fn line(asked: &Asked, route: &Route) -> Line {
    let open = route.standing == Standing::Open || asked.skip_auth.contains(&route.path);
    let reach = match &asked.subject {
        Subject::Holder(rules) if !open => rules.policy.reach(route),
        _ => Reach::default(),
    };
    let texts = |names: &[(kes_policy::Names, usize)]| names.iter().map(|(names, _)| names.to_string()).collect();
    let all = open || matches!(asked.subject, Subject::Admin) || reach.is_all();
    let allowed = match all {
        true => "all",
        false if reach.is_empty() => "none",
        false => "some",
    };
    let is_named = allowed == "some" && route.tail != Tail::Nothing;
    Line {
        path: route.path,
        allowed,
        names: if is_named { texts(&reach.allow) } else { Vec::new() },
        except: if is_named { texts(&reach.deny) } else { Vec::new() },
    }
}

fn text(output: &Output, overview: &Overview, asked: &Asked) -> String {
    let mut text = String::new();
    if let Some(identity) = &overview.identity {
        let name = overview.name.as_ref().map(|name| format!(" ({})", safe(name))).unwrap_or_default();
        text += &format!("identity   {identity}{name}\n");
    }
    match (&asked.subject, &overview.policy) {
        (Subject::Admin, _) => text += "role       the administrator, who passes every check\n",
        (Subject::Proxy, _) => text += "role       a TLS proxy: it acts for its clients and has no rights of its own\n",
        (_, Some(policy)) => text += &format!("policy     {policy}\n"),
        _ => text += "policy     none: no policy names this identity\n",
    }
    text.push('\n');
    let width = overview.routes.iter().map(|line| line.path.len()).max().unwrap_or_default();
    for line in &overview.routes {
        let may = match line.allowed {
            "none" => output.faint("no "),
            _ => output.green("yes"),
        };
        let names = if line.allowed == "some" { line.names.join(" ") } else { String::new() };
        let except = if line.except.is_empty() { String::new() } else { format!(" but not {}", line.except.join(" ")) };
        let row = format!("{may}  {:width$}  {}{}", line.path, safe(&names), safe(&except));
        text += row.trim_end();
        text.push('\n');
    }
    for note in &overview.notes {
        text += &format!("\nnote: {}\n", safe(note));
    }
    text
}
