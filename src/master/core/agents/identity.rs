//! Which agent it is that registers.
//!
//! An agent is who its id says. One that was given an id and did not hear it is known by its work directory; one that
//! lost its work directory takes the place of the agent that was at its address. Two runs of agents under one id are two
//! copies of a work directory: whoever is connected and answers stays, and the other is refused.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::master::core::{
    Master, Order, Register, Turn,
    agents::{Agent, AgentFacts},
    keys::AgentKey,
    parted::PartedMap,
};
use crate::types::HostPort;

/// How long a connected agent may take to show that it is alive when another run of it registers.
const PROOF_OF_LIFE: Duration = Duration::from_secs(10);

/// The run of an agent that has its id at present.
#[derive(Clone, Debug, Default)]
pub(in crate::master::core) struct Run {
    installation: Bytes,
    instance: Bytes,
    /// Since when it is to show that it is alive (monotonic nanoseconds), if it is.
    doubted_ns: Option<u64>,
}

impl Run {
    pub(in crate::master::core) fn of(register: &Register) -> Self {
        let (installation, instance) = (register.installation.clone(), register.instance.clone());
        Self { installation, instance, doubted_ns: None }
    }

    pub(in crate::master::core) fn heard(&mut self) {
        self.doubted_ns = None;
    }

    /// An agent that names no run, as older ones do, is whoever comes.
    fn is_another(&self, register: &Register) -> bool {
        !self.instance.is_empty() && !register.instance.is_empty() && self.instance != register.instance
    }
}

/// Host name, address and port: no two agents that live have all of them in common.
type Place = (String, String, u16);

/// Where the agent serves; one that serves nowhere has no place that another could take.
fn place(facts: &AgentFacts) -> Option<Place> {
    (facts.port > 0).then(|| (facts.hostname.clone(), facts.address.clone(), facts.port))
}

/// What agents are known by besides their ids.
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

    /// The agent is forgotten, or comes anew under another description.
    pub(in crate::master::core) fn remove(&mut self, key: AgentKey, agent: &Agent) {
        if let Some(place) = place(&agent.bucket.facts).filter(|place| self.places.get(place) == Some(&key)) {
            self.places.remove(&place);
        }
        if self.installations.get(&agent.run.installation) == Some(&key) {
            self.installations.remove(&agent.run.installation);
        }
    }
}

impl Master {
    /// The id under which the agent registers: its own, the one it did not hear of, or a new one.
    pub(in crate::master::core) fn identify(&mut self, turn: &mut Turn<'_>, register: &mut Register) -> Arc<str> {
        if let Some(id) = register.id.take() {
            return id.into();
        }
        if let Some(key) = self.agents.identities().installations.get(&register.installation) {
            return self.agents[*key].bucket.id.clone();
        }
        self.displace(turn, register);
        self.counters.agent_id(&self.id).into()
    }

    /// The agent that was at the newcomer's address and is not connected has lost its work directory, and with it all
    /// that it knew. (Mesos does the same: `RegisterDisconnectedSlave`.)
    fn displace(&mut self, turn: &mut Turn<'_>, register: &Register) {
        let before = place(&register.facts).and_then(|place| self.agents.identities().places.get(&place).copied());
        if let Some(before) = before.filter(|key| self.agents[*key].contact().is_none()) {
            self.counts.agents_displaced += 1;
            self.remove_agent(turn, before);
        }
    }

    /// Why this run of an agent cannot have its id, if another has it. The other is asked, and when it has been silent for
    /// long enough it is no more in the way; the newcomer tries again until then.
    pub(in crate::master::core) fn contest(
        &mut self,
        turn: &mut Turn<'_>,
        id: &str,
        register: &Register,
    ) -> Option<String> {
        let key = self.agents.by_id(id)?;
        let agent = self.agents.get_mut(key)?;
        let session = agent.contact().filter(|_| agent.run.is_another(register))?;
        match agent.run.doubted_ns {
            Some(since) if turn.now.since(since) >= PROOF_OF_LIFE => return None,
            Some(_) => {}
            None => {
                agent.run.doubted_ns = Some(turn.now.mono_ns);
                turn.order(Some(session), Order::Ping);
            }
        }
        let AgentFacts { hostname, address, port, .. } = &*agent.bucket.facts;
        Some(format!(
            "agent {id} is connected from {hostname} ({}) and is asked whether it is alive; if this work \
             directory is a copy of that one's, start with an empty one",
            HostPort(address, *port)
        ))
    }
}
