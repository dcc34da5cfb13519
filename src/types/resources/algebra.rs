//! Addition, subtraction and comparison of resources: passes over two lists that are sorted by *place*.
//!
//! The place of an item is its kind and shape, and for exclusive and shared kinds its amount too. Items of one place
//! merge by amount, are counted (shared), or are listed separately (exclusive). So every operation looks at one place
//! at a time.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use super::{Resource, Resources};

impl Resource {
    pub(super) fn cmp_place(&self, other: &Self) -> Ordering {
        self.kind.cmp(&other.kind).then_with(|| self.amount.shape().cmp(&other.amount.shape())).then_with(|| {
            if self.kind.is_shared() || self.kind.is_exclusive() {
                self.amount.cmp(&other.amount)
            } else {
                Ordering::Equal
            }
        })
    }

    /// Adds items of the same place, all at once.
    fn absorb(&mut self, same: &[Self]) {
        if self.kind.is_shared() {
            self.copies = same.iter().fold(self.copies, |copies, item| copies.saturating_add(item.copies));
        } else {
            self.amount.add_all(same.iter().map(|item| &item.amount));
        }
    }
}

impl Resources {
    /// Adds one item.
    pub fn add(&mut self, item: &Resource) {
        self.add_from(0, item);
    }

    /// Returns the sum of items in any order: sorted once, then merged in one pass.
    pub(super) fn merged(mut items: Vec<Resource>) -> Self {
        items.retain(|item| !item.amount.is_empty());
        items.sort_by(Resource::cmp_place);
        let mut sum: Vec<Resource> = Vec::with_capacity(items.len());
        let mut items = items.into_iter().peekable();
        while let Some(mut item) = items.next() {
            let mut same = Vec::new();
            while !item.kind.is_exclusive()
                && let Some(next) = items.next_if(|next| next.cmp_place(&item).is_eq())
            {
                same.push(next);
            }
            item.absorb(&same);
            sum.push(item);
        }
        Self { items: sum }
    }

    /// Returns whether every item of `other` is here in full: the whole volume, enough copies, every port.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let mut at = 0;
        other.items.iter().enumerate().all(|(index, item)| {
            at = self.place_of(at, item);
            self.has_at(at, item, other.repeats_before(index))
        })
    }

    /// Returns what is left without `other`, or `None` if `other` is not contained.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let mut rest = self.clone();
        rest.take_out(other).then_some(rest)
    }

    /// Subtracts `other` if it is contained, and returns whether it was. Unlike [`Self::checked_sub`] it makes no copy.
    #[must_use = "nothing is taken if not all of it was there"]
    pub fn take(&mut self, other: &Self) -> bool {
        self.contains(other) && self.take_out(other)
    }

    /// Returns the index of the first item from `from` on that is not before `item`.
    fn place_of(&self, from: usize, item: &Resource) -> usize {
        let before = |own: &&Resource| own.cmp_place(item).is_lt();
        from + self.items[from..].iter().take_while(before).count()
    }

    fn is_at(&self, at: usize, item: &Resource) -> bool {
        self.items.get(at).is_some_and(|own| own.cmp_place(item).is_eq())
    }

    /// Counts the equal items directly before the one at `index`, which are there because they are exclusive.
    fn repeats_before(&self, index: usize) -> usize {
        let item = &self.items[index];
        if !item.kind.is_exclusive() {
            return 0;
        }
        self.items[..index].iter().rev().take_while(|own| *own == item).count()
    }

    /// Returns whether the item at `at`, or the `skip`th after it, covers `item`.
    fn has_at(&self, at: usize, item: &Resource, skip: usize) -> bool {
        let own = at + skip;
        self.is_at(own, item) && self.items[own].copies >= item.copies && self.items[own].amount.contains(&item.amount)
    }

    /// Adds an item whose place is not before `from`; returns its index.
    fn add_from(&mut self, from: usize, item: &Resource) -> usize {
        if item.amount.is_empty() {
            return from;
        }
        let at = self.place_of(from, item);
        if !self.is_at(at, item) || item.kind.is_exclusive() {
            self.items.insert(at, item.clone());
        } else if item.kind.is_shared() {
            self.items[at].copies = self.items[at].copies.saturating_add(item.copies);
        } else {
            self.items[at].amount.add(&item.amount);
        }
        at
    }

    /// Subtracts what is here of `other`; false if that was not all of it.
    fn take_out(&mut self, other: &Self) -> bool {
        let (mut at, mut complete) = (0, true);
        for item in &other.items {
            at = self.place_of(at, item);
            complete &= self.has_at(at, item, 0);
            if self.is_at(at, item) {
                self.take_at(at, item);
            }
        }
        complete
    }

    fn take_at(&mut self, at: usize, item: &Resource) {
        let own = &mut self.items[at];
        let gone = if item.kind.is_shared() || item.kind.is_exclusive() {
            own.copies = own.copies.saturating_sub(item.copies);
            own.copies == 0
        } else {
            own.amount.subtract(&item.amount);
            own.amount.is_empty()
        };
        if gone {
            self.items.remove(at);
        }
    }
}

impl AddAssign<&Self> for Resources {
    fn add_assign(&mut self, other: &Self) {
        if self.items.is_empty() {
            self.items.clone_from(&other.items);
            return;
        }
        let mut at = 0;
        for item in &other.items {
            at = self.add_from(at, item);
        }
    }
}

/// Subtracting what is not there leaves zero, as in Mesos; [`Resources::checked_sub`] detects it.
impl SubAssign<&Self> for Resources {
    fn sub_assign(&mut self, other: &Self) {
        self.take_out(other);
    }
}

impl Add<&Self> for Resources {
    type Output = Self;

    fn add(mut self, other: &Self) -> Self {
        self += other;
        self
    }
}

impl Sub<&Self> for Resources {
    type Output = Self;

    fn sub(mut self, other: &Self) -> Self {
        self -= other;
        self
    }
}

impl<'a> Sum<&'a Self> for Resources {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        all.fold(Self::new(), Add::add)
    }
}
