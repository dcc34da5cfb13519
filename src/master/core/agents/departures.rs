//! Agents that go: unreachable until they are back, gone because an operator said so, unregistered by themselves, and
//! in the end forgotten.
//!
//! The registry holds a departure before anybody hears of it. What is unreachable or gone is remembered so that questions
//! after its tasks have an answer; how many and how long has a bound.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    master::core::{
        Answer, Event, Master, Order, Turn, agents::Presence, keys::AgentKey, tasks::Ending, timers::Timer,
    },
    proto::internal::{AgentGone, AgentUnreachable, RegistryChange, registry_change::Kind},
    types::Now,
};

impl Master {
    /// Has the change stored, and takes it in.
    pub(in crate::master::core) fn record(&mut self, turn: &mut Turn<'_>, kind: Kind) {
        self.record_all(turn, vec![kind]);
    }

    /// The same with several at once: all of them are stored, or none.
    pub(in crate::master::core) fn record_all(&mut self, turn: &mut Turn<'_>, kinds: Vec<Kind>) {
        let changes: Vec<_> = kinds.into_iter().map(|kind| RegistryChange { kind: Some(kind) }).collect();
        for change in &changes {
            self.facts.apply(change);
        }
        turn.persist(changes);
    }

    /// The agent has been away for too long: first the registry, then its tasks, then everybody hears of it.
    pub(in crate::master::core) fn unreachable(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let (id, since_ns) = (agent.bucket.id.clone(), turn.now.wall_ns);
        self.agents.set_presence(key, Presence::Unreachable { since_ns });
        self.recovered.remove(&id);
        self.note_unreachable(turn, &id, since_ns);
        self.rescind_all(turn, key);
        self.ledger.set_unreachable(key);
        self.tasks_unreachable(turn, key, since_ns);
        turn.lose(&id);
        self.forget_surplus_unreachable();
    }

    /// The same for an agent that has not come back since this master started: of its tasks nothing is known.
    pub(in crate::master::core) fn recovered_unreachable(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        self.note_unreachable(turn, id, turn.now.wall_ns);
        turn.lose(id);
    }

    fn note_unreachable(&mut self, turn: &mut Turn<'_>, id: &Arc<str>, wall_ns: i64) {
        self.counts.agents_unreachable += 1;
        self.absences.note(turn.now, id);
        self.record(turn, Kind::AgentUnreachable(AgentUnreachable { agent_id: id.to_string(), wall_ns }));
    }

    /// The agent said it leaves for good.
    pub(in crate::master::core) fn agent_unregistered(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        self.counts.agents_unregistered += 1;
        self.remove_agent(turn, key);
    }

    /// The agent will never come back: its tasks are lost.
    pub(in crate::master::core) fn remove_agent(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let (id, session) = (agent.bucket.id.clone(), agent.contact());
        self.record(turn, Kind::AgentRemoved(id.to_string()));
        self.dismiss(turn, key, Ending::Removed);
        turn.lose(&id);
        if let Some(session) = session {
            self.sessions.remove(session);
            turn.close(session);
        }
    }

    /// An operator says that the agent is gone for good: it is told so whenever it comes, and its tasks have ended.
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
                turn.order(Some(session), Order::Gone);
                self.sessions.remove(session);
                turn.close(session);
            }
            self.dismiss(turn, key, Ending::Gone);
        }
        turn.lose(&id.into());
        Answer::Done
    }

    /// The agent does not come back: its tasks end, its offers go, and nothing of it stays.
    fn dismiss(&mut self, turn: &mut Turn<'_>, key: AgentKey, ending: Ending) {
        self.rescind_all(turn, key);
        self.end_tasks_of(turn, key, ending);
        self.removals.cancel(&self.agents[key].bucket.id);
        self.drop_agent(key);
    }

    /// Each framework is sent which agents the input has lost: one event, however many they are.
    pub(in crate::master::core) fn announce_failures(&self, turn: &mut Turn<'_>) {
        let Some(agents) = turn.take_lost() else { return };
        for framework in self.frameworks.values() {
            turn.tell(framework.session, Event::Failures { agents: agents.clone() });
        }
    }

    fn drop_agent(&mut self, key: AgentKey) {
        let Some(agent) = self.agents.remove(key) else { return };
        self.recovered.remove(&agent.bucket.id);
        self.timers.disarm_sole(Timer::RefusalEnded(key));
        self.ledger.remove_agent(key);
        for (task_key, task) in agent.bucket.tasks.iter() {
            self.counts.left(task.state);
            self.task_gone(key, task_key, task);
        }
        for framework in self.frameworks.values_mut() {
            framework.introduced.remove(&key);
        }
    }

    /// Memory for unreachable agents has a bound: those lost longest ago go first.
    fn forget_surplus_unreachable(&mut self) {
        while let Some(longest) = self.agents.surplus_unreachable(self.config.unreachable_agents) {
            self.drop_agent(longest);
        }
    }

    /// The registry forgets agents that have been unreachable or gone for too long, frameworks of which nothing but their
    /// runs or their tombstone has been known for as long, and the oldest where there are too many. What comes back after
    /// that is taken as something that nothing is known of.
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

    /// Frameworks that have not been here since this master started, nor tasks of theirs, and since when.
    fn unknown_frameworks(&self) -> BTreeMap<String, i64> {
        let unknown = self.facts.runs.iter().filter(|(id, _)| self.frameworks.by_id(id.as_str()).is_none());
        unknown.map(|(id, lineage)| (id.clone(), lineage.since_ns().max(self.absences.began.wall_ns))).collect()
    }

    /// Those of the list that have been away for longer than may be, and the oldest beyond the number that may be.
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
