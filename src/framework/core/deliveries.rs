//! What the callbacks are still to hear, in which order, and which of it they are at.
//!
//! One batch is out at a time, status updates before offers: offers wait for at most one batch of updates, and what the
//! callback has not begun can still be taken back. Events that may be lost (messages, what became of calls) have a
//! bound of their own; statuses are bounded by the number of tasks, because an agent has one per task under way.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{
    framework::event::SchedulerEvent,
    proto::v1::{AgentId, Offer, TaskId, TaskState, TaskStatus},
    types::Now,
};

/// The most events handed to the callbacks at once.
pub(crate) const BATCH: usize = 256;
/// The most messages and refusals that wait for a callback.
const LOSSY: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    next: u64,
    queue: VecDeque<SchedulerEvent>,
    lossy: usize,
    lost: u64,
    under_way: BTreeMap<u64, UnderWay>,
    /// When the callback that runs now began.
    began_ns: u64,
}

/// What a callback was given, as far as its end has consequences.
#[derive(Debug)]
pub(super) enum UnderWay {
    Status(Told),
    Other,
}

/// A status that a callback was given.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) task_id: TaskId,
    pub(super) agent_id: Option<AgentId>,
    pub(super) state: TaskState,
    pub(super) uuid: Option<Bytes>,
    /// To be told again if need be.
    pub(super) status: Box<TaskStatus>,
}

impl Deliveries {
    pub(super) fn push(&mut self, event: SchedulerEvent) {
        let lossy = is_lossy(&event);
        if lossy && self.lossy >= LOSSY {
            self.lost += 1;
            return;
        }
        self.lossy += usize::from(lossy);
        self.queue.push_back(event);
    }

    /// True when the callbacks are done with all they were given.
    pub(super) fn idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next batch, numbered, without the offers.
    pub(super) fn next_batch(&mut self, now: Now) -> Vec<(u64, SchedulerEvent)> {
        self.began_ns = now.mono_ns;
        let count = self.queue.len().min(BATCH);
        let events: Vec<_> = self.queue.drain(..count).collect();
        self.lossy -= events.iter().filter(|event| is_lossy(event)).count();
        events.into_iter().map(|event| (self.begin(&event), event)).collect()
    }

    pub(super) fn offers(&mut self, offers: Vec<Offer>) -> (u64, SchedulerEvent) {
        let event = SchedulerEvent::ResourceOffers(offers);
        (self.begin(&event), event)
    }

    /// An event after which there is none, past all that waits.
    pub(super) fn last(&mut self, event: SchedulerEvent) -> (u64, SchedulerEvent) {
        (self.begin(&event), event)
    }

    /// A callback ended; `None` when it was not under way.
    pub(super) fn returned(&mut self, now: Now, callback: u64) -> Option<UnderWay> {
        self.began_ns = now.mono_ns;
        self.under_way.remove(&callback)
    }

    /// When the callback that runs now began; `None` when none runs.
    pub(super) fn busy_since_ns(&self) -> Option<u64> {
        if self.idle() { None } else { Some(self.began_ns) }
    }

    /// How many events were lost because no callback took them.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn check(&self) {
        assert!(self.under_way.len() <= BATCH + 1, "more than one batch is under way");
        let lossy = self.queue.iter().filter(|event| is_lossy(event)).count();
        assert_eq!(self.lossy, lossy, "the count of lossy events is off");
    }

    fn begin(&mut self, event: &SchedulerEvent) -> u64 {
        self.next += 1;
        let under_way = match event {
            SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status) => {
                UnderWay::Status(Told::of(status))
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
            | SchedulerEvent::Error(_) => UnderWay::Other,
        };
        self.under_way.insert(self.next, under_way);
        self.next
    }
}

impl Told {
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

fn is_lossy(event: &SchedulerEvent) -> bool {
    matches!(event, SchedulerEvent::FrameworkMessage { .. } | SchedulerEvent::Refused(_) | SchedulerEvent::InDoubt(_))
}
