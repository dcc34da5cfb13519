//! The facts a registry holds, and what each change does to them.
//!
//! A state is the result of its changes, applied in order to an empty state. A change applied twice in a row has the
//! effect of one. The master limits how many unreachable or gone agents, tombstones and framework lineages are
//! recorded, and removes the others by changes.

use std::collections::BTreeMap;

use super::{Lineage, Tombstones};
use crate::proto::{
    internal::{RegistryChange, registry_change::Kind},
    v1::{self, quota::QuotaConfig},
};

/// All facts of a registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Admitted agents by id, with their latest description.
    pub agents: BTreeMap<String, v1::AgentInfo>,
    /// Agents marked unreachable, and since when (nanoseconds since 1970).
    pub unreachable: BTreeMap<String, i64>,
    /// Agents an operator marked gone, and when: they cannot register again.
    pub gone: BTreeMap<String, i64>,
    /// Tombstones of removed frameworks: their ids are refused.
    pub removed_frameworks: Tombstones,
    /// The current and the replaced instances of each framework that was not removed.
    pub runs: BTreeMap<String, Lineage>,
    /// Weights of roles; 1 where absent.
    pub weights: BTreeMap<String, f64>,
    /// Quotas of roles.
    pub quotas: BTreeMap<String, QuotaConfig>,
}

/// Applies these changes to an empty state.
impl<'a> FromIterator<&'a RegistryChange> for State {
    fn from_iter<I: IntoIterator<Item = &'a RegistryChange>>(changes: I) -> Self {
        let mut state = Self::default();
        for change in changes {
            state.apply(change);
        }
        state
    }
}

impl State {
    /// Applies a change.
    pub fn apply(&mut self, change: &RegistryChange) {
        let Some(kind) = &change.kind else { return };
        match kind {
            Kind::AgentAdmitted(info) => {
                if let Some(id) = &info.id {
                    self.agents.insert(id.value.clone(), info.clone());
                }
            }
            Kind::AgentUnreachable(agent) => {
                self.unreachable.insert(agent.agent_id.clone(), agent.wall_ns);
            }
            Kind::AgentReachable(id) => {
                self.unreachable.remove(id);
            }
            Kind::AgentGone(agent) => {
                self.agents.remove(&agent.agent_id);
                self.unreachable.remove(&agent.agent_id);
                self.gone.insert(agent.agent_id.clone(), agent.wall_ns);
            }
            Kind::AgentForgotten(id) => {
                self.agents.remove(id);
                self.unreachable.remove(id);
                self.gone.remove(id);
            }
            Kind::AgentRemoved(id) => {
                self.agents.remove(id);
                self.unreachable.remove(id);
            }
            Kind::FrameworkRemoved(id) => self.remove_framework(id, 0),
            Kind::FrameworkTombstone(tombstone) => self.remove_framework(&tombstone.framework_id, tombstone.wall_ns),
            Kind::Weight(weight) => {
                self.weights.insert(weight.role().to_owned(), weight.weight);
            }
            Kind::FrameworkRun(run) => {
                self.runs.entry(run.framework_id.clone()).or_default().take_over(&run.instance, run.wall_ns);
            }
            Kind::FrameworkForgotten(id) => {
                self.runs.remove(id);
                self.removed_frameworks.remove(id);
            }
            Kind::Quotas(quotas) => quotas.configs.iter().for_each(|config| self.set_quota(config)),
        }
    }

    /// Sets the quota of a role; an empty one removes it.
    pub fn set_quota(&mut self, config: &QuotaConfig) {
        if config.guarantees.is_empty() && config.limits.is_empty() {
            self.quotas.remove(&config.role);
        } else {
            self.quotas.insert(config.role.clone(), config.clone());
        }
    }

    /// Sets a tombstone and removes the framework's instances.
    pub(crate) fn remove_framework(&mut self, id: &str, wall_ns: i64) {
        self.runs.remove(id);
        self.removed_frameworks.insert(id, wall_ns);
    }

    /// The changes that produce this state from an empty one.
    #[must_use]
    pub fn as_changes(&self) -> Vec<RegistryChange> {
        self.subjects().iter().flat_map(|subject| self.changes_about(subject)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{master::registry::conformance::facts, proto::internal::Quotas};

    #[test]
    fn the_changes_of_a_state_produce_the_same_state() {
        let state: State = facts().iter().collect();
        let again: State = state.as_changes().iter().collect();
        assert_eq!(again, state);
    }

    /// A quota with a limit for a role; an empty quota when the limit is zero.
    fn limit(role: &str, cpus: f64) -> QuotaConfig {
        let limits = (cpus > 0.0).then(|| ("cpus".to_owned(), v1::value::Scalar { value: cpus }));
        QuotaConfig { role: role.into(), limits: limits.into_iter().collect(), ..QuotaConfig::default() }
    }

    #[test]
    fn quotas_are_set_together_and_an_empty_one_removes_that_of_its_role() {
        let mut state = State::default();
        for configs in [vec![limit("a", 1.0), limit("b", 2.0)], vec![limit("a", 0.0), limit("b", 3.0)]] {
            state.apply(&RegistryChange { kind: Some(Kind::Quotas(Quotas { configs })) });
        }
        assert_eq!(state.quotas.values().collect::<Vec<_>>(), [&limit("b", 3.0)]);
        let mut again = State::default();
        for change in state.as_changes() {
            again.apply(&change);
        }
        assert_eq!(again, state);
    }
}
