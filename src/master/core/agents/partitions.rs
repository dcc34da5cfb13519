//! Tasks whose agent cannot be reached: what they count as meanwhile, and which copy wins when it is back.
//!
//! An unreachable task may well run. Its framework is told so, and again when it counts as lost by its policy
//! ([`Partition`]). The id of a task that is merely unreachable stays taken; that of a lost one is free, and whatever was
//! launched last under an id is the task of that name: an older copy that comes back is ended, and nobody hears of it.

use std::{sync::Arc, time::Duration};

use crate::{
    master::core::{
        Master, Turn,
        agents::Presence,
        keys::{AgentKey, FrameworkKey, TaskKey},
        tasks::Kill,
        tasks::{Task, master_status},
        timers::Timer,
    },
    proto::v1::{self, TaskState, task_status::Reason},
    types::OnReturn,
};

/// What the master decides on of a task's policy, and what has come of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Partition {
    lost_after: Option<Duration>,
    on_return: OnReturn,
    /// The task in whose place this one was launched.
    pub(in crate::master::core) replaces: Option<Arc<str>>,
    /// Its framework was told that it is lost because it was unreachable for too long.
    written_off: bool,
    /// A task was launched in its place.
    replaced: bool,
}

impl Partition {
    /// The policy of a task; none where it says nothing.
    pub(crate) fn of(task: &v1::TaskInfo) -> Option<Box<Self>> {
        if task.partition_policy.is_none() && task.replaces.is_none() {
            return None;
        }
        let policy = task.partition_policy.as_deref().copied().unwrap_or_default();
        Some(Box::new(Self {
            lost_after: policy.lost_after(),
            on_return: policy.on_return(),
            replaces: task.replaces.as_ref().map(|id| id.as_str().into()),
            ..Self::default()
        }))
    }
}

impl Task {
    pub(in crate::master::core) fn replaces(&self) -> Option<&Arc<str>> {
        self.partition.as_ref()?.replaces.as_ref()
    }

    /// Whether its framework may take it for ended although its agent is only away.
    pub(in crate::master::core) fn written_off(&self) -> bool {
        self.partition.as_ref().is_some_and(|partition| partition.written_off)
    }
}

impl Master {
    /// Every task of an agent that was given up; their frameworks hear it from the master.
    pub(in crate::master::core) fn tasks_unreachable(&mut self, turn: &mut Turn<'_>, key: AgentKey, since_ns: i64) {
        let Some(agent) = self.agents.get(key) else { return };
        let absence = agent.absence;
        let live: Vec<(TaskKey, Option<Duration>)> = agent
            .bucket
            .tasks
            .iter()
            .filter(|(_, task)| !task.state.is_terminal())
            .map(|(key, task)| (key, task.partition.as_ref().and_then(|partition| partition.lost_after)))
            .collect();
        turn.spend(live.len());
        for (task, lost_after) in live {
            let state = TaskState::TaskUnreachable.for_framework(self.is_aware(key, task));
            match lost_after {
                Some(Duration::ZERO) => self.write_off(turn, key, task, since_ns),
                Some(time) => {
                    self.tell_away(turn, key, task, state, since_ns, "the agent does not answer");
                    self.timers.arm(turn.now.mono_after(time), Timer::WriteOff(key, task, absence));
                }
                None => self.tell_away(turn, key, task, state, since_ns, "the agent does not answer"),
            }
        }
    }

    pub(in crate::master::core) fn is_aware(&self, agent: AgentKey, task: TaskKey) -> bool {
        let task = self.agents.get(agent).and_then(|agent| agent.bucket.tasks.get(task));
        let framework = task.and_then(|task| self.frameworks.get(task.framework));
        framework.is_some_and(|framework| framework.bucket.facts.partition_aware)
    }

    /// The task was unreachable for as long as its policy lets it.
    pub(in crate::master::core) fn write_off_due(
        &mut self,
        turn: &mut Turn<'_>,
        key: AgentKey,
        task: TaskKey,
        absence: u64,
    ) {
        let Some(agent) = self.agents.get(key).filter(|agent| agent.absence == absence) else { return };
        if let Presence::Unreachable { since_ns } = agent.bucket.presence
            && agent.bucket.tasks.contains_key(task)
        {
            self.write_off(turn, key, task, since_ns);
        }
    }

    fn write_off(&mut self, turn: &mut Turn<'_>, key: AgentKey, task: TaskKey, since_ns: i64) {
        let Some(record) = self.task_mut(key, task) else { return };
        if let Some(partition) = &mut record.partition {
            partition.written_off = true;
        }
        if !record.state.is_terminal() {
            let text = "the agent did not answer for as long as the task's partition policy allows";
            self.tell_away(turn, key, task, TaskState::TaskLost, since_ns, text);
        }
    }

    fn tell_away(
        &mut self,
        turn: &mut Turn<'_>,
        key: AgentKey,
        task_key: TaskKey,
        state: TaskState,
        since_ns: i64,
        text: &str,
    ) {
        self.set_state(key, task_key, state);
        let task = &self.agents[key].bucket.tasks[task_key];
        let mut status = master_status(&task.id, Some(&self.agents[key].bucket.id), state, turn.now);
        status.set_reason(Reason::AgentRemoved);
        status.message = Some(text.to_owned());
        status.unreachable_time = Some(v1::TimeInfo { nanoseconds: since_ns });
        self.tell_master_status(turn, key, task_key, status);
    }

    /// What is wrong with launching a task in the place of that one.
    pub(in crate::master::core) fn replaceable(&self, framework: FrameworkKey, replaced: &str) -> Result<(), String> {
        let Some((agent, task)) = self.frameworks[framework].tasks.get(replaced) else { return Ok(()) };
        let bucket = &self.agents[*agent].bucket;
        let away = matches!(bucket.presence, Presence::Unreachable { .. });
        let state = bucket.tasks[*task].state;
        if away || state.is_terminal() {
            return Ok(());
        }
        Err(format!("Task replaces {replaced}, which is {} and whose agent can be reached", state.as_str_name()))
    }

    /// Notes that a task was launched in the place of another.
    pub(in crate::master::core) fn note_replaced(&mut self, framework: FrameworkKey, replaced: &str) {
        let Some((agent, task)) = self.frameworks[framework].tasks.get(replaced).copied() else { return };
        if let Some(partition) = self.task_mut(agent, task).and_then(|task| task.partition.as_mut()) {
            partition.replaced = true;
        }
    }

    /// A task is back after its agent was unreachable for so long: it may have been written off by an earlier master.
    pub(in crate::master::core) fn note_absence(&mut self, away: Duration, agent: AgentKey, task: TaskKey) {
        let Some(partition) = self.task_mut(agent, task).and_then(|task| task.partition.as_mut()) else { return };
        partition.written_off |= partition.lost_after.is_some_and(|time| time <= away);
    }

    /// A task is there again, or one that was launched in its place, on an agent that is being registered: only those run
    /// on that its policy says.
    pub(in crate::master::core) fn settle_copies(&mut self, turn: &mut Turn<'_>, agent: AgentKey, key: TaskKey) {
        let Some(task) = self.agents.get(agent).and_then(|agent| agent.bucket.tasks.get(key)) else { return };
        let original = match task.replaces() {
            Some(replaced) => self.frameworks[task.framework].tasks.get(replaced).copied(),
            None => None,
        };
        self.settle_return(turn, agent, key, agent);
        if let Some((on, key)) = original.filter(|(on, _)| self.agents[*on].contact().is_some() || *on == agent) {
            self.settle_return(turn, on, key, agent);
        }
    }

    fn settle_return(&mut self, turn: &mut Turn<'_>, agent: AgentKey, key: TaskKey, registering: AgentKey) {
        let task = &self.agents[agent].bucket.tasks[key];
        let Some(partition) = task.partition.as_ref().filter(|_| !task.state.is_terminal()) else { return };
        let replacement = self.frameworks[task.framework].replacements.get(&task.id).copied();
        match partition.on_return {
            OnReturn::KeepBoth => {}
            OnReturn::KeepOriginal => {
                if let Some((agent, key)) = replacement {
                    self.end_copy(turn, agent, key, registering);
                }
            }
            OnReturn::KeepReplacement => {
                if partition.written_off || partition.replaced || replacement.is_some() {
                    self.end_copy(turn, agent, key, registering);
                }
            }
        }
    }

    /// Kills one copy of a task, now or when its agent is back. One that is being registered hears of all kills after it
    /// was told that it is.
    pub(in crate::master::core) fn end_copy(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        key: TaskKey,
        registering: AgentKey,
    ) {
        let Some(task) = self.task_mut(agent, key).filter(|task| !task.state.is_terminal()) else { return };
        task.kill = Some(Box::new(Kill { policy: None }));
        if agent != registering {
            self.order_kill(turn, agent, key);
        }
    }

    /// Whether this record is the task of its name, not an older copy.
    pub(in crate::master::core) fn is_current(&self, agent: AgentKey, key: TaskKey) -> bool {
        let task = self.agents.get(agent).and_then(|agent| agent.bucket.tasks.get(key));
        task.is_some_and(|task| {
            let framework = self.frameworks.get(task.framework);
            framework.is_some_and(|framework| framework.tasks.get(&task.id) == Some(&(agent, key)))
        })
    }
}
