//! Assignment of ports and items of sets to instances.
//!
//! What the instances on the agent request by number or name is reserved first, for all of them. The others get the
//! lowest of the rest, reserved ones before unreserved.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::stock::depth;
use crate::allocator::feasible::is_plain;
use crate::allocator::request::Demand;
use crate::types::{Amount, Ranges, Resources};

/// The items of one instance, by set.
pub(in crate::allocator) type Items = Vec<(Arc<str>, BTreeSet<String>)>;

/// The ports and items of equal instances on one agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::allocator) struct Pieces {
    /// The ports of all instances, `width` for each.
    pub(in crate::allocator) ports: Vec<u64>,
    pub(in crate::allocator) width: usize,
    /// One entry for each instance; empty if no items are requested.
    pub(in crate::allocator) items: Vec<Items>,
}

/// The ports and sets left in a pool, the ones to be taken first in front.
#[derive(Default)]
pub(in crate::allocator) struct Free {
    ports: Vec<Ranges>,
    sets: Vec<(Arc<str>, BTreeSet<String>)>,
}

impl Free {
    pub(in crate::allocator) fn new(resources: &Resources) -> Self {
        let mut items: Vec<_> = resources.iter().filter(|item| is_plain(item.kind())).collect();
        items.sort_by_key(|item| Reverse(depth(item.kind())));
        let mut free = Self::default();
        for item in items {
            match item.amount() {
                Amount::Ranges(ranges) if item.name() == "ports" => free.ports.push(ranges.clone()),
                Amount::Set(set) => free.sets.push((item.kind().name().clone(), set.clone())),
                Amount::Scalar(_) | Amount::Ranges(_) => {}
            }
        }
        free
    }

    /// Removes what a demand names.
    pub(in crate::allocator) fn set_aside(&mut self, demand: &Demand) {
        self.remove_ports(&demand.fixed_ports.iter().map(|&port| u64::from(port)..=u64::from(port)).collect());
        for (name, set) in &demand.sets {
            self.remove_items(name, &set.items);
        }
    }

    /// Assigns ports and items to so many instances; the named ones are removed already.
    pub(in crate::allocator) fn take(&mut self, demand: &Demand, instances: u32) -> Pieces {
        let mut pieces = Pieces { width: demand.fixed_ports.len(), ..Pieces::default() };
        pieces.width += usize::try_from(demand.ports).expect("ports were placed, so there are so many");
        for _ in 0..if pieces.width > 0 { instances } else { 0 } {
            pieces.ports.extend(demand.fixed_ports.iter().copied().map(u64::from));
            self.take_ports(demand.ports.into(), &mut pieces.ports);
        }
        for _ in 0..if demand.sets.is_empty() { 0 } else { instances } {
            pieces.items.push(self.take_items(demand));
        }
        pieces
    }

    fn take_ports(&mut self, mut missing: u64, taken: &mut Vec<u64>) {
        while missing > 0 {
            let Some(ranges) = self.ports.iter().find(|ranges| !ranges.is_empty()) else { break };
            let lowest = ranges.take(missing.min(ranges.len())).expect("no more are taken than there are");
            missing -= lowest.len();
            taken.extend(lowest.values());
            self.remove_ports(&lowest);
        }
        debug_assert_eq!(missing, 0, "placing granted the ports");
    }

    fn take_items(&mut self, demand: &Demand) -> Items {
        let mut all = Items::new();
        for (name, set) in &demand.sets {
            let mut taken = set.items.clone();
            for _ in 0..set.any {
                let next = self.sets.iter().find(|(of, items)| **of == **name && !items.is_empty());
                let Some(item) = next.and_then(|(_, items)| items.first().cloned()) else { break };
                self.remove_items(name, &BTreeSet::from([item.clone()]));
                taken.insert(item);
            }
            all.push((name.as_str().into(), taken));
        }
        all
    }

    /// Removes them from every kind: no port exists twice, whatever an offer contains.
    fn remove_ports(&mut self, taken: &Ranges) {
        for ranges in &mut self.ports {
            *ranges -= taken;
        }
    }

    fn remove_items(&mut self, name: &str, taken: &BTreeSet<String>) {
        for (_, items) in self.sets.iter_mut().filter(|(of, _)| **of == *name) {
            items.retain(|item| !taken.contains(item));
        }
    }
}
