//! Allocation: who is offered what, by five rules that keep events from becoming a storm.
//!
//! (a) A refusal holds for at least a second. (b) Every change serves the warm clients at once; the cool ones, whose last
//! round brought no launch, share one run a second. (c) A client has one offer of an agent at a time, unless that one
//! is a second old. (d) An offer that is not answered is taken back, soon if another warm client could use it. (e) Who
//! stated a demand is offered no more than that. Among those eligible, the one furthest below its fair share is first and
//! gets all that is left of the agent.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Client, Event, FrameworkFacts, Master, OfferMade, Quantities, Turn,
    agents::Agent,
    frameworks::Framework,
    keys::{AgentKey, FrameworkKey, OfferKey},
    offers::Offer,
    timers::Timer,
};
use crate::{
    allocator::fair::RoleId,
    types::{Now, Resource, Resources},
};

/// Which clients a run serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Warm,
    All,
}

/// What decides about a client besides the client itself.
struct Rules<'a> {
    now: Now,
    run: Run,
    refusal_floor: Duration,
    minimum: &'a [Quantities],
}

/// A client that gets an offer, and what it gets.
struct Pick {
    client: Client,
    resources: Resources,
}

impl Master {
    /// When the next run for the cool clients may be.
    pub(super) fn next_cool_ns(&self) -> u64 {
        let interval = u64::try_from(self.config.cool_interval.as_nanos()).unwrap_or(u64::MAX);
        self.last_cool_ns.saturating_add(interval)
    }

    /// Serves what changed since the last call: the warm at once, all once a second.
    pub(super) fn allocate(&mut self, turn: &mut Turn<'_>) {
        self.look_at_overdue(turn);
        if turn.now.mono_ns >= self.next_cool_ns() && self.anything_for_the_cool() {
            self.last_cool_ns = turn.now.mono_ns;
            self.dirty.clear();
            let agents = std::mem::take(&mut self.stale);
            self.run(turn, Run::All, agents);
        } else if !self.dirty.is_empty() {
            let agents = std::mem::take(&mut self.dirty);
            if self.anybody_warm() {
                self.run(turn, Run::Warm, agents);
            }
        }
    }

    /// An agent with nothing left is no reason for the second's one run: the warm would have taken what freed up just
    /// before it, every time, and the cool would starve. It is looked at when something frees up there.
    fn anything_for_the_cool(&mut self) -> bool {
        let agents = &self.agents;
        self.stale
            .retain(|key| agents.get(key).is_some_and(|agent| agent.reachable() && !agent.bucket.free.is_empty()));
        !self.stale.is_empty()
    }

    fn anybody_warm(&self) -> bool {
        let warm = |framework: &Framework| framework.roles.values().any(|habits| habits.warm && !habits.suppressed);
        self.frameworks.values().any(|framework| framework.session.is_some() && warm(framework))
    }

    fn run(&mut self, turn: &mut Turn<'_>, run: Run, agents: BTreeSet<AgentKey>) {
        self.counts.allocation_runs += 1;
        let mut made: BTreeMap<FrameworkKey, Vec<OfferMade>> = BTreeMap::new();
        for agent in agents {
            while let Some(pick) = self.pick(turn.now, run, agent) {
                let offer = self.make_offer(turn, agent, pick);
                made.entry(offer.0).or_default().push(offer.1);
            }
        }
        for (framework, offers) in made {
            self.counts.offers_made += offers.len() as u64;
            turn.tell(self.frameworks[&framework].session, Event::Offers(offers));
        }
    }

    /// The client that is owed most of those who may have what is left of the agent.
    fn pick(&mut self, now: Now, run: Run, key: AgentKey) -> Option<Pick> {
        let Self { shares, agents, frameworks, config, .. } = self;
        let agent = agents.get_mut(&key).filter(|agent| agent.reachable() && !agent.bucket.free.is_empty())?;
        let rules = Rules { now, run, refusal_floor: config.refusal_floor, minimum: &config.minimum };
        for (role, framework) in shares.order() {
            let Some(one) = frameworks.get(&framework) else { continue };
            let Some(client) = rules.admits(role, framework, one) else { continue };
            let facts = &one.bucket.facts;
            let Some(all) = rules.share_of(agent, &client, facts) else { continue };
            let Some(open) = one.open_demand() else { return Some(Pick { client, resources: all }) };
            let asked = all.shrink_to(&open);
            if rules.enough(&asked, &client, facts) && !refuses(agent, &client, &asked, now) {
                return Some(Pick { client, resources: asked });
            }
        }
        None
    }

    fn make_offer(&mut self, turn: &Turn<'_>, agent_key: AgentKey, pick: Pick) -> (FrameworkKey, OfferMade) {
        let key = self.counters.offer();
        let Pick { client, resources } = pick;
        let quantities = resources.quantities();
        self.charge(client.framework, &client.role, &quantities);
        let resources = Arc::new(resources);
        let offer = Offer { client: client.clone(), resources: resources.clone(), made_ns: turn.now.mono_ns };
        self.timers.arm(self.contended_at(&offer), Timer::OfferContended(key));
        if let Some(expires) = self.expires_at(&offer) {
            self.timers.arm(expires, Timer::OfferExpired(key));
        }
        self.offers.insert(key, agent_key);
        let agent = self.agents.get_mut(&agent_key).expect("the pick was made of this agent");
        let bucket = agent.bucket_mut();
        bucket.offered += &resources;
        bucket.free -= &resources;
        bucket.offers.insert(key, offer);
        let framework = self.frameworks.get_mut(&client.framework).expect("the pick was made for this framework");
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
        let Some(agent) = self.offers.get(&key).and_then(|agent| self.agents.get(agent)) else { return false };
        let Some(offer) = agent.bucket.offers.get(&key) else { return false };
        let rules =
            Rules { now, run: Run::Warm, refusal_floor: self.config.refusal_floor, minimum: &self.config.minimum };
        self.frameworks.iter().any(|(framework, one)| {
            one.session.is_some()
                && *framework != offer.client.framework
                && one
                    .roles
                    .iter()
                    .filter(|(_, habits)| habits.warm && !habits.suppressed && !habits.withheld(now))
                    .any(|(role, _)| {
                        let client = Client { framework: *framework, role: role.clone() };
                        let facts = &one.bucket.facts;
                        let part = Rules::suitable(&offer.resources, role, facts);
                        rules.enough(&part, &client, facts) && !refuses(agent, &client, &part, now)
                    })
        })
    }
}

/// Whether the client has refused what it would be offered.
fn refuses(agent: &Agent, client: &Client, part: &Resources, now: Now) -> bool {
    agent.refusals.get(client).is_some_and(|refused| {
        refused.floor_ns > now.mono_ns || (refused.until_ns > now.mono_ns && refused.resources.contains(part))
    })
}

impl Rules<'_> {
    /// Whether the run serves this client at all.
    fn admits(&self, role: RoleId, framework: FrameworkKey, one: &Framework) -> Option<Client> {
        let (role, habits) = one.role_of(role)?;
        let served = !habits.suppressed && !habits.withheld(self.now) && (habits.warm || self.run == Run::All);
        served.then(|| Client { framework, role: role.clone() })
    }

    /// What the client would be offered of the agent now; `None` if that is nothing, not enough, refused or too soon.
    fn share_of(&self, agent: &mut Agent, client: &Client, facts: &FrameworkFacts) -> Option<Resources> {
        let now = self.now;
        if let Some(refused) = agent.refusals.get(client)
            && (refused.floor_ns > now.mono_ns
                || (refused.until_ns > now.mono_ns && refused.held_at == Some(agent.growth)))
        {
            return None;
        }
        let fresh = |offer: &Offer| offer.client == *client && now.since(offer.made_ns) < self.refusal_floor;
        if agent.bucket.offers.values().any(fresh) {
            return None;
        }
        let part = Self::suitable(&agent.bucket.free, &client.role, facts);
        if !self.enough(&part, client, facts) {
            return None;
        }
        if refuses(agent, client, &part, now) {
            let growth = agent.growth;
            if let Some(refused) = agent.refusals.get_mut(client) {
                refused.held_at = Some(growth);
            }
            return None;
        }
        Some(part.into_owned())
    }

    /// The part of `free` that a client of this role and these capabilities may have.
    fn suitable<'r>(free: &'r Resources, role: &Arc<str>, facts: &FrameworkFacts) -> Cow<'r, Resources> {
        if !facts.gpus && free.gpus().raw() > 0 {
            return Cow::Owned(Resources::default());
        }
        let fits = |item: &Resource| {
            let kind = item.kind();
            kind.is_allocatable_to(role)
                && (facts.revocable || !kind.is_revocable())
                && (facts.shared || !kind.is_shared())
                && (facts.refinement || !kind.is_refined())
        };
        if free.iter().all(fits) { Cow::Borrowed(free) } else { Cow::Owned(free.filter(fits)) }
    }

    /// Whether this is worth an offer: it holds one of the minimal bundles of the role, or of the master.
    fn enough(&self, part: &Resources, client: &Client, facts: &FrameworkFacts) -> bool {
        if part.is_empty() {
            return false;
        }
        let own = facts.minimum.iter().find(|(role, _)| *role == client.role).map(|(_, bundles)| bundles.as_slice());
        let bundles = own.unwrap_or(self.minimum);
        let holds = |bundle: &Quantities| bundle.iter().all(|(name, least)| part.scalar(name) >= *least);
        bundles.is_empty() || bundles.iter().any(holds)
    }
}
