//! Tombstones: removed frameworks cannot subscribe again.
//!
//! The registry keeps the latest tombstones, for as long as it remembers lost agents. Ids that this master issued need
//! none while it runs: such an id without a framework is that of a removed one. An id of an earlier master whose
//! tombstone was dropped is unknown, as in Mesos. Its framework counts as a new one when it subscribes, or when an
//! agent reports tasks of it.

use crate::{
    master::core::{Master, Turn},
    proto::internal::{FrameworkTombstone, registry_change::Kind},
    types::Now,
};

impl Master {
    /// Whether the framework of this id is known to have been removed.
    pub(in crate::master::core) fn was_removed(&self, id: &str) -> bool {
        self.frameworks.by_id(id).is_none()
            && (self.facts.removed_frameworks.contains(id) || self.counters.gave_framework_id(&self.id, id))
    }

    /// Records a tombstone, and in the same record drops the oldest ones beyond the limit.
    pub(in crate::master::core) fn record_removal(&mut self, turn: &mut Turn<'_>, id: &str) {
        let tombstone = FrameworkTombstone { framework_id: id.to_owned(), wall_ns: turn.now.wall_ns };
        let tombstones = &self.facts.removed_frameworks;
        let too_many = (tombstones.len() + 1).saturating_sub(self.config.removed_frameworks);
        let oldest = tombstones.oldest_first().take(too_many).map(|(id, _)| Kind::FrameworkForgotten(id.to_owned()));
        let kinds = oldest.chain([Kind::FrameworkTombstone(tombstone)]).collect();
        self.record_all(turn, kinds);
    }

    /// The tombstones that exceed the registry's maximum age, and the oldest beyond the limit.
    pub(in crate::master::core) fn surplus_tombstones(&self, now: Now) -> Vec<String> {
        let tombstones = &self.facts.removed_frameworks;
        let too_many = tombstones.len().saturating_sub(self.config.removed_frameworks);
        let too_old = |id: &str, since_ns| {
            // Older formats have no time.
            let since_ns = if since_ns == 0 { self.absences.began.wall_ns } else { since_ns };
            self.absences.lasted(now, id, since_ns) > self.config.registry_max_age
        };
        let goes = tombstones.oldest_first().enumerate();
        let goes = goes.filter(|(place, (id, since_ns))| *place < too_many || too_old(id, *since_ns));
        goes.map(|(_, (id, _))| id.to_owned()).collect()
    }
}
