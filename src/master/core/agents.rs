//! Agents: what they are, what they have, whether they can be reached.
//!
//! What readers may see of an agent stands in its [`AgentBucket`], which is shared with snapshots and copied only when
//! it changes while one is held. Resources move between free, offered and used here and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Event, Master, Order, Peer, Turn,
    keys::{AgentKey, FrameworkKey, OfferKey, SessionId, TaskKey},
    offers::Offer,
    tasks::Task,
    timers::Timer,
};
use crate::{
    proto::{
        internal::{AgentUnreachable, registry_change},
        v1,
    },
    types::Resources,
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
    /// Its stream broke; it has the re-registration timeout to come back.
    Disconnected,
    /// Since this wall time (nanoseconds) its tasks count as unreachable.
    Unreachable {
        since_ns: i64,
    },
}

/// An agent as readers see it.
#[derive(Clone, Debug)]
pub(crate) struct AgentBucket {
    pub(crate) id: Arc<str>,
    pub(crate) facts: Arc<AgentFacts>,
    pub(crate) presence: Presence,
    pub(crate) total: Resources,
    pub(crate) used: Resources,
    pub(crate) offered: Resources,
    pub(crate) free: Resources,
    pub(crate) tasks: BTreeMap<TaskKey, Task>,
    pub(crate) offers: BTreeMap<OfferKey, Offer>,
    pub(crate) registered_ns: i64,
    pub(crate) reregistered_ns: Option<i64>,
}

/// An agent as the core keeps it.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) bucket: Arc<AgentBucket>,
    pub(super) session: Option<SessionId>,
    /// Frameworks whose info was sent on this session.
    pub(super) told: BTreeSet<FrameworkKey>,
    pub(super) pings_missed: u32,
    /// Tells one absence from the next.
    pub(super) absence: u64,
}

impl Agent {
    pub(super) fn new(bucket: AgentBucket, session: SessionId) -> Self {
        Self { bucket: Arc::new(bucket), session: Some(session), told: BTreeSet::new(), pings_missed: 0, absence: 0 }
    }

    pub(super) fn bucket_mut(&mut self) -> &mut AgentBucket {
        Arc::make_mut(&mut self.bucket)
    }

    pub(super) fn reachable(&self) -> bool {
        self.bucket.presence == Presence::Connected
    }
}

impl AgentBucket {
    /// What is left when `used` and `offered` are taken from the total; an agent that came back smaller than its tasks
    /// has nothing left.
    pub(super) fn balance(&mut self) {
        let mut free = self.total.clone();
        free -= &self.used;
        free -= &self.offered;
        self.free = free;
    }
}

impl Master {
    pub(super) fn agent_by_id(&self, id: &str) -> Option<AgentKey> {
        self.agent_ids.get(id).copied()
    }

    /// The next event run looks at this agent, and so does the next run for the cool.
    pub(super) fn touch(&mut self, agent: AgentKey) {
        self.allocator.touch(agent);
    }

    /// Tells the allocator what is free on an agent: of one that is away, nothing.
    pub(super) fn tell_free(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.get(&key) {
            let nothing = Resources::new();
            self.allocator.set_free(key, if agent.reachable() { &agent.bucket.free } else { &nothing });
        }
    }

    /// Every agent is looked at again: something changed for a client.
    pub(super) fn touch_all(&mut self) {
        self.allocator.touch_all();
    }

    pub(super) fn agent_detached(&mut self, turn: &mut Turn<'_>, key: AgentKey, session: SessionId) {
        let Some(agent) = self.agents.get_mut(&key).filter(|agent| agent.session == Some(session)) else { return };
        agent.session = None;
        agent.told.clear();
        agent.absence += 1;
        let absence = agent.absence;
        if agent.bucket.presence == Presence::Connected {
            agent.bucket_mut().presence = Presence::Disconnected;
            self.rescind_all(turn, key);
            self.tell_free(key);
            self.timers.arm(turn.now.mono_after(self.config.reregister_timeout), Timer::Reregistration(key, absence));
            self.counts.agents_disconnected += 1;
        }
    }

    pub(super) fn reregistration_due(&mut self, turn: &mut Turn<'_>, key: AgentKey, absence: u64) {
        let away = |agent: &Agent| agent.absence == absence && agent.bucket.presence == Presence::Disconnected;
        if self.agents.get(&key).is_some_and(away) {
            self.unreachable(turn, key);
        }
    }

    pub(super) fn ping_due(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get_mut(&key) else { return };
        let Some(session) = agent.session else { return };
        if agent.pings_missed >= self.config.pings_missed {
            turn.close(session);
            self.sessions.remove(&session);
            self.agent_detached(turn, key, session);
            self.unreachable(turn, key);
            return;
        }
        agent.pings_missed += 1;
        turn.order(Some(session), Order::Ping);
        self.timers.arm(turn.now.mono_after(self.config.ping_interval), Timer::Ping(key));
    }

    pub(super) fn ponged(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.get_mut(&key) {
            agent.pings_missed = 0;
        }
    }

    /// The agent has been away for too long: first the registry, then its tasks, then everybody hears of it.
    fn unreachable(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get_mut(&key) else { return };
        let since_ns = turn.now.wall_ns;
        let id = agent.bucket.id.clone();
        agent.bucket_mut().presence = Presence::Unreachable { since_ns };
        self.counts.agents_unreachable += 1;
        turn.persist(registry_change::Kind::AgentUnreachable(AgentUnreachable {
            agent_id: id.to_string(),
            wall_ns: since_ns,
        }));
        self.facts.unreachable.insert(id.to_string(), since_ns);
        self.unreachable.insert((since_ns, key));
        self.rescind_all(turn, key);
        self.allocator.remove_agent(key);
        self.tasks_unreachable(turn, key, since_ns);
        self.announce_failure(turn, &id);
        self.forget_surplus_unreachable();
    }

    /// The agent said it leaves for good.
    pub(super) fn agent_unregistered(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get(&key) else { return };
        let (id, session) = (agent.bucket.id.clone(), agent.session);
        self.rescind_all(turn, key);
        self.tasks_removed_with_agent(turn, key);
        self.drop_agent(key);
        turn.persist(registry_change::Kind::AgentRemoved(id.to_string()));
        self.facts.agents.remove(&*id);
        self.announce_failure(turn, &id);
        if let Some(session) = session {
            self.sessions.insert(session, Peer::Stranger);
            turn.close(session);
        }
    }

    pub(super) fn announce_failure(&mut self, turn: &mut Turn<'_>, agent: &Arc<str>) {
        for framework in self.frameworks.values() {
            turn.tell(framework.session, Event::Failure { agent: agent.clone() });
        }
    }

    pub(super) fn drop_agent(&mut self, key: AgentKey) {
        if let Some(agent) = self.agents.remove(&key) {
            self.agent_ids.remove(&agent.bucket.id);
            self.allocator.remove_agent(key);
            self.stale.agents.remove(&key);
            self.stale.eased.remove(&key);
            if let Presence::Unreachable { since_ns } = agent.bucket.presence {
                self.unreachable.remove(&(since_ns, key));
            }
            for task in agent.bucket.tasks.values() {
                if let Some(framework) = self.frameworks.get_mut(&task.framework) {
                    framework.tasks.swap_remove(&task.id);
                }
            }
        }
    }

    /// Memory for unreachable agents has a bound: those lost longest ago go first.
    fn forget_surplus_unreachable(&mut self) {
        while self.unreachable.len() > self.config.unreachable_agents {
            let Some((_, oldest)) = self.unreachable.first().copied() else { return };
            self.drop_agent(oldest);
        }
    }

    /// Sends the framework's info before anything else of it goes to this agent's session.
    pub(super) fn introduce(&mut self, turn: &mut Turn<'_>, agent: AgentKey, framework: FrameworkKey) {
        let Some(info) = self.frameworks.get(&framework).map(|framework| framework.bucket.info.clone()) else { return };
        let Some(agent) = self.agents.get_mut(&agent) else { return };
        if agent.session.is_some() && agent.told.insert(framework) {
            turn.order(agent.session, Order::UpdateFramework { info });
        }
    }

    /// Bytes from a framework to one of its executors, at most once.
    pub(super) fn message(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        agent: &str,
        executor: String,
        data: Bytes,
    ) -> Result<(), super::Refusal> {
        let key = self.agent_by_id(agent).filter(|key| self.agents[key].session.is_some());
        let Some(key) = key else {
            return Err(super::Refusal::new("message.agent_id", format!("agent {agent} is not connected")));
        };
        let framework = self.frameworks[&framework].bucket.id.clone();
        turn.order(self.agents[&key].session, Order::Message { framework, executor, data });
        Ok(())
    }

    /// Bytes from an executor to its framework, at most once.
    pub(super) fn forward_message(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        framework: &str,
        executor: String,
        data: Bytes,
    ) {
        let Some(framework) = self.framework_ids.get(framework).and_then(|key| self.frameworks.get(key)) else {
            return;
        };
        let agent = self.agents[&agent].bucket.id.clone();
        turn.tell(framework.session, Event::Message { agent, executor, data });
    }
}
