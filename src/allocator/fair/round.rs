//! A run over what is dirty: first for the roles whose guarantees are not met, then for all.
//!
//! On each agent the clients are visited in the order of their shares. The first that may get something worth an offer
//! gets everything it may have; the walk restarts until none is left. In the first pass an offer has to contain
//! something that its role is guaranteed and lacks; it includes the rest of the agent, as far as limits and other
//! guarantees allow. Reservations are offered to their role's subtree in either pass, whatever the quotas.
//!
//! A run grants what one over all agents and all clients would. It can pause after a bounded number of looks and
//! continue later: it uses every agent's current state, and the next run visits what changed meanwhile.

use std::borrow::Cow;
use std::fmt::Debug;
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::allocator::{AgentState, Allocator};
use super::amounts::Amounts;
use super::dirty::Dirty;
use super::lines::Part;
use super::portion::{Abilities, Measure, suitable};
use super::refusals::Growth;
use super::tree::{ClientState, NodeId};
use super::{RoleId, Shares};
use crate::types::{Milli, Now, Resources};

/// Scalars per resource name.
type Quantities = Vec<(Arc<str>, Milli)>;

/// A grant costs as much as so many looks.
const LOOKS_PER_GRANT: usize = 16;

/// The clients' properties that a run needs, provided by the caller.
pub trait Clients<K> {
    /// Returns what a client can use and wants.
    fn terms(&self, role: RoleId, framework: K) -> Terms<'_>;

    /// Returns whether any client's minimum is nothing at all.
    fn accepts_any(&self) -> bool;
}

/// What a client can use and wants.
#[derive(Clone, Debug, Default)]
pub struct Terms<'a> {
    /// The abilities of the framework.
    pub abilities: Abilities,
    /// The minimum: an offer contains at least one of these bundles; empty means that any offer is accepted. It does
    /// not limit how much the client wants.
    pub minimum: &'a [Quantities],
    /// The most that the framework wants to be offered, if it set a demand. An offer of the whole demand suffices, even
    /// below the minimum.
    pub demand: Option<Quantities>,
}

/// The clients that a run serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// Clients that are not idle.
    Active,
    /// All clients, idle ones included.
    All,
}

/// The resources of an agent that a run grants to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<A, K> {
    /// The agent.
    pub agent: A,
    /// The client's role.
    pub role: RoleId,
    /// The client's framework.
    pub framework: K,
    /// The granted resources.
    pub resources: Resources,
}

/// The outcome of one step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<A, K> {
    /// A grant: it is counted as allocated and no longer free.
    Granted(Grant<A, K>),
    /// The budget is used up; the next step continues the run.
    Paused,
    /// The run has ended.
    Done,
}

/// The progress of a run.
#[derive(Clone, Debug)]
pub(super) struct Round<A, K> {
    serve: Serve,
    scope: Dirty<A, K>,
    /// The current agent; if there is none, the next is searched for.
    at: Option<A>,
    /// The last agent that this pass has finished.
    passed: Option<A>,
    /// What no run has to visit, to be dropped piece by piece: dropping much at once takes long.
    covered: Dirty<A, K>,
    /// Whether this is the pass for roles whose guarantees are not met.
    below_guarantee: bool,
    /// Whether `whole` and `here` are those of the current agent.
    entered: bool,
    /// Whether the current agent is visited for every client.
    whole: bool,
    /// The clients marked as dirty for the whole run, and for the current agent.
    marked: Vec<NodeId>,
    here: Vec<NodeId>,
}

/// What does not change while one agent's clients are visited.
struct View<'a, C> {
    now: Now,
    clients: &'a C,
    below_guarantee: bool,
    /// What is free beyond what guarantees require; `None` without quotas.
    surplus: Option<Amounts>,
    quota_generation: u64,
}

/// A client that a walk visits.
#[derive(Clone, Copy)]
struct Candidate<K> {
    node: NodeId,
    role: RoleId,
    framework: K,
    state: ClientState,
}

impl<A: Copy + Ord, K: Copy + Ord> Round<A, K> {
    /// Drops the agents that were not visited because nothing was free, and what no run has to visit, as far as the
    /// budget has looks. Returns whether all are dropped.
    fn drop_rest(&mut self, budget: &mut usize) -> bool {
        for dirty in [&mut self.scope, &mut self.covered] {
            while let Some(agent) = dirty.next_agent(None) {
                let Some(left) = budget.checked_sub(1) else { return false };
                *budget = left;
                dirty.forget_agent(agent);
            }
        }
        true
    }
}

/// The part of an agent that a client may get: everything free, or less.
enum Portion {
    Whole,
    Part(Resources),
}

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Allocator<A, K> {
    /// Begins a run over what changed since the last one of its kind. What an unfinished run has not visited is
    /// included.
    pub fn begin(&mut self, serve: Serve) {
        let (scope, covered) = self.changes.take(serve);
        self.begin_over(scope, covered, serve);
    }

    pub(super) fn begin_over(&mut self, mut scope: Dirty<A, K>, covered: Dirty<A, K>, serve: Serve) {
        if let Some(round) = self.round.take() {
            self.unmark(&round);
            scope.join(round.scope);
        }
        let mut marked = Vec::new();
        // If most clients are dirty it is cheaper to visit them all: the others are granted nothing.
        if scope.clients.len() * 2 > self.shares.client_count() {
            scope.all = true;
        }
        if !scope.all {
            marked.extend(scope.clients.iter().filter_map(|(role, client)| self.shares.find_client(*role, *client)));
            for node in &marked {
                self.shares.tree.set_dirty(*node, true);
            }
        }
        let (at, passed, below_guarantee, entered, whole) = (None, None, true, false, false);
        self.round = Some(Round {
            serve,
            scope,
            covered,
            at,
            passed,
            below_guarantee,
            entered,
            whole,
            marked,
            here: Vec::new(),
        });
    }

    /// Stops a run early: the next one visits the rest.
    pub fn stop(&mut self) {
        if let Some(round) = self.round.take() {
            self.unmark(&round);
            self.changes.give_back(round.serve, round.scope);
        }
    }

    /// Returns whether a run is in progress.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.round.is_some()
    }

    /// Returns the next grant of the run, or pauses after `budget` looks at agents and clients.
    ///
    /// It subtracts the looks from the budget, and more for a grant. The clients of one agent are always visited in one
    /// step.
    pub fn step<C: Clients<K>>(&mut self, now: Now, clients: &C, budget: &mut usize) -> Step<A, K> {
        let Some(mut round) = self.round.take() else { return Step::Done };
        self.shares.refresh();
        let step = self.advance(&mut round, now, clients, budget);
        if step == Step::Done {
            self.unmark(&round);
        } else {
            self.round = Some(round);
        }
        step
    }

    fn advance<C: Clients<K>>(
        &mut self,
        round: &mut Round<A, K>,
        now: Now,
        clients: &C,
        budget: &mut usize,
    ) -> Step<A, K> {
        loop {
            let met = round.below_guarantee && self.shares.tree.required().is_zero();
            let Some(agent) = round.at.or_else(|| self.next_agent(round)).filter(|_| !met) else {
                self.leave_agent(round);
                if !round.below_guarantee {
                    return if round.drop_rest(budget) { Step::Done } else { Step::Paused };
                }
                (round.below_guarantee, round.at, round.passed) = (false, None, None);
                continue;
            };
            if !round.entered {
                if *budget == 0 {
                    return Step::Paused;
                }
                *budget -= 1;
                round.at = Some(agent);
                self.enter_agent(round, agent);
            }
            if let Some((client, portion)) = self.pick(agent, now, round, clients, budget) {
                *budget = budget.saturating_sub(LOOKS_PER_GRANT);
                return Step::Granted(self.grant(agent, round, client, portion));
            }
            self.leave_agent(round);
            (round.at, round.passed) = (None, Some(agent));
            if round.below_guarantee {
                continue;
            }
            round.scope.forget_agent(agent);
            if self.shares.tree.any_quota() && self.with_free.contains(&agent) {
                self.kept_back.insert(agent);
            }
        }
    }

    /// Returns the next agent that has something free or changed.
    fn next_agent(&self, round: &Round<A, K>) -> Option<A> {
        if !round.scope.is_everywhere() {
            return round.scope.next_agent(round.passed);
        }
        self.with_free.range((round.passed.map_or(Unbounded, Excluded), Unbounded)).next().copied()
    }

    /// Marks the clients for whom the agent is visited.
    fn enter_agent(&mut self, round: &mut Round<A, K>, agent: A) {
        (round.entered, round.whole) = (true, round.scope.is_whole(agent));
        let Some(pairs) = round.scope.pairs.get(&agent).filter(|_| !round.whole) else { return };
        let tree = &mut self.shares.tree;
        for (role, client) in pairs {
            if let Some(&node) = self.shares.clients.get(&(*role, *client))
                && !tree.is_dirty(node)
            {
                tree.set_dirty(node, true);
                round.here.push(node);
            }
        }
    }

    fn leave_agent(&mut self, round: &mut Round<A, K>) {
        round.entered = false;
        for node in round.here.drain(..) {
            self.shares.tree.set_dirty(node, false);
        }
    }

    fn unmark(&mut self, round: &Round<A, K>) {
        for node in round.marked.iter().chain(&round.here) {
            self.shares.tree.set_dirty(*node, false);
        }
    }

    /// Returns the first client of the agent that may get something worth an offer.
    fn pick<C: Clients<K>>(
        &mut self,
        agent: A,
        now: Now,
        round: &Round<A, K>,
        clients: &C,
        budget: &mut usize,
    ) -> Option<(Candidate<K>, Portion)> {
        let Self { shares, agents, free, quota_generation, skipped, .. } = self;
        let agent_state = agents.get_mut(&agent).filter(|agent_state| !agent_state.free.is_empty())?;
        let surplus = shares.tree.any_quota().then(|| surplus(free, shares.tree.required()));
        let part = part(agent_state, round.below_guarantee, surplus.as_ref(), clients)?;
        let below_guarantee = round.below_guarantee;
        let view = View { now, clients, below_guarantee, surplus, quota_generation: *quota_generation };
        shares.tree.walk(part, !round.whole).find_map(|(node, role, framework)| {
            *budget = budget.saturating_sub(1);
            let state = shares.tree.state(node);
            if state.idle && round.serve == Serve::Active {
                return None;
            }
            let client = Candidate { node, role, framework, state };
            let portion = view.portion(shares, agent_state, client, |until| skipped.push((agent, until)))?;
            Some((client, portion))
        })
    }

    /// Subtracts a grant from what is free, and counts it as allocated.
    fn grant(&mut self, agent: A, round: &mut Round<A, K>, client: Candidate<K>, portion: Portion) -> Grant<A, K> {
        let Candidate { node, role, framework, .. } = client;
        let Self { shares, agents, free, with_free, .. } = self;
        let agent_state = agents.get_mut(&agent).expect("the agent that was picked for is known");
        let had_gpus = agent_state.gpus;
        let counted = mem::take(&mut agent_state.counted);
        let resources = match portion {
            Portion::Whole => {
                let resources = mem::take(&mut agent_state.free);
                agent_state.set_free(Resources::new());
                shares.grant_counted(node, role, &resources, &counted);
                resources
            }
            Portion::Part(resources) => {
                let mut left = mem::take(&mut agent_state.free);
                left -= &resources;
                agent_state.counted = shares.counted(&left);
                agent_state.set_free(left);
                let taken = shares.counted(&resources);
                shares.grant_counted(node, role, &resources, &taken);
                resources
            }
        };
        free.add(&agent_state.counted);
        free.subtract(&counted);
        if agent_state.free.is_empty() {
            with_free.remove(&agent);
        }
        // The rest is now open to clients that cannot use gpus.
        if had_gpus && !agent_state.gpus && !round.whole {
            round.scope.agents.insert(agent);
            round.whole = true;
        }
        Grant { agent, role, framework, resources }
    }

    /// Returns whether a client could use these resources of an agent if they were free, quotas aside.
    pub fn could_use<C: Clients<K>>(
        &self,
        agent: A,
        role: RoleId,
        framework: K,
        resources: &Resources,
        now: Now,
        clients: &C,
    ) -> bool {
        let Some(node) = self.shares.find_client(role, framework) else { return false };
        let terms = clients.terms(role, framework);
        let part = suitable(resources, resources.gpus().raw() > 0, self.shares.path(role), terms.abilities);
        let pair = self.agents.get(&agent).and_then(|agent_state| agent_state.pairs.get(&node));
        let state = self.shares.tree.state(node);
        enough(&part, None, terms.minimum)
            && pair.filter(|pair| !pair.is_void(state)).is_none_or(|pair| pair.filtered_until(now, &part).is_none())
    }
}

/// Returns the clients worth visiting. Those at a limit, or for whom nothing is left beyond the guarantees, can only
/// get reservations, revocable resources and what is not scalar.
fn part<K, C: Clients<K>>(
    agent_state: &AgentState,
    below_guarantee: bool,
    surplus: Option<&Amounts>,
    clients: &C,
) -> Option<Part> {
    let Some(surplus) = surplus.filter(|_| !below_guarantee) else {
        return Some(if below_guarantee { Part::BelowGuarantee } else { Part::All });
    };
    if agent_state.special || (agent_state.composite && clients.accepts_any()) {
        return Some(Part::All);
    }
    let open = |name: usize| agent_state.counted.of(name) > 0 && surplus.of(name) > 0;
    (0..agent_state.counted.len()).any(open).then_some(Part::Open)
}

/// Returns what is free beyond what guarantees require.
fn surplus(free: &Amounts, required: &Amounts) -> Amounts {
    let mut surplus = free.clone();
    for name in 0..free.len() {
        surplus.set(name, free.of(name).saturating_sub(required.of(name)).max(0));
    }
    surplus
}

impl<C> View<'_, C> {
    /// Returns what the client is offered of the agent; `None` if that is nothing, not enough, refused or not needed.
    /// `skip` is set to the end of a fresh offer that prevents another.
    fn portion<K: Copy + Ord + Debug>(
        &self,
        shares: &Shares<K>,
        agent_state: &mut AgentState,
        client: Candidate<K>,
        skip: impl FnOnce(u64),
    ) -> Option<Portion>
    where
        C: Clients<K>,
    {
        let Candidate { node, role, framework, state } = client;
        let growth: Growth = (agent_state.growth, self.quota_generation, state.changed);
        let mut pair = agent_state.pairs.get_mut(&node);
        if let Some(pair) = &mut pair {
            pair.forget_void(state);
            if pair.is_filtered_cached(self.now, growth) {
                return None;
            }
            if pair.is_fresh(self.now) {
                pair.note_skipped().map(skip);
                return None;
            }
        }
        let terms = self.clients.terms(role, framework);
        let whole = suitable(&agent_state.free, agent_state.gpus, shares.path(role), terms.abilities);
        let measure = self.surplus.as_ref().map(|surplus| Measure {
            totals: &shares.totals,
            allowance: shares.tree.allowance(role.0),
            surplus,
        });
        let part = match &measure {
            Some(measure) => measure.cut(whole),
            None => whole,
        };
        if part.is_empty() {
            return None;
        }
        if let Some(until) = pair.as_ref().and_then(|pair| pair.filtered_until(self.now, &part)) {
            if let Some(pair) = pair {
                pair.cache_filtered(until, growth);
            }
            return None;
        }
        let asked = match &terms.demand {
            Some(open) => Cow::Owned(part.shrink_to(open)),
            None => part,
        };
        let refused = pair.filter(|_| terms.demand.is_some());
        let stands = refused.is_some_and(|pair| pair.filtered_until(self.now, &asked).is_some());
        let called_for = !self.below_guarantee || measure.is_some_and(|measure| measure.has_missing_guarantee(&asked));
        let granted = !stands && called_for && enough(&asked, terms.demand.as_ref(), terms.minimum);
        granted.then(|| match asked {
            Cow::Borrowed(_) => Portion::Whole,
            Cow::Owned(part) => Portion::Part(part),
        })
    }
}

/// Returns whether this is worth an offer: it contains one of the minimal bundles, or the whole demand.
fn enough(part: &Resources, demand: Option<&Quantities>, minimum: &[Quantities]) -> bool {
    let holds = |bundle: &Quantities| bundle.iter().all(|(name, least)| part.scalar(name) >= *least);
    let all_asked = |open: &Quantities| open.iter().any(|(_, amount)| !amount.is_zero()) && holds(open);
    !part.is_empty() && (minimum.is_empty() || minimum.iter().any(holds) || demand.is_some_and(all_asked))
}
