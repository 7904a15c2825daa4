//! Allowed or not, by which rule, read how; and the line that would change it.

use kes_config::Place;
use kes_policy::{Decision, Effect, Matching, Policy, Rule, Standing, Suggestion};
use serde::Serialize;

use super::request::Request;
use super::subject::{Asked, Ruleset, Subject, read_as, word};

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reason {
    /// An allow rule matches and no deny rule does.
    AllowRule,
    /// A deny rule matches.
    DenyRule,
    /// No rule matches.
    NoRule,
    /// The administrator passes every check.
    Administrator,
    /// The identity has no policy.
    UnknownIdentity,
    /// The identity is a TLS proxy, which has no rights of its own.
    TlsProxy,
    /// The route is answered without asking a policy.
    OpenRoute,
    /// The configuration says that the route needs no authentication.
    SkipAuth,
}

/// The answer to "may they?".
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Where the identity is given its policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity_at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    pub(super) reason: Reason,
    /// The rule that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<RuleAt>,
    /// The allow rule that comes closest, if none matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nearest: Option<RuleAt>,
    /// How patterns are read: `compat.policy_match`.
    pub(super) policy_match: &'static str,
    /// In which readings the deciding rule matches: `head`, `glob`.
    pub(super) matches_as: Vec<&'static str>,
    /// The settings of `compat.policy_match` with which the answer would be the other.
    pub(super) otherwise_with: Vec<&'static str>,
    /// What to change so that the request is allowed; empty if it is, or if nothing would help.
    pub(super) to_allow: Vec<Change>,
    pub(super) notes: Vec<String>,
}

/// A place in a file.
#[derive(Clone, Debug, Serialize)]
pub(super) struct At {
    pub(super) file: String,
    pub(super) line: usize,
}

/// A rule and where it stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RuleAt {
    pub(super) effect: &'static str,
    pub(super) pattern: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<At>,
}

/// A line to add or to remove.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    /// A sentence.
    pub(super) what: String,
    /// Where, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<At>,
    /// Lines to write, as they stand in the file; of several one is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lines: Vec<String>,
}

impl At {
    pub(super) fn of(place: &Place) -> Self {
        Self { file: place.file.to_string(), line: place.line }
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Verdict {
    /// Judges one request. `others` are the policies that an unknown identity could be given.
    pub(super) fn of(asked: &Asked, request: &Request, others: &[Ruleset]) -> Self {
        let mut verdict = Self {
            allowed: false,
            method: request.method.clone(),
            path: request.path.clone(),
            identity: asked.identity.clone(),
            name: asked.name.clone(),
            identity_at: asked.place.as_ref().map(At::of),
            policy: None,
            reason: Reason::UnknownIdentity,
            rule: None,
            nearest: None,
            policy_match: word(asked.matching),
            matches_as: Vec::new(),
            otherwise_with: Vec::new(),
            to_allow: Vec::new(),
            notes: asked.notes.clone(),
        };
        if let Subject::Holder(rules) = &asked.subject {
            verdict.policy = Some(rules.policy.name().to_string());
        }
        if request.route.standing == Standing::Open {
            verdict.pass(Reason::OpenRoute);
        } else if asked.skip_auth.contains(&request.route.path) {
            verdict.pass(Reason::SkipAuth);
        } else {
            match &asked.subject {
                Subject::Admin => verdict.pass(Reason::Administrator),
                Subject::Proxy => verdict.reason = Reason::TlsProxy,
                Subject::Unknown => {
                    verdict.to_allow = admit(asked, request, others);
                    if !asked.unset.is_empty() && asked.identity.is_some() {
                        let unset = asked.unset.join(", ");
                        verdict.notes.push(format!("not known here, and perhaps this identity: {unset}"));
                    }
                }
                Subject::Holder(rules) => verdict.judge(rules, request, asked.matching),
            }
        }
        verdict.notes.extend(request.refusal());
        match request.route.standing {
            Standing::Legacy | Standing::Named | Standing::Gone if !asked.legacy_routes => {
                verdict.notes.push("the server answers 404: compat.legacy_routes is off".to_owned());
            }
            Standing::Named if !asked.ephemeral_policies => {
                verdict.notes.push("the server answers 501: compat.ephemeral_policies is off".to_owned());
            }
            Standing::Named if verdict.reason == Reason::NoRule => {
                verdict.notes.push(format!("only an allow rule that begins with {} counts here", request.route.path));
            }
            Standing::Gone => {
                verdict
                    .notes
                    .push(format!("{} is a route of older releases, which does nothing now", request.route.path));
            }
            _ => {}
        }
        verdict
    }

    fn pass(&mut self, reason: Reason) {
        (self.allowed, self.reason) = (true, reason);
    }

    fn judge(&mut self, rules: &Ruleset, request: &Request, matching: Matching) {
        let path = &*request.path;
        let decision = rules.policy.decide_on(request.route, path);
        self.allowed = decision.is_allowed();
        self.reason = match decision {
            Decision::Allowed { .. } => Reason::AllowRule,
            Decision::Denied { .. } => Reason::DenyRule,
            Decision::NoRule { .. } | Decision::UnknownIdentity => Reason::NoRule,
        };
        self.rule = decision.rule().map(|rule| rules.locate(rule));
        self.nearest = rules.policy.nearest(path).filter(|_| decision.rule().is_none()).map(|rule| rules.locate(rule));
        if let Some(rule) = decision.rule() {
            let readings = [("head", rule.matches_head(path)), ("glob", rule.matches_glob(path))];
            self.matches_as = readings.iter().filter(|(_, matches)| *matches).map(|(reading, _)| *reading).collect();
        }
        let others = [Matching::Both, Matching::Head, Matching::Glob].into_iter().filter(|other| *other != matching);
        let differs = |other: &Matching| {
            read_as(&rules.policy, *other).decide_on(request.route, path).is_allowed() != self.allowed
        };
        self.otherwise_with = others.filter(differs).map(word).collect();
        if !self.allowed {
            self.to_allow = rules.grant(request);
        }
    }
}

impl Ruleset {
    /// A rule of this policy with its place.
    fn locate(&self, rule: &Rule) -> RuleAt {
        let find = |rules: &[Rule]| rules.iter().position(|own| std::ptr::eq(own, rule));
        let (effect, place) = match find(self.policy.deny()) {
            Some(index) => (Effect::Deny, self.deny.get(index)),
            None => (Effect::Allow, find(self.policy.allow()).and_then(|index| self.allow.get(index))),
        };
        let effect = if effect == Effect::Deny { "deny" } else { "allow" };
        RuleAt { effect, pattern: rule.as_str().to_owned(), at: place.map(At::of) }
    }

    /// What would let `path` pass: the deny rules that must go, and the allow rule that is missing.
    fn grant(&self, request: &Request) -> Vec<Change> {
        let path = &*request.path;
        let name = self.policy.name();
        let denies = |rule: &&Rule| {
            let alone: [&str; 1] = [rule.as_str()];
            let (policy, _) = Policy::new(name.clone(), &["*"], &alone, self.policy.matching());
            matches!(policy.decide(path), Decision::Denied { .. })
        };
        let remove = |rule: &Rule| Change {
            what: format!("remove or narrow the deny rule {:?} of policy '{name}'", rule.as_str()),
            at: self.locate(rule).at,
            lines: Vec::new(),
        };
        let mut changes: Vec<_> = self.policy.deny().iter().filter(denies).map(remove).collect();
        let allow: Vec<&str> = self.policy.allow().iter().map(Rule::as_str).collect();
        let (without_denials, _) = Policy::new(name.clone(), &allow, &[] as &[&str], self.policy.matching());
        if !without_denials.decide_on(request.route, path).is_allowed()
            && let Some(suggestion) = Suggestion::for_path(path)
        {
            let exact = suggestion.exact().filter(|exact| *exact != suggestion.all());
            let lines = exact.into_iter().chain([suggestion.all()]).map(|line| format!("- {line}")).collect();
            let at = self.allow.last().or(self.place.as_ref()).map(At::of);
            changes.push(Change { what: format!("add under 'allow' of policy '{name}'"), at, lines });
        }
        changes
    }
}

/// What would let somebody without policy pass.
fn admit(asked: &Asked, request: &Request, others: &[Ruleset]) -> Vec<Change> {
    let Some(identity) = &asked.identity else { return Vec::new() };
    let allowing = others.iter().filter(|rules| rules.policy.decide_on(request.route, &request.path).is_allowed());
    let join = |rules: &Ruleset| Change {
        what: format!("add under 'identities' of policy '{}', which allows it", rules.policy.name()),
        at: rules.place.as_ref().map(At::of),
        lines: vec![format!("- {identity}")],
    };
    let changes: Vec<_> = allowing.map(join).collect();
    if !changes.is_empty() {
        return changes;
    }
    let Some(suggestion) = Suggestion::for_path(&request.path) else { return Vec::new() };
    let rule = suggestion.exact().unwrap_or_else(|| suggestion.all());
    let lines = vec![format!("my-policy: {{allow: [{rule}], identities: [{identity}]}}")];
    vec![Change { what: "add a policy under 'policy' of the server's configuration".to_owned(), at: None, lines }]
}
