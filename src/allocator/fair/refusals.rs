//! What a client refused of an agent, and for how long.
//!
//! Refusals stand beside one another: a short one does not end a long one. One that says no more than another is not
//! kept. Beyond [`MOST`] the one that ends first goes: an offer too many is harmless, a refusal made wider than it was meant
//! would starve its client.

use std::sync::Arc;

use crate::types::{Now, Resources};

/// So many refusals of one agent are kept per client.
pub(super) const MOST: usize = 8;

/// One refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Until this monotonic time, in nanoseconds, nothing of the agent is offered to the client.
    pub floor_ns: u64,
    /// Until this monotonic time nothing that is contained in `resources` is.
    pub until_ns: u64,
    /// What was refused.
    pub resources: Arc<Resources>,
}

/// When a filter was last found to hold: nothing has grown since, so it holds still.
pub(super) type Growth = (u64, u64);

/// All refusals of one agent by one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    floor_ns: u64,
    filters: Vec<(u64, Arc<Resources>)>,
    pub(super) held_at: Option<(u64, Growth)>,
}

impl Refusals {
    pub(super) fn add(&mut self, refusal: Refusal) {
        let Refusal { floor_ns, until_ns, resources } = refusal;
        self.floor_ns = self.floor_ns.max(floor_ns);
        if self.filters.iter().any(|(until, refused)| *until >= until_ns && refused.contains(&resources)) {
            return;
        }
        self.filters.retain(|(until, refused)| *until > until_ns || !resources.contains(refused));
        self.filters.push((until_ns, resources));
        if self.filters.len() > MOST {
            let first = (0..self.filters.len()).min_by_key(|at| self.filters[*at].0).expect("there are more than none");
            self.filters.remove(first);
        }
    }

    /// Forgets what has ended; true if nothing is left.
    pub(super) fn forget_ended(&mut self, now: Now) -> bool {
        self.filters.retain(|(until, _)| *until > now.mono_ns);
        self.filters.is_empty() && self.floor_ns <= now.mono_ns
    }

    /// When the next of them ends.
    pub(super) fn next_end(&self, now: Now) -> Option<u64> {
        let ends = self.filters.iter().map(|(until_ns, _)| *until_ns).chain([self.floor_ns]);
        ends.filter(|end_ns| *end_ns > now.mono_ns).min()
    }

    /// Whether they are known to hold without looking.
    pub(super) fn surely_hold(&self, now: Now, growth: Growth) -> bool {
        self.floor_ns > now.mono_ns || self.held_at.is_some_and(|(until, at)| at == growth && until > now.mono_ns)
    }

    /// Until when `part` must not be offered; `None` if it may be now.
    pub(super) fn hold(&self, now: Now, part: &Resources) -> Option<u64> {
        if self.floor_ns > now.mono_ns {
            return Some(self.floor_ns);
        }
        let holds = |(until, refused): &&(u64, Arc<Resources>)| *until > now.mono_ns && refused.contains(part);
        self.filters.iter().filter(holds).map(|(until, _)| *until).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ns: u64) -> Now {
        Now { mono_ns, wall_ns: 0 }
    }

    fn filter(until_ns: u64, text: &str) -> Refusal {
        Refusal { floor_ns: 0, until_ns, resources: Arc::new(text.parse().expect("resources")) }
    }

    #[test]
    fn a_short_refusal_does_not_end_a_long_one() {
        let mut refusals = Refusals::default();
        refusals.add(filter(100, "cpus:4"));
        refusals.add(filter(10, "cpus:2"));
        let part: Resources = "cpus:2".parse().expect("resources");
        assert_eq!(refusals.hold(at(50), &part), Some(100));
        assert_eq!(refusals.filters.len(), 1, "the second says nothing new");
    }

    #[test]
    fn refusals_of_different_parts_stand_beside_one_another_and_are_not_made_wider() {
        let mut refusals = Refusals::default();
        refusals.add(filter(100, "cpus:4"));
        refusals.add(filter(50, "mem:64"));
        let both: Resources = "cpus:1;mem:1".parse().expect("resources");
        assert_eq!(refusals.hold(at(1), &both), None);
        assert_eq!(refusals.hold(at(1), &"mem:64".parse().expect("resources")), Some(50));
        assert!(!refusals.forget_ended(at(60)));
        assert!(refusals.forget_ended(at(100)));
    }

    #[test]
    fn a_longer_refusal_of_more_takes_the_place_of_those_it_covers() {
        let mut refusals = Refusals::default();
        refusals.add(filter(50, "cpus:1"));
        refusals.add(filter(60, "cpus:2"));
        refusals.add(filter(100, "cpus:4"));
        assert_eq!(refusals.filters.len(), 1);
    }

    #[test]
    fn there_are_never_more_than_the_most_and_the_one_that_ends_first_goes() {
        let mut refusals = Refusals::default();
        for number in 0..1_000_u64 {
            refusals.add(filter(1_000 - number, &format!("cpus:{};mem:{}", number + 1, 2_000 - number)));
        }
        assert_eq!(refusals.filters.len(), MOST);
        assert_eq!(refusals.hold(at(0), &"cpus:1;mem:2000".parse().expect("resources")), Some(1_000));
    }
}
