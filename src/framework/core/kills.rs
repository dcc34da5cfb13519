//! Kills, kept until they are known to have arrived.
//!
//! That a master took a kill says little: it may be gone before its order leaves, or may not know the task yet because
//! the agent is still coming back, and then it says nothing at all. So a kill stays with its task until the task is told
//! to be killed or to have ended, and goes out again with every question after the task and whenever the task is told to
//! run. Where an end was only guessed, the kill is kept for the day the task is back.

use super::{
    Driver,
    input::Effect,
    link::Sent,
    tasks::{Tasks, over},
    wire,
};
use crate::{
    proto::v1::{KillPolicy, TaskId, TaskState},
    types::Now,
};

/// The most kills of tasks of which nothing is known.
const LIMIT: usize = 65_536;
const TOO_MANY: &str = "too many tasks were to be killed that the master has said nothing of";

/// A kill that the framework asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    /// The number the user knows it by; 0 for the driver's own.
    pub(super) seq: u64,
    pub(super) policy: Option<KillPolicy>,
}

/// There is no room for another kill.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Driver {
    /// A kill of the framework's, or of the driver's own: sent if there is a master, and kept in any case.
    pub(super) fn kill(
        &mut self,
        now: Now,
        seq: u64,
        task_id: &TaskId,
        policy: Option<KillPolicy>,
        out: &mut Vec<Effect>,
    ) {
        let kill = Kill { seq, policy };
        if self.tasks.killed(&task_id.value, kill) == Err(Full) {
            return self.refuse(seq, "kill", TOO_MANY);
        }
        if self.subscribed() {
            self.send_kill(&task_id.value, kill, out);
            if self.tasks.kills.contains_key(task_id.value.as_str()) {
                self.wonder(now, &task_id.value);
            }
        }
    }

    /// Sends the kill of this task, if there is one, once more.
    pub(super) fn kill_again(&mut self, task_id: &str, out: &mut Vec<Effect>) {
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
    /// Keeps a kill for as long as the task may live.
    fn killed(&mut self, task_id: &str, kill: Kill) -> Result<(), Full> {
        if let Some(task) = self.live.get_mut(task_id) {
            task.kill = Some(Box::new(kill)).filter(|_| !over(task.state) || is_guess(task.state));
        } else if let Some(ended) = self.ended.get_mut(task_id) {
            ended.kill = Some(Box::new(kill)).filter(|_| is_guess(ended.state) && !ended.by_agent);
        } else if let Some(before) = self.kills.get_mut(task_id) {
            *before = kill;
        } else if self.is_full_of_kills() {
            return Err(Full);
        } else {
            self.kills.insert(task_id.into(), kill);
        }
        Ok(())
    }

    /// A task that nobody here launched is to be killed by the driver's own wish.
    pub(super) fn kill_unknown(&mut self, task_id: &str) {
        if let Some(task) = self.live.get_mut(task_id) {
            task.kill.get_or_insert_with(|| Box::new(Kill { seq: 0, policy: None }));
        }
    }

    /// True when a kill of the task is not known to have arrived.
    pub(super) fn is_killed(&self, task_id: &str) -> bool {
        self.kill_of(task_id).is_some() || self.ended.is_killed(task_id)
    }

    /// The master will not have the kill: it is of no use to ask again.
    pub(super) fn kill_refused(&mut self, task_id: &str) {
        self.kills.remove(task_id);
        if let Some(task) = self.live.get_mut(task_id) {
            task.kill = None;
        }
    }

    /// The kill of a task that may live.
    fn kill_of(&self, task_id: &str) -> Option<Kill> {
        let of_live = self.live.get(task_id).and_then(|task| task.kill.as_deref());
        of_live.or_else(|| self.kills.get(task_id)).copied()
    }

    pub(super) fn is_full_of_kills(&self) -> bool {
        self.kills.len() >= LIMIT
    }
}

/// True when a task that is said to have ended this way may live all the same.
pub(super) fn is_guess(state: TaskState) -> bool {
    over(state) && state.may_become(TaskState::TaskRunning)
}

/// True when a task is told to be where a kill gets to.
pub(super) fn may_be_killed(state: TaskState) -> bool {
    matches!(state, TaskState::TaskStaging | TaskState::TaskStarting | TaskState::TaskRunning)
}
