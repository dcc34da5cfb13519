//! Kills, kept until they are known to have arrived.
//!
//! A master that received a kill may die before it forwards it. It may also not know the task yet, because the agent
//! has not re-registered, and then it sends no answer. So a kill stays with its task until the task is reported as
//! being killed or ended. The driver resends it with every question about the task, and whenever the task is reported
//! as running. After an inferred end the kill is kept in case the task reappears.

use super::{
    Driver,
    input::Effect,
    master_link::Sent,
    tasks::{Tasks, is_over},
    wire,
};
use crate::{
    proto::v1::{KillPolicy, TaskId, TaskState},
    types::Now,
};

/// The most kills of tasks that are neither live nor ended here.
const LIMIT: usize = 65_536;
const TOO_MANY: &str = "too many kills of tasks without any status wait for the master";

/// A kill that the framework requested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    /// The number of the user's call; 0 for the driver's own.
    pub(super) seq: u64,
    pub(super) policy: Option<KillPolicy>,
}

/// There is no room for another kill.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Driver {
    /// Kills a task: keeps the kill, and sends it if there is a master.
    pub(super) fn kill(
        &mut self,
        now: Now,
        seq: u64,
        task_id: &TaskId,
        policy: Option<KillPolicy>,
        out: &mut Vec<Effect>,
    ) {
        let kill = Kill { seq, policy };
        if self.tasks.keep_kill(&task_id.value, kill) == Err(Full) {
            return self.refuse(seq, "kill", TOO_MANY);
        }
        if self.subscribed() {
            self.send_kill(&task_id.value, kill, out);
            if self.tasks.kills.contains_key(task_id.value.as_str()) {
                self.query_until_answered(now, &task_id.value);
            }
        }
    }

    /// Resends the kill of this task, if there is one.
    pub(super) fn resend_kill(&mut self, task_id: &str, out: &mut Vec<Effect>) {
        if let Some(kill) = self.tasks.kill_of(task_id) {
            self.send_kill(task_id, kill, out);
        }
    }

    fn send_kill(&mut self, task_id: &str, Kill { seq, policy }: Kill, out: &mut Vec<Effect>) {
        let agent_id = self.tasks.agent_of(task_id);
        let task_id = TaskId { value: task_id.to_owned() };
        self.send(wire::kill(task_id.clone(), agent_id, policy), seq, Sent::Kill(task_id), out);
    }
}

impl Tasks {
    /// Keeps a kill while the task may be alive.
    fn keep_kill(&mut self, task_id: &str, kill: Kill) -> Result<(), Full> {
        if let Some(task) = self.live.get_mut(task_id) {
            task.kill = Some(Box::new(kill)).filter(|_| !is_over(task.state) || is_inferred(task.state));
        } else if let Some(ended) = self.ended.get_mut(task_id) {
            ended.kill = Some(Box::new(kill)).filter(|_| is_inferred(ended.state) && !ended.from_agent);
        } else if let Some(before) = self.kills.get_mut(task_id) {
            *before = kill;
        } else if self.is_full_of_kills() {
            return Err(Full);
        } else {
            self.kills.insert(task_id.into(), kill);
        }
        Ok(())
    }

    /// Records the driver's own kill of an unknown task.
    pub(super) fn kill_unknown(&mut self, task_id: &str) {
        if let Some(task) = self.live.get_mut(task_id) {
            task.kill.get_or_insert_with(|| Box::new(Kill { seq: 0, policy: None }));
        }
    }

    /// True when a kill of the task is not known to have arrived.
    pub(super) fn is_killed(&self, task_id: &str) -> bool {
        self.kill_of(task_id).is_some() || self.ended.is_killed(task_id)
    }

    /// The master refused the kill: drop it instead of resending it.
    pub(super) fn kill_refused(&mut self, task_id: &str) {
        self.kills.remove(task_id);
        if let Some(task) = self.live.get_mut(task_id) {
            task.kill = None;
        }
    }

    /// The kill of a task that may be alive.
    fn kill_of(&self, task_id: &str) -> Option<Kill> {
        let of_live = self.live.get(task_id).and_then(|task| task.kill.as_deref());
        of_live.or_else(|| self.kills.get(task_id)).copied()
    }

    pub(super) fn is_full_of_kills(&self) -> bool {
        self.kills.len() >= LIMIT
    }
}

/// True when the end is inferred (lost, unknown, gone): the task may still be alive.
pub(super) fn is_inferred(state: TaskState) -> bool {
    is_over(state) && state.may_become(TaskState::TaskRunning)
}

/// True when a task in this state can receive a kill.
pub(super) fn may_be_killed(state: TaskState) -> bool {
    matches!(state, TaskState::TaskStaging | TaskState::TaskStarting | TaskState::TaskRunning)
}
