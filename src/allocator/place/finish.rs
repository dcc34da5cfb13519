//! Converts a placement to a plan: launches by agent, and reasons for what is left over.

use std::sync::Arc;

use super::search::Search;
use crate::allocator::board::{Board, Entry};
use crate::allocator::constraint::{ClusterAgent, ClusterView};
use crate::allocator::feasible::Room;
use crate::allocator::plan::{Batch, Free, Hopeless, Launch, Plan, Task, Unplaced};
use crate::allocator::problem::Problem;
use crate::allocator::reason::AgentReason;

pub(super) fn plan(board: &Board<'_>, search: Search) -> Plan {
    let sizes = Sizes::new(board);
    let requests = 0..board.problem.requests.len();
    let unplaced = requests.filter_map(|request| unplaced(board, request, &sizes, search)).collect();
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

fn unplaced(board: &Board<'_>, request: usize, sizes: &Sizes, search: Search) -> Option<Unplaced> {
    let wanted = &board.problem.requests[request];
    let missing = board.missing[request];
    match &board.problem.errors[request] {
        _ if missing == 0 => None,
        Some(error) => Some(Unplaced::invalid(wanted, error.clone())),
        None => {
            let reasons = reasons(board, request);
            Some(Unplaced::new(wanted, missing, reasons, sizes.hopeless(board, request), search))
        }
    }
}

/// The total resources of the view's agents; `None` where they are not known.
struct Sizes(Vec<Option<Room>>);

impl Sizes {
    /// Empty without a view, or if everything is placed.
    fn new(board: &Board<'_>) -> Self {
        let is_needed = board.missing.iter().any(|&missing| missing > 0);
        let agents = board.view.filter(|_| is_needed).into_iter().flat_map(ClusterView::agents);
        let room = |agent: &ClusterAgent| Some(Room::new(agent.total.as_ref()?, &board.problem.names));
        Self(agents.map(room).collect())
    }

    /// Returns why no agent of the view can ever run a request, if none can.
    fn hopeless(&self, board: &Board<'_>, request: usize) -> Option<Hopeless> {
        board.view?;
        if board.rules.passes_nowhere(request) {
            return Some(Hopeless::Constraints);
        }
        let wants = &board.problem.wants[request];
        let holds = |room: &Room| wants.iter().any(|want| room.check(want).is_ok());
        let viewed = self.0.iter().any(|room| room.as_ref().is_none_or(holds));
        let offered = board.problem.rooms.iter().any(holds);
        (!viewed && !offered).then_some(Hopeless::Size)
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

/// The tasks of each request and demand, and the instance numbers used so far of each request.
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

    /// Assigns ports and items to all instances.
    fn batches(&mut self, entries: &[Entry], resources: &crate::types::Resources) -> Vec<Batch> {
        let demand = |entry: &Entry| self.problem.requests[entry.request].nth_demand(entry.variant);
        let in_pieces = entries.iter().any(|entry| demand(entry).is_in_pieces());
        let mut free = if in_pieces { Free::new(resources) } else { Free::default() };
        for entry in entries {
            free.set_aside(demand(entry));
        }
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
