//! The tree of roles, own groups and clients, each node with its active children in order.
//!
//! Invariant: a node is in its parent's lines exactly when it is an active client or has an active child, under the
//! rank and the marks that it also stores itself. After totals changed and until [`Tree::rank_all`] runs, ranks may be
//! outdated, but both copies are equal.

mod quota_state;

use std::sync::Arc;

use self::quota_state::QuotaState;
pub(super) use self::quota_state::{Allowance, Bounds};
use super::RoleId;
use super::amounts::{Amounts, Totals};
use super::lines::{LineIter, Lines, Marks, Part};
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
    marks: Marks,
    lines: Lines<K>,
    /// A client's allocation that counts for quotas.
    spent: Amounts,
    /// The quota state of a role; clients and own groups have none.
    quota: Option<Box<QuotaState>>,
    /// A client's state in runs.
    state: ClientState,
}

/// The state of a client in runs, besides its shares.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClientState {
    /// Whether runs for the active clients skip it.
    pub(super) idle: bool,
    /// Records from before this moment belong to an earlier client.
    pub(super) added: u64,
    /// Refusals from before this moment have ended.
    pub(super) revived: u64,
    /// When what it can use last changed.
    pub(super) changed: u64,
}

impl<K> Node<K> {
    fn new(parent: NodeId, label: Label<K>) -> Self {
        let quota = matches!(label, Label::Role(_)).then(Box::default);
        Self {
            label,
            parent,
            children: 0,
            own_group: None,
            weight: 1.0,
            held: Amounts::default(),
            allocations: 0,
            rank: None,
            marks: Marks::default(),
            lines: Lines::default(),
            spent: Amounts::default(),
            quota,
            state: ClientState::default(),
        }
    }

    fn share(&self, totals: &Totals) -> Share {
        totals.share(&self.held, self.weight)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Tree<K> {
    nodes: Vec<Node<K>>,
    free: Vec<NodeId>,
    /// The number of roles with a quota.
    quotas: usize,
    /// The sum of all guarantees that are not met.
    required: Amounts,
}

impl<K: Copy + Ord> Tree<K> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::new(ROOT, Label::Own)], free: Vec::new(), quotas: 0, required: Amounts::default() }
    }

    /// Adds a node, not in the order yet.
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

    /// Returns the parent node of a role's own clients, created if missing.
    pub(super) fn own_group(&mut self, role: NodeId) -> NodeId {
        if let Some(own) = self.nodes[role].own_group {
            return own;
        }
        let own = self.add(role, Label::Own);
        self.nodes[role].own_group = Some(own);
        own
    }

    /// Removes a childless node and every ancestor that then has no children and no state to keep. Returns the paths of
    /// the removed roles.
    pub(super) fn remove(&mut self, node: NodeId) -> Vec<Arc<str>> {
        self.deactivate(node);
        self.prune(node)
    }

    /// As [`Self::remove`], for a node that is not active.
    pub(super) fn prune(&mut self, node: NodeId) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        let mut at = node;
        let idle = |node: &Node<K>| node.children == 0 && node.quota.as_ref().is_none_or(|quota| quota.is_blank());
        while at != ROOT && idle(&self.nodes[at]) {
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

    /// Adds a node to its parent's order, and the ancestors that were not in theirs.
    pub(super) fn activate(&mut self, node: NodeId, totals: &Totals) {
        let mut at = node;
        while at != ROOT && self.nodes[at].rank.is_none() {
            let rank = self.rank(at, totals);
            let (parent, marks) = (self.nodes[at].parent, self.nodes[at].marks);
            self.nodes[parent].lines.insert(rank.clone(), marks);
            self.nodes[at].rank = Some(rank);
            at = parent;
        }
        self.spread_dirty(self.nodes[node].parent);
    }

    /// Removes a node from its parent's order, and the ancestors that then have no active child.
    pub(super) fn deactivate(&mut self, node: NodeId) {
        let mut at = node;
        while let Some(rank) = self.nodes[at].rank.take() {
            let marks = self.nodes[at].marks;
            at = self.nodes[at].parent;
            self.nodes[at].lines.remove(&rank, marks);
            if !self.nodes[at].lines.is_empty() {
                break;
            }
        }
        self.spread_dirty(self.nodes[node].parent);
    }

    /// Marks a client for walks over the dirty ones, or removes the mark.
    pub(super) fn set_dirty(&mut self, client: NodeId, dirty: bool) {
        self.mark(client, Marks { dirty, ..self.nodes[client].marks });
        self.spread_dirty(self.nodes[client].parent);
    }

    /// A node is dirty when an active child is.
    fn spread_dirty(&mut self, from: NodeId) {
        let mut at = from;
        while at != ROOT {
            let Node { marks, ref lines, parent, .. } = self.nodes[at];
            let dirty = lines.any_dirty();
            if marks.dirty == dirty {
                return;
            }
            self.mark(at, Marks { dirty, ..marks });
            at = parent;
        }
    }

    pub(super) fn is_dirty(&self, node: NodeId) -> bool {
        self.nodes[node].marks.dirty
    }

    /// Returns the client of a node; `None` if it is not a client.
    pub(super) fn client(&self, node: NodeId) -> Option<(RoleId, K)> {
        match self.nodes.get(node)?.label {
            Label::Client { role, client } => Some((role, client)),
            Label::Own | Label::Role(_) => None,
        }
    }

    pub(super) fn state(&self, client: NodeId) -> ClientState {
        self.nodes[client].state
    }

    pub(super) fn state_mut(&mut self, client: NodeId) -> &mut ClientState {
        &mut self.nodes[client].state
    }

    pub(super) fn is_active(&self, node: NodeId) -> bool {
        self.nodes[node].rank.is_some()
    }

    /// Adds one allocation to a node and all its ancestors.
    pub(super) fn allocate(&mut self, node: NodeId, amounts: &Amounts, totals: &Totals) {
        self.update_up(node, totals, |node| {
            node.held.add(amounts);
            node.allocations += 1;
        });
    }

    /// Subtracts amounts from a node and all its ancestors.
    pub(super) fn release(&mut self, node: NodeId, amounts: &Amounts, totals: &Totals) {
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

    /// Computes the rank of every active node anew. A set that is nearly in order is rebuilt in nearly linear time.
    pub(super) fn rank_all(&mut self, totals: &Totals) {
        for parent in 0..self.nodes.len() {
            let mut ranks = self.nodes[parent].lines.take_all();
            for rank in &mut ranks {
                let node = &mut self.nodes[rank.node];
                rank.share = node.share(totals);
                node.rank.as_mut().expect("a node in a line has a rank").share = rank.share;
            }
            for rank in ranks {
                let marks = self.nodes[rank.node].marks;
                self.nodes[parent].lines.insert(rank, marks);
            }
        }
    }

    /// Iterates over the active clients of a part in order; only over dirty ones if `dirty` is set.
    pub(super) fn walk(&self, part: Part, dirty: bool) -> Walk<'_, K> {
        Walk { tree: self, part, dirty, levels: vec![(self.nodes[ROOT].lines.children(part, dirty), false)] }
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
        let (share, allocations, parent, marks) = (node.share(totals), node.allocations, node.parent, node.marks);
        let Some(old) = node.rank.take() else { return };
        let new = Rank { share, allocations, ..old.clone() };
        self.nodes[parent].lines.replace(&old, &new, marks);
        self.nodes[at].rank = Some(new);
    }

    fn mark(&mut self, at: NodeId, marks: Marks) {
        let was = std::mem::replace(&mut self.nodes[at].marks, marks);
        let parent = self.nodes[at].parent;
        if was != marks
            && let Some(rank) = self.nodes[at].rank.clone()
        {
            self.nodes[parent].lines.change_marks(&rank, was, marks);
        }
    }
}

/// A depth-first walk through the lines, smallest rank first.
#[derive(Debug)]
pub(super) struct Walk<'a, K> {
    tree: &'a Tree<K>,
    part: Part,
    dirty: bool,
    /// The rest of each line on the way down, and whether all below it may use what is kept for an ancestor.
    levels: Vec<(LineIter<'a, K>, bool)>,
}

impl<K: Copy + Ord> Iterator for Walk<'_, K> {
    type Item = (NodeId, RoleId, K);

    fn next(&mut self) -> Option<Self::Item> {
        let nodes = &self.tree.nodes;
        while let Some((line, entitled)) = self.levels.last_mut() {
            let entitled = *entitled;
            match line.next(|rank| nodes[rank.node].marks) {
                None => {
                    self.levels.pop();
                }
                Some(rank) => match rank.label {
                    Label::Client { role, client } => return Some((rank.node, role, client)),
                    Label::Own | Label::Role(_) => {
                        let entitled = entitled || self.tree.has_slack(rank.node);
                        let all = entitled && self.part == Part::BelowGuarantee;
                        let part = if all { Part::All } else { self.part };
                        self.levels.push((nodes[rank.node].lines.children(part, self.dirty), entitled));
                    }
                },
            }
        }
        None
    }
}
