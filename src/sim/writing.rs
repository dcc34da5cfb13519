//! The master's writing: what may leave the queues of its sessions becomes frames on their links.

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
    transport::outbox::{Message, RecordNumber, SessionQueue, Taken},
    types::Now,
};

/// The version of the scheduler stream, told in the first frame.
const VERSION: u32 = 1;

impl World {
    pub(super) fn flush_master(&mut self) {
        let Some(process) = &mut self.master.process else { return };
        for session in std::mem::take(&mut process.waiting) {
            self.flush_session(session);
        }
    }

    /// Writes what may leave to a peer: in one frame or, when the writer was quick, in several.
    fn flush_session(&mut self, session: SessionId) {
        let now = self.time(Node::Master);
        loop {
            let Some(process) = &mut self.master.process else { return };
            let durable = process.durable;
            let Some(known) = process.sessions.get_mut(&session).filter(|known| !known.closing) else { return };
            let link = known.link;
            let written = process.written.entry(session).or_default();
            let is_over = match &mut known.outbox {
                Outbox::Framework(queue) => match take(queue, now, durable, written) {
                    Taken::Frame(events) => {
                        self.write_events(session, link, events);
                        continue;
                    }
                    Taken::Wait(_) => false,
                    Taken::End => true,
                },
                Outbox::Agent(queue) => match take(queue, now, durable, written) {
                    Taken::Frame(orders) => {
                        self.write_orders(session, link, orders);
                        continue;
                    }
                    Taken::Wait(_) => false,
                    Taken::End => true,
                },
            };
            if is_over {
                known.closing = true;
                self.send(link, End::Client, Frame::Closed);
            }
            return;
        }
    }

    fn write_events(&mut self, session: SessionId, link: LinkId, events: Vec<Event>) {
        let events: Vec<Event> = joined(events).into_iter().map(|event| self.sabotage_event(session, event)).collect();
        for event in &events {
            self.fact(Fact::Told { session, event: event.clone() });
        }
        let split = self.chance.network.random_range(1..=16);
        for part in events.chunks(split) {
            let Some(process) = &mut self.master.process else { return };
            let Some(known) = process.sessions.get_mut(&session) else { return };
            let version = if std::mem::replace(&mut known.greeted, true) { 0 } else { VERSION };
            let frame = Frame::Events(outgo::framework_frame(&process.facts, version, part.to_vec()));
            self.send(link, End::Client, frame);
        }
    }

    fn write_orders(&mut self, session: SessionId, link: LinkId, orders: Vec<Order>) {
        let orders: Vec<Order> = orders.into_iter().flat_map(|order| self.sabotage_order(session, order)).collect();
        for order in &orders {
            self.note_launch(order);
            self.fact(Fact::Ordered { session, order: order.clone() });
        }
        let split = self.chance.network.random_range(1..=16);
        for part in orders.chunks(split) {
            self.send(link, End::Client, Frame::Orders(outgo::agent_frame(part.to_vec())));
        }
    }
}

/// Takes what may leave and counts what that frees.
fn take<M: Message>(queue: &mut SessionQueue<M>, now: Now, durable: RecordNumber, written: &mut usize) -> Taken<M> {
    let taken = queue.take(now, durable);
    *written += queue.take_freed();
    taken
}

/// With the offers of neighbouring events in one, as they leave in a frame.
fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::with_capacity(events.len());
    for event in events {
        match (joined.last_mut(), event) {
            (Some(Event::Offers(all)), Event::Offers(more)) => all.extend(more),
            (_, event) => joined.push(event),
        }
    }
    joined
}
