//! Allocation: who is offered what, by five rules that keep events from becoming a storm.
//!
//! (a) A refusal holds for at least a second. (b) Every change serves the warm clients at once; the cool ones, whose last
//! round brought no launch, share one run a second. (c) A client has one offer of an agent at a time, unless that one
//! is a second old. (d) An offer that is not answered is taken back, soon if another warm client could use it. (e) Who
//! stated a demand is offered no more than that. Among those eligible, the one furthest below its fair share is first and
//! gets all that is left of the agent.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    allocator::fair::{Abilities, Clients, Grant, RoleId, Touched},
    master::core::{
        Client, Config, Event, FrameworkFacts, Master, OfferMade, Quantities, Turn,
        agents::Agent,
        frameworks::{Framework, Habits},
        keys::{AgentKey, FrameworkKey, OfferKey},
        ledger::Held,
        offers::Offer,
        timers::Timer,
    },
    types::Now,
};

/// Which clients a run serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Warm,
    All,
}

/// What decides about a client besides what it is owed.
struct Rules<'a> {
    now: Now,
    run: Run,
    refusal_floor: Duration,
    minimum: &'a [Quantities],
    frameworks: &'a BTreeMap<FrameworkKey, Framework>,
    agents: &'a BTreeMap<AgentKey, Agent>,
    /// Whether any client has no minimum; found out when it is first asked.
    lenient: &'a OnceCell<bool>,
}

impl Master {
    /// When the next run for the cool clients may be.
    pub(in crate::master::core) fn next_cool_ns(&self) -> u64 {
        let interval = u64::try_from(self.config.cool_interval.as_nanos()).unwrap_or(u64::MAX);
        self.last_cool_ns.saturating_add(interval)
    }

    /// Serves what changed since the last call: the warm at once, all once a second. What quotas kept back and have eased
    /// waits for the second's run, since every task's end eases them.
    pub(in crate::master::core) fn allocate(&mut self, turn: &mut Turn<'_>) {
        if self.holds_off(turn.now) {
            return;
        }
        self.look_at_overdue(turn);
        let touched = self.ledger.shares_mut().take_touched();
        let dirty = Touched { eased: std::collections::BTreeSet::new(), ..touched.clone() };
        self.stale.join(touched);
        if turn.now.mono_ns >= self.next_cool_ns() && self.anything_for_the_cool() {
            self.last_cool_ns = turn.now.mono_ns;
            let stale = std::mem::take(&mut self.stale);
            self.run(turn, Run::All, stale);
        } else if !dirty.is_empty() && self.anybody_warm() {
            self.run(turn, Run::Warm, dirty);
        }
    }

    /// An agent with nothing left is no reason for the second's one run: the warm would have taken what freed up just
    /// before it, every time, and the cool would starve. It is looked at when something frees up there.
    fn anything_for_the_cool(&mut self) -> bool {
        let allocator = self.ledger.shares();
        self.stale.all &= allocator.anything_free();
        let free = |key: &AgentKey| allocator.free(*key).is_some_and(|free| !free.is_empty());
        self.stale.agents.retain(free);
        self.stale.eased.retain(free);
        !self.stale.is_empty()
    }

    fn anybody_warm(&self) -> bool {
        let warm = |framework: &Framework| framework.roles.values().any(|habits| habits.warm && !habits.suppressed);
        self.frameworks.values().any(|framework| framework.session.is_some() && warm(framework))
    }

    fn run(&mut self, turn: &mut Turn<'_>, run: Run, touched: Touched<AgentKey>) {
        self.counts.allocation_runs += 1;
        let mut made: BTreeMap<FrameworkKey, Vec<OfferMade>> = BTreeMap::new();
        let mut round = self.ledger.shares_mut().round(touched);
        let lenient = &OnceCell::new();
        while let Some(grant) = {
            let Self { ledger, frameworks, agents, config, .. } = &mut *self;
            let Config { refusal_floor, minimum, .. } = &*config;
            let rules =
                Rules { now: turn.now, run, refusal_floor: *refusal_floor, minimum, frameworks, agents, lenient };
            ledger.shares_mut().next(&mut round, turn.now, &rules)
        } {
            let (framework, offer) = self.make_offer(turn, grant);
            made.entry(framework).or_default().push(offer);
        }
        for (framework, offers) in made {
            self.counts.offers_made += offers.len() as u64;
            turn.tell(self.frameworks[&framework].session, Event::Offers(offers));
        }
    }

    fn make_offer(&mut self, turn: &Turn<'_>, grant: Grant<AgentKey, FrameworkKey>) -> (FrameworkKey, OfferMade) {
        let key = self.counters.offer();
        let quantities = grant.resources.quantities();
        let resources = Arc::new(grant.resources);
        let held = Held { client: Some((grant.framework, grant.role)), resources: resources.clone() };
        self.ledger.record_offer(grant.agent, key, held);
        let role = self.ledger.shares().shares().path(grant.role).clone();
        let client = Client { framework: grant.framework, role };
        let offer = Offer { client: client.clone(), resources: resources.clone(), made_ns: turn.now.mono_ns };
        self.timers.arm(self.contended_at(&offer), Timer::OfferContended(key));
        if let Some(expires) = self.expires_at(&offer) {
            self.timers.arm(expires, Timer::OfferExpired(key));
        }
        self.offers.insert(key, grant.agent);
        let agent = self.agents.get_mut(&grant.agent).expect("the allocator knows the same agents");
        let bucket = agent.bucket_mut();
        bucket.offers.insert(key, offer);
        let framework = self.frameworks.get_mut(&client.framework).expect("the rules admitted this framework");
        framework.offered(&quantities);
        if let Some(habits) = framework.roles.get_mut(&client.role) {
            habits.offered();
        }
        let facts = &framework.bucket.facts;
        let made = OfferMade {
            key,
            framework: framework.bucket.id.clone(),
            agent: agent.bucket.id.clone(),
            facts: agent.bucket.facts.clone(),
            role: client.role,
            resources,
            multi_role: facts.multi_role,
            refinement: facts.refinement,
        };
        (client.framework, made)
    }

    /// Rule (d): offers nobody answered for a while are taken back where another warm client could use them; once a
    /// second, since who could use them changes.
    fn look_at_overdue(&mut self, turn: &mut Turn<'_>) {
        if self.next_look_ns.is_none_or(|at| at > turn.now.mono_ns) {
            return;
        }
        let wanted: Vec<OfferKey> =
            self.overdue.iter().filter(|key| self.wanted_by_another(turn.now, **key)).copied().collect();
        for key in wanted {
            self.expire(turn, key);
        }
        self.next_look_ns = (!self.overdue.is_empty()).then(|| turn.now.mono_after(self.config.cool_interval));
    }

    fn wanted_by_another(&self, now: Now, key: OfferKey) -> bool {
        let Some(agent_key) = self.offers.get(&key) else { return false };
        let Some(agent) = self.agents.get(agent_key) else { return false };
        let Some(offer) = agent.bucket.offers.get(&key) else { return false };
        let rules = Rules {
            now,
            run: Run::Warm,
            refusal_floor: self.config.refusal_floor,
            minimum: &self.config.minimum,
            frameworks: &self.frameworks,
            agents: &self.agents,
            lenient: &OnceCell::new(),
        };
        self.frameworks.iter().any(|(framework, one)| {
            let serves = |habits: &Habits| habits.warm && !habits.suppressed && !habits.withheld(now);
            one.session.is_some()
                && *framework != offer.client.framework
                && one.roles.iter().filter(|(_, habits)| serves(habits)).any(|(role, _)| {
                    one.seat(role).is_some_and(|seat| {
                        self.ledger.shares().could_use(*agent_key, seat, *framework, &offer.resources, now, &rules)
                    })
                })
        })
    }
}

impl Clients<AgentKey, FrameworkKey> for Rules<'_> {
    /// Whether the run serves this client, and it has no fresh offer of the agent.
    fn admits(&self, agent: AgentKey, role: RoleId, framework: FrameworkKey) -> bool {
        let Some(one) = self.frameworks.get(&framework) else { return false };
        let Some((role, habits)) = one.role_of(role) else { return false };
        let served = !habits.suppressed && !habits.withheld(self.now) && (habits.warm || self.run == Run::All);
        let fresh = |offer: &Offer| {
            offer.client.framework == framework
                && offer.client.role == *role
                && self.now.since(offer.made_ns) < self.refusal_floor
        };
        served && self.agents.get(&agent).is_some_and(|agent| !agent.bucket.offers.values().any(fresh))
    }

    fn abilities(&self, framework: FrameworkKey) -> Abilities {
        self.frameworks.get(&framework).map(|one| one.bucket.facts.abilities()).unwrap_or_default()
    }

    fn minimum(&self, role: &Arc<str>, framework: FrameworkKey) -> &[Quantities] {
        let own = |one: &'_ Framework| one.bucket.facts.minimum.iter().position(|(of, _)| of == role);
        match self.frameworks.get(&framework).map(|one| (one, own(one))) {
            Some((one, Some(at))) => &one.bucket.facts.minimum[at].1,
            Some((_, None)) | None => self.minimum,
        }
    }

    fn anything_will_do(&self) -> bool {
        let nothing = |bundles: &[Quantities]| bundles.is_empty() || bundles.iter().any(Vec::is_empty);
        let lenient = |facts: &FrameworkFacts| facts.minimum.iter().any(|(_, bundles)| nothing(bundles));
        *self
            .lenient
            .get_or_init(|| nothing(self.minimum) || self.frameworks.values().any(|one| lenient(&one.bucket.facts)))
    }

    fn demand(&self, framework: FrameworkKey) -> Option<Quantities> {
        self.frameworks.get(&framework)?.open_demand()
    }
}

impl FrameworkFacts {
    fn abilities(&self) -> Abilities {
        Abilities { revocable: self.revocable, shared: self.shared, refinement: self.refinement, gpus: self.gpus }
    }
}
