//! Bugs planted on agents' hosts: in what supervisors do, and in what is believed of their folders.

use crate::{
    agent::core::SupervisorId,
    sim::{sabotage::Sabotage, world::World},
};

impl World {
    /// How a supervisor names the folder that it serves.
    pub(in crate::sim) fn folder_of(&self, supervisor: SupervisorId) -> String {
        let number = if self.sabotage == Some(Sabotage::TrustsFreshSupervisors) { 0 } else { supervisor.0 };
        format!("folder {number}")
    }

    /// Whether a supervisor carries out what an agent asks for that was replaced meanwhile.
    pub(in crate::sim) fn serves_the_replaced(&self) -> bool {
        self.sabotage == Some(Sabotage::StartsForTheReplaced)
    }

    /// Whether the processes that a copied folder names are ended.
    pub(in crate::sim) fn believes_copies(&self) -> bool {
        self.sabotage == Some(Sabotage::BelievesCopiedFolders)
    }

    /// Which container besides is ended by the kill of this one.
    pub(in crate::sim) fn ended_besides(&self, agent: usize, container: &str) -> Option<String> {
        if self.sabotage != Some(Sabotage::BelievesMarkersOfOthers) {
            return None;
        }
        let supervisors = self.agents[agent].host.supervisors.values();
        let mut running = supervisors.flat_map(crate::sim::host::Supervisor::running);
        running.find(|id| *id != container).cloned()
    }
}
