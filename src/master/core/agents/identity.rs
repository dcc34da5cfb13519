//! The identity of a registering agent.
//!
//! An agent is identified by its id. One that was given an id and did not receive it is identified by its work
//! directory. One that lost its work directory replaces the agent that was at its address. Two instances under one id
//! are copies of one work directory: the one that is connected and answers stays, the other is refused.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::master::core::{
    Master, Order, Register, Turn,
    agents::{Agent, AgentFacts},
    keys::AgentKey,
    parted::PartedMap,
};
use crate::types::HostPort;

/// How long a connected agent may take to answer when another instance of it registers.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(10);

/// The instance of an agent that has its id at present.
#[derive(Clone, Debug, Default)]
pub(in crate::master::core) struct AgentInstance {
    installation: Bytes,
    instance: Bytes,
    /// When it was asked to show that it is alive (monotonic nanoseconds), until it does.
    challenged_ns: Option<u64>,
}

impl AgentInstance {
    pub(in crate::master::core) fn of(register: &Register) -> Self {
        let (installation, instance) = (register.installation.clone(), register.instance.clone());
        Self { installation, instance, challenged_ns: None }
    }

    pub(in crate::master::core) fn record_liveness(&mut self) {
        self.challenged_ns = None;
    }

    /// False if either names no instance, as agents of older versions do.
    fn is_another(&self, register: &Register) -> bool {
        !self.instance.is_empty() && !register.instance.is_empty() && self.instance != register.instance
    }
}

/// Host name, address and port: no two running agents have all of them in common.
type Place = (String, String, u16);

/// Where the agent serves; `None` if it listens on no port.
fn place(facts: &AgentFacts) -> Option<Place> {
    (facts.port > 0).then(|| (facts.hostname.clone(), facts.address.clone(), facts.port))
}

/// Indexes of agents by work directory and by address.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Identities {
    installations: PartedMap<Bytes, AgentKey>,
    places: PartedMap<Place, AgentKey>,
}

impl Identities {
    pub(in crate::master::core) fn insert(&mut self, key: AgentKey, register: &Register) {
        if !register.installation.is_empty() {
            self.installations.insert(register.installation.clone(), key);
        }
        if let Some(place) = place(&register.facts) {
            self.places.insert(place, key);
        }
    }

    /// Removes an agent that is forgotten or describes itself anew.
    pub(in crate::master::core) fn remove(&mut self, key: AgentKey, agent: &Agent) {
        if let Some(place) = place(&agent.record.facts).filter(|place| self.places.get(place) == Some(&key)) {
            self.places.remove(&place);
        }
        if self.installations.get(&agent.instance.installation) == Some(&key) {
            self.installations.remove(&agent.instance.installation);
        }
    }
}

impl Master {
    /// The id under which the agent registers: its own, the one it did not receive, or a new one.
    pub(in crate::master::core) fn identify(&mut self, turn: &mut Turn<'_>, register: &mut Register) -> Arc<str> {
        if let Some(id) = register.id.take() {
            return id.into();
        }
        if let Some(key) = self.agents.identities().installations.get(&register.installation) {
            return self.agents[*key].record.id.clone();
        }
        self.remove_predecessor(turn, register);
        self.counters.agent_id(&self.id).into()
    }

    /// Removes the disconnected agent that was at the address of a new one: it has lost its work directory. (Mesos does
    /// the same: `RegisterDisconnectedSlave`.)
    fn remove_predecessor(&mut self, turn: &mut Turn<'_>, register: &Register) {
        let before = place(&register.facts).and_then(|place| self.agents.identities().places.get(&place).copied());
        if let Some(before) = before.filter(|key| self.agents[*key].contact().is_none()) {
            self.counts.agents_displaced += 1;
            self.remove_agent(turn, before);
        }
    }

    /// Why this instance of an agent cannot have its id: a connected instance has it. That one is pinged, and once it
    /// has not answered for long enough, the new one may register; the new one retries until then.
    pub(in crate::master::core) fn instance_conflict(
        &mut self,
        turn: &mut Turn<'_>,
        id: &str,
        register: &Register,
    ) -> Option<String> {
        let key = self.agents.by_id(id)?;
        let agent = self.agents.get_mut(key)?;
        let session = agent.contact().filter(|_| agent.instance.is_another(register))?;
        match agent.instance.challenged_ns {
            Some(since) if turn.now.since(since) >= LIVENESS_TIMEOUT => return None,
            Some(_) => {}
            None => {
                agent.instance.challenged_ns = Some(turn.now.mono_ns);
                turn.send_order(Some(session), Order::Ping);
            }
        }
        let AgentFacts { hostname, address, port, .. } = &*agent.record.facts;
        Some(format!(
            "agent {id} is connected from {hostname} ({}) and is asked whether it is alive; if this work \
             directory is a copy of that one's, start with an empty one",
            HostPort(address, *port)
        ))
    }
}
