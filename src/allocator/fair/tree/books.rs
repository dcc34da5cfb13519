//! What quotas say of roles: what each has consumed of its guarantees and limits, and what is still missing.
//!
//! All of it is about whole subtrees. What is *missing* of a role is the larger of its own gap (guaranteed, not consumed)
//! and the sum of its children's, but no more than its limit leaves room for: a child's guarantee counts within its
//! parent's. What is missing of all top roles is *required*: so much of what is free must not go to anybody else.

use std::sync::Arc;

use super::{Amounts, Marks, NodeId, ROOT, Tree};
use crate::allocator::fair::amounts::Totals;

/// A quota by name index.
#[derive(Debug, Clone, Default)]
pub(in crate::allocator::fair) struct Bounds {
    pub(in crate::allocator::fair) guarantees: Amounts,
    pub(in crate::allocator::fair) limits: Vec<(usize, i64)>,
}

/// The state of one role.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    bounds: Option<Bounds>,
    consumed: Amounts,
    missing: Amounts,
    /// What is missing of the child roles, summed.
    below: Amounts,
}

/// What a client of a role may be given of what quotas are about, by name index.
#[derive(Debug, Clone, Default)]
pub(in crate::allocator::fair) struct Allowance {
    /// Kept back for its role or one above.
    pub(in crate::allocator::fair) kept: Amounts,
    /// What the limits leave room for; no limit for names that are not here.
    pub(in crate::allocator::fair) room: Vec<(usize, i64)>,
}

impl Book {
    pub(super) fn is_blank(&self) -> bool {
        self.bounds.is_none() && self.consumed.is_zero()
    }

    fn room(&self) -> impl Iterator<Item = (usize, i64)> {
        let limits = self.bounds.iter().flat_map(|bounds| &bounds.limits);
        limits.map(|&(name, limit)| (name, limit.saturating_sub(self.consumed.of(name)).max(0)))
    }

    fn reckon(&self) -> Amounts {
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

    /// Whether something is missing that is not just its children's.
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
    /// Whether any role has a quota.
    pub(in crate::allocator::fair) fn any_quota(&self) -> bool {
        self.quotas > 0
    }

    /// What is missing of all guarantees.
    pub(in crate::allocator::fair) fn required(&self) -> &Amounts {
        &self.required
    }

    pub(in crate::allocator::fair) fn set_bounds(&mut self, role: NodeId, bounds: Option<Bounds>, totals: &Totals) {
        let Some(book) = self.nodes[role].book.as_mut() else { return };
        self.quotas -= usize::from(book.bounds.is_some());
        self.quotas += usize::from(bounds.is_some());
        book.bounds = bounds;
        self.reckon_up(role, totals);
    }

    /// Counts amounts, reserved or allocated, for a role and all above it.
    pub(in crate::allocator::fair) fn consume(&mut self, role: NodeId, amounts: &Amounts, totals: &Totals) {
        self.book_up(role, totals, |consumed| consumed.add(amounts));
    }

    /// Counts them no longer; answers the paths of roles nobody has anything to do with any more.
    pub(in crate::allocator::fair) fn give_back(
        &mut self,
        role: NodeId,
        amounts: &Amounts,
        totals: &Totals,
    ) -> Vec<Arc<str>> {
        self.book_up(role, totals, |consumed| consumed.subtract(amounts));
        self.prune(role)
    }

    pub(in crate::allocator::fair) fn consumed(&self, role: NodeId) -> Option<&Amounts> {
        self.nodes[role].book.as_ref().map(|book| &book.consumed)
    }

    /// Counts amounts a client was given as its own, so that they can be taken from its role when it goes.
    pub(in crate::allocator::fair) fn spend(&mut self, client: NodeId, amounts: &Amounts) {
        self.nodes[client].spent.add(amounts);
    }

    pub(in crate::allocator::fair) fn unspend(&mut self, client: NodeId, amounts: &Amounts) {
        self.nodes[client].spent.subtract(amounts);
    }

    pub(in crate::allocator::fair) fn spent(&self, client: NodeId) -> &Amounts {
        &self.nodes[client].spent
    }

    /// Names came or went in the cluster: whether a role is at its limit everywhere is seen anew.
    pub(in crate::allocator::fair) fn mark_all(&mut self, totals: &Totals) {
        for node in 0..self.nodes.len() {
            if let Some(book) = self.nodes[node].book.as_ref().filter(|book| book.bounds.is_some()) {
                let marks = book.marks(totals, self.nodes[node].marks);
                self.mark(node, marks);
            }
        }
    }

    /// What clients of this very role may be given.
    pub(in crate::allocator::fair) fn allowance(&self, role: NodeId) -> Allowance {
        let mut path = Vec::with_capacity(4);
        let mut at = role;
        while at != ROOT {
            path.push(at);
            at = self.nodes[at].parent;
        }
        let mut allowance = Allowance { kept: self.required.clone(), room: Vec::new() };
        let mut siblings = &self.required;
        for book in path.iter().rev().filter_map(|node| self.nodes[*node].book.as_ref()) {
            descend(&mut allowance.kept, siblings, &book.missing);
            siblings = &book.below;
            for (name, room) in book.room() {
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
        self.nodes[node].book.as_ref().is_some_and(|book| book.has_slack())
    }

    fn book_up(&mut self, role: NodeId, totals: &Totals, change: impl Fn(&mut Amounts)) {
        let mut at = role;
        while at != ROOT {
            if let Some(book) = self.nodes[at].book.as_mut() {
                change(&mut book.consumed);
            }
            at = self.nodes[at].parent;
        }
        if self.quotas > 0 {
            self.reckon_up(role, totals);
        }
    }

    fn reckon_up(&mut self, role: NodeId, totals: &Totals) {
        let mut at = role;
        while at != ROOT {
            let (parent, was_marked) = (self.nodes[at].parent, self.nodes[at].marks);
            let Some(book) = self.nodes[at].book.as_mut() else { return };
            let missing = book.reckon();
            let was = std::mem::replace(&mut book.missing, missing.clone());
            let marks = book.marks(totals, was_marked);
            let sum = match self.nodes[parent].book.as_mut() {
                Some(book) => &mut book.below,
                None => &mut self.required,
            };
            sum.add(&missing);
            sum.subtract(&was);
            self.mark(at, marks);
            at = parent;
        }
    }
}

/// From what is kept for a role to what is kept for one child: what its siblings do not miss, and at least what it does.
fn descend(kept: &mut Amounts, siblings: &Amounts, missing: &Amounts) {
    for name in 0..kept.len().max(missing.len()) {
        let others = siblings.of(name).saturating_sub(missing.of(name));
        kept.set(name, kept.of(name).saturating_sub(others).max(missing.of(name)).max(0));
    }
}
