//! Amounts per resource name as short vectors: what the cluster has, and what one node of the tree holds.
//!
//! A name gets an index when it is first seen and keeps it. Excluded names have none and are ignored everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rank::Share;
use crate::types::Milli;

/// Thousandths by name index; missing entries are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Amounts(Vec<i64>);

impl Amounts {
    pub(super) fn add(&mut self, other: &Amounts) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    pub(super) fn subtract(&mut self, other: &Amounts) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine -= theirs;
            debug_assert!(*mine >= 0, "more is taken away than there is");
        }
    }
}

/// The cluster's total, and the index of every name.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    indices: BTreeMap<Arc<str>, usize>,
    excluded: BTreeSet<Arc<str>>,
    total: Amounts,
}

impl Totals {
    pub(super) fn excluding<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let excluded = names.into_iter().map(|name| name.as_ref().into()).collect();
        Self { indices: BTreeMap::new(), excluded, total: Amounts::default() }
    }

    pub(super) fn add<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) {
        let amounts = self.amounts(quantities);
        self.total.add(&amounts);
    }

    pub(super) fn subtract<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) {
        let amounts = self.amounts(quantities);
        self.total.subtract(&amounts);
    }

    pub(super) fn amounts<N: AsRef<str>>(&mut self, quantities: &[(N, Milli)]) -> Amounts {
        let mut amounts = Amounts(vec![0; self.indices.len()]);
        for (name, amount) in quantities {
            if let Some(index) = self.index(name.as_ref()) {
                if amounts.0.len() <= index {
                    amounts.0.resize(index + 1, 0);
                }
                amounts.0[index] += amount.raw();
            }
        }
        amounts
    }

    /// The largest fraction of the total, over all names the cluster has any of, per unit of weight.
    ///
    /// Division rounds correctly, so equal fractions of different resources are equal shares. The weight divides last, as
    /// clients of the protocol expect: where a weight is no power of two, rounding may decide between shares that tie.
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 thousandths, nine tera-units, nothing is lost")]
    pub(super) fn share(&self, held: &Amounts, weight: f64) -> Share {
        let fractions = held.0.iter().zip(&self.total.0).filter(|&(_, &total)| total > 0);
        Share::new(fractions.map(|(&held, &total)| held as f64 / total as f64).fold(0.0, f64::max) / weight)
    }

    fn index(&mut self, name: &str) -> Option<usize> {
        if let Some(&index) = self.indices.get(name) {
            return Some(index);
        }
        if self.excluded.contains(name) {
            return None;
        }
        let index = self.indices.len();
        self.indices.insert(name.into(), index);
        Some(index)
    }
}
