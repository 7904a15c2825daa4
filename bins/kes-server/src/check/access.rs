//! Who may do what: an administrator, members, rules, and routes without authentication.

use kes_config::{ClientAuth, Inspection};
use kes_policy::Policy;

use super::minio::{self, Urgency};
use super::report::Report;

/// Routes that may be open to everybody: they tell about the server, not about keys.
const HARMLESS: [&str; 6] =
    ["/version", "/v1/ready", "/v1/status", "/v1/metrics", "/v1/api", "/v1/identity/self/describe"];

pub(super) fn check(report: &mut Report, file: &Inspection, with_minio: bool) {
    somebody(report, file);
    for policy in file.sections.policies.policies() {
        members(report, file, policy);
        if with_minio {
            minio(report, file, policy);
        }
    }
    open_routes(report, file);
    verified_clients(report, file);
}

/// Whether anybody can do anything.
fn somebody(report: &mut Report, file: &Inspection) {
    let Some(admin) = &file.sections.admin else { return };
    let policies = &file.sections.policies;
    let mut members = policies.members();
    if admin.identity().is_none() && !members.any(|(_, policy)| !policy.allow().is_empty()) {
        let key = if policies.policies().len() == 0 { "admin.identity" } else { "policy" };
        report.warn(
            file.place(key),
            "nobody can do anything: there is no administrator, and no identity is in a policy that allows something",
            "add 'policy.<name>' with 'allow' and 'identities'; `kes identity of` prints the identity of a client",
        );
    }
}

fn members(report: &mut Report, file: &Inspection, policy: &Policy) {
    let name = policy.name();
    let has_members = file.sections.policies.members().any(|(_, of)| of.name() == name);
    // Members that are refused are errors of their own.
    let is_written = !has_members
        && file
            .place(&format!("policy.{name}.identities[0]"))
            .is_some_and(|place| file.errors.iter().any(|error| error.place() == Some(&place)));
    if !has_members && !is_written {
        report.warn(
            file.place(&format!("policy.{name}")),
            format!("policy '{name}' is nobody's: it has no identities"),
            format!("add 'policy.{name}.identities', or remove the policy"),
        );
    }
    if has_members && policy.allow().is_empty() {
        report.warn(
            file.place(&format!("policy.{name}")),
            format!("the members of policy '{name}' may do nothing: it has no rules under 'allow'"),
            format!("add 'policy.{name}.allow'"),
        );
    }
}

fn minio(report: &mut Report, file: &Inspection, policy: &Policy) {
    if policy.allow().is_empty() {
        return; // told already
    }
    let Some(gaps) = minio::gaps(policy) else { return };
    let name = policy.name();
    let allow = file.place(&format!("policy.{name}.allow"));
    if !gaps.missing.is_empty() {
        let needs = gaps.missing.iter().map(|(need, _)| format!("{} ({})", need.route, need.used_for));
        let vital = gaps.missing.iter().any(|(need, _)| need.urgency == Urgency::Required);
        let verb = if vital { "cannot work" } else { "is hampered" };
        let rules: Vec<_> = gaps.missing.iter().map(|(_, rule)| format!("\n- {rule}")).collect();
        report.warn(
            allow,
            format!(
                "policy '{name}' is too narrow for a MinIO, which {verb} without: {}",
                needs.collect::<Vec<_>>().join(", ")
            ),
            format!("add below 'policy.{name}.allow':{}", rules.concat()),
        );
    }
    for (need, rule) in gaps.denied {
        let index = policy.deny().iter().position(|deny| deny.as_str() == rule).unwrap_or(0);
        report.warn(
            file.place(&format!("policy.{name}.deny[{index}]")),
            format!(
                "policy '{name}' refuses a MinIO {} ({}): the deny rule {rule:?} wins over 'allow'",
                need.route, need.used_for
            ),
            "narrow the deny rule",
        );
    }
}

fn open_routes(report: &mut Report, file: &Inspection) {
    for (path, _) in file.sections.api.iter().filter(|(_, route)| route.skip_auth) {
        let place = file.place(&format!("api.{path}.skip_auth"));
        if file.errors.iter().any(|error| error.place() == place.as_ref()) {
            continue;
        }
        if HARMLESS.contains(path) {
            report.note(
                place,
                format!("{path} is answered to everybody, and client certificates become optional in the handshake"),
                "",
            );
        } else {
            report.warn(
                place,
                format!("everybody who reaches this server may request {path}, without any certificate"),
                "remove it; give the identity that needs the route a policy",
            );
        }
    }
}

fn verified_clients(report: &mut Report, file: &Inspection) {
    let Some(tls) = &file.sections.tls else { return };
    match tls.auth {
        ClientAuth::On => report.note(
            file.place("tls.auth"),
            "clients need a certificate of an authority that is trusted here: API keys do not work",
            "",
        ),
        ClientAuth::Off if tls.ca.is_some() => report.warn(
            file.place("tls.ca"),
            "'tls.ca' has no effect while 'tls.auth' is off: client certificates are not verified",
            "write 'tls.auth: on' if they should be, else remove 'tls.ca'",
        ),
        ClientAuth::Off => {}
    }
}
