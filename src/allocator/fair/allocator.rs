//! The state behind allocation runs: what is free on each agent, who refused what of it, and all shares and quotas.
//!
//! It knows clients and agents by the caller's keys, and nothing of sessions. Every change is told to it and marks the
//! agents it concerns; a [run](Allocator::next) looks at just those, so a run after which nothing changed costs nothing.
//! What quotas keep back on an agent is looked at again when something in the quotas eased.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use super::amounts::Amounts;
use super::refusals::{Growth, Refusal, Refusals};
use super::spending::counts;
use super::{Quota, RoleId, Shares};
use crate::types::{Milli, Now, Resources};

/// Which agents a run has to look at.
#[derive(Clone, Debug)]
pub struct Touched<A> {
    /// Every agent with something free, whatever `agents` says.
    pub all: bool,
    /// Those where something became free, or a refusal ended.
    pub agents: BTreeSet<A>,
    /// Those where quotas kept something back and have eased since: nothing changed on the agent itself.
    pub eased: BTreeSet<A>,
}

impl<A> Default for Touched<A> {
    fn default() -> Self {
        Self { all: false, agents: BTreeSet::new(), eased: BTreeSet::new() }
    }
}

impl<A: Ord> Touched<A> {
    /// Whether there is nothing to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.agents.is_empty() && self.eased.is_empty()
    }

    /// Takes in what another names.
    pub fn join(&mut self, other: Self) {
        self.all |= other.all;
        self.agents.extend(other.agents);
        self.eased.extend(other.eased);
    }
}

/// The scalars that an agent has reserved to a role.
type Reserved = (Arc<str>, Vec<(Arc<str>, Milli)>);

/// What is known of one agent.
#[derive(Clone, Debug)]
pub(super) struct Account<K> {
    pub(super) free: Resources,
    /// What of `free` counts for quotas.
    pub(super) counted: Amounts,
    /// Whether all that is free is unreserved and stays; and whether it is all scalars besides.
    pub(super) plain: bool,
    pub(super) scalar: bool,
    total: Vec<(Arc<str>, Milli)>,
    reserved: Vec<Reserved>,
    pub(super) refusals: BTreeMap<(K, RoleId), Refusals>,
    /// Counts how often something became free here.
    growth: u64,
}

/// Shares, quotas, agents and refusals, from which offers are [made](Self::next).
///
/// `A` is the caller's key of an agent, `K` that of a framework.
#[derive(Clone, Debug)]
pub struct Allocator<A, K> {
    pub(super) shares: Shares<K>,
    pub(super) agents: BTreeMap<A, Account<K>>,
    /// What counts for quotas of all that is free.
    pub(super) free: Amounts,
    /// How many agents have something free.
    with_free: usize,
    pub(super) touched: Touched<A>,
    /// Agents on which a run left something while there are quotas.
    pub(super) kept_back: BTreeSet<A>,
    /// Counts how often quotas may have eased, or clients may use more.
    pub(super) easings: u64,
}

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Default for Allocator<A, K> {
    fn default() -> Self {
        Self::new(Shares::new())
    }
}

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Allocator<A, K> {
    /// No agents, and the shares given.
    #[must_use]
    pub fn new(shares: Shares<K>) -> Self {
        Self {
            shares,
            agents: BTreeMap::new(),
            free: Amounts::default(),
            with_free: 0,
            touched: Touched::default(),
            kept_back: BTreeSet::new(),
            easings: 0,
        }
    }

    /// The shares behind it.
    #[must_use]
    pub fn shares(&self) -> &Shares<K> {
        &self.shares
    }

    /// The agents touched since the last call.
    #[must_use]
    pub fn take_touched(&mut self) -> Touched<A> {
        std::mem::take(&mut self.touched)
    }

    /// Every agent is to be looked at again.
    pub fn touch_all(&mut self) {
        self.touched.all = true;
    }

    /// This agent is to be looked at again.
    pub fn touch(&mut self, agent: A) {
        if !self.touched.all {
            self.touched.agents.insert(agent);
        }
    }

    /// A client may use more than before, say for a new capability: filters that were found to hold may do so no more.
    pub fn client_changed(&mut self) {
        self.easings += 1;
        self.touch_all();
    }

    /// An agent joined, came back, or changed what it has in all. Nothing of it is free until [`set_free`](Self::set_free).
    pub fn set_agent(&mut self, agent: A, total: &Resources) {
        let quantities = total.quantities();
        let reservations: Vec<Reserved> =
            total.reservations().into_iter().map(|(role, part)| (role, part.quantities())).collect();
        if self
            .agents
            .get(&agent)
            .is_some_and(|account| account.total == quantities && account.reserved == reservations)
        {
            return;
        }
        let old = self
            .agents
            .get_mut(&agent)
            .map(|account| (std::mem::take(&mut account.total), std::mem::take(&mut account.reserved)));
        if let Some((total, reserved)) = old {
            self.uncount(&total, &reserved);
        }
        self.shares.add_total(&quantities);
        for (role, part) in &reservations {
            self.shares.reserved(role, part);
        }
        let account = self.agents.entry(agent).or_insert_with(|| Account {
            free: Resources::new(),
            counted: Amounts::default(),
            plain: true,
            scalar: true,
            total: Vec::new(),
            reserved: Vec::new(),
            refusals: BTreeMap::new(),
            growth: 0,
        });
        (account.total, account.reserved) = (quantities, reservations);
        self.ease();
    }

    /// The agent is gone: what it had counts no more, and neither do refusals of it.
    pub fn remove_agent(&mut self, agent: A) {
        self.set_free(agent, &Resources::new());
        if let Some(account) = self.agents.remove(&agent) {
            self.uncount(&account.total, &account.reserved);
            self.touched.agents.remove(&agent);
            self.touched.eased.remove(&agent);
            self.kept_back.remove(&agent);
            self.ease();
        }
    }

    fn uncount(&mut self, total: &[(Arc<str>, Milli)], reserved: &[Reserved]) {
        self.shares.remove_total(total);
        for (role, part) in reserved {
            self.shares.unreserved(role, part);
        }
    }

    /// What is free on an agent now; nothing of one that cannot be reached. Does nothing for an unknown agent.
    pub fn set_free(&mut self, agent: A, free: &Resources) {
        let Some(account) = self.agents.get_mut(&agent).filter(|account| account.free != *free) else { return };
        let grown = !account.free.contains(free);
        self.with_free += usize::from(account.free.is_empty());
        self.with_free -= usize::from(free.is_empty());
        account.free.clone_from(free);
        self.recount(agent);
        if grown {
            self.agents.entry(agent).and_modify(|account| account.growth += 1);
            self.touch(agent);
            self.ease();
        }
    }

    /// Takes what is free on an agent into the sums.
    fn recount(&mut self, agent: A) {
        let Self { shares, agents, free, .. } = self;
        let Some(account) = agents.get_mut(&agent) else { return };
        let counted = shares.counted(&account.free);
        free.add(&counted);
        free.subtract(&account.counted);
        account.counted = counted;
        account.scalar = account.free.iter().all(|item| item.scalar().is_some());
        account.plain = account.free.iter().all(|item| counts(item) || item.scalar().is_none());
        account.plain &= account.free.iter().all(|item| item.kind().reservations().is_empty());
    }

    /// What is free on an agent; `None` for an unknown one.
    #[must_use]
    pub fn free(&self, agent: A) -> Option<&Resources> {
        self.agents.get(&agent).map(|account| &account.free)
    }

    /// Whether any agent has something free.
    #[must_use]
    pub fn anything_free(&self) -> bool {
        self.with_free > 0
    }

    /// Puts a framework into a role, active. One that is there already stays as it is.
    pub fn add_client(&mut self, role: &str, framework: K) -> RoleId {
        self.touch_all();
        self.shares.add_client(role, framework)
    }

    /// Takes a framework out of a role; what it still held counts no more, and neither do its refusals.
    pub fn remove_client(&mut self, role: RoleId, framework: K) {
        self.forget_refusals(role, framework);
        self.shares.remove_client(role, framework);
        self.ease();
    }

    /// Whether a client takes part in runs: it does not while it is suppressed or away.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn set_active(&mut self, role: RoleId, framework: K, active: bool) {
        match (self.shares.is_active(role, framework), active) {
            (false, true) => {
                self.shares.activate(role, framework);
                self.touch_all();
            }
            (true, false) => self.shares.deactivate(role, framework),
            (true, true) | (false, false) => {}
        }
    }

    /// A client holds these resources, say of a task that its agent told of. What a run grants is counted already.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn allocated(&mut self, role: RoleId, framework: K, resources: &Resources) {
        self.shares.grant(role, framework, resources);
    }

    /// A client gave resources back, or lost them.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn unallocated(&mut self, role: RoleId, framework: K, resources: &Resources) {
        self.shares.take_back(role, framework, resources);
        self.ease();
    }

    /// The weight of a role among its siblings; see [`Shares::set_weight`].
    ///
    /// # Panics
    ///
    /// When the weight is not a positive, finite number.
    pub fn set_weight(&mut self, role: &str, weight: f64) {
        self.shares.set_weight(role, weight);
    }

    /// Sets a role's quota, or removes it; the caller has [checked](super::check_quotas) it with all others.
    pub fn set_quota(&mut self, role: &str, quota: Option<&Quota>) {
        self.shares.set_quota(role, quota);
        self.ease();
        self.touch_all();
    }

    /// What a role with all below it has of a name of what quotas are about: unreserved scalars offered or in use, and
    /// all that is reserved to it.
    #[must_use]
    pub fn consumed(&self, role: &str, name: &str) -> Milli {
        self.shares.consumed(role, name)
    }

    /// The names of which less is free than guarantees keep back.
    #[must_use]
    pub fn lacking(&self) -> Vec<Arc<str>> {
        let required = self.shares.tree.required();
        let lacks = |(_, name): &(&Arc<str>, usize)| required.of(*name) > self.free.of(*name);
        self.shares.totals.names().filter(lacks).map(|(name, _)| name.clone()).collect()
    }

    /// A client does not want this of an agent.
    pub fn refuse(&mut self, agent: A, role: RoleId, framework: K, refusal: Refusal) {
        if let Some(account) = self.agents.get_mut(&agent) {
            account.refusals.entry((framework, role)).or_default().add(refusal);
        }
    }

    /// Every refusal of a client ends, as with REVIVE.
    pub fn forget_refusals(&mut self, role: RoleId, framework: K) {
        for account in self.agents.values_mut() {
            account.refusals.remove(&(framework, role));
        }
        self.touch_all();
    }

    /// Every refusal of an agent ends, as when its attributes changed.
    pub fn forget_refusals_of(&mut self, agent: A) {
        if let Some(account) = self.agents.get_mut(&agent) {
            account.refusals.clear();
            self.touch(agent);
        }
    }

    /// Refusals of an agent may have ended by now.
    pub fn refusals_ended(&mut self, agent: A, now: Now) {
        if let Some(account) = self.agents.get_mut(&agent) {
            account.refusals.retain(|_, refusals| !refusals.forget_ended(now));
            self.touch(agent);
        }
    }

    /// When the first of the refusals of an agent ends that have not.
    #[must_use]
    pub fn next_refusal_end(&self, agent: A, now: Now) -> Option<u64> {
        self.agents.get(&agent)?.refusals.values().filter_map(|refusals| refusals.next_end(now)).min()
    }

    /// Something was given back or promised to nobody any more: what quotas kept back may be offered now.
    fn ease(&mut self) {
        if self.shares.tree.any_quota() {
            self.easings += 1;
            self.touched.eased.append(&mut self.kept_back);
        }
    }

    pub(super) fn growth(account: &Account<K>, easings: u64) -> Growth {
        (account.growth, easings)
    }

    /// Takes what was granted from what is free.
    pub(super) fn grant(&mut self, agent: A, role: RoleId, framework: K, resources: &Resources) {
        self.shares.grant(role, framework, resources);
        if let Some(account) = self.agents.get_mut(&agent) {
            account.free -= resources;
            self.with_free -= usize::from(account.free.is_empty());
            self.recount(agent);
        }
    }
}
