//! The needs of one instance, as numbers.

use std::collections::BTreeSet;

use super::names::Names;
use super::room::Total;
use crate::allocator::request::Demand;
use crate::types::Milli;

/// The needs of one instance by one of its demands.
#[derive(Debug)]
pub(in crate::allocator) struct Want {
    /// By index of the name; all over zero.
    pub(in crate::allocator) scalars: Vec<(usize, Milli)>,
    pub(in crate::allocator) fixed_ports: Vec<u64>,
    pub(in crate::allocator) ports: u64,
    pub(in crate::allocator) sets: Vec<SetWant>,
}

/// The needed items of one set.
#[derive(Debug)]
pub(in crate::allocator) struct SetWant {
    pub(in crate::allocator) name: usize,
    pub(in crate::allocator) items: BTreeSet<String>,
    pub(in crate::allocator) any: u64,
}

impl Want {
    /// Converts a demand. Amounts of zero are dropped, and negative ones, which [`Demand::check`] refuses, count as
    /// zero.
    pub(in crate::allocator) fn new(demand: &Demand, names: &Names) -> Self {
        let wanted = demand.scalars.iter().filter(|&(_, &amount)| amount > Milli::ZERO);
        let mut scalars: Vec<_> = wanted.filter_map(|(name, &amount)| Some((names.scalar(name)?, amount))).collect();
        scalars.sort_unstable();
        let set = |(name, set): (&String, &crate::allocator::request::SetDemand)| {
            Some(SetWant { name: names.set(name)?, items: set.items.clone(), any: set.any.into() })
        };
        Self {
            scalars,
            fixed_ports: demand.fixed_ports.iter().copied().map(u64::from).collect(),
            ports: demand.ports.into(),
            sets: demand.sets.iter().filter_map(set).collect(),
        }
    }

    /// Returns how many ports an instance gets, fixed ones included.
    pub(in crate::allocator) fn width(&self) -> usize {
        self.fixed_ports.len() + usize::try_from(self.ports).expect("it was a u32")
    }

    /// Returns the largest fraction of a total that one instance takes.
    #[expect(clippy::cast_precision_loss, reason = "it only decides who is placed first")]
    pub(in crate::allocator) fn dominant_share(&self, total: &Total) -> f64 {
        let share = |asked: f64, of: f64| if asked > 0.0 { asked / of } else { 0.0 };
        let scalars =
            self.scalars.iter().map(|&(name, asked)| share(asked.raw() as f64, total.scalars[name].raw() as f64));
        let ports = share(self.width() as f64, total.ports as f64);
        let sets = self.sets.iter().map(|set| share(set.width() as f64, total.sets[set.name] as f64));
        scalars.chain([ports]).chain(sets).fold(0.0, f64::max)
    }
}

impl SetWant {
    /// Returns how many items an instance gets, named ones included.
    pub(in crate::allocator) fn width(&self) -> u64 {
        self.items.len() as u64 + self.any
    }
}
