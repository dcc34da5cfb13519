//! Amounts by resource index as short vectors: the cluster's total, and what one node of the tree holds.
//!
//! A name gets an index when it first occurs and keeps it. Names excluded from the shares have an index too, since
//! quotas may limit them, but count as if the cluster had none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rank::Share;
use crate::types::{Milli, Resource, Resources};

/// Up to so many names a linear search is faster.
const FEW_NAMES: usize = 8;

/// Thousandths by name index; missing entries are zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Amounts(Vec<i64>);

impl Amounts {
    pub(super) fn add(&mut self, other: &Amounts) {
        self.reach(other.0.len());
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    pub(super) fn subtract(&mut self, other: &Amounts) {
        self.reach(other.0.len());
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_sub(*theirs);
            debug_assert!(*mine >= 0, "more is taken away than there is");
        }
    }

    pub(super) fn of(&self, index: usize) -> i64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, index: usize, amount: i64) {
        self.reach(index + 1);
        self.0[index] = amount;
    }

    /// Returns one past the last index that may be other than zero.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|amount| *amount == 0)
    }

    fn reach(&mut self, len: usize) {
        if self.0.len() < len {
            self.0.resize(len, 0);
        }
    }
}

/// The cluster's total, and the index of every name.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    /// Every name, at its index.
    names: Vec<Arc<str>>,
    indices: BTreeMap<Arc<str>, usize>,
    excluded: BTreeSet<Arc<str>>,
    /// The total of every name.
    present: Amounts,
    /// The total of the names that count for shares.
    total: Amounts,
}

impl Totals {
    pub(super) fn excluding<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let excluded = names.into_iter().map(|name| name.as_ref().into()).collect();
        let (present, total) = (Amounts::default(), Amounts::default());
        Self { names: Vec::new(), indices: BTreeMap::new(), excluded, present, total }
    }

    pub(super) fn add<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) {
        let amounts = self.amounts(quantities);
        self.present.add(&amounts);
        self.total.add(&self.counted(amounts));
    }

    pub(super) fn subtract<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) {
        let amounts = self.amounts(quantities);
        self.present.subtract(&amounts);
        self.total.subtract(&self.counted(amounts));
    }

    pub(super) fn amounts<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) -> Amounts {
        let mut amounts = Amounts(vec![0; self.indices.len()]);
        for (name, amount) in quantities {
            let index = self.index(name.as_ref());
            amounts.reach(index + 1);
            amounts.0[index] = amounts.0[index].saturating_add(amount.raw());
        }
        amounts
    }

    /// Returns the scalars of the items for which `of` returns true.
    pub(super) fn scalars(&mut self, resources: &Resources, of: impl Fn(&Resource) -> bool) -> Amounts {
        let mut amounts = Amounts(Vec::with_capacity(self.names.len()));
        for item in resources.iter().filter(|item| of(item)) {
            if let Some(amount) = item.scalar() {
                let index = self.index(item.name());
                amounts.set(index, amounts.of(index).saturating_add(amount.raw()));
            }
        }
        amounts
    }

    /// Iterates over every name with its index.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.indices.iter().map(|(name, index)| (name, *index))
    }

    /// Returns the index of a name that occurred before.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        if self.names.len() <= FEW_NAMES {
            return self.names.iter().position(|known| **known == *name);
        }
        self.indices.get(name).copied()
    }

    /// Iterates over the indices of the names that the cluster has any of.
    pub(super) fn held_names(&self) -> impl Iterator<Item = usize> {
        (0..self.present.len()).filter(|name| self.present.of(*name) > 0)
    }

    /// Returns the largest fraction of the total, over all names the cluster has any of, per unit of weight.
    ///
    /// Division rounds correctly, so equal fractions of different resources are equal shares. The weight divides last,
    /// as clients of the protocol expect. If a weight is not a power of two, rounding may decide between shares that
    /// tie.
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 thousandths, nine tera-units, nothing is lost")]
    pub(super) fn share(&self, held: &Amounts, weight: f64) -> Share {
        let fractions = held.0.iter().zip(&self.total.0).filter(|&(_, &total)| total > 0);
        Share::new(fractions.map(|(&held, &total)| held as f64 / total as f64).fold(0.0, f64::max) / weight)
    }

    pub(super) fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.index_of(name) {
            return index;
        }
        let (index, name): (usize, Arc<str>) = (self.names.len(), name.into());
        self.names.push(name.clone());
        self.indices.insert(name, index);
        index
    }

    fn counted(&self, mut amounts: Amounts) -> Amounts {
        for name in &self.excluded {
            if let Some(&index) = self.indices.get(name).filter(|index| **index < amounts.len()) {
                amounts.0[index] = 0;
            }
        }
        amounts
    }
}
