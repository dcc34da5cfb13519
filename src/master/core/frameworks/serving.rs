//! What the allocator knows of a framework: its clients, whether each may be offered anything, and its demand.

use std::sync::Arc;

use super::Framework;
use crate::{
    allocator::fair::RoleId,
    master::core::{
        Master, Quantities,
        keys::{AgentKey, FrameworkKey, OfferKey, TaskKey},
        tasks::Task,
    },
    types::Milli,
};

impl Framework {
    /// Asserts that it is a client of its own roles, and of others only where it has tasks.
    pub(in crate::master::core) fn check_roles(&self, key: FrameworkKey) {
        let records: usize = self.tasks_in.values().sum();
        assert_eq!(records, self.tasks.len() + self.count_copies(), "{key:?}: every task is counted in a role");
        for role in self.role_ids.keys() {
            let expected = self.roles.contains_key(role) || self.tasks_in.contains_key(role);
            assert!(expected, "{key:?}: it left {role} and has nothing there");
        }
    }

    /// The stated demand, less what is offered already; `None` without a demand.
    pub(in crate::master::core) fn open_demand(&self) -> Option<Quantities> {
        let open = self.demand.as_ref()?.iter().map(|(name, wanted)| {
            let offered = self.offered.get(name).copied().unwrap_or_default();
            (name.clone(), wanted.saturating_sub(offered).max(Milli::ZERO))
        });
        Some(open.collect())
    }

    /// Whether it stated a demand that is not fully offered.
    pub(in crate::master::core) fn has_open_demand(&self) -> bool {
        self.open_demand().is_some_and(|open| open.iter().any(|(_, amount)| !amount.is_zero()))
    }

    /// Adds an outstanding offer of these amounts.
    pub(in crate::master::core) fn add_outstanding(&mut self, offer: OfferKey, quantities: &Quantities) {
        self.outstanding.insert(offer);
        for (name, amount) in quantities {
            match self.offered.get_mut(name) {
                Some(offered) => *offered += *amount,
                None => drop(self.offered.insert(name.clone(), *amount)),
            }
        }
    }

    /// Removes an outstanding offer of these amounts.
    pub(in crate::master::core) fn remove_outstanding(&mut self, offer: OfferKey, quantities: &Quantities) {
        self.outstanding.remove(&offer);
        for (name, amount) in quantities {
            if let Some(offered) = self.offered.get_mut(name) {
                *offered = offered.saturating_sub(*amount);
            }
        }
    }

    /// The allocator's id of a role of this framework.
    pub(in crate::master::core) fn role_id(&self, role: &str) -> Option<RoleId> {
        self.role_ids.get(role).copied()
    }

    /// The minimum that it states for a role, if any.
    pub(in crate::master::core) fn own_minimum(&self, role: RoleId) -> Option<&[Quantities]> {
        let at = self.minimum_at.iter().find(|(id, _)| *id == role).map(|(_, at)| *at)?;
        self.record.facts.minimum.get(at).map(|(_, bundles)| bundles.as_slice())
    }
}

impl Master {
    /// Makes the framework a client of a role, inactive at first, unless it is one; returns the allocator's id of the
    /// role.
    pub(in crate::master::core) fn ensure_client(&mut self, key: FrameworkKey, role: &Arc<str>) -> Option<RoleId> {
        let framework = self.frameworks.get_mut(key)?;
        if let Some(id) = framework.role_ids.get(role) {
            return Some(*id);
        }
        let id = self.ledger.shares_mut().add_client(role, key);
        self.ledger.shares_mut().set_active(id, key, false);
        framework.role_ids.insert(role.clone(), id);
        Some(id)
    }

    /// Removes the client of a role that the framework has dropped, once it has no tasks in it.
    pub(super) fn remove_unused_client(&mut self, key: FrameworkKey, role: &Arc<str>) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        if framework.roles.contains_key(role) || framework.tasks_in.contains_key(role) {
            return;
        }
        if let Some(id) = framework.role_ids.remove(role) {
            self.ledger.remove_client(id, key);
        }
    }

    /// Removes a task from its framework's indexes.
    pub(in crate::master::core) fn unindex_task(&mut self, agent: AgentKey, key: TaskKey, task: &Task) {
        let Some(framework) = self.frameworks.get_mut(task.framework) else { return };
        framework.forget_task(agent, key, task);
        self.remove_unused_client(task.framework, &task.role);
    }

    /// Updates the allocator: which of the framework's clients are active and idle.
    pub(in crate::master::core) fn serve_framework(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get(key) else { return };
        let roles: Vec<Arc<str>> = framework.roles.keys().cloned().collect();
        for role in roles {
            self.serve_client(key, &role);
        }
    }

    /// The same for one of its roles.
    pub(in crate::master::core) fn serve_client(&mut self, key: FrameworkKey, role: &Arc<str>) {
        let Some(id) = self.ensure_client(key, role) else { return };
        let Some(framework) = self.frameworks.get(key) else { return };
        let Some(state) = framework.roles.get(role) else { return };
        let can_read = framework.session.is_some() && !framework.is_over_budget;
        let can_read = can_read && !self.frameworks.is_withdrawing(key);
        let active = can_read && !state.suppressed && !state.is_in_backoff();
        let shares = self.ledger.shares_mut();
        shares.set_idle(id, key, state.idle);
        shares.set_active(id, key, active);
    }

    /// Informs the allocator, for each role, that what the framework can use has changed.
    pub(in crate::master::core) fn framework_changed(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get(key) else { return };
        for id in framework.roles.keys().filter_map(|role| framework.role_id(role)) {
            self.ledger.shares_mut().client_changed(id, key);
        }
    }

    /// Indexes the minima of the framework's roles.
    pub(super) fn index_minima(&mut self, key: FrameworkKey) {
        if let Some(framework) = self.frameworks.get_mut(key) {
            let minima = framework.record.facts.minimum.iter().enumerate();
            let at = minima.filter_map(|(at, (role, _))| Some((*framework.role_ids.get(role)?, at)));
            framework.minimum_at = at.collect();
        }
    }
}
