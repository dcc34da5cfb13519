//! Tombstones: the ids of frameworks that were removed, and since when.
//!
//! The oldest is found without a search, so that the master drops it as soon as there is one too many.

use std::collections::{BTreeMap, BTreeSet};

/// Ids of removed frameworks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    since_ns: BTreeMap<String, i64>,
    by_age: BTreeSet<(i64, String)>,
}

impl Tombstones {
    /// Whether the framework of this id was removed.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.since_ns.contains_key(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.since_ns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since_ns.is_empty()
    }

    /// When the framework was removed, in nanoseconds since 1970; 0 where an older registry did not record it.
    #[must_use]
    pub fn since_ns(&self, id: &str) -> Option<i64> {
        self.since_ns.get(id).copied()
    }

    /// All of them, the oldest first.
    pub fn oldest_first(&self) -> impl Iterator<Item = (&str, i64)> {
        self.by_age.iter().map(|(since_ns, id)| (id.as_str(), *since_ns))
    }

    /// Adds a tombstone; a second one for the same framework changes nothing.
    pub(super) fn insert(&mut self, id: &str, wall_ns: i64) {
        if !self.contains(id) {
            self.since_ns.insert(id.to_owned(), wall_ns);
            self.by_age.insert((wall_ns, id.to_owned()));
        }
    }

    /// Removes a tombstone.
    pub(super) fn remove(&mut self, id: &str) {
        if let Some((id, wall_ns)) = self.since_ns.remove_entry(id) {
            self.by_age.remove(&(wall_ns, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_are_in_the_order_of_removal_and_the_first_removal_counts() {
        let mut tombstones = Tombstones::default();
        for (id, wall_ns) in [("b", 2), ("a", 3), ("c", 1), ("b", 9)] {
            tombstones.insert(id, wall_ns);
        }
        assert_eq!(tombstones.oldest_first().collect::<Vec<_>>(), [("c", 1), ("b", 2), ("a", 3)]);
        tombstones.remove("b");
        tombstones.remove("none");
        assert_eq!(tombstones.oldest_first().map(|(id, _)| id).collect::<Vec<_>>(), ["c", "a"]);
        assert_eq!((tombstones.len(), tombstones.since_ns("b")), (2, None));
    }
}
