//! `policy`: which identities may request what.

use crate::error::{Error, ErrorKind, Place, Warning};
use crate::nearest;
use crate::section::{Placed, Section, Text};
use crate::tls::{Admin, HASH};
use kes_identity::Identity;
use kes_policy::{Effect, Matching, Policy, PolicyName, PolicySet, Severity};
use std::collections::HashSet;

/// One policy as it is written.
pub(crate) struct Draft<'a> {
    name: &'a str,
    place: Place,
    allow: Vec<Placed<String>>,
    deny: Vec<Placed<String>>,
    members: Vec<Text>,
    /// A key that is nearly `allow`, `deny` or `identities`.
    mistyped: Option<(Place, &'a str, &'static str)>,
}

const KEYS: [&str; 3] = ["allow", "deny", "identities"];

pub(crate) fn read<'a>(root: &Section<'a>) -> Vec<Draft<'a>> {
    let policies = root.section("policy");
    let draft = |(name, policy): (&'a str, Section<'a>)| Draft {
        name,
        place: policy.here(),
        allow: policy.literals("allow"),
        deny: policy.literals("deny"),
        members: policy.texts("identities"),
        mistyped: policy.keys().find_map(|key| Some((policy.place(key), key, mistyped(key)?))),
    };
    policies.sections().map(draft).collect()
}

/// Decision 29: a mistyped `deny` or `identities` changes who may use keys, so it is no mere warning.
fn mistyped(key: &str) -> Option<&'static str> {
    let near = |known: &&str| nearest::distance(&key.to_lowercase(), known) <= 2;
    KEYS.into_iter().find(near).filter(|_| !KEYS.contains(&key))
}

/// Steps 7 and 8 of config.md 3.
pub(crate) fn check(root: &Section<'_>, policies: &[Draft<'_>], admin: Option<&Admin>, proxies: &[Text]) {
    let admin = admin.map(Admin::as_str);
    for Draft { name, members, mistyped, .. } in policies {
        if let Some((place, key, meant)) = mistyped {
            let text = format!("kesconf: invalid policy '{name}': unknown key '{key}'");
            let error = Error::new(ErrorKind::Invalid, text).at(place.clone());
            root.refuse(error.hint(format!("did you mean '{meant}'?")));
        }
        for member in members {
            let id = member.as_str();
            let taken = match id {
                _ if Some(id) == admin => "admin",
                _ if proxies.iter().any(|proxy| proxy.as_str() == id) => "a TLS proxy",
                _ => continue,
            };
            let error = member.error(format!("kesconf: invalid policy '{name}': identity '{id}' is already {taken}"));
            root.refuse(error.hint(match taken {
                "admin" => "remove it here (the administrator needs no policy), or give 'admin.identity' another value, such as disabled",
                _ => "remove it here: a proxy acts for its clients and has no rights of its own",
            }));
        }
    }
}

/// Where a policy stands in the file, for tools that tell which line decides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicySource {
    /// The policy.
    pub name: PolicyName,
    /// Where its block begins.
    pub place: Place,
    /// The places of its rules, in the order of [`Policy::allow`].
    pub allow: Vec<Place>,
    /// The places of its rules, in the order of [`Policy::deny`].
    pub deny: Vec<Place>,
    /// Who has it, in the order of the file.
    pub identities: Vec<IdentitySource>,
}

/// Where an identity is given its policy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IdentitySource {
    /// The identity.
    pub identity: Identity,
    /// The variable that it came from: `NAME` of `${NAME}`.
    pub variable: Option<String>,
    /// Where it stands.
    pub place: Place,
}

impl PolicySource {
    fn new(name: PolicyName, draft: &Draft<'_>, members: &[Identity]) -> Self {
        let places = |rules: &[Placed<String>]| rules.iter().map(|rule| rule.place.clone()).collect();
        let identity = |(text, identity): (&Text, &Identity)| IdentitySource {
            identity: identity.clone(),
            variable: text.variable.clone(),
            place: text.place.clone(),
        };
        Self {
            name,
            place: draft.place.clone(),
            allow: places(&draft.allow),
            deny: places(&draft.deny),
            identities: draft.members.iter().zip(members).map(identity).collect(),
        }
    }
}

/// What became of the policies: the set, and what is worth telling about their rules.
pub(crate) struct Built {
    pub(crate) set: PolicySet,
    /// In the order of the file.
    pub(crate) sources: Vec<PolicySource>,
    pub(crate) warnings: Vec<Warning>,
    /// Harmless things.
    pub(crate) notes: Vec<Warning>,
}

/// Step 18 of config.md 3: names and identities, then the rules.
pub(crate) fn build(root: &Section<'_>, drafts: &[Draft<'_>], matching: Matching) -> Built {
    let mut built = Built { set: PolicySet::default(), sources: Vec::new(), warnings: Vec::new(), notes: Vec::new() };
    let mut builder = PolicySet::builder();
    let mut assigned = HashSet::new();
    for draft in drafts {
        let name: PolicyName = match draft.name.parse() {
            Ok(name) => name,
            Err(error) => {
                let error: kes_policy::Error = error;
                let hint = "a name is 1 to 80 of 0-9 A-Z a-z _ and -, not '_' alone, with no '-' at either end";
                let error = Error::new(ErrorKind::Invalid, format!("kes: {error}")).at(draft.place.clone());
                root.refuse(error.hint(hint));
                continue;
            }
        };
        let members = members(root, draft, &name, &mut assigned, &mut built.warnings);
        built.sources.push(PolicySource::new(name.clone(), draft, &members));
        builder = builder.policy(rules(root, draft, name, matching, &mut built), members);
    }
    match builder.build() {
        Ok(set) => built.set = set,
        Err(error) => {
            root.refuse(Error::new(ErrorKind::Invalid, format!("kes: {error}")).at(root.place("policy")));
        }
    }
    built
}

fn members(
    root: &Section<'_>,
    draft: &Draft<'_>,
    name: &PolicyName,
    assigned: &mut HashSet<Identity>,
    warnings: &mut Vec<Warning>,
) -> Vec<Identity> {
    let mut members = Vec::new();
    for text in &draft.members {
        let id = text.as_str();
        let Ok(identity) = id.parse::<Identity>() else {
            let error = text.error(format!("kes: identity '{id}' is empty, too long or contains invalid characters"));
            root.refuse(error.hint(match &text.variable {
                Some(variable) if id.is_empty() => format!("the variable {variable} is set, but empty"),
                _ => HASH.to_owned(),
            }));
            continue;
        };
        if !assigned.insert(identity.clone()) {
            let message = format!("kes: cannot assign policy '{name}' to '{id}': identity already has a policy");
            root.refuse(text.error(message).hint("name each identity once, in one policy"));
            continue;
        }
        if !identity.is_hash() {
            let message = format!("policy '{name}': the identity '{id}' matches nobody");
            warnings.push(Warning { message, place: text.place.clone(), hint: Some(HASH.to_owned()) });
        }
        members.push(identity);
    }
    members
}

fn rules(root: &Section<'_>, draft: &Draft<'_>, name: PolicyName, matching: Matching, built: &mut Built) -> Policy {
    let patterns = |rules: &[Placed<String>]| rules.iter().map(|rule| rule.value.clone()).collect::<Vec<_>>();
    let (policy, findings) = Policy::new(name, &patterns(&draft.allow), &patterns(&draft.deny), matching);
    for finding in findings {
        let rules = match finding.effect {
            Effect::Allow => &draft.allow,
            Effect::Deny => &draft.deny,
        };
        let place = rules.get(finding.index).map_or_else(|| draft.place.clone(), |rule| rule.place.clone());
        let (message, hint) = (finding.to_string(), finding.hint());
        match finding.severity {
            Severity::Note => built.notes.push(Warning { message, place, hint }),
            Severity::Warning => built.warnings.push(Warning { message, place, hint }),
            Severity::Error => {
                let error = Error::new(ErrorKind::Invalid, format!("kesconf: invalid {message}")).at(place);
                root.refuse(hint.into_iter().fold(error, |error, hint| error.hint(hint)));
            }
        }
    }
    policy
}
