//! The outstanding offers of a framework, and when the driver declines them.
//!
//! An offer is outstanding from its arrival until it is accepted, declined, rescinded, or expires after the hold time.
//! It waits here whole until its callback starts; after that only its id and agent are kept.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use indexmap::IndexMap;

use crate::{
    proto::v1::{AgentId, Offer, OfferId},
    types::Now,
};

#[derive(Debug)]
pub(super) struct Offers {
    hold: Duration,
    known: BTreeMap<OfferId, Held>,
    /// In order of arrival; answered offers are left in until they reach the front.
    order: VecDeque<(u64, OfferId)>,
    waiting: IndexMap<OfferId, Offer>,
}

#[derive(Debug)]
struct Held {
    agent_id: AgentId,
    due_ns: u64,
}

/// An offer whose hold time ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expired {
    pub(super) id: OfferId,
    /// It was delivered to a callback.
    pub(super) delivered: bool,
}

impl Offers {
    pub(super) fn new(hold: Duration) -> Self {
        Self { hold, known: BTreeMap::new(), order: VecDeque::new(), waiting: IndexMap::new() }
    }

    pub(super) fn arrived(&mut self, now: Now, offer: Offer) {
        let due_ns = now.mono_after(self.hold);
        self.known.insert(offer.id.clone(), Held { agent_id: offer.agent_id.clone(), due_ns });
        self.order.push_back((due_ns, offer.id.clone()));
        self.waiting.insert(offer.id.clone(), offer);
    }

    /// Removes and returns the offers for the next callback.
    pub(super) fn take_waiting(&mut self) -> Vec<Offer> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Removes the offers of an accept, and returns their agent.
    ///
    /// # Errors
    /// An offer is no longer valid: the message, and the ids of the offers that were removed.
    pub(super) fn take(&mut self, ids: &[OfferId]) -> Result<AgentId, (String, Vec<OfferId>)> {
        let mut agent_id = None;
        let mut taken = Vec::with_capacity(ids.len());
        let mut problem = None;
        for id in ids {
            match self.remove(id) {
                Some(held) => {
                    agent_id.get_or_insert(held.agent_id);
                    taken.push(id.clone());
                }
                None if taken.contains(id) => problem = Some(format!("offer {} is named twice", id.value)),
                None => problem = Some(format!("offer {} is no longer valid", id.value)),
            }
        }
        match (problem, agent_id) {
            (None, Some(agent_id)) => Ok(agent_id),
            (None, None) => Err(("no offer was named".to_owned(), taken)),
            (Some(problem), _) => Err((problem, taken)),
        }
    }

    /// Removes the valid offers among `ids`, and returns their ids.
    pub(super) fn take_known(&mut self, ids: Vec<OfferId>) -> Vec<OfferId> {
        ids.into_iter().filter(|id| self.remove(id).is_some()).collect()
    }

    /// The master rescinded an offer; true when a callback received it, so that the rescind is delivered.
    pub(super) fn rescinded(&mut self, id: &OfferId) -> bool {
        let undelivered = self.waiting.contains_key(id);
        self.remove(id).is_some() && !undelivered
    }

    pub(super) fn expired(&mut self, now: Now) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some((due_ns, _)) = self.order.front()
            && *due_ns <= now.mono_ns
            && let Some((due_ns, id)) = self.order.pop_front()
        {
            if self.known.get(&id).is_some_and(|held| held.due_ns == due_ns) {
                let delivered = !self.waiting.contains_key(&id);
                self.remove(&id);
                expired.push(Expired { id, delivered });
            }
        }
        expired
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        if self.known.is_empty() { None } else { self.order.front().map(|(due_ns, _)| *due_ns) }
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
        self.waiting.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn check(&self) {
        for id in self.waiting.keys() {
            assert!(self.known.contains_key(id), "offer {} waits without being known", id.value);
        }
        assert!(self.order.len() >= self.known.len(), "an offer is known without a deadline");
    }

    fn remove(&mut self, id: &OfferId) -> Option<Held> {
        self.waiting.swap_remove(id);
        let held = self.known.remove(id);
        if self.known.is_empty() {
            self.order.clear();
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(10);

    fn id(value: &str) -> OfferId {
        OfferId { value: value.into() }
    }

    fn with(ids: &[&str]) -> Offers {
        let mut offers = Offers::new(HOLD);
        for value in ids {
            let agent_id = AgentId { value: "S0".into() };
            offers.arrived(Now::default(), Offer { id: id(value), agent_id, ..Offer::default() });
        }
        offers
    }

    #[test]
    fn an_answer_with_a_missing_offer_takes_the_others_and_names_it() {
        let mut offers = with(&["O1", "O2"]);
        let answer = offers.take(&[id("O1"), id("O9"), id("O2")]);
        assert_eq!(answer, Err(("offer O9 is no longer valid".into(), vec![id("O1"), id("O2")])));
        assert!(offers.is_empty());
    }

    #[test]
    fn an_offer_named_twice_is_an_error() {
        let answer = with(&["O1"]).take(&[id("O1"), id("O1")]);
        assert_eq!(answer, Err(("offer O1 is named twice".into(), vec![id("O1")])));
    }

    #[test]
    fn an_answered_offer_does_not_expire() {
        let mut offers = with(&["O1", "O2"]);
        offers.take(&[id("O1")]).expect("known");
        let late = Now::default().advanced(HOLD);
        assert_eq!(offers.expired(late), [Expired { id: id("O2"), delivered: false }]);
        assert_eq!(offers.deadline_ns(), None);
    }

    #[test]
    fn an_offer_expires_no_earlier_than_its_hold_time() {
        let mut offers = with(&["O1"]);
        assert_eq!(offers.expired(Now { mono_ns: 9_999_999_999, wall_ns: 0 }), []);
        assert_eq!(offers.deadline_ns(), Some(10_000_000_000));
    }

    #[test]
    fn a_rescinded_offer_that_no_callback_received_is_not_reported() {
        let mut offers = with(&["O1", "O2"]);
        assert!(!offers.rescinded(&id("O1")));
        assert_eq!(offers.take_waiting().len(), 1);
        assert!(offers.rescinded(&id("O2")));
        assert!(!offers.rescinded(&id("O2")));
    }
}
