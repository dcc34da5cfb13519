//! Greedy placement: one request after the other, each instance in the best place.
//!
//! Placing one instance changes the fitness of one pool, and the scores of whole groups of agents by constraints. So
//! each request has one heap of pools per group, best pool on top. An instance costs a logarithm of the pools and a
//! check of the groups it affects, not a scan. Ties go to the pool that was offered first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};

use super::among;
use crate::allocator::board::{Board, Entry};
use crate::allocator::fitness::{BinPack, Fitness, Prospect, Score, WorstFit, bounded, mean};

/// How places are scored.
pub(super) struct Scoring<'f> {
    pub(super) fitness: Measure<'f>,
    /// Whether instances of a request repel each other.
    pub(super) spread: bool,
    /// A place with this score is taken without looking at others.
    pub(super) good_enough: Option<f64>,
}

/// The fitness in use; the usual ones without dynamic dispatch.
pub(super) enum Measure<'f> {
    BinPack,
    WorstFit,
    Other(&'f dyn Fitness),
}

impl Scoring<'_> {
    /// Returns whether the pool just used stays the best one until it is full, so that it can be filled at once.
    fn fills(&self) -> bool {
        matches!(self.fitness, Measure::BinPack) && !self.spread
    }

    /// Scores one more instance in a pool, without constraints.
    fn own(&self, board: &Board<'_>, request: usize, variant: usize, pool: usize) -> Score {
        self.own_like(board, request, variant, pool, &mut None)
    }

    /// As [`own`](Self::own), but reuses the fitness of the pool scored `before` if it has the same resources: many
    /// have.
    fn own_like(
        &self,
        board: &Board<'_>,
        request: usize,
        variant: usize,
        pool: usize,
        before: &mut Option<(usize, f64)>,
    ) -> Score {
        let problem = board.problem;
        let instances = board.count(request, board.agent(pool));
        let place = Prospect {
            names: &problem.names,
            host: &problem.pools.all[pool].host,
            total: problem.total(pool),
            left: &board.rooms[pool].scalars,
            want: &problem.wants[request][variant],
            instances,
        };
        let like = |of: usize| board.rooms[of].scalars == board.rooms[pool].scalars && problem.total(of) == place.total;
        let fitness = match (&self.fitness, *before) {
            (Measure::Other(fitness), _) => fitness.score(&place),
            (Measure::BinPack | Measure::WorstFit, Some((of, fitness))) if like(of) => fitness,
            (Measure::BinPack, _) => BinPack.score(&place),
            (Measure::WorstFit, _) => WorstFit.score(&place),
        };
        *before = Some((pool, fitness));
        let count = problem.requests[request].count;
        let crowd = (self.spread && instances > 0).then(|| -(f64::from(instances) + 1.0) / f64::from(count.max(1)));
        Score { fitness: bounded(fitness), own_instances: crowd.map(|crowd| crowd.max(-1.0)), constraints: None }
    }

    /// Scores one more instance in a pool, constraints included.
    pub(super) fn whole(&self, board: &Board<'_>, request: usize, variant: usize, pool: usize) -> Score {
        let own = self.own(board, request, variant, pool);
        Score { constraints: board.rules.score(request, board.agent(pool)), ..own }
    }
}

/// Places as many instances of one request as possible.
pub(super) fn fill(board: &mut Board<'_>, scoring: &Scoring<'_>, request: usize) {
    for variant in 0..board.problem.wants[request].len() {
        if board.missing[request] == 0 {
            return;
        }
        let filling = Filling { scoring, request, variant, is_static: board.rules.is_static(request) };
        let mut groups = filling.candidates(board);
        match groups.len() {
            0 => {}
            1 => while filling.place_best(board, &mut groups[0]) {},
            _ => among::fill(&filling, board, groups),
        }
    }
}

/// A pool and its score; the greatest is the best.
pub(super) type RankedPool = (Key, Reverse<usize>);

/// A score as an ordered key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(i64);

impl Key {
    pub(super) fn of(score: f64) -> Self {
        let bits = score.to_bits().cast_signed();
        // In negative numbers all bits but the sign count downwards.
        Self(if bits < 0 { bits ^ i64::MAX } else { bits })
    }
}

pub(super) struct Filling<'s> {
    scoring: &'s Scoring<'s>,
    pub(super) request: usize,
    variant: usize,
    /// Whether placing changes no result of the request's rules.
    is_static: bool,
}

impl Filling<'_> {
    /// Returns the pools with room for an instance, a heap for each group. Pools that are good enough are used at once.
    fn candidates(&self, board: &mut Board<'_>) -> Vec<BinaryHeap<RankedPool>> {
        let mut groups: BTreeMap<u32, Vec<RankedPool>> = BTreeMap::new();
        let (mut only, mut before) = (Vec::new(), None);
        for pool in 0..board.rooms.len() {
            if board.fit(self.request, self.variant, pool) == 0 {
                continue;
            }
            let agent = board.agent(pool);
            if board.rules.check_static(self.request, agent).is_err() {
                continue;
            }
            if self.scoring.good_enough.is_some() && self.place_good(board, pool) {
                continue;
            }
            let own = self.scoring.own_like(board, self.request, self.variant, pool, &mut before);
            let ranked = (self.rank_of(board, pool, own).0, Reverse(pool));
            if self.is_static {
                only.push(ranked);
            } else {
                groups.entry(board.rules.score_group(self.request, agent)).or_default().push(ranked);
            }
        }
        let only = (!only.is_empty()).then_some(only);
        groups.into_values().chain(only).map(BinaryHeap::from).collect()
    }

    /// Places instances in a pool while its score is good enough; returns whether the pool is used up.
    fn place_good(&self, board: &mut Board<'_>, pool: usize) -> bool {
        let Some(good_enough) = self.scoring.good_enough else { return false };
        while board.missing[self.request] > 0 && board.allows(self.request, self.variant, pool) {
            let score = self.scoring.whole(board, self.request, self.variant, pool);
            if score.total() < good_enough {
                return false;
            }
            self.place(board, pool, 1, Some(score));
        }
        true
    }

    /// Returns the key of a pool within its group, and its score. Excludes rules whose score changes during placement:
    /// that part is equal within a group.
    fn ranked(&self, board: &Board<'_>, pool: usize) -> (Key, Score) {
        self.rank_of(board, pool, self.scoring.own(board, self.request, self.variant, pool))
    }

    fn rank_of(&self, board: &Board<'_>, pool: usize, own: Score) -> (Key, Score) {
        if self.is_static {
            let whole = Score { constraints: board.rules.score(self.request, board.agent(pool)), ..own };
            return (Key::of(whole.total()), whole);
        }
        (Key::of(mean([Some(own.fitness), own.own_instances])), own)
    }

    /// Places instances in the best pool of a group; returns whether more may be tried.
    fn place_best(&self, board: &mut Board<'_>, group: &mut BinaryHeap<RankedPool>) -> bool {
        let missing = board.missing[self.request];
        if missing == 0 {
            return false;
        }
        let Some((pool, score)) = self.best(board, group) else { return false };
        let all = self.scoring.fills() && self.is_static;
        let instances = if all { board.fit(self.request, self.variant, pool).min(missing) } else { 1 };
        self.place(board, pool, instances, Some(score));
        true
    }

    /// Returns the best pool of a group that takes one more instance, and its whole score. Pools that take none are
    /// removed from the group; if a rule excludes the whole group, the group does not change.
    pub(super) fn best(&self, board: &Board<'_>, group: &mut BinaryHeap<RankedPool>) -> Option<(usize, Score)> {
        while let Some(mut top) = group.peek_mut() {
            let (was, Reverse(pool)) = *top;
            if board.fit(self.request, self.variant, pool) == 0 {
                PeekMut::pop(top);
                continue;
            }
            // Only the top pool's score can have risen, so it still leads.
            let (now, score) = self.ranked(board, pool);
            let agent = board.agent(pool);
            if now < was {
                top.0 = now;
            } else if self.is_static {
                return Some((pool, score));
            } else if board.rules.check(self.request, agent).is_ok() {
                return Some((pool, Score { constraints: board.rules.score(self.request, agent), ..score }));
            } else if board.rules.is_group_full(self.request, agent) {
                return None;
            } else {
                PeekMut::pop(top);
            }
        }
        None
    }

    pub(super) fn place(&self, board: &mut Board<'_>, pool: usize, instances: u32, score: Option<Score>) {
        board.place(pool, Entry { request: self.request, variant: self.variant, instances, score });
    }
}
