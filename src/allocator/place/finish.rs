//! From numbers to a plan: launches by agent, and reasons for what is left over.

use std::sync::Arc;

use super::search::Search;
use crate::allocator::board::{Board, Entry};
use crate::allocator::plan::{Batch, Free, Launch, Plan, Task, Unplaced};
use crate::allocator::problem::Problem;
use crate::allocator::reason::AgentReason;

pub(super) fn plan(board: &Board<'_>, search: Search) -> Plan {
    let unplaced = (0..board.problem.requests.len()).filter_map(|request| unplaced(board, request, search)).collect();
    let mut tasks = Tasks::new(board.problem);
    let (mut launches, mut unused) = (Vec::new(), Vec::new());
    for (pool, entries) in board.problem.pools.all.iter().zip(&board.placed) {
        if entries.is_empty() {
            unused.extend(pool.offer_ids.iter().cloned());
        } else {
            launches.push(Launch::new(pool, tasks.batches(entries, &pool.resources)));
        }
    }
    unused.extend(board.problem.pools.unusable.iter().map(|(offer_id, _)| offer_id.clone()));
    Plan { launches, unused, unplaced, search }
}

fn unplaced(board: &Board<'_>, request: usize, search: Search) -> Option<Unplaced> {
    let wanted = &board.problem.requests[request];
    let missing = board.missing[request];
    match &board.problem.errors[request] {
        _ if missing == 0 => None,
        Some(error) => Some(Unplaced::invalid(wanted, error.clone())),
        None => Some(Unplaced::new(wanted, missing, reasons(board, request), search)),
    }
}

fn reasons(board: &Board<'_>, request: usize) -> Vec<AgentReason> {
    let pools = &board.problem.pools;
    let why = |(index, pool): (usize, &crate::allocator::pools::Pool)| {
        board.why_not(request, index).map(|reason| AgentReason::new(Arc::clone(&pool.host), reason))
    };
    let unusable = pools.unusable.iter().map(|(_, reason)| reason.clone());
    pools.all.iter().enumerate().filter_map(why).chain(unusable).collect()
}

/// The tasks of each request and demand, and how many instances of each request are numbered so far.
struct Tasks<'p> {
    problem: &'p Problem<'p>,
    shared: Vec<Vec<Option<Arc<Task>>>>,
    numbered: Vec<u32>,
}

impl<'p> Tasks<'p> {
    fn new(problem: &'p Problem<'p>) -> Self {
        let shared = problem.wants.iter().map(|wants| vec![None; wants.len()]).collect();
        Self { problem, shared, numbered: vec![0; problem.requests.len()] }
    }

    /// Settles which ports and items everybody gets.
    fn batches(&mut self, entries: &[Entry], resources: &crate::types::Resources) -> Vec<Batch> {
        let demand = |entry: &Entry| self.problem.requests[entry.request].nth_demand(entry.variant);
        let in_pieces = entries.iter().any(|entry| demand(entry).is_in_pieces());
        let mut free = if in_pieces { Free::new(resources) } else { Free::default() };
        entries.iter().for_each(|entry| free.set_aside(demand(entry)));
        let mut batch = |entry: &Entry| {
            let request = &self.problem.requests[entry.request];
            let shared = &mut self.shared[entry.request][entry.variant];
            let task = shared.get_or_insert_with(|| Arc::new(Task::new(request, entry.variant)));
            let first = self.numbered[entry.request];
            self.numbered[entry.request] += entry.instances;
            let pieces = free.take(demand(entry), entry.instances);
            Batch { task: Arc::clone(task), first, instances: entry.instances, pieces, score: entry.score }
        };
        entries.iter().map(&mut batch).collect()
    }
}
