//! Who we are to the server, what we may do, and whether the key works: what MinIO does, done.

use kes_client::wire::SelfInfo;
use kes_client::{Client, Error, Reason};
use kes_policy::{Matching, Policy};
use kes_server::check::minio::{NEEDS, Need, Urgency};

use super::report::Report;
use super::settings::Settings;
use crate::failure::chain;

/// The associated data of MinIO's first request.
const CONTEXT: &[u8] = b"{}";

/// What a call told about the right to make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Right {
    Allowed,
    Refused,
    /// Nobody asked.
    #[default]
    Unknown,
}

/// Tries everything on one server.
pub(super) async fn check(client: &Client, settings: &Settings, create: bool, report: &mut Report) {
    let who = client.describe_self().await;
    let known = who.as_ref().ok();
    let me = client.identity().map(|identity| identity.to_string()).unwrap_or_default();
    let key = settings.key.as_deref();
    let mut trial = Trial::default();
    if let Some(key) = key {
        trial.find(client, key, create, known, settings, report).await;
        trial.seal_and_open(client, key).await;
    }
    let mut rights = Vec::new();
    for need in NEEDS.iter().filter(|need| !need.route.contains("/bulk/")) {
        rights.push((need, trial.ask(client, need, key, known).await));
    }
    identity(&who, &me, &rights, settings, report);
    if rights.iter().any(|(_, right)| *right == Right::Allowed) {
        tell_rights(&rights, known, key, report);
    }
    match (key, trial.verdict) {
        (None, _) => report.warn("no key was tried", "name one with --key"),
        (Some(_), Some(Ok(text))) => report.good(text),
        (Some(_), Some(Err((text, hint)))) => report.problem(text, hint),
        (Some(_), None) => {}
    }
}

/// What became of the key.
#[derive(Default)]
struct Trial {
    exists: bool,
    describe: Right,
    generate: Right,
    decrypt: Right,
    /// What there is to say of sealing and opening, unless it was refused.
    verdict: Option<Result<String, (String, &'static str)>>,
}

impl Trial {
    /// Looks for the key, and makes it if that is wanted.
    async fn find(
        &mut self,
        client: &Client,
        key: &str,
        create: bool,
        who: Option<&SelfInfo>,
        settings: &Settings,
        report: &mut Report,
    ) {
        let mut found = client.describe_key(key).await.map(drop);
        self.describe = Right::of(&found);
        if self.describe == Right::Refused {
            found = client.generate_key(key, CONTEXT).await.map(drop);
            self.generate = Right::of(&found);
        }
        match found {
            Ok(()) => {
                report.good(format!("the key '{key}' exists"));
                self.exists = true;
            }
            Err(error) if error.is_key_not_found() && create => match client.create_key(key).await {
                Ok(()) => {
                    report.good(format!("the key '{key}' has been created"));
                    self.exists = true;
                }
                Err(error) if error.is_key_exists() => self.exists = true, // somebody was faster
                Err(error) => {
                    let text = format!("the key '{key}' does not exist and cannot be created: {}", chain(&error));
                    report.problem(text, "ask the server's administrator to create it");
                }
            },
            Err(error) if error.is_key_not_found() => missing(key, who, settings, report),
            Err(error) if error.is_not_allowed() => {}
            Err(error @ Error::Name { .. }) => report.problem(
                chain(&error),
                "a name is 1 to 80 of 0-9 A-Z a-z _ and -, not '_' alone, with no '-' at either end",
            ),
            Err(error) => {
                let text = format!("the key '{key}' cannot be looked at: {}", chain(&error));
                report.problem(text, "the server's log says more");
            }
        }
    }

    /// A data key, made and opened again. Nothing of it is kept.
    async fn seal_and_open(&mut self, client: &Client, key: &str) {
        if !self.exists {
            return;
        }
        let made = client.generate_key(key, CONTEXT).await;
        self.generate = Right::of(&made);
        let made = match made {
            Ok(made) => made,
            Err(error) if error.is_not_allowed() => return, // told with the rights
            Err(error) => {
                let text = format!("'{key}' makes no data key: {}", chain(&error));
                self.verdict = Some(Err((text, "the server's log says more")));
                return;
            }
        };
        let opened = client.decrypt(key, &made.ciphertext, CONTEXT).await;
        self.decrypt = Right::of(&opened);
        self.verdict = match opened {
            Ok(opened) if opened.expose() == made.plaintext.expose() => {
                Some(Ok(format!("'{key}' makes a data key and opens it again")))
            }
            Ok(_) => Some(Err((
                format!("'{key}' opens its own data key to something else"),
                "do not use this server; its log may say more",
            ))),
            Err(error) if error.is_not_allowed() => None,
            Err(error) => Some(Err((
                format!("'{key}' does not open the data key that it has just made: {}", chain(&error)),
                "do all servers behind this address have the same key store?",
            ))),
        };
    }

    /// Whether a route is open to us: by the request itself where that changes nothing, else by the rules.
    async fn ask(&self, client: &Client, need: &Need, key: Option<&str>, who: Option<&SelfInfo>) -> Right {
        let by_rules = || match (who, key) {
            (Some(who), _) if !need.named || key.is_some() => match may(who, &need.path(key.unwrap_or_default())) {
                true => Right::Allowed,
                false => Right::Refused,
            },
            _ => Right::Unknown,
        };
        let tried = match need.route {
            "/v1/key/describe/" => self.describe,
            "/v1/key/generate/" => self.generate,
            "/v1/key/decrypt/" => self.decrypt,
            "/v1/key/list/" => match client.list_keys("") {
                Ok(mut names) => Right::of(&names.next().await),
                Err(_) => Right::Unknown,
            },
            "/v1/status" => Right::of(&client.status().await),
            "/v1/metrics" => Right::of(&client.metrics_text().await),
            _ => Right::Unknown,
        };
        if tried == Right::Unknown { by_rules() } else { tried }
    }
}

impl Right {
    /// What an answer tells: every other refusal comes after the policy was asked.
    fn of<T>(answer: &Result<T, Error>) -> Self {
        match answer {
            Err(error) if error.is_not_allowed() => Self::Refused,
            Ok(_) | Err(Error::Server(_)) => Self::Allowed,
            Err(_) => Self::Unknown,
        }
    }
}

fn missing(key: &str, who: Option<&SelfInfo>, settings: &Settings, report: &mut Report) {
    let may_create = who.is_some_and(|who| may(who, &format!("/v1/key/create/{key}")));
    let make = format!("`kes doctor --create` or `kes key create {key}` makes it");
    match (settings.is_minio, may_create) {
        (true, true) => report.warn(format!("the key '{key}' does not exist yet: MinIO makes it when it starts"), make),
        (true, false) => {
            let text = format!("the key '{key}' does not exist, and MinIO may not make it: it does not start");
            report.problem(
                text,
                format!("allow '/v1/key/create/{key}' in the server's policy, or make the key as its administrator"),
            );
        }
        (false, _) => report.problem(format!("the key '{key}' does not exist"), make),
    }
}

/// What the server's own account of our rules says about a path.
fn may(who: &SelfInfo, path: &str) -> bool {
    let (allow, deny): (Vec<_>, Vec<_>) = (who.allow.keys().collect(), who.deny.keys().collect());
    let name = "self".parse().expect("a policy's name");
    who.admin || Policy::new(name, &allow, &deny, Matching::Both).0.decide(path).is_allowed()
}

fn identity(
    who: &Result<SelfInfo, Error>,
    me: &str,
    rights: &[(&Need, Right)],
    settings: &Settings,
    report: &mut Report,
) {
    let nothing = !rights.iter().any(|(_, right)| *right == Right::Allowed);
    match who {
        Ok(info) if info.admin && settings.is_minio => report.warn(
            format!("MinIO is the administrator here ({me}): it may do everything, also delete keys"),
            "give MinIO a policy of its own: docs/minio.md has one",
        ),
        Ok(info) if info.admin => report.good(format!("knows us as its administrator ({me})")),
        Ok(info) if nothing => report.problem(
            format!("knows us as {me}, and its policy '{}' allows nothing that MinIO does", info.policy),
            "docs/minio.md has a policy",
        ),
        Ok(info) => report.good(format!("knows us as {me}, with the policy '{}'", info.policy)),
        Err(error) if nothing => {
            let why = match error.reason() {
                Some(Reason::IdentityNotFound) => String::new(),
                _ => format!(" ({})", chain(error)),
            };
            report.problem(
                format!("does not know us: {me} is in no policy{why}"),
                format!("add to its configuration, below 'policy.<name>.identities':\n- {me}"),
            );
        }
        // A MinIO KES of 2023-10 to 2025 tells members nothing about themselves.
        Err(_) => report.good(format!("knows us as {me}, without telling our policy")),
    }
}

fn tell_rights(rights: &[(&Need, Right)], who: Option<&SelfInfo>, key: Option<&str>, report: &mut Report) {
    let of = |wanted: Right, urgencies: &[Urgency]| -> Vec<&Need> {
        let chosen = rights.iter().filter(|(need, right)| *right == wanted && urgencies.contains(&need.urgency));
        chosen.map(|(need, _)| *need).collect()
    };
    let routes = |needs: &[&Need]| needs.iter().map(|need| need.route).collect::<Vec<_>>().join(", ");
    let allowed = of(Right::Allowed, &[Urgency::Required, Urgency::Wanted, Urgency::Special]);
    let special = of(Right::Refused, &[Urgency::Special]);
    let rest = match special.is_empty() {
        true => String::new(),
        false => format!("; not {}, which only some set-ups need", routes(&special)),
    };
    report.good(format!("lets us use {}{rest}", routes(&allowed)));
    let policy = who.map_or("<name>", |who| who.policy.as_str());
    for need in of(Right::Refused, &[Urgency::Required, Urgency::Wanted]) {
        let denied = who.and_then(|who| who.deny.keys().find(|rule| denies(rule, &need.path(key.unwrap_or("x")))));
        let hint = match denied {
            Some(rule) => format!("narrow the deny rule '{rule}' of 'policy.{policy}'"),
            None => format!("add to its configuration, below 'policy.{policy}.allow':\n- {}", need.rule("*")),
        };
        let text = format!("does not let us use {} ({})", need.route, need.used_for);
        match need.urgency {
            Urgency::Required => report.problem(text, hint),
            _ => report.warn(text, hint),
        }
    }
}

fn denies(rule: &str, path: &str) -> bool {
    let name = "self".parse().expect("a policy's name");
    let everything = ["*"];
    !Policy::new(name, &everything, &[rule], Matching::Both).0.decide(path).is_allowed()
}
