//! A run over agents: first for the roles that miss something guaranteed to them, then for all.
//!
//! On each agent the clients are walked in the order of what they are owed, and the first that may have something worth an
//! offer gets all it may have; the walk begins again until nobody is left. In the first pass an offer has to bring
//! something that its role is guaranteed and misses; the rest of the agent rides along, as far as limits and the guarantees
//! of others allow. Reservations go to their role's subtree in either pass, whatever quotas say.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use super::allocator::{Account, Allocator, Touched};
use super::amounts::Amounts;
use super::lines::Part;
use super::portion::{Abilities, Measure, suitable};
use super::{RoleId, Shares};
use crate::types::{Milli, Now, Resources};

/// Scalars per resource name.
type Quantities = Vec<(Arc<str>, Milli)>;

/// What the caller knows of clients and a run has to ask.
pub trait Clients<A, K> {
    /// Whether the client may be offered something of this agent now.
    fn admits(&self, agent: A, role: RoleId, framework: K) -> bool;

    /// What the framework can deal with.
    fn abilities(&self, framework: K) -> Abilities;

    /// An offer to the client holds at least one of these bundles; none means that anything will do. It is a floor and
    /// says nothing about how much the client wants.
    fn minimum(&self, role: &Arc<str>, framework: K) -> &[Quantities];

    /// Whether there is any client whose minimum is nothing at all.
    fn anything_will_do(&self) -> bool;

    /// The most the framework wants to be offered, if it said so. An offer of all it still wants is enough, even below its
    /// minimum.
    fn demand(&self, framework: K) -> Option<Quantities>;
}

/// What a client is given of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<A, K> {
    /// Whose resources they are.
    pub agent: A,
    /// The client's role.
    pub role: RoleId,
    /// The client's framework.
    pub framework: K,
    /// What it is given.
    pub resources: Resources,
}

/// How far a run has got.
#[derive(Clone, Debug)]
pub struct Round<A> {
    agents: Vec<A>,
    at: usize,
    hungry: bool,
}

/// What stays the same while one agent's clients are walked.
struct View<'a, A, C> {
    agent: A,
    now: Now,
    clients: &'a C,
    hungry: bool,
    /// What is free beyond what guarantees keep back; `None` without quotas.
    surplus: Option<Amounts>,
    easings: u64,
}

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Allocator<A, K> {
    /// Begins a run over the agents touched.
    #[must_use]
    pub fn round(&self, touched: Touched<A>) -> Round<A> {
        let free = |agent: &A| self.agents.get(agent).is_some_and(|account| !account.free.is_empty());
        let Touched { all, mut agents, eased } = touched;
        agents.extend(eased);
        let agents = if all {
            self.agents.keys().copied().filter(free).collect()
        } else {
            agents.into_iter().filter(free).collect()
        };
        Round { agents, at: 0, hungry: true }
    }

    /// The next grant of a run, counted as allocated and taken from what is free.
    pub fn next<C: Clients<A, K>>(&mut self, round: &mut Round<A>, now: Now, clients: &C) -> Option<Grant<A, K>> {
        self.shares.refresh();
        loop {
            let done = round.hungry && self.shares.tree.required().is_zero();
            let Some(agent) = round.agents.get(round.at).copied().filter(|_| !done) else {
                if !round.hungry {
                    return None;
                }
                (round.hungry, round.at) = (false, 0);
                continue;
            };
            if let Some((role, framework, resources)) = self.pick(agent, now, round.hungry, clients) {
                self.grant(agent, role, framework, &resources);
                return Some(Grant { agent, role, framework, resources });
            }
            round.at += 1;
            let left = self.agents.get(&agent).is_some_and(|account| !account.free.is_empty());
            if left && !round.hungry && self.shares.tree.any_quota() {
                self.kept_back.insert(agent);
            }
        }
    }

    fn pick<C: Clients<A, K>>(
        &mut self,
        agent: A,
        now: Now,
        hungry: bool,
        clients: &C,
    ) -> Option<(RoleId, K, Resources)> {
        let Self { shares, agents, free, easings, .. } = self;
        let account = agents.get_mut(&agent).filter(|account| !account.free.is_empty())?;
        let surplus = shares.tree.any_quota().then(|| surplus(free, shares.tree.required()));
        let part = Self::part(account, hungry, surplus.as_ref(), clients)?;
        let view = View { agent, now, clients, hungry, surplus, easings: *easings };
        shares.tree.walk(part).find_map(|(role, framework)| {
            let resources = view.portion(shares, account, role, framework)?;
            Some((role, framework, resources))
        })
    }

    /// The clients worth walking: those at a limit, or for whom nothing is left beside what is kept back, can be given only
    /// reservations, revocable resources and what is no scalar.
    fn part<C: Clients<A, K>>(
        account: &Account<K>,
        hungry: bool,
        surplus: Option<&Amounts>,
        clients: &C,
    ) -> Option<Part> {
        let Some(surplus) = surplus.filter(|_| !hungry) else {
            return Some(if hungry { Part::Hungry } else { Part::All });
        };
        if !account.plain || (!account.scalar && clients.anything_will_do()) {
            return Some(Part::All);
        }
        let open = |name: usize| account.counted.of(name) > 0 && surplus.of(name) > 0;
        (0..account.counted.len()).any(open).then_some(Part::Open)
    }

    /// Whether a client could use these resources of an agent if they were free, as far as anything but their quotas says.
    pub fn could_use<C: Clients<A, K>>(
        &self,
        agent: A,
        role: RoleId,
        framework: K,
        resources: &Resources,
        now: Now,
        clients: &C,
    ) -> bool {
        let path = self.shares.path(role);
        let part = suitable(resources, path, clients.abilities(framework));
        let refused = self.agents.get(&agent).and_then(|account| account.refusals.get(&(framework, role)));
        enough(&part, None, clients.minimum(path, framework))
            && refused.is_none_or(|refusals| refusals.hold(now, &part).is_none())
    }
}

/// What is free beyond what is kept back.
fn surplus(free: &Amounts, required: &Amounts) -> Amounts {
    let mut surplus = free.clone();
    for name in 0..free.len() {
        surplus.set(name, free.of(name).saturating_sub(required.of(name)).max(0));
    }
    surplus
}

impl<A: Copy, C> View<'_, A, C> {
    /// What the client is offered of the agent; `None` if that is nothing, not enough, refused or not called for.
    fn portion<K: Copy + Ord + Debug>(
        &self,
        shares: &Shares<K>,
        account: &mut Account<K>,
        role: RoleId,
        framework: K,
    ) -> Option<Resources>
    where
        A: Ord + Debug,
        C: Clients<A, K>,
    {
        let growth = Allocator::<A, K>::growth(account, self.easings);
        let refused = account.refusals.get_mut(&(framework, role));
        if refused.as_ref().is_some_and(|refusals| refusals.surely_hold(self.now, growth)) {
            return None;
        }
        if !self.clients.admits(self.agent, role, framework) {
            return None;
        }
        let path = shares.path(role);
        let whole = suitable(&account.free, path, self.clients.abilities(framework));
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
        let hold = refused.as_ref().and_then(|refusals| refusals.hold(self.now, &part));
        if let (Some(until), Some(refusals)) = (hold, refused) {
            refusals.held_at = Some((until, growth));
            return None;
        }
        let demand = self.clients.demand(framework);
        let asked = match &demand {
            Some(open) => Cow::Owned(part.shrink_to(open)),
            None => part,
        };
        let refused = account.refusals.get(&(framework, role)).filter(|_| demand.is_some());
        let stands = refused.is_some_and(|refusals| refusals.hold(self.now, &asked).is_some());
        let called_for = !self.hungry || measure.is_some_and(|measure| measure.feeds(&asked));
        let minimum = self.clients.minimum(path, framework);
        (!stands && called_for && enough(&asked, demand.as_ref(), minimum)).then(|| asked.into_owned())
    }
}

/// Whether this is worth an offer: it holds one of the minimal bundles, or all that was asked for.
fn enough(part: &Resources, demand: Option<&Quantities>, minimum: &[Quantities]) -> bool {
    let holds = |bundle: &Quantities| bundle.iter().all(|(name, least)| part.scalar(name) >= *least);
    let all_asked = |open: &Quantities| open.iter().any(|(_, amount)| !amount.is_zero()) && holds(open);
    !part.is_empty() && (minimum.is_empty() || minimum.iter().any(holds) || demand.is_some_and(all_asked))
}
