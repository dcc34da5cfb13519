//! The processing of one input.

use std::sync::Arc;

use super::{Answer, Effect, Event, Order, RequestId, SessionId, outgoing::Outgoing};
use crate::{proto::internal::RegistryChange, transport::outbox::RecordNumber, types::Now};

/// The time of one input, and its effects.
///
/// What an input sends waits for the records that the input makes, and for pending records of the agents and frameworks
/// that it names.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    out: &'a mut Vec<Effect>,
    closing: Vec<SessionId>,
    outgoing: Outgoing,
    /// The record that all effects of this input wait for.
    recorded: RecordNumber,
    /// Effects made, tasks visited and the like; how much of that a turn may do, and the current part of it.
    work: usize,
    most_work: usize,
    limit: usize,
    /// Agents that this input loses; one event to each framework names them all.
    lost: Vec<Arc<str>>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, out: &'a mut Vec<Effect>, outgoing: Outgoing, most_work: usize) -> Self {
        let (closing, lost) = (Vec::new(), Vec::new());
        let limit = most_work;
        Self { now, out, closing, outgoing, recorded: RecordNumber::default(), work: 0, most_work, limit, lost }
    }

    /// Counts work: one unit for each task visited, or for what costs as much.
    pub(super) fn spend(&mut self, work: usize) {
        self.work += work;
    }

    /// Begins one of so many parts of the turn; each has its share of the work, however much the others do.
    pub(super) fn begin_part(&mut self, parts: usize) {
        self.limit = self.work + self.most_work.div_ceil(parts);
    }

    /// Whether work that can wait is left to the next turn.
    pub(super) fn is_spent(&self) -> bool {
        self.work >= self.limit
    }

    /// The records and bytes on their way out.
    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Whether more bytes wait for this peer than its budget; false for one that is not connected.
    pub(super) fn is_over_budget(&self, session: Option<SessionId>) -> bool {
        session.is_some_and(|session| self.outgoing.is_over(session))
    }

    /// Whether the REGISTERED of an agent's session still waits for its record.
    pub(super) fn is_unopened(&self, session: SessionId) -> bool {
        self.outgoing.is_unopened(session)
    }

    /// Makes all further effects of this input wait for the records of this agent or framework.
    pub(super) fn wait_for_records_of(&mut self, subject: &str) {
        self.recorded = self.recorded.max(self.outgoing.after([subject]));
    }

    /// Closes the session at the end of this input, after all messages to it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.closing.push(session);
    }

    /// The sessions that this input closes.
    pub(super) fn closing(&self) -> Vec<SessionId> {
        self.closing.clone()
    }

    /// Reports the agent as lost to every framework, at the end of this input.
    pub(super) fn report_lost(&mut self, agent: &Arc<str>) {
        self.lost.push(agent.clone());
    }

    /// Takes the agents that this input loses, if any.
    pub(super) fn take_lost(&mut self) -> Option<Arc<[Arc<str>]>> {
        (!self.lost.is_empty()).then(|| std::mem::take(&mut self.lost).into())
    }

    /// Ends the input and returns the records and bytes on their way out.
    pub(super) fn end(self) -> Outgoing {
        let after = self.recorded;
        self.out.extend(self.closing.into_iter().map(|session| Effect::Close { session, after }));
        self.outgoing
    }

    /// Sends an event to a framework, if it is connected.
    pub(super) fn send_event(&mut self, session: Option<SessionId>, event: Event) {
        if let Some(session) = session {
            let after = self.outgoing.event(session, &event).max(self.recorded);
            self.work += 1;
            self.out.push(Effect::SendEvent { session, after, event });
        }
    }

    /// Sends an order to an agent, if it is connected.
    pub(super) fn send_order(&mut self, session: Option<SessionId>, order: Order) {
        if let Some(session) = session {
            let after = self.outgoing.order(session, &order).max(self.recorded);
            self.work += 1;
            self.out.push(Effect::SendOrder { session, after, order });
        }
    }

    /// Appends these changes to the registry as one record.
    pub(super) fn persist(&mut self, changes: Vec<RegistryChange>) {
        if !changes.is_empty() {
            self.recorded = self.outgoing.record(&changes);
            self.work += changes.len();
            self.out.push(Effect::Persist { number: self.recorded, changes });
        }
    }

    /// Answers an operator; the answer waits for all records, unless it bypasses the gate.
    pub(super) fn reply(&mut self, request: RequestId, answer: Answer) {
        let after = if answer.bypasses_gate() { RecordNumber::default() } else { self.outgoing.last() };
        self.out.push(Effect::Reply { request, after, answer });
    }
}

/// Why a call was not applied, or only in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) field: String,
    pub(super) text: String,
    /// The rest of the call was applied, and each of its tasks gets a status.
    pub(super) partially_applied: bool,
}

impl Refusal {
    pub(super) fn new(field: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), text: text.into(), partially_applied: false }
    }
}
