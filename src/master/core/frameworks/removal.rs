//! Removal of frameworks: a tombstone first, then the stream is closed, then the tasks end, agent by agent.
//!
//! A framework may have a hundred thousand tasks, so their end is spread over turns. Until the last has ended, the
//! framework keeps its record but is not found by its id. An agent that reports one of its tasks meanwhile is processed
//! first.

use crate::{
    master::core::{
        Master, Order, Turn,
        frameworks::{Framework, Link},
        keys::{AgentKey, FrameworkKey, TaskKey},
        timers::Timer,
    },
    proto::v1::TaskState,
};

/// The cost of ending a task, in the units of [`Turn::spend`].
const WORK_PER_TASK: usize = 4;
/// So many visited tasks count as one unit.
const LOOKS_PER_WORK: usize = 32;

impl Framework {
    /// Some agent with a task of the framework, or a copy of one.
    fn any_agent(&self) -> Option<AgentKey> {
        let last = self.tasks.visit(&mut self.tasks.end()).map(|(_, (agent, _))| *agent);
        last.or_else(|| self.copies.last_key_value().map(|(agent, _)| *agent))
    }
}

impl Master {
    /// Removes a framework; its containers become orphans.
    pub(in crate::master::core) fn remove_framework(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        self.withdraw_offers(turn, key);
        let Some(id) = self.frameworks.get(key).map(|framework| framework.record.id.clone()) else { return };
        self.record_removal(turn, &id);
        self.timers.disarm_sole(Timer::Failover(key));
        let Some(framework) = self.frameworks.begin_removal(key) else { return };
        let record = framework.record_mut();
        record.link = Link::Completed;
        record.unregistered_ns = Some(turn.now.wall_ns);
        if let Some(session) = framework.session.take() {
            self.sessions.remove(session);
            turn.close(session);
        }
        self.serve_framework(key);
        self.counts.frameworks_removed += 1;
        self.continue_removals(turn);
    }

    /// Ends tasks of removed frameworks, as many as a turn may.
    pub(in crate::master::core) fn continue_removals(&mut self, turn: &mut Turn<'_>) {
        self.continue_withdrawals(turn);
        while !turn.is_spent() {
            let Some(key) = self.frameworks.removing().next() else { return };
            match self.frameworks.get(key).and_then(Framework::any_agent) {
                Some(agent) => self.end_tasks_on(turn, key, agent),
                None => self.finish_removal(key),
            }
        }
    }

    /// Ends the tasks of all removed frameworks on this agent.
    pub(in crate::master::core) fn end_tasks_of_removed(&mut self, turn: &mut Turn<'_>, agent: AgentKey) {
        let removing: Vec<FrameworkKey> = self.frameworks.removing().collect();
        for key in removing {
            self.end_tasks_on(turn, key, agent);
        }
    }

    /// Ends the tasks of a removed framework on one agent.
    fn end_tasks_on(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, on: AgentKey) {
        let (Some(framework), Some(agent)) = (self.frameworks.get(key), self.agents.get(on)) else { return };
        let looks = agent.record.tasks.len() / LOOKS_PER_WORK;
        let its = agent.record.tasks.iter().filter(|(_, task)| task.framework == key);
        let tasks: Vec<TaskKey> = its.map(|(task, _)| task).collect();
        if tasks.is_empty() {
            return;
        }
        let id = framework.record.id.clone();
        turn.send_order(agent.session, Order::Shutdown { framework: id.clone() });
        turn.spend(tasks.len() * WORK_PER_TASK + looks);
        for task in tasks {
            let orphan = self.orphan_of(on, task, &id, turn.now);
            self.set_state(on, task, TaskState::TaskKilled);
            self.complete(on, task, turn.now);
            if let Some((container, orphan)) = orphan {
                self.add_orphan(on, container, orphan);
            }
        }
    }

    /// Drops the framework; readers still see it among the completed ones.
    fn finish_removal(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.remove(key) else { return };
        for id in framework.role_ids.values() {
            self.ledger.remove_client(*id, key);
        }
        self.frameworks.keep_completed(framework.record, self.config.completed_frameworks);
    }
}
