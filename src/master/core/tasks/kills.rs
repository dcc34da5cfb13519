//! Kills: sent on at once, and kept until the agent has heard.
//!
//! The kill of a task whose agent is away is carried out when that is back. So is one of a task this master does not know:
//! an agent of which only the registry tells may come back with it. Of such kills a framework has [`MOST_AWAITED`].

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

/// So many kills of tasks that are not known are kept for a framework; of more it hears what is known of the task alone.
const MOST_AWAITED: usize = 10_000;

/// A kill a framework asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kill {
    pub(crate) policy: Option<v1::KillPolicy>,
}

/// Kills of tasks that may yet come back, by their names.
#[derive(Debug, Default)]
pub(in crate::master::core) struct AwaitedKills(BTreeMap<Arc<str>, (Option<Arc<str>>, Kill)>);

impl AwaitedKills {
    /// `agent`: the one that has the task, if that was said.
    fn keep(&mut self, task: &str, agent: Option<&str>, kill: Kill) {
        if self.0.len() < MOST_AWAITED || self.0.contains_key(task) {
            self.0.insert(task.into(), (agent.map(Arc::from), kill));
        }
    }

    /// The task has come back on this agent.
    pub(in crate::master::core) fn take(&mut self, task: &str, agent: &str) -> Option<Kill> {
        self.0.get(task).filter(|(on, _)| on.as_deref().is_none_or(|on| on == agent))?;
        self.0.remove(task).map(|(_, kill)| kill)
    }

    /// The name is another task's from here on.
    pub(in crate::master::core) fn forget(&mut self, task: &str) {
        self.0.remove(task);
    }

    /// Keeps those whose task may still come back with an agent; `None` stands for any.
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
            self.await_task(framework, task_id, agent, Kill { policy });
            return self.reconcile_one(turn, framework, &ReconcileTask::of(task_id, agent));
        };
        if agent.is_some_and(|agent| *agent != *self.agents[key].bucket.id) {
            return;
        }
        let Some(task) = self.task_mut(key, task_key) else { return };
        task.kill = Some(Box::new(Kill { policy }));
        let away = task.state == TaskState::TaskUnreachable;
        self.order_kill(turn, key, task_key);
        if away {
            // Nothing will be heard of it for long.
            self.reconcile_one(turn, framework, &ReconcileTask::of(task_id, agent));
        }
    }

    /// Keeps the kill of a task that an agent which is away may have.
    fn await_task(&mut self, framework: FrameworkKey, task: &str, agent: Option<&str>, kill: Kill) {
        let may_come = may_come(&self.recovered, &self.facts, agent);
        if let Some(framework) = self.frameworks.get_mut(framework).filter(|_| may_come) {
            framework.awaited_kills.keep(task, agent, kill);
        }
    }

    /// Kills of tasks that no agent can come back with any more are forgotten.
    pub(in crate::master::core) fn forget_awaited_kills(&mut self) {
        for framework in self.frameworks.values_mut() {
            framework.awaited_kills.retain(|agent| may_come(&self.recovered, &self.facts, agent));
        }
    }

    /// Sends the kill of a task to its agent, if there is one and the agent is connected.
    pub(in crate::master::core) fn order_kill(&self, turn: &mut Turn<'_>, key: AgentKey, task: TaskKey) {
        let agent = &self.agents[key];
        let task = &agent.bucket.tasks[task];
        let Some(kill) = &task.kill else { return };
        let framework = self.frameworks[task.framework].bucket.id.clone();
        let (task, container) = (task.id.clone(), task.container.clone());
        turn.order(agent.session, Order::Kill { framework, task, container, policy: kill.policy });
    }

    /// After an agent was told that it is registered: kills it may not have heard of.
    pub(in crate::master::core) fn resend_kills(&self, turn: &mut Turn<'_>, key: AgentKey) {
        for task in self.agents[key].bucket.tasks.keys() {
            self.order_kill(turn, key, task);
        }
    }
}

/// Whether this agent, or any, is away and may come back with tasks that nothing is known of.
fn may_come(recovered: &BTreeSet<String>, facts: &State, agent: Option<&str>) -> bool {
    match agent {
        Some(agent) => recovered.contains(agent) || facts.unreachable.contains_key(agent),
        None => !(recovered.is_empty() && facts.unreachable.is_empty()),
    }
}
