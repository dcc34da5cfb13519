//! One input on its way through the core.

use std::sync::Arc;

use super::{Answer, Effect, Event, Order, RequestId, SessionId, outgoing::Outgoing};
use crate::{proto::internal::RegistryChange, transport::outbox::RecordNumber, types::Now};

/// What one input may use: the time it came at and the place for its effects.
///
/// What an input sends follows from what it records, so it waits for that, and for the pending records of those it is about.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    out: &'a mut Vec<Effect>,
    closing: Vec<SessionId>,
    outgoing: Outgoing,
    /// The last record that all effects of this input follow from.
    recorded: RecordNumber,
    /// Effects made, tasks gone through and the like, and how much of that a turn may do, or the part of it at hand.
    work: usize,
    most_work: usize,
    limit: usize,
    /// Agents that this input loses: one event for each framework names all of them.
    lost: Vec<Arc<str>>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, out: &'a mut Vec<Effect>, outgoing: Outgoing, most_work: usize) -> Self {
        let (closing, lost) = (Vec::new(), Vec::new());
        let limit = most_work;
        Self { now, out, closing, outgoing, recorded: RecordNumber::default(), work: 0, most_work, limit, lost }
    }

    /// So many tasks, or what costs as much, were gone through.
    pub(super) fn spend(&mut self, work: usize) {
        self.work += work;
    }

    /// One of so many parts of the turn begins: what the others have to do does not keep it from its share of the work.
    pub(super) fn begin_part(&mut self, parts: usize) {
        self.limit = self.work + self.most_work.div_ceil(parts);
    }

    /// Whether what can wait for the next turn should.
    pub(super) fn is_spent(&self) -> bool {
        self.work >= self.limit
    }

    /// What leaves the core, and what waits.
    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Whether more waits for this peer than may; nothing waits for one that is not connected.
    pub(super) fn is_over_budget(&self, session: Option<SessionId>) -> bool {
        session.is_some_and(|session| self.outgoing.is_over(session))
    }

    /// Whether the first message of an agent's session still waits for its record.
    pub(super) fn is_unopened(&self, session: SessionId) -> bool {
        self.outgoing.is_unopened(session)
    }

    /// What this input sends from here on follows from what was recorded of this agent or framework, too.
    pub(super) fn follow(&mut self, subject: &str) {
        self.recorded = self.recorded.max(self.outgoing.after([subject]));
    }

    /// The session ends with this input, after all that is said to it on the way.
    pub(super) fn close(&mut self, session: SessionId) {
        self.closing.push(session);
    }

    /// The sessions that end with this input.
    pub(super) fn closing(&self) -> Vec<SessionId> {
        self.closing.clone()
    }

    /// The frameworks are to be sent, after all else of this input, that the agent is lost.
    pub(super) fn lose(&mut self, agent: &Arc<str>) {
        self.lost.push(agent.clone());
    }

    /// The agents that this input loses, if it does.
    pub(super) fn take_lost(&mut self) -> Option<Arc<[Arc<str>]>> {
        (!self.lost.is_empty()).then(|| std::mem::take(&mut self.lost).into())
    }

    /// Gives back what leaves the core.
    pub(super) fn end(self) -> Outgoing {
        let after = self.recorded;
        self.out.extend(self.closing.into_iter().map(|session| Effect::Close { session, after }));
        self.outgoing
    }

    pub(super) fn tell(&mut self, session: Option<SessionId>, event: Event) {
        if let Some(session) = session {
            let after = self.outgoing.event(session, &event).max(self.recorded);
            self.work += 1;
            self.out.push(Effect::SendEvent { session, after, event });
        }
    }

    pub(super) fn order(&mut self, session: Option<SessionId>, order: Order) {
        if let Some(session) = session {
            let after = self.outgoing.order(session, &order).max(self.recorded);
            self.work += 1;
            self.out.push(Effect::SendOrder { session, after, order });
        }
    }

    /// All of them are stored, or none.
    pub(super) fn persist(&mut self, changes: Vec<RegistryChange>) {
        if !changes.is_empty() {
            self.recorded = self.outgoing.record(&changes);
            self.work += changes.len();
            self.out.push(Effect::Persist { number: self.recorded, changes });
        }
    }

    /// An answer follows from all that is recorded, unless it stands for no decision.
    pub(super) fn reply(&mut self, request: RequestId, answer: Answer) {
        let after = if answer.bypasses_gate() { RecordNumber::default() } else { self.outgoing.last() };
        self.out.push(Effect::Reply { request, after, answer });
    }
}

/// Why a call was not applied, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) field: String,
    pub(super) text: String,
    /// It was applied otherwise, and its tasks are answered for by their statuses.
    pub(super) partially_applied: bool,
}

impl Refusal {
    pub(super) fn new(field: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), text: text.into(), partially_applied: false }
    }
}
