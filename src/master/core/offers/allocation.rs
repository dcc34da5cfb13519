//! Allocation: which client is offered what, by five rules that limit the number of offers.
//!
//! (a) A refusal holds for at least a second. (b) Every change serves the active clients at once; the idle ones, whose
//! last round brought no launch, share one run a second. (c) A client has one offer of an agent at a time, unless that
//! one is a second old. (d) An unanswered offer expires, earlier if another active client could use it. (e) A framework
//! that stated a demand is offered no more than that. Among the eligible clients, the one furthest below its fair share
//! is first and gets all that is left of the agent.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use crate::{
    allocator::fair::{Abilities, Clients, Grant, RoleId, Serve, Step, Terms},
    master::core::{
        Client, Event, FrameworkFacts, Master, OfferMade, Quantities, Turn,
        frameworks::Frameworks,
        keys::{AgentKey, FrameworkKey},
        ledger::Held,
        offers::Offer,
        timers::Timer,
    },
};

/// The properties of clients that the allocator reads.
pub(super) struct Rules<'a> {
    pub(super) minimum: &'a [Quantities],
    pub(super) frameworks: &'a Frameworks,
    /// Whether any client has no minimum; computed on first use.
    pub(super) accepts_any: OnceCell<bool>,
}

/// So many agents and clients count as one unit of a turn's work.
const LOOKS_PER_WORK: usize = 8;

impl Master {
    /// When the next run for the idle clients may begin.
    pub(in crate::master::core) fn next_idle_run_ns(&self) -> u64 {
        let interval = u64::try_from(self.config.idle_interval.as_nanos()).unwrap_or(u64::MAX);
        self.last_idle_run_ns.saturating_add(interval)
    }

    /// Serves what changed since the last call: the active clients at once, all once a second. What quotas blocked and
    /// now allow waits for the run of all, since every task's end frees some quota.
    pub(in crate::master::core) fn allocate(&mut self, turn: &mut Turn<'_>) {
        if self.is_allocation_held(turn.now) {
            self.ledger.shares_mut().stop();
            return;
        }
        self.expire_contended(turn);
        let mut budget = self.config.work_per_turn * LOOKS_PER_WORK;
        if !self.continue_run(turn, &mut budget) {
            return;
        }
        let is_idle_run_due = turn.now.mono_ns >= self.next_idle_run_ns();
        let mut looks = self.config.work_per_turn * LOOKS_PER_WORK;
        let shares = self.ledger.shares_mut();
        // Skip the idle run while all changed agents are full; otherwise the active clients take what frees up and the
        // idle ones starve.
        let serve = if is_idle_run_due && shares.has_changes(Serve::All, &mut looks) {
            self.last_idle_run_ns = turn.now.mono_ns;
            Serve::All
        } else if shares.any_awake() && shares.has_changes(Serve::Active, &mut looks) {
            Serve::Active
        } else {
            return;
        };
        shares.begin(serve);
        self.counts.allocation_runs += 1;
        self.continue_run(turn, &mut budget);
    }

    /// Continues the run that has begun; false if it paused before its end.
    fn continue_run(&mut self, turn: &mut Turn<'_>, budget: &mut usize) -> bool {
        let mut made: BTreeMap<FrameworkKey, Vec<OfferMade>> = BTreeMap::new();
        let mut accepts_any = OnceCell::new();
        let done = loop {
            let Self { ledger, frameworks, config, .. } = &mut *self;
            let rules = Rules { minimum: &config.minimum, frameworks, accepts_any };
            let step = ledger.shares_mut().step(turn.now, &rules, budget);
            Rules { accepts_any, .. } = rules;
            match step {
                Step::Granted(grant) => {
                    let (framework, offer) = self.make_offer(turn, grant);
                    made.entry(framework).or_default().push(offer);
                }
                Step::Paused => break false,
                Step::Done => break true,
            }
        };
        for (agent, until_ns) in self.ledger.shares_mut().take_skipped() {
            self.timers.arm_roughly(until_ns, Timer::RefusalEnded(agent));
        }
        for (framework, offers) in made {
            self.counts.offers_made += offers.len() as u64;
            turn.send_event(self.frameworks[framework].session, Event::Offers(offers));
        }
        done
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
        self.offers.insert(key, grant.agent);
        let agent = self.agents.get_mut(grant.agent).expect("the allocator knows the same agents");
        let record = agent.record_mut();
        record.offers.insert(key, offer);
        let framework = self.frameworks.get_mut(client.framework).expect("the rules admitted this framework");
        framework.add_outstanding(key, &quantities);
        if let Some(state) = framework.roles.get_mut(&client.role) {
            state.offered();
        }
        self.ledger.shares_mut().set_fresh(
            grant.agent,
            grant.role,
            client.framework,
            turn.now.mono_after(self.config.refusal_floor),
        );
        let facts = &framework.record.facts;
        let made = OfferMade {
            key,
            framework: framework.record.id.clone(),
            agent: agent.record.id.clone(),
            facts: agent.record.facts.clone(),
            role: client.role,
            resources,
            multi_role: facts.multi_role,
            refinement: facts.refinement,
        };
        (client.framework, made)
    }
}

impl Clients<FrameworkKey> for Rules<'_> {
    fn terms(&self, role: RoleId, framework: FrameworkKey) -> Terms<'_> {
        let Some(one) = self.frameworks.get(framework) else { return Terms::default() };
        let facts = &one.record.facts;
        let minimum = one.own_minimum(role).unwrap_or(self.minimum);
        Terms { abilities: facts.abilities(), minimum, demand: one.open_demand() }
    }

    fn accepts_any(&self) -> bool {
        let is_empty = |bundles: &[Quantities]| bundles.is_empty() || bundles.iter().any(Vec::is_empty);
        let lenient = |facts: &FrameworkFacts| facts.minimum.iter().any(|(_, bundles)| is_empty(bundles));
        *self
            .accepts_any
            .get_or_init(|| is_empty(self.minimum) || self.frameworks.values().any(|one| lenient(&one.record.facts)))
    }
}

impl FrameworkFacts {
    fn abilities(&self) -> Abilities {
        Abilities { revocable: self.revocable, shared: self.shared, refinement: self.refinement, gpus: self.gpus }
    }
}
