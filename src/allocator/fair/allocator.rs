//! The state of allocation: free resources by agent, refusals, shares and quotas.
//!
//! Clients and agents are known by the caller's keys; sessions are not known. Every change marks the affected agents,
//! clients or pairs as dirty, and a [run](Allocator::step) visits only those: a run without changes costs nothing. What
//! quotas hold back on an agent is visited again when the quotas allow more.

mod clients;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use super::amounts::Amounts;
use super::dirty::Changes;
use super::refusals::{PairState, Refusal};
use super::round::Round;
use super::spending::counts;
use super::tree::NodeId;
use super::{Quota, RoleId, Serve, Shares};
use crate::types::{Milli, Now, Resources};

/// The scalars that an agent has reserved to a role.
type Reserved = (Arc<str>, Vec<(Arc<str>, Milli)>);

/// The state of one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentState {
    pub(super) free: Resources,
    /// The part of `free` that counts for quotas.
    pub(super) counted: Amounts,
    /// Whether a part of `free` is reserved or revocable; and whether a part is not scalar.
    pub(super) special: bool,
    pub(super) composite: bool,
    /// Whether gpus are free.
    pub(super) gpus: bool,
    total: Vec<(Arc<str>, Milli)>,
    reserved: Vec<Reserved>,
    /// The state of the agent's pairs with single clients.
    pub(super) pairs: BTreeMap<NodeId, PairState>,
    /// How often something became free here.
    pub(super) growth: u64,
}

/// The allocator: shares, quotas, agents and refusals, from which offers are [made](Self::step).
///
/// `A` is the caller's key of an agent, `K` that of a framework.
#[derive(Clone, Debug)]
pub struct Allocator<A, K> {
    pub(super) shares: Shares<K>,
    pub(super) agents: BTreeMap<A, AgentState>,
    /// The sum of all free resources that count for quotas.
    pub(super) free: Amounts,
    /// How many active clients are not idle.
    pub(super) awake: usize,
    /// The agents that have something free.
    pub(super) with_free: BTreeSet<A>,
    pub(super) changes: Changes<A, K>,
    /// The current run, if any.
    pub(super) round: Option<Round<A, K>>,
    /// Agents on which a run left something because of quotas.
    pub(super) kept_back: BTreeSet<A>,
    /// How often quotas may have come to allow more.
    pub(super) quota_generation: u64,
    /// The number of client changes so far, which orders records before and after a change.
    pub(super) moment: u64,
    /// Where runs skipped a client because of a fresh offer, and until when.
    pub(super) skipped: Vec<(A, u64)>,
}

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Default for Allocator<A, K> {
    fn default() -> Self {
        Self::new(Shares::new())
    }
}

impl<A: Copy + Ord + Debug, K: Copy + Ord + Debug> Allocator<A, K> {
    /// Creates an allocator with these shares and no agents.
    #[must_use]
    pub fn new(shares: Shares<K>) -> Self {
        Self {
            shares,
            agents: BTreeMap::new(),
            free: Amounts::default(),
            awake: 0,
            with_free: BTreeSet::new(),
            changes: Changes::default(),
            round: None,
            kept_back: BTreeSet::new(),
            quota_generation: 0,
            moment: 0,
            skipped: Vec::new(),
        }
    }

    /// Returns the shares.
    #[must_use]
    pub fn shares(&self) -> &Shares<K> {
        &self.shares
    }

    /// Returns whether a run of this kind has something to visit.
    ///
    /// For a run that serves the active clients, agents with nothing free count. For one that serves all they do not.
    /// Finding that out uses up `looks`; without any left the result is false for now.
    #[must_use]
    pub fn has_changes(&mut self, serve: Serve, looks: &mut usize) -> bool {
        let Self { changes, with_free, .. } = self;
        if with_free.is_empty() {
            changes.forget_clients();
        }
        match serve {
            Serve::Active => !changes.is_empty(serve),
            Serve::All => changes.skip_full(|agent| with_free.contains(agent), looks),
        }
    }

    /// Returns whether a run for all clients may have something to visit.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty(Serve::All)
    }

    /// Marks an agent as dirty.
    pub fn mark_dirty(&mut self, agent: A) {
        self.changes.add_agent(agent);
    }

    /// Adds an agent, or replaces its total. Nothing of it is free until [`set_free`](Self::set_free).
    pub fn set_agent(&mut self, agent: A, total: &Resources) {
        let quantities = total.quantities();
        let reservations: Vec<Reserved> =
            total.reservations().into_iter().map(|(role, part)| (role, part.quantities())).collect();
        let agent_state = self.agents.get(&agent);
        if agent_state.is_some_and(|it| it.total == quantities && it.reserved == reservations) {
            return;
        }
        let agent_state = self.agents.entry(agent).or_default();
        let (old, old_reserved) = (std::mem::take(&mut agent_state.total), std::mem::take(&mut agent_state.reserved));
        self.uncount(&old, &old_reserved);
        self.shares.add_total(&quantities);
        for (role, part) in &reservations {
            self.shares.reserved(role, part);
        }
        let agent_state = self.agents.entry(agent).or_default();
        (agent_state.total, agent_state.reserved) = (quantities, reservations);
        self.advance_quota_generation();
    }

    /// Removes an agent with its total and its refusals.
    pub fn remove_agent(&mut self, agent: A) {
        self.set_free(agent, &Resources::new());
        if let Some(agent_state) = self.agents.remove(&agent) {
            self.uncount(&agent_state.total, &agent_state.reserved);
            self.changes.forget_agent(agent);
            self.kept_back.remove(&agent);
            self.advance_quota_generation();
        }
    }

    fn uncount(&mut self, total: &[(Arc<str>, Milli)], reserved: &[Reserved]) {
        if !total.is_empty() {
            self.shares.remove_total(total);
        }
        for (role, part) in reserved {
            self.shares.unreserved(role, part);
        }
    }

    /// Sets what is free on an agent; an unreachable one has nothing. Does nothing for an unknown agent.
    pub fn set_free(&mut self, agent: A, free: &Resources) {
        let Some(agent_state) = self.agents.get_mut(&agent).filter(|it| it.free != *free) else { return };
        let grown = !agent_state.free.contains(free);
        let had_gpus = agent_state.gpus;
        if grown {
            agent_state.growth += 1;
        }
        if free.is_empty() {
            self.with_free.remove(&agent);
        } else if agent_state.free.is_empty() {
            self.with_free.insert(agent);
        }
        agent_state.set_free(free.clone());
        let counted = self.shares.counted(free);
        let gone = std::mem::replace(&mut agent_state.counted, counted);
        self.free.add(&agent_state.counted);
        self.free.subtract(&gone);
        let lost_gpus = had_gpus && !agent_state.gpus;
        if grown || lost_gpus {
            self.mark_dirty(agent);
        }
        if grown {
            self.advance_quota_generation();
        }
    }

    /// Returns what is free on an agent; `None` for an unknown one.
    #[must_use]
    pub fn free(&self, agent: A) -> Option<&Resources> {
        self.agents.get(&agent).map(|agent_state| &agent_state.free)
    }

    /// Adds resources to a client's allocation, such as those of a task that its agent reported.
    ///
    /// What a run grants is counted already.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn allocated(&mut self, role: RoleId, framework: K, resources: &Resources) {
        self.shares.grant(role, framework, resources);
    }

    /// Subtracts resources from a client's allocation.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn unallocated(&mut self, role: RoleId, framework: K, resources: &Resources) {
        self.shares.take_back(role, framework, resources);
        self.advance_quota_generation();
    }

    /// Sets the weight of a role among its siblings; see [`Shares::set_weight`].
    ///
    /// # Panics
    ///
    /// When the weight is not a positive, finite number.
    pub fn set_weight(&mut self, role: &str, weight: f64) {
        self.shares.set_weight(role, weight);
    }

    /// Sets or removes a role's quota; the caller has [checked](super::check_quotas) it together with all others.
    pub fn set_quota(&mut self, role: &str, quota: Option<&Quota>) {
        // This comes before, since no quota may be left afterwards: cached refusals may cover less then.
        self.advance_quota_generation();
        self.shares.set_quota(role, quota);
        self.changes.add_everything();
    }

    /// Returns a role's consumption of a resource, descendants included.
    ///
    /// That is unreserved scalars offered or in use, and everything reserved to it.
    #[must_use]
    pub fn consumed(&self, role: &str, name: &str) -> Milli {
        self.shares.consumed(role, name)
    }

    /// Returns the names of which less is free than guarantees require.
    #[must_use]
    pub fn lacking(&self) -> Vec<Arc<str>> {
        let required = self.shares.tree.required();
        let lacks = |(_, name): &(&Arc<str>, usize)| required.of(*name) > self.free.of(*name);
        self.shares.totals.names().filter(lacks).map(|(name, _)| name.clone()).collect()
    }

    /// Records that quotas may allow more, so that what they held back is visited again.
    pub(super) fn advance_quota_generation(&mut self) {
        if self.shares.tree.any_quota() {
            self.quota_generation += 1;
            self.changes.add_unblocked(std::mem::take(&mut self.kept_back));
        }
    }
}

impl AgentState {
    /// Replaces what is free; the caller replaces `counted`.
    pub(super) fn set_free(&mut self, free: Resources) {
        self.composite = free.iter().any(|item| item.scalar().is_none());
        let special = |item: &crate::types::Resource| {
            !item.kind().reservations().is_empty() || (!counts(item) && item.scalar().is_some())
        };
        self.special = free.iter().any(special);
        self.gpus = free.gpus().raw() > 0;
        self.free = free;
    }
}
