//! Fair shares for the master: dominant resource fairness over a tree of weighted roles.
//!
//! The *dominant share* of a role or framework is the largest fraction of the cluster that it holds of any one
//! resource. Siblings are ordered by `max over names of (allocated / total) / weight`, the smallest first. Ties go to
//! the one with fewer allocations, then to the lexicographically smaller path or key. Roles are a tree by path (`a/b`
//! inside `a`): what a child holds counts for its parent. A role's own frameworks are one sibling, with weight 1, of
//! its child roles. Inside a role frameworks are compared by the same rule.
//!
//! The formula is that of Ghodsi et al., "Dominant Resource Fairness: Fair Allocation of Multiple Resource Types", NSDI
//! 2011. This module decides only the order; the caller decides what may be offered to whom.

mod allocator;
mod amounts;
mod dirty;
mod lines;
mod portion;
mod quota;
mod rank;
mod refusals;
mod round;
mod spending;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

pub use self::allocator::Allocator;
use self::amounts::Totals;
use self::lines::Part;
pub use self::portion::Abilities;
pub use self::quota::{Quota, QuotaError, check_quotas};
use self::rank::Label;
pub use self::refusals::Refusal;
pub use self::round::{Clients, Grant, Serve, Step, Terms};
use self::tree::{NodeId, ROOT, Tree};
use crate::types::Milli;

/// The id of a role in [`Shares`], returned by [`Shares::add_client`].
///
/// It is valid while the role or a descendant has clients, and may be reused for another role afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(NodeId);

/// The shares of all roles and frameworks, kept in order as allocations change.
///
/// A *client* is a framework inside a role, `K` the caller's key for the framework. Allocating, releasing, activating
/// and deactivating cost a logarithm of the number of siblings on each level of the role's path. A change of the
/// cluster's total re-orders everything, once, at the next call of [`order`](Self::order).
///
/// ```
/// use divvy::allocator::fair::Shares;
/// use divvy::types::Milli;
///
/// let mut shares = Shares::new();
/// shares.add_total(&[("cpus", Milli::from_units(100)), ("mem", Milli::from_units(1000))]);
/// let web = shares.add_client("web", 1);
/// let batch = shares.add_client("batch", 2);
/// shares.allocated(batch, 2, &[("cpus", Milli::from_units(10)), ("mem", Milli::from_units(10))]);
/// assert_eq!(shares.order().next(), Some((web, 1)));
/// shares.allocated(web, 1, &[("mem", Milli::from_units(200))]);
/// assert_eq!(shares.order().next(), Some((batch, 2)));
/// ```
#[derive(Debug, Clone)]
pub struct Shares<K> {
    totals: Totals,
    weights: BTreeMap<Arc<str>, f64>,
    roles: BTreeMap<Arc<str>, NodeId>,
    clients: BTreeMap<(RoleId, K), NodeId>,
    tree: Tree<K>,
    totals_dirty: bool,
}

impl<K: Copy + Ord + Debug> Default for Shares<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Ord + Debug> Shares<K> {
    /// Creates shares of an empty cluster without clients, with every weight 1.
    #[must_use]
    pub fn new() -> Self {
        Self::excluding(std::iter::empty::<&str>())
    }

    /// Creates shares that ignore the named resources.
    ///
    /// Those are scarce ones, such as `gpus`, whose few holders would otherwise be offered nothing else.
    #[must_use]
    pub fn excluding<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        Self {
            totals: Totals::excluding(names),
            weights: BTreeMap::new(),
            roles: BTreeMap::new(),
            clients: BTreeMap::new(),
            tree: Tree::new(),
            totals_dirty: false,
        }
    }

    /// Adds to the cluster's total, such as an agent's resources.
    pub fn add_total<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) {
        self.totals.add(quantities);
        self.totals_dirty = true;
    }

    /// Subtracts from the cluster's total. Allocations of clients still count until [`unallocated`](Self::unallocated).
    pub fn remove_total<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) {
        self.totals.subtract(quantities);
        self.totals_dirty = true;
    }

    /// Sets the weight of a role among its siblings: with weight 2 it is entitled to twice the share.
    ///
    /// It applies from now on, also to a role that does not exist yet.
    ///
    /// # Panics
    ///
    /// When the weight is not a positive, finite number.
    pub fn set_weight(&mut self, role: &str, weight: f64) {
        assert!(
            weight.is_finite() && weight > 0.0,
            "the weight of role {role} is {weight}: it must be over 0 and finite"
        );
        self.weights.insert(role.into(), weight);
        if let Some(&node) = self.roles.get(role) {
            self.tree.set_weight(node, weight, &self.totals);
        }
    }

    /// Adds a framework to a role, active and with nothing allocated. An existing one does not change.
    pub fn add_client(&mut self, role: &str, client: K) -> RoleId {
        let id = RoleId(self.role_node(role));
        if !self.clients.contains_key(&(id, client)) {
            let own = self.tree.own_group(id.0);
            let node = self.tree.add(own, Label::Client { role: id, client });
            self.clients.insert((id, client), node);
            self.tree.activate(node, &self.totals);
        }
        id
    }

    /// Removes a framework from a role with its allocations. Does nothing if it is not there.
    pub fn remove_client(&mut self, role: RoleId, client: K) {
        if let Some(node) = self.clients.remove(&(role, client)) {
            let (held, spent) = (self.tree.held(node).clone(), self.tree.spent(node).clone());
            self.tree.release(node, &held, &self.totals);
            let gone = self.tree.remove(node);
            self.forget(gone);
            let gone = if spent.is_zero() { Vec::new() } else { self.tree.give_back(role.0, &spent, &self.totals) };
            self.forget(gone);
        }
    }

    fn forget(&mut self, roles: Vec<Arc<str>>) {
        for path in roles {
            self.roles.remove(&path);
        }
    }

    /// Includes a client in [`order`](Self::order) again.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn activate(&mut self, role: RoleId, client: K) {
        let node = self.client_node(role, client);
        self.tree.activate(node, &self.totals);
    }

    /// Excludes a client from [`order`](Self::order), at no cost for its callers. Its allocations still count for its
    /// role.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn deactivate(&mut self, role: RoleId, client: K) {
        let node = self.client_node(role, client);
        self.tree.deactivate(node);
    }

    /// Returns whether a client is in [`order`](Self::order).
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    #[must_use]
    pub fn is_active(&self, role: RoleId, client: K) -> bool {
        self.tree.is_active(self.client_node(role, client))
    }

    /// Adds these amounts to a client's allocation; counts as one allocation, whatever its size.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn allocated<N: AsRef<str>>(&mut self, role: RoleId, client: K, quantities: &[(N, Milli)]) {
        let node = self.client_node(role, client);
        let amounts = self.totals.amounts(quantities);
        self.tree.allocate(node, &amounts, &self.totals);
    }

    /// Subtracts these amounts from a client's allocation. The count of allocations, which breaks ties, does not
    /// decrease.
    ///
    /// # Panics
    ///
    /// When the client was not added to the role.
    pub fn unallocated<N: AsRef<str>>(&mut self, role: RoleId, client: K, quantities: &[(N, Milli)]) {
        let node = self.client_node(role, client);
        let amounts = self.totals.amounts(quantities);
        self.tree.release(node, &amounts, &self.totals);
    }

    /// Iterates over the active clients, smallest share first. Lazy: taking only the first few is cheap.
    pub fn order(&mut self) -> impl Iterator<Item = (RoleId, K)> {
        self.refresh();
        self.tree.walk(Part::All, false).map(|(_, role, client)| (role, client))
    }

    /// Re-orders everything after a change of the total.
    fn refresh(&mut self) {
        if std::mem::take(&mut self.totals_dirty) {
            self.tree.rank_all(&self.totals);
            self.tree.mark_all(&self.totals);
        }
    }

    /// Returns the id of a role that has clients, or whose descendants have some.
    #[must_use]
    pub fn role(&self, path: &str) -> Option<RoleId> {
        self.roles.get(path).copied().map(RoleId)
    }

    /// Returns the path of a role.
    ///
    /// # Panics
    ///
    /// When the id is not one of these shares.
    #[must_use]
    pub fn path(&self, role: RoleId) -> &Arc<str> {
        self.tree.path(role.0).expect("a role id stands for a role node while the role has clients")
    }

    /// Returns what the order compares: the role's dominant share divided by its weight; 0 for an unknown role.
    #[must_use]
    pub fn share(&self, role: &str) -> f64 {
        self.roles.get(role).map_or(0.0, |&node| self.tree.share(node, &self.totals).as_f64())
    }

    /// Returns the dominant share of a role with its descendants, 0 to 1, whatever its weight; 0 for an unknown role.
    #[must_use]
    pub fn dominant_share(&self, role: &str) -> f64 {
        self.roles.get(role).map_or(0.0, |&node| self.totals.share(self.tree.held(node), 1.0).as_f64())
    }

    /// Returns the dominant share of one client, 0 to 1; 0 for an unknown client.
    #[must_use]
    pub fn client_share(&self, role: RoleId, client: K) -> f64 {
        self.clients.get(&(role, client)).map_or(0.0, |&node| self.tree.share(node, &self.totals).as_f64())
    }

    fn client_node(&self, role: RoleId, client: K) -> NodeId {
        self.find_client(role, client).unwrap_or_else(|| panic!("client {client:?} was not added to {role:?}"))
    }

    fn find_client(&self, role: RoleId, client: K) -> Option<NodeId> {
        self.clients.get(&(role, client)).copied()
    }

    fn has_client(&self, role: RoleId, client: K) -> bool {
        self.clients.contains_key(&(role, client))
    }

    fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Returns the node of a role, created with its ancestors where missing.
    fn role_node(&mut self, path: &str) -> NodeId {
        let mut parent = ROOT;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let prefix = &path[..end];
            parent = match self.roles.get(prefix) {
                Some(&node) => node,
                None => self.add_role(parent, prefix),
            };
        }
        parent
    }

    fn add_role(&mut self, parent: NodeId, path: &str) -> NodeId {
        let path: Arc<str> = path.into();
        let node = self.tree.add(parent, Label::Role(Arc::clone(&path)));
        if let Some(&weight) = self.weights.get(&path) {
            self.tree.set_weight(node, weight, &self.totals);
        }
        self.roles.insert(path, node);
        node
    }
}
