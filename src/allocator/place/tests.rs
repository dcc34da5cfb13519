//! What is placed where, and the texts. Sizes are `O(cpus, mem)` offers and `T(cpus, mem)` requests.

mod demands;
mod explained;
mod figures;
mod laws;
mod mesomatic;
mod messages;
mod one_by_one;
mod oracle;
mod oracle_rules;

use super::{place, place_all};
use crate::allocator::{AgentReason, Launch, Placed, Plan, TaskRequest};
use crate::proto::v1;
use crate::types::Resources;

fn offer_of(id: &str, agent: &str, resources: &str) -> v1::Offer {
    let resources: Resources = resources.parse().expect("resources in text form");
    v1::Offer {
        id: v1::OfferId { value: id.to_owned() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        hostname: format!("host-{agent}"),
        resources: resources.to_proto(),
        ..Default::default()
    }
}

/// Creates the offer of a separate agent.
fn offer(id: &str, resources: &str) -> v1::Offer {
    offer_of(id, id, resources)
}

fn for_role(mut offer: v1::Offer, role: &str) -> v1::Offer {
    let info = v1::resource::AllocationInfo { role: Some(role.to_owned()) };
    for resource in &mut offer.resources {
        resource.allocation_info = Some(info.clone());
    }
    offer.allocation_info = Some(info);
    offer
}

fn task(name: &str, cpus: f64, mem_mib: f64) -> TaskRequest {
    TaskRequest::command(name, "true").cpus(cpus).mem_mib(mem_mib)
}

/// Formats "a@o1 a@o1 b@o2:31000+31001": tasks by agent, with their ports.
fn placements(plan: &Plan) -> String {
    let one = |launch: &Launch, task: Placed<'_>| {
        let ports = task.ports.iter().map(u64::to_string).collect::<Vec<_>>().join("+");
        let colon = if ports.is_empty() { "" } else { ":" };
        format!("{}@{}{colon}{ports}", task.task, launch.agent_id().value)
    };
    let all = plan.launches.iter().flat_map(|launch| launch.instances().map(move |task| one(launch, task)));
    all.collect::<Vec<_>>().join(" ")
}

fn ids(offers: &[v1::OfferId]) -> Vec<&str> {
    offers.iter().map(|id| id.value.as_str()).collect()
}
