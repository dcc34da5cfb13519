//! Calls made without a master, kept until there is one: bounded, and one per task and kind.
//!
//! Only calls that are harmless when they arrive late or twice are kept. The suppressed roles and the requested
//! resources are states rather than calls: they are sent with every subscription. Kills are kept in any case, see
//! [`kills`](super::kills).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::proto::v1::{AgentId, Request, TaskId};

/// The most calls of a kind that are kept.
const LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) acknowledgements: BTreeMap<TaskId, (AgentId, Bytes)>,
    /// Roles to revive.
    pub(super) revived: BTreeSet<String>,
    /// Suppressed roles: they receive no offers.
    pub(super) suppressed: BTreeSet<String>,
    /// The resources requested last.
    pub(super) demand: Vec<Request>,
}

/// There is no room for another call of that kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queued {
    pub(super) fn acknowledge(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes) -> Result<(), Full> {
        if self.is_full_of_acknowledgements() && !self.acknowledgements.contains_key(&task_id) {
            return Err(Full);
        }
        self.acknowledgements.insert(task_id, (agent_id, uuid));
        Ok(())
    }

    pub(super) fn is_full_of_acknowledgements(&self) -> bool {
        self.acknowledgements.len() >= LIMIT
    }

    pub(super) fn suppress(&mut self, roles: &[String]) {
        for role in roles {
            self.revived.remove(role);
            self.suppressed.insert(role.clone());
        }
    }

    /// Removes the roles from the suppressed ones; the REVIVE itself is sent or kept separately.
    pub(super) fn unsuppress(&mut self, roles: &[String]) {
        for role in roles {
            self.suppressed.remove(role);
        }
    }
}
