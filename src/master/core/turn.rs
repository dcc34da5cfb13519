//! One input on its way through the core.

use super::{Effect, Event, Order, SessionId};
use crate::{proto::internal::RegistryChange, types::Now};

/// What one input may use: the time it came at and the place for its effects.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Effect>,
    closing: Vec<SessionId>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, out: &'a mut Vec<Effect>) -> Self {
        Self { now, out, closing: Vec::new() }
    }

    /// The session ends with this input, after all that is said to it on the way.
    pub(super) fn close(&mut self, session: SessionId) {
        self.closing.push(session);
    }

    /// The sessions that end with this input.
    pub(super) fn closing(&self) -> Vec<SessionId> {
        self.closing.clone()
    }

    pub(super) fn end(self) {
        self.out.extend(self.closing.into_iter().map(|session| Effect::Close { session }));
    }

    pub(super) fn tell(&mut self, session: Option<SessionId>, event: Event) {
        if let Some(session) = session {
            self.out.push(Effect::Tell { session, event });
        }
    }

    pub(super) fn order(&mut self, session: Option<SessionId>, order: Order) {
        if let Some(session) = session {
            self.out.push(Effect::Order { session, order });
        }
    }

    /// All of them are stored, or none.
    pub(super) fn persist(&mut self, changes: Vec<RegistryChange>) {
        if !changes.is_empty() {
            self.out.push(Effect::Persist(changes));
        }
    }
}

/// Why a call was not applied, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) field: String,
    pub(super) text: String,
    /// It was applied otherwise, and its tasks are answered for by their statuses.
    pub(super) taken_up: bool,
}

impl Refusal {
    pub(super) fn new(field: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), text: text.into(), taken_up: false }
    }
}
