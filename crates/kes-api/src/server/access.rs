//! Who is asking, and may they.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use kes_identity::{Identity, PeerError, client_verifier};
use kes_policy::{Decision, Policy, Suggestion};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::call::{Call, Caller, Verdict};
use super::connection::Connection;
use super::failure::Failure;
use super::log::Level;
use super::routes::{Access, Route};
use super::state::{Proxy, State};
use crate::wire::text;

/// Refusals that were logged already: a client that asks every ten seconds is worth one line, not thousands.
#[derive(Debug, Default)]
pub(super) struct Reported(Mutex<HashSet<(String, usize)>>);

/// Entries of [`Reported`]; when it is full it is emptied, so that nobody can silence what comes after.
const REPORTED: usize = 4096;

impl Reported {
    /// Whether this is the first time.
    fn first(&self, identity: &str, what: usize) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REPORTED {
            seen.clear();
        }
        seen.insert((identity.to_owned(), what))
    }

    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// In [`Reported`]: an identity that has no policy, whatever it asks for.
const UNKNOWN_IDENTITY: usize = usize::MAX;
/// In [`Reported`]: a header that only a TLS proxy may send.
const PROXY_HEADER: usize = usize::MAX - 1;
/// In [`Reported`]: an enclave that there is not.
const ENCLAVE: usize = usize::MAX - 2;

/// Finds out who is asking: the peer, or whom a TLS proxy speaks for.
pub(super) fn identify(state: &State, connection: &Connection, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    let peer = connection.identity.as_ref().ok();
    let Some(proxy) = &state.settings.proxy else { return Ok(None) };
    if !peer.is_some_and(|peer| proxy.identities.contains(peer)) {
        if headers.contains_key(&proxy.header) {
            report_ignored_header(connection, proxy);
        }
        return Ok(None);
    }
    let identity = forwarded(state, proxy, headers)?;
    if state.admin_identity.as_ref() == Some(&identity) && !proxy.admin {
        return Err(
            Failure::forbidden().because("a TLS proxy forwarded the admin's certificate: tls.proxy.admin is off")
        );
    }
    let ip = forwarded_for(headers).map_or_else(|| connection.ip.clone(), |ip| ip.to_string().into());
    Ok(Some(Caller { identity, ip }))
}

/// The certificate in a proxy's header: URL-escaped PEM (http-api 1.7).
fn forwarded(state: &State, proxy: &Proxy, headers: &HeaderMap) -> Result<Identity, Failure> {
    let mut values = headers.get_all(&proxy.header).iter();
    let value = values.next().ok_or_else(|| Failure::bad_request(text::PROXY_NO_CERTIFICATE))?;
    // No byte of an escaped PEM is a comma: where one stands, somebody has joined several headers into one, and the first
    // of them may be the client's own.
    if values.next().is_some() || value.as_bytes().contains(&b',') {
        return Err(Failure::bad_request(text::PROXY_TOO_MANY_CERTIFICATES));
    }
    let invalid = || Failure::bad_request(text::PROXY_INVALID_CERTIFICATE);
    let pem = query_unescape(value.as_bytes()).ok_or_else(invalid)?;
    let block =
        kes_identity::pem::blocks(&pem).next().ok_or_else(invalid)?.map_err(|error| invalid().because(error))?;
    if !block.is_certificate() {
        return Err(invalid());
    }
    let certificate = CertificateDer::from(block.contents());
    // A certificate authority has no identity.
    let identity = kes_identity::peer_identity(std::slice::from_ref(&certificate)).map_err(|error| match error {
        PeerError::AuthorityFirst => Failure::forbidden().because(error),
        other => invalid().because(other),
    })?;
    // Compat: the old server answered this one refusal with an empty text.
    client_verifier(state.tls.verification.clone(), true)
        .verify_client_cert(&certificate, &[], UnixTime::now())
        .map_err(|error| Failure::new(http::StatusCode::FORBIDDEN, &b""[..]).because(error))?;
    Ok(identity)
}

/// As Go's `url.QueryUnescape`: `+` is a blank.
fn query_unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// The first address of `X-Forwarded-For`, its port cut off.
fn forwarded_for(headers: &HeaderMap) -> Option<std::net::IpAddr> {
    let value = headers.get("x-forwarded-for")?.to_str().ok()?;
    let first = value.split(',').next()?.trim();
    let with_port = || first.parse::<std::net::SocketAddr>().map(|address| address.ip());
    first.parse().or_else(|_| with_port()).ok()
}

fn report_ignored_header(connection: &Connection, proxy: &Proxy) {
    connection.worker.metrics.proxy_header_ignored();
    let identity = connection.identity.as_ref().map_or("-", Identity::as_str);
    if connection.shared.reported.first(identity, PROXY_HEADER) {
        connection.shared.log.write(
            Level::Warn,
            format_args!(
                "ignored a {} header: its sender is no TLS proxy; proxies stand under tls.proxy.identities",
                proxy.header
            ),
            &[("req.ip", &connection.ip), ("req.identity", &identity)],
        );
    }
}

/// Decides whether the request may go on, and remembers by which rule.
pub(super) fn authorize(call: &mut Call, route: &'static Route) -> Result<(), Failure> {
    call.authenticated = true;
    if let Some(query) = call.request.uri.query() {
        report_enclave(call, query);
    }
    if route.access == Access::Anyone || call.state.skips_auth(route) {
        call.verdict = Verdict::SkippedAuth;
        return Ok(());
    }
    let Some(identity) = call.identity() else {
        return Err(unidentified(call));
    };
    if call.state.admin_identity.as_ref() == Some(identity) {
        call.verdict = Verdict::Admin;
        return Ok(());
    }
    let Some(policy) = call.state.policies.lookup(identity) else {
        report_unknown(call, identity);
        call.verdict = Verdict::UnknownIdentity;
        return Err(Failure::forbidden());
    };
    let decision = decide(policy, route, call.path());
    let verdict = Verdict::of(policy, &decision);
    let outcome = if decision.is_allowed() {
        Ok(())
    } else {
        report_refusal(call, route, identity, &decision, &verdict);
        Err(Failure::forbidden())
    };
    call.verdict = verdict;
    outcome
}

fn decide<'a>(policy: &'a Policy, route: &'static Route, path: &[u8]) -> Decision<'a> {
    // A route that was asked for without its slash is judged with it, so that existing rules give the same answer.
    let slashless = route.path.ends_with('/') && path.len() < route.path.len();
    let path = if slashless { route.path.as_bytes() } else { path };
    match route.access {
        Access::Named => policy.decide_named(route.path, path),
        Access::Anyone | Access::Policy => policy.decide(path),
    }
}

/// Whether a caller who was admitted under an older state may make its request under this one too.
pub(super) fn still_may(call: &Call, state: &State, route: &'static Route) -> bool {
    let Some(identity) = call.identity() else { return false };
    let policy = || state.policies.lookup(identity);
    state.admin_identity.as_ref() == Some(identity)
        || policy().is_some_and(|policy| decide(policy, route, call.path()).is_allowed())
}

/// Compat: an enclave in the query is ignored, whatever its name, as the old server has done since 2023-08. But whoever
/// counts on its keys being apart from others' should be told that they are not.
fn report_enclave(call: &Call, query: &str) {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("enclave="));
    let Some(enclave) = named.filter(|name| !matches!(*name, "" | "default")) else { return };
    if call.connection.shared.reported.first(call.identity_text(), ENCLAVE) {
        let enclave: String = enclave.chars().take(80).collect();
        call.connection.shared.log.write(
            Level::Warn,
            "ignored an enclave: there is only the default one, whose keys all clients share",
            &[("enclave", &enclave), ("req.ip", &call.ip()), ("req.identity", &call.identity_text())],
        );
    }
}

fn unidentified(call: &Call) -> Failure {
    match &call.connection.identity {
        Err(PeerError::MoreThanOne) => Failure::bad_request(text::MORE_THAN_ONE_CERTIFICATE),
        Err(error) => Failure::bad_request(text::CERTIFICATE_REQUIRED).because(*error),
        Ok(_) => Failure::bad_request(text::CERTIFICATE_REQUIRED),
    }
}

fn report_unknown(call: &Call, identity: &Identity) {
    if call.connection.shared.reported.first(identity.as_str(), UNKNOWN_IDENTITY) {
        call.connection.shared.log.write(
            Level::Warn,
            format_args!(
                "access denied: unknown identity; to let it in, add this line under policy.<name>.identities: - {identity}"
            ),
            &[
                ("req.method", &call.method()),
                ("req.path", &String::from_utf8_lossy(call.path())),
                ("req.ip", &call.ip()),
                ("req.identity", identity),
                ("req.id", &call.id),
            ],
        );
    }
}

fn report_refusal(call: &Call, route: &'static Route, identity: &Identity, decision: &Decision<'_>, verdict: &Verdict) {
    if !call.connection.shared.reported.first(identity.as_str(), route.index) {
        return;
    }
    let (policy, rule) = verdict.names();
    let path = String::from_utf8_lossy(call.path());
    let message = match (decision, Suggestion::for_path(&path)) {
        (Decision::Denied { .. }, _) => format!("access denied: rule '{rule}' under policy.{policy}.deny"),
        (_, Some(line)) => format!("access denied: no rule; to allow it, add under policy.{policy}.allow: {line}"),
        (_, None) => "access denied: no rule".to_owned(),
    };
    call.connection.shared.log.write(
        Level::Warn,
        message,
        &[
            ("req.method", &call.method()),
            ("req.path", &path),
            ("req.ip", &call.ip()),
            ("req.identity", identity),
            ("policy", &policy),
            ("rule", &rule),
            ("req.id", &call.id),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_unescaped_as_go_does() {
        assert_eq!(query_unescape(b"a+b%2Bc%0A").as_deref(), Some(&b"a b+c\n"[..]));
        for bad in [&b"%"[..], b"%4", b"%zz"] {
            assert_eq!(query_unescape(bad), None);
        }
    }

    #[test]
    fn forwarded_addresses_may_have_blanks_and_ports() {
        for (value, expected) in [
            ("10.1.2.3", Some("10.1.2.3")),
            (" 10.1.2.3 , 10.0.0.1", Some("10.1.2.3")),
            ("10.1.2.3:99", Some("10.1.2.3")),
            ("[::1]:99", Some("::1")),
            ("::1", Some("::1")),
            ("unknown", None),
            ("", None),
        ] {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static("x-forwarded-for"), value.parse().unwrap())]);
            assert_eq!(forwarded_for(&headers).map(|ip| ip.to_string()).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_refusal_is_reported_once_until_a_reload() {
        let reported = Reported::default();
        assert!(reported.first("a", 1) && !reported.first("a", 1) && reported.first("a", 2) && reported.first("b", 1));
        reported.forget();
        assert!(reported.first("a", 1));
    }
}
