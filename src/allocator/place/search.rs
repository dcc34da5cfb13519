//! When greedy placing leaves something over: looking for an answer that places more.
//!
//! Better means more instances of the highest priority, then of the next, and so on; the greedy answer is the floor. Up to
//! [`SMALL_INSTANCES`] instances on [`SMALL_AGENTS`] agents everything is looked at, so that a placement of everything is found whenever
//! there is one. Beyond that [`exact`] search runs on parts: a few agents are emptied and filled again together with
//! what is left over, the agents where least is missing first. Every step counts as a node; the budget of nodes is the only limit, so the same
//! input gives the same answer on any machine.

mod bounds;
mod exact;
mod parts;

use crate::allocator::board::Board;

/// Up to so many instances on so many agents the search is complete.
const SMALL_INSTANCES: u64 = 12;
const SMALL_AGENTS: usize = 6;

/// Nodes for small problems; only constraints between the tasks themselves could ask for more.
const SMALL_BUDGET: u64 = 1 << 23;

/// Nodes for larger problems: some tens of milliseconds.
const LARGE_BUDGET: u64 = 200_000;

/// How long a search took, and whether it came to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// How many steps were taken; 0 when the greedy answer could not be bettered for certain.
    pub nodes: u64,
    /// Whether the budget ended it: then there may be a better answer.
    pub exhausted_budget: bool,
}

/// What may still be spent.
pub(super) struct Budget {
    limit: u64,
    spent: u64,
}

impl Budget {
    /// Takes one node; answers whether there was one.
    fn take(&mut self) -> bool {
        let left = self.spent < self.limit;
        self.spent += u64::from(left);
        left
    }

    /// Takes so many nodes, or all that are left.
    fn spend(&mut self, nodes: u64) {
        self.spent = self.spent.saturating_add(nodes).min(self.limit);
    }

    fn is_spent(&self) -> bool {
        self.spent >= self.limit
    }
}

/// Betters what is on the board where it can.
pub(super) fn improve(board: &mut Board<'_>, budget: Option<u64>) -> Search {
    let problem = board.problem;
    let wanted: Vec<usize> = problem.order();
    if !could_be_better(board, &wanted) {
        return Search::default();
    }
    let instances: u64 = wanted.iter().map(|&request| u64::from(problem.requests[request].count)).sum();
    let agents = problem.pools.agents.len();
    let small = instances <= SMALL_INSTANCES && agents <= SMALL_AGENTS;
    let limit = budget.unwrap_or(if small { SMALL_BUDGET } else { LARGE_BUDGET });
    let mut budget = Budget { limit, spent: 0 };
    let all: Vec<usize> = (0..agents).collect();
    let is_settled = exact::is_manageable(board, &all, &wanted) && {
        let mut blank = Board::new(problem, board.view, false);
        // Some nodes are left for parts.
        let most = if small { limit } else { limit / 2 };
        let ended = exact::solve(&mut blank, &all, &wanted, &board.missing, &mut budget, most);
        if ended.is_better {
            *board = blank;
        }
        !ended.is_cut
    };
    if !is_settled && !small {
        parts::improve(board, &wanted, &mut budget);
    }
    Search { nodes: budget.spent, exhausted_budget: !is_settled && could_be_better(board, &wanted) }
}

/// Whether some request is short of instances that would find room if it had all agents to itself.
fn could_be_better(board: &Board<'_>, wanted: &[usize]) -> bool {
    wanted.iter().any(|&request| {
        let placed = board.problem.requests[request].count - board.missing[request];
        board.missing[request] > 0 && bounds::alone(board, request) > u64::from(placed)
    })
}
