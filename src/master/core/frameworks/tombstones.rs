//! Frameworks that were removed do not come back.
//!
//! The registry holds tombstones, the latest and for as long as lost agents are remembered. Ids that this run of the master
//! gave out need none while it runs: one that no framework has is one of a removed framework. An id of an earlier master
//! whose tombstone was dropped is one that nothing is known of, as in Mesos: its framework is taken for one that this
//! master has not met, from its own SUBSCRIBE or from an agent that still has tasks of it.

use crate::{
    master::core::{Master, Turn},
    proto::internal::{FrameworkTombstone, registry_change::Kind},
    types::Now,
};

impl Master {
    /// Whether the framework of this id was removed, as far as that is known.
    pub(in crate::master::core) fn was_removed(&self, id: &str) -> bool {
        self.frameworks.by_id(id).is_none()
            && (self.facts.removed_frameworks.contains(id) || self.counters.gave_framework_id(&self.id, id))
    }

    /// Has a tombstone stored, and in the same step the oldest dropped where there are too many.
    pub(in crate::master::core) fn record_removal(&mut self, turn: &mut Turn<'_>, id: &str) {
        let tombstone = FrameworkTombstone { framework_id: id.to_owned(), wall_ns: turn.now.wall_ns };
        let tombstones = &self.facts.removed_frameworks;
        let too_many = (tombstones.len() + 1).saturating_sub(self.config.removed_frameworks);
        let oldest = tombstones.oldest_first().take(too_many).map(|(id, _)| Kind::FrameworkForgotten(id.to_owned()));
        let kinds = oldest.chain([Kind::FrameworkTombstone(tombstone)]).collect();
        self.record_all(turn, kinds);
    }

    /// Tombstones that are older than anything the registry remembers, and those beyond the number.
    pub(in crate::master::core) fn surplus_tombstones(&self, now: Now) -> Vec<String> {
        let tombstones = &self.facts.removed_frameworks;
        let too_many = tombstones.len().saturating_sub(self.config.removed_frameworks);
        let too_old = |id: &str, since_ns| {
            // Of those in older formats the time is not known.
            let since_ns = if since_ns == 0 { self.absences.began.wall_ns } else { since_ns };
            self.absences.lasted(now, id, since_ns) > self.config.registry_max_age
        };
        let goes = tombstones.oldest_first().enumerate();
        let goes = goes.filter(|(place, (id, since_ns))| *place < too_many || too_old(id, *since_ns));
        goes.map(|(_, (id, _))| id.to_owned()).collect()
    }
}
