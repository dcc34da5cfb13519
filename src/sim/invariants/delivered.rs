//! What the master's core sends leaves for as long as the session stands: of each task's statuses the newest that waits, and
//! the withdrawal of each offer that had left.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Invariant, Known, View};
use crate::master::core::{Event, OfferKey, SessionId};

#[derive(Debug, Default)]
pub(super) struct Delivered {
    sessions: BTreeMap<SessionId, Waiting>,
    /// Whose each offer is that has left.
    offers: BTreeMap<OfferKey, SessionId>,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: BTreeSet<String>,
    withdrawn: BTreeSet<OfferKey>,
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
                waiting.withdrawn.remove(offer);
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
            Fact::Sends { session, status } => {
                self.sessions.entry(*session).or_default().tasks.insert(status.task_id.value.clone());
            }
            Fact::Withdrawn { offer } => {
                if let Some(session) = self.offers.get(offer) {
                    self.sessions.entry(*session).or_default().withdrawn.insert(*offer);
                }
            }
            Fact::Told { session, event } => self.left(*session, event),
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
            if let Some(offer) = waiting.withdrawn.first() {
                return Err(format!("{offer:?} was withdrawn, and its framework in {session:?} does not learn of it"));
            }
        }
        Ok(())
    }
}
