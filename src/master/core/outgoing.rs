//! Outgoing effects: the record that each waits for, and the unread bytes of each session.
//!
//! An effect waits for the record of its own input, and for pending records of the agents and frameworks that it names.
//! Every byte is charged to its session when it leaves the core, and freed when the shell reports it written. So the
//! core alone decides what a slow reader is sent.

use std::collections::BTreeMap;

use super::{Event, Order, SessionId};
use crate::{
    proto::internal::{RegistryChange, registry_change::Kind},
    transport::outbox::{Limits, Message as _, RecordNumber},
};

/// The bytes that wait to be read in one session.
#[derive(Debug, Default)]
struct Unread {
    bytes: usize,
    /// It went over its budget, and more than half of the budget is still unread.
    is_over: bool,
}

/// Records and bytes on their way out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    limits: Limits,
    last: RecordNumber,
    /// The last record of each agent and framework that is not durable yet, by id.
    pending: BTreeMap<String, RecordNumber>,
    sessions: BTreeMap<SessionId, Unread>,
    total_bytes: usize,
    /// Sessions that went over their budget or are within it again.
    changed: Vec<SessionId>,
    /// Sessions of agents whose REGISTERED waits for this record.
    unopened: BTreeMap<SessionId, RecordNumber>,
}

impl Outgoing {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The number of the last record.
    pub(super) fn last(&self) -> RecordNumber {
        self.last
    }

    /// Numbers a record and notes the agents and frameworks that it changes.
    pub(super) fn record(&mut self, changes: &[RegistryChange]) -> RecordNumber {
        self.last.0 += 1;
        for subject in changes.iter().filter_map(subject) {
            self.pending.insert(subject.to_owned(), self.last);
        }
        self.last
    }

    /// Marks everything up to this number as durable.
    pub(super) fn synced(&mut self, number: RecordNumber) {
        self.pending.retain(|_, record| *record > number);
        self.unopened.retain(|_, record| *record > number);
    }

    /// The last pending record of these agents and frameworks.
    pub(super) fn after<'a>(&self, subjects: impl IntoIterator<Item = &'a str>) -> RecordNumber {
        if self.pending.is_empty() {
            return RecordNumber::default();
        }
        subjects.into_iter().filter_map(|subject| self.pending.get(subject)).copied().max().unwrap_or_default()
    }

    /// Charges an event to the session; returns the record that the event waits for.
    pub(super) fn event(&mut self, session: SessionId, event: &Event) -> RecordNumber {
        self.charge(session, event.weight());
        match event {
            Event::Subscribed { framework, .. } => self.after([&**framework]),
            Event::Offers(offers) => self.after(offers.iter().map(|offer| &*offer.agent)),
            Event::Updated { status } => self.after(status.agent_id.as_ref().map(|id| id.value.as_str())),
            Event::Message { agent, .. } => self.after([&**agent]),
            Event::Failures { agents } => self.after(agents.iter().map(|agent| &**agent)),
            Event::Rescinded { .. }
            | Event::Error { .. }
            | Event::Heartbeat
            | Event::Applied { .. }
            | Event::Refused { .. }
            | Event::OperationFailed { .. } => RecordNumber::default(),
        }
    }

    /// The same for an order.
    pub(super) fn order(&mut self, session: SessionId, order: &Order) -> RecordNumber {
        self.charge(session, order.weight());
        match order {
            Order::Registered(registered) => {
                let removed = registered.removed_frameworks.iter().map(String::as_str);
                let after = self.after(removed.chain([registered.agent_id.as_str()]));
                if after > RecordNumber::default() {
                    self.unopened.insert(session, after);
                }
                after
            }
            Order::Run { framework, .. }
            | Order::Kill { framework, .. }
            | Order::Acknowledge { framework, .. }
            | Order::UpdateFramework { framework, .. }
            | Order::Shutdown { framework }
            | Order::Message { framework, .. } => self.after([&**framework]),
            Order::Refused { .. } | Order::Ping | Order::Gone => RecordNumber::default(),
        }
    }

    fn charge(&mut self, session: SessionId, bytes: usize) {
        let unread = self.sessions.entry(session).or_default();
        unread.bytes += bytes;
        self.total_bytes += bytes;
        let allowance = self.allowance();
        if let Some(unread) = self.sessions.get_mut(&session)
            && unread.bytes > allowance
            && !unread.is_over
        {
            unread.is_over = true;
            self.changed.push(session);
        }
    }

    fn allowance(&self) -> usize {
        self.limits.allowance(self.total_bytes, self.sessions.len())
    }

    /// Frees bytes that were written or dropped.
    pub(super) fn written(&mut self, session: SessionId, bytes: usize) {
        let allowance = self.allowance();
        let Some(unread) = self.sessions.get_mut(&session) else { return };
        let freed = bytes.min(unread.bytes);
        unread.bytes -= freed;
        self.total_bytes -= freed;
        if unread.is_over && unread.bytes <= allowance / 2 {
            unread.is_over = false;
            self.changed.push(session);
        }
    }

    /// Whether the session's REGISTERED still waits for its record.
    pub(super) fn is_unopened(&self, session: SessionId) -> bool {
        self.unopened.contains_key(&session)
    }

    /// Forgets a session that its peer has closed, too.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.unopened.remove(&session);
        if let Some(unread) = self.sessions.remove(&session) {
            self.total_bytes -= unread.bytes;
        }
    }

    /// Whether the session is over its budget: its peer gets no offers, and answers wait.
    pub(super) fn is_over(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|unread| unread.is_over)
    }

    /// The unread bytes of the session, as far as the core knows.
    #[cfg(test)]
    pub(super) fn unread_bytes(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |unread| unread.bytes)
    }

    /// Takes the sessions that went over their budget, or came within it, since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.changed)
    }

    /// Asserts that the charges add up.
    pub(super) fn check(&self) {
        let sum: usize = self.sessions.values().map(|unread| unread.bytes).sum();
        assert_eq!(sum, self.total_bytes, "the bytes that wait add up");
    }
}

#[cfg(any(test, feature = "sim"))]
impl super::Master {
    /// The bytes charged to each session.
    pub(crate) fn charged_bytes(&self) -> impl Iterator<Item = (SessionId, usize)> {
        self.outgoing.sessions.iter().map(|(session, unread)| (*session, unread.bytes))
    }

    /// Whether the session is over its budget.
    pub(crate) fn is_over_budget(&self, session: SessionId) -> bool {
        self.outgoing.is_over(session)
    }
}

/// The agent or framework that a change is about.
fn subject(change: &RegistryChange) -> Option<&str> {
    match change.kind.as_ref()? {
        Kind::AgentAdmitted(info) => info.id.as_ref().map(|id| id.value.as_str()),
        Kind::AgentUnreachable(unreachable) => Some(&unreachable.agent_id),
        Kind::AgentGone(gone) => Some(&gone.agent_id),
        Kind::FrameworkRun(run) => Some(&run.framework_id),
        Kind::FrameworkTombstone(tombstone) => Some(&tombstone.framework_id),
        Kind::AgentReachable(id)
        | Kind::AgentRemoved(id)
        | Kind::AgentForgotten(id)
        | Kind::FrameworkRemoved(id)
        | Kind::FrameworkForgotten(id) => Some(id),
        Kind::Weight(_) | Kind::Quotas(_) => None,
    }
}
