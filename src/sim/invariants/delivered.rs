//! Events that the master's core sends leave the master while the session lasts.
//!
//! These are the newest queued status of each task, and the rescind of each offer that had left.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Known, View};
use crate::master::core::{Event, OfferKey, SessionId};

#[derive(Debug, Default)]
pub(super) struct Delivered {
    sessions: BTreeMap<SessionId, Waiting>,
    /// The session of each offer that has left.
    offers: BTreeMap<OfferKey, SessionId>,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: BTreeSet<String>,
    rescinded: BTreeSet<OfferKey>,
}

impl Delivered {
    fn left(&mut self, session: SessionId, event: &Event) {
        match event {
            Event::Updated { status } => {
                let waiting = self.sessions.entry(session).or_default();
                waiting.tasks.remove(&status.task_id.value);
            }
            Event::Offers(offers) => self.offers.extend(offers.iter().map(|offer| (offer.key, session))),
            Event::Rescinded { offer } => {
                self.offers.remove(offer);
                let waiting = self.sessions.entry(session).or_default();
                waiting.rescinded.remove(offer);
            }
            _ => {}
        }
    }
}

impl Invariant for Delivered {
    fn name(&self) -> &'static str {
        "delivered"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => (self.sessions, self.offers) = Default::default(),
            Fact::SessionEnded { session } => drop(self.sessions.remove(session)),
            Fact::StatusQueued { session, status } => {
                self.sessions.entry(*session).or_default().tasks.insert(status.task_id.value.clone());
            }
            Fact::OfferRescinded { offer } => {
                if let Some(session) = self.offers.get(offer) {
                    self.sessions.entry(*session).or_default().rescinded.insert(*offer);
                }
            }
            Fact::EventSent { session, event } => self.left(*session, event),
            _ => {}
        }
        Ok(())
    }

    fn inspect(&mut self, _known: &Known, view: &View<'_>) -> Result<(), String> {
        let Some(process) = &view.world.master.process else { return Ok(()) };
        for (session, waiting) in &self.sessions {
            let Some(known) = process.sessions.get(session) else { continue };
            if known.outbox.bytes() > 0 || known.outbox.end_reason().is_some() {
                continue;
            }
            if let Some(task) = waiting.tasks.first() {
                return Err(format!("a status of {task} was sent in {session:?} and never left"));
            }
            if let Some(offer) = waiting.rescinded.first() {
                return Err(format!("{offer:?} was rescinded, and the rescind never left in {session:?}"));
            }
        }
        Ok(())
    }
}
