//! Changes of policies and identities over the API, which hold until the server restarts or its configuration is
//! loaded anew.
//!
//! A change makes a whole new [`State`] from the one in force and swaps it in, so that a request sees all of a change or
//! nothing, on every connection and from then on. Changes and reloads exclude each other ([`Shared::change`]).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use kes_identity::Identity;
use kes_policy::{Policy, PolicyName, PolicySet};
use time::OffsetDateTime;

use super::routes::{Endpoint, LEGACY, ROUTES};
use super::shared::Shared;
use super::state::State;

/// Who made something over the API, and when.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) at: OffsetDateTime,
    /// Empty if nobody knows.
    pub(super) by: Arc<str>,
}

/// What was changed since the configuration was loaded.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    /// The policies of the configuration.
    configured: Arc<PolicySet>,
    /// Policies that were written.
    written: BTreeMap<PolicyName, Origin>,
    /// Identities that were given a policy.
    assigned: BTreeMap<Identity, Origin>,
}

impl Changes {
    pub(super) fn none(configured: Arc<PolicySet>) -> Self {
        Self { configured, written: BTreeMap::new(), assigned: BTreeMap::new() }
    }

    /// Who wrote a policy, if it is not as configured.
    pub(super) fn policy(&self, name: &str) -> Option<&Origin> {
        self.written.get(name)
    }

    /// Who gave an identity its policy, if it has it from the API.
    pub(super) fn identity(&self, identity: &str) -> Option<&Origin> {
        self.assigned.get(identity)
    }

    /// What is lost when the configuration is loaded anew, given the policies in force.
    fn all(&self, policies: &PolicySet) -> Dropped {
        let lost_policy = |policy: &&Arc<Policy>| policies.policy(policy.name().as_str()).is_none();
        let lost_member = |(identity, _): &(&Identity, &Arc<Policy>)| policies.lookup(identity).is_none();
        let mut deleted_identities: Vec<_> =
            self.configured.members().filter(lost_member).map(|(identity, _)| identity.to_string()).collect();
        deleted_identities.sort_unstable();
        Dropped {
            policies: self.written.keys().map(PolicyName::to_string).collect(),
            deleted_policies: self.configured.policies().filter(lost_policy).map(|p| p.name().to_string()).collect(),
            identities: self
                .assigned
                .keys()
                .filter_map(|identity| Some((identity.to_string(), policies.lookup(identity)?.name().to_string())))
                .collect(),
            deleted_identities,
        }
    }
}

impl State {
    /// The same with another policy; members of the one that it replaces keep it.
    pub(super) fn with_policy(&self, policy: Policy, origin: Origin) -> Self {
        let mut changes = Changes::clone(&self.changes);
        changes.written.insert(policy.name().clone(), origin);
        self.changed(self.policies.with_policy(policy), changes)
    }

    /// The same without a policy; its members have none then.
    pub(super) fn without_policy(&self, name: &PolicyName) -> Option<Self> {
        let policies = self.policies.without_policy(name.as_str())?;
        let mut changes = Changes::clone(&self.changes);
        changes.written.remove(name);
        changes.assigned.retain(|identity, _| policies.lookup(identity).is_some());
        Some(self.changed(policies, changes))
    }

    /// The same with an identity as member of a policy and of no other.
    pub(super) fn with_member(&self, identity: &Identity, policy: &PolicyName, origin: Origin) -> Option<Self> {
        let policies = self.policies.with_member(identity.clone(), policy.as_str())?;
        let mut changes = Changes::clone(&self.changes);
        changes.assigned.insert(identity.clone(), origin);
        Some(self.changed(policies, changes))
    }

    /// The same, an identity without policy.
    pub(super) fn without_member(&self, identity: &Identity) -> Option<Self> {
        let policies = self.policies.without_member(identity)?;
        let mut changes = Changes::clone(&self.changes);
        changes.assigned.remove(identity);
        Some(self.changed(policies, changes))
    }

    fn changed(&self, policies: PolicySet, changes: Changes) -> Self {
        Self { policies: Arc::new(policies), changes: Arc::new(changes), ..self.clone() }
    }
}

impl Shared {
    /// Puts what `change` makes of the state in force in its place. Nothing else changes it in the meantime.
    pub(super) fn change<E>(&self, change: impl FnOnce(&State) -> Result<State, E>) -> Result<(), E> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.state.load_full();
        let new = change(&old)?;
        let revokes_logs = takes_logs_away(&old.policies, &new.policies);
        self.state.store(Arc::new(new));
        // What was refused before is worth a line again, under the new rules.
        self.reported.forget();
        if revokes_logs {
            self.audit.stream.close();
            self.log.stream.close();
        }
        Ok(())
    }

    /// Puts a state that was loaded anew in the place of the one in force. Returns what is lost by that.
    pub(super) fn replace(&self, new: State) -> Dropped {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.state.load_full();
        let goes_on = Arc::ptr_eq(&old.changes, &new.changes);
        self.state.store(Arc::new(new));
        if goes_on { Dropped::default() } else { old.changes.all(&old.policies) }
    }
}

/// Whether somebody may no longer follow a log. Streams do not know whose they are, so all of them end then, and those
/// who may connect anew.
fn takes_logs_away(old: &PolicySet, new: &PolicySet) -> bool {
    let is_log = |endpoint| matches!(endpoint, Endpoint::AuditLog | Endpoint::ErrorLog);
    old.members().any(|(identity, policy)| {
        let now = new.lookup(identity);
        let same = now.is_some_and(|now| Arc::ptr_eq(now, policy));
        !same
            && ROUTES.iter().chain(&LEGACY).filter(|route| is_log(route.endpoint)).any(|route| {
                let may = |policy: &Policy| policy.decide(route.path).is_allowed();
                may(policy) && !now.is_some_and(|now| may(now))
            })
    })
}

/// Changes of policies and identities over the API that ended with a reload. Names in bytewise order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Policies that were written.
    pub policies: Vec<String>,
    /// Policies of the configuration that were deleted, and are back unless the new one is without them.
    pub deleted_policies: Vec<String>,
    /// Identities that were given a policy, and which.
    pub identities: Vec<(String, String)>,
    /// Identities of the configuration that were deleted, by themselves or with their policy.
    pub deleted_identities: Vec<String>,
}

/// Names in one line; whoever made thousands of changes finds them in several.
const NAMES_IN_A_LINE: usize = 50;

impl Dropped {
    /// Whether there were no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What an operator is told: counts and names, in one or several lines for each kind.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let assigned: Vec<_> =
            self.identities.iter().map(|(identity, policy)| format!("{identity} (policy {policy})")).collect();
        let kinds = [
            (&self.policies, "policy that was written", "policies that were written"),
            (&self.deleted_policies, "deletion of a policy", "deletions of policies"),
            (&assigned, "identity that was assigned", "identities that were assigned"),
            (&self.deleted_identities, "deletion of an identity", "deletions of identities"),
        ];
        let mut lines = Vec::new();
        for (names, one, many) in kinds {
            let count = names.len();
            let kind = if count == 1 { one } else { many };
            for names in names.chunks(NAMES_IN_A_LINE) {
                lines.push(format!("dropped {count} {kind} over the API: {}", names.join(", ")));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_told_by_name_and_number() {
        assert!(Dropped::default().is_empty() && Dropped::default().lines().is_empty());
        let dropped = Dropped {
            policies: vec!["a".to_owned(), "b".to_owned()],
            deleted_policies: vec!["app".to_owned()],
            identities: vec![("339e".to_owned(), "a".to_owned())],
            deleted_identities: (0..51).map(|index| format!("id-{index}")).collect(),
        };
        let lines = dropped.lines();
        assert_eq!(
            lines[..3],
            [
                "dropped 2 policies that were written over the API: a, b",
                "dropped 1 deletion of a policy over the API: app",
                "dropped 1 identity that was assigned over the API: 339e (policy a)",
            ]
        );
        assert_eq!(lines.len(), 5, "51 names are two lines");
        assert_eq!(lines[4], "dropped 51 deletions of identities over the API: id-50");
    }
}
