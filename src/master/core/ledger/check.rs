//! Assertions of the ledger's invariant: a violation is a bug in the ledger, never bad input.

use std::{collections::BTreeMap, mem, sync::Arc};

use super::{Account, AgentKey, Ledger, holding::Part};
use crate::{
    allocator::fair::RoleId,
    master::core::FrameworkKey,
    types::{Milli, Resources},
};

impl Ledger {
    /// Asserts the invariant for every account, and that the shares count what clients hold.
    ///
    /// # Panics
    /// When it does not hold.
    pub(in crate::master::core) fn check(&self) {
        for (key, account) in &self.accounts {
            self.check_account(*key, account);
        }
        self.check_clients();
    }

    /// Asserts the invariant for the accounts that changed since the last call.
    pub(in crate::master::core) fn check_changed(&mut self) {
        for key in mem::take(&mut self.unchecked) {
            if let Some(account) = self.accounts.get(&key) {
                self.check_account(key, account);
            }
        }
    }

    fn check_account(&self, key: AgentKey, account: &Account) {
        let held = |part| {
            let mut sum = Resources::default();
            let all = account.holdings.iter().filter(|(holding, _)| holding.part() == part);
            all.for_each(|(_, held)| sum += &*held.resources);
            sum
        };
        let amounts = &*account.amounts;
        let (used, offered) = (held(Part::Used), held(Part::Offered));
        assert_eq!(used, amounts.used, "{key:?}: used is what is held as used");
        assert_eq!(offered, amounts.offered, "{key:?}: offered is what its offers hold");
        let mut sum = used;
        sum += &offered;
        if amounts.total.contains(&sum) {
            sum += &amounts.free;
            assert_eq!(sum, amounts.total, "{key:?}: offered + used + free = total");
        } else {
            assert!(offered.is_empty(), "{key:?}: an agent that shrank below its tasks offers nothing");
        }
        let known = self.shares.free(key).expect("the shares know every account");
        let nothing = Resources::default();
        assert_eq!(known, account.available().unwrap_or(&nothing), "{key:?}: the shares know what is free");
        assert!(
            account.available().is_some() || offered.is_empty(),
            "{key:?}: nothing of a disconnected agent is offered"
        );
    }

    /// Asserts that the shares count for each client what it holds here.
    fn check_clients(&self) {
        let mut held: BTreeMap<(FrameworkKey, RoleId), BTreeMap<Arc<str>, Milli>> = BTreeMap::new();
        for one in self.accounts.values().flat_map(|account| account.holdings.values()) {
            let Some(client) = one.client else { continue };
            let sums = held.entry(client).or_default();
            for (name, amount) in one.resources.quantities() {
                *sums.entry(name).or_default() += amount;
            }
        }
        for (framework, role) in self.shares.shares().clients() {
            let here = held.remove(&(framework, role)).unwrap_or_default();
            let there = self.shares.shares().held(role, framework).into_iter().collect();
            assert_eq!(here, there, "{framework:?} in {role:?}: the shares count what it holds");
        }
        assert!(held.is_empty(), "what is held by clients that the shares do not know: {held:?}");
    }
}
