//! Agents: what they are, what they have, whether they can be reached.
//!
//! What readers may see of an agent stands in its [`AgentBucket`], which is shared with snapshots and copied only when
//! it changes while one is held. What the agent has is the ledger's.

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
    absences::Absences, all::Agents, identity::Run, recovered::Recovered, removals::Removals,
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

/// What an agent said of itself and what does not change while it is registered.
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
    /// Its stream broke; it has as long as it may be silent to come back, and no longer than the re-registration timeout.
    Disconnected,
    /// Since this wall time (nanoseconds) its tasks count as unreachable.
    Unreachable {
        since_ns: i64,
    },
}

/// An agent as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentBucket {
    pub(crate) id: Arc<str>,
    pub(crate) facts: Arc<AgentFacts>,
    pub(crate) presence: Presence,
    pub(crate) tasks: TaskTable,
    /// Containers of removed frameworks that have not ended yet; what they hold is used.
    pub(crate) orphans: BTreeMap<ContainerId, Orphan>,
    pub(crate) offers: BTreeMap<OfferKey, Offer>,
    pub(crate) registered_ns: i64,
    pub(crate) reregistered_ns: Option<i64>,
}

/// An agent as the core keeps it.
#[derive(Debug)]
pub(in crate::master::core) struct Agent {
    pub(in crate::master::core) bucket: Arc<AgentBucket>,
    /// The session in which it is registered.
    pub(in crate::master::core) session: Option<SessionId>,
    /// The registration that is being taken in; there is no session then.
    arrival: Option<Box<Arrival>>,
    pub(in crate::master::core) pings_missed: u32,
    /// Whether it says when an orphan is gone.
    pub(in crate::master::core) reports_orphans: bool,
    /// Tells one absence from the next.
    pub(in crate::master::core) absence: u64,
    /// For how long it was unreachable before the registration that is not complete yet.
    away: Option<std::time::Duration>,
    pub(in crate::master::core) run: Run,
}

impl Agent {
    pub(in crate::master::core) fn new(bucket: AgentBucket, run: Run) -> Self {
        let bucket = Arc::new(bucket);
        Self {
            bucket,
            session: None,
            arrival: None,
            pings_missed: 0,
            reports_orphans: false,
            absence: 0,
            away: None,
            run,
        }
    }

    /// The session in which it is registered, or is being.
    pub(in crate::master::core) fn contact(&self) -> Option<SessionId> {
        self.session.or_else(|| Some(self.arrival.as_ref()?.session()))
    }

    pub(in crate::master::core) fn bucket_mut(&mut self) -> &mut AgentBucket {
        Arc::make_mut(&mut self.bucket)
    }

    pub(in crate::master::core) fn reachable(&self) -> bool {
        self.bucket.presence == Presence::Connected
    }
}

impl Master {
    /// The next event run looks at this agent, and so does the next run for the idle clients.
    pub(in crate::master::core) fn touch(&mut self, agent: AgentKey) {
        self.ledger.shares_mut().mark_dirty(agent);
    }

    pub(in crate::master::core) fn agent_detached(&mut self, turn: &mut Turn<'_>, key: AgentKey, session: SessionId) {
        let Some(agent) = self.agents.get_mut(key).filter(|agent| agent.contact() == Some(session)) else { return };
        agent.session = None;
        let was_arriving = agent.arrival.take().is_some();
        agent.absence += 1;
        let absence = agent.absence;
        if agent.bucket.presence == Presence::Connected || was_arriving {
            self.agents.set_presence(key, Presence::Disconnected);
            self.ledger.set_disconnected(key);
            self.rescind_all(turn, key);
            // Without a stream it is as silent as one that answers no pings, and is not given more time.
            let patience = self.config.reregister_timeout.min(self.config.ping_timeout());
            self.timers.arm(turn.now.mono_after(patience), Timer::Reregistration(key, absence));
            self.counts.agents_disconnected += 1;
        }
    }

    pub(in crate::master::core) fn reregistration_due(&mut self, turn: &mut Turn<'_>, key: AgentKey, absence: u64) {
        let away = |agent: &Agent| agent.absence == absence && agent.bucket.presence == Presence::Disconnected;
        if let Some(agent) = self.agents.get(key).filter(|agent| away(agent)) {
            let id = agent.bucket.id.clone();
            self.give_up(turn, &id);
        }
    }

    pub(in crate::master::core) fn ping_due(&mut self, turn: &mut Turn<'_>, key: AgentKey, session: SessionId) {
        let Some(agent) = self.agents.get_mut(key).filter(|agent| agent.session == Some(session)) else { return };
        if turn.is_unopened(session) {
            // REGISTERED still waits for the registry, and pings behind it: nothing is concluded from silence.
            self.timers.arm(turn.now.mono_after(self.config.ping_interval), Timer::Ping(key, session));
            return;
        }
        if agent.pings_missed >= self.config.pings_missed {
            // The stream is the session: an agent that is alive attaches again at once, and is not given up.
            let id = agent.bucket.id.clone();
            turn.close(session);
            self.sessions.remove(session);
            self.agent_detached(turn, key, session);
            self.give_up(turn, &id);
            return;
        }
        agent.pings_missed += 1;
        turn.order(Some(session), Order::Ping);
        self.timers.arm(turn.now.mono_after(self.config.ping_interval), Timer::Ping(key, session));
    }

    /// Any word of an agent shows that it is there: answers to pings come after all else that it has to say.
    pub(in crate::master::core) fn heard_of(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.get_mut(key) {
            agent.pings_missed = 0;
            agent.run.heard();
        }
    }

    /// Sends the framework's info before anything else of it goes to this agent's session.
    pub(in crate::master::core) fn introduce(&mut self, turn: &mut Turn<'_>, agent: AgentKey, framework: FrameworkKey) {
        let Some(session) = self.agents.get(agent).and_then(|agent| agent.session) else { return };
        let Some(framework) = self.frameworks.get_mut(framework) else { return };
        if framework.introduced.insert(agent, session) != Some(session) {
            let (framework, info) = (framework.bucket.id.clone(), framework.bucket.info.clone());
            turn.order(Some(session), Order::UpdateFramework { framework, info });
        }
    }

    /// Bytes from a framework to one of its executors, at most once.
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
        let framework = self.frameworks[framework].bucket.id.clone();
        turn.order(self.agents[key].session, Order::Message { framework, executor, data });
        Ok(())
    }

    /// Bytes from an executor to its framework, at most once.
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
        let agent = self.agents[agent].bucket.id.clone();
        turn.tell(framework.session, Event::Message { agent, executor, data });
    }
}

#[cfg(test)]
mod tests;
