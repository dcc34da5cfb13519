//! Resources that count for quotas: unreserved scalars that are not revocable, and reservations, allocated or not.

use std::fmt::Debug;
use std::sync::Arc;

use super::amounts::Amounts;
use super::tree::NodeId;
use super::{RoleId, Shares};
use crate::types::{Milli, Resource, Resources};

/// Returns whether an item counts for quotas when it is allocated, and for guarantees while it is free. Reservations
/// count from when they are made, so they do not count here.
pub(super) fn counts(item: &Resource) -> bool {
    let kind = item.kind();
    kind.reservations().is_empty() && !kind.is_revocable() && !kind.is_shared() && item.scalar().is_some()
}

impl<K: Copy + Ord + Debug> Shares<K> {
    /// Returns what counts for quotas of free or allocated resources.
    pub(super) fn counted(&mut self, resources: &Resources) -> Amounts {
        self.totals.scalars(resources, counts)
    }

    /// Returns a role's consumption of its quota.
    pub(super) fn consumed(&self, role: &str, name: &str) -> Milli {
        let found = self.roles.get(role).zip(self.totals.index_of(name));
        Milli::from_raw(found.map_or(0, |(&role, name)| self.tree.consumed(role).map_or(0, |all| all.of(name))))
    }

    /// Iterates over every client: the framework and its role.
    pub fn clients(&self) -> impl Iterator<Item = (K, RoleId)> {
        self.clients.keys().map(|(role, client)| (*client, *role))
    }

    /// Returns a client's allocation of each name that counts for shares, without zeros.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    #[must_use]
    pub fn held(&self, role: RoleId, client: K) -> Vec<(Arc<str>, Milli)> {
        let held = self.tree.held(self.client_node(role, client));
        let all = self.totals.names().map(|(name, index)| (name.clone(), Milli::from_raw(held.of(index))));
        all.filter(|(_, amount)| !amount.is_zero()).collect()
    }

    /// Adds resources to a client's allocation; counts as one allocation.
    pub(super) fn grant(&mut self, role: RoleId, client: K, resources: &Resources) {
        let (node, counted) = (self.client_node(role, client), self.counted(resources));
        self.grant_counted(node, role, resources, &counted);
    }

    /// The same, given the client's node and what counts for quotas.
    pub(super) fn grant_counted(&mut self, client: NodeId, role: RoleId, resources: &Resources, counted: &Amounts) {
        let held = self.totals.scalars(resources, |_| true);
        self.tree.allocate(client, &held, &self.totals);
        if !counted.is_zero() {
            self.tree.spend(client, counted);
            self.tree.consume(role.0, counted, &self.totals);
        }
    }

    /// Subtracts resources from a client's allocation.
    pub(super) fn take_back(&mut self, role: RoleId, client: K, resources: &Resources) {
        let node = self.client_node(role, client);
        let (held, counted) = (self.totals.scalars(resources, |_| true), self.counted(resources));
        self.tree.release(node, &held, &self.totals);
        if !counted.is_zero() {
            self.tree.unspend(node, &counted);
            let gone = self.tree.give_back(role.0, &counted, &self.totals);
            self.forget(gone);
        }
    }

    /// Adds scalars that were reserved to a role.
    pub(super) fn reserved(&mut self, role: &str, quantities: &[(Arc<str>, Milli)]) {
        let (node, amounts) = (self.role_node(role), self.totals.amounts(quantities));
        self.tree.consume(node, &amounts, &self.totals);
    }

    /// Subtracts scalars that are no longer reserved, or whose agent is gone.
    pub(super) fn unreserved(&mut self, role: &str, quantities: &[(Arc<str>, Milli)]) {
        let (node, amounts) = (self.role_node(role), self.totals.amounts(quantities));
        let gone = self.tree.give_back(node, &amounts, &self.totals);
        self.forget(gone);
    }
}
