//! The agents and clients that a run has to visit: everything that changed since the last run of its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};

use super::{RoleId, Serve};

/// The changed agents, clients, and pairs of both. Any other pair would be granted nothing.
///
/// A changed agent is visited for all clients, a changed client on all agents. A client is identified by its role and
/// framework.
#[derive(Clone, Debug)]
pub(super) struct Dirty<A, K> {
    /// Visit every agent for every client, whatever the rest contains.
    pub(super) all: bool,
    /// Agents where something became free.
    pub(super) agents: BTreeSet<A>,
    /// Agents where quotas held something back and allow more since. The agent itself did not change.
    pub(super) unblocked: BTreeSet<A>,
    /// Clients that joined, revived, or can use more than before.
    pub(super) clients: BTreeSet<(RoleId, K)>,
    /// Pairs whose refusal ended, or whose last offer is no longer fresh.
    pub(super) pairs: BTreeMap<A, BTreeSet<(RoleId, K)>>,
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

/// Merges the smaller set into the larger: `append` would rebuild both.
fn merge<T: Ord>(into: &mut BTreeSet<T>, mut other: BTreeSet<T>) {
    if other.len() > into.len() {
        std::mem::swap(into, &mut other);
    }
    into.extend(other);
}

impl<A: Copy + Ord, K: Copy + Ord> Dirty<A, K> {
    /// Returns whether there is nothing to visit.
    pub(super) fn is_empty(&self) -> bool {
        !self.all
            && self.agents.is_empty()
            && self.unblocked.is_empty()
            && self.clients.is_empty()
            && self.pairs.is_empty()
    }

    /// Adds the agents, clients and pairs of another.
    pub(super) fn join(&mut self, other: Self) {
        self.all |= other.all;
        merge(&mut self.agents, other.agents);
        merge(&mut self.unblocked, other.unblocked);
        merge(&mut self.clients, other.clients);
        for (agent, clients) in other.pairs {
            merge(self.pairs.entry(agent).or_default(), clients);
        }
    }

    /// Returns whether every agent is visited, for some clients or for all.
    pub(super) fn is_everywhere(&self) -> bool {
        self.all || !self.clients.is_empty()
    }

    /// Returns whether the agent is visited for every client.
    pub(super) fn is_whole(&self, agent: A) -> bool {
        self.all || self.agents.contains(&agent) || self.unblocked.contains(&agent)
    }

    /// Returns the first of the named agents after this one.
    pub(super) fn next_agent(&self, after: Option<A>) -> Option<A> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let first = |agents: &BTreeSet<A>| agents.range(range).next().copied();
        let pairs = self.pairs.range(range).next().map(|(agent, _)| *agent);
        [first(&self.agents), first(&self.unblocked), pairs].into_iter().flatten().min()
    }

    /// Removes an agent that is gone, was visited, or has nothing free.
    pub(super) fn forget_agent(&mut self, agent: A) {
        self.agents.remove(&agent);
        self.unblocked.remove(&agent);
        self.pairs.remove(&agent);
    }
}

/// The changes that no run has visited, by the kind of run: a run for all clients also visits the changes for active
/// ones.
#[derive(Clone, Debug)]
pub(super) struct Changes<A, K> {
    active: Dirty<A, K>,
    all: Dirty<A, K>,
}

impl<A, K> Default for Changes<A, K> {
    fn default() -> Self {
        Self { active: Dirty::default(), all: Dirty::default() }
    }
}

impl<A: Copy + Ord, K: Copy + Ord> Changes<A, K> {
    /// Returns whether a run of this kind has nothing to visit.
    pub(super) fn is_empty(&self, serve: Serve) -> bool {
        match serve {
            Serve::Active => self.active.is_empty(),
            Serve::All => self.all.is_empty(),
        }
    }

    /// Returns what a run that begins visits, and what no other run has to visit any more.
    pub(super) fn take(&mut self, serve: Serve) -> (Dirty<A, K>, Dirty<A, K>) {
        let active = mem::take(&mut self.active);
        match serve {
            Serve::Active => (active, Dirty::default()),
            Serve::All => (mem::take(&mut self.all), active),
        }
    }

    /// Gives back what a run of this kind did not visit.
    pub(super) fn give_back(&mut self, serve: Serve, left: Dirty<A, K>) {
        if serve == Serve::All {
            self.all.join(left.clone());
        }
        self.active.join(Dirty { unblocked: BTreeSet::new(), ..left });
    }

    /// Returns whether a run for all has an agent to visit with something free. Drops those with nothing free that come
    /// before it, at most `looks` of them, and then returns false: an agent is dirty again when something becomes free.
    pub(super) fn skip_full(&mut self, is_free: impl Fn(&A) -> bool, looks: &mut usize) -> bool {
        while !self.all.is_everywhere() {
            let Some(agent) = self.all.next_agent(None) else { return false };
            if is_free(&agent) {
                return true;
            }
            let Some(left) = looks.checked_sub(1) else { return false };
            *looks = left;
            self.all.forget_agent(agent);
        }
        true
    }

    /// Marks every agent for every client.
    pub(super) fn add_everything(&mut self) {
        (self.active.all, self.all.all) = (true, true);
    }

    pub(super) fn add_agent(&mut self, agent: A) {
        self.active.agents.insert(agent);
        self.all.agents.insert(agent);
    }

    pub(super) fn add_client(&mut self, client: (RoleId, K)) {
        self.active.clients.insert(client);
        self.all.clients.insert(client);
    }

    pub(super) fn add_pair(&mut self, agent: A, client: (RoleId, K)) {
        self.active.pairs.entry(agent).or_default().insert(client);
        self.all.pairs.entry(agent).or_default().insert(client);
    }

    /// Every end of a task may allow quotas more, so what they held back waits for a run for all.
    pub(super) fn add_unblocked(&mut self, agents: BTreeSet<A>) {
        merge(&mut self.all.unblocked, agents);
    }

    pub(super) fn forget_agent(&mut self, agent: A) {
        self.active.forget_agent(agent);
        self.all.forget_agent(agent);
    }

    pub(super) fn forget_client(&mut self, client: (RoleId, K)) {
        self.active.clients.remove(&client);
        self.all.clients.remove(&client);
    }

    /// Drops all clients when nothing is free anywhere: what becomes free is dirty for every client. Agents are skipped
    /// later.
    pub(super) fn forget_clients(&mut self) {
        for dirty in [&mut self.active, &mut self.all] {
            dirty.all = false;
            dirty.clients.clear();
        }
    }

    /// Returns what changed for the active clients, with what quotas held back.
    #[cfg(test)]
    pub(super) fn take_active_and_unblocked(&mut self) -> Dirty<A, K> {
        Dirty { unblocked: self.all.unblocked.clone(), ..self.take(Serve::Active).0 }
    }
}
