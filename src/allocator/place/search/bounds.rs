//! Upper bounds on what can be placed, by which a search prunes.

use crate::allocator::board::Board;
use crate::allocator::feasible::{Names, SetWant, Total, Want};

/// Returns how many instances of a request would fit on all offers if nothing else were placed.
pub(super) fn alone(board: &Board<'_>, request: usize) -> u64 {
    (0..board.problem.pools_of.len()).map(|agent| u64::from(alone_on(board, request, agent))).sum()
}

/// Returns the same for one agent.
pub(super) fn alone_on(board: &Board<'_>, request: usize, agent: usize) -> u32 {
    let problem = board.problem;
    if board.rules.check_static(request, agent).is_err() {
        return 0;
    }
    let pool_most = |&pool: &usize| {
        let by_variant = problem.wants[request].iter().map(|want| problem.rooms[pool].check(want).unwrap_or(0));
        let role = problem.pools.all[pool].role.as_deref();
        let usable = crate::allocator::feasible::check_role(role, &problem.requests[request]).is_ok();
        // Each variant might fill another part of the pool.
        if usable { by_variant.fold(0, u32::saturating_add) } else { 0 }
    };
    let by_room = problem.pools_of[agent].iter().map(pool_most).fold(0, u32::saturating_add);
    let running =
        problem.requests[request].running.get(&problem.pools.agents[agent].host.agent_id).copied().unwrap_or(0);
    let by_limit = problem.requests[request].max_per_agent.map_or(u32::MAX, |limit| limit.saturating_sub(running));
    by_room.min(by_limit)
}

/// Bounds for requests on a sequence of agents.
pub(super) struct Bounds {
    /// By index of request and agent: how many fit on this and all later agents if alone.
    alone: Vec<Vec<u64>>,
    /// By index of agent: the resources of this and all later agents.
    totals: Vec<Total>,
    /// By dimension: the requests' indices with what one instance takes at least, the least first.
    least: Vec<(Dimension, Vec<(usize, u64)>)>,
}

/// A resource whose sums are compared.
#[derive(Clone, Copy)]
enum Dimension {
    Scalar(usize),
    Ports,
    Set(usize),
}

impl Dimension {
    fn of_want(self, want: &Want) -> u64 {
        match self {
            Self::Scalar(index) => {
                want.scalars.iter().find(|&&(name, _)| name == index).map_or(0, |(_, asked)| asked.raw().unsigned_abs())
            }
            Self::Ports => want.width() as u64,
            Self::Set(index) => want.sets.iter().find(|set| set.name == index).map_or(0, SetWant::width),
        }
    }

    fn of_total(self, total: &Total) -> u64 {
        match self {
            Self::Scalar(index) => total.scalars[index].raw().unsigned_abs(),
            Self::Ports => total.ports,
            Self::Set(index) => total.sets[index],
        }
    }

    fn all(names: &Names) -> impl Iterator<Item = Self> {
        let scalars = (0..names.scalars().len()).map(Self::Scalar);
        scalars.chain([Self::Ports]).chain((0..names.sets().len()).map(Self::Set))
    }
}

impl Bounds {
    pub(super) fn new(board: &Board<'_>, agents: &[usize], requests: &[usize]) -> Self {
        let problem = board.problem;
        let mut totals = vec![Total::none(&problem.names)];
        for &agent in agents.iter().rev() {
            let mut total = totals.last().expect("the first is there").clone();
            problem.pools_of[agent].iter().for_each(|&pool| total.add(&problem.rooms[pool]));
            totals.push(total);
        }
        totals.reverse();
        let suffix = |&request: &usize| {
            let mut sums = vec![0];
            for &agent in agents.iter().rev() {
                sums.push(sums.last().expect("the first is there") + u64::from(alone_on(board, request, agent)));
            }
            sums.reverse();
            sums
        };
        let least = Dimension::all(&problem.names).map(|dimension| {
            let of = |&request: &usize| problem.wants[request].iter().map(|want| dimension.of_want(want)).min();
            let mut asked: Vec<(usize, u64)> =
                requests.iter().map(of).map(Option::unwrap_or_default).enumerate().collect();
            asked.sort_by_key(|&(place, asked)| (asked, place));
            (dimension, asked)
        });
        let least = least.filter(|(_, asked)| asked.iter().any(|&(_, asked)| asked > 0)).collect();
        Self { alone: requests.iter().map(suffix).collect(), totals, least }
    }

    /// Returns an upper bound of the further instances of the requests at `places` on the agents from `from` on.
    pub(super) fn most(&self, from: usize, places: std::ops::Range<usize>, missing: impl Fn(usize) -> u32) -> u64 {
        let possible = |place: usize| u64::from(missing(place)).min(self.alone[place][from]);
        let by_sums = self.least.iter().map(|(dimension, asked)| {
            let mut left = dimension.of_total(&self.totals[from]);
            let mut count = 0;
            for &(place, each) in asked.iter().filter(|(place, _)| places.contains(place)) {
                let fitting = possible(place).min(left.checked_div(each).unwrap_or(u64::MAX));
                count += fitting;
                left -= fitting * each;
            }
            count
        });
        let alone = places.clone().map(possible).sum();
        by_sums.fold(alone, u64::min)
    }
}
