//! Keeps the order rule: an effect leaves when every earlier `Persist` has reached its level.
//!
//! What is to be written at the level *process* is written before anything of the same batch leaves, so only the level
//! *host* makes effects wait here, for the sync their ticket names. Answers to pings do not wait: a disk that is slow to
//! sync makes no agent look gone.

use std::collections::VecDeque;

use super::sync::Ticket;
use crate::agent::core::Effect;

/// Effects that wait for the disk, in order.
#[derive(Debug, Default)]
pub(super) struct Gate {
    held: VecDeque<Held>,
}

#[derive(Debug)]
enum Held {
    Until(Ticket),
    Effect(Effect),
}

impl Gate {
    /// Nothing that comes after this leaves before the ticket is done.
    pub(super) fn close(&mut self, until: Ticket) {
        self.held.push_back(Held::Until(until));
    }

    /// Gives the effect back when it may leave at once.
    pub(super) fn pass(&mut self, effect: Effect) -> Option<Effect> {
        if self.held.is_empty() || effect.asserts_nothing() {
            return Some(effect);
        }
        self.held.push_back(Held::Effect(effect));
        None
    }

    /// The disk has everything up to the ticket: gives the next effect that may leave now.
    pub(super) fn release(&mut self, synced: Ticket) -> Option<Effect> {
        loop {
            match self.held.pop_front()? {
                Held::Until(ticket) if ticket <= synced => {}
                Held::Effect(effect) => return Some(effect),
                wait @ Held::Until(_) => {
                    self.held.push_front(wait);
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::core::SessionId;
    use crate::proto::internal::{AgentMessage, Pong, agent_message};

    fn effect(number: u64) -> Effect {
        Effect::Attach { session: SessionId(number), turn: 0, leader: None }
    }

    #[test]
    fn effects_leave_in_order_and_not_before_their_sync() {
        let mut gate = Gate::default();
        assert_eq!(gate.pass(effect(1)), Some(effect(1)));
        let (first, second) = (Ticket::numbered(1), Ticket::numbered(2));
        gate.close(first);
        assert_eq!(gate.pass(effect(2)), None);
        gate.close(second);
        assert_eq!(gate.pass(effect(3)), None);
        assert_eq!(gate.release(Ticket::numbered(0)), None);
        assert_eq!(gate.release(first), Some(effect(2)));
        assert_eq!(gate.release(first), None);
        assert_eq!(gate.pass(effect(4)), None);
        assert_eq!(gate.release(second), Some(effect(3)));
        assert_eq!(gate.release(second), Some(effect(4)));
        assert_eq!(gate.pass(effect(5)), Some(effect(5)));
    }

    #[test]
    fn an_answer_to_a_ping_does_not_wait_for_the_disk() {
        let mut gate = Gate::default();
        gate.close(Ticket::numbered(1));
        assert_eq!(gate.pass(effect(1)), None);
        let message = AgentMessage { kind: Some(agent_message::Kind::Pong(Pong {})) };
        let pong = Effect::Send { session: SessionId(1), message };
        assert_eq!(gate.pass(pong.clone()), Some(pong));
        assert_eq!(gate.release(Ticket::numbered(1)), Some(effect(1)));
    }
}
