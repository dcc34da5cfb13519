//! The quota state of roles: what each has consumed, and what is missing of its guarantees.
//!
//! All amounts are those of whole subtrees. What is *missing* of a role is the larger of its own gap (guaranteed, not
//! consumed) and the sum of its children's, but at most what its limit allows: a child's guarantee counts within its
//! parent's. The sum over all top roles is *required*: so much of what is free is kept for them.

use std::sync::Arc;

use super::{Amounts, Marks, NodeId, ROOT, Tree};
use crate::allocator::fair::amounts::Totals;

/// A quota by resource index.
#[derive(Debug, Clone, Default)]
pub(in crate::allocator::fair) struct Bounds {
    pub(in crate::allocator::fair) guarantees: Amounts,
    pub(in crate::allocator::fair) limits: Vec<(usize, i64)>,
}

/// The quota state of one role.
#[derive(Debug, Clone, Default)]
pub(super) struct QuotaState {
    bounds: Option<Bounds>,
    consumed: Amounts,
    missing: Amounts,
    /// The sum of what is missing of the child roles.
    below: Amounts,
}

/// What quotas allow a client of a role, by resource index.
#[derive(Debug, Clone, Default)]
pub(in crate::allocator::fair) struct Allowance {
    /// What is kept for its role or an ancestor.
    pub(in crate::allocator::fair) kept: Amounts,
    /// What the limits still allow; names that are not here have no limit.
    pub(in crate::allocator::fair) room: Vec<(usize, i64)>,
}

impl QuotaState {
    pub(super) fn is_blank(&self) -> bool {
        self.bounds.is_none() && self.consumed.is_zero()
    }

    fn room(&self) -> impl Iterator<Item = (usize, i64)> {
        let limits = self.bounds.iter().flat_map(|bounds| &bounds.limits);
        limits.map(|&(name, limit)| (name, limit.saturating_sub(self.consumed.of(name)).max(0)))
    }

    fn compute_missing(&self) -> Amounts {
        let mut missing = self.below.clone();
        if let Some(bounds) = &self.bounds {
            for name in 0..bounds.guarantees.len() {
                let gap = bounds.guarantees.of(name).saturating_sub(self.consumed.of(name));
                missing.set(name, missing.of(name).max(gap));
            }
        }
        for (name, room) in self.room() {
            missing.set(name, missing.of(name).min(room));
        }
        missing
    }

    /// Returns whether more is missing than of its children.
    fn has_slack(&self) -> bool {
        (0..self.missing.len()).any(|name| self.missing.of(name) > self.below.of(name))
    }

    fn marks(&self, totals: &Totals, was: Marks) -> Marks {
        let full = |name| self.room().any(|(limited, room)| limited == name && room == 0);
        let has_limits = self.bounds.as_ref().is_some_and(|bounds| !bounds.limits.is_empty());
        let at_limit = has_limits && totals.held_names().all(full);
        Marks { below_guarantee: !self.missing.is_zero(), at_limit, ..was }
    }
}

impl<K: Copy + Ord> Tree<K> {
    /// Returns whether any role has a quota.
    pub(in crate::allocator::fair) fn any_quota(&self) -> bool {
        self.quotas > 0
    }

    /// Returns the sum of all guarantees that are not met.
    pub(in crate::allocator::fair) fn required(&self) -> &Amounts {
        &self.required
    }

    pub(in crate::allocator::fair) fn set_bounds(&mut self, role: NodeId, bounds: Option<Bounds>, totals: &Totals) {
        let Some(quota) = self.nodes[role].quota.as_mut() else { return };
        self.quotas -= usize::from(quota.bounds.is_some());
        self.quotas += usize::from(bounds.is_some());
        quota.bounds = bounds;
        self.update_missing(role, totals);
    }

    /// Adds amounts, reserved or allocated, to a role and all its ancestors.
    pub(in crate::allocator::fair) fn consume(&mut self, role: NodeId, amounts: &Amounts, totals: &Totals) {
        self.update_consumed(role, totals, |consumed| consumed.add(amounts));
    }

    /// Subtracts them; returns the paths of roles that are no longer used and were removed.
    pub(in crate::allocator::fair) fn give_back(
        &mut self,
        role: NodeId,
        amounts: &Amounts,
        totals: &Totals,
    ) -> Vec<Arc<str>> {
        self.update_consumed(role, totals, |consumed| consumed.subtract(amounts));
        self.prune(role)
    }

    pub(in crate::allocator::fair) fn consumed(&self, role: NodeId) -> Option<&Amounts> {
        self.nodes[role].quota.as_ref().map(|quota| &quota.consumed)
    }

    /// Adds amounts to a client's own, so that they can be subtracted from its role when it is removed.
    pub(in crate::allocator::fair) fn spend(&mut self, client: NodeId, amounts: &Amounts) {
        self.nodes[client].spent.add(amounts);
    }

    pub(in crate::allocator::fair) fn unspend(&mut self, client: NodeId, amounts: &Amounts) {
        self.nodes[client].spent.subtract(amounts);
    }

    pub(in crate::allocator::fair) fn spent(&self, client: NodeId) -> &Amounts {
        &self.nodes[client].spent
    }

    /// Updates the marks of roles with limits after the cluster's names changed.
    pub(in crate::allocator::fair) fn mark_all(&mut self, totals: &Totals) {
        for node in 0..self.nodes.len() {
            if let Some(quota) = self.nodes[node].quota.as_ref().filter(|quota| quota.bounds.is_some()) {
                let marks = quota.marks(totals, self.nodes[node].marks);
                self.mark(node, marks);
            }
        }
    }

    /// Returns what quotas allow clients of this very role.
    pub(in crate::allocator::fair) fn allowance(&self, role: NodeId) -> Allowance {
        let mut path = Vec::with_capacity(4);
        let mut at = role;
        while at != ROOT {
            path.push(at);
            at = self.nodes[at].parent;
        }
        let mut allowance = Allowance { kept: self.required.clone(), room: Vec::new() };
        let mut siblings = &self.required;
        for quota in path.iter().rev().filter_map(|node| self.nodes[*node].quota.as_ref()) {
            descend(&mut allowance.kept, siblings, &quota.missing);
            siblings = &quota.below;
            for (name, room) in quota.room() {
                match allowance.room.iter_mut().find(|(limited, _)| *limited == name) {
                    Some((_, least)) => *least = room.min(*least),
                    None => allowance.room.push((name, room)),
                }
            }
        }
        descend(&mut allowance.kept, siblings, &Amounts::default());
        allowance
    }

    pub(super) fn has_slack(&self, node: NodeId) -> bool {
        self.nodes[node].quota.as_ref().is_some_and(|quota| quota.has_slack())
    }

    fn update_consumed(&mut self, role: NodeId, totals: &Totals, change: impl Fn(&mut Amounts)) {
        let mut at = role;
        while at != ROOT {
            if let Some(quota) = self.nodes[at].quota.as_mut() {
                change(&mut quota.consumed);
            }
            at = self.nodes[at].parent;
        }
        if self.quotas > 0 {
            self.update_missing(role, totals);
        }
    }

    fn update_missing(&mut self, role: NodeId, totals: &Totals) {
        let mut at = role;
        while at != ROOT {
            let (parent, was_marked) = (self.nodes[at].parent, self.nodes[at].marks);
            let Some(quota) = self.nodes[at].quota.as_mut() else { return };
            let missing = quota.compute_missing();
            let was = std::mem::replace(&mut quota.missing, missing.clone());
            let marks = quota.marks(totals, was_marked);
            let sum = match self.nodes[parent].quota.as_mut() {
                Some(quota) => &mut quota.below,
                None => &mut self.required,
            };
            sum.add(&missing);
            sum.subtract(&was);
            self.mark(at, marks);
            at = parent;
        }
    }
}

/// Reduces what is kept for a role to what is kept for one child: without what its siblings miss, but at least what it
/// misses.
fn descend(kept: &mut Amounts, siblings: &Amounts, missing: &Amounts) {
    for name in 0..kept.len().max(missing.len()) {
        let others = siblings.of(name).saturating_sub(missing.of(name));
        kept.set(name, kept.of(name).saturating_sub(others).max(missing.of(name)).max(0));
    }
}
