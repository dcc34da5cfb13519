//! Whole runs against a slow reference: it visits every agent after every event and works out shares, quotas and what is
//! kept back from nothing but who holds what. The allocator looks only at what was touched, and must grant the same.

use std::sync::Arc;

use proptest::prelude::*;

use super::reference::{Client, NAMES, ROLES, Reference};
use super::*;
use crate::allocator::fair::{Allocator, Clients, Grant, Quota, Refusal, Serve, Step, Terms, check_quotas};
use crate::types::{Kind, Now, Reservation, Resource, Resources, is_self_or_below};

type Pair = [i64; 2];

#[derive(Debug, Clone)]
enum Event {
    Agent(u32, Pair, Option<(usize, Pair)>),
    Gone(u32),
    Join(usize, u32),
    Leave(usize, u32),
    Activate(usize, u32, bool),
    Revive(usize, u32),
    Weight(usize, u32),
    Quota(usize, [Option<i64>; 2], [Option<i64>; 2]),
    Hold(usize, u32, u32, Pair),
    Free(usize),
    Decline(usize, u64),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let (role, client, agent) = (0..ROLES.len(), 0..2u32, 0..4u32);
    let amounts = [0..7i64, 0..7i64];
    let bound = || [prop::option::weighted(0.5, 0..9i64), prop::option::weighted(0.3, 0..9i64)];
    let reserved = prop::option::weighted(0.3, (role.clone(), amounts.clone()));
    prop_oneof![
        4 => (agent.clone(), amounts.clone(), reserved).prop_map(|(a, free, of)| Event::Agent(a, free, of)),
        1 => agent.clone().prop_map(Event::Gone),
        4 => (role.clone(), client.clone()).prop_map(|(r, c)| Event::Join(r, c)),
        1 => (role.clone(), client.clone()).prop_map(|(r, c)| Event::Leave(r, c)),
        2 => (role.clone(), client.clone(), any::<bool>()).prop_map(|(r, c, on)| Event::Activate(r, c, on)),
        1 => (role.clone(), client.clone()).prop_map(|(r, c)| Event::Revive(r, c)),
        1 => (role.clone(), 0..3u32).prop_map(|(r, w)| Event::Weight(r, 1 << w)),
        4 => (role.clone(), bound(), bound()).prop_map(|(r, least, most)| Event::Quota(r, least, most)),
        2 => (role, client, agent, amounts).prop_map(|(r, c, a, what)| Event::Hold(r, c, a, what)),
        4 => (0..64usize).prop_map(Event::Free),
        4 => ((0..64usize), 1..9u64).prop_map(|(at, secs)| Event::Decline(at, secs)),
        2 => (1..5u64).prop_map(Event::Wait),
    ]
}

/// What somebody has of an agent: unreserved, and of what the agent has reserved.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    agent: u32,
    role: String,
    client: u32,
    open: Pair,
    reserved: Pair,
}

#[derive(Debug, Clone)]
struct Machine {
    open: Pair,
    reserved: Option<(String, Pair)>,
}

#[derive(Debug, Clone)]
struct Refused {
    held: Held,
    until: u64,
}

/// Nothing but facts.
#[derive(Debug, Default)]
struct World {
    now: u64,
    machines: BTreeMap<u32, Machine>,
    held: Vec<Held>,
    refused: Vec<Refused>,
    quotas: BTreeMap<String, Quota>,
    order: Reference,
}

fn plus(a: Pair, b: Pair) -> Pair {
    [a[0] + b[0], a[1] + b[1]]
}

fn minus(a: Pair, b: Pair) -> Pair {
    [a[0] - b[0], a[1] - b[1]]
}

fn covers(a: Pair, b: Pair) -> bool {
    a[0] >= b[0] && a[1] >= b[1]
}

impl World {
    /// What is free of an agent: unreserved, and of its reservation.
    fn free(&self, agent: u32) -> (Pair, Pair) {
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

    /// What is kept back for a role, its children's included.
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

    fn portion(&self, agent: u32, role: &str, client: u32, hungry: bool) -> Option<Held> {
        let (open, reserved) = self.free(agent);
        let mine = self.machines[&agent].reserved.as_ref().is_some_and(|(to, _)| is_self_or_below(role, to));
        let allowed = [self.allowed(role, 0), self.allowed(role, 1)];
        let part = [open[0].min(allowed[0].1), open[1].min(allowed[1].1)];
        let feeds = (0..2).any(|name| allowed[name].0 > 0 && part[name] > 0);
        let reserved = if mine { reserved } else { [0, 0] };
        let part = Held { agent, role: role.to_owned(), client, open: part, reserved };
        let same = |other: &Held| other.agent == agent && other.role == role && other.client == client;
        let filters = self.refused.iter().filter(|one| one.until > self.now && same(&one.held));
        let refused =
            filters.into_iter().any(|one| covers(one.held.open, part.open) && covers(one.held.reserved, part.reserved));
        let nothing = part.open == [0, 0] && part.reserved == [0, 0];
        (!nothing && !refused && (feeds || !hungry)).then_some(part)
    }

    fn run(&mut self) -> Vec<Held> {
        let mut granted = Vec::new();
        let agents: Vec<u32> = self.machines.keys().copied().collect();
        for hungry in [true, false] {
            for &agent in &agents {
                loop {
                    let order = self.order.order();
                    let found = order.iter().find_map(|(role, client)| self.portion(agent, role, *client, hungry));
                    let Some(held) = found else { break };
                    self.take(held.clone());
                    granted.push(held);
                }
            }
        }
        granted
    }

    fn take(&mut self, held: Held) {
        let client = self.order.clients.get_mut(&(held.role.clone(), held.client)).expect("a client");
        client.held = plus(client.held, plus(held.open, held.reserved));
        for key in Reference::keys(&held.role, held.client) {
            *self.order.counts.entry(key).or_default() += 1;
        }
        self.held.push(held);
    }

    fn give_back(&mut self, at: usize) -> Held {
        let held = self.held.remove(at);
        let client = self.order.clients.get_mut(&(held.role.clone(), held.client)).expect("a client");
        client.held = minus(client.held, plus(held.open, held.reserved));
        held
    }

    /// Counts of allocations last as long as anybody has to do with a role.
    fn settle(&mut self) {
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

/// The allocator, told what happens in the world.
#[derive(Default)]
struct Pairing {
    world: World,
    allocator: Allocator<u32, u32>,
}

struct Everybody;

impl Clients<u32> for Everybody {
    fn terms(&self, _: RoleId, _: u32) -> Terms<'_> {
        Terms::default()
    }

    fn accepts_any(&self) -> bool {
        true
    }
}

fn resources(open: Pair, reserved: Option<(&str, Pair)>) -> Resources {
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

impl Pairing {
    fn of(&self, held: &Held) -> Resources {
        let machine = self.world.machines.get(&held.agent);
        let role = machine.and_then(|machine| machine.reserved.as_ref()).map(|(role, _)| role.as_str());
        resources(held.open, role.map(|role| (role, held.reserved)))
    }

    fn tell_free(&mut self, agent: u32) {
        let (open, reserved) = self.world.free(agent);
        let role = self.world.machines[&agent].reserved.as_ref().map(|(role, _)| role.as_str());
        self.allocator.set_free(agent, &resources(open, role.map(|role| (role, reserved))));
    }

    fn role(&self, role: &str) -> RoleId {
        self.allocator.shares().role(role).expect("a role with clients")
    }

    fn known(&self, role: usize, client: u32) -> Option<(String, u32)> {
        let key = (ROLES[role].to_owned(), client);
        self.world.order.clients.contains_key(&key).then_some(key)
    }

    fn release(&mut self, at: usize) -> Held {
        let what = self.of(&self.world.held[at].clone());
        let held = self.world.give_back(at);
        self.tell_free(held.agent);
        self.allocator.unallocated(self.role(&held.role), held.client, &what);
        held
    }

    fn release_all(&mut self, which: impl Fn(&Held) -> bool) {
        while let Some(at) = self.world.held.iter().position(&which) {
            self.release(at);
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Agent(agent, open, ref reserved) => self.agent(agent, open, reserved.as_ref()),
            Event::Gone(agent) => self.gone(agent),
            Event::Join(role, client) => {
                self.allocator.add_client(ROLES[role], client);
                let new = Client { held: [0; 2], active: true };
                self.world.order.clients.entry((ROLES[role].to_owned(), client)).or_insert(new);
            }
            Event::Leave(role, client) => self.leave(role, client),
            Event::Activate(role, client, on) => {
                let Some(key) = self.known(role, client) else { return };
                self.allocator.set_active(self.role(&key.0), client, on);
                self.world.order.clients.get_mut(&key).expect("a client").active = on;
            }
            Event::Revive(role, client) => {
                let Some((role, client)) = self.known(role, client) else { return };
                self.allocator.forget_refusals(self.role(&role), client);
                self.world.refused.retain(|one| one.held.role != role || one.held.client != client);
            }
            Event::Weight(role, weight) => {
                self.allocator.set_weight(ROLES[role], f64::from(weight));
                self.world.order.weights.insert(ROLES[role].to_owned(), i64::from(weight));
            }
            Event::Quota(role, least, most) => self.quota(ROLES[role], least, most),
            Event::Hold(role, client, agent, what) => self.hold(role, client, agent, what),
            Event::Free(at) if !self.world.held.is_empty() => drop(self.release(at % self.world.held.len())),
            Event::Decline(at, secs) if !self.world.held.is_empty() => self.decline(at % self.world.held.len(), secs),
            Event::Free(_) | Event::Decline(..) => {}
            Event::Wait(secs) => self.wait(secs),
        }
    }

    fn agent(&mut self, agent: u32, open: Pair, reserved: Option<&(usize, Pair)>) {
        if self.world.machines.contains_key(&agent) {
            return;
        }
        let reserved = reserved.map(|(role, amounts)| (ROLES[*role].to_owned(), *amounts));
        let total = resources(open, reserved.as_ref().map(|(role, amounts)| (role.as_str(), *amounts)));
        self.world.machines.insert(agent, Machine { open, reserved });
        self.allocator.set_agent(agent, &total);
        self.tell_free(agent);
    }

    fn gone(&mut self, agent: u32) {
        if self.world.machines.contains_key(&agent) {
            self.release_all(|held| held.agent == agent);
            self.world.machines.remove(&agent);
            self.world.refused.retain(|one| one.held.agent != agent);
            self.allocator.remove_agent(agent);
        }
    }

    fn leave(&mut self, role: usize, client: u32) {
        let Some(key) = self.known(role, client) else { return };
        self.release_all(|held| held.role == key.0 && held.client == client);
        self.allocator.remove_client(self.role(&key.0), client);
        self.world.refused.retain(|one| one.held.role != key.0 || one.held.client != client);
        self.world.order.clients.remove(&key);
    }

    fn quota(&mut self, role: &str, least: [Option<i64>; 2], most: [Option<i64>; 2]) {
        let some = |bounds: [Option<i64>; 2]| {
            let named = NAMES.into_iter().zip(bounds);
            named.filter_map(|(name, bound)| Some((Arc::from(name), Milli::from_units(bound?)))).collect()
        };
        let quota = Quota { guarantees: some(least), limits: some(most) };
        let mut all = self.world.quotas.clone();
        if quota.is_empty() {
            all.remove(role)
        } else {
            all.insert(role.to_owned(), quota.clone())
        };
        if check_quotas(&all).is_ok() {
            self.world.quotas = all;
            self.allocator.set_quota(role, (!quota.is_empty()).then_some(&quota));
        }
    }

    /// A task that is known from elsewhere, whatever the quotas say of it.
    fn hold(&mut self, role: usize, client: u32, agent: u32, what: Pair) {
        let Some((role, client)) = self.known(role, client) else { return };
        if self.world.machines.contains_key(&agent) && covers(self.world.free(agent).0, what) {
            self.world.take(Held { agent, role: role.clone(), client, open: what, reserved: [0, 0] });
            self.tell_free(agent);
            self.allocator.allocated(self.role(&role), client, &resources(what, None));
        }
    }

    fn decline(&mut self, at: usize, secs: u64) {
        let what = Arc::new(self.of(&self.world.held[at].clone()));
        let held = self.release(at);
        let until = self.world.now + secs;
        let refusal = Refusal { floor_ns: 0, until_ns: until, resources: what };
        self.allocator.refuse(held.agent, self.role(&held.role), held.client, refusal);
        self.world.refused.push(Refused { held, until });
    }

    fn wait(&mut self, secs: u64) {
        self.world.now += secs;
        let ended: Vec<u32> =
            self.world.refused.iter().filter(|one| one.until <= self.world.now).map(|one| one.held.agent).collect();
        self.world.refused.retain(|one| one.until > self.world.now);
        for agent in ended {
            self.allocator.refusals_ended(agent, Now { mono_ns: self.world.now, wall_ns: 0 });
        }
    }

    /// Both runs, each by its own account.
    fn run(&mut self) -> (Vec<Held>, Vec<Held>) {
        let mut granted = Vec::new();
        let dirty = self.allocator.take_dirty();
        self.allocator.begin(dirty, Serve::All);
        let now = Now { mono_ns: self.world.now, wall_ns: 0 };
        while let Step::Granted(grant) = self.allocator.step(now, &Everybody, &mut usize::MAX.clone()) {
            let Grant { agent, role, framework, resources } = grant;
            let (open, all) = (resources.unreserved(), &resources);
            let units = |part: &Resources| NAMES.map(|name| part.scalar(name).raw() / 1000);
            let role = self.allocator.shares().path(role).to_string();
            let reserved = minus(units(all), units(&open));
            granted.push(Held { agent, role, client: framework, open: units(&open), reserved });
        }
        (granted, self.world.run())
    }
}

proptest! {
    // The reference is as slow as it is obvious.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_run_over_what_was_touched_grants_what_one_from_scratch_would(events in prop::collection::vec(event(), 0..60)) {
        let mut pairing = Pairing::default();
        for event in &events {
            pairing.apply(event);
            pairing.world.settle();
            let (incremental, reference) = pairing.run();
            prop_assert_eq!(incremental, reference, "after {:?}", event);
        }
    }

    #[test]
    fn a_run_after_which_nothing_happened_touches_nothing(events in prop::collection::vec(event(), 0..40)) {
        let mut pairing = Pairing::default();
        for event in &events {
            pairing.apply(event);
        }
        pairing.run();
        prop_assert!(pairing.allocator.take_dirty().is_empty());
    }
}
