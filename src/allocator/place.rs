//! Tasks onto offers, greedily: the request with the largest dominant share first, each onto the first agents with room.
//!
//! Requests of equal share keep their order, agents stand in the order of their first offers, ports are the lowest free
//! ones; so the same input gives the same plan. A request fills an agent as far as its limit there allows before it goes
//! to the next.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::feasible::{self, Names, Total, Want};
use super::plan::{Batch, Launch, Plan, Task, Unplaced};
use super::pools::{Pool, Pools};
use super::reason::AgentReason;
use super::request::TaskRequest;
use crate::proto::v1;

/// Places as many of the requested instances as it can.
///
/// ```
/// use divvy::allocator::{TaskRequest, place};
/// use divvy::proto::v1;
/// use divvy::types::Resources;
///
/// let offer = v1::Offer {
///     id: v1::OfferId { value: "O1".into() },
///     agent_id: v1::AgentId { value: "S1".into() },
///     hostname: "h1".into(),
///     resources: "cpus:4;mem:8192;ports:[31000-31009]".parse::<Resources>()?.to_proto(),
///     ..Default::default()
/// };
/// let web = TaskRequest::command("web", "serve --port $PORT").cpus(0.5).mem_mib(128).ports(1).count(3).max_per_agent(2);
/// let plan = place(&[offer], &[web]);
/// assert_eq!(plan.placed(), 2);
/// assert_eq!(plan.launches[0].tasks().len(), 2);
/// assert_eq!(
///     plan.unplaced[0].to_string(),
///     "1 of 3 does not fit: 1 agent: at its limit of 2 on this agent; needs 1 more agent with 0.5 cpus, 128 MiB and 1 port"
/// );
/// # Ok::<(), divvy::types::ResourceError>(())
/// ```
#[must_use]
pub fn place(offers: &[v1::Offer], requests: &[TaskRequest]) -> Plan {
    let names = Names::of(requests);
    let mut placing = Placing::new(Pools::gather(offers, &names), names);
    for index in placing.order(requests) {
        placing.fill(index, &requests[index]);
    }
    placing.finish()
}

/// Places all requested instances or none: when something is missing, the plan launches nothing and says what is missing as
/// [`place`] does.
#[must_use]
pub fn place_all(offers: &[v1::Offer], requests: &[TaskRequest]) -> Plan {
    let plan = place(offers, requests);
    if plan.is_complete() { plan } else { plan.without_launches() }
}

struct Placing {
    names: Names,
    pools: Pools,
    /// What is launched from each pool.
    batches: Vec<Vec<Batch>>,
    /// With the request's index, so that they can be told in the order of the requests.
    unplaced: Vec<(usize, Unplaced)>,
}

impl Placing {
    fn new(pools: Pools, names: Names) -> Self {
        let batches = pools.all.iter().map(|_| Vec::new()).collect();
        Self { names, pools, batches, unplaced: Vec::new() }
    }

    /// The requests' indices, the hardest to place first.
    fn order(&self, requests: &[TaskRequest]) -> Vec<usize> {
        let total = Total::of(self.pools.all.iter().map(|pool| &pool.room), &self.names);
        let share = |request| Want::new(request, &self.names).dominant_share(&total);
        let mut order: Vec<(f64, usize)> = requests.iter().map(share).zip(0..).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        order.into_iter().map(|(_, index)| index).collect()
    }

    fn fill(&mut self, index: usize, request: &TaskRequest) {
        if request.count == 0 {
            return;
        }
        if let Err(error) = request.check() {
            self.unplaced.push((index, Unplaced::invalid(request, error)));
            return;
        }
        let want = Want::new(request, &self.names);
        let mut instances = self.running(request);
        let mut missing = request.count;
        let mut task = None;
        for (pool, batches) in self.pools.all.iter_mut().zip(&mut self.batches) {
            if missing == 0 {
                return;
            }
            let there = &mut instances[pool.agent];
            let Ok(fit) = feasible::check(&pool.room, pool.role.as_deref(), *there, &want, &self.names) else {
                continue;
            };
            let taken = fit.instances.min(missing);
            let ports = pool.room.take(&want, taken);
            let task = Arc::clone(task.get_or_insert_with(|| Arc::new(Task::new(request))));
            batches.push(Batch { task, first: request.count - missing, instances: taken, ports, width: want.width() });
            *there += taken;
            missing -= taken;
        }
        if missing > 0 {
            let reasons = self.reasons(&want, &instances);
            self.unplaced.push((index, Unplaced::new(request, missing, reasons)));
        }
    }

    /// How many instances run already, by agent.
    fn running(&self, request: &TaskRequest) -> Vec<u32> {
        let mut instances = vec![0; self.pools.agents];
        if !request.running.is_empty() {
            for pool in &self.pools.all {
                instances[pool.agent] = request.running.get(&pool.host.agent_id).copied().unwrap_or(0);
            }
        }
        instances
    }

    fn reasons(&self, want: &Want<'_>, instances: &[u32]) -> Vec<AgentReason> {
        let why = |pool: &Pool| {
            let fit = feasible::check(&pool.room, pool.role.as_deref(), instances[pool.agent], want, &self.names);
            fit.err().map(|reason| AgentReason::new(Arc::clone(&pool.host), reason))
        };
        let unusable = self.pools.unusable.iter().map(|(_, reason)| reason.clone());
        self.pools.all.iter().filter_map(why).chain(unusable).collect()
    }

    fn finish(mut self) -> Plan {
        let mut launches = Vec::new();
        let mut unused = Vec::new();
        for (pool, batches) in self.pools.all.into_iter().zip(self.batches) {
            if batches.is_empty() {
                unused.extend(pool.offer_ids);
            } else {
                launches.push(Launch::new(pool, batches));
            }
        }
        unused.extend(self.pools.unusable.into_iter().map(|(offer_id, _)| offer_id));
        self.unplaced.sort_by_key(|&(index, _)| index);
        Plan { launches, unused, unplaced: self.unplaced.into_iter().map(|(_, unplaced)| unplaced).collect() }
    }
}
