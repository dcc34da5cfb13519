//! Greedy placement on the best of several groups, where the groups' scores change as instances are placed.
//!
//! An instance changes little: the scores of the groups that share an attribute value with its agent, and at times a
//! figure that all groups are measured by, such as the least used value. So a [`Few`] groups are all scored once, and
//! again only when a placement affects them: the result is that of scoring every group for every instance. Of [`Many`],
//! those with the best last scores are scored again for each instance.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::binary_heap::BinaryHeap;

use super::greedy::{Filling, Key, RankedPool};
use crate::allocator::board::Board;
use crate::allocator::fitness::Score;

/// Up to so many groups each is scored: that stays cheap even if every instance changes all of them.
const FEW: usize = 128;

/// Of many groups so many of the best are scored for an instance.
const AT_ONCE: usize = 64;

/// The pools of a group, the one with the best last score on top.
type Group = BinaryHeap<RankedPool>;

/// Places instances in the best pool of all groups.
pub(super) fn fill(filling: &Filling<'_>, board: &mut Board<'_>, groups: Vec<Group>) {
    if groups.len() <= FEW {
        Few::new(filling, board, groups).fill(board);
    } else {
        Many::new(filling, groups).fill(board);
    }
}

/// Groups with the best pool of each and its score.
struct Few<'s> {
    filling: &'s Filling<'s>,
    groups: Vec<Group>,
    best: Vec<Option<RankedPool>>,
    /// The scores of the best pools.
    scores: Vec<Option<Score>>,
    /// For each group the groups that an instance in it affects, itself included.
    concerned: Vec<Vec<usize>>,
    /// The figures that all groups were measured by when they were scored.
    shared_figures: Vec<u64>,
}

impl<'s> Few<'s> {
    fn new(filling: &'s Filling<'s>, board: &Board<'_>, groups: Vec<Group>) -> Self {
        let concerned = concerned(board, filling.request, &groups);
        let (best, scores) = (vec![None; groups.len()], vec![None; groups.len()]);
        let mut few = Self { filling, groups, best, scores, concerned, shared_figures: Vec::new() };
        few.score_all(board);
        few
    }

    fn fill(&mut self, board: &mut Board<'_>) {
        let mut shared_figures = Vec::new();
        while board.missing[self.filling.request] > 0 {
            let best = self.best.iter().enumerate().filter_map(|(group, best)| Some(((*best)?, group)));
            let Some(((_, Reverse(pool)), group)) = best.max() else { return };
            self.filling.place(board, pool, 1, self.scores[group]);
            board.rules.shared_figures(self.filling.request, &mut shared_figures);
            if shared_figures == self.shared_figures {
                for at in 0..self.concerned[group].len() {
                    self.score(board, self.concerned[group][at]);
                }
            } else {
                self.score_all(board);
            }
        }
    }

    fn score_all(&mut self, board: &Board<'_>) {
        board.rules.shared_figures(self.filling.request, &mut self.shared_figures);
        (0..self.groups.len()).for_each(|group| self.score(board, group));
    }

    fn score(&mut self, board: &Board<'_>, group: usize) {
        let best = self.filling.best(board, &mut self.groups[group]);
        self.best[group] = best.map(|(pool, score)| (Key::of(score.total()), Reverse(pool)));
        self.scores[group] = best.map(|(_, score)| score);
    }
}

/// Returns for each group the groups with an agent of the same value in an attribute by which instances are counted.
fn concerned(board: &Board<'_>, request: usize, groups: &[Group]) -> Vec<Vec<usize>> {
    let is_mixed = board.rules.counts_by_identity(request);
    let values = |group: &Group| {
        // Unless they count by identity, all agents of a group have the same values.
        let pools = group.iter().take(if is_mixed { group.len() } else { 1 });
        let values = pools.flat_map(|&(_, Reverse(pool))| board.rules.counted_values(request, board.agent(pool)));
        values.collect::<Vec<_>>()
    };
    let values: Vec<_> = groups.iter().map(values).collect();
    let mut sharing: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (group, values) in values.iter().enumerate() {
        for value in values {
            sharing.entry(*value).or_default().push(group);
        }
    }
    let concerned = |(group, values): (usize, &Vec<_>)| {
        let mut all: Vec<usize> = values.iter().flat_map(|value| &sharing[value]).copied().chain([group]).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    values.iter().enumerate().map(concerned).collect()
}

/// Groups in the order of the last scores of their best pools.
struct Many<'s> {
    filling: &'s Filling<'s>,
    groups: Vec<Group>,
    order: BinaryHeap<RankedPool>,
    /// Groups that a rule excluded when they were last scored.
    kept_out: Vec<RankedPool>,
}

impl<'s> Many<'s> {
    fn new(filling: &'s Filling<'s>, groups: Vec<Group>) -> Self {
        let best = |heap: &Group| heap.peek().map(|&(key, _)| key);
        let order = groups.iter().zip(0..).filter_map(|(heap, group)| Some((best(heap)?, Reverse(group)))).collect();
        Self { filling, groups, order, kept_out: Vec::new() }
    }

    fn fill(&mut self, board: &mut Board<'_>) {
        while board.missing[self.filling.request] > 0 {
            let best = self.best(board).or_else(|| {
                // Later placements may have opened others.
                self.order.extend(self.kept_out.drain(..));
                self.best(board)
            });
            let Some((_, Reverse(pool), score)) = best else { return };
            self.filling.place(board, pool, 1, Some(score));
        }
    }

    /// Returns the best pool of the groups with the best last scores.
    fn best(&mut self, board: &Board<'_>) -> Option<(Key, Reverse<usize>, Score)> {
        let mut looked_at = Vec::new();
        let mut best: Option<(Key, Reverse<usize>, Score)> = None;
        while looked_at.len() < AT_ONCE
            && let Some((key, Reverse(group))) = self.order.pop()
        {
            let Some((pool, score)) = self.filling.best(board, &mut self.groups[group]) else {
                if !self.groups[group].is_empty() {
                    self.kept_out.push((key, Reverse(group)));
                }
                continue;
            };
            let key = Key::of(score.total());
            looked_at.push((key, Reverse(group)));
            if best.is_none_or(|(best, of, _)| (key, Reverse(pool)) > (best, of)) {
                best = Some((key, Reverse(pool), score));
            }
        }
        self.order.extend(looked_at);
        best
    }
}
