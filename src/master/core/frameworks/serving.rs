//! What allocation has to know of a framework: its clients among the shares, what each may be offered, what it wants.

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
    /// It has a place among the shares in its roles, and in others only where it has tasks.
    pub(in crate::master::core) fn check_roles(&self, key: FrameworkKey) {
        let records: usize = self.tasks_in.values().sum();
        assert_eq!(records, self.tasks.len() + self.count_copies(), "{key:?}: every task is counted in a role");
        for role in self.entered.keys() {
            let expected = self.roles.contains_key(role) || self.tasks_in.contains_key(role);
            assert!(expected, "{key:?}: it left {role} and has nothing there");
        }
    }

    /// Where it stated a demand: that, less what it is offered already.
    pub(in crate::master::core) fn open_demand(&self) -> Option<Quantities> {
        let open = self.demand.as_ref()?.iter().map(|(name, wanted)| {
            let offered = self.offered.get(name).copied().unwrap_or_default();
            (name.clone(), wanted.saturating_sub(offered).max(Milli::ZERO))
        });
        Some(open.collect())
    }

    /// Whether it stated a demand, and is not offered all of it.
    pub(in crate::master::core) fn has_open_demand(&self) -> bool {
        self.open_demand().is_some_and(|open| open.iter().any(|(_, amount)| !amount.is_zero()))
    }

    /// An offer of these amounts waits for its answer.
    pub(in crate::master::core) fn offered(&mut self, offer: OfferKey, quantities: &Quantities) {
        self.outstanding.insert(offer);
        for (name, amount) in quantities {
            match self.offered.get_mut(name) {
                Some(offered) => *offered += *amount,
                None => drop(self.offered.insert(name.clone(), *amount)),
            }
        }
    }

    /// An offer of these amounts waits no longer.
    pub(in crate::master::core) fn answered_for(&mut self, offer: OfferKey, quantities: &Quantities) {
        self.outstanding.remove(&offer);
        for (name, amount) in quantities {
            if let Some(offered) = self.offered.get_mut(name) {
                *offered = offered.saturating_sub(*amount);
            }
        }
    }

    /// The id of a role among the shares.
    pub(in crate::master::core) fn role_id(&self, role: &str) -> Option<RoleId> {
        self.entered.get(role).copied()
    }

    /// The minimum it states for a role of its own, if it does.
    pub(in crate::master::core) fn own_minimum(&self, role: RoleId) -> Option<&[Quantities]> {
        let at = self.minimum_at.iter().find(|(id, _)| *id == role).map(|(_, at)| *at)?;
        self.bucket.facts.minimum.get(at).map(|(_, bundles)| bundles.as_slice())
    }
}

impl Master {
    /// The framework's place among the shares of a role; made when it is new, and not served until it is activated.
    pub(in crate::master::core) fn enter(&mut self, key: FrameworkKey, role: &Arc<str>) -> Option<RoleId> {
        let framework = self.frameworks.get_mut(key)?;
        if let Some(id) = framework.entered.get(role) {
            return Some(*id);
        }
        let id = self.ledger.shares_mut().add_client(role, key);
        self.ledger.shares_mut().set_active(id, key, false);
        framework.entered.insert(role.clone(), id);
        Some(id)
    }

    /// A role that the framework has no more keeps its place among the shares for as long as it has tasks in it.
    pub(super) fn leave_role(&mut self, key: FrameworkKey, role: &Arc<str>) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        if framework.roles.contains_key(role) || framework.tasks_in.contains_key(role) {
            return;
        }
        if let Some(id) = framework.entered.remove(role) {
            self.ledger.remove_client(id, key);
        }
    }

    /// The task's record has gone: what leads to it goes too.
    pub(in crate::master::core) fn task_gone(&mut self, agent: AgentKey, key: TaskKey, task: &Task) {
        let Some(framework) = self.frameworks.get_mut(task.framework) else { return };
        framework.forget_task(agent, key, task);
        self.leave_role(task.framework, &task.role);
    }

    /// The allocator serves just the roles that can be offered something.
    pub(in crate::master::core) fn serve_framework(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get(key) else { return };
        let roles: Vec<Arc<str>> = framework.roles.keys().cloned().collect();
        for role in roles {
            self.serve_client(key, &role);
        }
    }

    /// The same for one of its roles.
    pub(in crate::master::core) fn serve_client(&mut self, key: FrameworkKey, role: &Arc<str>) {
        let Some(id) = self.enter(key, role) else { return };
        let Some(framework) = self.frameworks.get(key) else { return };
        let Some(state) = framework.roles.get(role) else { return };
        let can_read = framework.session.is_some() && !framework.is_over_budget;
        let can_read = can_read && !self.frameworks.is_withdrawing(key);
        let active = can_read && !state.suppressed && !state.in_backoff();
        let shares = self.ledger.shares_mut();
        shares.set_idle(id, key, state.idle);
        shares.set_active(id, key, active);
    }

    /// What the framework can use changed, for each of its roles.
    pub(in crate::master::core) fn framework_changed(&mut self, key: FrameworkKey) {
        let Some(framework) = self.frameworks.get(key) else { return };
        for id in framework.roles.keys().filter_map(|role| framework.role_id(role)) {
            self.ledger.shares_mut().client_changed(id, key);
        }
    }

    /// Finds the minima of its roles.
    pub(super) fn index_minima(&mut self, key: FrameworkKey) {
        if let Some(framework) = self.frameworks.get_mut(key) {
            let minima = framework.bucket.facts.minimum.iter().enumerate();
            let at = minima.filter_map(|(at, (role, _))| Some((*framework.entered.get(role)?, at)));
            framework.minimum_at = at.collect();
        }
    }
}
