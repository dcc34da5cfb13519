//! An ordered list whose entries have permanent numbers, so that any of them can be found, changed and removed.

use std::collections::VecDeque;

use super::queue::KEPT_ROOM;

/// The number of a slot, valid while its entry is queued.
pub(super) type SlotNumber = u64;

/// A queue that supports removal from the middle.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// Begins with an entry, or is empty. `None` is a hole where an entry was removed.
    entries: VecDeque<Option<T>>,
    /// The number of the first slot.
    first: SlotNumber,
    holes: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), first: 0, holes: 0 }
    }
}

impl<T> Slots<T> {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.holes
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry at the end and returns its number.
    pub(super) fn push(&mut self, entry: T) -> SlotNumber {
        self.entries.push_back(Some(entry));
        self.first + self.entries.len() as u64 - 1
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.entries.front()?.as_ref()
    }

    /// Returns whether this is the number of the last slot.
    pub(super) fn is_last(&self, number: SlotNumber) -> bool {
        number + 1 == self.first + self.entries.len() as u64
    }

    pub(super) fn get(&self, number: SlotNumber) -> Option<&T> {
        self.entries.get(self.index(number)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: SlotNumber) -> Option<&mut T> {
        let index = self.index(number)?;
        self.entries.get_mut(index)?.as_mut()
    }

    /// Removes the first entry and returns it with its number.
    pub(super) fn pop(&mut self) -> Option<(SlotNumber, T)> {
        let entry = self.entries.pop_front()??;
        let number = self.first;
        self.first += 1;
        self.trim();
        if self.entries.is_empty() && self.entries.capacity() > KEPT_ROOM {
            self.entries = VecDeque::new();
        }
        Some((number, entry))
    }

    /// Removes an entry from the middle.
    pub(super) fn remove(&mut self, number: SlotNumber) -> Option<T> {
        let index = self.index(number)?;
        let entry = self.entries.get_mut(index)?.take()?;
        self.holes += 1;
        self.trim();
        Some(entry)
    }

    /// Returns whether there are more holes than entries, so that [`compact`](Self::compact) pays.
    pub(super) fn is_sparse(&self) -> bool {
        self.holes > 64 && self.holes > self.entries.len() / 2
    }

    /// Closes all holes. Entries get new numbers, which are passed to `renumbered`.
    pub(super) fn compact(&mut self, mut renumbered: impl FnMut(SlotNumber, &T)) {
        self.entries.retain(Option::is_some);
        self.holes = 0;
        self.entries.shrink_to_fit();
        for (number, entry) in (self.first..).zip(self.entries.iter().flatten()) {
            renumbered(number, entry);
        }
    }

    fn index(&self, number: SlotNumber) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// Drops holes from both ends.
    fn trim(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
            self.holes -= 1;
        }
        while let Some(None) = self.entries.back() {
            self.entries.pop_back();
            self.holes -= 1;
        }
    }
}
