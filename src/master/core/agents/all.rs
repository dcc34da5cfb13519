//! The agents of this master, with indexes by key, id, installation and address.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{
        Bound::{Excluded, Unbounded},
        Index,
    },
    sync::Arc,
};

use super::{Agent, Arrival, Presence, identity::Identities};
use crate::master::core::{Register, changes::Changes, keys::AgentKey, parted::PartedMap};

/// The agents of this master, and every index of them.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Agents {
    by_key: BTreeMap<AgentKey, Agent>,
    by_id: PartedMap<Arc<str>, AgentKey>,
    identities: Identities,
    /// Unreachable agents, by the time since when.
    unreachable: BTreeSet<(i64, AgentKey)>,
    /// Agents whose registration is in progress.
    arriving: BTreeSet<AgentKey>,
    /// Agents that never completed a registration.
    incomplete: BTreeSet<AgentKey>,
    /// Agents that may have changed since the last check; recorded by debug builds only.
    changed: BTreeSet<AgentKey>,
    /// Agents that may have changed since a snapshot was begun.
    pub(in crate::master::core) changes: Changes<AgentKey>,
}

impl Agents {
    /// Adds a new agent.
    pub(in crate::master::core) fn insert(&mut self, key: AgentKey, agent: Agent, register: &Register) {
        self.by_id.insert(agent.record.id.clone(), key);
        self.identities.insert(key, register);
        self.by_key.insert(key, agent);
        self.incomplete.insert(key);
        self.note(key);
    }

    /// Removes an agent from all indexes.
    pub(in crate::master::core) fn remove(&mut self, key: AgentKey) -> Option<Agent> {
        self.changes.note(|| key);
        let agent = self.by_key.remove(&key)?;
        self.by_id.remove(&agent.record.id);
        self.identities.remove(key, &agent);
        if let Presence::Unreachable { since_ns } = agent.record.presence {
            self.unreachable.remove(&(since_ns, key));
        }
        self.arriving.remove(&key);
        self.incomplete.remove(&key);
        self.changed.remove(&key);
        Some(agent)
    }

    /// Begins a registration of this agent.
    pub(super) fn begin_arrival(&mut self, key: AgentKey, arrival: Arrival) {
        self.put_back_arrival(key, Box::new(arrival));
    }

    /// Stores what is left of a registration.
    pub(super) fn put_back_arrival(&mut self, key: AgentKey, arrival: Box<Arrival>) {
        if let Some(agent) = self.get_mut(key) {
            agent.arrival = Some(arrival);
            self.arriving.insert(key);
        }
    }

    /// Takes what is left of the agent's registration.
    pub(super) fn take_arrival(&mut self, key: AgentKey) -> Option<Box<Arrival>> {
        self.arriving.remove(&key);
        self.get_mut(key)?.arrival.take()
    }

    /// An agent whose registration is in progress.
    pub(super) fn next_arriving(&self) -> Option<AgentKey> {
        self.arriving.first().copied()
    }

    /// Records that all tasks of the agent are known.
    pub(super) fn arrived(&mut self, key: AgentKey) {
        self.incomplete.remove(&key);
    }

    /// Whether the agent may have tasks that it has not reported yet.
    pub(super) fn is_incomplete(&self, key: AgentKey) -> bool {
        self.incomplete.contains(&key)
    }

    /// The number of agents that may have such tasks.
    pub(in crate::master::core) fn count_incomplete(&self) -> usize {
        self.incomplete.len()
    }

    /// Whether registrations are in progress.
    pub(in crate::master::core) fn are_arriving(&self) -> bool {
        !self.arriving.is_empty()
    }

    pub(in crate::master::core) fn get(&self, key: AgentKey) -> Option<&Agent> {
        self.by_key.get(&key)
    }

    pub(in crate::master::core) fn get_mut(&mut self, key: AgentKey) -> Option<&mut Agent> {
        self.note(key);
        self.by_key.get_mut(&key)
    }

    /// The agent of this id.
    pub(in crate::master::core) fn by_id(&self, id: &str) -> Option<AgentKey> {
        self.by_id.get(id).copied()
    }

    /// The indexes that identify an agent without an id.
    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// All agents, in the order of their first registration.
    pub(in crate::master::core) fn iter(&self) -> impl Iterator<Item = (AgentKey, &Agent)> {
        self.by_key.iter().map(|(key, agent)| (*key, agent))
    }

    /// The agents after this one, in the same order.
    pub(in crate::master::core) fn after(&self, key: Option<AgentKey>) -> impl Iterator<Item = (AgentKey, &Agent)> {
        let range = (key.map_or(Unbounded, Excluded), Unbounded);
        self.by_key.range(range).map(|(key, agent)| (*key, agent))
    }

    pub(in crate::master::core) fn values(&self) -> impl Iterator<Item = &Agent> {
        self.by_key.values()
    }

    /// Updates the indexes with the agent's new description.
    pub(super) fn redescribe(&mut self, key: AgentKey, register: &Register) {
        let Some(agent) = self.by_key.get(&key) else { return };
        self.identities.remove(key, agent);
        self.identities.insert(key, register);
    }

    /// Sets whether the agent can be reached; returns the former presence.
    pub(super) fn set_presence(&mut self, key: AgentKey, presence: Presence) -> Option<Presence> {
        self.note(key);
        let record = self.by_key.get_mut(&key)?.record_mut();
        let before = std::mem::replace(&mut record.presence, presence);
        if let Presence::Unreachable { since_ns } = before {
            self.unreachable.remove(&(since_ns, key));
        }
        if let Presence::Unreachable { since_ns } = presence {
            self.unreachable.insert((since_ns, key));
        }
        Some(before)
    }

    /// The agent that has been unreachable for longest, if there are more than `limit`.
    pub(super) fn surplus_unreachable(&self, limit: usize) -> Option<AgentKey> {
        let (_, longest) = self.unreachable.first().filter(|_| self.unreachable.len() > limit)?;
        Some(*longest)
    }

    /// Takes the agents that may have changed since the last call, in debug builds.
    pub(in crate::master::core) fn take_changed(&mut self) -> BTreeSet<AgentKey> {
        std::mem::take(&mut self.changed)
    }

    fn note(&mut self, key: AgentKey) {
        self.changes.note(|| key);
        if cfg!(debug_assertions) {
            self.changed.insert(key);
        }
    }

    /// Asserts that the indexes lead to exactly these agents.
    pub(in crate::master::core) fn check(&self) {
        assert_eq!(self.by_id.len(), self.by_key.len(), "every agent has one id");
        for (key, agent) in self.iter() {
            assert!(agent.session.is_none() || agent.arrival.is_none(), "{key:?} is registered or registering");
            assert!(agent.arrival.is_none() || self.arriving.contains(&key), "{key:?} is among the registering");
            assert_eq!(self.by_id(&agent.record.id), Some(key), "{key:?} is found by its id");
            if let Presence::Unreachable { since_ns } = agent.record.presence {
                assert!(self.unreachable.contains(&(since_ns, key)), "{key:?} is among the unreachable");
            }
        }
        let away = self.values().filter(|agent| matches!(agent.record.presence, Presence::Unreachable { .. }));
        assert_eq!(away.count(), self.unreachable.len(), "nothing else is among the unreachable");
    }
}

/// # Panics
/// When the agent is not known.
impl Index<AgentKey> for Agents {
    type Output = Agent;

    fn index(&self, key: AgentKey) -> &Agent {
        &self.by_key[&key]
    }
}
