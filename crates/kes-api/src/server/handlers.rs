//! From HTTP to operations and back. Names are checked before a handler starts; what may go wrong is a [`Failure`].

mod changes;
mod info;
mod keys;
mod legacy;
mod listing;

use bytes::Bytes;
use kes_identity::Identity;
use kes_keystore::KeyName;
use kes_policy::PolicyName;

use super::call::Call;
use super::failure::Failure;
use super::lists;
use super::reply::Reply;
use super::routes::{Endpoint, Route};
use crate::wire::text;

/// What a request asks about, checked, and its body, not yet read.
pub(super) struct Input {
    target: Target,
    pub(super) body: Bytes,
    /// Whether there was a body at all, be it of no bytes.
    pub(super) has_body: bool,
}

/// What stands behind the route in the path.
enum Target {
    None,
    Key(KeyName),
    Policy(PolicyName),
    Identity(Identity),
    /// A policy and who is to have it.
    Assignment(PolicyName, Identity),
    /// The prefix of a listing pattern.
    Prefix(String),
}

impl Input {
    /// Checks the name or pattern.
    pub(super) fn parse(route: &'static Route, call: &Call) -> Result<Self, Failure> {
        let tail = call.tail();
        let name = || std::str::from_utf8(tail).unwrap_or_default();
        let invalid = |what| Failure::invalid_name(what, tail);
        let target = match route.endpoint {
            _ if retired(route, call) => Target::None,
            Endpoint::CreateKey
            | Endpoint::ImportKey
            | Endpoint::DescribeKey
            | Endpoint::DeleteKey
            | Endpoint::Generate
            | Endpoint::Encrypt
            | Endpoint::Decrypt
            | Endpoint::Hmac
            | Endpoint::BulkDecrypt => Target::Key(KeyName::parse(name()).map_err(|_| invalid("key name"))?),
            Endpoint::DescribePolicy
            | Endpoint::ReadPolicy
            | Endpoint::WritePolicy
            | Endpoint::AssignPolicy
            | Endpoint::DeletePolicy => Target::Policy(name().parse().map_err(|_| invalid("policy name"))?),
            Endpoint::DescribeIdentity | Endpoint::ForgetIdentity | Endpoint::DeleteIdentity => {
                Target::Identity(name().parse().map_err(|_| invalid("identity"))?)
            }
            Endpoint::AssignIdentity => assignment(name())?,
            Endpoint::ListKeys | Endpoint::ListPolicies | Endpoint::ListIdentities => {
                let invalid = || Failure::new(http::StatusCode::BAD_REQUEST, text::invalid_pattern(tail));
                Target::Prefix(lists::prefix(tail).ok_or_else(invalid)?.to_owned())
            }
            _ => Target::None,
        };
        Ok(Self { target, body: Bytes::new(), has_body: false })
    }
}

/// `<policy>/<identity>`, of the one route that has two names.
fn assignment(names: &str) -> Result<Target, Failure> {
    let (policy, identity) = names.split_once('/').unwrap_or((names, ""));
    let policy = policy.parse().map_err(|_| Failure::invalid_name("policy name", policy.as_bytes()))?;
    if identity.is_empty() {
        return Err(Failure::bad_request(text::IDENTITY_UNKNOWN));
    }
    let identity = identity.parse().map_err(|_| Failure::invalid_name("identity", identity.as_bytes()))?;
    Ok(Target::Assignment(policy, identity))
}

/// Whether a route of older releases is answered only with the word that it is not there any more.
fn retired(route: &'static Route, call: &Call) -> bool {
    route.endpoint == Endpoint::Retired || (route.changes_policies() && !call.state.settings.ephemeral_policies)
}

/// Whether the handler looks at the body of a request.
pub(super) fn reads_body(route: &'static Route, call: &Call) -> bool {
    route.max_body > 0 && !retired(route, call)
}

/// Does what the route is for.
pub(super) async fn run(call: &mut Call, route: &'static Route, input: Input) -> Result<Reply, Failure> {
    let Input { target, body, has_body } = input;
    match (route.endpoint, target) {
        (Endpoint::Generate, Target::Key(name)) => keys::generate(call, &name, &body, has_body).await,
        (Endpoint::Decrypt, Target::Key(name)) => keys::decrypt(call, &name, &body).await,
        (Endpoint::Encrypt, Target::Key(name)) => keys::encrypt(call, &name, &body).await,
        (Endpoint::Hmac, Target::Key(name)) => keys::hmac(call, &name, &body).await,
        (Endpoint::DescribeKey, Target::Key(name)) => keys::describe(call, &name).await,
        // Boxed, so that the rare work does not make the future of every request larger.
        (Endpoint::CreateKey, Target::Key(name)) => Box::pin(keys::create(call, &name)).await,
        (Endpoint::ImportKey, Target::Key(name)) => Box::pin(keys::import(call, &name, &body)).await,
        (Endpoint::DeleteKey, Target::Key(name)) => Box::pin(keys::delete(call, &name)).await,
        (Endpoint::BulkDecrypt, Target::Key(name)) => Box::pin(legacy::bulk_decrypt(call, &name, &body)).await,
        (Endpoint::ListKeys, Target::Prefix(prefix)) => Box::pin(listing::keys(call, &prefix)).await,
        (Endpoint::ListPolicies, Target::Prefix(prefix)) => Ok(listing::policies(call, &prefix)),
        (Endpoint::ListIdentities, Target::Prefix(prefix)) => Ok(listing::identities(call, &prefix)),
        (Endpoint::DescribePolicy, Target::Policy(name)) => info::describe_policy(call, &name),
        (Endpoint::ReadPolicy, Target::Policy(name)) => info::read_policy(call, &name),
        (Endpoint::DescribeIdentity, Target::Identity(identity)) => info::describe_identity(call, &identity),
        (Endpoint::DescribeSelf, _) => info::describe_self(call),
        (Endpoint::Version, _) => Ok(info::version(call)),
        (Endpoint::Status, _) => match call.connection.shared.status.get() {
            Some(answer) => Ok(Reply::Json(answer)),
            None => Box::pin(info::status(call)).await,
        },
        (Endpoint::Ready, _) => Box::pin(info::ready(call)).await,
        (Endpoint::Metrics, _) => Ok(info::metrics(call)),
        (Endpoint::Apis, _) => Ok(info::apis(call)),
        (Endpoint::AuditLog, _) => info::events(call, &call.connection.shared.audit.stream),
        (Endpoint::ErrorLog, _) => info::events(call, &call.connection.shared.log.stream),
        (Endpoint::WritePolicy, Target::Policy(name)) => changes::write_policy(call, route, &name, &body),
        (Endpoint::DeletePolicy, Target::Policy(name)) => changes::delete_policy(call, route, &name),
        (Endpoint::AssignPolicy, Target::Policy(name)) => changes::assign_policy(call, route, &name, &body),
        (Endpoint::AssignIdentity, Target::Assignment(policy, identity)) => {
            changes::assign_identity(call, route, &policy, &identity)
        }
        (Endpoint::DeleteIdentity, Target::Identity(identity)) => {
            changes::delete_identity(call, route, &identity, text::DELETE_ADMIN)
        }
        (Endpoint::ForgetIdentity, Target::Identity(identity)) => {
            changes::delete_identity(call, route, &identity, text::IDENTITY_IS_ROOT)
        }
        (Endpoint::Retired, _) => Err(legacy::retired()),
        _ if route.changes_policies() => Err(legacy::retired()),
        (endpoint, _) => unreachable!("{endpoint:?} is parsed with its own target"),
    }
}
