//! What the callbacks are still to hear, in which order, and which of it they are at.
//!
//! One batch is out at a time, status updates before offers: offers wait for at most one batch of updates, and what the
//! callback has not begun can still be taken back. All that waits has a bound: statuses by the number of tasks, because
//! an agent has one per task under way; what became of calls, because with [`UNHEARD`] of it no further call is taken; a
//! lost agent waits once; of the connection's ups and downs the last are kept. Only messages are ever lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::{
    framework::event::SchedulerEvent,
    proto::v1::{AgentId, Offer, TaskId, TaskState, TaskStatus},
    types::Now,
};

/// The most events handed to the callbacks at once.
pub(crate) const BATCH: usize = 256;
/// The most messages that wait for a callback.
const MESSAGES: usize = 1024;
/// With so many refusals and doubts that no callback has taken, calls are not taken any more.
pub(crate) const UNHEARD: usize = 1024;
/// The most of them: one for each call that had been taken by then, were all to go wrong.
const UNHEARD_MOST: usize = 2 * 65_536;

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    next: u64,
    queue: VecDeque<SchedulerEvent>,
    messages: usize,
    /// Refusals and doubts.
    unheard: usize,
    /// Agents and executors of which it waits to be told that they are lost.
    failures: BTreeSet<Failed>,
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
        let bound = Bound::of(&event);
        let waits = match &bound {
            Bound::Message => self.messages < MESSAGES,
            Bound::Unheard => self.unheard < UNHEARD_MOST,
            Bound::Failed(failed) if self.failures.contains(failed) => return,
            Bound::Own | Bound::Failed(_) => true,
            Bound::Connection => {
                self.forget_turns_before(&event);
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

    /// The connection came or went as it did before, and the callbacks have not heard of that: what lies between is over.
    fn forget_turns_before(&mut self, event: &SchedulerEvent) {
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
            Bound::Unheard => self.unheard += 1,
            Bound::Failed(failed) => drop(self.failures.insert(failed)),
            Bound::Own | Bound::Connection => {}
        }
    }

    fn uncount(&mut self, event: &SchedulerEvent) {
        match Bound::of(event) {
            Bound::Message => self.messages -= 1,
            Bound::Unheard => self.unheard -= 1,
            Bound::Failed(failed) => drop(self.failures.remove(&failed)),
            Bound::Own | Bound::Connection => {}
        }
    }

    /// True when the callbacks leave so much of what became of calls unheard that no further call is to be taken.
    pub(super) fn are_unheard(&self) -> bool {
        self.unheard >= UNHEARD
    }

    /// True while it costs nothing to look at all that waits after every input.
    pub(super) fn are_few(&self) -> bool {
        self.queue.len() < 64
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
        for event in &events {
            self.uncount(event);
        }
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

    /// How many messages were lost because no callback took them.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn check(&self) {
        assert!(self.under_way.len() <= BATCH + 1, "more than one batch is under way");
        let count = |bound: fn(&Bound) -> bool| self.queue.iter().map(Bound::of).filter(bound).count();
        assert_eq!(self.messages, count(|bound| matches!(bound, Bound::Message)), "the count of messages is off");
        assert_eq!(self.unheard, count(|bound| matches!(bound, Bound::Unheard)), "the count of refusals is off");
        assert_eq!(self.failures.len(), count(|bound| matches!(bound, Bound::Failed(_))), "a loss waits twice");
        assert!(count(|bound| matches!(bound, Bound::Connection)) <= 2, "the connection's turns have no bound");
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

/// An agent that is lost, or an executor of it.
type Failed = (String, Option<String>);

/// What keeps the events of a kind from waiting without end.
#[derive(Debug)]
enum Bound {
    /// Tasks, offers, or that it comes once.
    Own,
    Message,
    Unheard,
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
            SchedulerEvent::Refused(_) | SchedulerEvent::InDoubt(_) => Self::Unheard,
            SchedulerEvent::AgentLost(agent_id) => Self::Failed((agent_id.value.clone(), None)),
            SchedulerEvent::ExecutorLost { executor_id, agent_id, .. } => {
                Self::Failed((agent_id.value.clone(), Some(executor_id.value.clone())))
            }
            SchedulerEvent::Reregistered { .. } | SchedulerEvent::Disconnected => Self::Connection,
        }
    }
}
