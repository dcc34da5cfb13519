//! Tasks: compact records, their states, and when they hold resources.
//!
//! A task is in its agent's record from the launch until its end is acknowledged. Then its framework keeps it as a
//! completed task, up to a limit. There may be a million: snapshots share a record until it changes, and equal values
//! are stored once.

mod interned;
mod kills;
mod launch;
mod orphans;
mod reconcile;
mod statuses;
mod table;

use std::sync::Arc;

pub(in crate::master::core) use self::{interned::Interned, kills::AwaitedKills, orphans::Orphan, reconcile::Answers};
pub(crate) use self::{kills::Kill, table::TaskTable};
use crate::{
    master::core::{
        ContainerId, Event, Master, Turn,
        agents::{Agent, Partition},
        keys::{AgentKey, FrameworkKey, TaskKey},
        ledger::{Held, Holding},
    },
    proto::v1::{
        self, TaskState,
        task_status::{Reason, Source},
    },
    types::{Now, Resources},
};

/// The length of a task's history: more than there are states, so a full one has a state twice.
const MAX_HISTORY: usize = 32;

/// A task of a framework on an agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Task {
    pub(crate) framework: FrameworkKey,
    pub(crate) id: Arc<str>,
    pub(crate) container: ContainerId,
    pub(crate) role: Arc<str>,
    /// The encoded `TaskInfo`.
    pub(crate) info: Box<[u8]>,
    pub(crate) resources: Arc<Resources>,
    /// The latest state the agent reported, or STAGING.
    pub(crate) state: TaskState,
    /// The state of the last status that was sent to the framework.
    pub(crate) forwarded: Option<TaskState>,
    /// The status that the framework has not acknowledged; a new instance is sent it at once.
    pub(crate) unacknowledged: Option<Arc<v1::TaskStatus>>,
    /// A kill to resend when the agent re-registers.
    pub(crate) kill: Option<Box<Kill>>,
    /// One entry per consecutive state.
    pub(crate) history: Vec<StatusRecord>,
    /// Its partition policy, if it states one.
    pub(crate) partition: Option<Box<Partition>>,
}

impl Task {
    /// Whether its agent ever reported it running.
    pub(in crate::master::core) fn was_seen_running(&self) -> bool {
        self.history.iter().any(|seen| matches!(seen.state, TaskState::TaskRunning | TaskState::TaskKilling))
    }
}

/// Why an agent's tasks end with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master::core) enum Ending {
    /// The agent left.
    Removed,
    /// An operator marked it gone.
    Gone,
}

impl Ending {
    /// State, reason and text of the status for a framework, by whether it is partition-aware.
    fn status_fields(self, aware: bool) -> (TaskState, Reason, &'static str) {
        match (self, aware) {
            (Self::Removed, _) => (TaskState::TaskLost, Reason::AgentRemoved, "the agent was removed"),
            (Self::Gone, true) => {
                let text = "an operator marked the agent gone";
                (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator, text)
            }
            (Self::Gone, false) => (TaskState::TaskLost, Reason::AgentRemoved, "an operator marked the agent gone"),
        }
    }
}

/// The part of a status that is kept for readers and for reconciliation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusRecord {
    pub(crate) state: TaskState,
    /// Seconds since the epoch.
    pub(crate) timestamp: f64,
    #[expect(clippy::box_collection, reason = "few have one, and there are some for every task")]
    pub(crate) message: Option<Box<String>>,
    pub(crate) reason: Option<Reason>,
    pub(crate) source: Option<Source>,
    pub(crate) healthy: Option<bool>,
}

impl StatusRecord {
    pub(in crate::master::core) fn state_only(state: TaskState, now: Now) -> Self {
        Self { state, timestamp: now.wall_secs(), message: None, reason: None, source: None, healthy: None }
    }

    pub(in crate::master::core) fn of(status: &v1::TaskStatus, state: TaskState, now: Now) -> Self {
        Self {
            state,
            timestamp: status.timestamp.unwrap_or_else(|| now.wall_secs()),
            message: status.message.clone().map(Box::new),
            reason: status.reason.and_then(|reason| reason.try_into().ok()),
            source: status.source.and_then(|source| source.try_into().ok()),
            healthy: status.healthy,
        }
    }
}

/// A status made by the master: it has no uuid and is not acknowledged.
pub(in crate::master::core) fn master_status(
    task: &str,
    agent: Option<&Arc<str>>,
    state: TaskState,
    now: Now,
) -> v1::TaskStatus {
    let mut status = v1::TaskStatus {
        task_id: v1::TaskId { value: task.to_owned() },
        agent_id: agent.map(|id| v1::AgentId { value: id.to_string() }),
        timestamp: Some(now.wall_secs()),
        ..v1::TaskStatus::default()
    };
    status.set_state(state);
    status.set_source(Source::Master);
    status
}

impl Master {
    pub(in crate::master::core) fn insert_task(&mut self, agent: AgentKey, key: TaskKey, task: Task) {
        if let Some(replaced) = task.replaces().cloned()
            && let Some(framework) = self.frameworks.get_mut(task.framework)
        {
            framework.replacements.insert(replaced, (agent, key));
        }
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.record_mut().tasks.push(key, Arc::new(task));
        }
    }

    pub(in crate::master::core) fn task_mut(&mut self, agent: AgentKey, key: TaskKey) -> Option<&mut Task> {
        self.agents.get_mut(agent)?.record_mut().tasks.get_mut(key).map(Arc::make_mut)
    }

    /// Allocates the task's resources in the ledger; those of a task that its agent reported come out of what is free.
    pub(in crate::master::core) fn allocate_task(&mut self, key: AgentKey, task_key: TaskKey) {
        let Some(task) = self.agents.get(key).and_then(|agent| agent.record.tasks.get(task_key)).cloned() else {
            return;
        };
        let role = self.ensure_client(task.framework, &task.role);
        let client = role.map(|role| (task.framework, role));
        self.ledger.allocate(key, Holding::Task(task_key), Held { client, resources: task.resources.clone() });
    }

    /// The same for many tasks of one agent; skips those that are gone or hold no resources.
    pub(in crate::master::core) fn allocate_tasks(&mut self, key: AgentKey, tasks: &[TaskKey]) {
        let Some(record) = self.agents.get(key).map(|agent| agent.record.clone()) else { return };
        let known = tasks.iter().filter_map(|task| Some((*task, record.tasks.get(*task)?)));
        let holding = known.filter(|(_, task)| task.state.holds_resources());
        let all: Vec<(Holding, Held)> = holding
            .map(|(task_key, task)| {
                let role = self.ensure_client(task.framework, &task.role);
                let client = role.map(|role| (task.framework, role));
                (Holding::Task(task_key), Held { client, resources: task.resources.clone() })
            })
            .collect();
        self.ledger.allocate_all(key, all);
    }

    /// Sets a task's latest state. A terminal state is final, except that a re-registering agent may report that a lost
    /// task still runs.
    pub(in crate::master::core) fn set_state(&mut self, agent: AgentKey, key: TaskKey, state: TaskState) {
        let Some(task) = self.task_mut(agent, key) else { return };
        if task.state == state {
            return;
        }
        let is_final = task.state.is_terminal() && task.state != TaskState::TaskLost;
        if is_final {
            return;
        }
        let was = task.state;
        task.state = state;
        self.counts.left(was);
        self.counts.entered(state);
        if state.holds_resources() {
            self.allocate_task(agent, key);
        } else {
            self.ledger.release(agent, Holding::Task(key));
        }
    }

    /// Moves a task that ended and was acknowledged to its framework's completed tasks.
    pub(in crate::master::core) fn complete(&mut self, agent: AgentKey, key: TaskKey, now: Now) {
        self.ledger.release(agent, Holding::Task(key));
        let Some(record) = self.agents.get_mut(agent).map(Agent::record_mut) else { return };
        let Some(mut task) = record.tasks.remove(key).map(Arc::unwrap_or_clone) else { return };
        let agent_id = record.id.clone();
        task.unacknowledged = None;
        if task.history.is_empty() {
            task.history.push(StatusRecord::state_only(task.state, now));
        }
        self.counts.left(task.state);
        let limit = self.config.completed_tasks;
        self.unindex_task(agent, key, &task);
        if let Some(framework) = self.frameworks.get_mut(task.framework) {
            framework.keep_completed(agent_id, task, limit);
        }
    }

    /// Ends and completes every task of an agent that is removed.
    pub(in crate::master::core) fn end_tasks_of(&mut self, turn: &mut Turn<'_>, key: AgentKey, ending: Ending) {
        let Some(agent) = self.agents.get(key) else { return };
        let all: Vec<TaskKey> = agent.record.tasks.keys().collect();
        turn.spend(all.len());
        for task_key in all {
            let task = &self.agents[key].record.tasks[task_key];
            if !task.state.is_terminal() {
                let (state, reason, text) = ending.status_fields(self.is_aware(key, task_key));
                let mut status = master_status(&task.id, Some(&self.agents[key].record.id), state, turn.now);
                status.set_reason(reason);
                status.message = Some(text.to_owned());
                self.set_state(key, task_key, state);
                self.send_master_status(turn, key, task_key, status);
            }
            self.complete(key, task_key, turn.now);
        }
    }

    /// Records a status made by the master and sends it; it is not acknowledged.
    pub(in crate::master::core) fn send_master_status(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        task: TaskKey,
        status: v1::TaskStatus,
    ) {
        let now = turn.now;
        let current = self.is_current(agent, task);
        let Some(record) = self.task_mut(agent, task) else { return };
        record.record_status(&status, now);
        record.forwarded = Some(record.state);
        if !current {
            return;
        }
        let framework = record.framework;
        let session = self.frameworks.get(framework).and_then(|framework| framework.session);
        turn.send_event(session, Event::Updated { status: Arc::new(status) });
    }
}

impl Task {
    /// Adds a status to the history; a repeated state replaces the last entry. A full history keeps the latest entries,
    /// and at least one of each state.
    pub(in crate::master::core) fn record_status(&mut self, status: &v1::TaskStatus, now: Now) {
        let Ok(state) = TaskState::try_from(status.state) else { return };
        let seen = StatusRecord::of(status, state, now);
        match self.history.last_mut() {
            Some(last) if last.state == state => *last = seen,
            Some(_) | None => {
                // Few states follow, and every task has a history: it reserves no spare capacity.
                self.history.reserve_exact(1);
                self.history.push(seen);
                if self.history.len() > MAX_HISTORY {
                    self.drop_repeated_state();
                }
            }
        }
    }

    /// Drops the earliest entry after the first whose state occurs again later.
    fn drop_repeated_state(&mut self) {
        let came_again = |at: &usize| self.history[at + 1..].iter().any(|later| later.state == self.history[*at].state);
        if let Some(at) = (1..self.history.len()).find(came_again) {
            self.history.remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
