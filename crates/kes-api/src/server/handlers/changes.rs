//! Changes of policies and identities over the API, on the routes and with the bodies of releases up to 2023-08
//! (http-api 9.2). They are in force when they are answered, and end with the next reload.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use kes_identity::Identity;
use kes_policy::{Policy, PolicyName, Severity};
use time::OffsetDateTime;

use crate::server::access;
use crate::server::call::{Call, Changed};
use crate::server::ephemeral::Origin;
use crate::server::failure::Failure;
use crate::server::log::Level;
use crate::server::reply::Reply;
use crate::server::routes::Route;
use crate::server::state::State;
use crate::wire::{self, text};

/// `POST /v1/policy/write/<policy>`: makes a policy, or gives one new rules. Its members keep it.
pub(super) fn write_policy(
    call: &mut Call,
    route: &'static Route,
    name: &PolicyName,
    body: &Bytes,
) -> Result<Reply, Failure> {
    let rules = wire::PolicyRequest::decode(body).map_err(|_| Failure::bad_request(text::INVALID_BODY))?;
    let matching = call.state.settings.policy_match;
    let (policy, findings) = Policy::new(name.clone(), &rules.allow, &rules.deny, matching);
    // A refusal that refuses nothing: as in the configuration, such a policy is not used.
    if let Some(finding) = findings.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(Failure::malformed_pattern(&finding.pattern).because(finding.to_string()));
    }
    apply(call, route, |state, origin| Ok(state.with_policy(policy, origin)))?;
    findings.iter().filter(|finding| finding.severity == Severity::Warning).for_each(|finding| warn(call, finding));
    Ok(done(call, format!("policy '{name}' written")))
}

/// `DELETE /v1/policy/delete/<policy>`.
pub(super) fn delete_policy(call: &mut Call, route: &'static Route, name: &PolicyName) -> Result<Reply, Failure> {
    apply(call, route, |state, _| {
        state.without_policy(name).ok_or_else(|| Failure::not_found(text::POLICY_NOT_FOUND))
    })?;
    Ok(done(call, format!("policy '{name}' deleted")))
}

/// `POST /v1/policy/assign/<policy>`: the identity stands in the body.
pub(super) fn assign_policy(
    call: &mut Call,
    route: &'static Route,
    policy: &PolicyName,
    body: &Bytes,
) -> Result<Reply, Failure> {
    let request: wire::AssignRequest = wire::decode(body).map_err(|_| Failure::bad_request(text::INVALID_BODY))?;
    if request.identity.is_empty() {
        return Err(Failure::bad_request(text::IDENTITY_UNKNOWN));
    }
    let identity: Identity =
        request.identity.parse().map_err(|_| Failure::invalid_name("identity", request.identity.as_bytes()))?;
    assign(call, route, &identity, policy, text::ASSIGN_TO_ADMIN)
}

/// `POST /v1/identity/assign/<policy>/<identity>`, of releases up to v0.17.
pub(super) fn assign_identity(
    call: &mut Call,
    route: &'static Route,
    policy: &PolicyName,
    identity: &Identity,
) -> Result<Reply, Failure> {
    assign(call, route, identity, policy, text::IDENTITY_IS_ROOT)
}

fn assign(
    call: &mut Call,
    route: &'static Route,
    identity: &Identity,
    policy: &PolicyName,
    is_admin: &'static str,
) -> Result<Reply, Failure> {
    let caller = call.identity().cloned();
    apply(call, route, |state, origin| {
        if state.admin_identity.as_ref() == Some(identity) {
            return Err(Failure::bad_request(is_admin));
        }
        if caller.as_ref() == Some(identity) {
            return Err(Failure::text(StatusCode::FORBIDDEN, text::ASSIGN_TO_ITSELF));
        }
        // A proxy acts for its clients and has no rights of its own.
        if state.settings.proxy.as_ref().is_some_and(|proxy| proxy.identities.contains(identity)) {
            return Err(Failure::bad_request(text::ASSIGN_TO_PROXY));
        }
        state.with_member(identity, policy, origin).ok_or_else(|| Failure::not_found(text::POLICY_NOT_FOUND))
    })?;
    Ok(done(call, format!("policy '{policy}' assigned to '{identity}'")))
}

/// `DELETE /v1/identity/delete/<identity>`, and `…/forget/` of releases up to v0.17 with its own word for the admin.
pub(super) fn delete_identity(
    call: &mut Call,
    route: &'static Route,
    identity: &Identity,
    is_admin: &'static str,
) -> Result<Reply, Failure> {
    apply(call, route, |state, _| {
        if state.admin_identity.as_ref() == Some(identity) {
            return Err(Failure::bad_request(is_admin));
        }
        state.without_member(identity).ok_or_else(|| Failure::not_found(text::IDENTITY_NOT_FOUND))
    })?;
    Ok(done(call, format!("identity '{identity}' deleted")))
}

/// Makes the change on the state in force, which may be a newer one than the caller was admitted by.
fn apply(
    call: &Call,
    route: &'static Route,
    change: impl FnOnce(&State, Origin) -> Result<State, Failure>,
) -> Result<(), Failure> {
    let origin = Origin { at: OffsetDateTime::now_utc(), by: call.identity_text().into() };
    call.connection.shared.change(|now| {
        if !std::ptr::eq(now, Arc::as_ptr(&call.state)) && !access::still_may(call, now, route) {
            return Err(Failure::forbidden().because("the caller's right ended while its request was on its way"));
        }
        change(now, origin)
    })
}

fn done(call: &mut Call, what: String) -> Reply {
    call.changed = Some(Changed::Rights(what));
    Reply::Empty
}

fn warn(call: &Call, finding: &kes_policy::Finding) {
    let hint = finding.hint().unwrap_or_default();
    let fields: &[(&str, &dyn std::fmt::Display)] = &[("hint", &hint)];
    call.connection.shared.log.write(Level::Warn, finding, if hint.is_empty() { &[] } else { fields });
}
