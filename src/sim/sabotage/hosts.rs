//! Bugs planted on agents' hosts: in supervisors, and in how their folders are trusted.

use crate::{
    agent::core::SupervisorId,
    sim::{sabotage::Sabotage, world::World},
};

impl World {
    /// The name of the folder that a supervisor serves.
    pub(in crate::sim) fn folder_of(&self, supervisor: SupervisorId) -> String {
        let number = if self.sabotage == Some(Sabotage::TrustsFreshSupervisors) { 0 } else { supervisor.0 };
        format!("folder {number}")
    }

    /// Whether a supervisor executes requests of a replaced agent process.
    pub(in crate::sim) fn serves_the_replaced(&self) -> bool {
        self.sabotage == Some(Sabotage::StartsForTheReplaced)
    }

    /// Whether the processes named by a copied folder are ended.
    pub(in crate::sim) fn trusts_copies(&self) -> bool {
        self.sabotage == Some(Sabotage::BelievesCopiedFolders)
    }

    /// The other container that the kill of this one ends.
    pub(in crate::sim) fn also_ended(&self, agent: usize, container: &str) -> Option<String> {
        if self.sabotage != Some(Sabotage::BelievesMarkersOfOthers) {
            return None;
        }
        let supervisors = self.agents[agent].host.supervisors.values();
        let mut running = supervisors.flat_map(crate::sim::host::Supervisor::running);
        running.find(|id| *id != container).cloned()
    }
}
