//! The facts a registry holds, and what each change does to them.
//!
//! A state is what its changes make of nothing, in their order; a change applied twice in a row is applied once. How many
//! agents that are unreachable or gone, and the runs of how many frameworks, are remembered is the master's decision, and
//! comes as a change too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Lineage;
use crate::proto::{
    internal::{AgentGone, AgentUnreachable, FrameworkRun, Quotas, RegistryChange, registry_change::Kind},
    v1::{self, quota::QuotaConfig},
};

/// How many tombstones of removed frameworks are kept; the oldest go first.
pub const TOMBSTONES: usize = 10_000;

/// All facts of a registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Admitted agents by id, as they described themselves last.
    pub agents: BTreeMap<String, v1::AgentInfo>,
    /// Those given up as unreachable, and since when (nanoseconds since the epoch).
    pub unreachable: BTreeMap<String, i64>,
    /// Agents an operator marked gone, and when: they never come back.
    pub gone: BTreeMap<String, i64>,
    /// Ids that are never taken again.
    pub removed_frameworks: BTreeSet<String>,
    removal_order: VecDeque<String>,
    /// Who has each framework that was not removed, and who had it before.
    pub runs: BTreeMap<String, Lineage>,
    /// Weights of roles; 1 where absent.
    pub weights: BTreeMap<String, f64>,
    /// Quotas of roles.
    pub quotas: BTreeMap<String, QuotaConfig>,
}

/// What these changes make of nothing.
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
    /// Takes a change in.
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
            Kind::FrameworkRemoved(id) => self.remove_framework(id),
            Kind::Weight(weight) => {
                self.weights.insert(weight.role().to_owned(), weight.weight);
            }
            Kind::FrameworkRun(run) => {
                self.runs.entry(run.framework_id.clone()).or_default().takes_over(&run.instance, run.wall_ns);
            }
            Kind::FrameworkForgotten(id) => {
                self.runs.remove(id);
            }
            Kind::Quotas(quotas) => quotas.configs.iter().for_each(|config| self.set_quota(config)),
        }
    }

    /// Sets the quota of a role, or removes it when there is nothing in it.
    pub fn set_quota(&mut self, config: &QuotaConfig) {
        if config.guarantees.is_empty() && config.limits.is_empty() {
            self.quotas.remove(&config.role);
        } else {
            self.quotas.insert(config.role.clone(), config.clone());
        }
    }

    /// Sets a tombstone; beyond [`TOMBSTONES`] the oldest is dropped. Nobody has the framework any more.
    pub fn remove_framework(&mut self, id: &str) {
        self.runs.remove(id);
        if self.removed_frameworks.insert(id.to_owned()) {
            self.removal_order.push_back(id.to_owned());
        }
        if self.removal_order.len() > TOMBSTONES
            && let Some(oldest) = self.removal_order.pop_front()
        {
            self.removed_frameworks.remove(&oldest);
        }
    }

    /// The changes that make this state out of nothing.
    #[must_use]
    pub fn as_changes(&self) -> Vec<RegistryChange> {
        let agents = self.agents.values().map(|info| Kind::AgentAdmitted(info.clone()));
        let unreachable = self
            .unreachable
            .iter()
            .map(|(id, at)| Kind::AgentUnreachable(AgentUnreachable { agent_id: id.clone(), wall_ns: *at }));
        let gone = self.gone.iter().map(|(id, at)| Kind::AgentGone(AgentGone { agent_id: id.clone(), wall_ns: *at }));
        let removed = self.removal_order.iter().map(|id| Kind::FrameworkRemoved(id.clone()));
        let runs = self.runs.iter().flat_map(|(id, lineage)| {
            lineage.runs().map(|instance| {
                let (instance, wall_ns) = (instance.clone(), lineage.since_ns());
                Kind::FrameworkRun(FrameworkRun { framework_id: id.clone(), instance, wall_ns })
            })
        });
        let weights = self
            .weights
            .iter()
            .map(|(role, weight)| Kind::Weight(v1::WeightInfo { weight: *weight, role: Some(role.clone()) }));
        let quotas = self.quotas.values().map(|config| Kind::Quotas(Quotas { configs: vec![config.clone()] }));
        let all = agents.chain(unreachable).chain(gone).chain(removed).chain(runs).chain(weights).chain(quotas);
        all.map(|kind| RegistryChange { kind: Some(kind) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::registry::conformance::facts;

    #[test]
    fn a_state_is_what_its_own_changes_make() {
        let state: State = facts().iter().collect();
        let again: State = state.as_changes().iter().collect();
        assert_eq!(again, state);
    }

    /// A limit for a role; none at all when it is zero.
    fn limit(role: &str, cpus: f64) -> QuotaConfig {
        let limits = (cpus > 0.0).then(|| ("cpus".to_owned(), v1::value::Scalar { value: cpus }));
        QuotaConfig { role: role.into(), limits: limits.into_iter().collect(), ..QuotaConfig::default() }
    }

    #[test]
    fn quotas_are_set_together_and_an_empty_one_removes_a_roles() {
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

    #[test]
    fn the_oldest_tombstone_goes_when_there_are_too_many() {
        let mut state = State::default();
        for number in 0..=TOMBSTONES {
            state.remove_framework(&number.to_string());
        }
        assert_eq!(state.removed_frameworks.len(), TOMBSTONES);
        assert!(!state.removed_frameworks.contains("0"));
    }
}
