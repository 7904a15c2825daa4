//! `api`: exceptions for single routes.

use crate::compat::Compat;
use crate::nearest::nearest;
use crate::scalar::GoDuration;
use crate::section::{Placed, Section};
use kes_policy::{ROUTES, Standing};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is different about one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Whether the route is answered without asking a policy. Default off.
    pub skip_auth: bool,
    /// How long a request may take; `None` is the route's default.
    pub timeout: Option<Duration>,
}

/// The routes that may be answered without authentication (decision 2).
const MAY_SKIP: [&str; 6] =
    ["/version", "/v1/ready", "/v1/status", "/v1/metrics", "/v1/api", "/v1/identity/self/describe"];

/// One entry as it is written.
pub(crate) struct Draft<'a> {
    path: &'a str,
    section: Section<'a>,
    skip_auth: Option<Placed<bool>>,
    timeout: Option<Placed<GoDuration>>,
}

pub(crate) fn read<'a>(root: &Section<'a>) -> Vec<Draft<'a>> {
    let routes = root.section("api");
    let draft = |(path, section): (&'a str, Section<'a>)| {
        let (skip_auth, timeout) = (section.switch("skip_auth"), section.duration("timeout"));
        Draft { path, section, skip_auth, timeout }
    };
    routes.sections().map(draft).collect()
}

/// Step 11 of config.md 3. The keys of the result are the paths of [`ROUTES`].
pub(crate) fn build(drafts: &[Draft<'_>], compat: Option<&Compat>) -> BTreeMap<&'static str, Route> {
    for Draft { path, section, timeout, .. } in drafts {
        if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value.is_negative()) {
            let text = format!("kesconf: invalid timeout '{}' for API '{path}'", timeout.value.0);
            section.refuse(section.error("timeout", text).hint("write how long a request may take, such as 15s"));
        }
    }
    let mut routes = BTreeMap::new();
    for draft in drafts {
        let Draft { path, section, skip_auth, timeout } = draft;
        let Some(known) = ROUTES.iter().find(|route| route.path == *path && route.standing != Standing::Gone) else {
            warn_unknown(draft);
            continue;
        };
        let skip_auth = skip_auth.as_ref().is_some_and(|skip_auth| skip_auth.value);
        // Whoever changes policies can have every right: that is never for everybody.
        let never = known.standing == Standing::Named;
        let anywhere = !never && compat.is_none_or(|compat| compat.skip_auth_any_route);
        if skip_auth && !MAY_SKIP.contains(path) && !anywhere {
            // Departs from upstream: it lets everybody on the network create, delete and use keys.
            let text = format!("kesconf: invalid API config: '{path}' must not skip authentication");
            let hint = match never {
                true => {
                    "it changes policies: a rule that begins with its path lets others than the administrator do that"
                        .to_owned()
                }
                false => {
                    format!("only {} may; 'compat.skip_auth_any_route: on' permits it everywhere", MAY_SKIP.join(", "))
                }
            };
            section.refuse(section.error("skip_auth", text).hint(hint));
        }
        let timeout = timeout.as_ref().and_then(|timeout| timeout.value.positive());
        routes.insert(known.path, Route { skip_auth, timeout });
    }
    routes
}

fn warn_unknown(Draft { path, section, .. }: &Draft<'_>) {
    let known = ROUTES.iter().filter(|route| route.standing != Standing::Gone).map(|route| route.path);
    let bare = path.trim_matches('/');
    let slash = known.clone().find(|route| route.trim_matches('/') == bare);
    let hint = match slash.or_else(|| nearest(path, known)) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => "the keys are the routes' paths, such as /v1/ready or /v1/key/create/".to_owned(),
    };
    section.context().warn(section.here(), format!("there is no API '{path}': the entry has no effect"), Some(hint));
}
