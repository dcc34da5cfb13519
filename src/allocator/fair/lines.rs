//! The active children of a node in order, split by what quotas say of them, so that a walk passes over nobody in vain.

use std::collections::{BTreeSet, btree_set};
use std::iter::Peekable;

use super::rank::Rank;

/// What quotas say of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Something guaranteed to it, or below it, is missing.
    pub(super) hungry: bool,
    /// It may have no more of any scalar the cluster has.
    pub(super) capped: bool,
}

/// Which children a walk is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All active ones.
    All,
    /// Those not at their limit.
    Open,
    /// Those with a guarantee that is not met.
    Hungry,
}

/// The ranks of active children. Each is in `open` or in `capped`, and in `hungry` besides if it is that.
#[derive(Debug, Clone)]
pub(super) struct Lines<K> {
    open: BTreeSet<Rank<K>>,
    capped: BTreeSet<Rank<K>>,
    hungry: BTreeSet<Rank<K>>,
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self { open: BTreeSet::new(), capped: BTreeSet::new(), hungry: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Lines<K> {
    pub(super) fn insert(&mut self, rank: Rank<K>, marks: Marks) {
        if marks.hungry {
            self.hungry.insert(rank.clone());
        }
        self.main(marks).insert(rank);
    }

    pub(super) fn remove(&mut self, rank: &Rank<K>, marks: Marks) {
        if marks.hungry {
            self.hungry.remove(rank);
        }
        self.main(marks).remove(rank);
    }

    /// Moves a child from its old place to its new one.
    pub(super) fn replace(&mut self, old: &Rank<K>, new: &Rank<K>, marks: Marks) {
        let main = self.main(marks);
        let mut entry = main.take(old).expect("an active node stands in its parent's line under its rank");
        (entry.share, entry.allocations) = (new.share, new.allocations);
        main.insert(entry);
        if marks.hungry {
            self.hungry.remove(old);
            self.hungry.insert(new.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.capped.is_empty()
    }

    pub(super) fn any_capped(&self) -> bool {
        !self.capped.is_empty()
    }

    /// Every rank with the line it stands in, for those who change many.
    pub(super) fn take_all(&mut self) -> Vec<Rank<K>> {
        self.hungry.clear();
        std::mem::take(&mut self.open).into_iter().chain(std::mem::take(&mut self.capped)).collect()
    }

    pub(super) fn iter(&self, part: Part) -> LineIter<'_, K> {
        match part {
            Part::Hungry => LineIter::One(self.hungry.iter()),
            Part::All if self.any_capped() => {
                LineIter::Both(self.open.iter().peekable(), self.capped.iter().peekable())
            }
            Part::Open | Part::All => LineIter::One(self.open.iter()),
        }
    }

    fn main(&mut self, marks: Marks) -> &mut BTreeSet<Rank<K>> {
        if marks.capped { &mut self.capped } else { &mut self.open }
    }
}

/// Ranks from the smallest up.
#[derive(Debug)]
pub(super) enum LineIter<'a, K> {
    One(btree_set::Iter<'a, Rank<K>>),
    Both(Peekable<btree_set::Iter<'a, Rank<K>>>, Peekable<btree_set::Iter<'a, Rank<K>>>),
}

impl<'a, K: Ord> Iterator for LineIter<'a, K> {
    type Item = &'a Rank<K>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(line) => line.next(),
            Self::Both(open, capped) => match (open.peek(), capped.peek()) {
                (Some(one), Some(other)) if other < one => capped.next(),
                (None, _) => capped.next(),
                (Some(_), _) => open.next(),
            },
        }
    }
}
