//! Resources of agents, offers and tasks: exact arithmetic of scalars, ranges and sets.
//!
//! [`Resources`] keeps its items sorted by kind and merged where possible. So equal resources are equal values, and
//! every operation is one pass over two short sorted lists. Three things never merge: different kinds (role, disk,
//! revocable, provider); exclusive disks and volumes, which are only taken whole; and shared volumes of different
//! sizes. Copies of a shared volume are counted. Amounts are fixed point. Messages and text are validated when they are
//! read; afterwards there are no invalid resources.

mod algebra;
mod amount;
mod declared;
mod kind;
mod proto;
mod select;
mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::amount::Amount;
pub use self::declared::DeclaredResources;
pub(crate) use self::kind::is_self_or_below;
pub use self::kind::{Kind, KindRef, Reservation};
use super::{Milli, Ranges};

/// A sum of resource items. See the [module](self) for its rules.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    items: Vec<Resource>,
}

/// One item: an amount of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    kind: KindRef,
    amount: Amount,
    copies: u32,
}

/// An error for invalid resources, with the field or the text at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// A field of a message is invalid.
    #[error("{path}: {problem}")]
    Field {
        /// The field, relative to the list: `[1].scalar`.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A part of a text is invalid.
    #[error("`{text}`: {problem}")]
    Text {
        /// The part between two semicolons.
        text: String,
        /// What is wrong with it, and what is expected.
        problem: String,
    },
}

impl Resource {
    /// Creates an item; one of a shared kind counts as one copy.
    #[must_use]
    pub fn new(kind: impl Into<KindRef>, amount: Amount) -> Self {
        Self { kind: kind.into(), amount, copies: 1 }
    }

    /// Returns the name: `cpus`, `mem`, ...
    #[must_use]
    pub fn name(&self) -> &str {
        self.kind.name()
    }

    /// Returns the kind: everything but the amount.
    #[must_use]
    pub fn kind(&self) -> &KindRef {
        &self.kind
    }

    /// Returns the amount.
    #[must_use]
    pub fn amount(&self) -> &Amount {
        &self.amount
    }

    /// Returns the amount if it is a scalar.
    #[must_use]
    pub fn scalar(&self) -> Option<Milli> {
        match self.amount {
            Amount::Scalar(amount) => Some(amount),
            Amount::Ranges(_) | Amount::Set(_) => None,
        }
    }

    /// Returns how many copies there are; always one unless it is shared.
    #[must_use]
    pub fn copies(&self) -> u32 {
        self.copies
    }
}

impl Resources {
    /// Creates empty resources.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: Vec::new() }
    }

    /// Creates unreserved scalars, added up by name.
    #[must_use]
    pub fn from_scalars(scalars: &[(&str, Milli)]) -> Self {
        scalars.iter().map(|&(name, amount)| Resource::new(KindRef::plain(name), Amount::Scalar(amount))).collect()
    }

    /// Creates unreserved cpus and memory, which most tasks need.
    ///
    /// # Panics
    /// If a number is negative, not finite or beyond the largest amount; meant for numbers in the source.
    #[must_use]
    pub fn cpus_mem(cpus: f64, mem_mib: f64) -> Self {
        let amount = |number| Milli::amount(number).expect("cpus and mem in the source are amounts");
        Self::from_scalars(&[("cpus", amount(cpus)), ("mem", amount(mem_mib))])
    }

    /// Adds unreserved ports.
    #[must_use]
    pub fn with_ports(mut self, ports: impl Into<Ranges>) -> Self {
        self.add(&Resource::new(KindRef::plain("ports"), Amount::Ranges(ports.into())));
        self
    }

    /// Adds an unreserved scalar.
    #[must_use]
    pub fn with_scalar(mut self, name: &str, amount: Milli) -> Self {
        self.add(&Resource::new(KindRef::plain(name), Amount::Scalar(amount)));
        self
    }

    /// Returns whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the number of items after merging.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Iterates over the items, sorted by kind: cpus, mem, disk, gpus, ports, then the others by name.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.items.iter()
    }

    /// Returns the sum of the scalars of that name over all kinds; a shared item counts once.
    #[must_use]
    pub fn scalar(&self, name: &str) -> Milli {
        self.named(name).filter_map(Resource::scalar).sum()
    }

    /// Returns the cpus.
    #[must_use]
    pub fn cpus(&self) -> Milli {
        self.scalar("cpus")
    }

    /// Returns the memory in MiB.
    #[must_use]
    pub fn mem_mib(&self) -> Milli {
        self.scalar("mem")
    }

    /// Returns the disk space in MiB, volumes included.
    #[must_use]
    pub fn disk_mib(&self) -> Milli {
        self.scalar("disk")
    }

    /// Returns the gpus, which are whole numbers.
    #[must_use]
    pub fn gpus(&self) -> Milli {
        self.scalar("gpus")
    }

    /// Returns the ports of all kinds.
    #[must_use]
    pub fn ports(&self) -> Ranges {
        self.ranges("ports")
    }

    /// Returns the number of ports.
    #[must_use]
    pub fn total_ports(&self) -> u64 {
        self.ports().len()
    }

    /// Returns the union of the ranges of that name over all kinds.
    #[must_use]
    pub fn ranges(&self, name: &str) -> Ranges {
        let ranges = self.named(name).filter_map(|item| match &item.amount {
            Amount::Ranges(ranges) => Some(ranges),
            Amount::Scalar(_) | Amount::Set(_) => None,
        });
        ranges.collect()
    }

    /// Returns the union of the sets of that name over all kinds.
    #[must_use]
    pub fn set(&self, name: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for item in self.named(name) {
            if let Amount::Set(set) = &item.amount {
                all.extend(set.iter().cloned());
            }
        }
        all
    }

    /// Returns the sums of the scalars by name, sorted by name. Fair shares are computed from them.
    #[must_use]
    pub fn quantities(&self) -> Vec<(Arc<str>, Milli)> {
        let mut sums: Vec<(Arc<str>, Milli)> = Vec::with_capacity(self.items.len());
        for (item, amount) in self.items.iter().filter_map(|item| item.scalar().map(|amount| (item, amount))) {
            match sums.last_mut() {
                Some((name, sum)) if *name == *item.kind.name() => *sum += amount,
                _ => sums.push((item.kind.name().clone(), amount)),
            }
        }
        sums.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        sums
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.items.iter().filter(move |item| &**item.kind.name() == name)
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(items: I) -> Self {
        Self::merged(items.into_iter().collect())
    }
}

#[cfg(test)]
mod declared_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
