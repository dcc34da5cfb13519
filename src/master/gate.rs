//! Holds effects back until what has to be durable before them is.
//!
//! Pure: [`Gate::push`] and [`Gate::synced`] return what may leave now, in the order it came. While nothing waits to be
//! synced an effect passes straight through.

use std::collections::VecDeque;

use super::core::Effect;
use crate::proto::internal::RegistryChange;

/// What the gate lets out.
#[derive(Debug)]
pub(crate) enum Released {
    /// Hand to the registry; its completion comes back as [`Gate::synced`] with this number.
    Store { number: u64, changes: Vec<RegistryChange> },
    /// Carry out.
    Effect(Effect),
}

#[derive(Debug)]
enum Held {
    Until(u64),
    Effect(Effect),
}

/// The queue of effects that wait.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    held: VecDeque<Held>,
    stored: u64,
}

impl Gate {
    pub(crate) fn push(&mut self, effect: Effect, out: &mut Vec<Released>) {
        match effect {
            Effect::Persist(changes) => {
                self.stored += 1;
                out.push(Released::Store { number: self.stored, changes });
                self.held.push_back(Held::Until(self.stored));
            }
            other if self.held.is_empty() => out.push(Released::Effect(other)),
            other => self.held.push_back(Held::Effect(other)),
        }
    }

    /// Everything stored up to `number` is synced.
    pub(crate) fn synced(&mut self, number: u64, out: &mut Vec<Released>) {
        while let Some(front) = self.held.pop_front() {
            match front {
                Held::Until(waits) if waits > number => {
                    self.held.push_front(front);
                    return;
                }
                Held::Until(_) => {}
                Held::Effect(effect) => out.push(Released::Effect(effect)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::core::SessionId;

    fn close(session: u64) -> Effect {
        Effect::Close { session: SessionId(session) }
    }

    fn closes(released: &[Released]) -> Vec<u64> {
        let session = |one: &Released| match one {
            Released::Effect(Effect::Close { session }) => Some(session.0),
            Released::Effect(_) | Released::Store { .. } => None,
        };
        released.iter().filter_map(session).collect()
    }

    #[test]
    fn an_effect_leaves_when_all_that_was_stored_before_it_is_synced_and_no_sooner() {
        let (mut gate, mut out) = (Gate::default(), Vec::new());
        gate.push(close(1), &mut out);
        gate.push(Effect::Persist(Vec::new()), &mut out);
        gate.push(close(2), &mut out);
        gate.push(Effect::Persist(Vec::new()), &mut out);
        gate.push(close(3), &mut out);
        assert_eq!(closes(&out), [1]);
        gate.synced(1, &mut out);
        assert_eq!(closes(&out), [1, 2]);
        gate.synced(2, &mut out);
        assert_eq!(closes(&out), [1, 2, 3]);
        gate.push(close(4), &mut out);
        assert_eq!(closes(&out), [1, 2, 3, 4], "nothing waits any more");
    }
}
