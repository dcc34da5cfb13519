//! Bugs planted between the master's core and the queues of its sessions.

use std::collections::BTreeSet;

use crate::{
    master::core::{Effect, Event, SessionId},
    proto::v1::task_status::Reason,
    sim::{sabotage::Sabotage, world::World},
    transport::outbox::{Message as _, RecordNumber},
};

/// The state of these bugs.
#[derive(Debug, Default)]
pub(in crate::sim) struct QueueMemory {
    /// Tasks with two statuses queued for a session.
    merged: BTreeSet<(SessionId, String)>,
    /// Answers sent in a later turn.
    answers: u64,
    /// Sessions in which a resent status was lost.
    resent: BTreeSet<SessionId>,
}

impl World {
    /// The record number that an effect waits for.
    pub(in crate::sim) fn sabotage_record_number(&self, after: RecordNumber) -> RecordNumber {
        if self.sabotage == Some(Sabotage::ForgetsRecordNumbers) { RecordNumber::default() } else { after }
    }

    /// The effects without those that the bug loses.
    pub(in crate::sim) fn sabotage_effects(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        if !matches!(self.sabotage, Some(Sabotage::SkipsTasksOfACursor | Sabotage::ForgetsResends)) {
            return effects;
        }
        effects.into_iter().filter(|effect| !self.sabotage_forgets(effect)).collect()
    }

    fn sabotage_forgets(&mut self, effect: &Effect) -> bool {
        let Effect::SendEvent { session, event: event @ Event::Updated { status }, .. } = effect else { return false };
        let forgets = match self.sabotage {
            Some(Sabotage::SkipsTasksOfACursor) if status.uuid.is_none() => {
                let memory = &mut self.planted.queues;
                memory.answers += u64::from(status.reason() == Reason::Reconciliation && !self.readers.is_asked);
                status.reason() == Reason::Reconciliation && memory.answers % 3 == 2
            }
            Some(Sabotage::ForgetsResends) => {
                let again = status.uuid.as_ref().is_some_and(|uuid| self.readers.was_sent(uuid));
                again && self.planted.queues.resent.insert(*session)
            }
            _ => false,
        };
        if forgets {
            self.count_as_written(*session, event.weight());
        }
        forgets
    }

    /// The event that is queued.
    pub(in crate::sim) fn sabotage_push(&mut self, session: SessionId, event: Event) -> Option<Event> {
        match (self.sabotage, &event) {
            (Some(Sabotage::LosesRescinds), Event::Rescinded { .. }) => {
                self.count_as_written(session, event.weight());
                None
            }
            (Some(Sabotage::ChargesNothing), _) => {
                self.count_as_written(session, event.weight());
                Some(event)
            }
            _ => Some(event),
        }
    }

    /// Notes that a status was merged with a queued one.
    pub(in crate::sim) fn sabotage_merged(&mut self, session: SessionId, task: &str) {
        if self.sabotage == Some(Sabotage::LosesMergedStatuses) {
            self.planted.queues.merged.insert((session, task.to_owned()));
        }
    }

    /// The events of a frame that are written.
    pub(in crate::sim) fn sabotage_frame(&mut self, session: SessionId, events: Vec<Event>) -> Vec<Event> {
        if self.planted.queues.merged.is_empty() {
            return events;
        }
        let merged = &mut self.planted.queues.merged;
        let mut is_lost = |event: &Event| match event {
            Event::Updated { status } => merged.remove(&(session, status.task_id.value.clone())),
            _ => false,
        };
        events.into_iter().filter(|event| !is_lost(event)).collect()
    }

    fn count_as_written(&mut self, session: SessionId, bytes: usize) {
        let process = self.master.process.as_mut();
        if let Some(known) = process.and_then(|process| process.sessions.get_mut(&session)) {
            known.reader.add_freed(bytes);
        }
    }
}
