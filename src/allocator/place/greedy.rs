//! One request after the other, each instance onto the best place there is.
//!
//! Placing one instance changes the fitness of one pool, and what rules say of whole groups of agents at once. So each
//! request has one heap of pools per group, best pool on top: an instance costs a logarithm of the pools and a look at
//! the groups, not a scan. Ties go to the pool that was offered first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};

use crate::allocator::board::{Board, Entry};
use crate::allocator::fitness::{BinPack, Fitness, Prospect, Score, WorstFit, bounded, mean};

/// Where there are more groups, so many of the best are looked at for an instance.
const GROUPS_AT_ONCE: usize = 64;

/// How places are scored.
pub(super) struct Scoring<'f> {
    pub(super) fitness: Measure<'f>,
    /// Whether instances of a request push each other away.
    pub(super) spread: bool,
    /// A place that scores as much is taken without looking at others.
    pub(super) good_enough: Option<f64>,
}

/// The fitness in use; the usual ones without a call through a pointer.
pub(super) enum Measure<'f> {
    BinPack,
    WorstFit,
    Other(&'f dyn Fitness),
}

impl Scoring<'_> {
    /// Whether the pool just used stays the best one until it is full: then it is filled at once.
    fn fills(&self) -> bool {
        matches!(self.fitness, Measure::BinPack) && !self.spread
    }

    /// What one more instance in a pool scores, rules apart.
    fn own(&self, board: &Board<'_>, request: usize, variant: usize, pool: usize) -> Score {
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
        let fitness = match self.fitness {
            Measure::BinPack => BinPack.score(&place),
            Measure::WorstFit => WorstFit.score(&place),
            Measure::Other(fitness) => fitness.score(&place),
        };
        let count = problem.requests[request].count;
        let crowd = (self.spread && instances > 0).then(|| -(f64::from(instances) + 1.0) / f64::from(count.max(1)));
        Score { fitness: bounded(fitness), own_instances: crowd.map(|crowd| crowd.max(-1.0)), constraints: None }
    }

    /// The whole score of one more instance in a pool.
    pub(super) fn whole(&self, board: &Board<'_>, request: usize, variant: usize, pool: usize) -> Score {
        let own = self.own(board, request, variant, pool);
        Score { constraints: board.rules.score(request, board.agent(pool)), ..own }
    }
}

/// Places what it can of one request.
pub(super) fn fill(board: &mut Board<'_>, scoring: &Scoring<'_>, request: usize) {
    for variant in 0..board.problem.wants[request].len() {
        if board.missing[request] == 0 {
            return;
        }
        let mut filling = Filling { scoring, request, variant, is_static: board.rules.is_static(request) };
        let mut groups = filling.candidates(board);
        match groups.len() {
            0 => {}
            1 => while filling.place_best(board, &mut groups[0]) {},
            _ => filling.place_among(board, groups),
        }
    }
}

/// A pool by its score; the greatest is the best.
type Standing = (Key, Reverse<usize>);

/// A score in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(i64);

impl Key {
    fn of(score: f64) -> Self {
        let bits = score.to_bits().cast_signed();
        // Of negative numbers all bits but the sign count downwards.
        Self(if bits < 0 { bits ^ i64::MAX } else { bits })
    }
}

struct Filling<'s> {
    scoring: &'s Scoring<'s>,
    request: usize,
    variant: usize,
    /// Whether nothing that rules say of the request changes while placing.
    is_static: bool,
}

impl Filling<'_> {
    /// The pools with room for an instance, a heap for each group. Places at once what is good enough.
    fn candidates(&mut self, board: &mut Board<'_>) -> Vec<BinaryHeap<Standing>> {
        let mut groups: BTreeMap<u32, Vec<Standing>> = BTreeMap::new();
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
            let group = if self.is_static { 0 } else { board.rules.score_group(self.request, agent) };
            groups.entry(group).or_default().push((self.key(board, pool), Reverse(pool)));
        }
        groups.into_values().map(BinaryHeap::from).collect()
    }

    /// Places instances in a pool as long as that is good enough; answers whether there is nothing more to be had of it.
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

    /// What a pool is ranked by within its group. Of rules that change, the group's share is the same for all in it.
    fn key(&self, board: &Board<'_>, pool: usize) -> Key {
        if self.is_static {
            return Key::of(self.scoring.whole(board, self.request, self.variant, pool).total());
        }
        let own = self.scoring.own(board, self.request, self.variant, pool);
        Key::of(mean([Some(own.fitness), own.own_instances]))
    }

    /// Places instances in the best pool of a group; answers whether more may be tried.
    fn place_best(&self, board: &mut Board<'_>, group: &mut BinaryHeap<Standing>) -> bool {
        let missing = board.missing[self.request];
        if missing == 0 {
            return false;
        }
        let Some(pool) = self.best(board, group) else { return false };
        let score = self.scoring.whole(board, self.request, self.variant, pool);
        let all = self.scoring.fills() && self.is_static;
        let instances = if all { board.fit(self.request, self.variant, pool).min(missing) } else { 1 };
        self.place(board, pool, instances, Some(score));
        true
    }

    /// The best pool of a group that takes one more instance. Pools that take none leave the group; when a rule keeps the whole group
    /// out, it stays as it is.
    fn best(&self, board: &Board<'_>, group: &mut BinaryHeap<Standing>) -> Option<usize> {
        while let Some(mut top) = group.peek_mut() {
            let (was, Reverse(pool)) = *top;
            if board.fit(self.request, self.variant, pool) == 0 {
                PeekMut::pop(top);
                continue;
            }
            // A key that rises is the one on top, which stays there.
            let now = self.key(board, pool);
            if now < was {
                top.0 = now;
            } else if self.is_static || board.rules.check(self.request, board.agent(pool)).is_ok() {
                return Some(pool);
            } else if board.rules.is_group_full(self.request, board.agent(pool)) {
                return None;
            } else {
                PeekMut::pop(top);
            }
        }
        None
    }

    /// Places one instance after the other in the group whose best pool scores best.
    fn place_among(&mut self, board: &mut Board<'_>, mut groups: Vec<BinaryHeap<Standing>>) {
        let few = groups.len() <= GROUPS_AT_ONCE;
        let best_key = |heap: &BinaryHeap<Standing>| heap.peek().map_or(Key::of(0.0), |&(key, _)| key);
        let mut order: BinaryHeap<Standing> = groups.iter().map(best_key).zip((0..).map(Reverse)).collect();
        let mut kept_out = Vec::new();
        while board.missing[self.request] > 0 {
            if few {
                order.extend(kept_out.drain(..));
            }
            let mut looked_at = Vec::new();
            let mut best: Option<(Standing, usize, Score)> = None;
            while looked_at.len() < GROUPS_AT_ONCE
                && let Some((key, Reverse(group))) = order.pop()
            {
                let Some(pool) = self.best(board, &mut groups[group]) else {
                    if !groups[group].is_empty() {
                        kept_out.push((key, Reverse(group)));
                    }
                    continue;
                };
                let score = self.scoring.whole(board, self.request, self.variant, pool);
                let ranked = (Key::of(score.total()), Reverse(pool));
                looked_at.push((ranked.0, Reverse(group)));
                if best.as_ref().is_none_or(|(best, ..)| ranked > *best) {
                    best = Some((ranked, pool, score));
                }
            }
            order.extend(looked_at);
            match best {
                Some((_, pool, score)) => {
                    self.place(board, pool, 1, Some(score));
                }
                // What was placed meanwhile may let others in.
                None if !few && !kept_out.is_empty() => {
                    let again: Vec<Standing> = std::mem::take(&mut kept_out);
                    if !self.any_allowed(board, &mut groups, &again) {
                        return;
                    }
                    order.extend(again);
                }
                None => return,
            }
        }
    }

    fn any_allowed(&self, board: &Board<'_>, groups: &mut [BinaryHeap<Standing>], of: &[Standing]) -> bool {
        of.iter().any(|&(_, Reverse(group))| self.best(board, &mut groups[group]).is_some())
    }

    fn place(&self, board: &mut Board<'_>, pool: usize, instances: u32, score: Option<Score>) {
        board.place(pool, Entry { request: self.request, variant: self.variant, instances, score });
    }
}
