//! Assigns each instance to one of an agent's offers.
//!
//! An agent's offers are merged before placing, so an instance may use several. It is assigned to the first offer that
//! holds all of its demand. Otherwise it is assigned to the first that holds some of it, ports before amounts, and the
//! rest is taken from the others.

use crate::{
    allocator::Launch,
    proto::v1,
    types::{Ranges, Resources},
};

/// What is left of each offer of one launch.
pub(super) struct Fragments<'a> {
    left: Vec<(&'a str, Resources)>,
}

impl<'a> Fragments<'a> {
    pub(super) fn of(launch: &Launch, offers: &'a [v1::Offer]) -> Self {
        let used = offers.iter().filter(|offer| launch.offer_ids.contains(&offer.id));
        let left = used.map(|offer| (offer.id.value.as_str(), offer.resources().unwrap_or_default()));
        Self { left: left.collect() }
    }

    /// Assigns an instance to an offer, and subtracts its resources from what is left.
    pub(super) fn take(&mut self, wanted: &[v1::Resource]) -> &'a str {
        let mut wanted = Resources::from_proto(wanted).expect("the allocator writes resources that make sense");
        let whole = self.left.iter().position(|(_, left)| left.contains(&wanted));
        let first = whole.unwrap_or_else(|| self.first_with_some(&wanted));
        let (before, from) = self.left.split_at_mut(first);
        for (_, left) in from.iter_mut().chain(before) {
            let part = common(left, &wanted);
            *left -= &part;
            wanted -= &part;
        }
        self.left[first].0
    }

    fn first_with_some(&self, wanted: &Resources) -> usize {
        let has_ports = |left: &Resources| {
            let mut missing: Ranges = wanted.ports();
            let asked = missing.len();
            missing -= &left.ports();
            missing.len() < asked
        };
        let by_ports = self.left.iter().position(|(_, left)| has_ports(left));
        by_ports.or_else(|| self.left.iter().position(|(_, left)| !common(left, wanted).is_empty())).unwrap_or(0)
    }
}

fn common(left: &Resources, wanted: &Resources) -> Resources {
    let mut others = left.clone();
    others -= wanted;
    let mut part = left.clone();
    part -= &others;
    part
}
