//! Registrations that are being taken in: an agent may bring tens of thousands of tasks, and each turn takes some of them.
//!
//! Until the last is taken in the agent counts as disconnected and as one of which not all tasks are known: nothing of it is
//! offered, nothing is sent to it, and questions after tasks that it may have wait. What was taken in by then is true even if
//! its session ends.

use std::collections::BTreeSet;

use crate::{
    master::core::{
        ContainerId, Master, Order, Register, ReportedTask, Turn,
        agents::Presence,
        keys::{AgentKey, SessionId, TaskKey},
        timers::Timer,
    },
    proto::internal::{MissingTask, Registered},
    types::Resources,
};

/// What is left of a registration.
#[derive(Debug)]
pub(super) struct Arrival {
    session: SessionId,
    version: u32,
    total: Resources,
    tasks: std::vec::IntoIter<ReportedTask>,
    /// The frameworks it named.
    frameworks: BTreeSet<String>,
    /// The records of tasks it named.
    named: BTreeSet<TaskKey>,
    /// The containers of its orphans, and of tasks of removed frameworks.
    orphans: BTreeSet<ContainerId>,
}

impl Arrival {
    pub(super) fn new(session: SessionId, register: Register, frameworks: BTreeSet<String>) -> Self {
        let (version, total, tasks) = (register.version, register.total, register.tasks.into_iter());
        let orphans = register.orphans.into_iter().map(|orphan| orphan.container).collect();
        Self { session, version, total, tasks, frameworks, named: BTreeSet::new(), orphans }
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }
}

impl Master {
    /// Takes in more of the registrations that are under way.
    pub(in crate::master::core) fn go_on_registering(&mut self, turn: &mut Turn<'_>) {
        while !turn.is_spent()
            && let Some(key) = self.agents.next_arriving()
        {
            self.take_in(turn, key);
        }
    }

    /// Takes in tasks of an agent, one at least and no more than a turn may; with the last the agent is registered.
    pub(super) fn take_in(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        // Their tasks on this agent end before it says what it has of them.
        self.end_tasks_of_leaving(turn, key);
        let Some(mut arrival) = self.agents.take_arrival(key) else { return };
        let first_new = self.counters.next_task();
        while let Some(task) = arrival.tasks.next() {
            turn.spend(1);
            self.take_in_task(turn, key, &mut arrival, &task);
            if turn.is_spent() {
                break;
            }
        }
        let tasks = &self.agents[key].bucket.tasks;
        let learnt: Vec<TaskKey> = tasks.since(first_new).map(|(task, _)| task).collect();
        self.allocate_tasks(key, &learnt);
        if arrival.tasks.len() > 0 {
            self.agents.put_back_arrival(key, arrival);
        } else {
            self.arrived(turn, key, *arrival);
        }
    }

    fn take_in_task(&mut self, turn: &mut Turn<'_>, key: AgentKey, arrival: &mut Arrival, task: &ReportedTask) {
        if self.was_removed(&task.framework) {
            self.orphan_reported(turn.now, key, task);
            arrival.orphans.insert(task.container.clone());
            return;
        }
        let Some((known, current)) = self.task_reported(turn, key, task) else { return };
        arrival.named.insert(known);
        if let Some(away) = self.agents[key].away.filter(|_| current) {
            self.note_absence(away, key, known);
            self.announce_reregistered(turn, key, known);
        }
        if current {
            self.settle_copies(turn, key, known);
        }
    }

    /// All that the agent has is known: it is registered, and is sent what is missing or too much.
    fn arrived(&mut self, turn: &mut Turn<'_>, key: AgentKey, arrival: Arrival) {
        let missing = self.missing_tasks(turn, key, &arrival.named);
        self.drop_unnamed_orphans(key, &arrival);
        let removed = arrival.frameworks.into_iter().filter(|id| self.was_removed(id)).collect();
        self.agents.set_presence(key, Presence::Connected);
        self.ledger.set_total(key, &arrival.total);
        let Some(agent) = self.agents.get_mut(key) else { return };
        agent.session = Some(arrival.session);
        agent.away = None;
        let id = agent.bucket.id.clone();
        self.agents.arrived(key);
        self.recovered.remove(&id);
        turn.order(
            Some(arrival.session),
            Order::Registered(Box::new(Registered {
                version: arrival.version,
                agent_id: id.to_string(),
                master_id: self.id.to_string(),
                epoch: self.epoch,
                ping_timeout_ms: u64::try_from(self.config.ping_timeout().as_millis()).unwrap_or(u64::MAX),
                missing,
                removed_frameworks: removed,
            })),
        );
        self.resend_kills(turn, key);
        self.timers.arm(turn.now.mono_after(self.config.ping_interval), Timer::Ping(key, arrival.session));
        self.touch(key);
    }

    /// Of tasks whose framework was removed meanwhile, those that the agent does not have leave no orphan.
    fn drop_unnamed_orphans(&mut self, key: AgentKey, arrival: &Arrival) {
        let is_there = |container: &ContainerId, task: TaskKey| {
            arrival.orphans.contains(container) || arrival.named.contains(&task)
        };
        let orphans = &self.agents[key].bucket.orphans;
        let gone = orphans.iter().filter(|(container, orphan)| !is_there(container, orphan.key));
        for container in gone.map(|(container, _)| container.clone()).collect::<Vec<_>>() {
            self.orphan_gone(key, &container);
        }
    }

    /// The tasks that never arrived at the agent, of those that it did not name.
    fn missing_tasks(&mut self, turn: &Turn<'_>, key: AgentKey, named: &BTreeSet<TaskKey>) -> Vec<MissingTask> {
        // Some that it named may have ended since.
        let tasks = &self.agents[key].bucket.tasks;
        let unnamed: Vec<TaskKey> = tasks.keys().filter(|task| !named.contains(task)).collect();
        unnamed.into_iter().filter_map(|task| self.task_missing(key, task, turn)).collect()
    }
}

#[cfg(any(test, feature = "sim"))]
impl Master {
    /// Whether the registration of this session is being taken in.
    pub(crate) fn is_registering(&self, session: SessionId) -> bool {
        self.agents.values().any(|agent| agent.arrival.as_ref().is_some_and(|arrival| arrival.session == session))
    }
}
