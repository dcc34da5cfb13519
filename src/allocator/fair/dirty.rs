//! What a run has to look at: everything that changed since the last one, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::RoleId;

/// The agents, clients, and pairs of both that changed: a pair that is not named would be granted nothing.
///
/// A changed agent is looked at for all clients, a changed client on all agents. A client is named by its role and
/// its framework.
#[derive(Clone, Debug)]
pub struct Dirty<A, K> {
    /// Every agent for every client, whatever the rest says.
    pub all: bool,
    /// Agents where something became free.
    pub agents: BTreeSet<A>,
    /// Agents where quotas kept something back and allow more since. Nothing changed on the agent itself.
    pub unblocked: BTreeSet<A>,
    /// Clients that joined, were revived, or can use more than before.
    pub clients: BTreeSet<(RoleId, K)>,
    /// Pairs whose refusal ended, or whose last offer is no longer fresh.
    pub pairs: BTreeMap<A, BTreeSet<(RoleId, K)>>,
}

impl<A, K> Default for Dirty<A, K> {
    fn default() -> Self {
        Self {
            all: false,
            agents: BTreeSet::new(),
            unblocked: BTreeSet::new(),
            clients: BTreeSet::new(),
            pairs: BTreeMap::new(),
        }
    }
}

/// Puts the smaller set into the larger: `append` would build both anew, however little is added to much.
pub(super) fn merge<T: Ord>(into: &mut BTreeSet<T>, mut other: BTreeSet<T>) {
    if other.len() > into.len() {
        std::mem::swap(into, &mut other);
    }
    into.extend(other);
}

impl<A: Copy + Ord, K: Copy + Ord> Dirty<A, K> {
    /// Whether there is nothing to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all
            && self.agents.is_empty()
            && self.unblocked.is_empty()
            && self.clients.is_empty()
            && self.pairs.is_empty()
    }

    /// Takes in what another names.
    pub fn join(&mut self, other: Self) {
        self.all |= other.all;
        merge(&mut self.agents, other.agents);
        merge(&mut self.unblocked, other.unblocked);
        merge(&mut self.clients, other.clients);
        for (agent, clients) in other.pairs {
            merge(self.pairs.entry(agent).or_default(), clients);
        }
    }

    /// Drops the agents of which `keep` says that nothing is free. Changed clients stay where anything is free at all.
    pub(super) fn retain_agents(&mut self, anything_free: bool, keep: impl Fn(&A) -> bool) {
        self.all &= anything_free;
        if !anything_free {
            self.clients.clear();
        }
        self.agents.retain(&keep);
        self.unblocked.retain(&keep);
        self.pairs.retain(|agent, _| keep(agent));
    }

    /// Whether the agent is looked at for every client.
    pub(super) fn is_whole(&self, agent: A) -> bool {
        self.all || self.agents.contains(&agent) || self.unblocked.contains(&agent)
    }

    pub(super) fn add_pair(&mut self, agent: A, client: (RoleId, K)) {
        self.pairs.entry(agent).or_default().insert(client);
    }

    /// The agent is gone.
    pub fn forget_agent(&mut self, agent: A) {
        self.agents.remove(&agent);
        self.unblocked.remove(&agent);
        self.pairs.remove(&agent);
    }
}
