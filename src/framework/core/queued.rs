//! Calls made while there is no master, kept until there is one: bounded, and one per task and kind.
//!
//! Only calls that are harmless when they come late or twice are kept. The roles that are suppressed and the resources
//! asked for are states rather than calls: they are told with every subscription.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::proto::v1::{AgentId, KillPolicy, Request, TaskId};

/// The most calls of a kind that are kept.
const LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) kills: BTreeMap<TaskId, (u64, Option<KillPolicy>)>,
    pub(super) acknowledgements: BTreeMap<TaskId, (AgentId, Bytes)>,
    /// Roles to revive.
    pub(super) revived: BTreeSet<String>,
    /// Roles that want no offers.
    pub(super) suppressed: BTreeSet<String>,
    /// Resources asked for last.
    pub(super) demand: Vec<Request>,
}

/// There is no room for another call of that kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queued {
    pub(super) fn kill(&mut self, seq: u64, task_id: TaskId, policy: Option<KillPolicy>) -> Result<(), Full> {
        insert(&mut self.kills, task_id, (seq, policy))
    }

    pub(super) fn acknowledge(&mut self, task_id: TaskId, agent_id: AgentId, uuid: Bytes) -> Result<(), Full> {
        insert(&mut self.acknowledgements, task_id, (agent_id, uuid))
    }

    pub(super) fn is_full_of_kills(&self) -> bool {
        self.kills.len() >= LIMIT
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

    /// The roles are wanted again; the call itself still has to reach the master.
    pub(super) fn unsuppress(&mut self, roles: &[String]) {
        for role in roles {
            self.suppressed.remove(role);
        }
    }
}

fn insert<V>(queue: &mut BTreeMap<TaskId, V>, task_id: TaskId, value: V) -> Result<(), Full> {
    if queue.len() >= LIMIT && !queue.contains_key(&task_id) {
        return Err(Full);
    }
    queue.insert(task_id, value);
    Ok(())
}
