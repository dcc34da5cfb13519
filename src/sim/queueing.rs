//! Puts the effects of the master's core into the queues of its sessions.

use super::{
    fact::Fact,
    master::Outbox,
    readers::Reader,
    sabotage::{self, Sabotage},
    world::World,
};
use crate::{
    master::core::{Effect, Event, Order, SessionId},
    proto::{internal::RegistryChange, v1::task_status::Reason},
    transport::outbox::{Class, Message, RecordNumber, SessionQueue},
    types::Now,
};

/// The result of pushing a message into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushed {
    Queued,
    /// It replaced a queued message, or a queued message covers it.
    Merged,
    /// There was no room for it, or the session has ended.
    Dropped,
}

impl World {
    /// Records the core's decisions as facts.
    pub(super) fn record_decisions(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::SendEvent { session, event: Event::Offers(offers), .. } = effect {
                self.fact(Fact::OffersMade { session: *session, offers: offers.clone() });
            }
            if let Effect::Persist { changes, .. } = effect {
                self.fact(Fact::Proposed(changes.clone()));
            }
            if let Effect::SendOrder { session, order: Order::Registered(registered), .. } = effect {
                self.fact(Fact::Admitted { session: *session, agent: registered.agent_id.clone() });
                if !self.readers.is_registered_with {
                    self.count("registration processed over several turns");
                }
            }
            if let Effect::SendEvent { event: Event::Rescinded { offer }, .. } = effect {
                self.fact(Fact::OfferRescinded { offer: *offer });
            }
            if let Effect::SendEvent { session, event: Event::Subscribed { framework, .. }, .. } = effect {
                self.fact(Fact::FrameworkSubscribed { session: *session, framework: framework.clone() });
            }
            if let Effect::SendEvent { session, event: Event::Updated { status }, .. } = effect {
                self.fact(Fact::StatusQueued { session: *session, status: status.clone() });
            }
            if let Effect::Close { session, .. } = effect {
                self.fact(Fact::SessionDropped { session: *session });
            }
        }
    }

    /// Queues the effect; returns the changes to be stored.
    pub(super) fn queue_effect(&mut self, now: Now, effect: Effect) -> Option<(u64, Vec<RegistryChange>)> {
        match effect {
            Effect::Persist { number, changes } => {
                let sabotage = self.sabotage;
                self.master.process.as_mut()?.stored = number;
                let changes = if sabotage::drops_changes(sabotage, &changes) { Vec::new() } else { changes };
                return Some((number.0, changes));
            }
            Effect::SendEvent { session, after, event } => {
                let after = self.sabotage_record_number(after);
                self.push_event(now, session, after, event);
            }
            Effect::SendOrder { session, after, order } => {
                let after = self.sabotage_record_number(after);
                self.push_order(now, session, after, order);
            }
            Effect::Close { session, after } => {
                let process = self.master.process.as_mut()?;
                match &mut process.sessions.get_mut(&session)?.outbox {
                    Outbox::Framework(queue) => queue.close(now, after),
                    Outbox::Agent(queue) => queue.close(now, after),
                }
                process.waiting.insert(session);
            }
            Effect::Reply { .. } => {}
        }
        None
    }

    fn push_event(&mut self, now: Now, session: SessionId, after: RecordNumber, event: Event) {
        let held = self.delays_pings() && event.class() == Class::Urgent;
        let task = task_of(&event);
        if is_answer(&event) && !self.readers.is_asked {
            self.count("answer to RECONCILE of a later turn");
        }
        let Some(event) = self.sabotage_push(session, event) else { return };
        let (limits, mut merged) = (self.plan.master.queues, false);
        let Some(process) = &mut self.master.process else { return };
        let allowance = process.allowance(&limits);
        let Some(known) = process.sessions.get_mut(&session) else { return };
        if held {
            return known.reader.add_freed(event.weight());
        }
        if let Outbox::Framework(queue) = &mut known.outbox {
            for part in event.into_parts() {
                merged |= push(queue, &mut known.reader, now, allowance, after, part) == Pushed::Merged;
            }
            process.waiting.insert(session);
        }
        if let Some(task) = task.filter(|_| merged) {
            self.count("status merged with one that waited");
            self.sabotage_merged(session, &task);
        }
    }

    fn push_order(&mut self, now: Now, session: SessionId, after: RecordNumber, order: Order) {
        let held = self.delays_pings() && order.class() == Class::Urgent;
        let early = self.sabotage == Some(Sabotage::RegistersTooEarly) && matches!(order, Order::Registered(_));
        let after = if early { RecordNumber::default() } else { after };
        let limits = self.plan.master.queues;
        let Some(process) = &mut self.master.process else { return };
        let allowance = process.allowance(&limits);
        let Some(known) = process.sessions.get_mut(&session) else { return };
        if held {
            return known.reader.add_freed(order.weight());
        }
        if let Outbox::Agent(queue) = &mut known.outbox {
            push(queue, &mut known.reader, now, allowance, after, order);
            process.waiting.insert(session);
        }
    }

    fn delays_pings(&self) -> bool {
        let is_behind = self.master.process.as_ref().is_some_and(|process| process.stored > process.durable);
        self.sabotage == Some(Sabotage::HoldsPings) && is_behind
    }
}

fn push<M: Message>(
    queue: &mut SessionQueue<M>,
    reader: &mut Reader,
    now: Now,
    allowance: usize,
    after: RecordNumber,
    message: M,
) -> Pushed {
    let (before, weight) = (queue.bytes(), message.weight());
    reader.add_freed(queue.take_freed());
    queue.push(now, allowance, after, message);
    let freed = queue.take_freed();
    reader.add_freed(freed);
    match queue.take_dropped() {
        0 if freed == 0 => Pushed::Queued,
        0 if queue.end_reason().is_none() && (queue.bytes() != before || freed != weight) => Pushed::Merged,
        _ => Pushed::Dropped,
    }
}

/// The task of a status that has to be acknowledged.
fn task_of(event: &Event) -> Option<String> {
    match event {
        Event::Updated { status } => status.uuid.as_ref().map(|_| status.task_id.value.clone()),
        _ => None,
    }
}

fn is_answer(event: &Event) -> bool {
    matches!(event, Event::Updated { status } if status.uuid.is_none() && status.reason() == Reason::Reconciliation)
}
