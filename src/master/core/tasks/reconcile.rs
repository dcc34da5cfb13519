//! Reconciliation: a framework asks what has become of its tasks, and is told what this master knows.

use std::sync::Arc;

use crate::{
    master::core::{
        Doubt, Event, Master, Turn,
        agents::Presence,
        keys::{AgentKey, FrameworkKey, TaskKey},
        tasks::master_status,
    },
    proto::v1::{self, TaskState},
    types::Now,
};

impl Master {
    /// With an empty list, one answer per task of the framework; otherwise one per task named, as far as it is known.
    pub(in crate::master::core) fn reconcile(&mut self, turn: &mut Turn<'_>, framework: FrameworkKey, tasks: &[Doubt]) {
        if tasks.is_empty() {
            let all: Vec<(AgentKey, TaskKey)> = self.frameworks[&framework].tasks.values().copied().collect();
            for (agent, task) in all {
                if self.agents[&agent].bucket.tasks[&task].state != TaskState::TaskUnreachable {
                    let status = self.known_status(agent, task, turn.now);
                    turn.tell(self.frameworks[&framework].session, Event::Updated { status: Arc::new(status) });
                }
            }
        }
        for doubt in tasks {
            self.reconcile_one(turn, framework, doubt);
        }
    }

    pub(in crate::master::core) fn reconcile_one(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        doubt: &Doubt,
    ) {
        let known = self.frameworks[&framework].tasks.get(doubt.task.as_str()).copied();
        let status = match known {
            Some((agent, key)) => Some(self.known_status(agent, key, turn.now)),
            None => self.unknown_status(framework, doubt, turn.now),
        };
        if let Some(status) = status {
            turn.tell(self.frameworks[&framework].session, Event::Updated { status: Arc::new(status) });
        }
    }

    /// The latest state the framework was sent, or the current one.
    fn known_status(&self, agent: AgentKey, key: TaskKey, now: Now) -> v1::TaskStatus {
        let bucket = &self.agents[&agent].bucket;
        let task = &bucket.tasks[&key];
        let state = task.forwarded.unwrap_or(task.state);
        let mut status = master_status(&task.id, Some(&bucket.id), state, now);
        status.set_reason(v1::task_status::Reason::Reconciliation);
        status.message = Some("Reconciliation: latest task state".to_owned());
        status.executor_id = Some(v1::ExecutorId { value: task.id.to_string() });
        status.healthy = task.history.last().and_then(|seen| seen.healthy);
        status.container_status = Some(Box::new(v1::ContainerStatus {
            container_id: Some(v1::ContainerId { value: task.container.to_string(), parent: None }),
            ..v1::ContainerStatus::default()
        }));
        if let Presence::Unreachable { since_ns } = bucket.presence {
            status.unreachable_time = Some(v1::TimeInfo { nanoseconds: since_ns });
        }
        status
    }

    /// What can be said of a task this master does not know; nothing while agents that may have it are still expected.
    fn unknown_status(&self, framework: FrameworkKey, doubt: &Doubt, now: Now) -> Option<v1::TaskStatus> {
        let agent = doubt.agent.as_deref();
        let expected = match agent {
            Some(agent) => self.recovered.contains(agent),
            None => !self.recovered.is_empty(),
        };
        if expected {
            return None;
        }
        let since_ns = agent.and_then(|agent| self.facts.unreachable.get(agent)).copied();
        let (state, text) = match agent {
            Some(agent) if since_ns.is_some_and(|since_ns| self.counts_as_lost(doubt, now, agent, since_ns)) => {
                (TaskState::TaskLost, "the agent did not answer for as long as the task's partition policy allows")
            }
            Some(_) if since_ns.is_some() => (TaskState::TaskUnreachable, "the task's agent is unreachable"),
            Some(agent) if self.facts.gone.contains_key(agent) => {
                (TaskState::TaskGoneByOperator, "the task's agent is gone")
            }
            Some(agent) if self.agent_ids.contains_key(agent) => {
                (TaskState::TaskGone, "the task is unknown to the agent")
            }
            Some(_) | None => (TaskState::TaskUnknown, "the task is unknown"),
        };
        let aware = self.frameworks[&framework].bucket.facts.partition_aware;
        let agent: Option<Arc<str>> = agent.map(Arc::from);
        let mut status = master_status(&doubt.task, agent.as_ref(), state.as_told(aware), now);
        status.set_reason(v1::task_status::Reason::Reconciliation);
        status.message = Some(format!("Reconciliation: {text}"));
        status.unreachable_time = since_ns.map(|nanoseconds| v1::TimeInfo { nanoseconds });
        Some(status)
    }

    /// Whether a task whose agent is unreachable since then counts as lost by now. A master that was started meanwhile does
    /// not know the task, and goes by what its framework says of the policy.
    fn counts_as_lost(&self, doubt: &Doubt, now: Now, agent: &str, since_ns: i64) -> bool {
        doubt.lost_after.is_some_and(|time| time <= self.absences.lasted(now, agent, since_ns))
    }
}
