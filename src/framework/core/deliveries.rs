//! The queue of events for the callbacks, and the callbacks that are running.
//!
//! One batch is delivered at a time, status updates before offers. Offers wait for at most one batch of updates, and an
//! offer that still waits can be rescinded. The queue is bounded by kind: an agent sends one status per task at a time;
//! with [`OUTCOME_BACKLOG`] call outcomes no further call is accepted; a lost agent waits once; of the connection
//! events the last are kept. Only messages are ever dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::{
    framework::event::SchedulerEvent,
    proto::v1::{AgentId, Offer, TaskId, TaskState, TaskStatus},
    types::Now,
};

/// The most events handed to the callbacks at once.
pub(crate) const BATCH: usize = 256;
/// The most messages that wait for a callback; further ones are dropped.
const MESSAGES: usize = 1024;
/// With so many refusals and launches in doubt in the queue, no further call is accepted.
pub(crate) const OUTCOME_BACKLOG: usize = 1024;
/// The most of them: every call accepted by then may be refused.
const MAX_OUTCOMES: usize = 2 * 65_536;

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    next: u64,
    queue: VecDeque<SchedulerEvent>,
    messages: usize,
    /// Refusals and launches in doubt in the queue.
    outcomes: usize,
    /// Lost agents and executors in the queue.
    failures: BTreeSet<Failed>,
    lost: u64,
    pending: BTreeMap<u64, PendingCallback>,
    /// When the running callback started.
    began_ns: u64,
}

/// A callback that has not returned.
#[derive(Debug)]
pub(super) enum PendingCallback {
    Status(DeliveredStatus),
    Other,
}

/// A status that was delivered to a callback.
#[derive(Debug)]
pub(super) struct DeliveredStatus {
    pub(super) task_id: TaskId,
    pub(super) agent_id: Option<AgentId>,
    pub(super) state: TaskState,
    pub(super) uuid: Option<Bytes>,
    /// Delivered again if the callback fails.
    pub(super) status: Box<TaskStatus>,
}

impl Deliveries {
    pub(super) fn push(&mut self, event: SchedulerEvent) {
        let bound = Bound::of(&event);
        let waits = match &bound {
            Bound::Message => self.messages < MESSAGES,
            Bound::CallOutcome => self.outcomes < MAX_OUTCOMES,
            Bound::Failed(failed) if self.failures.contains(failed) => return,
            Bound::Own | Bound::Failed(_) => true,
            Bound::Connection => {
                self.drop_obsolete_connection_events(&event);
                true
            }
        };
        if waits {
            self.count(bound);
            self.queue.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    /// Removes obsolete connection events: those from the first queued event of the same kind on.
    fn drop_obsolete_connection_events(&mut self, event: &SchedulerEvent) {
        let same = |other: &SchedulerEvent| std::mem::discriminant(other) == std::mem::discriminant(event);
        if let Some(first) = self.queue.iter().position(same) {
            let mut place = 0;
            self.queue.retain(|other| {
                place += 1;
                place <= first || !matches!(Bound::of(other), Bound::Connection)
            });
        }
    }

    fn count(&mut self, bound: Bound) {
        match bound {
            Bound::Message => self.messages += 1,
            Bound::CallOutcome => self.outcomes += 1,
            Bound::Failed(failed) => drop(self.failures.insert(failed)),
            Bound::Own | Bound::Connection => {}
        }
    }

    fn uncount(&mut self, event: &SchedulerEvent) {
        match Bound::of(event) {
            Bound::Message => self.messages -= 1,
            Bound::CallOutcome => self.outcomes -= 1,
            Bound::Failed(failed) => drop(self.failures.remove(&failed)),
            Bound::Own | Bound::Connection => {}
        }
    }

    /// True when so many call outcomes wait that no further call is accepted.
    pub(super) fn is_backlog_full(&self) -> bool {
        self.outcomes >= OUTCOME_BACKLOG
    }

    /// True while the queue is small enough to be checked after every input.
    pub(super) fn is_small(&self) -> bool {
        self.queue.len() < 64
    }

    /// True when all callbacks have returned.
    pub(super) fn idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next batch, numbered, without the offers.
    pub(super) fn next_batch(&mut self, now: Now) -> Vec<(u64, SchedulerEvent)> {
        self.began_ns = now.mono_ns;
        let count = self.queue.len().min(BATCH);
        let events: Vec<_> = self.queue.drain(..count).collect();
        for event in &events {
            self.uncount(event);
        }
        events.into_iter().map(|event| (self.begin(&event), event)).collect()
    }

    pub(super) fn offers(&mut self, offers: Vec<Offer>) -> (u64, SchedulerEvent) {
        let event = SchedulerEvent::ResourceOffers(offers);
        (self.begin(&event), event)
    }

    /// The final event, ahead of the queue.
    pub(super) fn last(&mut self, event: SchedulerEvent) -> (u64, SchedulerEvent) {
        (self.begin(&event), event)
    }

    /// Removes a callback that returned; `None` when it was not running.
    pub(super) fn returned(&mut self, now: Now, callback: u64) -> Option<PendingCallback> {
        self.began_ns = now.mono_ns;
        self.pending.remove(&callback)
    }

    /// When the running callback started; `None` when none runs.
    pub(super) fn busy_since_ns(&self) -> Option<u64> {
        if self.idle() { None } else { Some(self.began_ns) }
    }

    /// The number of dropped messages.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn check(&self) {
        assert!(self.pending.len() <= BATCH + 1, "more than one batch was delivered");
        let count = |bound: fn(&Bound) -> bool| self.queue.iter().map(Bound::of).filter(bound).count();
        assert_eq!(self.messages, count(|bound| matches!(bound, Bound::Message)), "the count of messages is wrong");
        assert_eq!(self.outcomes, count(|bound| matches!(bound, Bound::CallOutcome)), "the count of refusals is wrong");
        assert_eq!(
            self.failures.len(),
            count(|bound| matches!(bound, Bound::Failed(_))),
            "a lost agent or executor waits twice"
        );
        assert!(count(|bound| matches!(bound, Bound::Connection)) <= 2, "connection events have no bound");
    }

    fn begin(&mut self, event: &SchedulerEvent) -> u64 {
        self.next += 1;
        let pending = match event {
            SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status) => {
                PendingCallback::Status(DeliveredStatus::of(status))
            }
            SchedulerEvent::Registered { .. }
            | SchedulerEvent::Reregistered { .. }
            | SchedulerEvent::Disconnected
            | SchedulerEvent::ResourceOffers(_)
            | SchedulerEvent::OfferRescinded(_)
            | SchedulerEvent::FrameworkMessage { .. }
            | SchedulerEvent::AgentLost(_)
            | SchedulerEvent::ExecutorLost { .. }
            | SchedulerEvent::Refused(_)
            | SchedulerEvent::InDoubt(_)
            | SchedulerEvent::Error(_) => PendingCallback::Other,
        };
        self.pending.insert(self.next, pending);
        self.next
    }
}

impl DeliveredStatus {
    fn of(status: &TaskStatus) -> Self {
        Self {
            task_id: status.task_id.clone(),
            agent_id: status.agent_id.clone(),
            state: status.state(),
            uuid: status.uuid.clone(),
            status: Box::new(status.clone()),
        }
    }
}

/// A lost agent, or a lost executor of it.
type Failed = (String, Option<String>);

/// The bound on queued events of a kind.
#[derive(Debug)]
enum Bound {
    /// Bounded elsewhere: by task, by offer, or delivered once.
    Own,
    Message,
    CallOutcome,
    Failed(Failed),
    Connection,
}

impl Bound {
    fn of(event: &SchedulerEvent) -> Self {
        match event {
            SchedulerEvent::Registered { .. }
            | SchedulerEvent::ResourceOffers(_)
            | SchedulerEvent::OfferRescinded(_)
            | SchedulerEvent::StatusUpdate(_)
            | SchedulerEvent::UnknownTask(_)
            | SchedulerEvent::Error(_) => Self::Own,
            SchedulerEvent::FrameworkMessage { .. } => Self::Message,
            SchedulerEvent::Refused(_) | SchedulerEvent::InDoubt(_) => Self::CallOutcome,
            SchedulerEvent::AgentLost(agent_id) => Self::Failed((agent_id.value.clone(), None)),
            SchedulerEvent::ExecutorLost { executor_id, agent_id, .. } => {
                Self::Failed((agent_id.value.clone(), Some(executor_id.value.clone())))
            }
            SchedulerEvent::Reregistered { .. } | SchedulerEvent::Disconnected => Self::Connection,
        }
    }
}
