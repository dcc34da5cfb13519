//! Carries the core's effects out: into the queues of the sessions, to the registry, and back to those who asked.
//!
//! The core says which record each effect follows from; it leaves when that is durable.

use std::collections::{HashMap, VecDeque};

use tokio::sync::{mpsc, oneshot};

use super::{
    core::{Answer, Effect, Event, Order, RequestId, SessionId},
    registry_thread::Store,
};
use crate::{
    harness::Outlet,
    transport::outbox::{Durable, Outbox, RecordNumber},
    types::Now,
};

/// The queue of a session.
#[derive(Clone, Debug)]
pub(super) enum AnyOutbox {
    Framework(Outbox<Event>),
    Agent(Outbox<Order>),
}

/// Where effects go.
#[derive(Debug)]
pub(super) struct Dispatch {
    store: mpsc::Sender<Store>,
    /// What is to go there.
    stores: Vec<Store>,
    durable: Durable,
    outboxes: HashMap<SessionId, AnyOutbox>,
    /// Requests that have no answer yet.
    replies: HashMap<RequestId, oneshot::Sender<Answer>>,
    requests: u64,
    /// The records that are not durable yet, and since when.
    unsynced: VecDeque<(RecordNumber, Now)>,
    /// Answers that wait for their record.
    held: VecDeque<(RecordNumber, RequestId, Answer)>,
}

impl Dispatch {
    pub(super) fn new(store: mpsc::Sender<Store>, durable: Durable) -> Self {
        Self {
            store,
            stores: Vec::new(),
            durable,
            outboxes: HashMap::new(),
            replies: HashMap::new(),
            requests: 0,
            unsynced: VecDeque::new(),
            held: VecDeque::new(),
        }
    }

    pub(super) fn open(&mut self, session: SessionId, outbox: AnyOutbox) {
        self.outboxes.insert(session, outbox);
    }

    /// The core sends nothing to this session any more; what waits for it still leaves.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.outboxes.remove(&session);
    }

    /// A request whose answer goes there.
    pub(super) fn await_answer(&mut self, reply: oneshot::Sender<Answer>) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.replies.insert(request, reply);
        request
    }

    /// Since when the registry has not confirmed the oldest of what it was given.
    pub(super) fn waits_since(&self) -> Option<Now> {
        self.unsynced.front().map(|(_, since)| *since)
    }

    /// The registry has everything up to this record.
    pub(super) fn synced(&mut self, number: RecordNumber) {
        while self.unsynced.pop_front_if(|(stored, _)| *stored <= number).is_some() {}
        self.durable.advance(number);
    }

    /// Gives the answers that need not wait for the registry any more.
    pub(super) fn answer_held(&mut self) {
        let durable = self.durable.number();
        while let Some((_, request, answer)) = self.held.pop_front_if(|(after, ..)| *after <= durable) {
            self.answer(request, answer);
        }
    }

    /// Hands to the registry what this turn has recorded.
    ///
    /// # Errors
    /// When the registry's thread has ended.
    pub(super) async fn send_stores(&mut self) -> Result<(), String> {
        for store in self.stores.drain(..) {
            let sent = self.store.send(store).await;
            sent.map_err(|_closed| "the registry's thread has ended".to_owned())?;
        }
        Ok(())
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some(reply) = self.replies.remove(&request) {
            // Who asked may have gone meanwhile.
            drop(reply.send(answer));
        }
    }
}

impl Outlet<Effect> for Dispatch {
    fn take(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Persist { number, changes } => {
                self.unsynced.push_back((number, now));
                self.stores.push((number.0, changes));
            }
            Effect::SendEvent { session, after, event } => {
                if let Some(AnyOutbox::Framework(outbox)) = self.outboxes.get(&session) {
                    outbox.push(now, after, event.into_parts());
                }
            }
            Effect::SendOrder { session, after, order } => {
                if let Some(AnyOutbox::Agent(outbox)) = self.outboxes.get(&session) {
                    outbox.push(now, after, [order]);
                }
            }
            Effect::Close { session, after } => match self.outboxes.get(&session) {
                Some(AnyOutbox::Framework(outbox)) => outbox.close(now, after),
                Some(AnyOutbox::Agent(outbox)) => outbox.close(now, after),
                None => {}
            },
            Effect::Reply { request, answer, .. } if answer.bypasses_gate() => self.answer(request, answer),
            // Answers keep their order: each waits for all that was recorded before it.
            Effect::Reply { request, after, answer } => self.held.push_back((after, request, answer)),
        }
    }
}
