//! Exact search: the best filling of a few agents, agent by agent.
//!
//! For each agent in turn the walk tries every set of instances that fits, large sets first, and continues with the
//! rest on the next agent. Equal instances are only counted. A state (agent, what is left, and what rules distinguish
//! of the placed instances) is visited once, whichever path leads to it. Of `n` instances in all there are at most
//! `2^n` states per agent. Where rules cannot forbid it, a set that something could still be added to is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Budget;
use super::bounds::Bounds;
use crate::allocator::board::{Board, Entry};
use crate::allocator::constraint::Rules;

/// The most states that are remembered; a state that is not remembered may be visited twice.
const MOST_STATES: usize = 1 << 19;

/// The result of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// The board holds something better; otherwise the agents are as empty as before.
    pub(super) is_better: bool,
    /// The nodes ran out, so a better result may exist.
    pub(super) is_cut: bool,
}

/// The maximum nesting: a walk nests once for each choice on each agent.
const DEEPEST: usize = 2_000;

/// Returns whether a walk stays within the maximum nesting.
pub(super) fn is_manageable(board: &Board<'_>, agents: &[usize], requests: &[usize]) -> bool {
    let variants: usize = requests.iter().map(|&request| board.problem.wants[request].len()).sum();
    let pools: usize = agents.iter().map(|&agent| board.problem.pools_of[agent].len()).sum();
    variants.saturating_mul(pools).saturating_add(agents.len()) <= DEEPEST
}

/// Fills empty agents with the requests, given in the order of priority. `missing` is what the best known result leaves
/// over; the walk may take `most` nodes of the budget.
pub(super) fn solve(
    board: &mut Board<'_>,
    agents: &[usize],
    requests: &[usize],
    missing: &[u32],
    budget: &mut Budget,
    most: u64,
) -> Ended {
    let levels = levels(board, requests);
    let value = |missing: &[u32]| levels.iter().map(|level| left_over(requests, level, missing)).collect::<Vec<u64>>();
    let whole = budget.limit;
    budget.limit = whole.min(budget.spent.saturating_add(most));
    let mut walk = Walk {
        bounds: Bounds::new(board, agents, requests),
        classes: Classes::new(board, agents, requests),
        free: requests.iter().all(|&request| board.rules.is_static(request)),
        best: value(missing),
        found: None,
        seen: BTreeSet::new(),
        board,
        agents,
        requests,
        levels: &levels,
        budget,
    };
    let is_over = walk.agent(0);
    let is_cut = is_over && walk.best.iter().any(|&left_over| left_over > 0);
    let found = walk.found.take();
    walk.budget.limit = whole;
    for (pool, entries) in found.iter().flatten() {
        for &entry in entries {
            board.place(*pool, entry);
        }
    }
    Ended { is_better: found.is_some(), is_cut }
}

/// Returns the index ranges of the requests of each priority, the highest first.
fn levels(board: &Board<'_>, requests: &[usize]) -> Vec<Range<usize>> {
    let mut levels: Vec<Range<usize>> = Vec::new();
    for (place, &request) in requests.iter().enumerate() {
        let same = levels.last().is_some_and(|level| {
            board.problem.requests[requests[level.start]].priority == board.problem.requests[request].priority
        });
        match levels.last_mut().filter(|_| same) {
            Some(level) => level.end = place + 1,
            None => levels.push(place..place + 1),
        }
    }
    levels
}

fn left_over(requests: &[usize], level: &Range<usize>, missing: &[u32]) -> u64 {
    requests[level.clone()].iter().map(|&request| u64::from(missing[request])).sum()
}

/// One way to put instances on an agent.
#[derive(Clone, Copy)]
struct Choice {
    request: usize,
    pool: usize,
    variant: usize,
}

struct Walk<'w, 'p> {
    board: &'w mut Board<'p>,
    agents: &'w [usize],
    requests: &'w [usize],
    levels: &'w [Range<usize>],
    bounds: Bounds,
    classes: Classes,
    /// Whether placing changes no result of the rules.
    free: bool,
    /// What the best result so far leaves over, by priority.
    best: Vec<u64>,
    found: Option<Vec<(usize, Vec<Entry>)>>,
    seen: BTreeSet<Vec<u32>>,
    budget: &'w mut Budget,
}

impl Walk<'_, '_> {
    /// Continues with the agent at an index; returns whether the walk is over.
    fn agent(&mut self, place: usize) -> bool {
        if self.left_over() < self.best && self.is_in_order(place) {
            self.save_best(place);
            if self.best.iter().all(|&left_over| left_over == 0) {
                return true;
            }
        }
        if place == self.agents.len() || !self.may_better(place) || !self.is_new(place) {
            return false;
        }
        let choices = self.choices(self.agents[place]);
        self.choose(place, &choices, 0)
    }

    fn choices(&self, agent: usize) -> Vec<Choice> {
        let mut choices = Vec::new();
        for &request in self.requests {
            if self.board.missing[request] == 0 || self.board.rules.check_static(request, agent).is_err() {
                continue;
            }
            for &pool in &self.board.problem.pools_of[agent] {
                for variant in 0..self.board.problem.wants[request].len() {
                    if self.board.fit(request, variant, pool) > 0 {
                        choices.push(Choice { request, pool, variant });
                    }
                }
            }
        }
        choices
    }

    /// Tries every number of instances for each choice, the largest first.
    fn choose(&mut self, place: usize, choices: &[Choice], next: usize) -> bool {
        if !self.budget.take() {
            return true;
        }
        let Some(&choice) = choices.get(next) else {
            return !(self.free && self.takes_more(choices)) && self.agent(place + 1);
        };
        let most = self.most(choice);
        for instances in (0..=most).rev() {
            let entry = Entry { request: choice.request, variant: choice.variant, instances, score: None };
            if instances > 0 {
                self.board.place(choice.pool, entry);
            }
            let over = self.choose(place, choices, next + 1);
            if instances > 0 {
                self.board.remove(choice.pool, entry);
            }
            if over {
                return true;
            }
        }
        false
    }

    fn most(&self, Choice { request, pool, variant }: Choice) -> u32 {
        let most = self.board.fit(request, variant, pool).min(self.board.missing[request]);
        // Rules that placing can open are checked in the end. States that the other rules forbid are never visited: of
        // two states with the same description, both can be completed or none.
        most.min(self.board.rules.closing_room(request, self.board.agent(pool)))
    }

    fn takes_more(&self, choices: &[Choice]) -> bool {
        choices.iter().any(|&choice| self.most(choice) > 0)
    }

    fn left_over(&self) -> Vec<u64> {
        self.levels.iter().map(|level| left_over(self.requests, level, &self.board.missing)).collect()
    }

    /// Returns whether the agents from `from` on could hold enough to improve on the best result.
    fn may_better(&self, from: usize) -> bool {
        let missing = |place: usize| self.board.missing[self.requests[place]];
        let least = |level: &Range<usize>| {
            let missing_all = left_over(self.requests, level, &self.board.missing);
            missing_all - self.bounds.most(from, level.clone(), missing)
        };
        self.levels.iter().map(least).lt(self.best.iter().copied())
    }

    /// Returns whether this state is visited for the first time; its continuations do not depend on the path to it.
    fn is_new(&mut self, place: usize) -> bool {
        if self.seen.len() >= MOST_STATES {
            return true;
        }
        let mut state = vec![u32::try_from(place).unwrap_or(u32::MAX)];
        state.extend(self.requests.iter().map(|&request| self.board.missing[request]));
        self.classes.describe(self.board, &self.agents[..place], &mut state);
        self.seen.insert(state)
    }

    /// Returns whether some order of placing satisfies the rules on all agents before `place`. Only rules that placing
    /// can open depend on the order.
    fn is_in_order(&mut self, place: usize) -> bool {
        if !self.requests.iter().any(|&request| self.board.rules.may_open(request)) {
            return true;
        }
        self.replays(place, true) || self.replays(place, false)
    }

    /// Removes the placed instances from the rules and adds them again one by one, the opening requests first or last.
    fn replays(&mut self, place: usize, opening_first: bool) -> bool {
        let mut waiting = Vec::new();
        for &agent in &self.agents[..place] {
            for &pool in &self.board.problem.pools_of[agent] {
                waiting.extend(self.board.placed[pool].iter().map(|entry| (entry.request, agent, entry.instances)));
            }
        }
        let rules = &mut self.board.rules;
        waiting.sort_by_key(|&(request, ..)| rules.may_open(request) != opening_first);
        for &(request, agent, instances) in &waiting {
            rules.remove(request, agent, instances);
        }
        let allowed = |waiting: &[(usize, usize, u32)], rules: &Rules<'_>| {
            waiting.iter().position(|&(request, agent, _)| rules.check(request, agent).is_ok())
        };
        while let Some(at) = allowed(&waiting, rules) {
            let (request, agent, instances) = &mut waiting[at];
            rules.place(*request, *agent, 1);
            *instances -= 1;
            if *instances == 0 {
                waiting.remove(at);
            }
        }
        for &(request, agent, instances) in &waiting {
            rules.place(request, agent, instances);
        }
        waiting.is_empty()
    }

    fn save_best(&mut self, place: usize) {
        self.best = self.left_over();
        let pools = self.agents[..place].iter().flat_map(|&agent| &self.board.problem.pools_of[agent]);
        self.found = Some(pools.map(|&pool| (pool, self.board.placed[pool].clone())).collect());
    }
}

/// Classes of agents that rules do not distinguish, so that it does not matter on which of them an instance is.
struct Classes {
    /// By agent number; 0 for all if no rule changes.
    of: Vec<u32>,
    dynamic: bool,
}

impl Classes {
    fn new(board: &Board<'_>, agents: &[usize], requests: &[usize]) -> Self {
        let rules = &board.rules;
        let dynamic = requests.iter().any(|&request| !rules.is_static(request));
        let mut of = vec![0; board.problem.pools_of.len()];
        if !dynamic {
            return Self { of, dynamic };
        }
        let by_agent = requests.iter().any(|&request| rules.opens_by_agent(request));
        let hostname = |agent: usize| board.problem.pools.agents[agent].host.hostname.as_str();
        let mut of_host: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &agent in agents {
            of_host.entry(hostname(agent)).or_default().push(agent);
        }
        let sign = |agent: usize| {
            let groups = requests.iter().map(|&request| rules.score_group(request, agent)).collect::<Vec<u32>>();
            // A rule on host names connects agents that share one.
            let tied = Some(hostname(agent)).filter(|name| of_host[name].len() > 1);
            (groups, by_agent.then_some(agent), tied)
        };
        let mut numbers = BTreeMap::new();
        for &agent in agents {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            of[agent] = *numbers.entry(sign(agent)).or_insert(next);
        }
        Self { of, dynamic }
    }

    /// Appends to a state how many instances of each request are in each class.
    fn describe(&self, board: &Board<'_>, agents: &[usize], state: &mut Vec<u32>) {
        if !self.dynamic {
            return;
        }
        let mut counts = BTreeMap::new();
        for &agent in agents {
            for &pool in &board.problem.pools_of[agent] {
                for entry in &board.placed[pool] {
                    *counts.entry((self.of[agent], entry.request)).or_insert(0) += entry.instances;
                }
            }
        }
        for ((class, request), count) in counts {
            state.extend([class, u32::try_from(request).unwrap_or(u32::MAX), count]);
        }
    }
}
