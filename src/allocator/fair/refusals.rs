//! Refusals of an agent's resources by a client, and recent offers of them.
//!
//! Refusals are independent: a short one does not end a long one. One that another covers is not stored. Beyond
//! [`MOST`] the one that ends first is dropped: one offer too many is harmless, but a refusal made wider than intended
//! would starve its client.

use std::sync::Arc;

use super::tree::ClientState;
use crate::types::{Now, Resources};

/// The most refusals that a client has of one agent.
pub(super) const MOST: usize = 8;

/// One refusal of a client.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Until this monotonic time, in nanoseconds, nothing of the agent is offered to the client.
    pub floor_ns: u64,
    /// Until this monotonic time nothing that is contained in `resources` is offered.
    pub until_ns: u64,
    /// The refused resources.
    pub resources: Arc<Resources>,
}

/// Counters of what may end a cached refusal: what becomes free on the agent, what quotas allow, what the client can
/// use.
pub(super) type Growth = (u64, u64, u64);

/// The state of one agent and one client: refusals, and a recent offer.
#[derive(Clone, Debug, Default)]
pub(super) struct PairState {
    /// When it was last written; see [`ClientState`].
    stamp: u64,
    floor_ns: u64,
    filters: Vec<(u64, Arc<Resources>)>,
    /// Until when a filter applies, and the growth for which that is known.
    filtered_cached: Option<(u64, Growth)>,
    /// Until then no second offer is made.
    fresh_until_ns: u64,
    /// Whether a run skipped the client because of the fresh offer.
    skipped: bool,
}

impl PairState {
    /// Returns whether its refusals belong to an earlier client, or to the time before a revive.
    pub(super) fn is_void(&self, client: ClientState) -> bool {
        self.stamp < client.revived
    }

    /// Drops records of an earlier client, and refusals from before a revive.
    pub(super) fn forget_void(&mut self, client: ClientState) {
        if self.stamp < client.added {
            *self = Self::default();
        } else if self.is_void(client) {
            self.forget_refusals();
        }
    }

    /// Adds a refusal of the client at this moment.
    pub(super) fn refuse(&mut self, refusal: Refusal, client: ClientState, stamp: u64) {
        self.forget_void(client);
        self.stamp = stamp;
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

    /// Ends every refusal; a fresh offer stays.
    pub(super) fn forget_refusals(&mut self) {
        (self.floor_ns, self.filtered_cached) = (0, None);
        self.filters.clear();
    }

    /// Records an offer that is fresh until then.
    pub(super) fn set_fresh(&mut self, until_ns: u64, client: ClientState, stamp: u64) {
        self.forget_void(client);
        (self.stamp, self.fresh_until_ns, self.skipped) = (stamp, until_ns, false);
    }

    /// Records that the offer that is fresh until then ended; returns whether a run skipped the client because of it.
    pub(super) fn clear_fresh(&mut self, until_ns: u64) -> bool {
        if self.fresh_until_ns != until_ns {
            return false;
        }
        self.fresh_until_ns = 0;
        std::mem::take(&mut self.skipped)
    }

    /// Records that a run skipped the client because of a fresh offer. Returns until when, unless it was recorded
    /// before.
    pub(super) fn note_skipped(&mut self) -> Option<u64> {
        (!std::mem::replace(&mut self.skipped, true)).then_some(self.fresh_until_ns)
    }

    /// Returns whether a recent offer of the agent is fresh.
    pub(super) fn is_fresh(&self, now: Now) -> bool {
        self.fresh_until_ns > now.mono_ns
    }

    /// Drops what is over; returns whether anything that excluded the client from offers was.
    pub(super) fn forget_ended(&mut self, now: Now) -> bool {
        let count = self.filters.len();
        self.filters.retain(|(until, _)| *until > now.mono_ns);
        let mut ended = self.filters.len() < count;
        if self.floor_ns > 0 && self.floor_ns <= now.mono_ns {
            (self.floor_ns, ended) = (0, true);
        }
        if self.fresh_until_ns > 0 && self.fresh_until_ns <= now.mono_ns {
            ended |= std::mem::take(&mut self.skipped);
            self.fresh_until_ns = 0;
        }
        ended
    }

    /// Returns whether nothing is recorded.
    pub(super) fn is_blank(&self) -> bool {
        self.filters.is_empty() && self.floor_ns == 0 && self.fresh_until_ns == 0
    }

    /// Returns when the next refusal or fresh offer ends.
    pub(super) fn next_end(&self, now: Now) -> Option<u64> {
        let fresh = self.skipped.then_some(self.fresh_until_ns);
        let ends = self.filters.iter().map(|(until_ns, _)| *until_ns).chain([self.floor_ns]).chain(fresh);
        ends.filter(|end_ns| *end_ns > now.mono_ns).min()
    }

    /// Returns whether a cached refusal applies, without checking what is free.
    pub(super) fn is_filtered_cached(&self, now: Now, growth: Growth) -> bool {
        self.floor_ns > now.mono_ns
            || self.filtered_cached.is_some_and(|(until, at)| at == growth && until > now.mono_ns)
    }

    /// Caches until when a filter applies as long as nothing grows.
    pub(super) fn cache_filtered(&mut self, until_ns: u64, growth: Growth) {
        self.filtered_cached = Some((until_ns, growth));
    }

    /// Returns until when `part` must not be offered; `None` if it may be now.
    pub(super) fn filtered_until(&self, now: Now, part: &Resources) -> Option<u64> {
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
        let mut refusals = PairState::default();
        refusals.refuse(filter(100, "cpus:4"), ClientState::default(), 0);
        refusals.refuse(filter(10, "cpus:2"), ClientState::default(), 0);
        let part: Resources = "cpus:2".parse().expect("resources");
        assert_eq!(refusals.filtered_until(at(50), &part), Some(100));
        assert_eq!(refusals.filters.len(), 1, "the second says nothing new");
    }

    #[test]
    fn refusals_of_different_parts_stand_beside_one_another_and_are_not_made_wider() {
        let mut refusals = PairState::default();
        refusals.refuse(filter(100, "cpus:4"), ClientState::default(), 0);
        refusals.refuse(filter(50, "mem:64"), ClientState::default(), 0);
        let both: Resources = "cpus:1;mem:1".parse().expect("resources");
        assert_eq!(refusals.filtered_until(at(1), &both), None);
        assert_eq!(refusals.filtered_until(at(1), &"mem:64".parse().expect("resources")), Some(50));
        assert!(refusals.forget_ended(at(60)), "one of them ended");
        assert!(!refusals.is_blank() && !refusals.forget_ended(at(60)));
        assert!(refusals.forget_ended(at(100)) && refusals.is_blank());
    }

    #[test]
    fn a_longer_refusal_of_more_takes_the_place_of_those_it_covers() {
        let mut refusals = PairState::default();
        refusals.refuse(filter(50, "cpus:1"), ClientState::default(), 0);
        refusals.refuse(filter(60, "cpus:2"), ClientState::default(), 0);
        refusals.refuse(filter(100, "cpus:4"), ClientState::default(), 0);
        assert_eq!(refusals.filters.len(), 1);
    }

    #[test]
    fn there_are_never_more_than_the_most_and_the_one_that_ends_first_goes() {
        let mut refusals = PairState::default();
        for number in 0..1_000_u64 {
            refusals.refuse(
                filter(1_000 - number, &format!("cpus:{};mem:{}", number + 1, 2_000 - number)),
                ClientState::default(),
                0,
            );
        }
        assert_eq!(refusals.filters.len(), MOST);
        assert_eq!(refusals.filtered_until(at(0), &"cpus:1;mem:2000".parse().expect("resources")), Some(1_000));
    }

    #[test]
    fn refusals_from_before_a_revive_are_void_and_a_fresh_offer_is_not() {
        let mut pair = PairState::default();
        pair.refuse(filter(100, "cpus:4"), ClientState::default(), 1);
        pair.set_fresh(50, ClientState::default(), 1);
        let part: Resources = "cpus:2".parse().expect("resources");
        let revived = ClientState { revived: 2, ..ClientState::default() };
        pair.forget_void(revived);
        assert_eq!((pair.filtered_until(at(1), &part), pair.is_fresh(at(1))), (None, true));
        pair.refuse(filter(70, "cpus:2"), revived, 2);
        pair.forget_void(revived);
        assert_eq!(pair.filtered_until(at(1), &part), Some(70));
        pair.forget_void(ClientState { added: 3, ..revived });
        assert!(pair.is_blank(), "it was of another client");
    }

    #[test]
    fn a_skipped_client_is_looked_at_again_when_its_offer_is_no_longer_fresh() {
        let mut pair = PairState::default();
        pair.set_fresh(50, ClientState::default(), 1);
        assert_eq!(pair.next_end(at(1)), None, "it was not skipped");
        assert!(pair.is_fresh(at(1)));
        assert_eq!((pair.note_skipped(), pair.note_skipped()), (Some(50), None));
        assert_eq!(pair.next_end(at(1)), Some(50));
        assert!(!pair.forget_ended(at(49)) && pair.forget_ended(at(50)) && pair.is_blank());
    }
}
