//! The ledger: what every agent has, and who holds what of it.
//!
//! It alone moves amounts, and with every move it informs the fair shares. Its law: for each agent, offered + used + free =
//! total. An agent that came back with less than its tasks have is the exception: nothing of it is free. Readers share
//! an agent's [`Amounts`] by pointer; they are copied when they change while a snapshot has them.
//!
//! It knows keys, resources and whether an agent can be reached; which tasks, offers and orphans there are is the business
//! of others, and why one ends is too.

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

    /// What is left of the total.
    fn balance(&mut self) {
        self.free.clone_from(&self.total);
        self.free -= &self.used;
        self.free -= &self.offered;
    }
}

/// One agent's amounts, and all that is held of it.
#[derive(Debug)]
struct Account {
    amounts: Arc<Amounts>,
    reach: Reach,
    holdings: BTreeMap<Holding, Held>,
}

impl Account {
    /// What the shares may grant of it.
    fn open(&self) -> Option<&Resources> {
        (self.reach == Reach::Connected).then_some(&self.amounts.free)
    }
}

/// All accounts, and the shares that follow them.
#[derive(Debug)]
pub(super) struct Ledger {
    accounts: BTreeMap<AgentKey, Account>,
    shares: Allocator<AgentKey, FrameworkKey>,
    /// Accounts that changed since they were last checked; only debug builds look.
    unchecked: BTreeSet<AgentKey>,
    /// And since a snapshot was begun.
    pub(super) changes: Changes<AgentKey>,
}

impl Ledger {
    /// No agents, and these shares.
    pub(super) fn new(shares: Allocator<AgentKey, FrameworkKey>) -> Self {
        Self { accounts: BTreeMap::new(), shares, unchecked: BTreeSet::new(), changes: Changes::default() }
    }

    pub(super) fn shares(&self) -> &Allocator<AgentKey, FrameworkKey> {
        &self.shares
    }

    /// The shares, for what moves no amounts: clients, refusals, weights, quotas, allocation runs. A run's grant moves
    /// amounts, so [`record_offer`](Self::record_offer) follows it at once.
    pub(super) fn shares_mut(&mut self) -> &mut Allocator<AgentKey, FrameworkKey> {
        &mut self.shares
    }

    /// What an agent has; `None` for one that has no account.
    pub(super) fn amounts(&self, agent: AgentKey) -> Option<&Arc<Amounts>> {
        self.accounts.get(&agent).map(|account| &account.amounts)
    }

    /// Whether this is held.
    pub(super) fn has(&self, agent: AgentKey, holding: Holding) -> bool {
        self.accounts.get(&agent).is_some_and(|account| account.holdings.contains_key(&holding))
    }

    /// An agent that can be reached has this in all from now on; an unknown one gets an account.
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

    /// The agent is disconnected: nothing of it may be offered, and all of it still counts.
    pub(super) fn set_disconnected(&mut self, agent: AgentKey) {
        self.set_reach(agent, Reach::Disconnected);
    }

    /// The agent is unreachable: nothing of it may be offered, and it no longer counts for the cluster. It stays known, so
    /// that what was refused of it stays refused when it is back.
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

    /// The agent is forgotten, and with it all that is held of it.
    pub(super) fn remove_agent(&mut self, agent: AgentKey) {
        let Some(account) = self.accounts.remove(&agent) else { return };
        for held in account.holdings.into_values() {
            Self::unallocate(&mut self.shares, &held);
        }
        self.shares.remove_agent(agent);
        self.unchecked.remove(&agent);
    }

    /// Counts resources as held. False, and nothing happens, where the agent has no account or this is held already.
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

    /// Counts all of these as held by an agent, as [`allocate`](Self::allocate) does one by one: the shares are informed once
    /// for each client. Those that are held already stay as they are.
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

    /// Enters the offer that an allocation run has granted: the shares have counted it.
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

    /// Counts resources as held no longer, once: what is not held is `None`, and nothing happens.
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

    /// A framework leaves a role of the shares; nothing may be held for it there any more.
    pub(super) fn remove_client(&mut self, role: RoleId, framework: FrameworkKey) {
        self.shares.remove_client(role, framework);
    }

    /// Informs the shares of what is free on an agent: of one that cannot be reached, nothing.
    fn publish(&mut self, agent: AgentKey) {
        if let Some(account) = self.accounts.get(&agent) {
            match account.open() {
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
