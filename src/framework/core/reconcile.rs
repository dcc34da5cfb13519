//! Reconciliation of the tasks with the master: after every (re)registration and periodically.
//!
//! A run asks for each task that the driver knows, then for all tasks of the master. It asks for unanswered tasks again
//! after 8 s, 16 s and then every 30 s, because a master sends no answer while the agent may still re-register. If that
//! took several rounds, it asks for all tasks once more, for those of agents that re-registered meanwhile. One run is
//! active at a time; a later one adds its questions. A question carries the task's partition policy, for a master that
//! does not know the task, and a pending kill is resent with it. A repeated answer is not delivered.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::Rng as _;

use super::{Driver, input::Effect, loss_deadlines::LossDeadlines, master_link::Sent, wire};
use crate::{
    proto::v1::{AgentId, TaskId, TaskState, TaskStatus, scheduler::call},
    types::Now,
};

const FIRST_WAIT: Duration = Duration::from_secs(8);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// The most tasks in one call.
const PER_CALL: usize = 1000;
/// The interval of [`Tasks::sweep`](super::tasks::Tasks::sweep) without periodic reconciliation.
const SWEEP: Duration = Duration::from_mins(15);

#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    unanswered: BTreeSet<Arc<str>>,
    wait: Duration,
    /// The rounds of this run, the first included.
    rounds: u32,
    next_round_ns: Option<u64>,
    next_run_ns: Option<u64>,
    /// Unreachable tasks that a partition policy will count as lost.
    loss_deadlines: LossDeadlines,
    runs: u64,
}

impl Reconciliation {
    /// Drops the state of the run: the connection was lost.
    pub(super) fn reset(&mut self) {
        *self = Self { runs: self.runs, ..Self::default() };
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        [self.next_round_ns, self.next_run_ns, self.loss_deadlines.deadline_ns()].into_iter().flatten().min()
    }

    /// The number of runs started.
    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    /// The number of tasks without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}

impl Driver {
    /// Starts a run, or adds its questions to the active one.
    pub(super) fn reconcile_all(&mut self, now: Now, out: &mut Vec<Effect>) {
        let every = self.options.reconcile_every.unwrap_or(SWEEP).mul_f64(self.rng.random_range(0.9..1.1));
        let run = &mut self.reconciliation;
        if run.unanswered.is_empty() {
            (run.wait, run.rounds) = (FIRST_WAIT, 0);
        }
        run.unanswered.extend(self.tasks.tasks_to_query().cloned());
        run.next_run_ns = Some(now.mono_after(every));
        run.runs += 1;
        self.query_unanswered(now, out);
        self.query_all(out);
    }

    pub(super) fn reconcile_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due = |at: Option<u64>| at.is_some_and(|at_ns| at_ns <= now.mono_ns);
        if due(self.reconciliation.next_run_ns) {
            self.tasks.sweep();
            if self.options.reconcile_every.is_some() {
                return self.reconcile_all(now, out);
            }
            self.reconciliation.next_run_ns = Some(now.mono_after(SWEEP));
        }
        if due(self.reconciliation.next_round_ns) {
            self.reconciliation.wait = self.reconciliation.wait.saturating_mul(2).min(LAST_WAIT);
            self.query_unanswered(now, out);
        }
        let overdue = self.reconciliation.loss_deadlines.due(now);
        let overdue: Vec<_> = overdue.into_iter().filter(|task_id| self.tasks.is_unreachable(task_id)).collect();
        self.query_tasks(&overdue, out);
    }

    /// Asks for a task without any status until the master answers.
    pub(super) fn query_until_answered(&mut self, now: Now, task_id: &str) {
        let run = &mut self.reconciliation;
        if run.unanswered.is_empty() {
            (run.wait, run.rounds) = (FIRST_WAIT, 0);
        }
        run.unanswered.insert(task_id.into());
        run.next_round_ns.get_or_insert_with(|| now.mono_after(run.wait));
    }

    /// Schedules a question for the time when an unreachable task counts as lost by its policy. A master that started
    /// later knows since when the agent is unreachable, but not the task.
    pub(super) fn note_unreachable(&mut self, now: Now, status: &TaskStatus) {
        if status.state() != TaskState::TaskUnreachable {
            return;
        }
        let task_id = status.task_id.value.as_str();
        let policy = self.tasks.policy_of(task_id);
        if let Some(lost_after) = policy.and_then(|policy| policy.lost_after()) {
            let since_ns = status.unreachable_time.map_or(now.wall_ns, |time| time.nanoseconds);
            self.reconciliation.loss_deadlines.schedule(now, task_id, since_ns, lost_after);
        }
    }

    /// A status of the task arrived, which answers the question about it.
    pub(super) fn answered(&mut self, task_id: &str, out: &mut Vec<Effect>) {
        let run = &mut self.reconciliation;
        if !run.unanswered.is_empty() && run.unanswered.remove(task_id) && run.unanswered.is_empty() {
            run.next_round_ns = None;
            if run.rounds > 1 {
                self.query_all(out);
            }
        }
    }

    fn query_all(&mut self, out: &mut Vec<Effect>) {
        self.send(wire::reconcile(Vec::new()), 0, Sent::Plain, out);
    }

    fn query_unanswered(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.reconciliation.unanswered.is_empty() {
            self.reconciliation.next_round_ns = None;
            return;
        }
        self.reconciliation.rounds += 1;
        self.reconciliation.next_round_ns = Some(now.mono_after(self.reconciliation.wait));
        let task_ids: Vec<Arc<str>> = self.reconciliation.unanswered.iter().cloned().collect();
        for task_id in &task_ids {
            self.resend_kill(task_id, out);
        }
        self.query_tasks(&task_ids, out);
    }

    fn query_tasks(&mut self, task_ids: &[Arc<str>], out: &mut Vec<Effect>) {
        for some in task_ids.chunks(PER_CALL) {
            let question =
                |task_id: &Arc<str>| self.question(TaskId { value: task_id.to_string() }, self.tasks.agent_of(task_id));
            let questions = some.iter().map(question).collect();
            self.send(wire::reconcile(questions), 0, Sent::Plain, out);
        }
    }

    pub(super) fn question(&self, task_id: TaskId, agent_id: Option<AgentId>) -> call::reconcile::Task {
        let partition_policy = self.tasks.policy_of(&task_id.value);
        call::reconcile::Task { task_id, agent_id, partition_policy }
    }
}
