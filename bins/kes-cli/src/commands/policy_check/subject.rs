//! Whose requests are judged, and by which policy: from a configuration, a policy in a file, or a server.

use std::path::Path;

use kes_client::wire::Rules as WireRules;
use kes_client::{Client, Reason};
use kes_config::{Place, PolicyFile, PolicySource};
use kes_identity::{ApiKey, Identity, pem};
use kes_policy::{Matching, Policy, PolicyName, Severity};

use crate::args::Global;
use crate::failure::{Failure, Outcome};
use crate::policies::{self, PolicyConfig};
use crate::{input, online};

/// A policy, and where its rules stand if that is known.
#[derive(Debug)]
pub(super) struct Ruleset {
    pub(super) policy: Policy,
    pub(super) place: Option<Place>,
    pub(super) allow: Vec<Place>,
    pub(super) deny: Vec<Place>,
    /// How many identities have it; unknown for a policy alone.
    pub(super) members: Option<usize>,
}

/// What stands behind an identity.
#[derive(Debug)]
pub(super) enum Subject {
    /// The administrator.
    Admin,
    /// A TLS proxy: it acts for others.
    Proxy,
    /// Somebody with this policy, or the policy itself.
    Holder(Box<Ruleset>),
    /// Nobody gave it a policy.
    Unknown,
}

/// Who is asked about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) identity: Option<String>,
    /// What the file says of the identity.
    pub(super) name: Option<String>,
    /// Where the identity is given its policy.
    pub(super) place: Option<Place>,
    pub(super) subject: Subject,
    /// Routes that are answered without authentication.
    pub(super) skip_auth: Vec<&'static str>,
    /// Whether routes of older releases are answered.
    pub(super) legacy_routes: bool,
    /// Whether policies can be changed over the API.
    pub(super) ephemeral_policies: bool,
    pub(super) matching: Matching,
    /// Variables that are not set here, any of which may hold an identity: `${NAME}`.
    pub(super) unset: Vec<String>,
    /// What should be said beside the answer.
    pub(super) notes: Vec<String>,
}

impl Ruleset {
    fn bare(policy: Policy) -> Self {
        Self { policy, place: None, allow: Vec::new(), deny: Vec::new(), members: None }
    }

    /// A policy of a configuration, read as `matching` says.
    pub(super) fn of(config: &PolicyConfig, source: &PolicySource, matching: Matching) -> Self {
        let policy = config.loaded.config.policies.policy(source.name.as_str()).expect("each source has its policy");
        Self {
            policy: read_as(policy, matching),
            place: Some(source.place.clone()),
            allow: source.allow.clone(),
            deny: source.deny.clone(),
            members: Some(source.identities.len()),
        }
    }
}

/// The same rules in another reading.
pub(super) fn read_as(policy: &Policy, matching: Matching) -> Policy {
    let texts = |rules: &[kes_policy::Rule]| rules.iter().map(|rule| rule.as_str().to_owned()).collect::<Vec<_>>();
    Policy::new(policy.name().clone(), &texts(policy.allow()), &texts(policy.deny()), matching).0
}

impl Asked {
    fn new(subject: Subject, matching: Matching) -> Self {
        Self {
            identity: None,
            name: None,
            place: None,
            subject,
            skip_auth: Vec::new(),
            legacy_routes: true,
            ephemeral_policies: true,
            matching,
            unset: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// An identity or a policy of a configuration.
    pub(super) fn of_config(
        config: &PolicyConfig,
        identity: Option<&Identity>,
        policy: Option<&str>,
        matching: Matching,
    ) -> Outcome<Self> {
        let settings = &config.loaded.config;
        let subject = match (identity, policy) {
            (Some(identity), _) if identity.as_str() == settings.admin.as_str() => Subject::Admin,
            (Some(identity), _) if settings.tls.proxy.identities.contains(identity) => Subject::Proxy,
            (Some(identity), _) => match settings.policies.lookup(identity).map(|policy| policy.name().clone()) {
                Some(name) => holder(config, name.as_str(), matching)?,
                None => Subject::Unknown,
            },
            (None, Some(name)) => holder(config, name, matching)?,
            (None, None) => Subject::Unknown,
        };
        let mut asked = Self::new(subject, matching);
        if let Some(identity) = identity {
            asked.identity = Some(config.show(identity.as_str()));
            asked.name = config.name_of(identity).filter(|_| !config.is_open(identity.as_str())).map(str::to_owned);
            asked.place = config.member(identity).map(|member| member.place.clone());
        }
        asked.unset = config.unset.iter().map(|variable| format!("${{{variable}}}")).collect();
        asked.skip_auth = settings.api.iter().filter(|(_, route)| route.skip_auth).map(|(path, _)| *path).collect();
        asked.legacy_routes = settings.compat.legacy_routes;
        asked.ephemeral_policies = settings.compat.ephemeral_policies;
        Ok(asked)
    }

    /// A policy in a file of its own, or on standard input.
    pub(super) fn of_file(name: &str, matching: Matching) -> Outcome<Self> {
        let shown = if name == "-" { "standard input" } else { name };
        let text = String::from_utf8(policies::bytes(name)?)
            .map_err(|_| Failure::new(format!("{shown} is no policy: it is not text in UTF-8")))?;
        let file = PolicyFile::parse(shown, &text).map_err(|error| policies::refused(&error))?;
        let stem = || Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let named = file.name.clone().unwrap_or_else(stem);
        let named: PolicyName = named.parse().unwrap_or_else(|_| "policy".parse().expect("a name"));
        let texts =
            |patterns: &[kes_config::Pattern]| patterns.iter().map(|rule| rule.text.clone()).collect::<Vec<_>>();
        let places =
            |patterns: &[kes_config::Pattern]| patterns.iter().map(|rule| rule.place.clone()).collect::<Vec<_>>();
        let (policy, findings) = Policy::new(named, &texts(&file.allow), &texts(&file.deny), matching);
        if let Some(finding) = findings.iter().find(|finding| finding.severity == Severity::Error) {
            let failure = Failure::new(format!("invalid {finding}"));
            return Err(finding.hint().into_iter().fold(failure, Failure::hint));
        }
        let mut rules = Ruleset::bare(policy);
        (rules.allow, rules.deny) = (places(&file.allow), places(&file.deny));
        let mut asked = Self::new(Subject::Holder(Box::new(rules)), matching);
        asked.notes = findings.iter().filter(|finding| finding.severity == Severity::Warning).map(remark).collect();
        Ok(asked)
    }

    /// A policy of a running server, an identity that it knows, or whoever asks.
    pub(super) fn of_server(
        global: &Global,
        identity: Option<&Identity>,
        policy: Option<&str>,
        matching: Matching,
    ) -> Outcome<Self> {
        let mut asked = online(global, async |client| match (policy, identity) {
            (Some(policy), _) => Ok(Self::new(fetch(&client, policy, matching).await?, matching)),
            (None, Some(identity)) => known(&client, identity, matching).await,
            (None, None) => oneself(&client, matching).await,
        })?;
        if matches!(asked.subject, Subject::Holder(_)) {
            asked.notes.push(format!(
                "the server does not tell how it reads patterns; taken is compat.policy_match: {}",
                word(matching)
            ));
        }
        Ok(asked)
    }
}

fn holder(config: &PolicyConfig, name: &str, matching: Matching) -> Outcome<Subject> {
    match config.source(name) {
        Some(source) => Ok(Subject::Holder(Box::new(Ruleset::of(config, source, matching)))),
        None => {
            let failure = Failure::new(format!("{} has no policy '{name}'", config.name));
            let failure = Failure { status: crate::failure::Status::NotFound, ..failure };
            let names = config.loaded.policies.iter().map(|source| source.name.as_str());
            Err(match crate::nearest::nearest(name, names) {
                Some(meant) => failure.hint(format!("did you mean '{meant}'?")),
                None => failure,
            })
        }
    }
}

async fn fetch(client: &Client, name: &str, matching: Matching) -> Outcome<Subject> {
    let read = client.read_policy(name).await;
    let read =
        read.map_err(|error| Failure::from(error).while_doing(format_args!("failed to read policy '{name}'")))?;
    subject(name, &read.allow, &read.deny, matching)
}

async fn known(client: &Client, identity: &Identity, matching: Matching) -> Outcome<Asked> {
    let subject = match client.describe_identity(identity).await {
        Ok(info) if info.admin => Subject::Admin,
        Ok(info) => fetch(client, &info.policy, matching).await?,
        Err(error) if error.reason() == Some(Reason::IdentityNotFound) => Subject::Unknown,
        Err(error) => return Err(Failure::from(error).while_doing("failed to describe the identity")),
    };
    Ok(Asked { identity: Some(identity.to_string()), ..Asked::new(subject, matching) })
}

/// Needs no rights: everybody may ask about himself.
async fn oneself(client: &Client, matching: Matching) -> Outcome<Asked> {
    let identity = client.identity().map(|identity| identity.to_string());
    let subject = match client.describe_self().await {
        Ok(info) if info.admin => Subject::Admin,
        Ok(info) => subject(&info.policy, &info.allow, &info.deny, matching)?,
        Err(error) if error.reason() == Some(Reason::IdentityNotFound) => Subject::Unknown,
        Err(error) => return Err(Failure::from(error).while_doing("failed to describe your identity")),
    };
    Ok(Asked { identity, ..Asked::new(subject, matching) })
}

fn subject(name: &str, allow: &WireRules, deny: &WireRules, matching: Matching) -> Outcome<Subject> {
    let name: PolicyName = name.parse().map_err(|error| Failure::of(&error))?;
    let texts = |rules: &WireRules| rules.keys().cloned().collect::<Vec<_>>();
    let (policy, _) = Policy::new(name, &texts(allow), &texts(deny), matching);
    Ok(Subject::Holder(Box::new(Ruleset::bare(policy))))
}

/// An identity as it is, what `@FILE` or `-` holds (an API key, an identity or a certificate), or a certificate file.
/// With a configuration, the beginning of an identity does, if no other begins so.
pub(super) fn identity_of(argument: &str, config: Option<&PolicyConfig>) -> Outcome<Identity> {
    if argument.starts_with("kes:v1:") {
        return owner(argument, "--identity");
    }
    if let Ok(identity) = argument.parse::<Identity>()
        && (identity.is_hash() || !Path::new(argument).exists())
    {
        return complete(identity, config);
    }
    let source = match argument.strip_prefix('@') {
        None if argument != "-" => format!("@{argument}"),
        _ => argument.to_owned(),
    };
    owner(&input::text(&source)?, argument.trim_start_matches('@'))
}

/// Whose an API key, an identity or a certificate is.
fn owner(text: &str, name: &str) -> Outcome<Identity> {
    if let Some(identity) = text.parse::<Identity>().ok().filter(Identity::is_hash) {
        return Ok(identity);
    }
    if let Ok(key) = ApiKey::parse_prefixed(text) {
        return Ok(key.identity().clone());
    }
    let unreadable = |error: &dyn std::error::Error| {
        let failure = Failure::new(format!("'{name}' holds no identity, API key or certificate: {error}"));
        failure.hint("an identity is 64 hexadecimal digits; `kes identity of` prints it")
    };
    let certificates = pem::certificates(text.as_bytes()).map_err(|error| unreadable(&error))?;
    let first = certificates.first().ok_or_else(|| unreadable(&pem::Error::NotPem))?;
    Identity::of_certificate(first).map_err(|error| unreadable(&error))
}

/// Shortest beginning of an identity that is taken for one.
const MIN_PREFIX: usize = 8;

fn complete(identity: Identity, config: Option<&PolicyConfig>) -> Outcome<Identity> {
    let text = identity.as_str();
    let lower = text.to_ascii_lowercase();
    if lower.len() == 64 && lower != text && lower.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return lower.parse().map_err(|error| Failure::of(&error));
    }
    let Some(config) = config.filter(|_| !identity.is_hash()) else { return known_form(identity, config) };
    let settings = &config.loaded.config;
    if settings.policies.lookup(&identity).is_some() || settings.admin.as_str() == text {
        return Ok(identity);
    }
    let members = settings.policies.members().map(|(member, _)| member.clone());
    let mut all: Vec<_> =
        members.chain(settings.admin.identity()).filter(|member| member.as_str().starts_with(&lower)).collect();
    match (all.pop(), all.is_empty()) {
        (Some(only), true) if text.len() >= MIN_PREFIX => Ok(only),
        (Some(_), false) => Err(Failure::new(format!("several identities begin with '{text}'"))),
        _ => known_form(identity, Some(config)),
    }
}

/// Only 64 digits can be somebody; other words are legal in a configuration, where they match nobody.
fn known_form(identity: Identity, config: Option<&PolicyConfig>) -> Outcome<Identity> {
    let is_written = config.is_some_and(|config| config.member(&identity).is_some());
    match identity.is_hash() || is_written {
        true => Ok(identity),
        false => Err(Failure::new(format!("'{identity}' is no identity, and no file of that name is there"))
            .hint("an identity is 64 hexadecimal digits; @FILE reads an API key, FILE a certificate")),
    }
}

/// A finding as a sentence with its advice.
fn remark(finding: &kes_policy::Finding) -> String {
    match finding.hint() {
        Some(hint) => format!("{finding}; {hint}"),
        None => finding.to_string(),
    }
}

/// The word of `compat.policy_match`.
pub(super) fn word(matching: Matching) -> &'static str {
    match matching {
        Matching::Both => "both",
        Matching::Head => "head",
        Matching::Glob => "glob",
    }
}
