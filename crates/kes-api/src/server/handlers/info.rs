//! What the server tells of itself, its policies and identities.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use kes_identity::Identity;
use kes_keystore::ErrorKind;
use kes_policy::{Policy, PolicyName, Rule};

use crate::server::call::Call;
use crate::server::failure::Failure;
use crate::server::metrics::{Metrics, render};
use crate::server::reply::Reply;
use crate::server::routes::ROUTES;
use crate::server::stream::Stream;
use crate::server::system;
use crate::wire::{self, NoMembers, Rules, text};

pub(super) fn version(call: &Call) -> Reply {
    let build = &call.connection.shared.build;
    Reply::json(&wire::Version { version: build.version.clone(), commit: build.commit.clone() })
}

pub(super) async fn ready(call: &Call) -> Result<Reply, Failure> {
    call.within(call.keys().ready()).await?.map_err(Failure::not_ready)?;
    Ok(Reply::Empty)
}

/// Always 200. Departs from upstream: both members are sent when the store cannot be reached, because clients refuse
/// the one without the other.
pub(super) async fn status(call: &Call) -> Result<Reply, Failure> {
    let shared = &call.connection.shared;
    let store = call.within(call.keys().status()).await?;
    let memory = system::memory();
    let mut status = wire::Status {
        version: shared.build.version.clone(),
        os: system::OS.to_owned(),
        arch: system::ARCH.to_owned(),
        uptime: shared.started.elapsed().as_secs_f64().round() as u64,
        num_cpu: system::cpus(),
        num_cpu_used: shared.workers.len() as u64,
        mem_heap_used: memory.heap,
        mem_stack_used: memory.stack,
        ..wire::Status::default()
    };
    let is_well = store.is_ok();
    match store {
        Ok(store) => status.keystore_latency = Some((store.latency.as_secs_f64() * 1e3).round().max(1.0) as u64),
        Err(error) => {
            status.keystore_unavailable = true;
            status.keystore_unreachable = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout);
        }
    }
    let body = Bytes::from(wire::encode(&status));
    if is_well {
        shared.status.put(body.clone());
    }
    Ok(Reply::Json(body))
}

/// The old families; `?view=full` adds the operator's.
pub(super) fn metrics(call: &Call) -> Reply {
    let shared = &call.connection.shared;
    let full = call.request.uri.query() == Some("view=full");
    let workers: Vec<&Metrics> = shared.workers.iter().map(|worker| &worker.metrics).collect();
    Reply::Metrics(render(&workers, &system::gauges(shared, &call.state, full), full))
}

pub(super) fn apis(call: &Call) -> Reply {
    let apis: Vec<wire::ApiInfo> = ROUTES
        .iter()
        .map(|route| wire::ApiInfo {
            method: route.method.to_owned(),
            path: route.path.to_owned(),
            max_body: route.max_body as u64,
            timeout: call.state.timeout(route).map_or(0, |timeout| timeout.as_secs()),
        })
        .collect();
    Reply::json(&apis)
}

pub(super) fn events(call: &Call, stream: &Stream) -> Result<Reply, Failure> {
    let too_many = || Failure::text(StatusCode::TOO_MANY_REQUESTS, text::TOO_MANY_SUBSCRIBERS);
    let mut events = stream.subscribe().ok_or_else(too_many)?;
    // A reload or a shutdown since this request began has ended the other streams and does not know of this one.
    let shared = &call.connection.shared;
    if *shared.shutdown.borrow() || !Arc::ptr_eq(&shared.state.load(), &call.state) {
        events.close();
    }
    Ok(Reply::Events(events))
}

fn policy<'a>(call: &'a Call, name: &PolicyName) -> Result<&'a Policy, Failure> {
    let policy = call.state.policies.policy(name.as_str());
    policy.map(|policy| &**policy).ok_or_else(|| Failure::not_found(text::POLICY_NOT_FOUND))
}

fn rules(rules: &[Rule]) -> Rules {
    rules.iter().map(|rule| (rule.as_str().to_owned(), NoMembers {})).collect::<BTreeMap<_, _>>()
}

pub(super) fn describe_policy(call: &Call, name: &PolicyName) -> Result<Reply, Failure> {
    let policy = policy(call, name)?;
    Ok(Reply::json(&wire::PolicyInfo {
        name: policy.name().as_str().to_owned(),
        created_at: call.connection.shared.created_at,
        created_by: call.state.admin.to_string(),
        ephemeral: false,
    }))
}

pub(super) fn read_policy(call: &Call, name: &PolicyName) -> Result<Reply, Failure> {
    let policy = policy(call, name)?;
    Ok(Reply::json(&wire::PolicyRules {
        name: policy.name().as_str().to_owned(),
        allow: rules(policy.allow()),
        deny: rules(policy.deny()),
        created_at: call.connection.shared.created_at,
        created_by: call.state.admin.to_string(),
        ephemeral: false,
    }))
}

pub(super) fn describe_identity(call: &Call, identity: &Identity) -> Result<Reply, Failure> {
    let created_at = call.connection.shared.created_at;
    if call.state.admin_identity.as_ref() == Some(identity) {
        let info = wire::IdentityInfo {
            admin: true,
            policy: String::new(),
            created_at,
            created_by: String::new(),
            ephemeral: false,
        };
        return Ok(Reply::json(&info));
    }
    let policy = call.state.policies.lookup(identity).ok_or_else(|| Failure::not_found(text::IDENTITY_NOT_FOUND))?;
    Ok(Reply::json(&wire::IdentityInfo {
        admin: false,
        policy: policy.name().as_str().to_owned(),
        created_at,
        created_by: call.state.admin.to_string(),
        ephemeral: false,
    }))
}

/// Departs from upstream: the old server answered everybody but the admin with 404, so that nobody could find out why
/// they were refused.
pub(super) fn describe_self(call: &Call) -> Result<Reply, Failure> {
    let not_found = || Failure::not_found(text::IDENTITY_NOT_FOUND);
    let identity = call.identity().ok_or_else(not_found)?;
    let is_admin = call.state.admin_identity.as_ref() == Some(identity);
    let policy = call.state.policies.lookup(identity).filter(|_| !is_admin);
    if !is_admin && policy.is_none() {
        return Err(not_found());
    }
    let created_at = call.connection.shared.created_at;
    let created_by = if is_admin { String::new() } else { call.state.admin.to_string() };
    let name = policy.map_or_else(String::new, |policy| policy.name().as_str().to_owned());
    let identity = identity.as_str().to_owned();
    if asks_for_enclave(call) {
        let texts = |rules: &[Rule]| rules.iter().map(|rule| rule.as_str().to_owned()).collect();
        let policy = policy.map(|policy| wire::LegacyPolicy {
            allow: texts(policy.allow()),
            deny: texts(policy.deny()),
            created_at,
            created_by: created_by.clone(),
        });
        let legacy = wire::LegacySelf { identity, admin: is_admin, policy_name: name, created_at, created_by, policy };
        return Ok(Reply::json(&legacy));
    }
    Ok(Reply::json(&wire::SelfInfo {
        identity,
        admin: is_admin,
        policy: name,
        allow: policy.map_or_else(Rules::new, |policy| rules(policy.allow())),
        deny: policy.map_or_else(Rules::new, |policy| rules(policy.deny())),
        created_at,
        created_by,
        ephemeral: false,
    }))
}

/// Clients of 2022-12 to 2024-03 send `?enclave=`, and read the form of that time.
fn asks_for_enclave(call: &Call) -> bool {
    let query = call.request.uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair == "enclave" || pair.starts_with("enclave="))
}
