//! Asking the master what became of the tasks: after every (re)registration and now and then.
//!
//! Each round asks for all there is and, task by task, for those the driver knows; the latter again, at growing
//! intervals, until each was answered. An answer that tells nothing new does not reach the callback.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::Rng as _;

use super::{Driver, input::Effect, link::Sent, wire};
use crate::{proto::v1::TaskId, types::Now};

const FIRST_WAIT: Duration = Duration::from_secs(8);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// Tasks asked for in one call.
const PER_CALL: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    unanswered: BTreeSet<Arc<str>>,
    wait: Duration,
    again_ns: Option<u64>,
    next_round_ns: Option<u64>,
}

impl Reconciliation {
    pub(super) fn answered(&mut self, task_id: &str) {
        if !self.unanswered.is_empty() && self.unanswered.remove(task_id) && self.unanswered.is_empty() {
            self.again_ns = None;
        }
    }

    /// There is no master to ask.
    pub(super) fn pause(&mut self) {
        *self = Self::default();
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        [self.again_ns, self.next_round_ns].into_iter().flatten().min()
    }
}

impl Driver {
    /// Begins a round.
    pub(super) fn reconcile_all(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.reconciliation.unanswered = self.tasks.live_ids().cloned().collect();
        self.reconciliation.wait = FIRST_WAIT;
        let every = self.options.reconcile_every.mul_f64(self.rng.random_range(0.9..1.1));
        self.reconciliation.next_round_ns = Some(now.mono_after(every));
        self.ask(now, out);
        self.send(wire::reconcile(Vec::new()), 0, Sent::Plain, out);
    }

    pub(super) fn reconcile_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due = |at: Option<u64>| at.is_some_and(|at_ns| at_ns <= now.mono_ns);
        if due(self.reconciliation.next_round_ns) {
            self.tasks.sweep();
            self.reconcile_all(now, out);
        } else if due(self.reconciliation.again_ns) {
            self.reconciliation.wait = self.reconciliation.wait.saturating_mul(2).min(LAST_WAIT);
            self.ask(now, out);
        }
    }

    fn ask(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.reconciliation.unanswered.is_empty() {
            self.reconciliation.again_ns = None;
            return;
        }
        self.reconciliation.again_ns = Some(now.mono_after(self.reconciliation.wait));
        let named = |task_id: &Arc<str>| (TaskId { value: task_id.to_string() }, self.tasks.agent_of(task_id));
        let tasks: Vec<_> = self.reconciliation.unanswered.iter().map(named).collect();
        for some in tasks.chunks(PER_CALL) {
            self.send(wire::reconcile(some.to_vec()), 0, Sent::Plain, out);
        }
    }
}
