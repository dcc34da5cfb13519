//! Registrations in progress: an agent may report tens of thousands of tasks, and each turn registers some of them.
//!
//! Until the last task is registered, the agent counts as disconnected. Nothing of it is offered, nothing is sent to
//! it, and reconciliation of tasks that it may have waits. The tasks registered so far stay even if its session is
//! lost.

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
    /// The frameworks that the agent named.
    frameworks: BTreeSet<String>,
    /// The records of tasks that it reported.
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
    /// Continues the registrations in progress.
    pub(in crate::master::core) fn continue_registrations(&mut self, turn: &mut Turn<'_>) {
        while !turn.is_spent()
            && let Some(key) = self.agents.next_arriving()
        {
            self.register_tasks(turn, key);
        }
    }

    /// Registers tasks of an agent, at least one and no more than a turn may; the last completes the registration.
    pub(super) fn register_tasks(&mut self, turn: &mut Turn<'_>, key: AgentKey) {
        // Removed frameworks' tasks on this agent end before the agent's report of them is processed.
        self.end_tasks_of_removed(turn, key);
        let Some(mut arrival) = self.agents.take_arrival(key) else { return };
        let first_new = self.counters.next_task();
        while let Some(task) = arrival.tasks.next() {
            turn.spend(1);
            self.register_task(turn, key, &mut arrival, &task);
            if turn.is_spent() {
                break;
            }
        }
        let tasks = &self.agents[key].record.tasks;
        let learnt: Vec<TaskKey> = tasks.since(first_new).map(|(task, _)| task).collect();
        self.allocate_tasks(key, &learnt);
        if arrival.tasks.len() > 0 {
            self.agents.put_back_arrival(key, arrival);
        } else {
            self.arrived(turn, key, *arrival);
        }
    }

    fn register_task(&mut self, turn: &mut Turn<'_>, key: AgentKey, arrival: &mut Arrival, task: &ReportedTask) {
        if self.was_removed(&task.framework) {
            self.orphan_reported(turn.now, key, task);
            arrival.orphans.insert(task.container.clone());
            return;
        }
        let Some((known, current)) = self.task_reported(turn, key, task) else { return };
        arrival.named.insert(known);
        if let Some(away) = self.agents[key].away.filter(|_| current) {
            self.note_absence(away, key, known);
            self.send_reregistered(turn, key, known);
        }
        if current {
            self.apply_return_policies(turn, key, known);
        }
    }

    /// Completes the registration: sends REGISTERED with the missing tasks and the removed frameworks.
    fn arrived(&mut self, turn: &mut Turn<'_>, key: AgentKey, arrival: Arrival) {
        let missing = self.missing_tasks(turn, key, &arrival.named);
        self.drop_unnamed_orphans(key, &arrival);
        let removed = arrival.frameworks.into_iter().filter(|id| self.was_removed(id)).collect();
        self.agents.set_presence(key, Presence::Connected);
        self.ledger.set_total(key, &arrival.total);
        let Some(agent) = self.agents.get_mut(key) else { return };
        agent.session = Some(arrival.session);
        agent.away = None;
        let id = agent.record.id.clone();
        self.agents.arrived(key);
        self.recovered.remove(&id);
        turn.send_order(
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
        self.mark_dirty(key);
    }

    /// Drops orphans that the agent did not report; they are tasks of frameworks removed during the registration.
    fn drop_unnamed_orphans(&mut self, key: AgentKey, arrival: &Arrival) {
        let is_there = |container: &ContainerId, task: TaskKey| {
            arrival.orphans.contains(container) || arrival.named.contains(&task)
        };
        let orphans = &self.agents[key].record.orphans;
        let gone = orphans.iter().filter(|(container, orphan)| !is_there(container, orphan.key));
        for container in gone.map(|(container, _)| container.clone()).collect::<Vec<_>>() {
            self.orphan_gone(key, &container);
        }
    }

    /// The tasks that the agent did not report and is to report as missing.
    fn missing_tasks(&mut self, turn: &Turn<'_>, key: AgentKey, named: &BTreeSet<TaskKey>) -> Vec<MissingTask> {
        // Some reported tasks may have ended since.
        let tasks = &self.agents[key].record.tasks;
        let unnamed: Vec<TaskKey> = tasks.keys().filter(|task| !named.contains(task)).collect();
        unnamed.into_iter().filter_map(|task| self.task_missing(key, task, turn)).collect()
    }
}

#[cfg(any(test, feature = "sim"))]
impl Master {
    /// Whether the registration of this session is in progress.
    pub(crate) fn is_registering(&self, session: SessionId) -> bool {
        self.agents.values().any(|agent| agent.arrival.as_ref().is_some_and(|arrival| arrival.session == session))
    }
}
