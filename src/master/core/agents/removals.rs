//! Marking absent agents unreachable, no faster than operators allow.
//!
//! When a switch or a power supply fails, many agents disconnect at once, and most reconnect within minutes. A rate
//! spreads the removals out; an agent that re-registers before its turn was never lost. The same applies to agents that
//! a new master knows only from its registry.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::Duration,
};

use crate::master::core::{Master, Turn, agents::Presence, timers::Timer};

/// How fast agents may be marked unreachable: evenly spread, the first at once.
///
/// ```
/// use divvy::master::RemovalRate;
/// use std::{num::NonZeroU32, time::Duration};
///
/// let rate = RemovalRate::new(NonZeroU32::new(4).unwrap(), Duration::from_mins(20));
/// assert_eq!(rate.interval(), Duration::from_mins(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovalRate {
    interval: Duration,
}

impl RemovalRate {
    /// A rate of so many agents in that time.
    #[must_use]
    pub fn new(agents: NonZeroU32, per: Duration) -> Self {
        Self { interval: per / agents.get() }
    }

    /// The time from one removal to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.interval
    }
}

/// Agents that are to be marked unreachable, in order.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Removals {
    waiting: BTreeMap<u64, Arc<str>>,
    places: BTreeMap<Arc<str>, u64>,
    decided: u64,
    /// When the next may be marked.
    next_ns: u64,
    /// The last id of the registry up to which missing agents were added.
    added_to: Option<String>,
}

impl Removals {
    /// Adds an agent; returns false if it waits already.
    fn add(&mut self, id: &Arc<str>) -> bool {
        if self.places.contains_key(id) {
            return false;
        }
        self.decided += 1;
        self.places.insert(id.clone(), self.decided);
        self.waiting.insert(self.decided, id.clone());
        true
    }

    /// Removes an agent; returns false if it did not wait.
    pub(in crate::master::core) fn cancel(&mut self, id: &str) -> bool {
        let place = self.places.remove(id);
        place.is_some_and(|place| self.waiting.remove(&place).is_some())
    }

    fn pop(&mut self) -> Option<Arc<str>> {
        let (_, id) = self.waiting.pop_first()?;
        self.places.remove(&id);
        Some(id)
    }
}

impl Master {
    /// Marks an absent agent unreachable as soon as the rate allows, unless it re-registers before.
    pub(in crate::master::core) fn mark_unreachable_at_rate(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        self.schedule_removal(id);
        self.removals_due(turn);
    }

    fn schedule_removal(&mut self, id: &Arc<str>) {
        if self.removals.add(id) {
            self.counts.agents_unreachable_scheduled += 1;
        }
    }

    /// Marks waiting agents unreachable, as many as the rate allows and no more than a turn may.
    pub(in crate::master::core) fn removals_due(&mut self, turn: &mut Turn<'_>) {
        while !self.removals.waiting.is_empty() {
            if let Some(rate) = self.config.removal_rate {
                if turn.now.mono_ns < self.removals.next_ns {
                    return self.timers.arm(self.removals.next_ns, Timer::Removal);
                }
                self.removals.next_ns = turn.now.mono_after(rate.interval());
            }
            let Some(id) = self.removals.pop() else { return };
            self.mark_unreachable(turn, &id);
            if turn.is_spent() && !self.removals.waiting.is_empty() {
                return self.timers.arm(turn.now.mono_ns, Timer::Removal);
            }
        }
    }

    fn mark_unreachable(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        let known = self.agents.by_id(id);
        match known.filter(|key| self.agents[*key].record.presence == Presence::Disconnected) {
            Some(key) => self.set_unreachable(turn, key),
            None if known.is_none() && self.recovered.remove(id) => self.set_recovered_unreachable(turn, id),
            None => {}
        }
    }

    /// The agents of the registry had their time to re-register: the missing ones are scheduled for removal.
    pub(in crate::master::core) fn recovery_over(&mut self, turn: &mut Turn<'_>) {
        let added_to = self.removals.added_to.take();
        let after = added_to.as_deref().map_or(Unbounded, Excluded);
        let mut missing: Vec<Arc<str>> = Vec::new();
        for id in self.recovered.range::<str, _>((after, Unbounded)) {
            if self.agents.by_id(id.as_str()).is_none() {
                missing.push(id.as_str().into());
            }
            turn.spend(1);
            if turn.is_spent() {
                self.removals.added_to = Some(id.clone());
                break;
            }
        }
        if self.removals.added_to.is_some() {
            self.timers.arm(turn.now.mono_ns, Timer::Recovery);
        }
        for id in &missing {
            self.schedule_removal(id);
        }
        self.removals_due(turn);
    }
}
