//! The offers a framework may still answer, and when the driver gives them back for it.
//!
//! An offer is known from its arrival until it is used, declined, rescinded, or held for too long. Until it is handed to
//! the callback it waits here whole; after that only its id and agent are kept.

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
    /// The callback had already seen it.
    pub(super) handed_over: bool,
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

    /// What the next callback gets.
    pub(super) fn hand_over(&mut self) -> Vec<Offer> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the offers for an answer and tells their agent.
    ///
    /// # Errors
    /// Which offer is not there any more, and the ids of those that were and are now taken.
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

    /// The offers among `ids` that can still be declined.
    pub(super) fn take_known(&mut self, ids: Vec<OfferId>) -> Vec<OfferId> {
        ids.into_iter().filter(|id| self.remove(id).is_some()).collect()
    }

    /// The master took it back; true when the callback has seen it and so has to hear of it.
    pub(super) fn rescinded(&mut self, id: &OfferId) -> bool {
        let unseen = self.waiting.contains_key(id);
        self.remove(id).is_some() && !unseen
    }

    pub(super) fn expired(&mut self, now: Now) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some((due_ns, _)) = self.order.front()
            && *due_ns <= now.mono_ns
            && let Some((due_ns, id)) = self.order.pop_front()
        {
            if self.known.get(&id).is_some_and(|held| held.due_ns == due_ns) {
                let handed_over = !self.waiting.contains_key(&id);
                self.remove(&id);
                expired.push(Expired { id, handed_over });
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
        assert_eq!(offers.expired(late), [Expired { id: id("O2"), handed_over: false }]);
        assert_eq!(offers.deadline_ns(), None);
    }

    #[test]
    fn an_offer_expires_no_earlier_than_its_hold_time() {
        let mut offers = with(&["O1"]);
        assert_eq!(offers.expired(Now { mono_ns: 9_999_999_999, wall_ns: 0 }), []);
        assert_eq!(offers.deadline_ns(), Some(10_000_000_000));
    }

    #[test]
    fn a_rescinded_offer_that_nobody_saw_disappears_silently() {
        let mut offers = with(&["O1", "O2"]);
        assert!(!offers.rescinded(&id("O1")));
        assert_eq!(offers.hand_over().len(), 1);
        assert!(offers.rescinded(&id("O2")));
        assert!(!offers.rescinded(&id("O2")));
    }
}
