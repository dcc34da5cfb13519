//! The state behind allocation runs: what is free on each agent, who refused what of it, and all shares and quotas.
//!
//! It knows clients and agents by the caller's keys, and nothing of sessions. Every change marks as dirty the agents,
//! clients or pairs it concerns, and a [run](Allocator::step) looks at just those: a run after which nothing changed costs
//! nothing. What quotas keep back on an agent is looked at again when the quotas allow more.

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

/// What is known of one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) free: Resources,
    /// What of `free` counts for quotas.
    pub(super) counted: Amounts,
    /// Whether something of `free` is reserved or revocable; and whether something is no scalar.
    pub(super) special: bool,
    pub(super) composite: bool,
    /// Whether graphics processors are free.
    pub(super) gpus: bool,
    total: Vec<(Arc<str>, Milli)>,
    reserved: Vec<Reserved>,
    /// What stands between the agent and single clients.
    pub(super) pairs: BTreeMap<NodeId, PairState>,
    /// Counts how often something became free here.
    pub(super) growth: u64,
}

/// Shares, quotas, agents and refusals, from which offers are [made](Self::step).
///
/// `A` is the caller's key of an agent, `K` that of a framework.
#[derive(Clone, Debug)]
pub struct Allocator<A, K> {
    pub(super) shares: Shares<K>,
    pub(super) agents: BTreeMap<A, Account>,
    /// What counts for quotas of all that is free.
    pub(super) free: Amounts,
    /// How many active clients are not idle.
    pub(super) awake: usize,
    /// The agents that have something free.
    pub(super) with_free: BTreeSet<A>,
    pub(super) changes: Changes<A, K>,
    /// The run that has begun and not ended.
    pub(super) round: Option<Round<A, K>>,
    /// Agents on which a run left something while there are quotas.
    pub(super) kept_back: BTreeSet<A>,
    /// Counts how often quotas may have come to allow more.
    pub(super) quota_generation: u64,
    /// Counts the changes of clients, so that what was recorded before one can be told from what came after.
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
    /// No agents, and the shares given.
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

    /// The shares behind it.
    #[must_use]
    pub fn shares(&self) -> &Shares<K> {
        &self.shares
    }

    /// Whether a run of this kind would have something to look at. Agents with nothing free count for one that serves the
    /// active clients; for one that serves all they do not, and to find that out takes looks: where these are used up, the
    /// answer is no for now.
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

    /// Whether a run for all clients may have something to look at.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty(Serve::All)
    }

    /// This agent is to be looked at again.
    pub fn mark_dirty(&mut self, agent: A) {
        self.changes.add_agent(agent);
    }

    /// An agent joined, came back, or changed what it has in all. Nothing of it is free until [`set_free`](Self::set_free).
    pub fn set_agent(&mut self, agent: A, total: &Resources) {
        let quantities = total.quantities();
        let reservations: Vec<Reserved> =
            total.reservations().into_iter().map(|(role, part)| (role, part.quantities())).collect();
        let account = self.agents.get(&agent);
        if account.is_some_and(|account| account.total == quantities && account.reserved == reservations) {
            return;
        }
        let account = self.agents.entry(agent).or_default();
        let (old, old_reserved) = (std::mem::take(&mut account.total), std::mem::take(&mut account.reserved));
        self.uncount(&old, &old_reserved);
        self.shares.add_total(&quantities);
        for (role, part) in &reservations {
            self.shares.reserved(role, part);
        }
        let account = self.agents.entry(agent).or_default();
        (account.total, account.reserved) = (quantities, reservations);
        self.quotas_eased();
    }

    /// The agent is gone: what it had counts no more, and neither do refusals of it.
    pub fn remove_agent(&mut self, agent: A) {
        self.set_free(agent, &Resources::new());
        if let Some(account) = self.agents.remove(&agent) {
            self.uncount(&account.total, &account.reserved);
            self.changes.forget_agent(agent);
            self.kept_back.remove(&agent);
            self.quotas_eased();
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

    /// What is free on an agent now; nothing of one that cannot be reached. Does nothing for an unknown agent.
    pub fn set_free(&mut self, agent: A, free: &Resources) {
        let Some(account) = self.agents.get_mut(&agent).filter(|account| account.free != *free) else { return };
        let grown = !account.free.contains(free);
        let had_gpus = account.gpus;
        if grown {
            account.growth += 1;
        }
        if free.is_empty() {
            self.with_free.remove(&agent);
        } else if account.free.is_empty() {
            self.with_free.insert(agent);
        }
        account.set_free(free.clone());
        let counted = self.shares.counted(free);
        let gone = std::mem::replace(&mut account.counted, counted);
        self.free.add(&account.counted);
        self.free.subtract(&gone);
        let lost_gpus = had_gpus && !account.gpus;
        if grown || lost_gpus {
            self.mark_dirty(agent);
        }
        if grown {
            self.quotas_eased();
        }
    }

    /// What is free on an agent; `None` for an unknown one.
    #[must_use]
    pub fn free(&self, agent: A) -> Option<&Resources> {
        self.agents.get(&agent).map(|account| &account.free)
    }

    /// A client holds these resources, say of a task that its agent reported. What a run grants is counted already.
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
        self.quotas_eased();
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
        // Before, since no quota may be left after: what refusals were found to cover is more then.
        self.quotas_eased();
        self.shares.set_quota(role, quota);
        self.changes.add_everything();
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

    /// Something was given back, or kept for a role no longer: what quotas kept back may be offered now.
    pub(super) fn quotas_eased(&mut self) {
        if self.shares.tree.any_quota() {
            self.quota_generation += 1;
            self.changes.add_unblocked(std::mem::take(&mut self.kept_back));
        }
    }
}

impl Account {
    /// Replaces what is free; `counted` is the caller's to replace.
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
