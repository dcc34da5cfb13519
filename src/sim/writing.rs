//! Writes the messages that may leave the master's session queues as frames to their links.

use rand::Rng as _;

use super::{
    fact::Fact,
    links::{End, Frame, LinkId},
    master::Outbox,
    nodes::Node,
    world::World,
};
use crate::{
    master::{
        api::outgo,
        core::{Event, Order, SessionId},
    },
    transport::outbox::Taken,
};

/// The version of the scheduler stream, sent in the first frame.
const VERSION: u32 = 1;

impl World {
    pub(super) fn flush_master(&mut self) {
        let Some(process) = &mut self.master.process else { return };
        for session in std::mem::take(&mut process.waiting) {
            self.flush_session(session, false);
        }
    }

    /// Writes queued messages to a peer as far as it reads, in one or several frames.
    ///
    /// `waited`: whether they waited for their reader.
    pub(super) fn flush_session(&mut self, session: SessionId, waited: bool) {
        let now = self.time(Node::Master);
        while self.takes_frame(session) {
            let Some(process) = &mut self.master.process else { return };
            let durable = process.durable;
            let Some(known) = process.sessions.get_mut(&session).filter(|known| !known.closing) else { break };
            let link = known.link;
            let is_over = match &mut known.outbox {
                Outbox::Framework(queue) => match queue.take(now, durable) {
                    Taken::Frame(events) => {
                        self.took_frame(session);
                        let events = self.sabotage_frame(session, events);
                        self.count_events(&events, waited);
                        self.write_events(session, link, events);
                        continue;
                    }
                    Taken::Wait(_) => false,
                    Taken::End => true,
                },
                Outbox::Agent(queue) => match queue.take(now, durable) {
                    Taken::Frame(orders) => {
                        self.took_frame(session);
                        if waited && orders.iter().any(|order| matches!(order, Order::Run { .. })) {
                            self.count("launch that waited for its reader");
                        }
                        self.write_orders(session, link, orders);
                        continue;
                    }
                    Taken::Wait(_) => false,
                    Taken::End => true,
                },
            };
            if is_over {
                known.closing = true;
                let reason = known.outbox.end_reason().cloned();
                if self.count_end(reason.as_ref()) {
                    self.end_session_soon(link);
                } else {
                    self.send(link, End::Client, Frame::Closed);
                }
            }
            break;
        }
        self.report_written(session);
    }

    fn write_events(&mut self, session: SessionId, link: LinkId, events: Vec<Event>) {
        let events: Vec<Event> =
            join_offers(events).into_iter().map(|event| self.sabotage_event(session, event)).collect();
        for event in &events {
            self.fact(Fact::EventSent { session, event: event.clone() });
        }
        let split = self.chance.network.random_range(1..=16);
        for part in events.chunks(split) {
            let Some(process) = &mut self.master.process else { return };
            let Some(known) = process.sessions.get_mut(&session) else { return };
            let version = if std::mem::replace(&mut known.has_sent_version, true) { 0 } else { VERSION };
            let frame = Frame::Events(outgo::framework_frame(&process.facts, version, part.to_vec()));
            self.send(link, End::Client, frame);
        }
    }

    fn write_orders(&mut self, session: SessionId, link: LinkId, orders: Vec<Order>) {
        let orders: Vec<Order> = orders.into_iter().flat_map(|order| self.sabotage_order(session, order)).collect();
        for order in &orders {
            self.note_launch(order);
            self.fact(Fact::OrderSent { session, order: order.clone() });
        }
        let split = self.chance.network.random_range(1..=16);
        for part in orders.chunks(split) {
            self.send(link, End::Client, Frame::Orders(outgo::agent_frame(part.to_vec())));
        }
    }
}

/// Merges the offers of neighbouring events into one, as a frame carries them.
fn join_offers(events: Vec<Event>) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::with_capacity(events.len());
    for event in events {
        match (joined.last_mut(), event) {
            (Some(Event::Offers(all)), Event::Offers(more)) => all.extend(more),
            (_, event) => joined.push(event),
        }
    }
    joined
}
