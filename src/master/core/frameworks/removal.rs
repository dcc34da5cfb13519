//! Frameworks that are over: a tombstone first, then their stream ends, then their tasks, agent by agent.
//!
//! A framework may have a hundred thousand tasks, so their end is spread over turns. Until the last is gone the framework
//! keeps its record, but no id leads to it. What an agent says of it meanwhile brings this agent's turn forward.

use crate::{
    master::core::{
        Master, Order, Turn,
        frameworks::{Framework, Link},
        keys::{AgentKey, FrameworkKey, TaskKey},
        timers::Timer,
    },
    proto::v1::TaskState,
};

/// What the end of a task costs, in the units of [`Turn::spend`].
const WORK_PER_TASK: usize = 4;
/// So many tasks are looked at for one unit.
const LOOKS_PER_WORK: usize = 32;

impl Framework {
    /// An agent on which it has a task, or a copy of one.
    fn any_agent(&self) -> Option<AgentKey> {
        let last = self.tasks.visit(&mut self.tasks.end()).map(|(_, (agent, _))| *agent);
        last.or_else(|| self.copies.last_key_value().map(|(agent, _)| *agent))
    }
}

impl Master {
    /// The framework is over. Its containers are orphans from here on.
    pub(in crate::master::core) fn remove_framework(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        self.withdraw_offers(turn, key);
        let Some(id) = self.frameworks.get(key).map(|framework| framework.bucket.id.clone()) else { return };
        self.record_removal(turn, &id);
        self.timers.disarm_sole(Timer::Failover(key));
        let Some(framework) = self.frameworks.leave(key) else { return };
        let bucket = framework.bucket_mut();
        bucket.link = Link::Completed;
        bucket.unregistered_ns = Some(turn.now.wall_ns);
        if let Some(session) = framework.session.take() {
            self.sessions.remove(session);
            turn.close(session);
        }
        self.serve_framework(key);
        self.counts.frameworks_removed += 1;
        self.go_on_removing(turn);
    }

    /// Ends tasks of frameworks that are over, as many as a turn may.
    pub(in crate::master::core) fn go_on_removing(&mut self, turn: &mut Turn<'_>) {
        self.go_on_withdrawing(turn);
        while !turn.is_spent() {
            let Some(key) = self.frameworks.leaving().next() else { return };
            match self.frameworks.get(key).and_then(Framework::any_agent) {
                Some(agent) => self.leave_agent(turn, key, agent),
                None => self.retire(key),
            }
        }
    }

    /// Ends the tasks on this agent of all frameworks that are over.
    pub(in crate::master::core) fn end_tasks_of_leaving(&mut self, turn: &mut Turn<'_>, agent: AgentKey) {
        let leaving: Vec<FrameworkKey> = self.frameworks.leaving().collect();
        for key in leaving {
            self.leave_agent(turn, key, agent);
        }
    }

    /// Ends the tasks of a framework that is over on one agent.
    fn leave_agent(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, on: AgentKey) {
        let (Some(framework), Some(agent)) = (self.frameworks.get(key), self.agents.get(on)) else { return };
        let looks = agent.bucket.tasks.len() / LOOKS_PER_WORK;
        let its = agent.bucket.tasks.iter().filter(|(_, task)| task.framework == key);
        let tasks: Vec<TaskKey> = its.map(|(task, _)| task).collect();
        if tasks.is_empty() {
            return;
        }
        let id = framework.bucket.id.clone();
        turn.order(agent.session, Order::Shutdown { framework: id.clone() });
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

    /// Nothing of the framework is left but what readers may see.
    fn retire(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.remove(key) else { return };
        for id in framework.entered.values() {
            self.ledger.remove_client(*id, key);
        }
        self.frameworks.keep_completed(framework.bucket, self.config.completed_frameworks);
    }
}
