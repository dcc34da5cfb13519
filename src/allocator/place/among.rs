//! One instance after the other onto the best of several groups, where what rules say of groups changes as instances are placed.
//!
//! An instance changes little: what the rules say of the groups that share an attribute value with its agent, and now and
//! then a figure that all groups are measured by, as the least used value. So a [`Few`] groups are all scored once, and
//! again only when what was placed concerns them: the answer is that of scoring every group for every instance.
//! Of [`Many`], those that scored best when they were looked at last are scored for each instance.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::binary_heap::BinaryHeap;

use super::greedy::{Filling, Key, Standing};
use crate::allocator::board::Board;
use crate::allocator::fitness::Score;

/// So many groups are a few: one score of each stays cheap even where every instance changes all of them.
const FEW: usize = 128;

/// Of many groups so many of the best are looked at for an instance.
const AT_ONCE: usize = 64;

/// The pools of a group, the best on top as they were scored last.
type Group = BinaryHeap<Standing>;

/// Places instances in whichever group's best pool scores best.
pub(super) fn fill(filling: &Filling<'_>, board: &mut Board<'_>, groups: Vec<Group>) {
    if groups.len() <= FEW {
        Few::new(filling, board, groups).fill(board);
    } else {
        Many::new(filling, groups).fill(board);
    }
}

/// Groups of which each is known with its best pool and that pool's score.
struct Few<'s> {
    filling: &'s Filling<'s>,
    groups: Vec<Group>,
    best: Vec<Option<Standing>>,
    /// The scores of the best.
    scores: Vec<Option<Score>>,
    /// For each group those that an instance in it concerns, itself among them.
    concerned: Vec<Vec<usize>>,
    /// What all groups were measured by when they were scored.
    horizon: Vec<u64>,
}

impl<'s> Few<'s> {
    fn new(filling: &'s Filling<'s>, board: &Board<'_>, groups: Vec<Group>) -> Self {
        let concerned = concerned(board, filling.request, &groups);
        let (best, scores) = (vec![None; groups.len()], vec![None; groups.len()]);
        let mut few = Self { filling, groups, best, scores, concerned, horizon: Vec::new() };
        few.score_all(board);
        few
    }

    fn fill(&mut self, board: &mut Board<'_>) {
        let mut horizon = Vec::new();
        while board.missing[self.filling.request] > 0 {
            let best = self.best.iter().enumerate().filter_map(|(group, best)| Some(((*best)?, group)));
            let Some(((_, Reverse(pool)), group)) = best.max() else { return };
            self.filling.place(board, pool, 1, self.scores[group]);
            board.rules.horizon(self.filling.request, &mut horizon);
            if horizon == self.horizon {
                for at in 0..self.concerned[group].len() {
                    self.score(board, self.concerned[group][at]);
                }
            } else {
                self.score_all(board);
            }
        }
    }

    fn score_all(&mut self, board: &Board<'_>) {
        board.rules.horizon(self.filling.request, &mut self.horizon);
        (0..self.groups.len()).for_each(|group| self.score(board, group));
    }

    fn score(&mut self, board: &Board<'_>, group: usize) {
        let best = self.filling.best(board, &mut self.groups[group]);
        self.best[group] = best.map(|(pool, score)| (Key::of(score.total()), Reverse(pool)));
        self.scores[group] = best.map(|(_, score)| score);
    }
}

/// For each group the groups with an agent of the same value in an attribute that instances of the request are counted by.
fn concerned(board: &Board<'_>, request: usize, groups: &[Group]) -> Vec<Vec<usize>> {
    let is_mixed = board.rules.counts_by_identity(request);
    let values = |group: &Group| {
        // Unless by identity, all agents of a group have the same values.
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

/// Groups in the order of their best pools as they were scored last.
struct Many<'s> {
    filling: &'s Filling<'s>,
    groups: Vec<Group>,
    order: BinaryHeap<Standing>,
    /// Groups that a rule kept out when they were looked at.
    kept_out: Vec<Standing>,
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
                // What was placed meanwhile may let others in.
                self.order.extend(self.kept_out.drain(..));
                self.best(board)
            });
            let Some((_, Reverse(pool), score)) = best else { return };
            self.filling.place(board, pool, 1, Some(score));
        }
    }

    /// The best pool of the groups that stand first.
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
