//! Statuses: forwarded from the agent to the framework, their acknowledgements back.
//!
//! The agent resends a status until it is acknowledged, so the master need not store it. It keeps the one in flight of
//! each task, to resend it at once to a framework that reconnects.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    master::core::{
        ContainerId, Event, Master, Order, Refusal, Turn, Update,
        keys::{AgentKey, FrameworkKey, TaskKey},
        ledger::Holding,
    },
    proto::v1::{self, TaskState},
};

impl Master {
    pub(in crate::master::core) fn updated(&mut self, turn: &mut Turn<'_>, agent: AgentKey, update: Update) {
        self.counts.updates += 1;
        let Some(framework) = self.frameworks.by_id(&update.framework) else {
            return self.orphaned_status(turn, agent, &update);
        };
        let task_id = update.status.task_id.value.as_str();
        let known =
            self.frameworks[framework].tasks.get(task_id).copied().filter(|(on, task)| {
                *on == agent && self.agents[*on].record.tasks[*task].container == update.container
            });
        if let Some((_, key)) = known {
            if let Some(first) = self.forgotten_end(agent, key, &update) {
                return turn.send_event(self.frameworks[framework].session, Event::Updated { status: first });
            }
            self.apply_reported_state(turn, agent, key, update.latest);
            let now = turn.now;
            if let Some(task) = self.task_mut(agent, key) {
                task.record_status(&update.status, now);
                task.forwarded = Some(update.state);
                task.unacknowledged = Some(update.status.clone());
            }
        }
        if known.is_none() && self.acknowledge_superseded(turn, agent, framework, &update) {
            return;
        }
        turn.send_event(self.frameworks[framework].session, Event::Updated { status: update.status });
    }

    /// Sets the state that the agent reports. If the task holds resources again that may have been offered since, the
    /// agent's offers are rescinded.
    fn apply_reported_state(&mut self, turn: &mut Turn<'_>, agent: AgentKey, key: TaskKey, state: TaskState) {
        let held = self.ledger.has(agent, Holding::Task(key));
        self.set_state(agent, key, state);
        if !held && self.ledger.has(agent, Holding::Task(key)) {
            self.rescind_all(turn, agent);
        }
    }

    /// Acknowledges a status in place of the framework if it is of an older copy of a task, or of a container whose end
    /// was acknowledged. Returns false for any other.
    fn acknowledge_superseded(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        framework: FrameworkKey,
        update: &Update,
    ) -> bool {
        let older = self.frameworks[framework].older_copy(agent, &update.container);
        if older.is_none() && !self.has_acknowledged_end(framework, &update.container) {
            return false;
        }
        self.acknowledge_for_framework(turn, agent, update);
        if let Some(key) = older {
            self.apply_reported_state(turn, agent, key, update.latest);
            if update.state.is_terminal() {
                self.complete(agent, key, turn.now);
            }
        }
        true
    }

    /// Answers a status of a removed framework, which nothing will acknowledge: the agent is sent a shutdown instead.
    fn orphaned_status(&mut self, turn: &mut Turn<'_>, agent: AgentKey, update: &Update) {
        self.end_tasks_of_removed(turn, agent);
        if self.was_removed(&update.framework) {
            let framework = update.framework.as_str().into();
            turn.send_order(self.agents[agent].session, Order::Shutdown { framework });
        }
    }

    /// The unacknowledged end of this task that the agent has forgotten, if `update` reports another. The first counts
    /// and is resent. The agent resends its own, and is acknowledged once the framework has acknowledged the first.
    fn forgotten_end(&self, agent: AgentKey, task: TaskKey, update: &Update) -> Option<Arc<v1::TaskStatus>> {
        let sent = self.agents[agent].record.tasks[task].unacknowledged.as_ref()?;
        (sent.state().is_terminal() && sent.uuid != update.status.uuid).then(|| sent.clone())
    }

    /// Whether the framework has acknowledged the end of this container. The agent may have lost that end in a power
    /// cut, and report another state of the container after it.
    pub(in crate::master::core) fn has_acknowledged_end(
        &self,
        framework: FrameworkKey,
        container: &ContainerId,
    ) -> bool {
        self.frameworks.get(framework).is_some_and(|framework| framework.has_completed(container))
    }

    fn acknowledge_for_framework(&self, turn: &mut Turn<'_>, agent: AgentKey, update: &Update) {
        let status = &update.status;
        let (task, uuid) = (status.task_id.value.clone(), status.uuid.clone().unwrap_or_default());
        let framework = update.framework.as_str().into();
        turn.send_order(self.agents[agent].session, Order::Acknowledge { framework, task, uuid });
    }

    pub(in crate::master::core) fn acknowledge(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        agent: &str,
        task_id: &str,
        uuid: &Bytes,
    ) -> Result<(), Refusal> {
        self.counts.acknowledgements += 1;
        let Some(key) = self.agents.by_id(agent) else {
            return Err(Refusal::new("acknowledge.agent_id", format!("agent {agent} is not registered")));
        };
        // A disconnected agent resends the status when it re-registers, unless it lost it in a power cut. The end
        // counts as acknowledged now; the master acknowledges it to the agent then.
        let session = self.agents[key].session;
        let id = self.frameworks[framework].record.id.clone();
        turn.send_order(session, Order::Acknowledge { framework: id, task: task_id.to_owned(), uuid: uuid.clone() });
        let known = self.frameworks[framework].tasks.get(task_id).copied().filter(|(on, _)| *on == key);
        if let Some((_, task_key)) = known
            && let Some(task) = self.task_mut(key, task_key)
            && let Some(status) = task.unacknowledged.take_if(|status| status.uuid.as_ref() == Some(uuid))
            && TaskState::try_from(status.state).is_ok_and(TaskState::is_terminal)
        {
            self.complete(key, task_key, turn.now);
        }
        Ok(())
    }

    /// Resends a framework's unacknowledged statuses, without waiting for the agents to resend them.
    pub(in crate::master::core) fn resend_unacknowledged(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        framework.answers.resend(framework.tasks.end());
        self.continue_answers(turn, key);
    }
}
