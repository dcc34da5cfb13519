//! The state of a placement: what is left in each pool, and what was placed there.
//!
//! Invariant: [`Board::remove`] undoes [`Board::place`] exactly, so that a search can backtrack.

use super::constraint::{ClusterView, Rules};
use super::feasible::{self, Room};
use super::fitness::Score;
use super::problem::Problem;
use super::reason::Reason;

/// Equal instances of a request in one pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    pub(super) request: usize,
    /// The index of the demand that is used.
    pub(super) variant: usize,
    pub(super) instances: u32,
    /// The score of the last of them, where one was computed.
    pub(super) score: Option<Score>,
}

/// A partial placement.
pub(super) struct Board<'p> {
    pub(super) problem: &'p Problem<'p>,
    pub(super) rooms: Vec<Room>,
    pub(super) rules: Rules<'p>,
    pub(super) view: Option<&'p ClusterView>,
    /// Instances that run or are placed, by request and agent; only where a limit or a score needs them.
    counts: Vec<Vec<u32>>,
    /// What was placed in each pool, in this order.
    pub(super) placed: Vec<Vec<Entry>>,
    /// How many instances are still missing, by request.
    pub(super) missing: Vec<u32>,
}

impl<'p> Board<'p> {
    /// Creates an empty placement. With `count_all` every request's instances are counted, otherwise those with a
    /// limit.
    pub(super) fn new(problem: &'p Problem<'p>, view: Option<&'p ClusterView>, count_all: bool) -> Self {
        let counted = |(index, request): (usize, &super::TaskRequest)| {
            let counted = count_all || request.max_per_agent.is_some();
            if counted { problem.running(index) } else { Vec::new() }
        };
        Self {
            problem,
            rooms: problem.rooms.clone(),
            rules: Rules::new(problem.requests, &problem.pools.agents, view),
            view,
            counts: problem.requests.iter().enumerate().map(counted).collect(),
            placed: vec![Vec::new(); problem.rooms.len()],
            missing: problem.requests.iter().map(|request| request.count).collect(),
        }
    }

    pub(super) fn agent(&self, pool: usize) -> usize {
        self.problem.pools.all[pool].agent
    }

    /// Returns the instances of a counted request on an agent.
    pub(super) fn count(&self, request: usize, agent: usize) -> u32 {
        self.counts[request].get(agent).copied().unwrap_or(0)
    }

    /// Returns how many instances fit by role, limit and amounts, without constraints.
    pub(super) fn fit(&self, request: usize, variant: usize, pool: usize) -> u32 {
        let Problem { requests, pools, wants, .. } = self.problem;
        let (wanted, pool_of) = (&requests[request], &pools.all[pool]);
        let by_limit = match wanted.max_per_agent {
            Some(limit) => limit.saturating_sub(self.count(request, pool_of.agent)),
            None => u32::MAX,
        };
        if by_limit == 0 || feasible::check_role(pool_of.role.as_deref(), wanted).is_err() {
            return 0;
        }
        self.rooms[pool].check(&wants[request][variant]).map_or(0, |by_room| by_room.min(by_limit))
    }

    /// Returns whether one more instance may be placed in a pool, by all rules.
    pub(super) fn allows(&self, request: usize, variant: usize, pool: usize) -> bool {
        self.fit(request, variant, pool) > 0 && self.rules.check(request, self.agent(pool)).is_ok()
    }

    /// Returns the first rule that excludes one more instance from a pool, if any does.
    pub(super) fn why_not(&self, request: usize, pool: usize) -> Option<Reason> {
        let Problem { requests, pools, wants, names, .. } = self.problem;
        let (wanted, pool_of) = (&requests[request], &pools.all[pool]);
        feasible::check_role(pool_of.role.as_deref(), wanted)
            .and_then(|()| self.rules.check_static(request, pool_of.agent))
            .and_then(|()| feasible::check_limit(self.count(request, pool_of.agent), wanted))
            .and_then(|_| self.rules.check(request, pool_of.agent))
            .and_then(|()| feasible::check_room(&self.rooms[pool], &wants[request], names))
            .err()
    }

    /// Places instances in a pool that has room for them by [`fit`](Self::fit).
    pub(super) fn place(&mut self, pool: usize, entry: Entry) {
        let Entry { request, variant, instances, .. } = entry;
        let agent = self.agent(pool);
        self.rooms[pool].take(&self.problem.wants[request][variant], instances);
        self.rules.place(request, agent, instances);
        if let Some(count) = self.counts[request].get_mut(agent) {
            *count += instances;
        }
        self.missing[request] -= instances;
        match self.placed[pool].last_mut() {
            Some(last) if (last.request, last.variant) == (request, variant) => {
                last.instances += instances;
                last.score = entry.score;
            }
            _ => self.placed[pool].push(entry),
        }
    }

    /// Removes the last placement of a pool.
    pub(super) fn remove(&mut self, pool: usize, entry: Entry) {
        let Entry { request, variant, instances, .. } = entry;
        let agent = self.agent(pool);
        self.rooms[pool].give(&self.problem.wants[request][variant], instances);
        self.rules.remove(request, agent, instances);
        if let Some(count) = self.counts[request].get_mut(agent) {
            *count -= instances;
        }
        self.missing[request] += instances;
        let placed = &mut self.placed[pool];
        let last = placed.last_mut().expect("only what was placed is removed");
        last.instances -= instances;
        if last.instances == 0 {
            placed.pop();
        }
    }
}
