//! Improves a large placement part by part.
//!
//! For a request that lacks instances, the search empties a few agents that could run it and fills them again, together
//! with what is left over. A part that does not improve is restored, so the result never gets worse.

use super::exact;
use super::{Budget, bounds};
use crate::allocator::board::{Board, Entry};

/// The number of agents that are emptied at once.
const AGENTS: usize = 4;

/// The most requests on them.
const REQUESTS: usize = 24;

/// The most nodes for one part.
const NODES: u64 = 20_000;

/// Improves the placement until nothing is left to try or the budget is spent.
pub(super) fn improve(board: &mut Board<'_>, wanted: &[usize], budget: &mut Budget) {
    // Requests that others depend on must not be moved.
    if wanted.iter().any(|&request| board.rules.may_open(request)) {
        return;
    }
    let mut again = true;
    while std::mem::take(&mut again) {
        for &request in wanted {
            if board.missing[request] > 0 && !budget.is_spent() {
                again |= improve_request(board, wanted, request, budget);
            }
        }
    }
}

/// Improves the placement for one request; returns whether anything changed.
fn improve_request(board: &mut Board<'_>, wanted: &[usize], request: usize, budget: &mut Budget) -> bool {
    budget.spend(board.problem.pools_of.len() as u64);
    let agents = candidates(board, request);
    let mut is_better = false;
    for part in parts(&agents) {
        if board.missing[request] == 0 || budget.is_spent() {
            break;
        }
        is_better |= improve_part(board, wanted, request, &part, budget);
    }
    is_better
}

/// Returns agents to be emptied together: first fuller ones with emptier ones, since those can exchange, then similar
/// ones.
fn parts(agents: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let apart = agents.len().div_ceil(AGENTS).max(1);
    let mixed = (0..apart).map(move |from| agents.iter().copied().skip(from).step_by(apart).collect());
    mixed.chain(agents.chunks(AGENTS).map(<[usize]>::to_vec))
}

/// Returns the agents that could run a request if they were empty, the ones with most room left first.
fn candidates(board: &Board<'_>, request: usize) -> Vec<usize> {
    let able = |&agent: &usize| bounds::alone_on(board, request, agent) > 0;
    let mut agents: Vec<(u64, usize)> =
        (0..board.problem.pools_of.len()).filter(able).map(|agent| (shortfall(board, request, agent), agent)).collect();
    agents.sort_unstable();
    agents.into_iter().map(|(_, agent)| agent).collect()
}

/// Returns how much an agent lacks for one instance, in thousandths of what is needed, summed over the resources.
fn shortfall(board: &Board<'_>, request: usize, agent: usize) -> u64 {
    let pool_lacks = |&pool: &usize| {
        let want = &board.problem.wants[request][0];
        let lacks = |&(name, asked): &(usize, crate::types::Milli)| {
            let lacking = asked.saturating_sub(board.rooms[pool].scalars[name]).raw().unsigned_abs();
            lacking.saturating_mul(1000) / asked.raw().unsigned_abs()
        };
        want.scalars.iter().map(lacks).sum::<u64>()
    };
    board.problem.pools_of[agent].iter().map(pool_lacks).min().unwrap_or(u64::MAX)
}

fn improve_part(
    board: &mut Board<'_>,
    wanted: &[usize],
    request: usize,
    agents: &[usize],
    budget: &mut Budget,
) -> bool {
    let pools: Vec<usize> = agents.iter().flat_map(|&agent| board.problem.pools_of[agent].clone()).collect();
    let there: Vec<(usize, Vec<Entry>)> = pools.iter().map(|&pool| (pool, board.placed[pool].clone())).collect();
    let on_part =
        |it: &usize| *it == request || there.iter().any(|(_, entries)| entries.iter().any(|e| e.request == *it));
    budget.spend(1 + there.iter().map(|(_, entries)| entries.len() as u64).sum::<u64>());
    let requests: Vec<usize> = wanted.iter().copied().filter(on_part).collect();
    let is_manageable = requests.len() <= REQUESTS && exact::is_manageable(board, agents, &requests);
    if !is_manageable || budget.is_spent() {
        return false;
    }
    let missing = board.missing.clone();
    for (pool, entries) in &there {
        entries.iter().rev().for_each(|&entry| board.remove(*pool, entry));
    }
    let ended = exact::solve(board, agents, &requests, &missing, budget, NODES);
    if !ended.is_better {
        for (pool, entries) in &there {
            for &entry in entries {
                board.place(*pool, entry);
            }
        }
    }
    ended.is_better
}
