//! The way of a status through the master: from the agent to the framework, and its acknowledgement back.
//!
//! The agent repeats a status until it is acknowledged; the master adds nothing to it and loses nothing by losing it. It
//! keeps the one in flight of each task, so that a framework that comes back has it at once.

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
                *on == agent && self.agents[*on].bucket.tasks[*task].container == update.container
            });
        if let Some((_, key)) = known {
            if let Some(first) = self.another_end(agent, key, &update) {
                return turn.tell(self.frameworks[framework].session, Event::Updated { status: first });
            }
            self.agent_says(turn, agent, key, update.latest);
            let now = turn.now;
            if let Some(task) = self.task_mut(agent, key) {
                task.note(&update.status, now);
                task.forwarded = Some(update.state);
                task.unacknowledged = Some(update.status.clone());
            }
        }
        if known.is_none() && self.updated_for_history(turn, agent, framework, &update) {
            return;
        }
        turn.tell(self.frameworks[framework].session, Event::Updated { status: update.status });
    }

    /// A task has this state by its agent's word. What an agent had given up may be offered by now: one that takes it back
    /// has its offers taken back too.
    fn agent_says(&mut self, turn: &mut Turn<'_>, agent: AgentKey, key: TaskKey, state: TaskState) {
        let held = self.ledger.has(agent, Holding::Task(key));
        self.set_state(agent, key, state);
        if !held && self.ledger.has(agent, Holding::Task(key)) {
            self.rescind_all(turn, agent);
        }
    }

    /// The status of a container whose end the framework knows, or of an older copy of a task: not the framework's any
    /// more, so the master answers for it.
    fn updated_for_history(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        framework: FrameworkKey,
        update: &Update,
    ) -> bool {
        let older = self.frameworks[framework].older_copy(agent, &update.container);
        if older.is_none() && !self.has_sent_the_end(framework, &update.container) {
            return false;
        }
        self.acknowledge_itself(turn, agent, update);
        if let Some(key) = older {
            self.agent_says(turn, agent, key, update.latest);
            if update.state.is_terminal() {
                self.complete(agent, key, turn.now);
            }
        }
        true
    }

    /// The status of a framework that was removed: nobody will acknowledge it, so the agent has to be told to forget.
    fn orphaned_status(&mut self, turn: &mut Turn<'_>, agent: AgentKey, update: &Update) {
        self.end_tasks_of_leaving(turn, agent);
        if self.was_removed(&update.framework) {
            let framework = update.framework.as_str().into();
            turn.order(self.agents[agent].session, Order::Shutdown { framework });
        }
    }

    /// An end of this task that the framework was sent and the agent has forgotten: that one counts, and is sent again.
    /// The agent tells its own again too, and is answered when the framework has acknowledged the first.
    fn another_end(&self, agent: AgentKey, task: TaskKey, update: &Update) -> Option<Arc<v1::TaskStatus>> {
        let sent = self.agents[agent].bucket.tasks[task].unacknowledged.as_ref()?;
        (sent.state().is_terminal() && sent.uuid != update.status.uuid).then(|| sent.clone())
    }

    /// Whether the framework has acknowledged the end of this container. An agent may not know: a power cut takes what
    /// it had not synced, and what it then says of the container comes after the end.
    pub(in crate::master::core) fn has_sent_the_end(&self, framework: FrameworkKey, container: &ContainerId) -> bool {
        self.frameworks.get(framework).is_some_and(|framework| framework.has_completed(container))
    }

    fn acknowledge_itself(&self, turn: &mut Turn<'_>, agent: AgentKey, update: &Update) {
        let status = &update.status;
        let (task, uuid) = (status.task_id.value.clone(), status.uuid.clone().unwrap_or_default());
        let framework = update.framework.as_str().into();
        turn.order(self.agents[agent].session, Order::Acknowledge { framework, task, uuid });
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
        // Where the agent is away it says the status again when it is back, unless a power cut took it: an end counts as
        // acknowledged now, and the master answers for it then.
        let session = self.agents[key].session;
        let id = self.frameworks[framework].bucket.id.clone();
        turn.order(session, Order::Acknowledge { framework: id, task: task_id.to_owned(), uuid: uuid.clone() });
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

    /// A framework that subscribed again gets what it has not acknowledged, without waiting for the agents to repeat it.
    pub(in crate::master::core) fn resend_unacknowledged(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        framework.answers.resend(framework.tasks.end());
        self.go_on_answering(turn, key);
    }
}
