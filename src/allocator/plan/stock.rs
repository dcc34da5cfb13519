//! Takes exact items of a pool task by task; placement decided only on their sums.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::allocator::feasible::is_plain;
use crate::types::{Amount, KindRef, Milli, Ranges, Resource, Resources};

/// The plain items left in a pool, the ones to be taken first in front: the deeper the role of an item's reservation,
/// the fewer others could use it.
pub(super) struct Stock {
    scalars: Vec<(KindRef, Milli)>,
    ports: Vec<(KindRef, Ranges)>,
    sets: Vec<(KindRef, BTreeSet<String>)>,
}

impl Stock {
    pub(super) fn new(resources: &Resources) -> Self {
        let mut stock = Self { scalars: Vec::new(), ports: Vec::new(), sets: Vec::new() };
        for item in resources.iter().filter(|item| is_plain(item.kind())) {
            match item.amount() {
                Amount::Scalar(amount) => stock.scalars.push((item.kind().clone(), *amount)),
                Amount::Ranges(ranges) if item.name() == "ports" => {
                    stock.ports.push((item.kind().clone(), ranges.clone()));
                }
                Amount::Set(set) => stock.sets.push((item.kind().clone(), set.clone())),
                Amount::Ranges(_) => {}
            }
        }
        stock.scalars.sort_by_key(|(kind, _)| Reverse(depth(kind)));
        stock.ports.sort_by_key(|(kind, _)| Reverse(depth(kind)));
        stock.sets.sort_by_key(|(kind, _)| Reverse(depth(kind)));
        stock
    }

    /// Takes one task's resources, which placement has found to be there.
    pub(super) fn take(
        &mut self,
        scalars: &[(String, Milli)],
        ports: &[u64],
        items: &[(Arc<str>, BTreeSet<String>)],
    ) -> Resources {
        let mut taken = Resources::new();
        for (name, amount) in scalars {
            self.take_scalar(name, *amount, &mut taken);
        }
        if !ports.is_empty() {
            self.take_ports(ports.iter().map(|&port| port..=port).collect(), &mut taken);
        }
        for (name, items) in items {
            self.take_items(name, items.clone(), &mut taken);
        }
        taken
    }

    fn take_scalar(&mut self, name: &str, amount: Milli, taken: &mut Resources) {
        let mut missing = amount;
        for (kind, left) in self.scalars.iter_mut().filter(|(kind, _)| **kind.name() == *name) {
            let piece = missing.min(*left);
            if piece > Milli::ZERO {
                taken.add(&Resource::new(kind.clone(), Amount::Scalar(piece)));
                *left -= piece;
                missing -= piece;
            }
        }
        debug_assert!(missing.is_zero(), "the sum of the items was large enough");
    }

    fn take_ports(&mut self, mut missing: Ranges, taken: &mut Resources) {
        for (kind, left) in &mut self.ports {
            let piece = left.intersection(&missing);
            if !piece.is_empty() {
                missing -= &piece;
                *left -= &piece;
                taken.add(&Resource::new(kind.clone(), Amount::Ranges(piece)));
            }
        }
        debug_assert!(missing.is_empty(), "the ports were among the items");
    }

    fn take_items(&mut self, name: &str, mut missing: BTreeSet<String>, taken: &mut Resources) {
        for (kind, left) in self.sets.iter_mut().filter(|(kind, _)| **kind.name() == *name) {
            let piece: BTreeSet<String> = left.intersection(&missing).cloned().collect();
            if !piece.is_empty() {
                missing.retain(|item| !piece.contains(item));
                left.retain(|item| !piece.contains(item));
                taken.add(&Resource::new(kind.clone(), Amount::Set(piece)));
            }
        }
        debug_assert!(missing.is_empty(), "the items were in the sets");
    }
}

/// Returns the path length of the reservation's role; all such roles are ancestors of one role, so this orders them.
pub(super) fn depth(kind: &KindRef) -> usize {
    kind.reservation().map_or(0, |reservation| reservation.role.len())
}
