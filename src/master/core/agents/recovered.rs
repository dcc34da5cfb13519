//! Agents that may have tasks which this master does not know.

use std::{collections::BTreeSet, ops::Deref};

use crate::master::core::changes::Changes;

/// The ids of admitted agents that have not come back since this master started, and of those that never were registered
/// in full.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Recovered {
    ids: BTreeSet<String>,
    pub(in crate::master::core) removed: Changes<String>,
}

impl Recovered {
    pub(in crate::master::core) fn new(ids: BTreeSet<String>) -> Self {
        Self { ids, removed: Changes::default() }
    }

    pub(super) fn insert(&mut self, id: String) {
        self.ids.insert(id);
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.removed.note(|| id.to_owned());
        self.ids.remove(id)
    }
}

impl Deref for Recovered {
    type Target = BTreeSet<String>;

    fn deref(&self) -> &BTreeSet<String> {
        &self.ids
    }
}
