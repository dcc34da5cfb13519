//! Naive placement: one queue of offers, largest first, carried over from request to request.
//!
//! Size is memory, then cpus. A request fills the offer in front as far as room and limit allow, then skips it. The
//! skipped offers return to the front for the next request, the last one first.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::allocator::board::{Board, Entry};
use crate::allocator::feasible::Names;
use crate::types::Milli;

/// Memory in MiB times 1000, then cpus: memory decides.
type Size = i128;

fn size(mem: Milli, cpus: Milli) -> Size {
    Size::from(mem.raw()) * 1000 + Size::from(cpus.raw())
}

pub(super) fn fill(board: &mut Board<'_>) {
    let problem = board.problem;
    let of_pool = |&pool: &usize| size(problem.total(pool)[Names::MEM], problem.total(pool)[Names::CPUS]);
    let mut queue: Vec<usize> = (0..board.rooms.len()).collect();
    queue.sort_by_key(|pool| Reverse(of_pool(pool)));
    let mut queue = VecDeque::from(queue);
    let of_request = |&request: &usize| {
        let asked = |name| problem.requests[request].demand.scalars.get(name).copied().unwrap_or_default();
        size(asked("mem"), asked("cpus"))
    };
    let mut requests: Vec<usize> = (0..problem.requests.len()).filter(|&index| problem.is_wanted(index)).collect();
    requests.sort_by_key(|request| (Reverse(problem.requests[*request].priority), Reverse(of_request(request))));
    for request in requests {
        fill_one(board, &mut queue, request);
    }
}

fn fill_one(board: &mut Board<'_>, queue: &mut VecDeque<usize>, request: usize) {
    let mut skipped = Vec::new();
    while board.missing[request] > 0
        && let Some(&pool) = queue.front()
    {
        let mut variants = 0..board.problem.wants[request].len();
        match variants.find(|&variant| board.allows(request, variant, pool)) {
            Some(variant) => board.place(pool, Entry { request, variant, instances: 1, score: None }),
            None => skipped.extend(queue.pop_front()),
        }
    }
    for pool in skipped {
        queue.push_front(pool);
    }
}
