//! What a cluster lacks for a set of requests, as data for autoscaling.
//!
//! Computed from what is free in the whole cluster, offered or not: an idle cluster lacks nothing, even if all its
//! offers were declined. Agents whose free resources are not known count as full.

use std::collections::BTreeMap;

use super::constraint::{ClusterAgent, ClusterView};
use super::place::Placer;
use super::plan::{Hopeless, Refusal, Unblock, Unplaced};
use super::request::{Demand, RequestError, TaskRequest};
use crate::proto::v1::{self, resource::AllocationInfo};
use crate::types::{Milli, Resources};

/// What is lacking; empty if everything requested could be placed.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Shortage {
    /// The requests that lack resources, in the order given.
    pub requests: Vec<Lacking>,
}

/// What one request lacks.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Lacking {
    /// The request's name.
    pub task: String,
    /// The number of instances that do not fit.
    pub missing: u32,
    /// The sum of their resources by their preferred demand: amounts of scalars, numbers of ports and of items. Empty
    /// if more agents would not help.
    pub resources: BTreeMap<String, Milli>,
    /// The reasons, with the number of agents of each, the most frequent first.
    pub refusals: Vec<Refusal>,
    /// What to add.
    pub unblock: Option<Unblock>,
    /// Set if more agents like those in the cluster would not help.
    pub hopeless: Option<Hopeless>,
    /// Set if the request is invalid.
    pub error: Option<RequestError>,
}

/// Computes what a cluster lacks to run all requests at once.
///
/// If all requests name the same role, its reservations are used too; otherwise only unreserved resources.
///
/// ```
/// use divvy::allocator::{ClusterAgent, ClusterView, TaskRequest, shortage};
/// use divvy::proto::v1;
/// use divvy::types::Milli;
///
/// let id = v1::AgentId { value: "S1".into() };
/// let agent = ClusterAgent::new(id, "h1").attributes("zone:a".parse()?).total("cpus:8;mem:4096".parse()?);
/// let idle = ClusterView::new().agent(agent.clone());
/// let web = TaskRequest::command("web", "serve").cpus(2.0).count(4).constrained("zone = a");
/// assert!(shortage::of(&idle, std::slice::from_ref(&web)).is_none());
///
/// let busy = ClusterView::new().agent(agent.free("cpus:3;mem:4096".parse()?));
/// let lacking = shortage::of(&busy, &[web]);
/// assert_eq!(lacking.resources()["cpus"], Milli::from_units(6));
/// assert_eq!(lacking.requests[0].refusals[0].subject, "cpus");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn of(view: &ClusterView, requests: &[TaskRequest]) -> Shortage {
    let role = requests.first().and_then(|request| request.role.as_deref());
    let role = role.filter(|role| requests.iter().all(|request| request.role.as_deref() == Some(role)));
    let offers: Vec<v1::Offer> = view.agents().map(|agent| all_free(agent, role)).collect();
    let plan = Placer::new().cluster(view).place(&offers, requests);
    Shortage { requests: plan.unplaced.into_iter().map(Lacking::new).collect() }
}

/// Returns an offer of everything that is free on an agent.
fn all_free(agent: &ClusterAgent, role: Option<&str>) -> v1::Offer {
    let unused = agent.tasks.iter().all(|tasks| tasks.count == 0);
    let free = agent.free.as_ref().or_else(|| agent.total.as_ref().filter(|_| unused));
    let usable = |free: &Resources| role.map_or_else(|| free.unreserved(), |role| free.allocatable_to(role));
    v1::Offer {
        id: v1::OfferId { value: agent.agent_id.value.clone() },
        agent_id: agent.agent_id.clone(),
        hostname: agent.hostname.clone(),
        resources: free.map(usable).unwrap_or_default().to_proto(),
        attributes: agent.attributes.to_proto(),
        allocation_info: role.map(|role| AllocationInfo { role: Some(role.to_owned()) }),
        ..v1::Offer::default()
    }
}

impl Shortage {
    /// Returns whether nothing is lacking.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.requests.is_empty()
    }

    /// Returns the sum of all missing instances' resources, by the resource's name.
    #[must_use]
    pub fn resources(&self) -> BTreeMap<String, Milli> {
        let mut sum: BTreeMap<String, Milli> = BTreeMap::new();
        for (name, &amount) in self.requests.iter().flat_map(|lacking| &lacking.resources) {
            *sum.entry(name.clone()).or_default() += amount;
        }
        sum
    }
}

impl Lacking {
    fn new(unplaced: Unplaced) -> Self {
        let preferred = unplaced.unblock.as_ref().and_then(|unblock| unblock.demands.first());
        Self {
            resources: preferred.map(|demand| together(demand, unplaced.missing)).unwrap_or_default(),
            refusals: unplaced.refusals(),
            task: unplaced.task,
            missing: unplaced.missing,
            unblock: unplaced.unblock,
            hopeless: unplaced.hopeless,
            error: unplaced.error,
        }
    }
}

fn together(demand: &Demand, instances: u32) -> BTreeMap<String, Milli> {
    let mut sum = demand.scalars.clone();
    let count = |number: u64| Milli::from_units(i64::try_from(number).unwrap_or(i64::MAX));
    sum.insert("ports".to_owned(), count(u64::from(demand.ports) + demand.fixed_ports.len() as u64));
    for (name, set) in &demand.sets {
        sum.insert(name.clone(), count(u64::from(set.any) + set.items.len() as u64));
    }
    sum.retain(|_, amount| !amount.is_zero());
    for amount in sum.values_mut() {
        *amount = amount.times(i64::from(instances));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, zone: &str, total: &str) -> ClusterAgent {
        ClusterAgent::new(v1::AgentId { value: id.to_owned() }, format!("host-{id}"))
            .attributes(format!("zone:{zone}").parse().expect("attributes"))
            .total(total.parse().expect("resources"))
    }

    fn view(agents: &[ClusterAgent]) -> ClusterView {
        agents.iter().cloned().fold(ClusterView::new(), ClusterView::agent)
    }

    fn web() -> TaskRequest {
        TaskRequest::command("web", "true").cpus(2.0).mem_mib(64)
    }

    #[test]
    fn an_idle_cluster_lacks_nothing_though_nothing_is_offered() {
        let idle = view(&[agent("s1", "a", "cpus:4;mem:128")]);
        assert!(of(&idle, &[web().count(2)]).is_none());
        assert!(of(&idle, &[]).is_none());
        assert_eq!(Placer::new().cluster(&idle).place(&[], &[web().count(2)]).placed(), 0);
    }

    #[test]
    fn a_full_cluster_lacks_what_the_missing_instances_take() {
        let full = agent("s1", "a", "cpus:4;mem:128").free("cpus:1;mem:128".parse().expect("resources"));
        let lacking = of(&view(&[full]), &[web().count(2).ports(1), web().count(0)]);
        let amount = |name: &str, units| (name.to_owned(), Milli::from_units(units));
        assert_eq!(lacking.resources(), BTreeMap::from([amount("cpus", 4), amount("mem", 128), amount("ports", 2)]));
        let refusal = &lacking.requests[0].refusals[0];
        assert_eq!((refusal.subject.as_str(), refusal.agents), ("cpus", 1));
        assert_eq!(refusal.least_margin, Some(Milli::from_units(1)));
    }

    #[test]
    fn agents_with_tasks_and_unknown_room_count_as_full() {
        let busy = agent("s1", "a", "cpus:4;mem:128").task("db", [("app", "db")], 1);
        assert_eq!(of(&view(&[busy]), &[web()]).requests[0].missing, 1);
    }

    #[test]
    fn a_constraint_that_no_agent_meets_is_reported_with_what_to_add() {
        let cluster = view(&[agent("s1", "a", "cpus:4;mem:128"), agent("s2", "b", "cpus:4;mem:128")]);
        let lacking = of(&cluster, &[web().constrained("zone = c").max_per_agent(1)]);
        let lacking = &lacking.requests[0];
        assert_eq!((lacking.hopeless, lacking.refusals[0].subject.as_str()), (Some(Hopeless::Constraints), "zone"));
        let text = lacking.unblock.as_ref().expect("another agent would do").to_string();
        assert_eq!(text, "1 more agent with zone c, 2 cpus and 64 MiB");
    }

    #[test]
    fn a_request_larger_than_every_agent_is_reported_as_such() {
        let lacking = of(&view(&[agent("s1", "a", "cpus:4;mem:128")]), &[web().cpus(5.0)]);
        assert_eq!(lacking.requests[0].hopeless, Some(Hopeless::Size));
    }

    #[test]
    fn what_is_reserved_counts_for_its_role_alone() {
        let reserved = view(&[agent("s1", "a", "cpus(batch):4;mem:128")]);
        assert!(of(&reserved, &[web().on_role("batch")]).is_none());
        assert!(!of(&reserved, &[web()]).is_none());
    }

    #[test]
    fn an_invalid_request_lacks_no_resources() {
        let lacking = of(&view(&[]), &[web().cpus(-1.0)]);
        assert!(lacking.requests[0].error.is_some() && lacking.resources().is_empty());
    }
}
