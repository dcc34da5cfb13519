//! The ledger: the resources of every agent, and what holds them.
//!
//! Only the ledger changes amounts, and with every change it updates the fair shares. Its invariant: for each agent,
//! offered + used + free = total. The exception is an agent that re-registers with less than its tasks hold: nothing of
//! it is free. Snapshots share an agent's [`Amounts`] by pointer; a change while one is held copies them.
//!
//! It knows keys, resources and whether an agent can be reached. It does not know why a task, an offer or an orphan
//! ends.

mod check;
mod holding;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

pub(super) use self::holding::{Held, Holding};
use self::holding::{Part, Reach};
use super::{AgentKey, FrameworkKey, OfferKey, changes::Changes};
use crate::{
    allocator::fair::{Allocator, RoleId},
    types::Resources,
};

/// What an agent has and how much of it is offered, used and free.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Amounts {
    pub(crate) total: Resources,
    pub(crate) used: Resources,
    pub(crate) offered: Resources,
    pub(crate) free: Resources,
}

impl Amounts {
    fn part(&mut self, part: Part) -> &mut Resources {
        match part {
            Part::Offered => &mut self.offered,
            Part::Used => &mut self.used,
        }
    }

    /// Recomputes what is free.
    fn balance(&mut self) {
        self.free.clone_from(&self.total);
        self.free -= &self.used;
        self.free -= &self.offered;
    }
}

/// One agent's amounts and holdings.
#[derive(Debug)]
struct Account {
    amounts: Arc<Amounts>,
    reach: Reach,
    holdings: BTreeMap<Holding, Held>,
}

impl Account {
    /// What the allocator may grant of it.
    fn available(&self) -> Option<&Resources> {
        (self.reach == Reach::Connected).then_some(&self.amounts.free)
    }
}

/// All accounts, and the fair shares computed from them.
#[derive(Debug)]
pub(super) struct Ledger {
    accounts: BTreeMap<AgentKey, Account>,
    shares: Allocator<AgentKey, FrameworkKey>,
    /// Accounts that changed since the last check; only debug builds check them.
    unchecked: BTreeSet<AgentKey>,
    /// Accounts that changed since a snapshot was begun.
    pub(super) changes: Changes<AgentKey>,
}

impl Ledger {
    /// Creates a ledger without agents.
    pub(super) fn new(shares: Allocator<AgentKey, FrameworkKey>) -> Self {
        Self { accounts: BTreeMap::new(), shares, unchecked: BTreeSet::new(), changes: Changes::default() }
    }

    pub(super) fn shares(&self) -> &Allocator<AgentKey, FrameworkKey> {
        &self.shares
    }

    /// The shares, for changes of clients, refusals, weights, quotas and for allocation runs. A run's grant changes
    /// amounts: call [`record_offer`](Self::record_offer) right after it.
    pub(super) fn shares_mut(&mut self) -> &mut Allocator<AgentKey, FrameworkKey> {
        &mut self.shares
    }

    /// The amounts of an agent; `None` if it has no account.
    pub(super) fn amounts(&self, agent: AgentKey) -> Option<&Arc<Amounts>> {
        self.accounts.get(&agent).map(|account| &account.amounts)
    }

    /// Whether the agent's account has this holding.
    pub(super) fn has(&self, agent: AgentKey, holding: Holding) -> bool {
        self.accounts.get(&agent).is_some_and(|account| account.holdings.contains_key(&holding))
    }

    /// Sets the total of an agent and marks it connected; an unknown one gets an account.
    pub(super) fn set_total(&mut self, agent: AgentKey, total: &Resources) {
        let account = self.accounts.entry(agent).or_insert_with(|| Account {
            amounts: Arc::default(),
            reach: Reach::Connected,
            holdings: BTreeMap::new(),
        });
        account.reach = Reach::Connected;
        let amounts = Arc::make_mut(&mut account.amounts);
        amounts.total.clone_from(total);
        amounts.balance();
        self.shares.set_agent(agent, total);
        self.publish(agent);
    }

    /// Marks the agent disconnected: nothing of it may be offered, and its total still counts for the cluster.
    pub(super) fn set_disconnected(&mut self, agent: AgentKey) {
        self.set_reach(agent, Reach::Disconnected);
    }

    /// Marks the agent unreachable: nothing of it may be offered, and its total no longer counts for the cluster. Its
    /// account stays, so that refusals still hold when it re-registers.
    pub(super) fn set_unreachable(&mut self, agent: AgentKey) {
        if self.set_reach(agent, Reach::Unreachable) {
            self.shares.set_agent(agent, &Resources::new());
        }
    }

    fn set_reach(&mut self, agent: AgentKey, reach: Reach) -> bool {
        let Some(account) = self.accounts.get_mut(&agent) else { return false };
        account.reach = reach;
        self.publish(agent);
        true
    }

    /// Removes the agent's account and releases its holdings.
    pub(super) fn remove_agent(&mut self, agent: AgentKey) {
        let Some(account) = self.accounts.remove(&agent) else { return };
        for held in account.holdings.into_values() {
            Self::unallocate(&mut self.shares, &held);
        }
        self.shares.remove_agent(agent);
        self.unchecked.remove(&agent);
    }

    /// Adds a holding. Returns false and changes nothing if the agent has no account or has this holding already.
    pub(super) fn allocate(&mut self, agent: AgentKey, holding: Holding, held: Held) -> bool {
        let Some(account) = self.accounts.get_mut(&agent) else { return false };
        if account.holdings.contains_key(&holding) {
            return false;
        }
        let amounts = Arc::make_mut(&mut account.amounts);
        *amounts.part(holding.part()) += &*held.resources;
        amounts.balance();
        if let Some((framework, role)) = held.client {
            self.shares.allocated(role, framework, &held.resources);
        }
        account.holdings.insert(holding, held);
        self.publish(agent);
        true
    }

    /// Adds many holdings of one agent, as [`allocate`](Self::allocate) does one by one, and updates the shares once
    /// for each client. Existing holdings stay as they are.
    pub(super) fn allocate_all(&mut self, agent: AgentKey, all: impl IntoIterator<Item = (Holding, Held)>) {
        let Some(account) = self.accounts.get_mut(&agent) else { return };
        let amounts = Arc::make_mut(&mut account.amounts);
        let mut sums: BTreeMap<(FrameworkKey, RoleId), Resources> = BTreeMap::new();
        for (holding, held) in all {
            let Entry::Vacant(vacant) = account.holdings.entry(holding) else { continue };
            *amounts.part(holding.part()) += &*held.resources;
            if let Some(client) = held.client {
                *sums.entry(client).or_default() += &*held.resources;
            }
            vacant.insert(held);
        }
        amounts.balance();
        for ((framework, role), sum) in &sums {
            self.shares.allocated(*role, *framework, sum);
        }
        self.publish(agent);
    }

    /// Adds the offer that an allocation run has granted; the shares have counted it already.
    pub(super) fn record_offer(&mut self, agent: AgentKey, key: OfferKey, held: Held) {
        let Some(account) = self.accounts.get_mut(&agent) else { return };
        let amounts = Arc::make_mut(&mut account.amounts);
        amounts.offered += &*held.resources;
        if let Some(free) = self.shares.free(agent) {
            amounts.free.clone_from(free);
        }
        account.holdings.insert(Holding::Offer(key), held);
        self.note(agent);
    }

    /// Removes a holding and frees its resources; returns `None` and changes nothing if there is none.
    pub(super) fn release(&mut self, agent: AgentKey, holding: Holding) -> Option<Held> {
        let account = self.accounts.get_mut(&agent)?;
        let held = account.holdings.remove(&holding)?;
        let amounts = Arc::make_mut(&mut account.amounts);
        *amounts.part(holding.part()) -= &*held.resources;
        amounts.balance();
        self.publish(agent);
        Self::unallocate(&mut self.shares, &held);
        Some(held)
    }

    fn unallocate(shares: &mut Allocator<AgentKey, FrameworkKey>, held: &Held) {
        if let Some((framework, role)) = held.client {
            shares.unallocated(role, framework, &held.resources);
        }
    }

    /// Removes a client from the shares; it must have no holdings.
    pub(super) fn remove_client(&mut self, role: RoleId, framework: FrameworkKey) {
        self.shares.remove_client(role, framework);
    }

    /// Updates the shares with what is free on an agent: nothing if it cannot be reached.
    fn publish(&mut self, agent: AgentKey) {
        if let Some(account) = self.accounts.get(&agent) {
            match account.available() {
                Some(free) => self.shares.set_free(agent, free),
                None => self.shares.set_free(agent, &Resources::new()),
            }
        }
        self.note(agent);
    }

    fn note(&mut self, agent: AgentKey) {
        self.changes.note(|| agent);
        if cfg!(debug_assertions) {
            self.unchecked.insert(agent);
        }
    }

    #[cfg(test)]
    pub(super) fn break_account(&mut self, agent: AgentKey) {
        if let Some(account) = self.accounts.get_mut(&agent) {
            Arc::make_mut(&mut account.amounts).free = Resources::cpus_mem(1.0, 0.0);
            self.unchecked.insert(agent);
        }
    }
}

#[cfg(test)]
mod tests;
