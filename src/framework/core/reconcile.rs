//! Asking the master what became of the tasks: after every (re)registration and now and then.
//!
//! A run asks task by task for those the driver knows, then for all there is; the tasks again after 8 s, 16 s and then
//! every 30 s until each was answered, because a master says nothing of tasks on agents that may still come back. When
//! that took several rounds it asks for all there is once more: agents came back meanwhile. One run goes on at a time; a
//! later one adds its questions. With a question goes the kill of the task, if it is to be killed, and its partition
//! policy: a master that does not know the task answers by that. An answer that tells nothing new does not reach the
//! callback.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::Rng as _;

use super::{Driver, input::Effect, link::Sent, wire, write_offs::WriteOffs};
use crate::{
    proto::v1::{AgentId, TaskId, TaskState, TaskStatus, scheduler::call},
    types::Now,
};

const FIRST_WAIT: Duration = Duration::from_secs(8);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// Tasks asked for in one call.
const PER_CALL: usize = 1000;
/// What is remembered is tidied this often when there is no timer to reconcile.
const SWEEP: Duration = Duration::from_mins(15);

#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    unanswered: BTreeSet<Arc<str>>,
    wait: Duration,
    /// Of this run; the first counts.
    rounds: u32,
    again_ns: Option<u64>,
    next_run_ns: Option<u64>,
    /// Unreachable tasks that a policy writes off.
    write_offs: WriteOffs,
    runs: u64,
}

impl Reconciliation {
    /// There is no master to ask.
    pub(super) fn pause(&mut self) {
        *self = Self { runs: self.runs, ..Self::default() };
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        [self.again_ns, self.next_run_ns, self.write_offs.deadline_ns()].into_iter().flatten().min()
    }

    /// Runs begun so far.
    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    /// Tasks of which the master has not said anything since it was asked.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}

impl Driver {
    /// Begins a run, or adds to the one that goes on.
    pub(super) fn reconcile_all(&mut self, now: Now, out: &mut Vec<Effect>) {
        let every = self.options.reconcile_every.unwrap_or(SWEEP).mul_f64(self.rng.random_range(0.9..1.1));
        let run = &mut self.reconciliation;
        if run.unanswered.is_empty() {
            (run.wait, run.rounds) = (FIRST_WAIT, 0);
        }
        run.unanswered.extend(self.tasks.to_be_asked().cloned());
        run.next_run_ns = Some(now.mono_after(every));
        run.runs += 1;
        self.ask(now, out);
        self.ask_for_all(out);
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
        if due(self.reconciliation.again_ns) {
            self.reconciliation.wait = self.reconciliation.wait.saturating_mul(2).min(LAST_WAIT);
            self.ask(now, out);
        }
        let overdue = self.reconciliation.write_offs.due(now);
        let overdue = overdue.into_iter().filter(|task_id| self.tasks.is_unreachable(task_id)).collect();
        self.ask_for(overdue, out);
    }

    /// Nothing is known of the task: it is asked for until the master says what it is.
    pub(super) fn wonder(&mut self, now: Now, task_id: &str) {
        let run = &mut self.reconciliation;
        if run.unanswered.is_empty() {
            (run.wait, run.rounds) = (FIRST_WAIT, 0);
        }
        run.unanswered.insert(task_id.into());
        run.again_ns.get_or_insert(now.mono_after(run.wait));
    }

    /// A task that cannot be reached is asked for again when it counts as lost by its policy: a master that was started
    /// anew knows since when, and not of the task.
    pub(super) fn note_unreachable(&mut self, now: Now, status: &TaskStatus) {
        if status.state() != TaskState::TaskUnreachable {
            return;
        }
        let task_id = status.task_id.value.as_str();
        let policy = self.tasks.policy_of(task_id);
        if let Some(lost_after) = policy.and_then(|policy| policy.lost_after()) {
            let since_ns = status.unreachable_time.map_or(now.wall_ns, |time| time.nanoseconds);
            self.reconciliation.write_offs.expect(now, task_id, since_ns, lost_after);
        }
    }

    /// Something was said of the task.
    pub(super) fn answered(&mut self, task_id: &str, out: &mut Vec<Effect>) {
        let run = &mut self.reconciliation;
        if !run.unanswered.is_empty() && run.unanswered.remove(task_id) && run.unanswered.is_empty() {
            run.again_ns = None;
            if run.rounds > 1 {
                self.ask_for_all(out);
            }
        }
    }

    fn ask_for_all(&mut self, out: &mut Vec<Effect>) {
        self.send(wire::reconcile(Vec::new()), 0, Sent::Plain, out);
    }

    fn ask(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.reconciliation.unanswered.is_empty() {
            self.reconciliation.again_ns = None;
            return;
        }
        self.reconciliation.rounds += 1;
        self.reconciliation.again_ns = Some(now.mono_after(self.reconciliation.wait));
        let task_ids: Vec<Arc<str>> = self.reconciliation.unanswered.iter().cloned().collect();
        for task_id in &task_ids {
            self.kill_again(task_id, out);
        }
        self.ask_for(task_ids, out);
    }

    fn ask_for(&mut self, task_ids: Vec<Arc<str>>, out: &mut Vec<Effect>) {
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
