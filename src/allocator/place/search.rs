//! The search for a result that places more than the greedy one.
//!
//! Better means more instances of the highest priority, then of the next, and so on; the result is never worse than the
//! greedy one. Up to [`SMALL_INSTANCES`] instances on [`SMALL_AGENTS`] agents the search is complete, so that it finds
//! a placement of everything if there is one. Beyond that [`exact`] search runs on parts: it empties a few agents and
//! fills them again together with what is left over, first the agents that lack least. Every step counts as a node. The
//! budget of nodes is the only limit, so the same input gives the same result on any machine.

mod bounds;
mod exact;
mod parts;

use crate::allocator::board::Board;

/// Up to so many instances on so many agents the search is complete.
const SMALL_INSTANCES: u64 = 12;
const SMALL_AGENTS: usize = 6;

/// The node budget of small problems; only constraints between the tasks themselves could need more.
const SMALL_BUDGET: u64 = 1 << 23;

/// The node budget of larger problems: some tens of milliseconds.
const LARGE_BUDGET: u64 = 200_000;

/// The statistics of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// The number of steps; 0 if the greedy result is certainly optimal.
    pub nodes: u64,
    /// Whether the budget ended the search: then a better result may exist.
    pub exhausted_budget: bool,
}

/// The remaining node budget.
pub(super) struct Budget {
    limit: u64,
    spent: u64,
}

impl Budget {
    /// Takes one node; returns whether there was one.
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

/// Improves the placement on the board where possible.
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
    let is_conclusive = exact::is_manageable(board, &all, &wanted) && {
        let mut blank = Board::new(problem, board.view, false);
        // Some nodes are kept for parts.
        let most = if small { limit } else { limit / 2 };
        let ended = exact::solve(&mut blank, &all, &wanted, &board.missing, &mut budget, most);
        if ended.is_better {
            *board = blank;
        }
        !ended.is_cut
    };
    if !is_conclusive && !small {
        parts::improve(board, &wanted, &mut budget);
    }
    Search { nodes: budget.spent, exhausted_budget: !is_conclusive && could_be_better(board, &wanted) }
}

/// Returns whether some request lacks instances that would fit if it had all agents to itself.
fn could_be_better(board: &Board<'_>, wanted: &[usize]) -> bool {
    wanted.iter().any(|&request| {
        let placed = board.problem.requests[request].count - board.missing[request];
        board.missing[request] > 0 && bounds::alone(board, request) > u64::from(placed)
    })
}
