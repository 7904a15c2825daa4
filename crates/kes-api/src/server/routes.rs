//! Every endpoint, in one table: what it answers to and within which limits. Limits come from here, never from handlers.

use std::time::Duration;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Version,
    Ready,
    Status,
    Metrics,
    Apis,
    CreateKey,
    ImportKey,
    DescribeKey,
    ListKeys,
    DeleteKey,
    Generate,
    Encrypt,
    Decrypt,
    Hmac,
    DescribePolicy,
    ReadPolicy,
    ListPolicies,
    DescribeIdentity,
    ListIdentities,
    DescribeSelf,
    ErrorLog,
    AuditLog,
    BulkDecrypt,
    WritePolicy,
    AssignPolicy,
    DeletePolicy,
    AssignIdentity,
    ForgetIdentity,
    DeleteIdentity,
    /// Known to older servers, not to this one: 501.
    Retired,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone; the caller is identified if it can be.
    Anyone,
    /// The admin, and who has a policy that allows it.
    Policy,
    /// The admin, and who has a policy with a rule for just this route.
    Named,
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Route {
    /// Position in the two tables together, for arrays of counters.
    pub(super) index: usize,
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    /// Bytes; 0 for routes that take no body.
    pub(super) max_body: usize,
    /// `None` for streams.
    pub(super) timeout: Option<Duration>,
    pub(super) access: Access,
    pub(super) endpoint: Endpoint,
}

const MB: usize = 1_000_000;
const MIB: usize = 1 << 20;
const T10: Option<Duration> = Some(Duration::from_secs(10));
const T15: Option<Duration> = Some(Duration::from_secs(15));

const fn route(
    path: &'static str,
    method: &'static str,
    max_body: usize,
    timeout: Option<Duration>,
    access: Access,
    endpoint: Endpoint,
) -> Route {
    Route { index: 0, path, method, max_body, timeout, access, endpoint }
}

/// The routes of the last open release, sorted by path as `/v1/api` lists them (http-api 3).
pub(super) static ROUTES: [Route; 22] = numbered(
    0,
    [
        route("/v1/api", "GET", 0, T10, Access::Policy, Endpoint::Apis),
        route("/v1/identity/describe/", "GET", 0, T15, Access::Policy, Endpoint::DescribeIdentity),
        route("/v1/identity/list/", "GET", 0, T15, Access::Policy, Endpoint::ListIdentities),
        route("/v1/identity/self/describe", "GET", 0, T15, Access::Anyone, Endpoint::DescribeSelf),
        route("/v1/key/create/", "PUT", 0, T15, Access::Policy, Endpoint::CreateKey),
        route("/v1/key/decrypt/", "PUT", MB, T15, Access::Policy, Endpoint::Decrypt),
        route("/v1/key/delete/", "DELETE", 0, T15, Access::Policy, Endpoint::DeleteKey),
        route("/v1/key/describe/", "GET", 0, T15, Access::Policy, Endpoint::DescribeKey),
        route("/v1/key/encrypt/", "PUT", MB, T15, Access::Policy, Endpoint::Encrypt),
        route("/v1/key/generate/", "PUT", MB, T15, Access::Policy, Endpoint::Generate),
        route("/v1/key/hmac/", "PUT", MB, T15, Access::Policy, Endpoint::Hmac),
        route("/v1/key/import/", "PUT", MB, T15, Access::Policy, Endpoint::ImportKey),
        route("/v1/key/list/", "GET", 0, T15, Access::Policy, Endpoint::ListKeys),
        route("/v1/log/audit", "GET", 0, None, Access::Policy, Endpoint::AuditLog),
        route("/v1/log/error", "GET", 0, None, Access::Policy, Endpoint::ErrorLog),
        route("/v1/metrics", "GET", 0, T15, Access::Policy, Endpoint::Metrics),
        route("/v1/policy/describe/", "GET", 0, T15, Access::Policy, Endpoint::DescribePolicy),
        route("/v1/policy/list/", "GET", 0, T15, Access::Policy, Endpoint::ListPolicies),
        route("/v1/policy/read/", "GET", 0, T15, Access::Policy, Endpoint::ReadPolicy),
        route("/v1/ready", "GET", 0, T15, Access::Policy, Endpoint::Ready),
        route("/v1/status", "GET", 0, T15, Access::Policy, Endpoint::Status),
        route("/version", "GET", 0, T10, Access::Anyone, Endpoint::Version),
    ],
);

/// Routes of older releases (http-api 9): served as then, or refused with 501; never listed by `/v1/api`.
pub(super) static LEGACY: [Route; 18] = numbered(
    22,
    [
        route("/v1/key/bulk/decrypt/", "POST", MIB, T15, Access::Policy, Endpoint::BulkDecrypt),
        route("/v1/log/audit/trace", "GET", 0, None, Access::Policy, Endpoint::AuditLog),
        route("/v1/log/error/trace", "GET", 0, None, Access::Policy, Endpoint::ErrorLog),
        route("/v1/policy/write/", "POST", MB, T15, Access::Named, Endpoint::WritePolicy),
        route("/v1/policy/delete/", "DELETE", 0, T15, Access::Named, Endpoint::DeletePolicy),
        route("/v1/policy/assign/", "POST", MB, T15, Access::Named, Endpoint::AssignPolicy),
        route("/v1/identity/assign/", "POST", 0, T15, Access::Named, Endpoint::AssignIdentity),
        route("/v1/identity/forget/", "DELETE", 0, T15, Access::Named, Endpoint::ForgetIdentity),
        route("/v1/identity/delete/", "DELETE", 0, T15, Access::Named, Endpoint::DeleteIdentity),
        route("/v1/enclave/create/", "POST", MB, T15, Access::Policy, Endpoint::Retired),
        route("/v1/enclave/delete/", "DELETE", 0, T15, Access::Policy, Endpoint::Retired),
        route("/v1/enclave/describe/", "GET", 0, T15, Access::Policy, Endpoint::Retired),
        route("/v1/secret/create/", "POST", MB, T15, Access::Policy, Endpoint::Retired),
        route("/v1/secret/describe/", "GET", 0, T15, Access::Policy, Endpoint::Retired),
        route("/v1/secret/read/", "GET", 0, T15, Access::Policy, Endpoint::Retired),
        route("/v1/secret/delete/", "DELETE", 0, T15, Access::Policy, Endpoint::Retired),
        route("/v1/secret/list/", "GET", 0, T15, Access::Policy, Endpoint::Retired),
        route("/v1/sys/seal", "POST", 0, T15, Access::Policy, Endpoint::Retired),
    ],
);

impl Route {
    /// Whether the declared method, or POST in the place of PUT, was used. Methods are case-sensitive.
    pub(super) fn takes(&self, method: &str) -> bool {
        method == self.method || (self.method == "PUT" && method == "POST")
    }

    /// What may stand in an `Allow` header.
    pub(super) fn allow(&self) -> &'static str {
        if self.method == "PUT" { "PUT, POST" } else { self.method }
    }

    /// Whether policies or identities are changed.
    pub(super) fn changes_policies(&self) -> bool {
        self.access == Access::Named
    }

    /// Whether the work changes the store and must therefore outlive its connection.
    pub(super) fn mutates(&self) -> bool {
        matches!(self.endpoint, Endpoint::CreateKey | Endpoint::ImportKey | Endpoint::DeleteKey)
    }
}

/// Index of requests that matched no route.
pub(super) const NO_ROUTE: usize = 40;

const fn numbered<const N: usize>(first: usize, mut routes: [Route; N]) -> [Route; N] {
    let mut at = 0;
    while at < N {
        routes[at].index = first + at;
        at += 1;
    }
    routes
}

/// The route of a decoded path, and where in the path its name or pattern begins.
///
/// `path` has been through [`super::path`]: escaped slashes do not separate. A route that ends in a slash is also found
/// without it; the name is then empty.
pub(super) fn find(path: &[u8], legacy: bool) -> Option<(&'static Route, usize)> {
    let table = |routes: &'static [Route]| routes.iter().find_map(|route| Some((route, route.tail(path)?)));
    table(&ROUTES).or_else(|| if legacy { table(&LEGACY) } else { None })
}

/// The route of this exact spelling, as configuration files write it.
pub(super) fn exact(path: &str) -> Option<&'static Route> {
    ROUTES.iter().chain(&LEGACY).find(|route| route.path == path)
}

impl Route {
    fn tail(&self, path: &[u8]) -> Option<usize> {
        let own = self.path.as_bytes();
        if own.ends_with(b"/") {
            (path.starts_with(own) || path == &own[..own.len() - 1]).then(|| own.len().min(path.len()))
        } else {
            (path == own).then_some(own.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_golden_one() {
        let lines: Vec<String> = ROUTES
            .iter()
            .chain(&LEGACY)
            .map(|route| {
                let timeout = route.timeout.map_or(0, |timeout| timeout.as_secs());
                format!("{} {} {} {timeout} {:?}", route.method, route.path, route.max_body, route.access)
            })
            .collect();
        assert_eq!(lines.join("\n"), include_str!("routes.golden").trim_end());
        assert!(ROUTES.windows(2).all(|pair| pair[0].path < pair[1].path), "sorted by path");
        assert_eq!(
            ROUTES.iter().chain(&LEGACY).map(|route| route.index).collect::<Vec<_>>(),
            (0..NO_ROUTE).collect::<Vec<_>>()
        );
    }

    /// What a policy can name, and what its warnings call out of reach, must be what is served.
    #[test]
    fn policies_know_the_same_routes() {
        use kes_policy::{Standing, Tail};
        let ours = ROUTES.iter().chain(&LEGACY).map(|route| {
            let standing = match (route.access, route.endpoint) {
                (_, Endpoint::Retired) => Standing::Gone,
                (Access::Anyone, _) => Standing::Open,
                (Access::Named, _) => Standing::Named,
                (Access::Policy, _) if route.index >= ROUTES.len() => Standing::Legacy,
                (Access::Policy, _) => Standing::Guarded,
            };
            (route.path, route.path.ends_with('/'), format!("{standing:?}"))
        });
        let theirs = kes_policy::ROUTES
            .iter()
            .map(|route| (route.path, route.tail != Tail::Nothing, format!("{:?}", route.standing)));
        let sorted = |routes: Vec<_>| std::collections::BTreeSet::from_iter(routes);
        assert_eq!(sorted(ours.collect()), sorted(theirs.collect()));
        assert_eq!(kes_policy::ROUTES.len(), NO_ROUTE, "none twice");
        for route in kes_policy::ROUTES.iter().filter(|route| route.tail == Tail::Listing) {
            let (route, _) = find(route.path.as_bytes(), true).unwrap();
            assert!(matches!(
                route.endpoint,
                Endpoint::ListKeys | Endpoint::ListPolicies | Endpoint::ListIdentities | Endpoint::Retired
            ));
        }
    }

    #[test]
    fn paths_find_their_route() {
        for (path, expected) in [
            ("/v1/status", Some(("/v1/status", 10))),
            ("/v1/status/", None),
            ("/V1/status", None),
            ("/v1/key/", None),
            ("/v1", None),
            ("/", None),
            ("/v1/key/list", Some(("/v1/key/list/", 12))),
            ("/v1/key/list/", Some(("/v1/key/list/", 13))),
            ("/v1/key/list/ab", Some(("/v1/key/list/", 13))),
            ("/v1/key/describe/a/b", Some(("/v1/key/describe/", 17))),
            ("/v1/identity/self/describe", Some(("/v1/identity/self/describe", 26))),
            ("/v1/identity/self/describe/", None),
            ("/v1/key/bulk/decrypt/x", Some(("/v1/key/bulk/decrypt/", 21))),
        ] {
            assert_eq!(find(path.as_bytes(), true).map(|(route, tail)| (route.path, tail)), expected, "{path}");
        }
        assert!(find(b"/v1/key/bulk/decrypt/x", false).is_none());
    }
}
