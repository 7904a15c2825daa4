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

/// All policies, and the identities they are assigned to. Immutable: a reload or a change builds a new one.
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

/// Changes make a new set; whoever holds the old one goes on with it undisturbed.
impl PolicySet {
    /// The same with `policy`, in the place of the one of that name: its members keep it.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        let mut set = self.clone();
        let (name, policy) = (policy.name().clone(), Arc::new(policy));
        set.members.values_mut().filter(|held| *held.name() == name).for_each(|held| *held = Arc::clone(&policy));
        set.policies.insert(name, policy);
        set
    }

    /// The same without the policy of that name; its members have none then. `None` if there is no such policy.
    #[must_use]
    pub fn without_policy(&self, name: &str) -> Option<Self> {
        let mut set = self.clone();
        set.policies.remove(name)?;
        set.members.retain(|_, policy| policy.name().as_str() != name);
        Some(set)
    }

    /// The same with `identity` as member of the policy of that name and of no other. `None` if there is no such policy.
    #[must_use]
    pub fn with_member(&self, identity: Identity, policy: &str) -> Option<Self> {
        let policy = Arc::clone(self.policies.get(policy)?);
        let mut set = self.clone();
        set.members.insert(identity, policy);
        Some(set)
    }

    /// The same, `identity` without policy. `None` if it has none.
    #[must_use]
    pub fn without_member(&self, identity: &Identity) -> Option<Self> {
        let mut set = self.clone();
        set.members.remove(identity)?;
        Some(set)
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
    fn a_change_makes_a_new_set() {
        let (alice, bob) = (identity("alice"), identity("bob"));
        let old = PolicySet::builder()
            .policy(policy("p", &["/a"]), [alice.clone()])
            .policy(policy("q", &[]), [])
            .build()
            .unwrap();
        let new = old.with_policy(policy("p", &["/b"])).with_policy(policy("r", &["/c"]));
        assert!(new.decide(&alice, "/b").is_allowed() && !new.decide(&alice, "/a").is_allowed());
        assert_eq!(new.policies().len(), 3);
        let new = new.with_member(bob.clone(), "r").unwrap().with_member(alice.clone(), "r").unwrap();
        assert!(new.decide(&alice, "/c").is_allowed() && new.decide(&bob, "/c").is_allowed());
        assert!(new.with_member(bob.clone(), "nowhere").is_none());
        let gone = new.without_policy("r").unwrap();
        assert_eq!((gone.members().len(), gone.policies().len()), (0, 2));
        assert!(gone.without_policy("r").is_none());
        let gone = new.without_member(&alice).unwrap();
        assert_eq!(gone.decide(&alice, "/c"), Decision::UnknownIdentity);
        assert!(gone.without_member(&alice).is_none());
        assert!(old.decide(&alice, "/a").is_allowed() && old.policies().len() == 2, "the old one is as it was");
    }

    #[test]
    fn a_name_stands_for_one_policy() {
        let twice = PolicySet::builder().policy(policy("p", &[]), []).policy(policy("p", &["*"]), []).build();
        assert_eq!(twice.unwrap_err().to_string(), "policy 'p' already exists");
    }
}
