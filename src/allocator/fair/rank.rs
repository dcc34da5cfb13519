//! The rank of a node among its siblings, as a sort key.

use std::cmp::Ordering;
use std::sync::Arc;

use super::RoleId;
use super::tree::NodeId;

/// A dominant share per unit of weight, in total order. The same amounts always give the same bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share(f64);

impl Share {
    pub(super) fn new(share: f64) -> Self {
        Self(share)
    }

    pub(super) fn as_f64(self) -> f64 {
        self.0
    }
}

impl Eq for Share {}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a node of the tree represents; its order breaks the last tie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label<K> {
    /// The frameworks of the parent role itself, a sibling of its child roles.
    Own,
    /// A role by its whole path: siblings have the same prefix, so this orders them by the last part.
    Role(Arc<str>),
    /// One framework. All siblings have the same role.
    Client {
        /// The role, for the items of a walk.
        role: RoleId,
        /// The caller's key.
        client: K,
    },
}

/// The key of an active node in its parent's order: smallest share, then fewest allocations, then label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<K> {
    pub(super) share: Share,
    pub(super) allocations: u64,
    pub(super) label: Label<K>,
    pub(super) node: NodeId,
}
