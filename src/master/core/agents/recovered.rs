//! Agents that may have tasks unknown to this master.

use std::{collections::BTreeSet, ops::Deref};

use crate::master::core::changes::Changes;

/// The ids of admitted agents that have not re-registered since this master started, or never completed a registration.
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

    /// Removes an id; returns whether it was there.
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
