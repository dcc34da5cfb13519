//! The tree of roles, own groups and clients, each node with its active children in order.
//!
//! Invariant: a node stands in its parent's order exactly when it is an active client or has an active child, under
//! the rank that it also keeps itself. While totals have changed and [`Tree::rank_all`] has not run, ranks may
//! be of yesterday, but both copies are the same.

use std::collections::BTreeSet;
use std::collections::btree_set;
use std::sync::Arc;

use super::RoleId;
use super::amounts::{Amounts, Totals};
use super::rank::{Label, Rank, Share};

pub(super) type NodeId = usize;

pub(super) const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
struct Node<K> {
    label: Label<K>,
    parent: NodeId,
    children: usize,
    own_group: Option<NodeId>,
    weight: f64,
    held: Amounts,
    allocations: u64,
    rank: Option<Rank<K>>,
    order: BTreeSet<Rank<K>>,
}

impl<K> Node<K> {
    fn new(parent: NodeId, label: Label<K>) -> Self {
        let (held, order) = (Amounts::default(), BTreeSet::new());
        Self { label, parent, children: 0, own_group: None, weight: 1.0, held, allocations: 0, rank: None, order }
    }

    fn share(&self, totals: &Totals) -> Share {
        totals.share(&self.held, self.weight)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Tree<K> {
    nodes: Vec<Node<K>>,
    free: Vec<NodeId>,
}

impl<K: Copy + Ord> Tree<K> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::new(ROOT, Label::Own)], free: Vec::new() }
    }

    /// A new node, not in the order yet.
    pub(super) fn add(&mut self, parent: NodeId, label: Label<K>) -> NodeId {
        self.nodes[parent].children += 1;
        let node = Node::new(parent, label);
        if let Some(id) = self.free.pop() {
            self.nodes[id] = node;
            return id;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The node under which a role's own clients stand, made when missing.
    pub(super) fn own_group(&mut self, role: NodeId) -> NodeId {
        if let Some(own) = self.nodes[role].own_group {
            return own;
        }
        let own = self.add(role, Label::Own);
        self.nodes[role].own_group = Some(own);
        own
    }

    /// Removes a childless node and every ancestor that this leaves without children; answers the paths of the roles gone.
    pub(super) fn remove(&mut self, node: NodeId) -> Vec<Arc<str>> {
        self.leave(node);
        let mut gone = Vec::new();
        let mut at = node;
        while at != ROOT && self.nodes[at].children == 0 {
            let parent = self.nodes[at].parent;
            match std::mem::replace(&mut self.nodes[at], Node::new(ROOT, Label::Own)).label {
                Label::Own => self.nodes[parent].own_group = None,
                Label::Role(path) => gone.push(path),
                Label::Client { .. } => {}
            }
            self.free.push(at);
            self.nodes[parent].children -= 1;
            at = parent;
        }
        gone
    }

    /// Puts a node into its parent's order, and the ancestors that were not in theirs.
    pub(super) fn enter(&mut self, node: NodeId, totals: &Totals) {
        let mut at = node;
        while at != ROOT && self.nodes[at].rank.is_none() {
            let rank = self.rank(at, totals);
            let parent = self.nodes[at].parent;
            self.nodes[parent].order.insert(rank.clone());
            self.nodes[at].rank = Some(rank);
            at = parent;
        }
    }

    /// Takes a node out of its parent's order, and the ancestors that this leaves without an active child.
    pub(super) fn leave(&mut self, node: NodeId) {
        let mut at = node;
        while let Some(rank) = self.nodes[at].rank.take() {
            at = self.nodes[at].parent;
            self.nodes[at].order.remove(&rank);
            if !self.nodes[at].order.is_empty() {
                return;
            }
        }
    }

    /// Adds one allocation to a node and all above it.
    pub(super) fn charge(&mut self, node: NodeId, amounts: &Amounts, totals: &Totals) {
        self.update_up(node, totals, |node| {
            node.held.add(amounts);
            node.allocations += 1;
        });
    }

    /// Takes amounts from a node and all above it.
    pub(super) fn discharge(&mut self, node: NodeId, amounts: &Amounts, totals: &Totals) {
        self.update_up(node, totals, |node| node.held.subtract(amounts));
    }

    pub(super) fn set_weight(&mut self, node: NodeId, weight: f64, totals: &Totals) {
        self.nodes[node].weight = weight;
        self.move_in_order(node, totals);
    }

    pub(super) fn held(&self, node: NodeId) -> &Amounts {
        &self.nodes[node].held
    }

    pub(super) fn share(&self, node: NodeId, totals: &Totals) -> Share {
        self.nodes[node].share(totals)
    }

    pub(super) fn path(&self, node: NodeId) -> Option<&Arc<str>> {
        match &self.nodes.get(node)?.label {
            Label::Role(path) => Some(path),
            Label::Own | Label::Client { .. } => None,
        }
    }

    /// Ranks every active node anew. A set that is nearly in order is rebuilt in nearly linear time.
    pub(super) fn rank_all(&mut self, totals: &Totals) {
        for parent in 0..self.nodes.len() {
            if self.nodes[parent].order.is_empty() {
                continue;
            }
            let order = std::mem::take(&mut self.nodes[parent].order);
            let mut ranks: Vec<Rank<K>> = order.into_iter().collect();
            for rank in &mut ranks {
                let node = &mut self.nodes[rank.node];
                rank.share = node.share(totals);
                node.rank.as_mut().expect("a node in an order has a rank").share = rank.share;
            }
            self.nodes[parent].order = ranks.into_iter().collect();
        }
    }

    /// Active clients in order.
    pub(super) fn walk(&self) -> impl Iterator<Item = (RoleId, K)> {
        Walk { tree: self, levels: vec![self.nodes[ROOT].order.iter()] }
    }

    fn rank(&self, node: NodeId, totals: &Totals) -> Rank<K> {
        let Node { label, allocations, .. } = &self.nodes[node];
        Rank { share: self.share(node, totals), allocations: *allocations, label: label.clone(), node }
    }

    fn update_up(&mut self, node: NodeId, totals: &Totals, change: impl Fn(&mut Node<K>)) {
        let mut at = node;
        while at != ROOT {
            change(&mut self.nodes[at]);
            self.move_in_order(at, totals);
            at = self.nodes[at].parent;
        }
    }

    fn move_in_order(&mut self, at: NodeId, totals: &Totals) {
        let node = &mut self.nodes[at];
        let (share, allocations, parent) = (node.share(totals), node.allocations, node.parent);
        let Some(mut rank) = node.rank.take() else { return };
        let order = &mut self.nodes[parent].order;
        let mut entry = order.take(&rank).expect("an active node stands in its parent's order under its rank");
        (entry.share, entry.allocations) = (share, allocations);
        order.insert(entry);
        (rank.share, rank.allocations) = (share, allocations);
        self.nodes[at].rank = Some(rank);
    }
}

/// Depth first through the orders, smallest rank first.
struct Walk<'a, K> {
    tree: &'a Tree<K>,
    levels: Vec<btree_set::Iter<'a, Rank<K>>>,
}

impl<K: Copy> Iterator for Walk<'_, K> {
    type Item = (RoleId, K);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(level) = self.levels.last_mut() {
            match level.next() {
                None => {
                    self.levels.pop();
                }
                Some(rank) => match rank.label {
                    Label::Client { role, client } => return Some((role, client)),
                    Label::Own | Label::Role(_) => self.levels.push(self.tree.nodes[rank.node].order.iter()),
                },
            }
        }
        None
    }
}
