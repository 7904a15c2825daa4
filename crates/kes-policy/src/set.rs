//! All policies of a server, and who holds which.

use crate::name::PolicyName;
use crate::policy::{Decision, Policy};
use kes_identity::Identity;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Why a set of policies cannot be.
///
/// All variants are the operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A policy's name breaks the rule for names.
    #[error("policy name '{0}' is empty, too long or contains invalid characters")]
    InvalidName(String),
    /// Two policies have the same name.
    #[error("policy '{0}' already exists")]
    Exists(PolicyName),
    /// An identity is named twice, in two policies or in one.
    #[error("cannot assign policy '{policy}' to '{identity}': identity already has a policy")]
    Assigned {
        /// The policy that names the identity for the second time.
        policy: PolicyName,
        /// The identity.
        identity: Identity,
    },
}

/// All policies, and the identities they are assigned to. Immutable: a reload builds a new one.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    policies: BTreeMap<PolicyName, Arc<Policy>>,
    members: HashMap<Identity, Arc<Policy>>,
}

impl PolicySet {
    /// Starts an empty set.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The policy of `identity`. Shared, so that a connection may keep it.
    #[must_use]
    pub fn lookup(&self, identity: &Identity) -> Option<&Arc<Policy>> {
        self.members.get(identity)
    }

    /// Whether `identity` may request `path`, and why: [`Policy::decide`] of its policy.
    pub fn decide(&self, identity: &Identity, path: impl AsRef<[u8]>) -> Decision<'_> {
        match self.lookup(identity) {
            Some(policy) => policy.decide(path),
            None => Decision::UnknownIdentity,
        }
    }

    /// The policy with that name.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// All policies, sorted by name.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// All identities that have a policy, in no order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&Identity, &Arc<Policy>)> {
        self.members.iter()
    }
}

/// Collects policies and their members. Errors are kept for [`build`](Self::build); the first one counts.
#[derive(Debug, Default)]
pub struct Builder {
    set: PolicySet,
    error: Option<Error>,
}

impl Builder {
    /// Adds `policy` and assigns it to `members`, of which there may be none.
    #[must_use]
    pub fn policy(mut self, policy: Policy, members: impl IntoIterator<Item = Identity>) -> Self {
        let (name, policy) = (policy.name().clone(), Arc::new(policy));
        if self.set.policies.insert(name.clone(), Arc::clone(&policy)).is_some() {
            self.error.get_or_insert_with(|| Error::Exists(name.clone()));
        }
        for identity in members {
            if self.set.members.insert(identity.clone(), Arc::clone(&policy)).is_some() {
                self.error.get_or_insert_with(|| Error::Assigned { policy: name.clone(), identity });
            }
        }
        self
    }

    /// The set.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] for two policies of one name, [`Error::Assigned`] for an identity that was named twice.
    pub fn build(self) -> Result<PolicySet, Error> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matching;

    fn policy(name: &str, allow: &[&str]) -> Policy {
        Policy::new(name.parse().unwrap(), allow, &[] as &[&str], Matching::Both).0
    }

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    #[test]
    fn each_identity_is_judged_by_its_own_policy() {
        let set = PolicySet::builder()
            .policy(policy("writers", &["/v1/key/create/*"]), [identity("alice")])
            .policy(policy("readers", &["/v1/key/describe/*"]), [identity("bob"), identity("carol")])
            .policy(policy("nobody", &["*"]), [])
            .build()
            .unwrap();
        assert!(set.decide(&identity("alice"), "/v1/key/create/a").is_allowed());
        assert!(!set.decide(&identity("bob"), "/v1/key/create/a").is_allowed());
        assert!(set.decide(&identity("carol"), "/v1/key/describe/a").is_allowed());
        assert_eq!(set.decide(&identity("dave"), "/v1/key/describe/a"), Decision::UnknownIdentity);
        assert_eq!(set.lookup(&identity("bob")).unwrap().name().as_str(), "readers");
        assert_eq!(set.policies().map(|p| p.name().as_str()).collect::<Vec<_>>(), ["nobody", "readers", "writers"]);
        assert_eq!(set.policy("nobody").unwrap().allow().len(), 1);
        assert_eq!(set.members().len(), 3);
    }

    #[test]
    fn an_identity_has_at_most_one_policy() {
        let twice = PolicySet::builder()
            .policy(policy("p", &[]), [identity("alice")])
            .policy(policy("q", &[]), [identity("alice")])
            .build();
        assert_eq!(
            twice.unwrap_err().to_string(),
            "cannot assign policy 'q' to 'alice': identity already has a policy"
        );
        let in_one = PolicySet::builder().policy(policy("p", &[]), [identity("a"), identity("a")]).build();
        assert!(matches!(in_one, Err(Error::Assigned { .. })));
    }

    #[test]
    fn a_name_stands_for_one_policy() {
        let twice = PolicySet::builder().policy(policy("p", &[]), []).policy(policy("p", &["*"]), []).build();
        assert_eq!(twice.unwrap_err().to_string(), "policy 'p' already exists");
    }
}
