//! What the matrix shows, in whatever form.

use std::collections::BTreeMap;

use kes_config::Warning;
use kes_crypto::rfc3339;
use kes_policy::{Names, Policy, ROUTES, Reach, Route, Standing, Tail};
use serde::Serialize;
use time::OffsetDateTime;

use crate::policies::PolicyConfig;

/// Who may do what.
#[derive(Debug, Serialize)]
pub(super) struct Matrix {
    /// The configuration as it was named.
    pub(super) file: String,
    /// Of its bytes.
    pub(super) sha256: String,
    /// When this was made.
    pub(super) created_at: String,
    /// How patterns are read.
    pub(super) policy_match: &'static str,
    /// Who passes every check; none if nobody can have that identity.
    pub(super) administrator: Option<String>,
    /// Who acts for others.
    pub(super) proxies: Vec<String>,
    /// What everybody may without being asked who he is, beside `/version`.
    pub(super) open_routes: Vec<&'static str>,
    pub(super) operations: Vec<Operation>,
    pub(super) policies: Vec<Row>,
    pub(super) findings: Vec<Finding>,
    /// Variables whose values are not known here.
    pub(super) unset: Vec<String>,
}

/// A column.
#[derive(Debug, Serialize)]
pub(super) struct Operation {
    /// `create`, `policy describe`.
    pub(super) name: String,
    /// The route.
    pub(super) path: &'static str,
    /// Whether it is done to keys.
    pub(super) on_keys: bool,
}

/// A policy and who has it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) policy: String,
    pub(super) line: usize,
    pub(super) identities: Vec<Person>,
    /// In the order of the operations.
    #[serde(skip)]
    pub(super) cells: Vec<Cell>,
    /// What is allowed at all, by the operation's name.
    may: BTreeMap<String, Cell>,
}

/// An identity.
#[derive(Debug, Serialize)]
pub(super) struct Person {
    /// 64 hexadecimal digits, or `${NAME}` if the variable is not set here.
    pub(super) identity: String,
    /// What the file says of it.
    pub(super) name: Option<String>,
    pub(super) line: usize,
}

/// What a policy allows of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cell {
    pub(super) allowed: Allowed,
    /// Which names, if not all of them.
    pub(super) names: Vec<String>,
    /// Which of them not.
    pub(super) except: Vec<String>,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Allowed {
    /// Every request.
    All,
    /// Those for certain names.
    Some,
    /// None.
    None,
}

/// Something to look at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) line: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Matrix {
    pub(super) fn of(config: &PolicyConfig, now: OffsetDateTime) -> Self {
        let settings = &config.loaded.config;
        let skip_auth = |route: &&Route| settings.api.get(route.path).is_some_and(|api| api.skip_auth);
        let is_shown = |route: &&Route| match route.standing {
            Standing::Guarded => true,
            Standing::Legacy => settings.compat.legacy_routes,
            Standing::Named => settings.compat.legacy_routes && settings.compat.ephemeral_policies,
            Standing::Open | Standing::Gone => false,
        };
        let routes: Vec<_> = ROUTES.iter().filter(is_shown).filter(|route| !skip_auth(route)).collect();
        let admin = settings.admin.identity().map(|admin| admin.to_string());
        let admin = admin.or_else(|| {
            let text = settings.admin.as_str();
            config.is_open(text).then(|| config.show(text))
        });
        Self {
            file: config.name.clone(),
            sha256: config.sha256.clone(),
            created_at: rfc3339::format(now.replace_nanosecond(0).expect("zero is a number of nanoseconds")),
            policy_match: match settings.compat.policy_match {
                kes_policy::Matching::Both => "both",
                kes_policy::Matching::Head => "head",
                kes_policy::Matching::Glob => "glob",
            },
            administrator: admin,
            proxies: settings.tls.proxy.identities.iter().map(|proxy| config.show(proxy.as_str())).collect(),
            open_routes: ROUTES.iter().filter(skip_auth).map(|route| route.path).collect(),
            operations: routes.iter().map(|route| operation(route)).collect(),
            policies: rows(config, &routes),
            findings: config.findings().into_iter().map(finding).collect(),
            unset: config.unset.clone(),
        }
    }

    /// The operations of one kind, each with its column.
    pub(super) fn operations(&self, on_keys: bool) -> impl Iterator<Item = (usize, &Operation)> {
        self.operations.iter().enumerate().filter(move |(_, operation)| operation.on_keys == on_keys)
    }

    /// Whether any policy allows any of an operation.
    pub(super) fn is_granted(&self, column: usize) -> bool {
        self.policies.iter().any(|row| row.cells[column].allowed != Allowed::None)
    }
}

/// `/v1/key/bulk/decrypt/` is `bulk decrypt`, `/v1/policy/list/` is `policy list`.
fn operation(route: &Route) -> Operation {
    let path = route.path.trim_start_matches("/v1/").trim_matches('/');
    let on_keys = path.starts_with("key/");
    Operation { name: path.trim_start_matches("key/").replace('/', " "), path: route.path, on_keys }
}

fn rows(config: &PolicyConfig, routes: &[&Route]) -> Vec<Row> {
    let row = |source: &kes_config::PolicySource| {
        let policy = config.loaded.config.policies.policy(source.name.as_str()).expect("each source has its policy");
        let person = |member: &kes_config::IdentitySource| Person {
            identity: config.show(member.identity.as_str()),
            name: config
                .name_of(&member.identity)
                .filter(|_| !config.is_open(member.identity.as_str()))
                .map(str::to_owned),
            line: member.place.line,
        };
        let cells: Vec<_> = routes.iter().map(|route| Cell::of(policy, route)).collect();
        let granted = cells.iter().zip(routes).filter(|(cell, _)| cell.allowed != Allowed::None);
        Row {
            may: granted.map(|(cell, route)| (operation(route).name, cell.clone())).collect(),
            policy: source.name.to_string(),
            line: source.place.line,
            identities: source.identities.iter().map(person).collect(),
            cells,
        }
    };
    config.loaded.policies.iter().map(row).collect()
}

impl Cell {
    fn of(policy: &Policy, route: &Route) -> Self {
        let reach: Reach = policy.reach(route);
        let texts = |names: &[(Names, usize)]| names.iter().map(|(names, _)| names.to_string()).collect::<Vec<_>>();
        if reach.is_empty() {
            return Self { allowed: Allowed::None, names: Vec::new(), except: Vec::new() };
        }
        if reach.is_all() || route.tail == Tail::Nothing {
            return Self { allowed: Allowed::All, names: Vec::new(), except: Vec::new() };
        }
        Self { allowed: Allowed::Some, names: texts(&reach.allow), except: texts(&reach.deny) }
    }

    /// `*`, `my-*` or `a b !c`, word by word.
    pub(super) fn words(&self) -> Vec<String> {
        match self.allowed {
            Allowed::None => Vec::new(),
            Allowed::All => vec!["*".to_owned()],
            Allowed::Some => {
                self.names.iter().cloned().chain(self.except.iter().map(|name| format!("!{name}"))).collect()
            }
        }
    }
}

fn finding(warning: &Warning) -> Finding {
    Finding { line: warning.place.line, message: warning.message.clone(), hint: warning.hint.clone() }
}
