//! Agents: their descriptions, their tasks, and whether they can be reached.
//!
//! What readers may see of an agent is its [`AgentRecord`], which snapshots share; a change while a snapshot holds it
//! copies it. The amounts of its resources are in the ledger.

mod absences;
mod all;
mod arrivals;
mod departures;
mod identity;
mod partitions;
mod recovered;
mod registration;
mod removals;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use self::arrivals::Arrival;
pub use self::removals::RemovalRate;
pub(in crate::master::core) use self::{
    absences::Absences, all::Agents, identity::AgentInstance, recovered::Recovered, removals::Removals,
};
pub(crate) use self::{partitions::Partition, registration::common_version};

use crate::{
    master::core::{
        ContainerId, Event, Master, Order, Refusal, Turn,
        keys::{AgentKey, FrameworkKey, OfferKey, SessionId},
        offers::Offer,
        tasks::{Orphan, TaskTable},
        timers::Timer,
    },
    proto::v1,
};

/// An agent's description of itself, which does not change while it is registered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentFacts {
    pub(crate) hostname: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) attributes: Vec<v1::Attribute>,
    pub(crate) domain: Option<v1::DomainInfo>,
    pub(crate) version: String,
}

/// Whether an agent can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Connected,
    /// Its connection was lost; it has the ping timeout to re-register, and at most the re-registration timeout.
    Disconnected,
    /// It did not answer in time; its tasks are unreachable since this wall time (nanoseconds).
    Unreachable {
        since_ns: i64,
    },
}

/// An agent as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentRecord {
    pub(crate) id: Arc<str>,
    pub(crate) facts: Arc<AgentFacts>,
    pub(crate) presence: Presence,
    pub(crate) tasks: TaskTable,
    /// Containers of removed frameworks that have not ended yet; their resources count as used.
    pub(crate) orphans: BTreeMap<ContainerId, Orphan>,
    pub(crate) offers: BTreeMap<OfferKey, Offer>,
    pub(crate) registered_ns: i64,
    pub(crate) reregistered_ns: Option<i64>,
}

/// An agent as the core keeps it.
#[derive(Debug)]
pub(in crate::master::core) struct Agent {
    pub(in crate::master::core) record: Arc<AgentRecord>,
    /// The session in which it is registered.
    pub(in crate::master::core) session: Option<SessionId>,
    /// The registration in progress; `session` is `None` then.
    arrival: Option<Box<Arrival>>,
    pub(in crate::master::core) pings_missed: u32,
    /// Whether it reports when an orphan is gone.
    pub(in crate::master::core) reports_orphans: bool,
    /// Counts absences, so that a timer of an earlier one does nothing.
    pub(in crate::master::core) absence: u64,
    /// How long it was unreachable before the registration in progress.
    away: Option<std::time::Duration>,
    pub(in crate::master::core) instance: AgentInstance,
}

impl Agent {
    pub(in crate::master::core) fn new(record: AgentRecord, instance: AgentInstance) -> Self {
        let record = Arc::new(record);
        Self {
            record,
            session: None,
            arrival: None,
            pings_missed: 0,
            reports_orphans: false,
            absence: 0,
            away: None,
            instance,
        }
    }

    /// The session in which it is registered or registering.
    pub(in crate::master::core) fn contact(&self) -> Option<SessionId> {
        self.session.or_else(|| Some(self.arrival.as_ref()?.session()))
    }

    pub(in crate::master::core) fn record_mut(&mut self) -> &mut AgentRecord {
        Arc::make_mut(&mut self.record)
    }

    pub(in crate::master::core) fn is_reachable(&self) -> bool {
        self.record.presence == Presence::Connected
    }
}

impl Master {
    /// Marks the agent for the next allocation run of the active clients and of the idle ones.
    pub(in crate::master::core) fn mark_dirty(&mut self, agent: AgentKey) {
        self.ledger.shares_mut().mark_dirty(agent);
    }

    pub(in crate::master::core) fn agent_detached(&mut self, turn: &mut Turn<'_>, key: AgentKey, session: SessionId) {
        let Some(agent) = self.agents.get_mut(key).filter(|agent| agent.contact() == Some(session)) else { return };
        agent.session = None;
        let was_arriving = agent.arrival.take().is_some();
        agent.absence += 1;
        let absence = agent.absence;
        if agent.record.presence == Presence::Connected || was_arriving {
            self.agents.set_presence(key, Presence::Disconnected);
            self.ledger.set_disconnected(key);
            self.rescind_all(turn, key);
            // An agent without a connection gets no more time than one that answers no pings.
            let timeout = self.config.reregister_timeout.min(self.config.ping_timeout());
            self.timers.arm(turn.now.mono_after(timeout), Timer::Reregistration(key, absence));
            self.counts.agents_disconnected += 1;
        }
    }

    pub(in crate::master::core) fn reregistration_due(&mut self, turn: &mut Turn<'_>, key: AgentKey, absence: u64) {
        let away = |agent: &Agent| agent.absence == absence && agent.record.presence == Presence::Disconnected;
        if let Some(agent) = self.agents.get(key).filter(|agent| away(agent)) {
            let id = agent.record.id.clone();
            self.mark_unreachable_at_rate(turn, &id);
        }
    }

    pub(in crate::master::core) fn ping_due(&mut self, turn: &mut Turn<'_>, key: AgentKey, session: SessionId) {
        let Some(agent) = self.agents.get_mut(key).filter(|agent| agent.session == Some(session)) else { return };
        if turn.is_unopened(session) {
            // REGISTERED still waits for the registry, and pings behind it: missing answers mean nothing yet.
            self.timers.arm(turn.now.mono_after(self.config.ping_interval), Timer::Ping(key, session));
            return;
        }
        if agent.pings_missed >= self.config.pings_missed {
            // An agent that is alive reconnects at once and is not marked unreachable.
            let id = agent.record.id.clone();
            turn.close(session);
            self.sessions.remove(session);
            self.agent_detached(turn, key, session);
            self.mark_unreachable_at_rate(turn, &id);
            return;
        }
        agent.pings_missed += 1;
        turn.send_order(Some(session), Order::Ping);
        self.timers.arm(turn.now.mono_after(self.config.ping_interval), Timer::Ping(key, session));
    }

    /// Records that the agent is alive. Any message counts, as answers to pings queue behind other messages.
    pub(in crate::master::core) fn record_liveness(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.get_mut(key) {
            agent.pings_missed = 0;
            agent.instance.record_liveness();
        }
    }

    /// Sends the framework's info, unless this agent's session has received it already.
    pub(in crate::master::core) fn send_framework_info(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        framework: FrameworkKey,
    ) {
        let Some(session) = self.agents.get(agent).and_then(|agent| agent.session) else { return };
        let Some(framework) = self.frameworks.get_mut(framework) else { return };
        if framework.info_sent.insert(agent, session) != Some(session) {
            let (framework, info) = (framework.record.id.clone(), framework.record.info.clone());
            turn.send_order(Some(session), Order::UpdateFramework { framework, info });
        }
    }

    /// Forwards a framework's message to one of its executors, at most once.
    pub(in crate::master::core) fn message(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        agent: &str,
        executor: String,
        data: Bytes,
    ) -> Result<(), Refusal> {
        let key = self.agents.by_id(agent).filter(|key| self.agents[*key].session.is_some());
        let Some(key) = key else {
            return Err(Refusal::new("message.agent_id", format!("agent {agent} is not connected")));
        };
        if turn.is_over_budget(self.agents[key].session) {
            self.counts.messages_dropped += 1;
            return Ok(());
        }
        let framework = self.frameworks[framework].record.id.clone();
        turn.send_order(self.agents[key].session, Order::Message { framework, executor, data });
        Ok(())
    }

    /// Forwards an executor's message to its framework, at most once.
    pub(in crate::master::core) fn forward_message(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        framework: &str,
        executor: String,
        data: Bytes,
    ) {
        let Some(framework) = self.frameworks.by_id(framework).and_then(|key| self.frameworks.get(key)) else {
            return;
        };
        if turn.is_over_budget(framework.session) {
            self.counts.messages_dropped += 1;
            return;
        }
        let agent = self.agents[agent].record.id.clone();
        turn.send_event(framework.session, Event::Message { agent, executor, data });
    }
}

#[cfg(test)]
mod tests;
