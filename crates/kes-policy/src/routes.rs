//! The paths that requests come on, so that a pattern can be judged without asking the service.
//!
//! The service has a route table of its own, with handlers and limits; this one holds only what a policy can name.
//! Sources: http-api 3 (routes at HEAD) and 9.1 (routes that older releases had).

/// What follows a route's path in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: the path is the whole request path.
    Nothing,
    /// A name of a key, policy or identity: 1–80 bytes of `0-9A-Za-z_-`.
    Name,
    /// The start of a name, 0–80 bytes, and perhaps a `*` at its end.
    Listing,
    /// Anything: two names, or a route that is gone.
    Anything,
}

/// How this server treats a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Answered, after the policy has been asked.
    Guarded,
    /// Answered without asking the policy.
    Open,
    /// A route of older releases that is still answered, after the policy has been asked.
    Legacy,
    /// A route of older releases that changes policies. Answered for the administrator, and for whom a rule names it: a
    /// rule that begins with the route's path. A wide one, such as `/v1/*`, does not count.
    Named,
    /// A route of older releases that no longer does anything.
    Gone,
}

/// A path that requests come on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The fixed part, ending in `/` if something follows.
    pub path: &'static str,
    /// What follows the fixed part.
    pub tail: Tail,
    /// How this server treats it.
    pub standing: Standing,
}

impl Route {
    /// The pattern for every request on this route: the path, and a `*` if something follows.
    #[must_use]
    pub fn pattern(&self) -> String {
        match self.tail {
            Tail::Nothing => self.path.to_owned(),
            _ => format!("{}*", self.path),
        }
    }

    /// The route that answers `path`: the one that is equal to it, or whose fixed part starts it.
    #[must_use]
    pub fn of(path: &str) -> Option<&'static Self> {
        ROUTES.iter().find(|route| match route.tail {
            Tail::Nothing => path == route.path,
            _ => path.starts_with(route.path),
        })
    }
}

const fn route(path: &'static str, tail: Tail, standing: Standing) -> Route {
    Route { path, tail, standing }
}

/// All of them: what is answered in the order of the documentation, then what older releases had.
pub const ROUTES: &[Route] = {
    use Standing::{Gone, Guarded, Legacy, Named, Open};
    use Tail::{Anything, Listing, Name, Nothing};
    &[
        route("/version", Nothing, Open),
        route("/v1/ready", Nothing, Guarded),
        route("/v1/status", Nothing, Guarded),
        route("/v1/metrics", Nothing, Guarded),
        route("/v1/api", Nothing, Guarded),
        route("/v1/key/create/", Name, Guarded),
        route("/v1/key/import/", Name, Guarded),
        route("/v1/key/describe/", Name, Guarded),
        route("/v1/key/list/", Listing, Guarded),
        route("/v1/key/delete/", Name, Guarded),
        route("/v1/key/generate/", Name, Guarded),
        route("/v1/key/encrypt/", Name, Guarded),
        route("/v1/key/decrypt/", Name, Guarded),
        route("/v1/key/hmac/", Name, Guarded),
        route("/v1/policy/describe/", Name, Guarded),
        route("/v1/policy/read/", Name, Guarded),
        route("/v1/policy/list/", Listing, Guarded),
        route("/v1/identity/describe/", Name, Guarded),
        route("/v1/identity/list/", Listing, Guarded),
        route("/v1/identity/self/describe", Nothing, Open),
        route("/v1/log/error", Nothing, Guarded),
        route("/v1/log/audit", Nothing, Guarded),
        route("/v1/key/bulk/decrypt/", Name, Legacy),
        route("/v1/log/error/trace", Nothing, Legacy),
        route("/v1/log/audit/trace", Nothing, Legacy),
        route("/v1/policy/write/", Name, Named),
        route("/v1/policy/delete/", Name, Named),
        route("/v1/policy/assign/", Name, Named),
        route("/v1/identity/assign/", Anything, Named),
        route("/v1/identity/forget/", Name, Named),
        route("/v1/identity/delete/", Name, Named),
        route("/v1/enclave/create/", Anything, Gone),
        route("/v1/enclave/delete/", Anything, Gone),
        route("/v1/enclave/describe/", Anything, Gone),
        route("/v1/secret/create/", Anything, Gone),
        route("/v1/secret/describe/", Anything, Gone),
        route("/v1/secret/read/", Anything, Gone),
        route("/v1/secret/delete/", Anything, Gone),
        route("/v1/secret/list/", Anything, Gone),
        route("/v1/sys/seal", Nothing, Gone),
    ]
};
