//! What the driver remembers of each task, so that a status reaches the callback once.
//!
//! A live task is a few dozen bytes beside its id: agent, state, the uuid of its last status, whether it is the
//! framework's own by its own word, a kill on its way. One that ended moves to [`EndedTasks`]. Rule: a task is live or
//! ended, never both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use indexmap::IndexMap;
use uuid::Uuid;

use super::{
    ended::{Ended, EndedTasks},
    kills::{Kill, is_guess},
};
use crate::proto::{
    ext::PartitionPolicy,
    v1::{AgentId, TaskId, TaskInfo, TaskState, TaskStatus, task_status::Reason},
};

/// The most questions about tasks that are not live and were not answered.
const QUESTIONS: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) live: IndexMap<Arc<str>, Task>,
    pub(super) ended: EndedTasks,
    /// Kills of tasks that are neither live nor ended here, until the master says what they are.
    pub(super) kills: BTreeMap<Arc<str>, Kill>,
    agents: BTreeSet<Arc<str>>,
    /// Tasks whose next answer to a reconciliation the framework wants to see, repeat or not.
    asked: BTreeMap<Arc<str>, Question>,
    unknown: u64,
}

/// What the framework asked about a task.
#[derive(Debug, Default)]
struct Question {
    agent: Option<Arc<str>>,
    /// It named the task, and so said that the task is its own.
    named: bool,
    /// It was there at the last sweep.
    old: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Task {
    agent: Option<Arc<str>>,
    pub(super) state: TaskState,
    stage: Stage,
    /// Of the last status that had one.
    uuid: Option<Uuid>,
    acknowledged: bool,
    /// Whether an agent told the state, and not the master of its own.
    by_agent: bool,
    /// Whether that status said how the process ended.
    says_how: bool,
    /// Whether the framework launched the task through this driver, or said that it is its own.
    known: bool,
    /// Asked for, and not known to have arrived.
    pub(super) kill: Option<Box<Kill>>,
    /// What it was launched with, where it said anything.
    policy: Option<Box<PartitionPolicy>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Launched; nothing was heard of it.
    Launched,
    /// The framework says that it is its own; nothing was heard of it.
    Claimed,
    /// The callback has the state, or will.
    Told,
}

/// What to do with a status that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The callback has to hear of it.
    Deliver,
    /// It is known, or being dealt with.
    Drop,
    /// It was dealt with, but the agent does not know that yet.
    Acknowledge,
}

impl Tasks {
    /// A launch is on its way, of a task that may not live yet. What there was under its name is over, and so is a kill of
    /// that. Answers with the task's name.
    pub(super) fn launched(&mut self, task: &TaskInfo) -> Arc<str> {
        let task_id = task.task_id.value.as_str();
        self.end(task_id);
        self.ended.forget(task_id);
        self.kills.remove(task_id);
        let key = self.mine(task_id, Some(&task.agent_id), Stage::Launched);
        if let Some(policy) = task.partition_policy.as_deref() {
            self.has_policy(task_id, *policy);
        }
        key
    }

    /// What the task was launched with.
    pub(super) fn has_policy(&mut self, task_id: &str, policy: PartitionPolicy) {
        if let Some(task) = self.live.get_mut(task_id) {
            task.policy = Some(Box::new(policy));
        }
    }

    /// The policy of a live task, as far as it is known.
    pub(super) fn policy_of(&self, task_id: &str) -> Option<PartitionPolicy> {
        self.live.get(task_id)?.policy.as_deref().copied()
    }

    /// True when the last that was said of the task is that its agent cannot be reached.
    pub(super) fn is_unreachable(&self, task_id: &str) -> bool {
        self.live.get(task_id).is_some_and(|task| task.state == TaskState::TaskUnreachable)
    }

    /// The framework says that the task is its own.
    pub(super) fn claimed(&mut self, task_id: &str, agent_id: Option<&AgentId>) {
        if !self.ended.claim(task_id) {
            self.mine(task_id, agent_id, Stage::Claimed);
        }
    }

    fn mine(&mut self, task_id: &str, agent_id: Option<&AgentId>, stage: Stage) -> Arc<str> {
        if let Some(index) = self.live.get_index_of(task_id)
            && let Some((key, task)) = self.live.get_index_mut(index)
        {
            task.known = true;
            return Arc::clone(key);
        }
        let key: Arc<str> = task_id.into();
        let agent = agent_id.map(|agent_id| self.intern(&agent_id.value));
        let task = Task {
            agent,
            state: TaskState::TaskStaging,
            stage,
            uuid: None,
            acknowledged: false,
            by_agent: false,
            says_how: false,
            known: true,
            kill: self.kills.remove(task_id).map(Box::new),
            policy: None,
        };
        self.live.insert(Arc::clone(&key), task);
        key
    }

    /// Decides on a status and remembers it. What was told of the task before has been dealt with: see
    /// [`Lanes`](super::lanes::Lanes).
    pub(super) fn judge(&mut self, status: &TaskStatus) -> Verdict {
        let seen = Seen::of(status);
        let task_id = status.task_id.value.as_str();
        let named = self.asked.get(task_id).is_some_and(|question| question.named);
        // What an agent repeats answers no question.
        let asked = seen.uuid.is_none() && self.asked.remove(task_id).is_some();
        // Of a task that comes back, the repeats of what was acknowledged are still known.
        let (mut known, mut known_uuid, mut kill) = (named, None, None);
        match self.ended.judge(task_id, &seen) {
            Some(Verdict::Deliver) => {
                if let Some(ended) = self.ended.forget(task_id) {
                    (known, known_uuid, kill) = (known || ended.known, ended.uuid, ended.kill);
                }
            }
            Some(_) if asked => return Verdict::Deliver,
            Some(verdict) => return verdict,
            None => {}
        }
        let agent = status.agent_id.as_ref().map(|agent_id| self.intern(&agent_id.value));
        let Some(task) = self.live.get_mut(task_id) else {
            self.unknown += u64::from(!known);
            let kill = kill.or_else(|| self.kills.remove(task_id).map(Box::new));
            let mut found = Task::found(agent, &seen, known_uuid, known);
            found.kill = kill.filter(|_| !arrived(seen.state));
            self.live.insert(task_id.into(), found);
            return Verdict::Deliver;
        };
        task.known |= named;
        if agent.is_some() {
            task.agent = agent;
        }
        match task.judge(&seen) {
            Verdict::Drop if asked && task.state == seen.state => Verdict::Deliver,
            verdict => verdict,
        }
    }

    /// The callback took `state`, told by the status with `uuid` if it had one. `acknowledged`: so that was sent on.
    pub(super) fn handled(&mut self, task_id: &str, state: TaskState, uuid: Option<Uuid>, acknowledged: bool) {
        let Some(task) = self.live.get_mut(task_id) else { return };
        if uuid.is_some() && task.uuid == uuid {
            task.acknowledged |= acknowledged;
        }
        if task.state != state {
            return;
        }
        if over(state) && (uuid.is_none() || acknowledged) {
            self.end(task_id);
        }
    }

    /// The user acknowledged the status with `uuid`.
    pub(super) fn acknowledged(&mut self, task_id: &str, uuid: Option<Uuid>) {
        let Some(task) = self.live.get_mut(task_id).filter(|task| uuid.is_some() && task.uuid == uuid) else { return };
        task.acknowledged = true;
        if over(task.state) && task.by_agent {
            self.end(task_id);
        }
    }

    /// True when the task was launched or heard of, and nothing was said of an end.
    pub(super) fn may_live(&self, task_id: &str) -> bool {
        self.live.get(task_id).is_some_and(|task| !over(task.state))
    }

    /// True when nothing was heard of the task since its launch was sent.
    pub(super) fn only_launched(&self, task_id: &str) -> bool {
        self.live.get(task_id).is_some_and(|task| task.stage == Stage::Launched)
    }

    /// True when the user has acknowledged the status with `uuid` by hand.
    pub(super) fn was_acknowledged(&self, task_id: &str, uuid: Option<Uuid>) -> bool {
        uuid.is_some() && self.live.get(task_id).is_none_or(|task| task.acknowledged && task.uuid == uuid)
    }

    /// True when the task was launched through this driver or the framework said that it is its own.
    pub(super) fn is_known(&self, task_id: &str) -> bool {
        self.live.get(task_id).map_or_else(|| self.ended.is_known(task_id), |task| task.known)
    }

    /// How many tasks were found that the framework had said nothing of.
    pub(super) fn found_unknown(&self) -> u64 {
        self.unknown
    }

    /// The framework asks about these; false when too many of its questions are unanswered already.
    pub(super) fn asked(&mut self, tasks: &[(TaskId, Option<AgentId>)]) -> bool {
        if self.asked.len().saturating_add(tasks.len()) > self.live.len().saturating_add(QUESTIONS) {
            return false;
        }
        for (task_id, agent_id) in tasks {
            let agent = agent_id.as_ref().map(|agent_id| self.intern(&agent_id.value));
            self.asked.insert(task_id.value.as_str().into(), Question { agent, named: true, old: false });
            if let Some(task) = self.live.get_mut(task_id.value.as_str()) {
                task.known = true;
            }
        }
        true
    }

    pub(super) fn is_full_of_questions(&self) -> bool {
        self.asked.len() >= self.live.len().saturating_add(QUESTIONS)
    }

    /// The framework wants no further answer about the task.
    pub(super) fn answered(&mut self, task_id: &str) {
        self.asked.remove(task_id);
    }

    pub(super) fn asked_all(&mut self) {
        for task_id in self.live.keys() {
            self.asked.entry(Arc::clone(task_id)).or_default();
        }
    }

    /// Where the task is, as far as it is known.
    pub(super) fn agent_of(&self, task_id: &str) -> Option<AgentId> {
        let of_task = self.live.get(task_id).and_then(|task| task.agent.as_ref());
        let agent = of_task.or_else(|| self.asked.get(task_id)?.agent.as_ref())?;
        Some(AgentId { value: agent.to_string() })
    }

    /// What a reconciliation has to ask about.
    pub(super) fn to_be_asked(&self) -> impl Iterator<Item = &Arc<str>> {
        self.live.keys().chain(self.asked.keys()).chain(self.kills.keys())
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Forgets questions that stayed unanswered since the last sweep, and agents that no task is on.
    pub(super) fn sweep(&mut self) {
        self.asked.retain(|_, question| !std::mem::replace(&mut question.old, true));
        self.agents.retain(|agent| Arc::strong_count(agent) > 1);
    }

    /// Whether all of them can be looked at after every input.
    pub(super) fn are_few(&self) -> bool {
        self.live.len() + self.ended.len() < 64
    }

    pub(super) fn check(&self) {
        self.ended.check();
        for task_id in self.ended.ids() {
            assert!(!self.live.contains_key(task_id), "task {task_id} is live and ended");
        }
    }

    fn end(&mut self, task_id: &str) {
        let Some((key, task)) = self.live.swap_remove_entry(task_id) else { return };
        let uuid = task.uuid.filter(|_| task.acknowledged);
        let (state, known) = (task.state, task.known);
        let by_agent = task.by_agent && task.acknowledged;
        // No master makes such an end of its own.
        let of_a_process = [TaskState::TaskFinished, TaskState::TaskFailed, TaskState::TaskKilled].contains(&state);
        let inferred = !task.by_agent && !task.says_how && of_a_process;
        let kill = task.kill.filter(|_| is_guess(state) && !by_agent);
        self.ended.insert(key, Ended { state, uuid, by_agent, inferred, known, kill });
    }

    fn intern(&mut self, agent_id: &str) -> Arc<str> {
        if let Some(known) = self.agents.get(agent_id) {
            return Arc::clone(known);
        }
        let agent: Arc<str> = agent_id.into();
        self.agents.insert(Arc::clone(&agent));
        agent
    }
}

/// What a status says, as far as repeats are concerned.
pub(super) struct Seen {
    pub(super) state: TaskState,
    pub(super) uuid: Option<Uuid>,
    pub(super) reconciled: bool,
    /// Whether it says how the task's process ended.
    pub(super) says_how: bool,
}

impl Seen {
    fn of(status: &TaskStatus) -> Self {
        let redelivered = [Reason::Reconciliation, Reason::AgentReregistered];
        let reconciled = redelivered.iter().any(|reason| status.reason == Some(*reason as i32));
        let says_how = status.process_end.is_some();
        Self { state: status.state(), uuid: status.acknowledgement(), reconciled, says_how }
    }
}

impl Task {
    /// A task that becomes live with a status; `known_uuid` is of one that was acknowledged before.
    fn found(agent: Option<Arc<str>>, seen: &Seen, known_uuid: Option<Uuid>, known: bool) -> Self {
        let by_agent = seen.uuid.is_some();
        let (uuid, acknowledged) = (seen.uuid.or(known_uuid), !by_agent && known_uuid.is_some());
        let (kill, policy, says_how) = (None, None, seen.says_how);
        Self {
            says_how,
            agent,
            state: seen.state,
            stage: Stage::Told,
            uuid,
            acknowledged,
            by_agent,
            known,
            kill,
            policy,
        }
    }

    fn judge(&mut self, seen: &Seen) -> Verdict {
        if seen.uuid.is_some() && seen.uuid == self.uuid {
            return if self.acknowledged { Verdict::Acknowledge } else { Verdict::Drop };
        }
        if seen.uuid.is_none() && self.by_agent && over(self.state) && self.state != seen.state {
            // A master that knows less than the agent, whose last word this was.
            return Verdict::Drop;
        }
        if over(self.state) && !self.state.may_become(seen.state) && self.state != seen.state {
            return stale(seen);
        }
        let same = self.state == seen.state && self.stage != Stage::Claimed;
        // What the master says of its own about an end, or when asked, adds nothing to what is known.
        let known = same && (seen.reconciled || over(seen.state));
        if seen.uuid.is_none() && known {
            return Verdict::Drop;
        }
        self.state = seen.state;
        self.kill.take_if(|_| arrived(seen.state));
        self.stage = Stage::Told;
        self.by_agent = seen.uuid.is_some();
        self.says_how = seen.says_how;
        if seen.uuid.is_some() {
            self.uuid = seen.uuid;
            self.acknowledged = false;
        }
        Verdict::Deliver
    }
}

/// True when a task that is said to be in this state needs no kill any more.
fn arrived(state: TaskState) -> bool {
    state == TaskState::TaskKilling || (over(state) && !is_guess(state))
}

/// What to do with a status of a task that ended otherwise: the agent is to go on to the next, nobody else has to know.
pub(super) fn stale(seen: &Seen) -> Verdict {
    if seen.uuid.is_some() { Verdict::Acknowledge } else { Verdict::Drop }
}

/// True when nothing more is expected of a task in this state; that the master does not know it counts as such.
pub(super) fn over(state: TaskState) -> bool {
    state.is_terminal() || state == TaskState::TaskUnknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_the_master_repeats_of_its_own_is_no_news() {
        let mut tasks = Tasks::default();
        let mut status = TaskStatus { task_id: TaskId { value: "t".into() }, ..TaskStatus::default() };
        status.set_state(TaskState::TaskFailed);
        let by_agent = TaskStatus { uuid: Some(vec![7; 16].into()), ..status.clone() };
        assert_eq!(tasks.judge(&by_agent), Verdict::Deliver);
        status.set_reason(Reason::AgentReregistered);
        assert_eq!(tasks.judge(&status), Verdict::Drop);
    }

    #[test]
    fn agents_without_tasks_are_forgotten() {
        let mut tasks = Tasks::default();
        for (task_id, agent_id) in [("t1", "S1"), ("t2", "S2")] {
            let (task_id, agent_id) = (TaskId::from(task_id), AgentId::from(agent_id));
            tasks.launched(&TaskInfo { task_id, agent_id, ..TaskInfo::default() });
        }
        let gone = TaskStatus { state: TaskState::TaskGone as i32, ..TaskStatus::default() };
        tasks.judge(&TaskStatus { task_id: TaskId { value: "t1".into() }, ..gone });
        tasks.handled("t1", TaskState::TaskGone, None, true);
        tasks.sweep();
        assert_eq!(tasks.agents.iter().map(|agent| &**agent).collect::<Vec<_>>(), ["S2"]);
    }
}
