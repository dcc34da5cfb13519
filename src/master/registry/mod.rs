//! The durable facts of a master: its epoch, the agents it admitted, weights, quotas, and the tombstones of frameworks.
//!
//! A [`Registry`] keeps them in order and prefix-durable: whatever a crash leaves is a prefix of what was appended. Each
//! [`load`](Registry::load) raises the epoch and returns a [`Fence`] of it; an append with an older fence is refused, so
//! a master that was replaced can write no more. Frameworks, tasks and offers are not here: the master relearns them.

mod embedded;
mod memory;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use self::{embedded::Embedded, memory::Memory};
use crate::proto::{
    internal::{Quotas, RegistryChange, registry_change::Kind},
    v1::{self, quota::QuotaConfig},
};

/// How many tombstones of removed frameworks are kept; the oldest go first.
pub const TOMBSTONES: usize = 10_000;

/// The right to append, given by the load of one master's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    epoch: u64,
}

impl Fence {
    /// The epoch this fence stands for; it is higher at every start.
    #[must_use]
    pub fn epoch(self) -> u64 {
        self.epoch
    }
}

/// How far the registry has got: the number of changes ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Why the registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another master has loaded the registry since: this one must stop.
    #[error("epoch {mine} is over: a master of epoch {current} has taken the registry over")]
    Fenced {
        /// The epoch of the fence given.
        mine: u64,
        /// The registry's epoch.
        current: u64,
    },
    /// The store cannot be reached or written now; trying again may help.
    #[error("the registry cannot be used: {text}")]
    Unavailable {
        /// What the store said.
        text: String,
    },
    /// What is stored cannot be read.
    #[error(
        "the registry is damaged: {text}; restore a backup, or start with an empty --work-dir and let agents register anew"
    )]
    Corrupt {
        /// What is wrong.
        text: String,
    },
}

/// A store of the master's durable facts.
///
/// Calls block until what they did is synced; the master calls them on a thread of their own.
pub trait Registry: Send + std::fmt::Debug {
    /// Raises the epoch, durably, and returns all facts.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] or [`RegistryError::Corrupt`].
    fn load(&mut self) -> Result<(State, Fence), RegistryError>;

    /// Appends changes in order and syncs them: all of them, or after a crash a prefix.
    ///
    /// # Errors
    /// [`RegistryError::Fenced`] when a later load happened, [`RegistryError::Unavailable`] or [`RegistryError::Corrupt`].
    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError>;
}

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
    /// Weights of roles; 1 where absent.
    pub weights: BTreeMap<String, f64>,
    /// Quotas of roles.
    pub quotas: BTreeMap<String, QuotaConfig>,
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
            Kind::AgentRemoved(id) => {
                self.agents.remove(id);
                self.unreachable.remove(id);
            }
            Kind::FrameworkRemoved(id) => self.remove_framework(id),
            Kind::Weight(weight) => {
                self.weights.insert(weight.role().to_owned(), weight.weight);
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

    /// Sets a tombstone; beyond [`TOMBSTONES`] the oldest is dropped.
    pub fn remove_framework(&mut self, id: &str) {
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
        let unreachable = self.unreachable.iter().map(|(id, at)| {
            Kind::AgentUnreachable(crate::proto::internal::AgentUnreachable { agent_id: id.clone(), wall_ns: *at })
        });
        let gone = self
            .gone
            .iter()
            .map(|(id, at)| Kind::AgentGone(crate::proto::internal::AgentGone { agent_id: id.clone(), wall_ns: *at }));
        let removed = self.removal_order.iter().map(|id| Kind::FrameworkRemoved(id.clone()));
        let weights = self
            .weights
            .iter()
            .map(|(role, weight)| Kind::Weight(v1::WeightInfo { weight: *weight, role: Some(role.clone()) }));
        let quotas = self.quotas.values().map(|config| Kind::Quotas(Quotas { configs: vec![config.clone()] }));
        let all = agents.chain(unreachable).chain(gone).chain(removed).chain(weights).chain(quotas);
        all.map(|kind| RegistryChange { kind: Some(kind) }).collect()
    }
}

/// What every registry has to do; implementers run it against theirs.
#[cfg(test)]
mod conformance;
