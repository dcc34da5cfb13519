//! Rule (d): offers that are not answered go back, and their client gets none for a while.
//!
//! Offers are numbered as they are made, so the oldest are the first: one deadline, that of the first, serves all.

use std::cell::OnceCell;

use super::{Offer, Taken, WORK_PER_OFFER, allocation::Rules, nanos};
use crate::{
    allocator::fair::RoleId,
    master::core::{
        Master, Turn,
        frameworks::{ClientState, Framework},
        keys::{AgentKey, FrameworkKey, OfferKey},
        timers::Timer,
    },
    types::Now,
};

/// One look at overdue offers asks so many clients whether they could use them, and takes so many back.
const LOOKS: usize = 2_000;
const WANTED: usize = 200;
/// A look that did not get to the last offer goes on after this part of the interval between others.
const LOOKS_PER_INTERVAL: u32 = 10;

/// When overdue offers were looked at last, and where the next look begins.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Overdue {
    looked_ns: u64,
    from: Option<OfferKey>,
}

impl Master {
    /// When an offer expires, or is to be looked at because another client may want it.
    pub(in crate::master::core) fn next_overdue_ns(&self) -> Option<u64> {
        let made_ns = self.oldest_offer()?.1.made_ns;
        let expires_ns = self.config.offer_timeout.map(|timeout| made_ns.saturating_add(nanos(timeout)));
        let look_ns = self.next_look_ns(made_ns).max(self.held_off_until_ns());
        expires_ns.into_iter().chain([look_ns]).min()
    }

    fn oldest_offer(&self) -> Option<(OfferKey, &Offer)> {
        let (&key, agent) = self.offers.first_key_value()?;
        Some((key, self.agents.get(*agent)?.bucket.offers.get(&key)?))
    }

    fn next_look_ns(&self, made_ns: u64) -> u64 {
        let interval = self.config.cool_interval;
        let pause = if self.overdue.from.is_some() { interval / LOOKS_PER_INTERVAL } else { interval };
        let again_ns = self.overdue.looked_ns.saturating_add(nanos(pause));
        made_ns.saturating_add(nanos(self.config.contended_after)).max(again_ns)
    }

    /// Takes back what was not answered in time, as much as a turn may; what is left is due still.
    pub(in crate::master::core) fn expire_overdue(&mut self, turn: &mut Turn<'_>) {
        let Some(timeout) = self.config.offer_timeout else { return };
        while !turn.is_spent() {
            let due = |offer: &Offer| offer.made_ns.saturating_add(nanos(timeout)) <= turn.now.mono_ns;
            let Some((key, _)) = self.oldest_offer().filter(|(_, offer)| due(offer)) else { return };
            turn.spend(WORK_PER_OFFER);
            self.expire(turn, key);
        }
    }

    /// Takes back overdue offers that another active client could use; every second, since who could use them changes.
    pub(super) fn expire_contended(&mut self, turn: &mut Turn<'_>) {
        let oldest_ns = self.oldest_offer().map(|(_, offer)| offer.made_ns);
        if oldest_ns.is_none_or(|made_ns| self.next_look_ns(made_ns) > turn.now.mono_ns) {
            return;
        }
        self.overdue.looked_ns = turn.now.mono_ns;
        for key in self.contended(turn.now) {
            self.expire(turn, key);
        }
    }

    /// Overdue offers that another active client could use. A look that takes too long goes on with the next.
    fn contended(&mut self, now: Now) -> Vec<OfferKey> {
        let rivals = self.active_clients();
        let mut wanted = Vec::new();
        let mut looks = LOOKS;
        let from = self.overdue.from.take().unwrap_or(OfferKey(0));
        for (&key, &agent) in self.offers.range(from..) {
            let Some(offer) = self.agents.get(agent).and_then(|agent| agent.bucket.offers.get(&key)) else { continue };
            if offer.made_ns.saturating_add(nanos(self.config.contended_after)) > now.mono_ns {
                break;
            }
            if looks == 0 || wanted.len() == WANTED {
                self.overdue.from = Some(key);
                break;
            }
            looks = looks.saturating_sub(1);
            if self.is_wanted(now, agent, offer, &rivals, &mut looks) {
                wanted.push(key);
            }
        }
        wanted
    }

    fn is_wanted(
        &self,
        now: Now,
        agent: AgentKey,
        offer: &Offer,
        rivals: &[(FrameworkKey, RoleId)],
        looks: &mut usize,
    ) -> bool {
        let rules = Rules { minimum: &self.config.minimum, frameworks: &self.frameworks, accepts_any: OnceCell::new() };
        let others = rivals.iter().filter(|(framework, _)| *framework != offer.client.framework);
        let mut others = others.inspect(|_| *looks = looks.saturating_sub(1));
        others.any(|(framework, role)| {
            self.ledger.shares().could_use(agent, *role, *framework, &offer.resources, now, &rules)
        })
    }

    /// The clients that every change serves.
    fn active_clients(&self) -> Vec<(FrameworkKey, RoleId)> {
        let serves = |state: &ClientState| !state.idle && !state.suppressed && !state.in_backoff();
        let can_read = |one: &Framework| one.session.is_some() && !one.is_over_budget;
        let connected =
            self.frameworks.iter().filter(|(key, one)| can_read(one) && !self.frameworks.is_withdrawing(*key));
        let clients = connected.flat_map(|(key, one)| {
            let active = one.roles.iter().filter(|(_, state)| serves(state));
            active.filter_map(move |(role, _)| Some((key, one.role_id(role)?)))
        });
        clients.collect()
    }

    /// The offer was not answered: it goes back, and its client gets none for a while. One silence counts once, and that of
    /// a run that was replaced is not its successor's.
    fn expire(&mut self, turn: &mut Turn<'_>, key: OfferKey) {
        let Some(taken) = self.take(key) else { return };
        if self.frameworks.is_withdrawing(taken.offer.client.framework) {
            return self.change_client(&taken.offer.client, ClientState::rescinded);
        }
        self.counts.offers_expired += 1;
        let Taken { offer: Offer { client, made_ns, .. }, .. } = &taken;
        let mut until_ns = None;
        self.change_client(client, |state| until_ns = state.expired(turn.now, *made_ns));
        if let Some(until_ns) = until_ns {
            self.timers.arm(until_ns, Timer::BackoffEnded(client.framework));
        }
        self.tell_rescinded(turn, &taken, key);
    }
}
