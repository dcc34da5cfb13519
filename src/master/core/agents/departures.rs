//! Departures of agents: unreachable, marked gone by an operator, unregistered, and finally forgotten.
//!
//! The registry stores a departure before any event reports it. Unreachable and gone agents are remembered so that
//! their tasks can be reconciled; their number and age are bounded.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    master::core::{
        Answer, Event, Master, Order, Turn, agents::Presence, keys::AgentKey, tasks::Ending, timers::Timer,
    },
    proto::internal::{AgentGone, AgentUnreachable, RegistryChange, registry_change::Kind},
    types::Now,
};

impl Master {
    /// Records a change in the registry and applies it.
    pub(in crate::master::core) fn record(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        self.record_all(turn, vec![kind]);
    }

    /// Records several changes at once: all of them are stored, or none.
    pub(in crate::master::core) fn record_all(&mut self, turn: &mut Turn<'_>, kinds: Vec<Kind>) {
        let changes: Vec<_> = kinds.into_iter().map(|kind| RegistryChange { kind: Some(kind) }).collect();
        for change in &changes {
            self.facts.apply(change);
        }
        turn.persist(changes);
    }

    /// Marks an agent unreachable in the registry, updates its tasks, and reports it lost to every framework.
    pub(in crate::master::core) fn set_unreachable(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let (id, since_ns) = (agent.record.id.clone(), turn.now.wall_ns);
        self.agents.set_presence(key, Presence::Unreachable { since_ns });
        self.recovered.remove(&id);
        self.note_unreachable(turn, &id, since_ns);
        self.rescind_all(turn, key);
        self.ledger.set_unreachable(key);
        self.set_tasks_unreachable(turn, key, since_ns);
        turn.report_lost(&id);
        self.forget_surplus_unreachable();
    }

    /// The same for an agent that has not re-registered since this master started; its tasks are unknown.
    pub(in crate::master::core) fn set_recovered_unreachable(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        self.note_unreachable(turn, id, turn.now.wall_ns);
        turn.report_lost(id);
    }

    fn note_unreachable(&mut self, turn: &mut Turn<'_>, id: &Arc<str>, wall_ns: i64) {
        self.counts.agents_unreachable += 1;
        self.absences.note(turn.now, id);
        self.record(turn, Kind::AgentUnreachable(AgentUnreachable { agent_id: id.to_string(), wall_ns }));
    }

    /// Removes an agent that unregistered.
    pub(in crate::master::core) fn agent_unregistered(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        self.counts.agents_unregistered += 1;
        self.remove_agent(turn, key);
    }

    /// Removes an agent for good; its tasks are lost.
    pub(in crate::master::core) fn remove_agent(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let (id, session) = (agent.record.id.clone(), agent.contact());
        self.record(turn, Kind::AgentRemoved(id.to_string()));
        self.end_and_drop(turn, key, Ending::Removed);
        turn.report_lost(&id);
        if let Some(session) = session {
            self.sessions.remove(session);
            turn.close(session);
        }
    }

    /// Marks an agent gone for an operator: its tasks end, and whenever it registers it receives `Gone`.
    pub(in crate::master::core) fn mark_gone(&mut self, turn: &mut Turn<'_>, id: &str) -> Answer {
        if self.facts.gone.contains_key(id) {
            return Answer::Done;
        }
        let key = self.agents.by_id(id);
        if key.is_none() && !self.facts.agents.contains_key(id) && !self.facts.unreachable.contains_key(id) {
            return Answer::Refused(format!("no agent {id} is known"));
        }
        self.counts.agents_gone += 1;
        self.absences.note(turn.now, id);
        let gone = AgentGone { agent_id: id.to_owned(), wall_ns: turn.now.wall_ns };
        self.record(turn, Kind::AgentGone(gone));
        self.recovered.remove(id);
        self.removals.cancel(id);
        if let Some(key) = key {
            if let Some(session) = self.agents[key].contact() {
                turn.send_order(Some(session), Order::Gone);
                self.sessions.remove(session);
                turn.close(session);
            }
            self.end_and_drop(turn, key, Ending::Gone);
        }
        turn.report_lost(&id.into());
        Answer::Done
    }

    /// Rescinds the offers of an agent, ends its tasks and drops its record.
    fn end_and_drop(&mut self, turn: &mut Turn<'_>, key: AgentKey, ending: Ending) {
        self.rescind_all(turn, key);
        self.end_tasks_of(turn, key, ending);
        self.removals.cancel(&self.agents[key].record.id);
        self.drop_agent(key);
    }

    /// Sends each framework one event that names all agents lost by this input.
    pub(in crate::master::core) fn send_failures(&self, turn: &mut Turn<'_>) {
        let Some(agents) = turn.take_lost() else { return };
        for framework in self.frameworks.values() {
            turn.send_event(framework.session, Event::Failures { agents: agents.clone() });
        }
    }

    fn drop_agent(&mut self, key: AgentKey) {
        let Some(agent) = self.agents.remove(key) else { return };
        self.recovered.remove(&agent.record.id);
        self.timers.disarm_sole(Timer::RefusalEnded(key));
        self.ledger.remove_agent(key);
        for (task_key, task) in agent.record.tasks.iter() {
            self.counts.left(task.state);
            self.unindex_task(key, task_key, task);
        }
        for framework in self.frameworks.values_mut() {
            framework.info_sent.remove(&key);
        }
    }

    /// Drops the agents that have been unreachable for longest where there are too many.
    fn forget_surplus_unreachable(&mut self) {
        while let Some(longest) = self.agents.surplus_unreachable(self.config.unreachable_agents) {
            self.drop_agent(longest);
        }
    }

    /// Collects garbage in the registry: agents that were unreachable or gone for too long, frameworks of which only
    /// instances or a tombstone were known for as long, and the oldest beyond the limits. A forgotten agent or
    /// framework that registers again counts as unknown.
    pub(in crate::master::core) fn registry_due(&mut self, turn: &mut Turn<'_>) {
        self.timers.arm(turn.now.mono_after(self.config.registry_gc_interval), Timer::RegistryGc);
        let facts = &self.facts;
        self.absences.retain(|id| facts.unreachable.contains_key(id) || facts.gone.contains_key(id));
        let mut frameworks = self.surplus(&self.unknown_frameworks(), turn.now);
        frameworks.extend(self.surplus_tombstones(turn.now));
        self.record_all(turn, frameworks.into_iter().map(Kind::FrameworkForgotten).collect());
        for list in [&self.facts.unreachable, &self.facts.gone].map(|list| self.surplus(list, turn.now)) {
            for id in list {
                if let Some(key) = self.agents.by_id(&id) {
                    self.drop_agent(key);
                }
                self.counts.agents_forgotten += 1;
                self.record(turn, Kind::AgentForgotten(id));
            }
        }
        self.forget_awaited_kills();
    }

    /// Frameworks without a subscription or a task since this master started, and since when.
    fn unknown_frameworks(&self) -> BTreeMap<String, i64> {
        let unknown = self.facts.runs.iter().filter(|(id, _)| self.frameworks.by_id(id.as_str()).is_none());
        unknown.map(|(id, lineage)| (id.clone(), lineage.since_ns().max(self.absences.began.wall_ns))).collect()
    }

    /// The entries of the list that exceed the maximum age, and the oldest beyond the maximum number.
    fn surplus(&self, list: &BTreeMap<String, i64>, now: Now) -> Vec<String> {
        let mut by_age: Vec<(i64, &String)> = list.iter().map(|(id, since)| (*since, id)).collect();
        by_age.sort_unstable();
        let too_many = by_age.len().saturating_sub(self.config.registry_max_agents);
        let too_long = |id: &str, since| self.absences.lasted(now, id, since) > self.config.registry_max_age;
        let goes = by_age.into_iter().enumerate();
        let goes = goes.filter(|(place, (since, id))| *place < too_many || too_long(id, *since));
        goes.map(|(_, (_, id))| id.clone()).collect()
    }
}
