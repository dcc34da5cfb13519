//! Whole runs against a slow reference. It visits every agent for every client after every event, and computes shares,
//! quotas and guarantees from nothing but who holds what. The allocator visits only the agents and clients that
//! changed, in slices, and must grant the same.

use std::sync::Arc;

use proptest::prelude::*;

use super::reference::{Client, NAMES, ROLES};
use super::world::{FRESH, Held, Machine, Pair, Refused, World, covers, minus, resources, units};
use super::*;
use crate::allocator::fair::dirty::Dirty;
use crate::allocator::fair::{Allocator, Clients, Grant, Quota, Refusal, Serve, Step, Terms, check_quotas};
use crate::types::{Now, Resources};

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
    Idle(usize, u32, bool),
    Demand(u32, Option<Pair>),
    Minimum(u32, Pair),
    /// The run that serves the idle clients too.
    Second,
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
        2 => (role.clone(), client.clone(), agent, amounts.clone()).prop_map(|(r, c, a, what)| Event::Hold(r, c, a, what)),
        2 => (role, client.clone(), any::<bool>()).prop_map(|(r, c, on)| Event::Idle(r, c, on)),
        2 => (client.clone(), prop::option::weighted(0.8, amounts.clone())).prop_map(|(c, most)| Event::Demand(c, most)),
        1 => (client, amounts).prop_map(|(c, least)| Event::Minimum(c, least)),
        2 => Just(Event::Second),
        4 => (0..64usize).prop_map(Event::Free),
        4 => ((0..64usize), 1..9u64).prop_map(|(at, secs)| Event::Decline(at, secs)),
        2 => (1..5u64).prop_map(Event::Wait),
    ]
}

/// The allocator and the reference, updated by the same events.
#[derive(Default)]
struct Pairing {
    world: World,
    allocator: Allocator<u32, u32>,
    /// When agents are visited again where a client was skipped.
    skipped: Vec<(u32, u64)>,
}

/// What clients can use and want, by the number of their framework. A demand replaces a minimum.
#[derive(Default)]
struct Facts {
    demands: BTreeMap<u32, Quantities>,
    minima: BTreeMap<u32, Vec<Quantities>>,
}

type Quantities = Vec<(Arc<str>, Milli)>;

fn quantities(units: Pair) -> Quantities {
    NAMES.into_iter().zip(units).map(|(name, units)| (name.into(), Milli::from_units(units))).collect()
}

impl Clients<u32> for Facts {
    fn terms(&self, _: RoleId, framework: u32) -> Terms<'_> {
        let demand = self.demands.get(&framework).cloned();
        let minimum = self.minima.get(&framework).filter(|_| demand.is_none()).map_or(&[][..], |all| all);
        Terms { minimum, demand, ..Terms::default() }
    }

    fn accepts_any(&self) -> bool {
        true
    }
}

impl Pairing {
    fn of(&self, held: &Held) -> Resources {
        let machine = self.world.machines.get(&held.agent);
        let role = machine.and_then(|machine| machine.reserved.as_ref()).map(|(role, _)| role.as_str());
        resources(held.open, role.map(|role| (role, held.reserved)))
    }

    fn set_free(&mut self, agent: u32) {
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
        self.set_free(held.agent);
        let role = self.role(&held.role);
        self.allocator.unallocated(role, held.client, &what);
        self.allocator.clear_fresh(held.agent, role, held.client, held.fresh_until);
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
            Event::Free(_) | Event::Decline(..) | Event::Second => {}
            Event::Wait(secs) => self.wait(secs),
            Event::Idle(role, client, idle) => self.idle(role, client, idle),
            Event::Demand(client, most) => {
                self.world.demands.remove(&client);
                self.world.demands.extend(most.map(|most| (client, most)));
                self.changed(client);
            }
            Event::Minimum(client, least) => {
                self.world.minima.insert(client, least);
                self.changed(client);
            }
        }
    }

    fn idle(&mut self, role: usize, client: u32, idle: bool) {
        let Some(key) = self.known(role, client) else { return };
        let role = self.role(&key.0);
        self.allocator.set_idle(role, client, idle);
        if idle {
            self.world.idle.insert(key);
        } else if self.world.idle.remove(&key) {
            self.allocator.client_changed(role, client);
        }
    }

    /// What a framework can use or wants changed, in all its roles.
    fn changed(&mut self, client: u32) {
        let roles: Vec<String> =
            self.world.order.clients.keys().filter(|(_, one)| *one == client).map(|(role, _)| role.clone()).collect();
        for role in roles {
            self.allocator.client_changed(self.role(&role), client);
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
        self.set_free(agent);
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
        self.world.idle.remove(&key);
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

    /// Records a task that is known from elsewhere, whatever the quotas.
    fn hold(&mut self, role: usize, client: u32, agent: u32, what: Pair) {
        let Some((role, client)) = self.known(role, client) else { return };
        if self.world.machines.contains_key(&agent) && covers(self.world.free(agent).0, what) {
            self.world.take(Held { agent, role: role.clone(), client, open: what, reserved: [0, 0], fresh_until: 0 });
            self.set_free(agent);
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
        let now = self.world.now;
        let refused = self.world.refused.iter().filter(|one| one.until <= now).map(|one| one.held.agent);
        let ended: Vec<u32> = refused.chain(self.skipped.extract_if(.., |one| one.1 <= now).map(|one| one.0)).collect();
        self.world.refused.retain(|one| one.until > self.world.now);
        for agent in ended {
            self.allocator.refusals_ended(agent, Now { mono_ns: self.world.now, wall_ns: 0 });
        }
    }

    fn facts(&self) -> Facts {
        let world = &self.world;
        Facts {
            demands: world.demands.iter().map(|(client, most)| (*client, quantities(*most))).collect(),
            minima: world.minima.iter().map(|(client, least)| (*client, vec![quantities(*least)])).collect(),
        }
    }

    /// Begins a run over what changed; also over what quotas held back, which the reference visits every time.
    fn begin(&mut self, serve: Serve) {
        if serve == Serve::All {
            return self.allocator.begin(serve);
        }
        let scope = self.allocator.changes.take_active_and_unblocked();
        self.allocator.begin_over(scope, Dirty::default(), serve);
    }

    /// Continues the run for so many looks; returns what it granted, and whether it has ended.
    fn slice(&mut self, facts: &mut Facts, mut looks: usize) -> (Vec<Held>, bool) {
        let mut granted = Vec::new();
        let now = Now { mono_ns: self.world.now, wall_ns: 0 };
        loop {
            match self.allocator.step(now, facts, &mut looks) {
                Step::Granted(grant) => granted.push(self.granted(facts, grant)),
                Step::Paused => return (granted, false),
                Step::Done => return (granted, true),
            }
        }
    }

    fn granted(&mut self, facts: &mut Facts, grant: Grant<u32, u32>) -> Held {
        let Grant { agent, role: id, framework, resources } = grant;
        for (name, open) in facts.demands.get_mut(&framework).into_iter().flatten() {
            *open = open.saturating_sub(resources.scalar(name)).max(Milli::ZERO);
        }
        let fresh_until = self.world.now + FRESH;
        self.allocator.set_fresh(agent, id, framework, fresh_until);
        let open = units(&resources.unreserved());
        let role = self.allocator.shares().path(id).to_string();
        Held { agent, role, client: framework, open, reserved: minus(units(&resources), open), fresh_until }
    }

    /// Continues a run, or begins one if none is in progress. The reference follows what is granted.
    fn go_on(&mut self, serve: Serve, looks: usize) {
        if !self.allocator.is_running() {
            self.begin(serve);
        }
        let mut facts = self.facts();
        for held in self.slice(&mut facts, looks).0 {
            self.world.offer(held);
        }
        self.skipped.extend(self.allocator.take_skipped());
    }

    /// Runs both, each on its own state.
    fn run(&mut self, serve: Serve, looks: usize) -> (Vec<Held>, Vec<Held>) {
        let mut facts = self.facts();
        self.begin(serve);
        let (mut granted, mut done) = self.slice(&mut facts, usize::MAX);
        while !done {
            let (more, over) = self.slice(&mut facts, looks);
            granted.extend(more);
            done = over;
        }
        self.skipped.extend(self.allocator.take_skipped());
        (granted, self.world.run(serve))
    }
}

proptest! {
    // The reference is as slow as it is obvious.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn a_run_over_what_changed_grants_what_one_from_scratch_would(events in prop::collection::vec(event(), 0..60)) {
        let mut pairing = Pairing::default();
        for (number, event) in events.iter().enumerate() {
            pairing.apply(event);
            pairing.world.forget_counts();
            let serve = if matches!(event, Event::Second) { Serve::All } else { Serve::Active };
            let (incremental, reference) = pairing.run(serve, number % 5 + 1);
            prop_assert_eq!(incremental, reference, "after {:?}", event);
        }
    }

    #[test]
    fn after_changes_in_the_middle_of_runs_nothing_is_left_that_a_run_from_scratch_would_grant(
        events in prop::collection::vec((event(), 1..9usize), 0..60),
    ) {
        let mut pairing = Pairing::default();
        for (event, looks) in &events {
            pairing.apply(event);
            pairing.go_on(if matches!(event, Event::Second) { Serve::All } else { Serve::Active }, *looks);
        }
        pairing.world.forget_counts();
        while pairing.allocator.is_running() || pairing.allocator.has_changes(Serve::All, &mut usize::MAX.clone()) {
            pairing.go_on(Serve::All, 100);
        }
        prop_assert_eq!(pairing.world.run(Serve::All), []);
    }

    #[test]
    fn a_run_after_which_nothing_happened_leaves_nothing_dirty(events in prop::collection::vec(event(), 0..40)) {
        let mut pairing = Pairing::default();
        for event in &events {
            pairing.apply(event);
        }
        pairing.run(Serve::All, 1);
        prop_assert!(!pairing.allocator.has_changes(Serve::Active, &mut usize::MAX.clone()));
        prop_assert!(!pairing.allocator.is_changed());
    }
}
