//! What a run has to look at: everything that changed since the last one of its kind, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};

use super::{RoleId, Serve};

/// The agents, clients, and pairs of both that changed: a pair that is not named would be granted nothing.
///
/// A changed agent is looked at for all clients, a changed client on all agents. A client is named by its role and
/// its framework.
#[derive(Clone, Debug)]
pub(super) struct Dirty<A, K> {
    /// Every agent for every client, whatever the rest says.
    pub(super) all: bool,
    /// Agents where something became free.
    pub(super) agents: BTreeSet<A>,
    /// Agents where quotas kept something back and allow more since. Nothing changed on the agent itself.
    pub(super) unblocked: BTreeSet<A>,
    /// Clients that joined, were revived, or can use more than before.
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

/// Puts the smaller set into the larger: `append` would build both anew, however little is added to much.
fn merge<T: Ord>(into: &mut BTreeSet<T>, mut other: BTreeSet<T>) {
    if other.len() > into.len() {
        std::mem::swap(into, &mut other);
    }
    into.extend(other);
}

impl<A: Copy + Ord, K: Copy + Ord> Dirty<A, K> {
    /// Whether there is nothing to look at.
    pub(super) fn is_empty(&self) -> bool {
        !self.all
            && self.agents.is_empty()
            && self.unblocked.is_empty()
            && self.clients.is_empty()
            && self.pairs.is_empty()
    }

    /// Takes in what another names.
    pub(super) fn join(&mut self, other: Self) {
        self.all |= other.all;
        merge(&mut self.agents, other.agents);
        merge(&mut self.unblocked, other.unblocked);
        merge(&mut self.clients, other.clients);
        for (agent, clients) in other.pairs {
            merge(self.pairs.entry(agent).or_default(), clients);
        }
    }

    /// Whether every agent is looked at, for some clients or for all.
    pub(super) fn is_everywhere(&self) -> bool {
        self.all || !self.clients.is_empty()
    }

    /// Whether the agent is looked at for every client.
    pub(super) fn is_whole(&self, agent: A) -> bool {
        self.all || self.agents.contains(&agent) || self.unblocked.contains(&agent)
    }

    /// The first of the agents named that comes after this one.
    pub(super) fn next_agent(&self, after: Option<A>) -> Option<A> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let first = |agents: &BTreeSet<A>| agents.range(range).next().copied();
        let pairs = self.pairs.range(range).next().map(|(agent, _)| *agent);
        [first(&self.agents), first(&self.unblocked), pairs].into_iter().flatten().min()
    }

    /// The agent is gone, was looked at, or has nothing free.
    pub(super) fn forget_agent(&mut self, agent: A) {
        self.agents.remove(&agent);
        self.unblocked.remove(&agent);
        self.pairs.remove(&agent);
    }
}

/// What changed and was not looked at since, by the kind of run: a run for all clients looks also at what those for the
/// active ones had.
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
    /// Whether a run of this kind had nothing to look at.
    pub(super) fn is_empty(&self, serve: Serve) -> bool {
        match serve {
            Serve::Active => self.active.is_empty(),
            Serve::All => self.all.is_empty(),
        }
    }

    /// What a run of this kind, which begins, looks at, and what no other has to look at any more.
    pub(super) fn take(&mut self, serve: Serve) -> (Dirty<A, K>, Dirty<A, K>) {
        let active = mem::take(&mut self.active);
        match serve {
            Serve::Active => (active, Dirty::default()),
            Serve::All => (mem::take(&mut self.all), active),
        }
    }

    /// A run of this kind left this: it is to be looked at again.
    pub(super) fn give_back(&mut self, serve: Serve, left: Dirty<A, K>) {
        if serve == Serve::All {
            self.all.join(left.clone());
        }
        self.active.join(Dirty { unblocked: BTreeSet::new(), ..left });
    }

    /// Whether a run for all has an agent to look at of which something is free. Those with nothing free that come before it
    /// are dropped, `looks` of them at most, and then the answer is no: an agent is dirty again when something becomes free.
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

    /// Every agent is to be looked at for every client.
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

    /// Every task's end eases quotas, so what they kept back waits for a run for all.
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

    /// Nothing is free anywhere: what becomes free will be dirty for every client. Agents are skipped as they come.
    pub(super) fn forget_clients(&mut self) {
        for dirty in [&mut self.active, &mut self.all] {
            dirty.all = false;
            dirty.clients.clear();
        }
    }

    /// What changed for the active clients, with what quotas kept back.
    #[cfg(test)]
    pub(super) fn take_active_and_unblocked(&mut self) -> Dirty<A, K> {
        Dirty { unblocked: self.all.unblocked.clone(), ..self.take(Serve::Active).0 }
    }
}
