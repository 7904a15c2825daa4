//! What is worth telling an operator about the rules of a policy, as values.

use crate::glob::Malformed;
use crate::name::PolicyName;
use crate::reach::Reading;
use crate::routes::{ROUTES, Route, Standing, Tail};
use crate::rule::{Matching, Rule};
use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Harmless; real-world files contain it. Worth a line where an operator asks for all of them.
    Note,
    /// The rule does not do what it looks like. Print it; the policy can be used.
    Warning,
    /// A refusal the operator wrote has no effect. The policy must not be used.
    Error,
}

/// The list a rule stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Under `allow`.
    Allow,
    /// Under `deny`.
    Deny,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// What is wrong or remarkable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The pattern is no glob.
    Malformed(Malformed),
    /// No request can match: nothing under this path exists. `nearest` is the pattern that was probably meant.
    Dead {
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// No request can match, because what follows the route's path is missing: `/v1/key/list` for `/v1/key/list/*`.
    MissingTail(&'static Route),
    /// No request can match, because no name can look like the end of the pattern.
    ImpossibleName(&'static Route),
    /// An allow rule for a route that changes policies: whoever it is for can have every right.
    Delegates(&'static Route),
    /// An allow rule reaches a route that changes policies, and does not count there because it does not begin with it.
    NotNamed(&'static Route),
    /// Only a route that older releases had can match. Harmless.
    Gone(&'static Route),
    /// A deny rule for a route that is answered without asking a policy.
    Unguarded(&'static Route),
    /// No request can match as the set [`Matching`] reads the pattern, but these routes are reached by the other reading.
    OtherReading(Vec<&'static Route>),
    /// An allow rule reaches several APIs, because its last `*` also matches `/`.
    ReachesSeveral(Vec<&'static Route>),
    /// The rule works as a glob, which releases since 2023-10-24 ignored.
    Revived(Vec<&'static Route>),
}

/// One remark about one rule.
///
/// `Display` gives the sentence, [`hint`](Self::hint) what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The policy that holds the rule.
    pub policy: PolicyName,
    /// The list the rule stands in.
    pub effect: Effect,
    /// The rule's position in that list, from 0.
    pub index: usize,
    /// The pattern as written.
    pub pattern: String,
    /// What it is about.
    pub kind: Kind,
}

impl Finding {
    /// What to write instead, if there is something better than leaving the rule out.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            Kind::Malformed(_) => Some("put a `\\` before a `[`, `]`, `-` or `\\` that means itself".to_owned()),
            Kind::Dead { nearest } => nearest.as_ref().map(|pattern| format!("did you mean `{pattern}`?")),
            Kind::MissingTail(route) => Some(format!("write `{}`", route.pattern())),
            Kind::ImpossibleName(_) => Some("names are 1-80 of 0-9 A-Z a-z _ and -, and contain no `/`".to_owned()),
            Kind::Delegates(_) => Some(
                "leave the rule out if its members are not meant to be administrators, or set \
                 `compat.ephemeral_policies: off`"
                    .to_owned(),
            ),
            Kind::NotNamed(route) => Some(format!("write `{}` if that is meant", route.pattern())),
            Kind::Gone(_) => None,
            Kind::Unguarded(_) => Some("leave the rule out".to_owned()),
            Kind::OtherReading(_) => Some("set `compat.policy_match: both`, or name each path".to_owned()),
            Kind::ReachesSeveral(routes) => {
                let patterns: Vec<_> = routes.iter().take(3).map(|route| format!("`{}`", route.pattern())).collect();
                Some(format!("name the APIs that are meant, one rule each, such as {}", patterns.join(", ")))
            }
            Kind::Revived(_) => Some(match self.effect {
                Effect::Allow => "if that is too much, name each path, or set `compat.policy_match: head`".to_owned(),
                Effect::Deny => {
                    "check that nobody relies on it; `compat.policy_match: head` ignores it again".to_owned()
                }
            }),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:?}`: a pattern may hold line breaks, and this sentence goes to logs.
        write!(f, "policy '{}': the {} rule {:?} ", self.policy, self.effect, self.pattern)?;
        match &self.kind {
            Kind::Malformed(why) => write!(f, "is malformed: {why}"),
            Kind::Dead { .. } => f.write_str("matches no request: there is no such API"),
            Kind::MissingTail(route) => write!(f, "matches no request: something always follows {}", route.path),
            Kind::ImpossibleName(route) => {
                write!(f, "matches no request: no name after {} looks like that", route.path)
            }
            Kind::Delegates(route) => {
                write!(f, "is for {}, which changes policies: its members can give themselves every right", route.path)
            }
            Kind::NotNamed(route) => {
                write!(f, "allows nothing: only a rule that begins with {} allows requests there", route.path)
            }
            Kind::Gone(route) => write!(f, "is for {}, which older releases had; it is harmless", route.path),
            Kind::Unguarded(route) => {
                write!(f, "has no effect: {} is answered without asking a policy", route.path)
            }
            Kind::OtherReading(routes) => {
                write!(
                    f,
                    "matches no request as `compat.policy_match` is set; read the other way it is for {}",
                    List(routes)
                )
            }
            Kind::ReachesSeveral(routes) => {
                let count = routes.len();
                write!(f, "reaches {count} APIs, because its `*` also matches `/`: {}", List(routes))
            }
            Kind::Revived(routes) => {
                let verb = match self.effect {
                    Effect::Allow => "allows",
                    Effect::Deny => "refuses",
                };
                write!(f, "{verb} requests on {}; releases since 2023-10-24 ignored it", List(routes))
            }
        }
    }
}

/// Routes for a sentence, cut after four.
struct List<'a>(&'a [&'static Route]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, route) in self.0.iter().take(4).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{}", route.path)?;
        }
        match self.0.len() {
            0..=4 => Ok(()),
            more => write!(f, " and {} more", more - 4),
        }
    }
}

/// Judges one rule. At most one remark comes back: the one that explains the most.
pub(crate) fn judge(rule: &Rule, effect: Effect, matching: Matching) -> Option<(Severity, Kind)> {
    if let Some(why) = rule.malformed() {
        let severity = match effect {
            Effect::Allow => Severity::Warning,
            // Departs from upstream: a deny rule that cannot be read stops the start. HEAD takes it literally and so
            // lets everything pass that it was written against.
            Effect::Deny => Severity::Error,
        };
        return Some((severity, Kind::Malformed(why)));
    }
    let head: Vec<_> = Reading::head(rule).map(|reading| reading.routes().collect()).unwrap_or_default();
    let glob: Vec<_> = Reading::glob(rule).map(|reading| reading.routes().collect()).unwrap_or_default();
    let (read, unread) = match matching {
        Matching::Both if rule.is_glob() => (union(&head, &glob), Vec::new()),
        Matching::Both => (head.clone(), Vec::new()),
        Matching::Head => (head.clone(), asks(&glob)),
        Matching::Glob => (glob.clone(), asks(&head)),
    };
    let named: Vec<_> = read.iter().copied().filter(|route| route.standing == Standing::Named).collect();
    if effect == Effect::Allow
        && let Some(route) = named.iter().find(|route| rule.is_written_for(route.path))
    {
        return Some((Severity::Warning, Kind::Delegates(route)));
    }
    let asked = asks(&read);
    if asked.is_empty() {
        return match (named.first(), effect) {
            (Some(route), Effect::Allow) => Some((Severity::Warning, Kind::NotNamed(route))),
            // As good as any other refusal.
            (Some(_), Effect::Deny) => None,
            (None, _) => idle(rule, effect, &read, unread),
        };
    }
    let asked_at_head = asks(&head);
    if asked_at_head.is_empty() && matching == Matching::Both {
        return Some((Severity::Warning, Kind::Revived(asked)));
    }
    let guarded: Vec<_> = asked_at_head.into_iter().filter(|route| route.standing == Standing::Guarded).collect();
    let crosses = guarded.iter().any(|route| !glob.contains(route));
    if effect == Effect::Allow && matching != Matching::Glob && guarded.len() > 1 && crosses {
        return Some((Severity::Warning, Kind::ReachesSeveral(guarded)));
    }
    None
}

/// Why a rule that no policed request can match is there.
fn idle(rule: &Rule, effect: Effect, read: &[&'static Route], unread: Vec<&'static Route>) -> Option<(Severity, Kind)> {
    if let Some(route) = read.iter().find(|route| route.standing == Standing::Open) {
        return match effect {
            Effect::Allow => None, // says what is true anyway
            Effect::Deny => Some((Severity::Warning, Kind::Unguarded(route))),
        };
    }
    if !unread.is_empty() {
        return Some((Severity::Warning, Kind::OtherReading(unread)));
    }
    if let Some(route) = read.iter().find(|route| route.standing == Standing::Gone) {
        return Some((Severity::Note, Kind::Gone(route)));
    }
    let pattern = rule.as_str();
    let bare = pattern.strip_suffix('/').unwrap_or(pattern);
    if let Some(route) = ROUTES.iter().find(|route| route.path.strip_suffix('/') == Some(bare)) {
        // MinIO's own pages publish `/v1/key/bulk/decrypt` without its end: a note, not a warning at each start.
        return Some(match route.standing {
            Standing::Gone => (Severity::Note, Kind::Gone(route)),
            Standing::Legacy | Standing::Named => (Severity::Note, Kind::MissingTail(route)),
            Standing::Guarded | Standing::Open => (Severity::Warning, Kind::MissingTail(route)),
        });
    }
    let kind = match ROUTES.iter().find(|route| route.tail != Tail::Nothing && pattern.starts_with(route.path)) {
        Some(route) => Kind::ImpossibleName(route),
        None => Kind::Dead { nearest: nearest_pattern(pattern) },
    };
    Some((Severity::Warning, kind))
}

/// Those whose requests a policy is asked about.
fn asks(routes: &[&'static Route]) -> Vec<&'static Route> {
    let asked = |route: &&Route| matches!(route.standing, Standing::Guarded | Standing::Legacy);
    routes.iter().copied().filter(asked).collect()
}

fn union(one: &[&'static Route], other: &[&'static Route]) -> Vec<&'static Route> {
    ROUTES.iter().filter(|route| one.contains(route) || other.contains(route)).collect()
}

/// The pattern that a mistyped one probably stands for: the same end after the route that differs least.
fn nearest_pattern(pattern: &str) -> Option<String> {
    const MOST_DIFFERENCES: usize = 3;
    let rooted = format!("/{}", pattern.trim().trim_start_matches('/'));
    ROUTES
        .iter()
        .filter(|route| route.standing == Standing::Guarded)
        .filter_map(|route| {
            let (start, tail) = split_after_segments(&rooted, route.path.matches('/').count(), route.tail);
            let differences = edit_distance(&start.to_ascii_lowercase(), route.path);
            let tail = if tail.is_empty() && route.tail != Tail::Nothing { "*" } else { tail };
            (differences <= MOST_DIFFERENCES).then(|| (differences, format!("{}{tail}", route.path)))
        })
        .min_by_key(|(differences, _)| *differences)
        .map(|(_, meant)| meant)
}

/// Cuts `pattern` behind its `slashes`-th slash, or takes it whole if nothing may follow.
fn split_after_segments(pattern: &str, slashes: usize, tail: Tail) -> (&str, &str) {
    match pattern.match_indices('/').nth(slashes.saturating_sub(1)) {
        Some((at, _)) if tail != Tail::Nothing => pattern.split_at(at + 1),
        _ => (pattern, ""),
    }
}

/// How many bytes must be inserted, removed or replaced to turn one text into the other (Levenshtein).
fn edit_distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests;
