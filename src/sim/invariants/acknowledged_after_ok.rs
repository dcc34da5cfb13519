//! An agent receives an acknowledgement only of a status that a callback accepted.
//!
//! There are two exceptions: a state that a callback accepted from an answer to RECONCILE, and any status of a task whose
//! end was accepted.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Fact, Invariant, Known};
use crate::{
    framework::SchedulerEvent,
    proto::internal::{agent_record, master_message},
    sim::scheduler::is_last,
};

#[derive(Debug, Default)]
pub(super) struct AcknowledgedAfterOk {
    /// The container, task and state of each uuid.
    made: BTreeMap<Bytes, (String, (String, i32))>,
    taken: BTreeSet<Bytes>,
    /// Containers whose end was accepted.
    ended: BTreeSet<String>,
    /// Tasks whose end was accepted from the master, which names no container.
    ended_tasks: BTreeSet<String>,
    states: BTreeSet<(String, i32)>,
}

impl Invariant for AcknowledgedAfterOk {
    fn name(&self) -> &'static str {
        "acknowledged_after_ok"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Wrote { records, .. } => {
                for record in records {
                    if let Some(agent_record::Kind::Status(made)) = &record.kind
                        && let Some(status) = &made.status
                        && let Some(uuid) = &status.uuid
                    {
                        let content = (status.task_id.value.clone(), status.state);
                        self.made.insert(uuid.clone(), (made.container_id.clone(), content));
                    }
                }
            }
            Fact::CallbackReturned {
                event: SchedulerEvent::StatusUpdate(status) | SchedulerEvent::UnknownTask(status),
                ok: true,
                ..
            } => {
                let made = status.uuid.as_ref().and_then(|uuid| self.made.get(uuid));
                if is_last(status.state()) {
                    self.ended.extend(made.map(|(container, _)| container.clone()));
                    self.ended_tasks.insert(status.task_id.value.clone());
                }
                self.taken.extend(status.uuid.clone());
                self.states.insert((status.task_id.value.clone(), status.state));
            }
            Fact::AgentReceived { agent, message } => {
                let Some(master_message::Kind::Acknowledge(acknowledge)) = &message.kind else { return Ok(()) };
                let uuid = &acknowledge.uuid;
                let is_covered = self.made.get(uuid).is_some_and(|(container, content)| {
                    let over = self.ended.contains(container) || self.ended_tasks.contains(&content.0);
                    over || self.states.contains(content)
                });
                if !self.taken.contains(uuid) && !is_covered {
                    let what = self.made.get(uuid);
                    return Err(format!(
                        "agent {agent} receives an acknowledgement of {what:?}, which no callback has accepted"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
