//! The input of a placement as numbers, prepared once for all strategies.

use super::constraint::ClusterView;
use super::feasible::{Names, Room, Total, Want};
use super::pools::{Pool, Pools};
use super::request::{RequestError, TaskRequest};
use crate::proto::v1;
use crate::types::Milli;

/// Requests and pools. They do not change during placement: the [`Board`](super::board::Board) does.
pub(super) struct Problem<'a> {
    pub(super) requests: &'a [TaskRequest],
    pub(super) names: Names,
    pub(super) pools: Pools,
    /// The offered resources, by pool.
    pub(super) rooms: Vec<Room>,
    /// The total resources of the pool's agent if a view has them; empty without a view.
    totals: Vec<Option<Vec<Milli>>>,
    /// The pools of each agent, one for each role.
    pub(super) pools_of: Vec<Vec<usize>>,
    /// By request and demand; empty for an invalid request.
    pub(super) wants: Vec<Vec<Want>>,
    pub(super) errors: Vec<Option<RequestError>>,
}

impl<'a> Problem<'a> {
    /// Prepares the input. With `accept_nothing` a request without resources is valid.
    pub(super) fn new(
        offers: &[v1::Offer],
        requests: &'a [TaskRequest],
        view: Option<&ClusterView>,
        accept_nothing: bool,
    ) -> Self {
        let names = Names::of(requests);
        let pools = Pools::gather(offers);
        let rooms = pools.all.iter().map(|pool| Room::new(&pool.resources, &names)).collect();
        let mut pools_of = vec![Vec::new(); pools.agents.len()];
        for (index, pool) in pools.all.iter().enumerate() {
            pools_of[pool.agent].push(index);
        }
        let errors: Vec<_> = requests
            .iter()
            .map(|request| request.check().err().filter(|error| !(accept_nothing && *error == RequestError::Nothing)))
            .collect();
        let wants = requests.iter().zip(&errors).map(|(request, error)| match error {
            None => request.demands().map(|demand| Want::new(demand, &names)).collect(),
            Some(_) => Vec::new(),
        });
        let wants = wants.collect();
        let totals = view.map_or_else(Vec::new, |view| totals(view, &pools, &names));
        Self { requests, names, pools, rooms, totals, pools_of, wants, errors }
    }

    /// Returns the valid requests with instances to place, the hardest to place first: by priority, then by the share
    /// of the scarcest resource that one instance takes, then as they were given.
    pub(super) fn order(&self) -> Vec<usize> {
        let total = Total::of(&self.rooms, &self.names);
        let wanted = (0..self.requests.len()).filter(|&index| self.is_wanted(index));
        let mut order: Vec<(i32, f64, usize)> = wanted
            .map(|index| (self.requests[index].priority, self.wants[index][0].dominant_share(&total), index))
            .collect();
        order.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
        order.into_iter().map(|(_, _, index)| index).collect()
    }

    /// Returns whether a request has instances to place.
    pub(super) fn is_wanted(&self, request: usize) -> bool {
        self.requests[request].count > 0 && self.errors[request].is_none()
    }

    /// Returns the total of each scalar of the pool's agent, as far as known: from the view, or else from the offers.
    pub(super) fn total(&self, pool: usize) -> &[Milli] {
        self.totals.get(pool).and_then(Option::as_deref).unwrap_or(&self.rooms[pool].scalars)
    }

    /// Returns how many instances of a request run already, by agent.
    pub(super) fn running(&self, request: usize) -> Vec<u32> {
        let running = &self.requests[request].running;
        if running.is_empty() {
            return vec![0; self.pools.agents.len()];
        }
        let count = |agent_id| running.get(agent_id).copied().unwrap_or(0);
        self.pools.agents.iter().map(|agent| count(&agent.host.agent_id)).collect()
    }
}

fn totals(view: &ClusterView, pools: &Pools, names: &Names) -> Vec<Option<Vec<Milli>>> {
    let total = |pool: &Pool| Some(Room::new(view.get(&pool.host.agent_id)?.total.as_ref()?, names).scalars);
    pools.all.iter().map(total).collect()
}
