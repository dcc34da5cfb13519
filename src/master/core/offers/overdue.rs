//! Rule (d): unanswered offers expire, and their client gets none for a while.
//!
//! Offers are numbered in the order in which they are made, so the deadline of the first serves all.

use std::cell::OnceCell;

use super::{Offer, RemovedOffer, WORK_PER_OFFER, allocation::Rules, nanos};
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

/// One scan of overdue offers checks at most so many pairs of offer and client, and expires at most so many offers.
const MAX_CHECKS: usize = 2_000;
const MAX_EXPIRED: usize = 200;
/// A scan that did not reach the last offer continues after this fraction of the interval between scans.
const STEPS_PER_INTERVAL: u32 = 10;

/// When overdue offers were last scanned, and where the next scan begins.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Overdue {
    scanned_ns: u64,
    from: Option<OfferKey>,
}

impl Master {
    /// When an offer expires, or the next scan for contended offers is due.
    pub(in crate::master::core) fn next_overdue_ns(&self) -> Option<u64> {
        let made_ns = self.oldest_offer()?.1.made_ns;
        let expires_ns = self.config.offer_timeout.map(|timeout| made_ns.saturating_add(nanos(timeout)));
        let scan_ns = self.next_scan_ns(made_ns).max(self.allocation_held_until_ns());
        expires_ns.into_iter().chain([scan_ns]).min()
    }

    fn oldest_offer(&self) -> Option<(OfferKey, &Offer)> {
        let (&key, agent) = self.offers.first_key_value()?;
        Some((key, self.agents.get(*agent)?.record.offers.get(&key)?))
    }

    fn next_scan_ns(&self, made_ns: u64) -> u64 {
        let interval = self.config.idle_interval;
        let delay = if self.overdue.from.is_some() { interval / STEPS_PER_INTERVAL } else { interval };
        let again_ns = self.overdue.scanned_ns.saturating_add(nanos(delay));
        made_ns.saturating_add(nanos(self.config.contended_after)).max(again_ns)
    }

    /// Expires offers that were not answered in time, as many as a turn may; the rest are still due.
    pub(in crate::master::core) fn expire_overdue(&mut self, turn: &mut Turn<'_>) {
        let Some(timeout) = self.config.offer_timeout else { return };
        while !turn.is_spent() {
            let due = |offer: &Offer| offer.made_ns.saturating_add(nanos(timeout)) <= turn.now.mono_ns;
            let Some((key, _)) = self.oldest_offer().filter(|(_, offer)| due(offer)) else { return };
            turn.spend(WORK_PER_OFFER);
            self.expire(turn, key);
        }
    }

    /// Expires overdue offers that another active client could use; once a second, since the eligible clients change.
    pub(super) fn expire_contended(&mut self, turn: &mut Turn<'_>) {
        let oldest_ns = self.oldest_offer().map(|(_, offer)| offer.made_ns);
        if oldest_ns.is_none_or(|made_ns| self.next_scan_ns(made_ns) > turn.now.mono_ns) {
            return;
        }
        self.overdue.scanned_ns = turn.now.mono_ns;
        for key in self.contended(turn.now) {
            self.expire(turn, key);
        }
    }

    /// Overdue offers that another active client could use. A scan that takes too long continues in the next.
    fn contended(&mut self, now: Now) -> Vec<OfferKey> {
        let rivals = self.active_clients();
        let mut wanted = Vec::new();
        let mut checks = MAX_CHECKS;
        let from = self.overdue.from.take().unwrap_or(OfferKey(0));
        for (&key, &agent) in self.offers.range(from..) {
            let Some(offer) = self.agents.get(agent).and_then(|agent| agent.record.offers.get(&key)) else { continue };
            if offer.made_ns.saturating_add(nanos(self.config.contended_after)) > now.mono_ns {
                break;
            }
            if checks == 0 || wanted.len() == MAX_EXPIRED {
                self.overdue.from = Some(key);
                break;
            }
            checks = checks.saturating_sub(1);
            if self.is_wanted(now, agent, offer, &rivals, &mut checks) {
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
        checks: &mut usize,
    ) -> bool {
        let rules = Rules { minimum: &self.config.minimum, frameworks: &self.frameworks, accepts_any: OnceCell::new() };
        let others = rivals.iter().filter(|(framework, _)| *framework != offer.client.framework);
        let mut others = others.inspect(|_| *checks = checks.saturating_sub(1));
        others.any(|(framework, role)| {
            self.ledger.shares().could_use(agent, *role, *framework, &offer.resources, now, &rules)
        })
    }

    /// The active clients, which every change serves.
    fn active_clients(&self) -> Vec<(FrameworkKey, RoleId)> {
        let serves = |state: &ClientState| !state.idle && !state.suppressed && !state.is_in_backoff();
        let can_read = |one: &Framework| one.session.is_some() && !one.is_over_budget;
        let connected =
            self.frameworks.iter().filter(|(key, one)| can_read(one) && !self.frameworks.is_withdrawing(*key));
        let clients = connected.flat_map(|(key, one)| {
            let active = one.roles.iter().filter(|(_, state)| serves(state));
            active.filter_map(move |(role, _)| Some((key, one.role_id(role)?)))
        });
        clients.collect()
    }

    /// Removes an unanswered offer and starts a backoff of its client. Offers of one unanswered period count once, and
    /// those of a replaced instance do not count against the new one.
    fn expire(&mut self, turn: &mut Turn<'_>, key: OfferKey) {
        let Some(removed) = self.remove_offer(key) else { return };
        if self.frameworks.is_withdrawing(removed.offer.client.framework) {
            return self.change_client(&removed.offer.client, ClientState::rescinded);
        }
        self.counts.offers_expired += 1;
        let RemovedOffer { offer: Offer { client, made_ns, .. }, .. } = &removed;
        let mut until_ns = None;
        self.change_client(client, |state| until_ns = state.expired(turn.now, *made_ns));
        if let Some(until_ns) = until_ns {
            self.timers.arm(until_ns, Timer::BackoffEnded(client.framework));
        }
        self.send_rescinded(turn, &removed, key);
    }
}
