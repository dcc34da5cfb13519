//! Offers and jobs of made-up clusters, the same wherever placing is measured.

use divvy::{
    allocator::TaskRequest,
    proto::v1,
    types::{Attributes, Resources},
};

/// One offer of each agent, all of the same resources.
pub(crate) fn offers(count: u32, resources: &str) -> Vec<v1::Offer> {
    let resources = resources.parse::<Resources>().expect("resources in text form").to_proto();
    let offer = |number: u32| v1::Offer {
        id: v1::OfferId { value: format!("O{number}") },
        agent_id: v1::AgentId { value: format!("S{number}") },
        hostname: format!("host{number}"),
        resources: resources.clone(),
        ..Default::default()
    };
    (0..count).map(offer).collect()
}

/// The same agents in racks, one after the other.
pub(crate) fn racked(count: u32, racks: u32, resources: &str) -> Vec<v1::Offer> {
    let mut offers = offers(count, resources);
    for (number, offer) in (0..racks).cycle().zip(&mut offers) {
        let attributes: Attributes = format!("rack:r{number}").parse().expect("attributes in text form");
        offer.attributes = attributes.to_proto();
    }
    offers
}

/// A small job of one of ten sizes.
pub(crate) fn job(number: u32) -> TaskRequest {
    let size = f64::from(number % 10 + 1);
    TaskRequest::command(format!("job{number}"), "true").cpus(0.05 * size).mem_mib(64.0 * size)
}
