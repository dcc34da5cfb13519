//! Holds effects back until what has to be durable before them is.
//!
//! Pure: [`Gate::push`] and [`Gate::synced`] return what may leave now, in the order it came. While nothing waits to be
//! synced an effect passes straight through, and so does always what asserts nothing ([`Effect::asserts_nothing`]): a
//! registry that is slow makes nobody else look gone. On a stream of a framework nothing comes before SUBSCRIBED.

use std::collections::{BTreeSet, VecDeque};

use super::core::{Effect, Event, SessionId};
use crate::{proto::internal::RegistryChange, types::Now};

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
    /// Nothing that comes after it leaves before this number is synced; since when that is waited for.
    Until(u64, Now),
    Effect(Effect),
}

/// The queue of effects that wait.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Empty, or begins with what is waited for.
    held: VecDeque<Held>,
    stored: u64,
    /// Frameworks whose SUBSCRIBED is held.
    opening: BTreeSet<SessionId>,
}

impl Gate {
    pub(crate) fn push(&mut self, now: Now, effect: Effect, out: &mut Vec<Released>) {
        match effect {
            Effect::Persist(changes) => {
                self.stored += 1;
                out.push(Released::Store { number: self.stored, changes });
                self.held.push_back(Held::Until(self.stored, now));
            }
            other if self.held.is_empty() || self.may_overtake(&other) => out.push(Released::Effect(other)),
            other => {
                self.opening.extend(subscribed(&other));
                self.held.push_back(Held::Effect(other));
            }
        }
    }

    fn may_overtake(&self, effect: &Effect) -> bool {
        let opening = matches!(effect, Effect::Tell { session, .. } if self.opening.contains(session));
        effect.asserts_nothing() && !opening
    }

    /// Everything stored up to `number` is synced.
    pub(crate) fn synced(&mut self, number: u64, out: &mut Vec<Released>) {
        while let Some(front) = self.held.pop_front() {
            match front {
                Held::Until(waits, _) if waits > number => {
                    self.held.push_front(front);
                    return;
                }
                Held::Until(..) => {}
                Held::Effect(effect) => {
                    if let Some(session) = subscribed(&effect) {
                        self.opening.remove(&session);
                    }
                    out.push(Released::Effect(effect));
                }
            }
        }
    }

    /// Since when the registry has owed the oldest of what is waited for.
    pub(crate) fn waits_since(&self) -> Option<Now> {
        match self.held.front()? {
            Held::Until(_, since) => Some(*since),
            Held::Effect(_) => None,
        }
    }
}

/// The session that begins with this effect, if it is a framework's.
fn subscribed(effect: &Effect) -> Option<SessionId> {
    match effect {
        Effect::Tell { session, event: Event::Subscribed { .. } } => Some(*session),
        Effect::Tell { .. }
        | Effect::Persist(_)
        | Effect::Order { .. }
        | Effect::Close { .. }
        | Effect::Reply { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::master::core::Order;

    const AGENT: SessionId = SessionId(1);
    const FRAMEWORK: SessionId = SessionId(2);

    fn close(session: u64) -> Effect {
        Effect::Close { session: SessionId(session) }
    }

    /// Pushes the effect and says what left because of it.
    fn push(gate: &mut Gate, effect: Effect) -> Vec<String> {
        let mut out = Vec::new();
        gate.push(Now::default(), effect, &mut out);
        out.iter().map(in_short).collect()
    }

    fn synced(gate: &mut Gate, number: u64) -> Vec<String> {
        let mut out = Vec::new();
        gate.synced(number, &mut out);
        out.iter().map(in_short).collect()
    }

    fn in_short(released: &Released) -> String {
        match released {
            Released::Store { number, .. } => format!("store {number}"),
            Released::Effect(Effect::Close { session }) => format!("close {}", session.0),
            Released::Effect(Effect::Tell { event, .. }) => format!("{event:?}"),
            Released::Effect(Effect::Order { order, .. }) => format!("{order:?}"),
            Released::Effect(other) => format!("{other:?}"),
        }
    }

    fn persist() -> Effect {
        Effect::Persist(Vec::new())
    }

    fn ping() -> Effect {
        Effect::Order { session: AGENT, order: Order::Ping }
    }

    fn heartbeat() -> Effect {
        Effect::Tell { session: FRAMEWORK, event: Event::Heartbeat }
    }

    #[test]
    fn an_effect_leaves_when_all_that_was_stored_before_it_is_synced_and_no_sooner() {
        let mut gate = Gate::default();
        assert_eq!(push(&mut gate, close(1)), ["close 1"]);
        assert_eq!(push(&mut gate, persist()), ["store 1"]);
        assert!(push(&mut gate, close(2)).is_empty());
        assert_eq!(push(&mut gate, persist()), ["store 2"]);
        assert!(push(&mut gate, close(3)).is_empty());
        assert_eq!(synced(&mut gate, 1), ["close 2"]);
        assert_eq!(synced(&mut gate, 2), ["close 3"]);
        assert_eq!(push(&mut gate, close(4)), ["close 4"], "nothing waits any more");
    }

    #[test]
    fn pings_and_heartbeats_do_not_wait_for_a_registry_that_is_slow() {
        let mut gate = Gate::default();
        push(&mut gate, persist());
        assert!(push(&mut gate, close(3)).is_empty());
        assert_eq!(push(&mut gate, ping()), ["Ping"]);
        assert_eq!(push(&mut gate, heartbeat()), ["Heartbeat"]);
        assert_eq!(synced(&mut gate, 1), ["close 3"]);
    }

    #[test]
    fn no_heartbeat_comes_before_the_framework_is_subscribed() {
        let mut gate = Gate::default();
        push(&mut gate, persist());
        let event = Event::Subscribed { framework: "f".into(), heartbeat: Duration::from_secs(15) };
        assert!(push(&mut gate, Effect::Tell { session: FRAMEWORK, event }).is_empty());
        assert!(push(&mut gate, heartbeat()).is_empty());
        assert_eq!(push(&mut gate, ping()), ["Ping"], "another session's matters are its own");
        push(&mut gate, persist());
        assert_eq!(synced(&mut gate, 1), ["Subscribed { framework: \"f\", heartbeat: 15s }", "Heartbeat"]);
        assert_eq!(push(&mut gate, heartbeat()), ["Heartbeat"], "from then on they pass");
    }

    #[test]
    fn the_gate_knows_for_how_long_the_registry_has_owed_an_answer() {
        let (mut gate, mut out) = (Gate::default(), Vec::new());
        let at = |seconds| Now::default().advanced(Duration::from_secs(seconds));
        assert_eq!(gate.waits_since(), None);
        gate.push(at(5), persist(), &mut out);
        gate.push(at(6), close(1), &mut out);
        gate.push(at(7), persist(), &mut out);
        assert_eq!(gate.waits_since(), Some(at(5)));
        gate.synced(1, &mut out);
        assert_eq!(gate.waits_since(), Some(at(7)));
        gate.synced(2, &mut out);
        assert_eq!(gate.waits_since(), None);
    }
}
