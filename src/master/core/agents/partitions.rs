//! Tasks of unreachable agents: their states, and which copy stays when the agent re-registers.
//!
//! An unreachable task may still run. The master reports it as unreachable, and as lost once the task's policy
//! ([`Partition`]) writes it off. The id of an unreachable task stays in use; that of a lost one may be launched again.
//! The latest launch under an id is the task of that name. An older copy that returns is killed, and no status of it is
//! sent.

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

/// The parts of a task's partition policy that the master applies, and their outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Partition {
    lost_after: Option<Duration>,
    on_return: OnReturn,
    /// The task that this one replaces.
    pub(in crate::master::core) replaces: Option<Arc<str>>,
    /// Its framework was sent `TASK_LOST` because it was unreachable for too long.
    written_off: bool,
    /// A replacement was launched.
    replaced: bool,
}

impl Partition {
    /// The policy of a task; `None` if it states none.
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

    /// Whether its framework may treat it as ended although its agent is only unreachable.
    pub(in crate::master::core) fn written_off(&self) -> bool {
        self.partition.as_ref().is_some_and(|partition| partition.written_off)
    }
}

impl Master {
    /// Sends the frameworks of an unreachable agent's tasks the new states, and arms the timers of their policies.
    pub(in crate::master::core) fn set_tasks_unreachable(&mut self, turn: &mut Turn<'_>, key: AgentKey, since_ns: i64) {
        let Some(agent) = self.agents.get(key) else { return };
        let absence = agent.absence;
        let live: Vec<(TaskKey, Option<Duration>)> = agent
            .record
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
                    self.send_away_status(turn, key, task, state, since_ns, "the agent does not answer");
                    self.timers.arm(turn.now.mono_after(time), Timer::WriteOff(key, task, absence));
                }
                None => self.send_away_status(turn, key, task, state, since_ns, "the agent does not answer"),
            }
        }
    }

    pub(in crate::master::core) fn is_aware(&self, agent: AgentKey, task: TaskKey) -> bool {
        let task = self.agents.get(agent).and_then(|agent| agent.record.tasks.get(task));
        let framework = task.and_then(|task| self.frameworks.get(task.framework));
        framework.is_some_and(|framework| framework.record.facts.partition_aware)
    }

    /// The task was unreachable for as long as its policy allows.
    pub(in crate::master::core) fn write_off_due(
        &mut self,
        turn: &mut Turn<'_>,
        key: AgentKey,
        task: TaskKey,
        absence: u64,
    ) {
        let Some(agent) = self.agents.get(key).filter(|agent| agent.absence == absence) else { return };
        if let Presence::Unreachable { since_ns } = agent.record.presence
            && agent.record.tasks.contains_key(task)
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
            self.send_away_status(turn, key, task, TaskState::TaskLost, since_ns, text);
        }
    }

    /// Sets the state of a task of an unreachable agent and sends it to the framework.
    fn send_away_status(
        &mut self,
        turn: &mut Turn<'_>,
        key: AgentKey,
        task_key: TaskKey,
        state: TaskState,
        since_ns: i64,
        text: &str,
    ) {
        self.set_state(key, task_key, state);
        let task = &self.agents[key].record.tasks[task_key];
        let mut status = master_status(&task.id, Some(&self.agents[key].record.id), state, turn.now);
        status.set_reason(Reason::AgentRemoved);
        status.message = Some(text.to_owned());
        status.unreachable_time = Some(v1::TimeInfo { nanoseconds: since_ns });
        self.send_master_status(turn, key, task_key, status);
    }

    /// Checks that a task may be launched in the place of `replaced`.
    pub(in crate::master::core) fn check_replaceable(
        &self,
        framework: FrameworkKey,
        replaced: &str,
    ) -> Result<(), String> {
        let Some((agent, task)) = self.frameworks[framework].tasks.get(replaced) else { return Ok(()) };
        let record = &self.agents[*agent].record;
        let away = matches!(record.presence, Presence::Unreachable { .. });
        let state = record.tasks[*task].state;
        if away || state.is_terminal() {
            return Ok(());
        }
        Err(format!("Task replaces {replaced}, which is {} and whose agent can be reached", state.as_str_name()))
    }

    /// Records that a replacement of this task was launched.
    pub(in crate::master::core) fn mark_replaced(&mut self, framework: FrameworkKey, replaced: &str) {
        let Some((agent, task)) = self.frameworks[framework].tasks.get(replaced).copied() else { return };
        if let Some(partition) = self.task_mut(agent, task).and_then(|task| task.partition.as_mut()) {
            partition.replaced = true;
        }
    }

    /// Marks a returned task as written off if its agent was absent for long enough; an earlier master may have done
    /// so.
    pub(in crate::master::core) fn note_absence(&mut self, away: Duration, agent: AgentKey, task: TaskKey) {
        let Some(partition) = self.task_mut(agent, task).and_then(|task| task.partition.as_mut()) else { return };
        partition.written_off |= partition.lost_after.is_some_and(|time| time <= away);
    }

    /// Applies the return policies that a task of a registering agent affects: its own, and that of the task it
    /// replaces.
    pub(in crate::master::core) fn apply_return_policies(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        key: TaskKey,
    ) {
        let Some(task) = self.agents.get(agent).and_then(|agent| agent.record.tasks.get(key)) else { return };
        let original = match task.replaces() {
            Some(replaced) => self.frameworks[task.framework].tasks.get(replaced).copied(),
            None => None,
        };
        self.apply_return_policy(turn, agent, key, agent);
        if let Some((on, key)) = original.filter(|(on, _)| self.agents[*on].contact().is_some() || *on == agent) {
            self.apply_return_policy(turn, on, key, agent);
        }
    }

    /// Kills the copy of a task that its return policy does not keep.
    fn apply_return_policy(&mut self, turn: &mut Turn<'_>, agent: AgentKey, key: TaskKey, registering: AgentKey) {
        let task = &self.agents[agent].record.tasks[key];
        let Some(partition) = task.partition.as_ref().filter(|_| !task.state.is_terminal()) else { return };
        let replacement = self.frameworks[task.framework].replacements.get(&task.id).copied();
        match partition.on_return {
            OnReturn::KeepBoth => {}
            OnReturn::KeepOriginal => {
                if let Some((agent, key)) = replacement {
                    self.kill_copy(turn, agent, key, registering);
                }
            }
            OnReturn::KeepReplacement => {
                if partition.written_off || partition.replaced || replacement.is_some() {
                    self.kill_copy(turn, agent, key, registering);
                }
            }
        }
    }

    /// Kills one copy of a task, now or when its agent re-registers. The registering agent is sent all its kills after
    /// REGISTERED.
    pub(in crate::master::core) fn kill_copy(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        key: TaskKey,
        registering: AgentKey,
    ) {
        let Some(task) = self.task_mut(agent, key).filter(|task| !task.state.is_terminal()) else { return };
        task.kill = Some(Box::new(Kill { policy: None }));
        if agent != registering {
            self.send_kill(turn, agent, key);
        }
    }

    /// Whether this record is the task of its name and not an older copy.
    pub(in crate::master::core) fn is_current(&self, agent: AgentKey, key: TaskKey) -> bool {
        let task = self.agents.get(agent).and_then(|agent| agent.record.tasks.get(key));
        task.is_some_and(|task| {
            let framework = self.frameworks.get(task.framework);
            framework.is_some_and(|framework| framework.tasks.get(&task.id) == Some(&(agent, key)))
        })
    }
}
