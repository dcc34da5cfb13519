//! Kills: forwarded at once, and kept until the task ends.
//!
//! The kill of a task whose agent is disconnected is sent when that agent re-registers. So is the kill of an unknown
//! task, which an agent known only from the registry may still report. A framework has at most [`MOST_AWAITED`] of
//! those.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    master::core::{
        Master, Order, ReconcileTask, Turn,
        keys::{AgentKey, FrameworkKey, TaskKey},
    },
    master::registry::State,
    proto::v1::{self, TaskState},
};

/// So many kills of unknown tasks are kept for a framework; further ones are only answered by reconciliation.
const MOST_AWAITED: usize = 10_000;

/// A kill that a framework requested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kill {
    pub(crate) policy: Option<v1::KillPolicy>,
}

/// Kills of unknown tasks that an agent may still report, by task id.
#[derive(Debug, Default)]
pub(in crate::master::core) struct AwaitedKills(BTreeMap<Arc<str>, (Option<Arc<str>>, Kill)>);

impl AwaitedKills {
    /// Keeps a kill; `agent` is the one that the framework named, if any.
    fn insert(&mut self, task: &str, agent: Option<&str>, kill: Kill) {
        if self.0.len() < MOST_AWAITED || self.0.contains_key(task) {
            self.0.insert(task.into(), (agent.map(Arc::from), kill));
        }
    }

    /// Takes the kill of a task that this agent reports.
    pub(in crate::master::core) fn take(&mut self, task: &str, agent: &str) -> Option<Kill> {
        self.0.get(task).filter(|(on, _)| on.as_deref().is_none_or(|on| on == agent))?;
        self.0.remove(task).map(|(_, kill)| kill)
    }

    /// Drops the kill of a task id that is launched again.
    pub(in crate::master::core) fn forget(&mut self, task: &str) {
        self.0.remove(task);
    }

    /// Keeps the kills whose task an agent may still report; `None` stands for any agent.
    pub(in crate::master::core) fn retain(&mut self, may_come: impl Fn(Option<&str>) -> bool) {
        self.0.retain(|_, (on, _)| may_come(on.as_deref()));
    }
}

impl Master {
    pub(in crate::master::core) fn kill(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        task_id: &str,
        agent: Option<&str>,
        policy: Option<v1::KillPolicy>,
    ) {
        let Some((key, task_key)) = self.frameworks[framework].tasks.get(task_id).copied() else {
            self.keep_awaited_kill(framework, task_id, agent, Kill { policy });
            return self.reconcile_one(turn, framework, &ReconcileTask::of(task_id, agent));
        };
        if agent.is_some_and(|agent| *agent != *self.agents[key].record.id) {
            return;
        }
        let Some(task) = self.task_mut(key, task_key) else { return };
        task.kill = Some(Box::new(Kill { policy }));
        let away = task.state == TaskState::TaskUnreachable;
        self.send_kill(turn, key, task_key);
        if away {
            // The agent may not answer for long.
            self.reconcile_one(turn, framework, &ReconcileTask::of(task_id, agent));
        }
    }

    /// Keeps the kill of an unknown task that an absent agent may have.
    fn keep_awaited_kill(&mut self, framework: FrameworkKey, task: &str, agent: Option<&str>, kill: Kill) {
        let may_come = may_come(&self.recovered, &self.facts, agent);
        if let Some(framework) = self.frameworks.get_mut(framework).filter(|_| may_come) {
            framework.awaited_kills.insert(task, agent, kill);
        }
    }

    /// Drops the kills of tasks that no agent can report any more.
    pub(in crate::master::core) fn forget_awaited_kills(&mut self) {
        for framework in self.frameworks.values_mut() {
            framework.awaited_kills.retain(|agent| may_come(&self.recovered, &self.facts, agent));
        }
    }

    /// Sends the kill of a task to its agent, if there is one and the agent is connected.
    pub(in crate::master::core) fn send_kill(&self, turn: &mut Turn<'_>, key: AgentKey, task: TaskKey) {
        let agent = &self.agents[key];
        let task = &agent.record.tasks[task];
        let Some(kill) = &task.kill else { return };
        let framework = self.frameworks[task.framework].record.id.clone();
        let (task, container) = (task.id.clone(), task.container.clone());
        turn.send_order(agent.session, Order::Kill { framework, task, container, policy: kill.policy });
    }

    /// Resends the kills that an agent may not have received, after REGISTERED.
    pub(in crate::master::core) fn resend_kills(&self, turn: &mut Turn<'_>, key: AgentKey) {
        for task in self.agents[key].record.tasks.keys() {
            self.send_kill(turn, key, task);
        }
    }
}

/// Whether this agent, or any, is absent and may re-register with unknown tasks.
fn may_come(recovered: &BTreeSet<String>, facts: &State, agent: Option<&str>) -> bool {
    match agent {
        Some(agent) => recovered.contains(agent) || facts.unreachable.contains_key(agent),
        None => !(recovered.is_empty() && facts.unreachable.is_empty()),
    }
}
