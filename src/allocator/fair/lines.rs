//! The active children of a node in order, split by what quotas allow them, so that a walk skips none in vain.

use std::collections::{BTreeSet, btree_set};
use std::iter::Peekable;

use super::rank::Rank;

/// The state that decides whether a walk visits a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// A guarantee of it, or of a descendant, is not met.
    pub(super) below_guarantee: bool,
    /// Its limits allow no more of any scalar that the cluster has.
    pub(super) at_limit: bool,
    /// A run visits it, or an active client below it, on every agent.
    pub(super) dirty: bool,
}

/// The children that a walk visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All active ones.
    All,
    /// Those not at their limit.
    Open,
    /// Those whose guarantee is not met.
    BelowGuarantee,
}

impl Part {
    fn includes(self, marks: Marks) -> bool {
        match self {
            Self::All => true,
            Self::Open => !marks.at_limit,
            Self::BelowGuarantee => marks.below_guarantee,
        }
    }
}

/// The ranks of active children. Each is in `open` or in `at_limit`, and also in the other two as its marks require.
#[derive(Debug, Clone)]
pub(super) struct Lines<K> {
    open: BTreeSet<Rank<K>>,
    at_limit: BTreeSet<Rank<K>>,
    below_guarantee: BTreeSet<Rank<K>>,
    dirty: BTreeSet<Rank<K>>,
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self {
            open: BTreeSet::new(),
            at_limit: BTreeSet::new(),
            below_guarantee: BTreeSet::new(),
            dirty: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord> Lines<K> {
    pub(super) fn insert(&mut self, rank: Rank<K>, marks: Marks) {
        if marks.below_guarantee {
            self.below_guarantee.insert(rank.clone());
        }
        if marks.dirty {
            self.dirty.insert(rank.clone());
        }
        self.main(marks).insert(rank);
    }

    pub(super) fn remove(&mut self, rank: &Rank<K>, marks: Marks) {
        if marks.below_guarantee {
            self.below_guarantee.remove(rank);
        }
        if marks.dirty {
            self.dirty.remove(rank);
        }
        self.main(marks).remove(rank);
    }

    /// Moves a child from its old rank to its new one.
    pub(super) fn replace(&mut self, old: &Rank<K>, new: &Rank<K>, marks: Marks) {
        let main = self.main(marks);
        let mut entry = main.take(old).expect("an active node stands in its parent's line under its rank");
        (entry.share, entry.allocations) = (new.share, new.allocations);
        main.insert(entry);
        if marks.below_guarantee {
            self.below_guarantee.remove(old);
            self.below_guarantee.insert(new.clone());
        }
        if marks.dirty {
            self.dirty.remove(old);
            self.dirty.insert(new.clone());
        }
    }

    /// Moves a child whose marks changed to the lines of its new ones.
    pub(super) fn change_marks(&mut self, rank: &Rank<K>, was: Marks, marks: Marks) {
        if was.at_limit != marks.at_limit {
            self.main(was).remove(rank);
            self.main(marks).insert(rank.clone());
        }
        change(&mut self.below_guarantee, rank, was.below_guarantee, marks.below_guarantee);
        change(&mut self.dirty, rank, was.dirty, marks.dirty);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.at_limit.is_empty()
    }

    pub(super) fn any_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Removes and returns every rank, for a caller that changes many.
    pub(super) fn take_all(&mut self) -> Vec<Rank<K>> {
        self.below_guarantee.clear();
        self.dirty.clear();
        std::mem::take(&mut self.open).into_iter().chain(std::mem::take(&mut self.at_limit)).collect()
    }

    /// Returns the children of a part: all of them, or those that are dirty.
    pub(super) fn children(&self, part: Part, dirty: bool) -> LineIter<'_, K> {
        match part {
            _ if dirty => LineIter::Dirty(self.dirty.iter(), part),
            Part::BelowGuarantee => LineIter::One(self.below_guarantee.iter()),
            Part::All if !self.at_limit.is_empty() => {
                LineIter::Both(self.open.iter().peekable(), self.at_limit.iter().peekable())
            }
            Part::Open | Part::All => LineIter::One(self.open.iter()),
        }
    }

    fn main(&mut self, marks: Marks) -> &mut BTreeSet<Rank<K>> {
        if marks.at_limit { &mut self.at_limit } else { &mut self.open }
    }
}

fn change<K: Copy + Ord>(line: &mut BTreeSet<Rank<K>>, rank: &Rank<K>, was: bool, is: bool) {
    match (was, is) {
        (false, true) => drop(line.insert(rank.clone())),
        (true, false) => drop(line.remove(rank)),
        (true, true) | (false, false) => {}
    }
}

/// An iterator over ranks in rising order.
#[derive(Debug)]
pub(super) enum LineIter<'a, K> {
    One(btree_set::Iter<'a, Rank<K>>),
    Both(Peekable<btree_set::Iter<'a, Rank<K>>>, Peekable<btree_set::Iter<'a, Rank<K>>>),
    /// The dirty ones of a part.
    Dirty(btree_set::Iter<'a, Rank<K>>, Part),
}

impl<'a, K: Ord> LineIter<'a, K> {
    /// Returns the next rank; `marks` returns the marks of its node.
    pub(super) fn next(&mut self, marks: impl Fn(&Rank<K>) -> Marks) -> Option<&'a Rank<K>> {
        match self {
            Self::One(line) => line.next(),
            Self::Both(open, at_limit) => match (open.peek(), at_limit.peek()) {
                (Some(one), Some(other)) if other < one => at_limit.next(),
                (None, _) => at_limit.next(),
                (Some(_), _) => open.next(),
            },
            Self::Dirty(line, part) => line.find(|rank| part.includes(marks(rank))),
        }
    }
}
