//! `compat`: how close the server stays to older releases.

use crate::section::{Refused, Section};
use kes_policy::Matching;

/// `compat`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compat {
    /// Whether routes of older releases are answered, such as `/v1/key/bulk/decrypt/`. Default on.
    pub legacy_routes: bool,
    /// Whether errors have the texts of releases before 2022, such as `key does already exist`. Default off.
    pub legacy_messages: bool,
    /// Whether policies may be changed over the API until the next reload. Default on.
    pub ephemeral_policies: bool,
    /// How patterns are read. Default [`Matching::Both`].
    pub policy_match: Matching,
    /// Whether `api.<path>.skip_auth` may stand at any route. Default off.
    pub skip_auth_any_route: bool,
}

pub(crate) fn read(root: &Section<'_>) -> Result<Compat, Refused> {
    let section = root.section("compat");
    let switch = |key, default| section.switch(key).map_or(default, |switch| switch.value);
    let legacy_routes = switch("legacy_routes", true);
    let legacy_messages = switch("legacy_messages", false);
    let ephemeral_policies = switch("ephemeral_policies", true);
    let skip_auth_any_route = switch("skip_auth_any_route", false);
    let words = [("both", Matching::Both), ("head", Matching::Head), ("glob", Matching::Glob)];
    let policy_match = section.choice("policy_match", &words)?.unwrap_or_default();
    Ok(Compat { legacy_routes, legacy_messages, ephemeral_policies, policy_match, skip_auth_any_route })
}
