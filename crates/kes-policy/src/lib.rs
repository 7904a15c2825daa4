//! May they? Rules, policies and the decision.
//!
//! A policy is two lists of patterns for request paths; an identity has at most one policy. A request passes if no
//! pattern under `deny` and at least one under `allow` matches its decoded path.
//!
//! This crate does not know HTTP, files or YAML, nor who the administrator is: the service lets that one identity
//! pass before it asks here, and does not ask at all for routes that need no policy.
//!
//! ```
//! use kes_policy::{Matching, Policy, PolicySet};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let minio = "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23".parse()?;
//! let allow = ["/v1/key/create/*", "/v1/key/generate/*", "/v1/key/decrypt/*"];
//! let deny = ["/v1/key/*/internal*"];
//! let (policy, findings) = Policy::new("minio".parse()?, &allow, &deny, Matching::default());
//! for finding in &findings {
//!     eprintln!("{finding}"); // the deny rule is a glob, which the old server ignored
//! }
//! let policies = PolicySet::builder().policy(policy, [minio]).build()?;
//!
//! # let minio = "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23".parse()?;
//! assert!(policies.decide(&minio, "/v1/key/generate/my-key").is_allowed());
//! let decision = policies.decide(&minio, "/v1/key/generate/internal-1");
//! assert_eq!(decision.rule().map(|rule| rule.as_str()), Some("/v1/key/*/internal*"));
//! # Ok(())
//! # }
//! ```
//!
//! # Why it is shaped so
//!
//! Releases read patterns differently: as globs up to 2023-10-03, as plain text with an optional `*` at the end since
//! 2023-10-24. The change left deny rules in old files without any effect, and nobody was told. So a [`Rule`] is
//! compiled with both readings, [`Matching`] says which count (by default: deny by either, allow by today's and by what
//! is plainly a glob), and everything that looks different from what it does becomes a [`Finding`], a value that
//! servers log and tools print. To judge a pattern the crate knows the [`ROUTES`] there are.
//!
//! The decision runs for every request: it allocates nothing, never takes exponential time, and names the rule it rests
//! on, because "403" alone has cost operators days.

mod finding;
mod glob;
mod name;
mod names;
mod policy;
mod reach;
mod routes;
mod rule;
mod set;
mod suggestion;

pub use finding::{Effect, Finding, Kind, Severity};
pub use glob::Malformed;
pub use name::PolicyName;
pub use names::{Names, Reach};
pub use policy::{Decision, Policy};
pub use routes::{ROUTES, Route, Standing, Tail};
pub use rule::{Matching, Rule};
pub use set::{Builder, Error, PolicySet};
pub use suggestion::Suggestion;
