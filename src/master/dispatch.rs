//! Executes the core's effects: queues messages for sessions, sends changes to the registry, and answers requests.
//!
//! The core names the record on which each effect depends. The effect is sent once that record is durable.

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

/// Executes the effects of the core.
#[derive(Debug)]
pub(super) struct Dispatch {
    store: mpsc::Sender<Store>,
    /// What this turn sends there.
    stores: Vec<Store>,
    durable: Durable,
    outboxes: HashMap<SessionId, AnyOutbox>,
    /// Requests without an answer.
    replies: HashMap<RequestId, oneshot::Sender<Answer>>,
    requests: u64,
    /// The records that are not durable yet, and since when.
    unsynced: VecDeque<(RecordNumber, Now)>,
    /// Answers whose record is not durable yet.
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

    pub(super) fn add_session(&mut self, session: SessionId, outbox: AnyOutbox) {
        self.outboxes.insert(session, outbox);
    }

    /// Removes the session's queue; messages in it are still sent.
    pub(super) fn remove_session(&mut self, session: SessionId) {
        self.outboxes.remove(&session);
    }

    /// Creates a request whose answer is sent to `reply`.
    pub(super) fn add_request(&mut self, reply: oneshot::Sender<Answer>) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.replies.insert(request, reply);
        request
    }

    /// Since when the oldest unsynced record has been pending.
    pub(super) fn unsynced_since(&self) -> Option<Now> {
        self.unsynced.front().map(|(_, since)| *since)
    }

    /// Marks every record up to this one as durable.
    pub(super) fn synced(&mut self, number: RecordNumber) {
        while self.unsynced.pop_front_if(|(stored, _)| *stored <= number).is_some() {}
        self.durable.advance(number);
    }

    /// Sends the held answers whose records are durable.
    pub(super) fn send_durable_answers(&mut self) {
        let durable = self.durable.number();
        while let Some((_, request, answer)) = self.held.pop_front_if(|(after, ..)| *after <= durable) {
            self.answer(request, answer);
        }
    }

    /// Sends the changes of this turn to the registry.
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
            // The requester may have disconnected.
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
            // Answers stay in order: each waits for all earlier records.
            Effect::Reply { request, after, answer } => self.held.push_back((after, request, answer)),
        }
    }
}
