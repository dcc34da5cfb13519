//! The slow reference of whole runs: who holds what, and everything else computed from that.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reference::{NAMES, ROLES, Reference};
use super::*;
use crate::allocator::fair::{Quota, Serve};
use crate::types::{Kind, Reservation, Resource, Resources, is_self_or_below};

pub(super) type Pair = [i64; 2];

/// How long an offer is fresh.
pub(super) const FRESH: u64 = 2;

/// What a client has of an agent: unreserved, and of what the agent has reserved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) agent: u32,
    pub(super) role: String,
    pub(super) client: u32,
    pub(super) open: Pair,
    pub(super) reserved: Pair,
    /// Until when it is an offer: no second one is made.
    pub(super) fresh_until: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) open: Pair,
    pub(super) reserved: Option<(String, Pair)>,
}

#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) held: Held,
    pub(super) until: u64,
}

/// The state of the cluster, without anything derived.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) machines: BTreeMap<u32, Machine>,
    pub(super) held: Vec<Held>,
    pub(super) refused: Vec<Refused>,
    pub(super) quotas: BTreeMap<String, Quota>,
    /// By client number, as of a framework with several roles.
    pub(super) demands: BTreeMap<u32, Pair>,
    pub(super) minima: BTreeMap<u32, Pair>,
    pub(super) idle: BTreeSet<(String, u32)>,
    pub(super) order: Reference,
}

pub(super) fn plus(a: Pair, b: Pair) -> Pair {
    [a[0] + b[0], a[1] + b[1]]
}

pub(super) fn minus(a: Pair, b: Pair) -> Pair {
    [a[0] - b[0], a[1] - b[1]]
}

pub(super) fn covers(a: Pair, b: Pair) -> bool {
    a[0] >= b[0] && a[1] >= b[1]
}

impl World {
    /// What is free of an agent: unreserved, and of its reservation.
    pub(super) fn free(&self, agent: u32) -> (Pair, Pair) {
        let machine = &self.machines[&agent];
        let mut free = (machine.open, machine.reserved.as_ref().map_or([0, 0], |(_, amounts)| *amounts));
        for held in self.held.iter().filter(|held| held.agent == agent) {
            free = (minus(free.0, held.open), minus(free.1, held.reserved));
        }
        free
    }

    fn consumed(&self, role: &str) -> Pair {
        let held = self.held.iter().filter(|held| is_self_or_below(&held.role, role)).map(|held| held.open);
        let reserved = self.machines.values().filter_map(|machine| machine.reserved.as_ref());
        let reserved = reserved.filter(|(to, _)| is_self_or_below(to, role)).map(|(_, amounts)| *amounts);
        held.chain(reserved).fold([0, 0], plus)
    }

    fn bound(&self, role: &str, name: usize, least: bool) -> Option<i64> {
        let quota = self.quotas.get(role)?;
        let bounds = if least { &quota.guarantees } else { &quota.limits };
        bounds.get(NAMES[name]).map(|amount| amount.raw() / 1000)
    }

    fn children(parent: &str) -> Vec<String> {
        let all = ROLES.iter().flat_map(|role| {
            role.match_indices('/').map(|(at, _)| at).chain([role.len()]).map(|end| role[..end].to_owned())
        });
        let child = |role: &String| role.rsplit_once('/').map_or("", |(above, _)| above) == parent;
        let mut children: Vec<String> = all.filter(child).collect();
        children.sort();
        children.dedup();
        children
    }

    fn missing(&self, role: &str, name: usize) -> i64 {
        let consumed = self.consumed(role)[name];
        let gap = self.bound(role, name, true).map_or(0, |least| least - consumed);
        let below: i64 = Self::children(role).iter().map(|child| self.missing(child, name)).sum();
        let room = self.bound(role, name, false).map_or(i64::MAX, |most| (most - consumed).max(0));
        gap.max(below).min(room)
    }

    fn required(&self, name: usize) -> i64 {
        Self::children("").iter().map(|role| self.missing(role, name)).sum()
    }

    /// Returns what is kept for a role, its children's included.
    fn kept(&self, role: &str, name: usize) -> i64 {
        let (above, from) = match role.rsplit_once('/') {
            Some((parent, _)) => (parent, self.kept(parent, name)),
            None => ("", self.required(name)),
        };
        let siblings = Self::children(above).into_iter().filter(|other| other != role);
        let others: i64 = siblings.map(|other| self.missing(&other, name)).sum();
        (from - others).max(self.missing(role, name))
    }

    fn allowed(&self, role: &str, name: usize) -> (i64, i64) {
        let below: i64 = Self::children(role).iter().map(|child| self.missing(child, name)).sum();
        let kept = (self.kept(role, name) - below).max(0);
        let free: i64 = self.machines.keys().map(|agent| self.free(*agent).0[name]).sum();
        let surplus = (free - self.required(name)).max(0);
        let above = std::iter::successors(Some(role), |role| role.rsplit_once('/').map(|(parent, _)| parent));
        let room = above.filter_map(|role| Some((self.bound(role, name, false)? - self.consumed(role)[name]).max(0)));
        (kept, (surplus + kept).min(room.min().unwrap_or(i64::MAX)))
    }

    /// Returns what a client wants of what it may have, if that is worth an offer.
    fn wanted(&self, part: &Held) -> Option<Held> {
        let machine = &self.machines[&part.agent];
        let role = machine.reserved.as_ref().map(|(role, _)| role.as_str());
        let demand = self.demands.get(&part.client);
        let mut wanted = part.clone();
        if let Some(demand) = demand {
            let target: Vec<(Arc<str>, Milli)> =
                NAMES.into_iter().zip(demand).map(|(name, units)| (name.into(), Milli::from_units(*units))).collect();
            let cut = resources(part.open, role.map(|role| (role, part.reserved))).shrink_to(&target);
            wanted.open = units(&cut.unreserved());
            wanted.reserved = minus(units(&cut), wanted.open);
        }
        let all = plus(wanted.open, wanted.reserved);
        let enough = self.minima.get(&part.client).filter(|_| demand.is_none()).is_none_or(|least| covers(all, *least));
        (all != [0, 0] && enough).then_some(wanted)
    }

    fn is_refused(&self, part: &Held) -> bool {
        let same = |other: &Held| other.agent == part.agent && other.role == part.role && other.client == part.client;
        let mut filters = self.refused.iter().filter(|one| one.until > self.now && same(&one.held));
        filters.any(|one| covers(one.held.open, part.open) && covers(one.held.reserved, part.reserved))
            || self.held.iter().any(|held| same(held) && held.fresh_until > self.now)
    }

    fn portion(&self, agent: u32, role: &str, client: u32, below_guarantee: bool) -> Option<Held> {
        let (open, reserved) = self.free(agent);
        let mine = self.machines[&agent].reserved.as_ref().is_some_and(|(to, _)| is_self_or_below(role, to));
        let allowed = [self.allowed(role, 0), self.allowed(role, 1)];
        let part = [open[0].min(allowed[0].1), open[1].min(allowed[1].1)];
        let reserved = if mine { reserved } else { [0, 0] };
        let fresh_until = self.now + FRESH;
        let part = Held { agent, role: role.to_owned(), client, open: part, reserved, fresh_until };
        if self.is_refused(&part) {
            return None;
        }
        let wanted = self.wanted(&part).filter(|wanted| !self.is_refused(wanted))?;
        let feeds = (0..2).any(|name| allowed[name].0 > 0 && wanted.open[name] > 0);
        (feeds || !below_guarantee).then_some(wanted)
    }

    /// One run over everything.
    pub(super) fn run(&mut self, serve: Serve) -> Vec<Held> {
        let mut granted = Vec::new();
        let agents: Vec<u32> = self.machines.keys().copied().collect();
        for below_guarantee in [true, false] {
            for &agent in &agents {
                loop {
                    let mut order = self.order.order();
                    order.retain(|client| serve == Serve::All || !self.idle.contains(client));
                    let portion = |(role, client): &(String, u32)| self.portion(agent, role, *client, below_guarantee);
                    let Some(held) = order.iter().find_map(portion) else { break };
                    self.offer(held.clone());
                    granted.push(held);
                }
            }
        }
        granted
    }

    /// Offers something to a client: it wants that much less.
    pub(super) fn offer(&mut self, held: Held) {
        if let Some(demand) = self.demands.get_mut(&held.client) {
            let all = plus(held.open, held.reserved);
            *demand = [0, 1].map(|name| (demand[name] - all[name]).max(0));
        }
        self.take(held);
    }

    pub(super) fn take(&mut self, held: Held) {
        let client = self.order.clients.get_mut(&(held.role.clone(), held.client)).expect("a client");
        client.held = plus(client.held, plus(held.open, held.reserved));
        for key in Reference::keys(&held.role, held.client) {
            *self.order.counts.entry(key).or_default() += 1;
        }
        self.held.push(held);
    }

    pub(super) fn give_back(&mut self, at: usize) -> Held {
        let held = self.held.remove(at);
        let client = self.order.clients.get_mut(&(held.role.clone(), held.client)).expect("a client");
        client.held = minus(client.held, plus(held.open, held.reserved));
        held
    }

    /// Counts of allocations last as long as something concerns a role.
    pub(super) fn forget_counts(&mut self) {
        let mut known: Vec<String> =
            self.order.clients.keys().flat_map(|(role, client)| Reference::keys(role, *client)).collect();
        let roles: Vec<String> = self.order.counts.keys().cloned().collect();
        known.extend(roles.into_iter().filter(|role| {
            let quota = self.quotas.keys().any(|with| is_self_or_below(with, role));
            quota || self.consumed(role) != [0, 0]
        }));
        self.order.counts.retain(|key, _| known.contains(key));
        self.order.total = [0, 0];
        for machine in self.machines.values() {
            let reserved = machine.reserved.as_ref().map_or([0, 0], |(_, amounts)| *amounts);
            self.order.total = plus(self.order.total, plus(machine.open, reserved));
        }
    }
}

pub(super) fn resources(open: Pair, reserved: Option<(&str, Pair)>) -> Resources {
    let mut all = Resources::new();
    for name in 0..2 {
        all = all.with_scalar(NAMES[name], Milli::from_units(open[name]));
        if let Some((role, amounts)) = reserved {
            let kind = Kind::new(NAMES[name]).with_reservations(vec![Reservation::fixed(role)]);
            all.add(&Resource::new(kind, crate::types::Amount::Scalar(Milli::from_units(amounts[name]))));
        }
    }
    all
}

/// Whole units of both names.
pub(super) fn units(part: &Resources) -> Pair {
    NAMES.map(|name| part.scalar(name).raw() / 1000)
}
