//! The list routes.

use std::collections::BTreeSet;

use http::header::ACCEPT;
use kes_identity::Identity;
use serde_json::json;

use crate::server::call::Call;
use crate::server::failure::{Doing, Failure};
use crate::server::lists;
use crate::server::reply::Reply;
use crate::wire;

pub(super) async fn keys(call: &Call, prefix: &str) -> Result<Reply, Failure> {
    let keys = call.keys();
    let failed = |error| Failure::store(Doing::List, error);
    if wants_lines(call) {
        let mut out = Vec::new();
        let list = lists::all(&keys, prefix, |name| line(&json!({ "name": name }), &mut out));
        call.within(list).await?.map_err(failed)?;
        return Ok(Reply::Lines(out));
    }
    let list = call.connection.shared.continuations.list(&keys, call.identity_text(), prefix);
    Ok(Reply::json(&call.within(list).await?.map_err(failed)?))
}

pub(super) fn policies(call: &Call, prefix: &str) -> Reply {
    let names: BTreeSet<&str> = call
        .state
        .policies
        .policies()
        .map(|policy| policy.name().as_str())
        .filter(|name| name.starts_with(prefix))
        .collect();
    if wants_lines(call) {
        let created_at = kes_crypto::rfc3339::format(call.connection.shared.created_at);
        return lines(
            names
                .iter()
                .map(|name| json!({ "name": name, "created_at": created_at, "created_by": &*call.state.admin })),
        );
    }
    Reply::json(&wire::PolicyNames {
        names: names.into_iter().map(str::to_owned).collect(),
        continue_at: String::new(),
        ephemeral: Vec::new(),
    })
}

/// Members of policies, and the admin. Departs from upstream: a configured admin that no certificate can match, such as
/// `disabled`, is in no list.
pub(super) fn identities(call: &Call, prefix: &str) -> Reply {
    let state = &call.state;
    let members = state.policies.members().map(|(identity, _)| identity.as_str());
    let admin = state.admin_identity.as_ref().map(Identity::as_str);
    let identities: BTreeSet<&str> = members.chain(admin).filter(|identity| identity.starts_with(prefix)).collect();
    if wants_lines(call) {
        let created_at = kes_crypto::rfc3339::format(call.connection.shared.created_at);
        return lines(identities.iter().map(|identity| {
            let is_admin = admin == Some(identity);
            let policy = state.policies.members().find(|(member, _)| member.as_str() == *identity);
            json!({
                "identity": identity, "admin": is_admin,
                "policy": policy.map_or("", |(_, policy)| policy.name().as_str()),
                "created_at": created_at, "created_by": if is_admin { "" } else { &*state.admin },
            })
        }));
    }
    Reply::json(&wire::IdentityNames {
        identities: identities.into_iter().map(str::to_owned).collect(),
        continue_at: String::new(),
        ephemeral: Vec::new(),
    })
}

/// Clients up to 2023-10 read one JSON object per line. They cannot be told apart, so scripts that need it ask for it.
fn wants_lines(call: &Call) -> bool {
    call.state.settings.legacy_routes
        && call.request.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes() == b"application/x-ndjson")
}

fn lines(items: impl Iterator<Item = serde_json::Value>) -> Reply {
    let mut out = Vec::new();
    items.for_each(|item| line(&item, &mut out));
    Reply::Lines(out)
}

fn line(item: &serde_json::Value, out: &mut Vec<u8>) {
    out.extend_from_slice(item.to_string().as_bytes());
    out.push(b'\n');
}
